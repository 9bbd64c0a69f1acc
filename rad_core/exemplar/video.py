"""Video: what one of the other frames shows behind a frame's hole is found there. A frame that shows the same scene serves as a reference
that is cut, or resampled, so that its places are the picture's."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ..boxes import Box
from ..depth import touches
from .motion import STILL, Motion, motion, places, sample
from .progress import Poll, no_poll
from .scene import Source
from .settings import ExemplarSettings

SIMILAR, NOISE = 2, 1e-5  # differences up to SIMILAR times the least, plus NOISE, are as good: the nearer frame comes first
AT_ONCE = 16  # frames that are compared before more are
ANCHORS = 4  # most earlier frames that are kept as they were filled
GAIN = 0.01  # least share of the patches at a hole that another reference must be the first to show


@dataclass
class Filled:
    """A frame as it was filled. motion: where the last frame that was compared is in it, which the next comparison begins with."""

    source: Source
    motion: Motion = STILL


def following(
    colour: Tensor,
    known: Tensor,
    box: Box,
    hole: Tensor,
    patch: int,
    frames: Iterable[tuple[int, Source]],
    anchors: Sequence[Filled] = (),
    before: Filled | None = None,
    poll: Poll = no_poll,
) -> tuple[list[Source], bool]:
    """References of a frame, moved to the places of its box, the first that shows a patch being the one to take it from.

    Args:
        colour: (3, H, W) of the frame. known: (H, W) bool. box: the hole's context. hole: (h, w) bool, of that box.
        patch: side of a patch. Those across the rim of what a reference shows are not shown by it.
        frames: other frames, nearest first, each with its number counted from this frame; those far away are asked only for what nearer
            ones do not show.
        anchors: earlier frames as they were filled, for what no frame shows. before: the frame before, for what none of them shows.
        poll: called between frames; raise from it to cancel.

    Returns:
        the references, and whether they and the anchors leave some of the hole.
    """
    side = min(patch, *hole.shape)
    unseen, out, others, frames = touches(hole, side), [], [], iter(frames)
    least, difference = max(1, int(GAIN * unseen.sum())), math.inf
    last = {False: STILL, True: STILL}  # the motion of the last frame before this one, and after it
    while some := [*islice(frames, AT_ONCE)]:
        moves = []
        for number, frame in some:
            poll()
            moves.append(motion(colour, known, frame.colour, frame.known, box, last[number > 0]))
            last[number > 0] = moves[-1] or last[number > 0]
        difference = min([difference, *(move.difference for move in moves if move)])
        pairs = [(frame, move) for (_, frame), move in zip(some, moves, strict=True)]
        left = int(unseen.sum())
        others += [moved(frame, box) for frame, move in pairs if move is None][: 4 - len(others)]
        for frame, move in sorted((pair for pair in pairs if pair[1]), key=lambda pair: pair[1].difference > SIMILAR * difference + NOISE):
            reference = moved(frame, box, move)
            shown = unseen & ~touches(~reference.known, side)
            if not out or int(shown.sum()) >= least:
                unseen &= ~shown
                out.append(reference)
            if not unseen.any():
                return out, False
        if left == int(unseen.sum()):
            break  # a hole that stands still is shown by none: to compare all frames would take long
    for fill in anchors:
        poll()
        if move := motion(colour, known, fill.source.colour, fill.source.known, box, fill.motion):
            fill.motion, reference = move, moved(fill.source, box, move)
            shown = unseen & ~touches(~reference.known, side)
            if int(shown.sum()) >= least:
                unseen &= ~shown
                out.append(reference)
    more = int(unseen.sum()) >= least
    if more and before is not None:
        nothing = not box.cut(known).any()  # to compare by: it goes on as a still
        move = STILL if nothing else motion(colour, known, before.source.colour, before.source.known, box)
        out.append(moved(before.source, box, move))
    return out + others[: max(0, 4 - len(out))], more


def moved(source: Source, box: Box, move: Motion | None = None) -> Source:
    """A source where a box of the picture is in it, unknown where that is outside. move: None for a source of another scene."""
    shift = (move or STILL).shift(box)
    colour, known = _cut(source, box, shift) if shift is not None else _resampled(source, box, move)
    return Source(colour, known, source.aligned, follows=move is not None)


def _cut(source: Source, box: Box, shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
    at, inside = [], []
    for start, length, by, side in zip((box.top, box.left), (box.height, box.width), shift, source.known.shape, strict=True):
        index = torch.arange(start + by, start + by + length, device=source.known.device)
        at.append(index.clamp(0, side - 1))
        inside.append((index >= 0) & (index < side))
    rows, columns = at[0][:, None], at[1]
    known = source.known[rows, columns] & inside[0][:, None] & inside[1]
    return source.colour[:, rows, columns].masked_fill_(~known, 0), known


def _resampled(source: Source, box: Box, move: Motion) -> tuple[Tensor, Tensor]:
    """By bicubic interpolation, known where all pixels are that it takes."""
    corner = torch.tensor([[1, 0, box.top], [0, 1, box.left], [0, 0, 1]], dtype=torch.float64)
    where = places(move.matrix @ corner, box.height, box.width, source.known.device)
    deep = torch.zeros_like(source.known)
    if min(deep.shape) > 2:
        deep[1:-1, 1:-1] = ~touches(~source.known, 3)
    known = sample(deep.float()[None], where)[0] > 0.999
    return sample(source.colour, where, "bicubic").clamp_(-1, 1).masked_fill_(~known, 0), known


def known_part(picture: Tensor, known: Tensor) -> Source:
    """A picture (3, H, W) in [0, 1] where it is known (H, W), as a source."""
    return Source((picture.float() * 2 - 1).masked_fill_(~known, 0), known)


def neighbours(
    image: Tensor,
    hole: Tensor,
    copyable: Tensor | None,
    filled: Tensor | None,
    k: int,
    settings: ExemplarSettings,
) -> tuple["_Others", Filled | None]:
    """The known parts of a frame's neighbours, nearest first, and the frame before as it was filled.

    A first frame that is hidden entirely, as its neighbours are, takes the nearest that is not.
    """
    order = sorted(range(len(image)), key=lambda j: (abs(j - k), j))
    copyable = torch.ones_like(hole) if copyable is None else copyable[:, 0]
    shown = [j for j in order if j != k and not hole[j].all()]
    near = [j for j in shown if abs(j - k) <= settings.frames_near] or shown[: int(k == 0 and bool(hole[0].all()))]
    others = _Others(lambda j: known_part(image[j], copyable[j] & ~hole[j]), k, near)
    return others, Filled(known_part(filled, copyable[k - 1] | hole[k - 1])) if k else None


class _Others:
    """Frames as sources, with their numbers counted from one of them, made when they are asked for.

    The first are kept for the next hole; a frame is large, and few need all.
    """

    def __init__(self, source: Callable[[int], Source], frame: int, numbers: Sequence[int]):
        self.source, self.frame, self.numbers, self.kept = source, frame, numbers, []

    def __iter__(self) -> Iterator[tuple[int, Source]]:
        for place, number in enumerate(self.numbers):
            source = self.kept[place] if place < len(self.kept) else self.source(number)
            if len(self.kept) == place < AT_ONCE:
                self.kept.append(source)
            yield number - self.frame, source
