"""Holes made ready for a method: cleaned, grown, aligned to a network's grid, feathered; and pictures made larger at their sides."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .masks import grow_masks

SOLID = 0.5  # a pixel of at least this much belongs to a hole's body, for what needs a yes or no


def prepare_masks(
    masks: Tensor, invert: bool = False, specks: int = 0, fill: bool = False, grow: int = 0, grid: int = 1, feather: int = 0
) -> Tensor:
    """Prepare holes, in this order.

    Args:
        masks: (n, 1, H, W) in [0, 1], 1 = hole.
        invert: swap hole and rest.
        specks: drop holes of fewer pixels than this.
        fill: make islands inside a hole part of it.
        grow: pixels that are added all around.
        grid: make every cell of grid x grid pixels that a hole touches all hole; 1 changes nothing.
        feather: width in pixels of a soft rim outside the hole.

    Returns:
        (n, 1, H, W) in [0, 1].

    Raises:
        ValueError: a negative number, or a grid below 1.
    """
    if min(specks, grow, feather) < 0 or grid < 1:
        raise ValueError("specks, grow and feather are 0 or more, and grid 1 or more.")
    masks = 1 - masks if invert else masks
    masks = drop_specks(masks, specks) if specks > 1 else masks
    masks = fill_islands(masks) if fill else masks
    return feather_masks(snap_to_grid(grow_masks(masks, grow), grid), feather)


def drop_specks(masks: Tensor, pixels: int) -> Tensor:
    """Remove every connected piece of a mask (n, 1, H, W) that has fewer than so many pixels above 0; corners connect."""
    from scipy import ndimage

    def keep(mask: np.ndarray) -> np.ndarray:
        pieces, _ = ndimage.label(mask > 0, structure=np.ones((3, 3)))
        return mask * (np.bincount(pieces.ravel()) >= pixels)[pieces]

    return _each(masks, keep)


def fill_islands(masks: Tensor) -> Tensor:
    """Make all that a hole's body encloses part of it. (n, 1, H, W) -> the same."""
    from scipy import ndimage

    return _each(masks, lambda mask: np.maximum(mask, ndimage.binary_fill_holes(mask >= SOLID)))


def snap_to_grid(masks: Tensor, cell: int) -> Tensor:
    """Give each cell of cell x cell pixels, counted from the top left, its strongest value. (n, 1, H, W) -> the same."""
    if cell == 1:
        return masks
    height, width = masks.shape[2:]
    cells = F.max_pool2d(F.pad(masks, (0, -width % cell, 0, -height % cell)), cell)
    return cells.repeat_interleave(cell, 2).repeat_interleave(cell, 3)[:, :, :height, :width]


def feather_masks(masks: Tensor, pixels: int) -> Tensor:
    """Add a rim outside the hole's body that falls linearly, to 0 beyond so many pixels. (n, 1, H, W) -> the same."""
    if pixels == 0:
        return masks
    from scipy import ndimage

    def soften(mask: np.ndarray) -> np.ndarray:
        if not (mask >= SOLID).any():
            return mask
        distance = ndimage.distance_transform_edt(mask < SOLID)
        return np.maximum(mask, 1 - distance / (pixels + 1))

    return _each(masks, soften)


def extend(image: Tensor, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0) -> tuple[Tensor, Tensor]:
    """Make room around a picture, for outpainting.

    Args:
        image: (B, C, H, W).
        left, top, right, bottom: pixels that are added on each side.

    Returns:
        the larger picture, whose new pixels repeat the nearest old one, and its mask (1, 1, H', W'), 1 where it is new.

    Raises:
        ValueError: a negative number, or nothing to add.
    """
    sides = (left, right, top, bottom)
    if min(sides) < 0 or not any(sides):
        raise ValueError("Enter how many pixels to add on at least one side: left, top, right or bottom.")
    mask = F.pad(torch.zeros(1, 1, *image.shape[2:], device=image.device), sides, value=1.0)
    return F.pad(image, sides, mode="replicate"), mask


def _each(masks: Tensor, change) -> Tensor:
    """Apply a function of arrays (H, W) to each mask (n, 1, H, W)."""
    arrays = masks.float().cpu().numpy()
    return torch.from_numpy(np.stack([change(mask[0]) for mask in arrays])[:, None].astype(np.float32)).to(masks)
