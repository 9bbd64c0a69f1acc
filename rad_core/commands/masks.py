"""`masks`: write masks as PNG files."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..atomic import atomic_write
from ..masks import SHAPES, animated_perlin_masks, perlin_masks
from .paths import check_new, is_folder

HELP = "generate masks: Perlin noise, boxes, brush strokes, scratches"
LARGEST = 2 * Image.MAX_IMAGE_PIXELS  # of a picture that is read without --any-size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for mask_000.png, mask_001.png, ..., or a .png file for a single mask"
    )
    parser.add_argument("--kind", choices=list(SHAPES), default="perlin", help="default: perlin")
    parser.add_argument("--size", default="256", help="side in pixels, or WIDTHxHEIGHT (default: 256)")
    parser.add_argument("-n", "--count", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="mask k has the seed + k (default: 0)")
    parser.add_argument(
        "--invert", action="store_true", help="swap the hole and the rest; of Perlin noise: take the noise's other end, at the same area"
    )
    perlin = parser.add_argument_group("Perlin masks")
    perlin.add_argument("--scale", type=float, help="size of the blobs in pixels (default: random; with --animate: 64)")
    perlin.add_argument(
        "--area",
        type=float,
        metavar="PERCENT",
        help="area of the hole, 0 to 100; exact without --softness (default: random; with --animate: 40)",
    )
    perlin.add_argument("--octaves", type=int, default=1, help="more octaves give rougher edges (default: 1)")
    perlin.add_argument("--softness", type=float, default=0.0, help="width of the soft rim, 0 to 1 (default: 0, hard)")
    perlin.add_argument("--tile", action="store_true", help="tile seamlessly")
    perlin.add_argument(
        "--animate", type=float, metavar="SPEED", help="write frames of one moving mask, which moves SPEED blobs per frame (such as 0.1)"
    )


def run(options: argparse.Namespace) -> None:
    width, height = parse_size(options.size)
    if options.count < 1:
        raise ValueError(f"--count must be at least 1, got {options.count}.")
    if min(width, height) < 1 or width * height > LARGEST:
        raise ValueError(f"A mask needs a size of at least 1x1 and at most {LARGEST / 1e6:.0f} million pixels, got {width}x{height}.")
    folder = is_folder(options.output)
    if options.count > 1 and not folder:
        raise ValueError(f"{options.count} masks need a folder, not the file {options.output.name}.")
    perlin_options = (options.scale, options.area, options.octaves, options.softness, options.tile, options.animate)
    if options.kind != "perlin" and perlin_options != (None, None, 1, 0.0, False, None):
        raise ValueError("--scale, --area, --octaves, --softness, --tile and --animate are for Perlin masks alone.")
    if options.animate is not None and (options.octaves, options.tile) != (1, False):
        raise ValueError("--octaves and --tile are for still masks: leave them out, or leave out --animate.")
    paths = [options.output / f"mask_{k:03d}.png" for k in range(options.count)] if folder else [options.output]
    check_new(paths)
    area = None if options.area is None else options.area / 100
    if area is not None and not 0 <= area <= 1:
        raise ValueError(f"--area is a percentage from 0 to 100, got {options.area:g}.")
    total = 0.0
    for path, mask in zip(paths, draw(options, width, height, area), strict=True):
        picture = Image.fromarray((mask * 255).round().to(torch.uint8).numpy())
        atomic_write(path, picture.save)
        total += float(mask.mean())
    print(f"Wrote {options.count} mask(s) to {options.output}; the holes cover {100 * total / options.count:.1f} % on average.")


def draw(options: argparse.Namespace, width: int, height: int, area: float | None) -> Iterator[Tensor]:
    """The masks (height, width) that the options ask for; one in memory at a time, but for an animation's."""
    if options.animate is not None:
        scale, area = 64.0 if options.scale is None else options.scale, 0.4 if area is None else area
        frames = animated_perlin_masks(
            options.count, height, width, options.seed, scale, area, options.animate, options.softness, invert=options.invert
        )
        yield from frames[:, 0]
        return
    look = (options.scale, area, options.octaves, options.softness, options.tile, options.invert)
    for seed in range(options.seed, options.seed + options.count):
        if options.kind == "perlin":
            yield perlin_masks(1, height, width, seed, *look)[0, 0]
        else:
            mask = SHAPES[options.kind](1, height, width, seed)[0, 0]
            yield 1 - mask if options.invert else mask


def parse_size(text: str) -> tuple[int, int]:
    """Parse "256" or "640x480" as (width, height). Raises ValueError on anything else."""
    try:
        width, _, height = text.lower().partition("x")
        return int(width), int(height or width)
    except ValueError:
        raise ValueError(f"--size is a number or WIDTHxHEIGHT, got '{text}'.") from None
