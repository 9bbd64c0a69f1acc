"""Masks as a person draws them, and the four kinds of small damage, each from a random generator. bool (H, W), True = hole."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Generator = np.random.Generator


def blobs(rng: Generator, height: int, width: int, share: float) -> np.ndarray:
    """One to three closed wobbly outlines, together `share` of the picture."""
    count = int(rng.integers(1, 4))
    outlines = [(rng.uniform(0.2, 0.8, 2), _outline(rng), rng.uniform(0.6, 1)) for _ in range(count)]

    def paint(draw: ImageDraw.ImageDraw, size: float) -> None:
        for (x, y), outline, part in outlines:
            draw.polygon([(x * width + size * part * dx, y * height + size * part * dy) for dx, dy in outline], fill=255)

    return _grown(height, width, share, paint)


def strokes(rng: Generator, height: int, width: int, share: float) -> np.ndarray:
    """One to four broad strokes of a round brush, together `share` of the picture."""
    side = min(height, width)
    paths = [_path(rng, height, width, legs=int(rng.integers(6, 16)), leg=0.05 * side, turn=0.5) for _ in range(int(rng.integers(1, 5)))]
    return _grown(height, width, share, lambda draw, size: [_brush(draw, path, size) for path in paths])


def lines(rng: Generator, height: int, width: int, share: float) -> np.ndarray:
    """Thin lines, 3 to 9 pixels broad and right across the picture, until `share` of it is covered."""
    canvas = Image.new("L", (width, height))
    while (np.array(canvas) > 127).mean() < share:
        _across(ImageDraw.Draw(canvas), rng, height, width, int(rng.integers(3, 10)))
    return np.array(canvas) > 127


def scratches(rng: Generator, height: int, width: int) -> np.ndarray:
    """Scratches and specks, by the library's own generator."""
    from rad_core.masks import scratch_masks

    return scratch_masks(1, height, width, seed=int(rng.integers(2**31)), strokes=(2, 4))[0, 0].numpy() > 0.5


def lettering(rng: Generator, height: int, width: int) -> np.ndarray:
    """One word across the picture, in Pillow's own font."""
    canvas = Image.new("L", (width, height))
    font = ImageFont.load_default(size=height // 7)
    word = str(rng.choice(["SPECIMEN", "Copyright", "SAMPLE 2024", "PREVIEW"]))
    left, top, right, bottom = font.getbbox(word)
    x, y = rng.uniform(0, max(width - right - left, 1)), rng.uniform(0, height - bottom - top)
    ImageDraw.Draw(canvas).text((x, y), word, fill=255, font=font)
    return np.array(canvas) > 100


def wires(rng: Generator, height: int, width: int) -> np.ndarray:
    """Two long gentle curves, 2 to 4 pixels broad."""
    canvas = Image.new("L", (width, height))
    for _ in range(2):
        _across(ImageDraw.Draw(canvas), rng, height, width, int(rng.integers(2, 5)))
    return np.array(canvas) > 127


def boxes(rng: Generator, height: int, width: int) -> np.ndarray:
    """One rectangle, its sides 24 to 64 pixels."""
    h, w = rng.integers(24, 65, 2)
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    hole = np.zeros((height, width), bool)
    hole[top : top + h, left : left + w] = True
    return hole


HAND_DRAWN = {"blobs": blobs, "strokes": strokes, "lines": lines}
SMALL_DAMAGE = {"scratches": scratches, "lettering": lettering, "wires": wires, "boxes": boxes}


def _grown(height: int, width: int, share: float, paint: Callable[[ImageDraw.ImageDraw, float], object]) -> np.ndarray:
    """The drawing at the size at which it covers `share` of the picture, found by bisection."""
    low, high = 1.0, float(max(height, width))
    for _ in range(14):
        size = math.sqrt(low * high)
        canvas = Image.new("L", (width, height))
        paint(ImageDraw.Draw(canvas), size)
        hole = np.array(canvas) > 127
        low, high = (size, high) if hole.mean() < share else (low, size)
    return hole


def _across(draw: ImageDraw.ImageDraw, rng: Generator, height: int, width: int, breadth: int) -> None:
    """A curve from one side of the picture to another: a parabola sagging between its ends."""
    ends = [(0, rng.uniform(0, height)), (width, rng.uniform(0, height))]
    if rng.random() < 0.5:
        ends = [(rng.uniform(0, width), 0), (rng.uniform(0, width), height)]
    sag = rng.normal(0, 0.12, 2) * (width, height)
    times = np.linspace(0, 1, 60)[:, None]
    points = (1 - times) * ends[0] + times * ends[1] + 4 * times * (1 - times) * sag
    draw.line([tuple(point) for point in points], fill=255, width=breadth, joint="curve")


def _outline(rng: Generator) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * math.pi, 90, endpoint=False)
    radius = np.ones_like(angles)
    for k in range(2, 7):
        radius += rng.normal(0, 0.5 / k) * np.cos(k * angles + rng.uniform(0, 2 * math.pi))
    radius, stretch = np.maximum(radius, 0.25), rng.uniform(0.6, 1.6)
    return [(r * math.cos(a) * stretch, r * math.sin(a) / stretch) for r, a in zip(radius, angles, strict=True)]


def _path(rng: Generator, height: int, width: int, legs: int, leg: float, turn: float) -> list[tuple[float, float]]:
    x, y, angle = rng.uniform(0.15, 0.85) * width, rng.uniform(0.15, 0.85) * height, rng.uniform(0, 2 * math.pi)
    points = [(x, y)]
    for _ in range(legs):
        angle += rng.normal(0, turn)
        x, y = np.clip(x + leg * math.cos(angle), 0, width), np.clip(y + leg * math.sin(angle), 0, height)
        points.append((float(x), float(y)))
    return points


def _brush(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], breadth: float) -> None:
    draw.line(points, fill=255, width=max(1, round(breadth)), joint="curve")
    for x, y in points:
        draw.ellipse([x - breadth / 2, y - breadth / 2, x + breadth / 2, y + breadth / 2], fill=255)
