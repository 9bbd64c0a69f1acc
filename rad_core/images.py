"""Pictures: reading and writing files without loss, and checking pictures, masks and maps that callers pass."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .atomic import atomic_write
from .notes import note

EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
ROUNDING = 1e-3  # values that are no further outside [0, 1] are clamped without a word
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as Pillow's "L"


@dataclass
class Photo:
    """A picture file in memory: rgb (1, 3, H, W) in [0, 1], and what is needed to write it back unchanged."""

    rgb: Tensor
    alpha: Tensor | None = None  # (H, W) uint8
    grey: bool = False
    deep: bool = False  # 16 bits (grey only: Pillow has no 16-bit colour)
    profile: bytes | None = None  # ICC colour profile


def picture_files(folder: str | Path) -> list[Path]:
    """The folder's pictures by extension, sorted by name."""
    return sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in EXTENSIONS)


def read_photo(path: str | Path) -> Photo:
    """Read any picture that Pillow reads, upright (EXIF), palettes resolved, first frame of an animation.

    16-bit colour is read with 8 bits, with a warning: Pillow has no more.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a picture, a broken one, or one in floating point.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with Image.open(path) as opened:
            raw_mode = str(opened.tile[0][3]) if opened.tile else ""
            opened.load()
            picture = ImageOps.exif_transpose(opened)
    except UnidentifiedImageError:
        raise ValueError(f"{path.name} is not a picture that can be read.") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name} is broken or unreadable: {error}.") from None
    if picture.mode == "F":
        raise ValueError(f"{path.name} is in floating point; save it with 8 or 16 bits first.")
    if ";16" in raw_mode and "RGB" in raw_mode:
        note(f"{path.name} has 16-bit colours; they are read with 8 bits.")
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I"):  # 16-bit grey comes as I;16 or I
        values = torch.from_numpy(np.array(picture, dtype=np.float32))
        deep = values.max() > 255 or picture.mode.startswith("I;16")
        return Photo(
            (values / (65535 if deep else 255)).clamp(0, 1).expand(1, 3, -1, -1).clone(), grey=True, deep=bool(deep), profile=profile
        )
    transparent = "A" in picture.getbands() or "transparency" in picture.info
    alpha = torch.from_numpy(np.array(picture.convert("RGBA").getchannel("A"))) if transparent else None
    rgb = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].float() / 255
    profile = None if picture.mode == "CMYK" else profile
    return Photo(rgb.contiguous(), alpha, grey=picture.mode in ("1", "L", "LA"), profile=profile)


_WRITE_OPTIONS = {".webp": {"lossless": True, "exact": True}, ".jpg": {"quality": 95}, ".jpeg": {"quality": 95}, ".png": {}, ".bmp": {}}
_WRITE_OPTIONS |= {".tif": {}, ".tiff": {}}


def check_writable(path: str | Path, photo: Photo | None = None) -> None:
    """Raise before the work is done if a picture cannot be written, and warn of what its format loses.

    Raises:
        ValueError: an extension that cannot be written, or 16 bits where the format has 8.
    """
    extension = Path(path).suffix.lower()
    if extension not in _WRITE_OPTIONS:
        raise ValueError(f"Cannot write {Path(path).name}: choose one of {', '.join(_WRITE_OPTIONS)}.")
    if photo is None:
        return
    if photo.deep and extension not in (".png", ".tif", ".tiff"):
        raise ValueError(f"{Path(path).name} would lose the photo's 16 bits: write a .png or .tif.")
    if extension in (".jpg", ".jpeg"):
        note(f"{Path(path).name} is a JPEG, which changes known pixels a little; PNG keeps them.")
    if photo.alpha is not None and extension in (".jpg", ".jpeg", ".bmp"):
        note(f"{Path(path).name} cannot hold the photo's transparency; PNG can.")


def write_photo(path: str | Path, photo: Photo) -> None:
    """Write a picture; its pixels come back bit-exact from PNG, TIFF, BMP and WebP (written lossless). JPEG loses some.

    The file appears whole or not at all.

    Raises:
        ValueError: as `check_writable`, or the place cannot be written.
    """
    extension = Path(path).suffix.lower()
    if extension not in _WRITE_OPTIONS:
        check_writable(path)
    rgb = photo.rgb[0].detach().cpu().float().clamp(0, 1)
    if photo.grey:
        r, g, b = rgb
        # A pixel that is still grey keeps its exact value; only filled pixels can carry colour.
        value = torch.where((r == g) & (g == b), r, _LUMA[0] * r + _LUMA[1] * g + _LUMA[2] * b)
        whole = (value * (65535 if photo.deep else 255)).round().to(torch.int32).numpy()
        picture = Image.fromarray(whole.astype(np.uint16 if photo.deep else np.uint8))
    else:
        picture = Image.fromarray((rgb * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
    if photo.alpha is not None and extension not in (".jpg", ".jpeg", ".bmp"):
        picture.putalpha(Image.fromarray(photo.alpha.numpy()))
    options = _WRITE_OPTIONS[extension] | ({"icc_profile": photo.profile} if photo.profile and extension != ".bmp" else {})
    atomic_write(path, lambda temporary: picture.save(temporary, **options))


def read_mask(path: str | Path) -> Tensor:
    """A mask file as (1, 1, H, W) in [0, 1]. White is the hole, and transparent pixels are not.

    Only in a picture with transparency and no white (an erased area) the transparent part is the hole.
    """
    photo = read_photo(path)
    r, g, b = photo.rgb[0]
    white = (_LUMA[0] * r + _LUMA[1] * g + _LUMA[2] * b).round(decimals=6).clamp(0, 1)
    if photo.alpha is not None:
        opaque = photo.alpha.float() / 255
        painted = white * opaque
        white = painted if painted.max() > 0.99 or opaque.min() == 1 else 1 - opaque
    return white[None, None]


def check_image_and_mask(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Bring a picture batch and a mask batch to one size and count.

    Args:
        image: (B, 3, H, W) or (3, H, W), float in [0, 1]. Values a little outside, as sharp resizing leaves them, come with a warning;
            methods clamp what they see, and known pixels come back as they were.
        mask: (B, 1, H, W), (B, H, W) or (H, W), 1 = hole, clamped to [0, 1]. Another size than the picture's is resized, with a
            warning. Batches of one serve all of the other.

    Returns:
        image (B, 3, H, W), values unchanged, and mask (B, 1, H, W) float32 in [0, 1] on the same device.

    Raises:
        ValueError: wrong shapes, batches that do not fit, values far outside [0, 1], or NaN outside the hole.
    """
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape or not image.is_floating_point():
        raise ValueError(f"The picture must be a float tensor (B, 3, H, W), got {tuple(image.shape)} {image.dtype}.")
    mask = mask.to(image.device, torch.float32)
    mask = mask[None, None] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    if mask.ndim != 4 or mask.shape[1] != 1 or 0 in mask.shape:
        raise ValueError(f"The mask must be (H, W), (B, H, W) or (B, 1, H, W), got {tuple(mask.shape)}.")
    mask = clamp_mask(mask)
    if mask.shape[2:] != image.shape[2:]:
        have, want = (f"{m.shape[3]}x{m.shape[2]}" for m in (mask, image))
        note(f"The mask ({have}) was resized to the picture's size ({want}).")
        mask = resize_mask(mask, image.shape[2:])
    if mask.shape[0] != image.shape[0]:
        if 1 not in (mask.shape[0], image.shape[0]):
            raise ValueError(f"{image.shape[0]} pictures and {mask.shape[0]} masks do not fit: give as many, or one of either.")
        count = max(mask.shape[0], image.shape[0])
        image, mask = image.expand(count, -1, -1, -1), mask.expand(count, -1, -1, -1)
    known = image.masked_fill(mask == 1, 0)
    if not bool(torch.isfinite(known).all()):
        raise ValueError("The picture has NaN or infinite values outside the hole.")
    _check_range(known, "The picture must lie in [0, 1]")
    return image, mask


