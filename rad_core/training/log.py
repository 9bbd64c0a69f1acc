"""Logging of a training run: a CSV of its losses, a plot of them, and optionally TensorBoard."""

import math
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..atomic import atomic_write
from ..notes import note

RATE = "pictures_per_second"
PART = "loss_"  # losses that are a part of another one: in the log alone
_INK, _LINES = (60, 60, 60), ((31, 119, 180), (214, 89, 20), (44, 140, 44), (150, 70, 160))


class Log:
    """A log's rows: step, picture size, mean of each loss since the previous row (of the steps that have it), pictures per second.

    Args:
        path: the CSV file, or None.
        tensorboard: a folder for TensorBoard's files, or None.

    Raises:
        ValueError: `tensorboard` is set, but TensorBoard is not installed.
    """

    def __init__(self, path: Path | None = None, tensorboard: Path | None = None):
        self.path, self.rows, self.step, self.writer = path, [], 0, _summary_writer(tensorboard)
        self._reset()

    def state_dict(self) -> dict:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict) -> None:
        self.rows = state["rows"]
        self.step = self.rows[-1]["step"] if self.rows else 0

    def _reset(self) -> None:
        self.sums, self.counts, self.pictures, self.started = {}, {}, 0, time.perf_counter()

    def add(self, step: int, size: int, pictures: int, losses: dict[str, float]) -> None:
        """Add a step to the current row."""
        self.step, self.size = step, size
        for name, value in losses.items():
            self.sums[name], self.counts[name] = self.sums.get(name, 0.0) + value, self.counts.get(name, 0) + 1
        self.pictures += pictures

    def write(self) -> dict[str, str]:
        """Finish the current row, write it, and return it as strings for a progress bar."""
        means = {name: value / self.counts[name] for name, value in sorted(self.sums.items(), key=_parts_last)}
        rate = self.pictures / (time.perf_counter() - self.started)
        self.rows.append({"step": self.step, "size": self.size} | means | {RATE: round(rate, 2)})
        self._reset()
        if self.path:
            names = list(dict.fromkeys(name for row in self.rows for name in row))
            lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in self.rows)]
            try:
                atomic_write(self.path, lambda temporary: Path(temporary).write_text("\n".join(lines) + "\n", encoding="utf-8"))
            except (OSError, ValueError) as error:  # open in a spreadsheet, for one; the next row is written with this one
                note(f"The log is not up to date: {error}")
        if self.writer:
            for name, value in (means | {RATE: rate}).items():
                self.writer.add_scalar(name, value, self.step)
            self.writer.flush()
        return {name: f"{value:.4f}" for name, value in means.items() if not name.startswith(PART)} | {"img_s": f"{rate:.1f}"}

    def show(self, name: str, pictures: Tensor) -> None:
        """Log pictures (B, 3, H, W) in [0, 1] to TensorBoard, if it is in use."""
        if self.writer:
            self.writer.add_images(name, pictures.float().clamp(0, 1), self.step)
            self.writer.flush()


def _parts_last(loss: tuple[str, float]) -> str:
    """Sorts losses: in their own order, then the parts by name."""
    return loss[0] if loss[0].startswith(PART) else ""


def _summary_writer(folder: Path | None):
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("TensorBoard is not installed: pip install tensorboard, or omit --tensorboard.") from None
    return SummaryWriter(str(folder))


def loss_curve(rows: list[dict], width: int = 640, height: int = 400) -> Image.Image:
    """Plot a log's losses over its steps on a logarithmic scale; losses with a value of 0 or less are omitted."""
    names = [name for name in (rows[0] if rows else {}) if name not in ("step", "size", RATE) and not name.startswith(PART)]
    names = [name for name in names if all(row[name] > 0 and math.isfinite(row[name]) for row in rows)][: len(_LINES)]
    canvas, font = Image.new("RGB", (width, height), "white"), ImageFont.load_default(size=13)
    draw = ImageDraw.Draw(canvas)
    left, top, right, bottom = 60, 30, width - 15, height - 30
    if not names:
        draw.text((width / 2, height / 2), "no losses yet", fill=_INK, font=font, anchor="mm")
        return canvas
    steps, values = [row["step"] for row in rows], [math.log10(row[name]) for row in rows for name in names]
    low, high = min(values), max(values)
    low, high = (low - 0.1, high + 0.1) if high - low < 0.2 else (low, high)
    x_of = lambda step: left + (right - left) * (step - steps[0]) / max(1, steps[-1] - steps[0])
    y_of = lambda value: bottom - (bottom - top) * (math.log10(value) - low) / (high - low)
    for tick in _ticks(10**low, 10**high):
        draw.line([(left, y_of(tick)), (right, y_of(tick))], fill=(225, 225, 225))
        draw.text((left - 5, y_of(tick)), f"{tick:g}", fill=_INK, font=font, anchor="rm")
    for step in {steps[0], steps[-1]}:
        draw.text((x_of(step), bottom + 6), f"{step}", fill=_INK, font=font, anchor="ma")
    draw.text(((left + right) / 2, bottom + 6), "step", fill=_INK, font=font, anchor="ma")
    for k, (name, colour) in enumerate(zip(names, _LINES, strict=False)):
        points = [(x_of(row["step"]), y_of(row[name])) for row in rows]
        draw.line(points, fill=colour, width=2, joint="curve")
        for x, y in points if len(points) < 40 else ():
            draw.ellipse([x - 2, y - 2, x + 2, y + 2], fill=colour)
        draw.text((left + 130 * k, 8), name, fill=colour, font=font)
    return canvas


def _ticks(low: float, high: float) -> list[float]:
    """Tick values between two positive numbers: 1, 2 and 5 times powers of ten, or evenly spaced where those are too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [lead * 10.0**power for power in powers for lead in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    return ticks if len(ticks) > 1 else [float(f"{low + (high - low) * k / 3:.2g}") for k in range(4)]
