"""Conversion between the host's IMAGE and MASK and `rad_core`'s tensors, in one place, so that every node treats odd pictures alike."""

import torch
from torch import Tensor

from ..rad_core.images import clamp_mask, resize_mask
from ..rad_core.notes import note
from .host.holes import NO_HOLE

NEARLY_BLACK = 0.05  # what a JPEG leaves of black


def picture_of(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """IMAGE (B, H, W, 1, 3 or 4) in [0, 1] -> (B, 3, H, W), and its alpha (B, H, W, 1), if any.

    Raises:
        ValueError: another number of channels, or no picture at all.
    """
    channels = image.shape[-1]
    if 0 in image.shape:
        raise ValueError("The image is an empty batch: the node before this one passed on no picture.")
    if channels not in (1, 3, 4):
        raise ValueError(f"The image has {channels} channels; it must be grey (1), colour (3) or colour with transparency (4).")
    rgb = image[..., :3].expand(*image.shape[:-1], 3).movedim(-1, 1)
    return rgb, image[..., 3:] if channels == 4 else None


def mask_of(mask: Tensor) -> Tensor:
    """MASK (H, W), (B, H, W) or (B, 1, H, W), 1 = hole -> (B, 1, H, W) in [0, 1], with notes on what is odd about it.

    Raises:
        ValueError: no mask at all, or values far outside [0, 1].
    """
    mask = clamp_mask(map_of(mask).float())
    if not (mask > 0).any():
        note(NO_HOLE)
    elif ((mask > 0) & (mask < NEARLY_BLACK)).float().mean() > 0.5:
        note(
            "Most of the mask is nearly black but not black, as a JPEG's is, so that those pixels change a little: put 'ThresholdMask' "
            "before this node to keep them."
        )
    return mask


def map_of(values: Tensor, name: str = "mask") -> Tensor:
    """Any grey map that comes as a MASK -> (B, 1, H, W). `name`: what the error calls it.

    Raises:
        ValueError: no map at all.
    """
    if 0 in values.shape:
        raise ValueError(f"The {name} is an empty batch: the node before this one passed on no mask.")
    return values.reshape(-1, 1, *values.shape[-2:])


def optional_map(values: Tensor | None, name: str) -> Tensor | None:
    """`map_of` of an input that need not be connected."""
    return None if values is None else map_of(values, name)


def painted(mask: Tensor | None, count: int, name: str) -> Tensor | None:
    """An optional mask as (B or 1, 1, H, W) in [0, 1]; None where nothing is painted: Load Image has a small black one for most pictures.

    Raises:
        ValueError: no mask at all, or not one, or one for each of `count` pictures.
    """
    mask = optional_map(mask, name)
    if mask is None or not mask.any():
        return None
    mask = clamp_mask(mask.float())
    check_count(mask, count, name)
    return mask


def match_counts(picture: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and masks as batches of equal length; a single one of either serves all of the other.

    Raises:
        ValueError: the counts do not fit.
    """
    count = max(picture.shape[0], hole.shape[0])
    if 1 not in (picture.shape[0], hole.shape[0]) and picture.shape[0] != hole.shape[0]:
        raise ValueError(f"{picture.shape[0]} images and {hole.shape[0]} masks do not fit: connect equally many, or one of either.")
    return picture.expand(count, -1, -1, -1), hole.expand(count, -1, -1, -1)


def check_count(maps: Tensor | None, count: int, name: str) -> None:
    """Check that there is one map, or one for each picture. `name`: of one, for the error.

    Raises:
        ValueError: another number of maps.
    """
    if maps is not None and maps.shape[0] not in (1, count):
        raise ValueError(f"{count} pictures and {maps.shape[0]} {name}s do not fit: connect equally many, or one for all.")


def image_of(picture: Tensor, alpha: Tensor | None, mask: Tensor) -> Tensor:
    """(B, 3, H, W) -> IMAGE. If there is an alpha channel, filled pixels become opaque in it."""
    image = picture.movedim(1, -1)
    if alpha is None:
        return image
    hole = resize_mask(mask.to(image), image.shape[1:3]).movedim(1, -1)
    alpha, hole = (maps.to(image.device).expand(image.shape[0], -1, -1, -1) for maps in (alpha, hole))
    return torch.cat([image, torch.maximum(alpha, hole)], -1)


def entries(maps: Tensor | None, start: int, stop: int) -> Tensor | None:
    """Entries of a batch, or the single one that serves all."""
    return maps if maps is None or maps.shape[0] == 1 else maps[start:stop]
