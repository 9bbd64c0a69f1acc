"""Video: where a frame's pixels are in other frames, so that what one of them shows behind the hole is found there.

A frame's motion is one translation s around the hole, that of least mean squared difference of gradients (light may change) over the
pixels known in both: sum_x m_a(x) m_b(x + s) |a(x) - b(x + s)|^2, for all s at once by Fourier transforms, at a small size, then to the
pixel. A reference that follows it is cut so that its places are the picture's.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from ..boxes import Box
from ..depth import touches
from ..images import mean_pool
from .progress import Poll, no_poll
from .scene import Source, shrink

SIDE = 384  # pixels of the longer side at which all translations are compared
OVERLAP = 0.3  # least share of the known pixels around the hole that must be seen in both
AGREE = 0.4  # of the difference of two frames that have nothing in common: less is the same scene
SIMILAR, NOISE = 2, 1e-5  # differences up to SIMILAR times the least, plus NOISE, are as good: the nearer frame comes first
AT_ONCE = 16  # frames that are compared before more are
GAIN = 0.01  # least share of the patches at a hole that another reference must be the first to show


@dataclass(frozen=True)
class Motion:
    """shift: (dy, dx) in pixels. difference: mean squared difference of the gradients that remains."""

    shift: tuple[int, int]
    difference: float


def following(
    colour: Tensor,
    known: Tensor,
    box: Box,
    hole: Tensor,
    patch: int,
    frames: Iterable[Source],
    fill: Source | None,
    poll: Poll = no_poll,
) -> list[Source]:
    """References of a frame, cut to its box and moved to its places, the first that shows a patch being the one to take it from.

    Args:
        colour: (3, H, W) of the frame. known: (H, W) bool. box: the hole's context. hole: (h, w) bool, of that box.
        patch: side of a patch. Those across the rim of what a reference shows are not shown by it.
        frames: other frames, nearest first; those far away are asked only for what nearer ones do not show.
        fill: the frame before as it was filled, for what no frame shows.
        poll: called between frames; raise from it to cancel.
    """
    around = torch.zeros_like(known)
    box.cut(around)[:] = box.cut(known)
    side = min(patch, *hole.shape)
    unseen, out, others, frames = touches(hole, side), [], [], iter(frames)
    least, difference = max(1, int(GAIN * unseen.sum())), math.inf
    while some := [*islice(frames, AT_ONCE)]:
        moves = []
        for frame in some:
            poll()
            moves.append(motion(colour, around, frame.colour, frame.known))
        difference = min([difference, *(move.difference for move in moves if move)])
        pairs = [*zip(some, moves, strict=True)]
        before = int(unseen.sum())
        others += [cut(frame, box, (0, 0)) for frame, move in pairs if move is None][: 4 - len(others)]
        for frame, move in sorted((pair for pair in pairs if pair[1]), key=lambda pair: pair[1].difference > SIMILAR * difference + NOISE):
            moved = replace(cut(frame, box, move.shift), follows=True)
            shown = unseen & ~touches(~moved.known, side)
            if not out or int(shown.sum()) >= least:
                unseen &= ~shown
                out.append(moved)
            if not unseen.any():
                return out
        if before == int(unseen.sum()):
            break  # a hole that stands still is shown by none: to compare all frames would take long
    if fill is not None:
        move = motion(colour, around, fill.colour, fill.known)
        hidden = not around.any()  # nothing of the frame is there to compare: it goes on as a still
        out.append(replace(cut(fill, box, move.shift if move else (0, 0)), follows=hidden or move is not None))
    return out + others[: max(0, 4 - len(out))]


def motion(a: Tensor, a_known: Tensor, b: Tensor, b_known: Tensor) -> Motion | None:
    """The translation that takes pixels of a (3, H, W) to b's, or None where the two show different things."""
    sizes = [tuple(a_known.shape)]
    while max(sizes[-1]) > SIDE:
        sizes.append(shrink(sizes[-1], 2))
    best = None
    for size in sizes[::-1]:
        first, second = _gradients(a, a_known, size), _gradients(b, b_known, size)
        if best is None:
            best, agree = _everywhere(*first, *second)
            if not agree:
                return None
        else:
            near = [(2 * best[0] + dy, 2 * best[1] + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            best = min(near, key=lambda shift: _difference(*first, *second, shift))
    return Motion(best, _difference(*first, *second, best))


def cut(source: Source, box: Box, shift: tuple[int, int]) -> Source:
    """A box of a source, moved; unknown where that is outside the source."""
    places, inside = [], []
    for start, length, by, side in zip((box.top, box.left), (box.height, box.width), shift, source.known.shape, strict=True):
        at = torch.arange(start + by, start + by + length, device=source.known.device)
        places.append(at.clamp(0, side - 1))
        inside.append((at >= 0) & (at < side))
    rows, columns = places[0][:, None], places[1]
    known = source.known[rows, columns] & inside[0][:, None] & inside[1]
    return Source(source.colour[:, rows, columns].masked_fill_(~known, 0), known, source.aligned)


def _gradients(colour: Tensor, known: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Differences (2, h, w) of the grey picture to the next pixel right and below, 0 where not known, and where they are (h, w)."""
    grey, share = colour.mean(0)[None, None], known.to(torch.float32)[None, None]
    if size != tuple(known.shape):
        grey, share = mean_pool(grey * share, size), mean_pool(share, size)
        grey = grey / share.clamp(min=1e-6)
    grey, known = grey[0, 0], share[0, 0] > 0.99
    good = torch.zeros_like(known)
    good[:-1, :-1] = known[:-1, :-1] & known[:-1, 1:] & known[1:, :-1]
    out = torch.zeros(2, *size, device=grey.device)
    out[0, :, :-1], out[1, :-1] = grey[:, 1:] - grey[:, :-1], grey[1:] - grey[:-1]
    return out * good, good.to(torch.float32)


def _everywhere(a: Tensor, a_known: Tensor, b: Tensor, b_known: Tensor) -> tuple[tuple[int, int], bool]:
    """The best translation of all, and whether a and b agree there."""
    height, width = a_known.shape
    padded = (2 * height, 2 * width)
    to = lambda maps: torch.fft.rfft2(maps, s=padded)
    back = lambda spectrum: torch.fft.irfft2(spectrum, s=padded)
    at, bt = (
        to(torch.cat([a, a_known[None], a.square().sum(0, keepdim=True)])).conj(),
        to(torch.cat([b, b_known[None], b.square().sum(0, keepdim=True)])),
    )
    count = back(at[2] * bt[2])
    own, other = back(at[3] * bt[2]), back(at[2] * bt[3])
    apart = (own + other).clamp(min=0)  # of two pictures that have nothing in common
    error = (apart - 2 * back((at[:2] * bt[:2]).sum(0))).clamp(min=0)
    few = count < max(1.0, OVERLAP * float(a_known.sum()))
    y, x = (torch.fft.fftfreq(n, 1 / n, device=a.device) for n in padded)
    length = torch.hypot(y[:, None], x) / max(height, width)
    cost = (error / count.clamp(min=1) + 1e-6 * length).masked_fill_(few, torch.inf)
    best = int(cost.argmin())
    dy, dx = (round(float(v)) for v in (y[best // padded[1]], x[best % padded[1]]))
    agree = bool(cost.flatten()[best].isfinite()) and bool(
        error.flatten()[best] <= AGREE * apart.flatten()[best] + 1e-5 * count.flatten()[best]
    )
    return (dy, dx), agree


def _difference(a: Tensor, a_known: Tensor, b: Tensor, b_known: Tensor, shift: tuple[int, int]) -> float:
    """Mean squared difference under one translation."""
    (ya, yb), (xa, xb) = (
        (slice(max(0, -s), n - max(0, s)), slice(max(0, s), n - max(0, -s))) for s, n in zip(shift, a_known.shape, strict=True)
    )
    both = a_known[ya, xa] * b_known[yb, xb]
    count = float(both.sum())
    return float(((a[:, ya, xa] - b[:, yb, xb]).square().sum(0) * both).sum()) / count if count else float("inf")
