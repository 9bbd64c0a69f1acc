"""Pictures, masks and maps that callers pass as tensors: brought to one size, count and range, or refused."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .notes import note
from .timestep_embedding import MAX_LEVELS

ROUNDING = 1e-3  # values that are no further outside [0, 1] are clamped without a word


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
    check_tensor(image, "picture")
    check_tensor(mask, "mask")
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape or not image.is_floating_point():
        hint = "; divide whole numbers by 255" if image.dtype == torch.uint8 else ""
        raise ValueError(f"The picture must be a float tensor (B, 3, H, W), got {tuple(image.shape)} {image.dtype}{hint}.")
    if mask.ndim == 3 and mask.shape[:2] == image.shape[2:] != mask.shape[1:] and mask.shape[2] in (1, 3, 4):
        raise ValueError(f"The mask must be (H, W), (B, H, W) or (B, 1, H, W), got {tuple(mask.shape)}, colours last: take one, [..., 0].")
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
    known = image
    low, high = image.aminmax()
    if not (low >= 0 and high <= 1):  # rare, and the copy takes long; NaN too
        known = image.masked_fill(mask == 1, 0)
    if not bool(torch.isfinite(torch.stack(known.aminmax())).all()):  # without a copy of the whole
        raise ValueError("The picture has NaN or infinite values outside the hole.")
    check_range(known, "The picture must lie in [0, 1]")
    return image, mask


def check_tensor(values: object, name: str) -> None:
    """Raise ValueError for what is no tensor, such as a NumPy array."""
    if not isinstance(values, Tensor):
        raise ValueError(f"The {name} must be a tensor, got {type(values).__name__}: see torch.from_numpy.")


def clamp_mask(mask: Tensor) -> Tensor:
    """A mask of any shape, clamped to [0, 1]; with a warning where that is more than rounding.

    Raises:
        ValueError: NaN, or values far outside, such as 0 to 255.
    """
    if mask.isnan().any():
        raise ValueError("The mask must lie between 0 (keep) and 1 (hole); it has NaN.")
    check_range(mask, "The mask must lie between 0 (keep) and 1 (hole)")
    return mask.clamp(0, 1)


def check_range(values: Tensor, expected: str) -> None:
    """Warn of values a little outside [0, 1], and raise ValueError for those far outside."""
    low, high = (float(end) for end in values.aminmax())
    if low < -0.5 or high > 1.5:
        hint = ": divide by 255" if high > 100 else ""
        raise ValueError(f"{expected}, got {low:.3g} to {high:.3g}{hint}.")
    if low < -ROUNDING or high > 1 + ROUNDING:
        note(f"{expected}, got {low:.3g} to {high:.3g}: the values outside were clamped.")


def mean_pool(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Means over the parts of maps (B, C, H, W) that pixels of another size cover: `interpolate`'s mode "area"."""
    return _pooled(F.adaptive_avg_pool2d, maps, size)


def max_pool(maps: Tensor, size: Sequence[int]) -> Tensor:
    """The largest values there; of maps (B, C, T, H, W) too, for a size of three."""
    return _pooled(F.adaptive_max_pool2d if len(size) == 2 else F.adaptive_max_pool3d, maps, size)


def _pooled(pool: Callable[..., Tensor], maps: Tensor, size: Sequence[int]) -> Tensor:
    """On the CPU for Apple's GPUs, where torch refuses sizes that do not divide (pytorch#96056), or pools wrongly (pytorch#190064)."""
    return pool(maps.cpu() if maps.device.type == "mps" else maps, tuple(size)).to(maps.device)


def resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a mask (B, 1, H, W): where it shrinks, a pixel takes the strongest value under it, so that thin lines stay."""
    small = max_pool(mask, [min(sides) for sides in zip(mask.shape[2:], size, strict=True)])
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
    check_tensor(values, name)
    values = values.to(mask.device, torch.float32)
    values = values[None, None] if values.ndim == 2 else values[:, None] if values.ndim == 3 else values
    if values.ndim != 4 or values.shape[1] != 1 or 0 in values.shape or values.shape[0] not in (1, mask.shape[0]):
        raise ValueError(f"The {name} must be (H, W) or one map for each of {mask.shape[0]} pictures, got {tuple(values.shape)}.")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"The {name} has NaN or infinite values.")
    if values.shape[2:] != mask.shape[2:]:
        values = F.interpolate(values, mask.shape[2:], mode="bilinear", antialias=True)
    return values.expand_as(mask)


def check_extra_masks(context_mask: Tensor | None, stitch_mask: Tensor | None, mask: Tensor) -> tuple[Tensor | None, Tensor]:
    """Bring what a model may see, and what of its fill is pasted back, to a mask's size and count.

    Args:
        context_mask, stitch_mask: as `check_map`, in [0, 1], or None: all may be seen; the mask itself is pasted back.
        mask: (B, 1, H, W), 1 = hole.

    Returns:
        the context mask (B, 1, H, W) or None, and the stitch mask (B, 1, H, W), both in [0, 1].

    Raises:
        ValueError: as `check_map` and `clamp_mask`.
    """
    context_mask, stitch_mask = (
        None if values is None else clamp_mask(check_map(values, mask, name))
        for values, name in ((context_mask, "context mask"), (stitch_mask, "stitch mask"))
    )
    return context_mask, mask if stitch_mask is None else stitch_mask


def pasted(filled: Tensor, picture: Tensor, hole: Tensor, paste: Tensor | None) -> Tensor:
    """What of the filled pictures (B, 3, H, W) is fill: the hole or, of a stitch mask, the part inside the rectangle that was filled."""
    if paste is None:
        return hole
    hole, paste = (resize_mask(mask.to(filled), filled.shape[2:]) for mask in (hole, paste))
    changed = ((filled != picture).any(1, keepdim=True) | (hole > 0)).to(paste)
    rows, columns = (changed.amax(axis, keepdim=True) for axis in (3, 2))
    return paste * _from_first_to_last(rows, 2) * _from_first_to_last(columns, 3)


def _from_first_to_last(line: Tensor, axis: int) -> Tensor:
    """Zeros and ones -> ones from the first one to the last."""
    return torch.minimum(line.cummax(axis).values, line.flip(axis).cummax(axis).values.flip(axis))


def check_order(order: Tensor, mask: Tensor) -> Tensor:
    """Bring an order map to a mask's size and count, 0 = first to 1 = last within each hole.

    It keeps so few distinct values that, with 0 for known pixels, the network has a shortcut for them (see `timestep_embedding`).

    Args:
        order: as `check_map`.
        mask: (B, 1, H, W).

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
    steps = MAX_LEVELS - 2
    return torch.where(hole, ((order - low) / span * steps).round() / steps, 0)
