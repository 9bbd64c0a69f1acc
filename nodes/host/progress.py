"""What one sees while a node works: its progress bar with previews, and the time left as a text on the node."""

import math
import time
from collections.abc import Callable

import comfy.model_management
import comfy.utils
import torch
from PIL import Image
from torch import Tensor

from .notes import say

SHARE = 0.01  # of a run's time that previews may take
FIRST, EVERY = 3.0, 1.0  # seconds until the time left is shown, and between two texts
SIDE = 512  # longest side at which the page shows a preview

Preview = tuple[str, Image.Image, int]  # format, picture, longest side that is sent


class Progress:
    """Progress of a node over all pictures of its run. Every report is a chance for the host's cancel button.

    Args:
        count: of pictures.

    Attributes:
        words: what the text on the node says before the time left.
    """

    def __init__(self, count: int = 1):
        self.count, self.words = count, ""
        self.bar, self.began, self.previewing = comfy.utils.ProgressBar(1), time.monotonic(), 0.0
        self.first: tuple[float, float] | None = None  # time and share done of the first report
        self.text_at = self.began + FIRST - EVERY

    def part(self, start: int = 0, stop: int | None = None) -> Callable[[int, int, Tensor], None]:
        """A callback for `rad_core` on pictures [start, stop), by default all: (step, steps, x0 (b, 3, h, w) in [0, 1])."""
        return lambda step, steps, x0: self.report(step, steps, lambda: _preview(x0), start, stop)

    def of_latents(self, model, start: int = 0, stop: int | None = None) -> Callable[[int, Tensor, Tensor, int], None]:
        """A callback for the host's samplers, (step, x0, x, steps), with the host's own previews of a MODEL's latents."""
        import latent_preview  # the host's; it needs a running host

        previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)

        def preview(x0):
            picture = x0.unbind()[0] if getattr(x0, "is_nested", False) else x0
            return previewer and previewer.decode_latent_to_preview_image("JPEG", picture)

        return lambda step, x0, x, steps: self.report(step + 1, steps, lambda: preview(x0), start, stop)

    def report(self, step: int, steps: int, preview: Callable[[], Preview | None], start: int = 0, stop: int | None = None) -> None:
        """Say how far pictures [start, stop) are. `preview` is called where there is time for it."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        stop, now = self.count if stop is None else stop, time.monotonic()
        unit = math.gcd(start, stop - start, self.count)
        done, total = (start * steps + (stop - start) * step) // unit, self.count * steps // unit
        shown = preview() if self.previewing <= SHARE * (now - self.began) or done == total else None
        self.previewing += time.monotonic() - now
        self.bar.update_absolute(done, total, shown)
        self.first = self.first or (now, done / total)
        if now - self.text_at >= EVERY and done / total > self.first[1]:
            self.text_at = now
            left = (now - self.first[0]) * (1 - done / total) / (done / total - self.first[1])
            if left >= 1:
                say(", ".join([*filter(None, [self.words]), f"{duration(left)} left"]))


def counting(words: str) -> Callable[[int, int], None]:
    """A callback for what a node prepares: (done, of how many). `words`: what the node does meanwhile."""
    progress = Progress()
    progress.words = words
    return lambda done, total: progress.report(done, total, lambda: None)


def duration(seconds: float) -> str:
    """Seconds in words: "12 s", "3 min", "2 h 5 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _preview(x0: Tensor) -> Preview:
    pixels = (x0[0].clamp(0, 1) * 255).round().to("cpu", torch.uint8).movedim(0, 2).contiguous()
    return "JPEG", Image.fromarray(pixels.numpy()), SIDE
