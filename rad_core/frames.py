"""A hole that moves over the frames of a video: a crop of one size that follows it steadily."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import Box

WINDOW = 25  # frames over which the crop's way is smoothed: about a second


def steady_boxes(mask: Tensor, context: float, least: int, context_mask: Tensor | None = None) -> list[Box]:
    """A box for each frame, all of one size, around the hole. It stands still if every frame's hole fits into one box.

    Args:
        mask: (n, 1, H, W), 1 = hole; frames without a hole may be among them, not only such.
        context: what is shown on each side, as a multiple of the longest side of any frame's hole.
        least: smallest side in pixels.
        context_mask: (n, 1, H, W) or None; where given, the boxes are around the holes and all of it, whatever `context`.
    """
    if context_mask is not None:
        mask, context = mask.maximum(context_mask), 0.0
    (top, bottom), (left, right) = (_spans(mask, axis) for axis in (-1, -2))
    longest = max((bottom - top).max().item(), (right - left).max().item())
    side = max(least, round(longest * (1 + 2 * context)))
    height, width = (min(side, length) for length in mask.shape[-2:])
    tops, lefts = _way(top, bottom, height, mask.shape[-2]), _way(left, right, width, mask.shape[-1])
    return [Box(y, x, height, width) for y, x in zip(tops, lefts, strict=True)]


def _spans(mask: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """First and one past the last row (axis -1) or column (axis -2) of every frame's hole: two (n,), that of the nearest frame with a hole
    where there is none."""
    touched = (mask > 0).any(axis).flatten(1)  # (n, length)
    places = torch.arange(touched.shape[1], device=mask.device)
    start = torch.where(touched, places, touched.shape[1]).amin(1)
    end = torch.where(touched, places + 1, 0).amax(1)
    having = touched.any(1).nonzero()[:, 0]
    frames = torch.arange(len(touched), device=mask.device)
    nearest = having[(frames[:, None] - having).abs().argmin(1)]
    return start[nearest].cpu(), end[nearest].cpu()


def _way(start: Tensor, end: Tensor, side: int, length: int) -> list[int]:
    """Where boxes of a side begin along an axis of a length: around the holes [start, end), which stay inside."""
    if end.max() - start.min() <= side:
        corner = ((start.min() + end.max() - side) // 2).expand(len(start))
    else:
        middle = (start + end).double() / 2
        half = min(WINDOW // 2, len(middle) - 1)
        padded = F.pad(middle[None, None], (half, half), mode="replicate")
        corner = (F.avg_pool1d(padded, 2 * half + 1, 1)[0, 0] - side / 2).round().long()
        corner = torch.minimum(torch.maximum(corner, end - side), start)
    return corner.clamp(0, length - side).tolist()
