"""`masks`: write masks as PNG files."""

import argparse
from pathlib import Path

import torch
from PIL import Image

from ..atomic import write_whole
from ..masks import SHAPES, animated_perlin_masks, perlin_masks

HELP = "draw masks: Perlin noise, boxes, strokes, scratches"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for mask_000.png, mask_001.png, ..., or a .png file for a single mask"
    )
    parser.add_argument("--kind", choices=list(SHAPES), default="perlin")
    parser.add_argument("--size", default="256", help="side in pixels, or WIDTHxHEIGHT (default: 256)")
    parser.add_argument("-n", "--count", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="mask k belongs to seed + k (default: 0)")
    perlin = parser.add_argument_group("Perlin masks")
    perlin.add_argument("--scale", type=float, help="size of the blobs in pixels (default: drawn for each mask)")
    perlin.add_argument(
        "--area", type=float, metavar="PERCENT", help="share of the hole, 0 to 100, met to the pixel (default: drawn for each mask)"
    )
    perlin.add_argument("--octaves", type=int, default=1, help="more: rougher edges (default: 1)")
    perlin.add_argument("--softness", type=float, default=0.0, help="width of the soft rim, 0 to 1 (default: 0, hard)")
    perlin.add_argument("--tile", action="store_true", help="left meets right and top meets bottom")
    perlin.add_argument("--invert", action="store_true", help="swap hole and rest")
    perlin.add_argument(
        "--animate", type=float, metavar="SPEED", help="frames of one moving mask instead, SPEED blobs per frame (such as 0.1)"
    )


def run(options: argparse.Namespace) -> None:
    width, height = parse_size(options.size)
    if options.count < 1:
        raise ValueError(f"--count must be at least 1, got {options.count}.")
    if min(width, height) < 1:
        raise ValueError(f"A mask needs a size of at least 1x1 pixels, got {width}x{height}.")
    if options.output.suffix and options.count > 1:
        raise ValueError(f"{options.count} masks need a folder, not the file {options.output.name}.")
    if options.kind != "perlin" and (options.scale, options.area, options.octaves, options.softness, options.tile) != (
        None,
        None,
        1,
        0.0,
        False,
    ):
        raise ValueError("--scale, --area, --octaves, --softness and --tile are for Perlin masks alone.")
    area = None if options.area is None else options.area / 100
    if area is not None and not 0 <= area <= 1:
        raise ValueError(f"--area is a percentage from 0 to 100, got {options.area:g}.")
    if options.animate is not None:
        scale, area = 64.0 if options.scale is None else options.scale, 0.4 if area is None else area
        out = animated_perlin_masks(
            options.count, height, width, options.seed, scale, area, options.animate, options.softness, invert=options.invert
        )
    elif options.kind == "perlin":
        out = perlin_masks(
            options.count, height, width, options.seed, options.scale, area, options.octaves, options.softness, options.tile, options.invert
        )
    else:
        out = SHAPES[options.kind](options.count, height, width, options.seed)
        out = 1 - out if options.invert else out
    for k, mask in enumerate(out):
        single = options.output.suffix and options.count == 1
        path = options.output if single else options.output / f"mask_{k:03d}.png"
        picture = Image.fromarray((mask[0] * 255).round().to(torch.uint8).numpy())
        write_whole(path, picture.save)
    print(f"Wrote {options.count} mask(s) to {options.output}; the holes take {100 * float(out.mean()):.1f} % on average.")


def parse_size(text: str) -> tuple[int, int]:
    """ "256" or "640x480" -> (width, height)."""
    try:
        width, _, height = text.lower().partition("x")
        return int(width), int(height or width)
    except ValueError:
        raise ValueError(f"--size is a number or WIDTHxHEIGHT, got '{text}'.") from None
