"""Several fills of the same holes beside each other, in numbers and on a sheet."""

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .metrics import hole_rmse, markdown, psnr, ring_rmse, seam, ssim, texture
from .sheets import draw_sheet, mark_hole

MEASURES = {"PSNR": psnr, "SSIM": ssim, "hole RMSE": hole_rmse, "ring RMSE": ring_rmse, "seam": seam, "texture": texture}
_LINE = 18  # pixels


def compare(original: Tensor, mask: Tensor, fills: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Measures of every fill, means over the batch, and how far the farthest pixel outside the mask is from the original.

    Args:
        original: (B, 3, H, W) in [0, 1], what should stand in the hole. mask: (B, 1, H, W). fills: (B, 3, H, W) each.
    """
    return {
        name: {label: float(of(fill, original, mask).mean()) for label, of in MEASURES.items()}
        | {"changed outside": float(((fill - original).abs() * (mask == 0)).max())}
        for name, fill in fills.items()
    }


def comparison(original: Tensor, mask: Tensor, fills: dict[str, Tensor], cell: int = 256) -> tuple[Image.Image, str]:
    """A labelled sheet with the table below it, and the table as Markdown. Arguments as `compare`; cell: height of a picture."""
    rows = compare(original, mask, fills)
    sheet = draw_sheet([("original", original), ("hole", mark_hole(original, mask)), *fills.items()], cell)
    canvas = Image.new("RGB", (sheet.width, sheet.height + _LINE * (len(rows) + 2)), "white")
    canvas.paste(sheet)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    heads, step = ["", *next(iter(rows.values()))], sheet.width / (len(MEASURES) + 2)
    lines = [heads, *([name, *(f"{value:.3g}" for value in row.values())] for name, row in rows.items())]
    for k, line in enumerate(lines):
        for column, text in enumerate(line):
            draw.text((8 + step * column, sheet.height + 6 + _LINE * k), text, fill="black", font=font)
    return canvas, markdown(rows)