def clamp_mask(mask: Tensor) -> Tensor:
    """A mask of any shape, clamped to [0, 1]; with a warning where that is more than rounding.

    Raises:
        ValueError: NaN, or values far outside, such as 0 to 255.
    """
    if mask.isnan().any():
        raise ValueError("The mask must lie between 0 (keep) and 1 (hole); it has NaN.")
    _check_range(mask, "The mask must lie between 0 (keep) and 1 (hole)")
    return mask.clamp(0, 1)


def _check_range(values: Tensor, expected: str) -> None:
    """Warn of values a little outside [0, 1], and raise ValueError for those far outside."""
    low, high = (float(end) for end in values.aminmax())
    if low < -0.5 or high > 1.5:
        hint = ": divide by 255" if high > 100 else ""
        raise ValueError(f"{expected}, got {low:.3g} to {high:.3g}{hint}.")
    if low < -ROUNDING or high > 1 + ROUNDING:
        note(f"{expected}, got {low:.3g} to {high:.3g}: the values outside were clamped.")


def resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a mask (B, 1, H, W): where it shrinks, a pixel takes the strongest value under it, so that thin lines stay."""
    small = F.adaptive_max_pool2d(mask, [min(sides) for sides in zip(mask.shape[2:], size, strict=True)])
    return F.interpolate(small, tuple(size), mode="nearest-exact")


def check_map(values: Tensor, mask: Tensor, name: str) -> Tensor:
    """Bring a grey map to a mask's size and count.

    Args:
        values: (B or 1, 1, H, W), (B or 1, H, W) or (H, W), any finite values. Another size than the mask's is resized.
        mask: (B, 1, H, W).
        name: of the map, for errors.

    Returns:
        (B, 1, H, W) float32.

    Raises:
        ValueError: wrong shape or count, or NaN or infinite values.
    """
    values = values.to(mask.device, torch.float32)
    values = values[None, None] if values.ndim == 2 else values[:, None] if values.ndim == 3 else values
    if values.ndim != 4 or values.shape[1] != 1 or 0 in values.shape or values.shape[0] not in (1, mask.shape[0]):
        raise ValueError(f"The {name} must be (H, W) or one map for each of {mask.shape[0]} pictures, got {tuple(values.shape)}.")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"The {name} has NaN or infinite values.")
    if values.shape[2:] != mask.shape[2:]:
        values = F.interpolate(values, mask.shape[2:], mode="bilinear", antialias=True)
    return values.expand_as(mask)


def check_order(order: Tensor, mask: Tensor, levels: int = 15) -> Tensor:
    """Bring an order map to a mask's size and count, 0 = first to 1 = last within each hole.

    Args:
        order: as `check_map`.
        mask: (B, 1, H, W).
        levels: how many distinct values are kept; few, for the network's shortcut (see `unet`).

    Returns:
        (B, 1, H, W) float32.

    Raises:
        ValueError: as `check_map`.
    """
    order = check_map(order, mask, "order map")
    hole = mask > 0
    low = order.masked_fill(~hole, math.inf).amin((2, 3), keepdim=True)
    high = order.masked_fill(~hole, -math.inf).amax((2, 3), keepdim=True)
    span = torch.where(high > low, high - low, 1)
    return torch.where(hole, ((order - low) / span * (levels - 1)).round() / (levels - 1), 0)
