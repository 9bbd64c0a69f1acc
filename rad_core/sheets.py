"""Contact sheets: labelled columns of pictures, to see results side by side."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .atomic import atomic_write

GAP = 4  # pixels between pictures
_HOLE_COLOUR = torch.tensor([0.86, 0.22, 0.55]).view(3, 1, 1)  # rare in pictures


def mark_hole(image: Tensor, mask: Tensor) -> Tensor:
    """Paint a picture's hole over. image (B, 3, H, W), mask (B, 1, H, W) -> (B, 3, H, W) float32."""
    mask = mask.to(image.device).float()
    return torch.lerp(torch.where(mask > 0, image.nan_to_num(), image).float(), _HOLE_COLOUR.to(image.device), mask)


def sheet(columns: Sequence[tuple[str, Tensor]], path: str | Path, cell: int | None = None) -> None:
    """Write a sheet as a .png or .jpg file. Arguments as in `draw_sheet`.

    Raises:
        ValueError: the file cannot be written.
    """
    atomic_write(path, draw_sheet(columns, cell).save)


def draw_sheet(columns: Sequence[tuple[str, Tensor]], cell: int | None = None, letters: int | None = None) -> Image.Image:
    """Draw a sheet with one labelled column per batch.

    Args:
        columns: pairs of a label and pictures (B, 3, H, W) in [0, 1]; all batches of the same length.
        cell: height of a picture on the sheet in pixels, or less where it would be more than twice as wide; None for its own size. What
            would have both sides under 128 is enlarged.
        letters: how many heights of a letter the sheet is wide, None for letters of 13 pixels. A label too long for its column is cut off.
    """
    first = columns[0][1]
    height, width = _cell_size(*first.shape[2:], cell)
    wide = len(columns) * (width + GAP) + GAP
    text = 13 if letters is None else max(1, round(wide / letters))
    font, head = ImageFont.load_default(size=text), round(1.5 * text)
    canvas = Image.new("RGB", (wide, first.shape[0] * (height + GAP) + head), "white")
    draw = ImageDraw.Draw(canvas)
    for c, (label, pictures) in enumerate(columns):
        left = GAP + c * (width + GAP)
        draw.text((left + width / 2, 2), _fit(label, font, width + GAP), fill="black", font=font, anchor="ma")
        enlarge = height > pictures.shape[2]
        mode = {"mode": "nearest"} if enlarge and pictures.shape[2] <= 64 else {"mode": "bicubic", "antialias": True}
        for r, picture in enumerate(F.interpolate(pictures.float().cpu(), (height, width), **mode).nan_to_num().clamp(0, 1)):
            pixels = (picture * 255).round().byte().permute(1, 2, 0).numpy()
            canvas.paste(Image.fromarray(pixels), (left, head + r * (height + GAP)))
    return canvas


def _cell_size(height: int, width: int, cell: int | None) -> tuple[int, int]:
    """The size at which a picture of this size is drawn."""
    scale = min(cell / height, 2 * cell / width) if cell else 1.0
    scale *= max(1, -(-128 // max(1, round(scale * max(height, width)))))  # by a whole number
    return max(1, round(height * scale)), max(1, round(width * scale))


def _fit(label: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The label, or as much of it as is not wider than this."""
    while len(label) > 1 and font.getlength(label) > width:
        label = label[:-1]
    return label
