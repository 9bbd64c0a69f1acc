"""Progress of a run: previews, and a call often enough that raising from it cancels at once."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Callback = Callable[[int, int, Tensor], None]
Poll = Callable[[], None]  # called between pieces of work; it may raise to cancel
STEPS = 100  # a run's progress is reported in this many parts
PREVIEW = 1024  # longest side of a preview
PATIENCE = 0.2  # seconds between calls


def no_poll() -> None:
    """Nobody waits."""


class Progress:
    """Calls back with (step, steps, picture (1, 3, h, w) in [0, 1]).

    Args:
        callback: or None.
        work: pixels times steps of the whole run, about.
    """

    def __init__(self, callback: Callback | None, work: float):
        self.callback, self.work, self.done, self.last, self.preview = callback, max(work, 1), 0.0, 0.0, None
        self.place = None  # what a level's picture becomes on its way into the preview

    def begin(self, picture: Tensor, place: Callable[[Tensor, Tensor], None]) -> None:
        """Another picture (3, H, W) in [0, 1] is filled now; place(preview, colours) puts a level's picture into its preview."""
        if self.callback:
            scale = max(1.0, max(picture.shape[1:]) / PREVIEW)
            size = tuple(max(1, round(side / scale)) for side in picture.shape[1:])
            self.preview = F.interpolate(picture[None].float(), size, mode="area") if scale > 1 else picture[None].float().clone()
            self.place = place
            self.poll()

    def advance(self, work: float, colours: Callable[[], Tensor]) -> None:
        """Some work is done; colours() is the level's picture (3, h, w) in [-1, 1]."""
        self.done += work
        if self.callback:
            self.place(self.preview, colours())
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
        self.callback(max(1, min(STEPS, int(STEPS * self.done / self.work))), STEPS, torch.clone(self.preview))
        self.last = time.monotonic()
