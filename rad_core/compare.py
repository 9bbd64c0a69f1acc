"""Compare several fills of the same holes: in numbers, and side by side on a sheet."""

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .metrics import hole_rmse, markdown, psnr, ring_rmse, seam, ssim, texture
from .sheets import draw_sheet, mark_hole

MEASURES = {"PSNR": psnr, "SSIM": ssim, "hole RMSE": hole_rmse, "ring RMSE": ring_rmse, "seam": seam, "texture": texture}
OUTSIDE = "changed outside"
# How the sheet writes a measure, and how far a value is from the best there is.
SHOWN = {"PSNR": "{:.1f} dB", "SSIM": "{:.3f}", "hole RMSE": "{:.1%}", "ring RMSE": "{:.1%}", "seam": "{:.2f} x", "texture": "{:.2f} x"}
SHOWN |= {OUTSIDE: "{:.3%}"}
HIGHER, LOWER, NEAR_1 = (lambda value: -value), (lambda value: value), (lambda value: abs(value - 1))
FAULT = {"PSNR": HIGHER, "SSIM": HIGHER, "hole RMSE": LOWER, "ring RMSE": LOWER, "seam": NEAR_1, "texture": NEAR_1, OUTSIDE: LOWER}
_BEST, _LINES = "#c8f0c8", 1.5  # colour of the best cell, and height of a line, in letters
_LETTERS = 32  # heights of a letter in the sheet's width, so that it reads when a node shows it 340 pixels wide


def compare(original: Tensor, mask: Tensor, fills: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Measure every fill.

    Args:
        original: (B, 3, H, W) in [0, 1], the true picture. Pictures may be of any float dtype.
        mask: (B, 1, H, W) in [0, 1], 1 = hole.
        fills: pictures (B, 3, H, W) in [0, 1] by name.

    Returns:
        a row of numbers for each fill: `MEASURES`, averaged over the pictures that have a hole, and "changed outside", the largest
        difference from the original where the mask is 0.
    """
    original, fills = original.float(), {name: fill.float() for name, fill in fills.items()}
    measured = (mask > 0).flatten(1).any(1)
    if not measured.any():
        measured = ~measured
    return {
        name: {label: float(measure(fill[measured], original[measured], mask[measured]).mean()) for label, measure in MEASURES.items()}
        | {OUTSIDE: float(((fill - original).abs() * (mask == 0)).max())}
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
    sheet = draw_sheet([("original", original), ("hole", mark_hole(original, mask)), *fills.items()], cell, letters=_LETTERS)
    return _with_table(sheet, rows), markdown(rows)


def _with_table(sheet: Image.Image, rows: dict[str, dict[str, float]]) -> Image.Image:
    """The sheet with a line for each measure: its name below the first two pictures, its values below the fills, the best marked."""
    text, wide = max(1, round(sheet.width / _LETTERS)), sheet.width / (len(rows) + 2)
    line = round(_LINES * text)
    canvas = Image.new("RGB", (sheet.width, sheet.height + line * len(FAULT) + text // 2), "white")
    canvas.paste(sheet)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=text)
    for k, (measure, fault) in enumerate(FAULT.items()):
        top = sheet.height + line * k
        draw.text((text / 2, top), measure, fill="black", font=font)
        _draw_direction(draw, text + font.getlength(measure), top + text / 4, 0.7 * text, fault, font)
        faults = {name: round(fault(row[measure]), 6) for name, row in rows.items()}
        for column, (name, row) in enumerate(rows.items(), 2):
            if len(rows) > 1 and faults[name] == min(faults.values()) < max(faults.values()):
                draw.rectangle((wide * column + 2, top, wide * (column + 1) - 2, top + line - 2), fill=_BEST)
            value = "nothing" if measure == OUTSIDE and row[measure] == 0 else SHOWN[measure].format(row[measure])
            draw.text((wide * (column + 0.5), top), value, fill="black", font=font, anchor="ma")
    return canvas


def _draw_direction(draw: ImageDraw.ImageDraw, left: float, top: float, side: float, fault, font: ImageFont.FreeTypeFont) -> None:
    """An arrow up where more is better and down where less is; "near 1" where neither is."""
    if fault is NEAR_1:
        draw.text((left, top - side / 3), "near 1", fill="grey", font=font)
        return
    tip, base = (top, top + side) if fault is HIGHER else (top + side, top)
    draw.polygon([(left, base), (left + side, base), (left + side / 2, tip)], fill="grey")
