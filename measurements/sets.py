"""Make sets of photographs with masks: folders of NAME.png and NAME.mask.png (white = hole), the same from the same command.

    python -m measurements.sets hand FOLDER -o SET -n 60                # photographs under blobs, strokes and thin lines
    python -m measurements.sets damage FOLDER FOLDER -o SETS -n 15      # 256 px pieces; SETS/scratches, lettering, wires, boxes

A photograph's mask depends on its name and the seed alone. The sets keep the licences of their photographs: do not commit them.
"""

import argparse
import math
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .draw import HAND_DRAWN, SMALL_DAMAGE

EXTENSIONS = {".png", ".jpg", ".jpeg"}
LEAST = 480  # pixels of a photograph's shorter side
# Cut-outs on white, blurred or abstract wallpapers, portraits that fill the picture, and black borders: nothing there to fill from.
UNSUITED = [
    "cid22_1129482",
    "cid22_144428",
    "cid22_1910225",
    "cid22_2020432",
    "cid22_7233401",
    "cid22_7256805",
    "cid22_pexels-photo-3214683",
    "cid22_pexels-photo-6096399",
    "cid22_pexels-photo-796526",
    "cid22_580612",
    "cid22_1484678",
    "mate_Aqua",
    "mate_FreshFlower",
    "mate_YellowFlower",
    "plasma_Grey",
    "plasma_ColorfulCups",
    "lomiri_greentock_by_Peter_Nerlich",
    "lomiri_Picture_0B_by_freespace",
    "gcompris_swans",
    "gcompris_animals_duck",
]


def photographs(folder: Path) -> list[Path]:
    """The folder's photographs that can be measured on, by name: no masks, none with a side below LEAST, none of UNSUITED."""
    files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS and ".mask" not in path.name)
    return [path for path in files if path.stem not in UNSUITED and min(Image.open(path).size) >= LEAST]


def spread(items: list, n: int) -> list:
    """n of the items at even distances."""
    if n > len(items):
        raise SystemExit(f"{n} photographs were asked for, {len(items)} are suited.")
    return [items[int((k + 0.5) * len(items) / n)] for k in range(n)]


def read(path: Path, longest: int) -> Image.Image:
    photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    scale = longest / max(photo.size)
    return photo if scale >= 1 else photo.resize([round(side * scale) for side in photo.size], Image.Resampling.LANCZOS)


def write(folder: Path, name: str, photo: Image.Image, hole: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    photo.save(folder / f"{name}.png")
    Image.fromarray(hole.astype(np.uint8) * 255).save(folder / f"{name}.mask.png")


def stream(name: str, purpose: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(f"{purpose} {name}".encode())])


def hand(folder: Path, output: Path, n: int, seed: int, longest: int) -> None:
    """n photographs, the kinds of mask in turn; holes from 1 to 25 % of the picture (thin lines: 1 to 6 %), even in the logarithm."""
    for k, path in enumerate(spread(photographs(folder), n)):
        kind = list(HAND_DRAWN)[k % len(HAND_DRAWN)]
        rng, photo = stream(path.stem, "hand", seed), read(path, longest)
        share = math.exp(rng.uniform(math.log(0.01), math.log(0.06 if kind == "lines" else 0.25)))
        hole = HAND_DRAWN[kind](rng, photo.height, photo.width, share)
        write(output, path.stem, photo, hole)
        print(f"{path.stem}: {photo.width}x{photo.height}, {kind}, {100 * hole.mean():.1f} %, {hole.sum()} pixels")


def damage(folders: list[Path], output: Path, n: int, seed: int, side: int) -> None:
    """The middle of n photographs of each folder, under each kind of damage."""
    for folder in folders:
        for path in spread(photographs(folder), n):
            photo = read(path, 768)
            left, top = ((length - side) // 2 for length in photo.size)
            piece = photo.crop((left, top, left + side, top + side))
            for kind, draw in SMALL_DAMAGE.items():
                write(output / kind, path.stem, piece, draw(stream(path.stem, kind, seed), side, side))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ("hand", "damage"):
        options = kinds.add_parser(kind)
        options.add_argument("folders", type=Path, nargs=1 if kind == "hand" else "+", metavar="FOLDER")
        options.add_argument("-o", "--output", type=Path, required=True)
        options.add_argument("-n", type=int, default=60 if kind == "hand" else 15, help="photographs of each folder")
        options.add_argument("--seed", type=int, default=16)
        options.add_argument("--side", type=int, default=768 if kind == "hand" else 256, help="longest side (damage: of the square piece)")
    options = parser.parse_args()
    if options.kind == "hand":
        hand(options.folders[0], options.output, options.n, options.seed, options.side)
    else:
        damage(options.folders, options.output, options.n, options.seed, options.side)


if __name__ == "__main__":
    main()
