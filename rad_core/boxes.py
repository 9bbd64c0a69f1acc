"""Rectangles of a picture: what is cropped around a hole, and the size at which a network sees it."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def longer(self) -> int:
        """The longer side."""
        return max(self.height, self.width)

    def cut(self, maps: Tensor) -> Tensor:
        return maps[..., self.top : self.top + self.height, self.left : self.left + self.width]


def hole_box(mask: Tensor, context: float, least: int, context_mask: Tensor | None = None) -> Box:
    """The square around a hole that a network sees, cut off at the picture's edges.

    Args:
        mask: (1, H, W), not empty.
        context: what is shown on each side, as a multiple of the hole's longer side.
        least: smallest side in pixels: the network's size, so that nothing is enlarged without need.
        context_mask: (1, H, W) or None; where given, the square is around the hole and all of it, whatever `context`.
    """
    if context_mask is not None:
        mask, context = mask.maximum(context_mask), 0.0
    hole = mask[0].bool()  # no copy of one that is bool
    spans = [_span(hole, axis) for axis in (1, 0)]
    side = max(least, round(max(end - start for start, end in spans) * (1 + 2 * context)))
    return _box(spans, [side, side], mask)


def tile_box(mask: Tensor, size: int) -> Box:
    """The rectangle that holds a hole and half a window of `size` around it, cut off at the picture's edges."""
    spans = [_span(mask[0] > 0, axis) for axis in (1, 0)]
    return _box(spans, [max(size, end - start + size) for start, end in spans], mask)


def bounding_box(hole: Tensor) -> Box:
    """The smallest rectangle that holds a hole (H, W), not empty."""
    (top, bottom), (left, right) = (_span(hole, axis) for axis in (1, 0))
    return Box(top, left, bottom - top, right - left)


def _span(hole: Tensor, axis: int) -> tuple[int, int]:
    """First and one past the last row (axis 1) or column (axis 0) of a hole (H, W)."""
    touched = hole.any(axis).nonzero()
    return touched[0].item(), touched[-1].item() + 1


def _box(spans: list[tuple[int, int]], sides: list[int], mask: Tensor) -> Box:
    sides = [min(side, length) for side, length in zip(sides, mask.shape[1:], strict=True)]
    corner = [
        min(max(0, (start + end - side) // 2), length - side)
        for (start, end), side, length in zip(spans, sides, mask.shape[1:], strict=True)
    ]
    return Box(*corner, *sides)


def fit_size(box: Box, size: int, stride: int) -> tuple[int, int]:
    """The size (height, width) at which a network sees a box: longer side `size`, both multiples of `stride`."""
    scale = size / box.longer
    return tuple(max(stride, round(side * scale / stride) * stride) for side in (box.height, box.width))
