"""Compare several fills of the same holes: in numbers, and side by side on a sheet."""

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .metrics import hole_rmse, markdown, psnr, ring_rmse, seam, ssim, texture
from .sheets import draw_sheet, mark_hole

MEASURES = {"PSNR": psnr, "SSIM": ssim, "hole RMSE": hole_rmse, "ring RMSE": ring_rmse, "seam": seam, "texture": texture}
_LINE = 18  # height of a line of the table, in pixels
_TABLE = 640  # its least width


def compare(original: Tensor, mask: Tensor, fills: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Measure every fill.

    Args:
        original: (B, 3, H, W) in [0, 1], the true picture. Pictures may be of any float dtype.
        mask: (B, 1, H, W) in [0, 1], 1 = hole.
        fills: pictures (B, 3, H, W) in [0, 1] by name.

    Returns:
        a row of numbers for each fill: `MEASURES`, averaged over the batch, and "changed outside", the largest difference from the
        original where the mask is 0.
    """
    original, fills = original.float(), {name: fill.float() for name, fill in fills.items()}
    return {
        name: {label: float(measure(fill, original, mask).mean()) for label, measure in MEASURES.items()}
        | {"changed outside": float(((fill - original).abs() * (mask == 0)).max())}
        for name, fill in fills.items()
    }


def comparison(original: Tensor, mask: Tensor, fills: dict[str, Tensor], cell: int = 256) -> tuple[Image.Image, str]:
    """Draw the fills on a labelled sheet with the table below.

    Args:
        original, mask, fills: as in `compare`.
        cell: height of a picture on the sheet, in pixels.

    Returns:
        the sheet, and the table as Markdown.
    """
    rows = compare(original, mask, fills)
    sheet = draw_sheet([("original", original), ("hole", mark_hole(original, mask)), *fills.items()], cell)
    canvas = Image.new("RGB", (max(sheet.width, _TABLE), sheet.height + _LINE * (len(rows) + 2)), "white")
    canvas.paste(sheet)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    heads, step = ["", *next(iter(rows.values()))], canvas.width / (len(MEASURES) + 2)
    lines = [heads, *([name, *(f"{value:.3g}" for value in row.values())] for name, row in rows.items())]
    for k, line in enumerate(lines):
        for column, text in enumerate(line):
            draw.text((8 + step * column, sheet.height + 6 + _LINE * k), text, fill="black", font=font)
    return canvas, markdown(rows)
