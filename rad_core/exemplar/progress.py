"""Progress of a run: previews, and a call often enough that raising from it cancels at once."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..boxes import Box, hole_box
from ..images import mean_pool
from ..samplers import Callback

if TYPE_CHECKING:
    from .level import Level

Poll = Callable[[], None]  # called between pieces of work; it may raise to cancel
STEPS = 100  # a run's progress is reported in this many parts
PREVIEW = 512  # longest side of a preview
AROUND = 0.5  # what a preview shows on each side of the hole, as a multiple of its longer side
PATIENCE = 0.2  # seconds between calls
SHARE = 0.01  # of a run's time that drawing previews may take


def no_poll() -> None:
    """Nobody waits."""


class Progress:
    """Calls back with (step, steps, picture (1, 3, h, w) in [0, 1]), which shows the hole with its surroundings.

    Args:
        callback: or None.
        work: pixels times steps of the whole run, about.
    """

    def __init__(self, callback: Callback | None, work: float):
        self.callback, self.work, self.done, self.last, self.preview = callback, max(work, 1), 0.0, 0.0, None
        self.view: Box | None = None  # what of the picture the preview shows
        self.end = 0.0  # `done` when the part at work is
        self.began, self.drawing = time.monotonic(), 0.0

    def show(self, picture: Tensor, hole: Tensor) -> None:
        """Show a picture (3, H, W) in [-1, 1] around its hole (H, W): before it is filled, and as it was filled."""
        if self.callback:
            self.view = hole_box(hole[None], AROUND, PREVIEW)
            part, scale = self.view.cut(picture)[None], max(1.0, max(self.view.height, self.view.width) / PREVIEW)
            size = tuple(max(1, round(side / scale)) for side in part.shape[2:])
            self.preview = (mean_pool(part, size) + 1) / 2
            self.poll()

    def begin(self, where: Box, pixels: Tensor, context: Box) -> None:
        """Some pixels (h, w) bool of a box are filled now; a level shows their context."""
        if self.callback:
            view, (height, width) = self.view, self.preview.shape[2:]
            self.rows, y = _places(where.top, where.height, view.top, height / view.height, pixels.device)
            self.columns, x = _places(where.left, where.width, view.left, width / view.width, pixels.device)
            self.pixels = pixels[y - where.top][:, x - where.left]
            self.place = (y - context.top + 0.5) / context.height, (x - context.left + 0.5) / context.width  # shares of the context
            self.light = 0.0
            self.poll()

    def set_light(self, light: Tensor) -> None:
        """A light (3, h, w) of the context, which its levels lack, is to be shown."""
        if self.callback:
            rows, columns = self._pixels_of(light.shape[1:])
            self.light = light[:, rows[:, None], columns]

    def _pixels_of(self, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Rows and columns of the context at some size that the preview shows."""
        return tuple((share * side).long() for share, side in zip(self.place, size, strict=True))

    def part(self, work: float) -> "Progress":
        """A part of the run begins, and all before it is done."""
        self.done, self.end = self.end, self.end + work
        return self

    def advance(self, work: float, level: "Level") -> None:
        """Some work is done on a level of the context."""
        self.done = min(self.done + work, self.end)
        if not self.callback:
            return
        now = time.monotonic()
        if self.drawing <= SHARE * (now - self.began):
            colours = level.colours(*self._pixels_of((level.height, level.picture_width))) + self.light
            self.preview = self.preview.clone()
            part = self.preview[0, :, self.rows, self.columns]
            part.copy_(torch.where(self.pixels, ((colours + 1) / 2).clamp(0, 1), part))
            self.drawing += time.monotonic() - now
        self._call()

    def poll(self) -> None:
        """Call back if the last call is some time ago."""
        if self.callback and time.monotonic() - self.last > PATIENCE:
            self._call()

    def finish(self) -> None:
        self.done = self.work
        if self.callback and self.preview is not None:
            self._call()

    def _call(self) -> None:
        self.callback(max(1, min(STEPS, int(STEPS * self.done / self.work))), STEPS, self.preview)
        self.last = time.monotonic()


def _places(start: int, length: int, origin: int, scale: float, device: torch.device) -> tuple[slice, Tensor]:
    """Which rows or columns of a preview show a part of the picture, and the pixel that each of them shows."""
    first = int((start - origin) * scale)
    last = max(first + 1, int((start - origin + length) * scale))
    pixels = origin + ((torch.arange(first, last, device=device) + 0.5) / scale).long()
    return slice(first, last), pixels.clamp(start, start + length - 1)
