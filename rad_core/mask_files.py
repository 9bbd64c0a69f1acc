"""Masks from files: which part of a picture is the hole. The rules stand here alone, and what they ignored is noted.

1. Without transparency, white is the hole; of colours the brightness counts. Values of up to `NOISE` count as black, and those as near
   to white as white: that is what JPEG makes of them. A mask of the values 0 and 1 alone is a map of classes: 1 is the hole.
2. With transparency, if what can be seen is black and white, as 1., and what cannot be seen is kept; if it is all black, or of one
   colour, it is paint: the paint is the hole; and if it is a picture, what was erased from it is the hole.
3. A mask or map that was drawn on the pixels of a photo as they are stored is turned as the photo is (EXIF).
"""

from pathlib import Path

import torch
from torch import Tensor

from .notes import note
from .photo_files import LUMA, Photo, read_photo

NOISE = 16  # of 255
MOST = 0.9  # share of the visible pixels that tells paint and drawn masks from pictures


def read_mask(path: str | Path, photo: Photo | None = None) -> Tensor:
    """Read a mask file by the rules of this module.

    Args:
        photo: that the mask belongs to.

    Returns:
        (1, 1, H, W) in [0, 1], 1 = hole.

    Raises:
        FileNotFoundError, ValueError: as `read_photo`.
    """
    file, name = read_photo(path), Path(path).name
    white, opaque = _classes(brightness(file), file.deep), None if file.alpha is None else file.alpha.float() / 255
    if opaque is None or bool((opaque == 1).all()):
        if ((file.rgb.amax(1) - file.rgb.amin(1)) * 255 > 2 * NOISE).float().mean() > 0.01:
            note(f"The mask {name} is in colour: its brightness was taken. A mask is white where the picture changes, else black.")
        mask = _without_noise(white, name)
    else:
        mask = _from_transparency(file.rgb[0], white, opaque, name)
    return _as_shown(mask[None, None], file, photo, f"mask {name}")


def read_map(path: str | Path, photo: Photo | None = None) -> Tensor:
    """Read a grey picture as a map (1, 1, H, W) in [0, 1], such as an order or an uncertainty.

    Args:
        photo: that the map belongs to; see rule 3.

    Raises:
        FileNotFoundError, ValueError: as `read_photo`.
    """
    file = read_photo(path)
    values = brightness(file) * (1 if file.alpha is None else file.alpha.float() / 255)
    return _as_shown(values[None, None], file, photo, f"map {Path(path).name}")


def brightness(photo: Photo) -> Tensor:
    """(H, W) in [0, 1]."""
    r, g, b = photo.rgb[0]
    return (LUMA[0] * r + LUMA[1] * g + LUMA[2] * b).round(decimals=6).clamp(0, 1)


def _classes(white: Tensor, deep: bool) -> Tensor:
    """The 0 and 1 of a 16-bit map of classes, as those of one of 8 bits."""
    values = (white * 65535).round()
    return values / 255 if deep and values.max() == 1 else white


def _without_noise(white: Tensor, name: str) -> Tensor:
    """Rule 1."""
    levels = (white * 255).round(decimals=2)
    if levels.max() == 1 and bool(((levels == 0) | (levels == 1)).all()):
        note(f"The mask {name} has the values 0 and 1 alone: it was read as a map of classes, and 1 is the hole.")
        return levels
    nearly = (levels > 0) & (levels <= NOISE)
    if nearly.float().mean() > 0.01:
        note(f"The mask {name} has {int(nearly.sum()):,} pixels that are nearly black, as a JPEG's are: they are kept.")
    return torch.where(levels <= NOISE, 0, torch.where(levels >= 255 - NOISE, 1, white))


def _from_transparency(rgb: Tensor, white: Tensor, opaque: Tensor, name: str) -> Tensor:
    """Rule 2. rgb (3, H, W), white and opaque (H, W)."""
    seen = opaque > 0.5
    if not seen.any():
        note(f"The mask {name} is wholly transparent.")
        return torch.zeros_like(white)
    level, colours = white[seen] * 255, rgb[:, seen] * 255
    drawn = ((level <= NOISE) | (level >= 255 - NOISE)) & (colours.amax(0) - colours.amin(0) <= NOISE)
    if drawn.float().mean() >= MOST and (level >= 255 - NOISE).any():
        note(f"The mask {name} has transparency: its white is the hole, and what is transparent is kept.")
        return _without_noise(white * opaque, name)
    middle = colours.median(1, keepdim=True).values
    if ((colours - middle).abs().amax(0) <= NOISE).float().mean() >= MOST:
        note(f"The mask {name} is paint of one colour on a transparent ground: the paint is the hole.")
        return opaque
    note(f"The mask {name} is a picture with transparent parts: what was erased is the hole.")
    return 1 - opaque


def _as_shown(mask: Tensor, file: Photo, photo: Photo | None, name: str) -> Tensor:
    """Rule 3."""
    if photo is None or photo.orientation == 1 or file.orientation != 1:
        return mask
    turned = upright(mask, photo.orientation)
    if mask.shape[2:] != photo.rgb.shape[2:] and turned.shape[2:] == photo.rgb.shape[2:]:
        note(f"The {name} was drawn on the photo's unturned pixels: it was turned with them.")
        return turned
    if turned.shape == mask.shape:
        note(f"The photo is shown turned, as its file says: the {name} is taken as drawn on the turned picture.")
    return mask


def upright(maps: Tensor, orientation: int) -> Tensor:
    """Turn maps (B, C, H, W) as EXIF's orientation says, 1 to 8."""
    across = maps.transpose(2, 3)
    turned = {2: maps.flip(3), 3: maps.flip(2, 3), 4: maps.flip(2), 5: across, 6: across.flip(3), 7: across.flip(2, 3), 8: across.flip(2)}
    return turned.get(orientation, maps)
