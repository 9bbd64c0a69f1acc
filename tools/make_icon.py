"""Draws the pack's icon, a picture with a hole that is being filled: `python tools/make_icon.py`, into docs/images/icon.png."""

import random
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

ICON = Path(__file__).parents[1] / "docs" / "images" / "icon.png"
SIDE, FINE = 400, 1600  # drawn at four times its size, for smooth edges
CELL = 100  # side of a noise block at that size
HOLE = (500, 500, 1300, 1300)
PINK = (219, 55, 137)


def landscape() -> Image.Image:
    """A sunset over two hills."""
    sky = Image.linear_gradient("L").resize((FINE, FINE))
    picture = Image.composite(Image.new("RGB", (FINE, FINE), (255, 178, 120)), Image.new("RGB", (FINE, FINE), (58, 66, 140)), sky)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((850, 520, 1210, 880), fill=(255, 236, 190))
    draw.ellipse((-700, 950, 1100, 2500), fill=(108, 78, 120))
    draw.ellipse((500, 1080, 2500, 2700), fill=(52, 44, 84))
    return picture


def noise(seed: int = 7) -> Image.Image:
    """Blocks of random colours."""
    rng = random.Random(seed)
    blocks = Image.new("RGB", (FINE // CELL, FINE // CELL))
    blocks.putdata([tuple(rng.randrange(40, 240) for _ in range(3)) for _ in range(blocks.width * blocks.height)])
    return blocks.resize((FINE, FINE), Image.Resampling.NEAREST)


def icon() -> Image.Image:
    """The landscape whose hole turns from noise, at its upper left, into the picture."""
    picture = landscape()
    share = Image.linear_gradient("L")
    share = ImageChops.add(share, share.rotate(90), scale=2).rotate(180).resize((HOLE[2] - HOLE[0], HOLE[3] - HOLE[1]))
    share = share.point(lambda value: max(0, min(255, round((value - 90) * 4))))  # how much is noise
    mask = Image.new("L", (FINE, FINE))
    mask.paste(share, HOLE[:2])
    picture = Image.composite(noise(), picture, mask)
    left, top, right, bottom = HOLE
    ImageDraw.Draw(picture).rounded_rectangle((left - 14, top - 14, right + 14, bottom + 14), radius=30, outline=PINK, width=28)
    corners = Image.new("L", (FINE, FINE))
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, FINE - 1, FINE - 1), radius=200, fill=255)
    picture.putalpha(corners.filter(ImageFilter.GaussianBlur(1)))
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    icon().save(ICON, optimize=True)
    print(f"Wrote {ICON}.")
