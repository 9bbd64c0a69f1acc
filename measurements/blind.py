"""Compare the fills of two methods by eye, without knowing which is which.

    python -m measurements.blind sheets SET FILLS pypatchmatch exemplar -o SHEETS -n 28
    python -m measurements.blind score SHEETS

`sheets` writes SHEETS/01.png, ...: the photograph with its hole, A and B, at full size around the hole, and votes.txt, a line a sheet.
Write A, B or = behind each number (better, or no clear difference). Only key.json knows the sides: read it after the votes, not before.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from .photos import load, names

GAP, HEAD = 8, 18


def crop_box(hole: np.ndarray, least: int, share: float) -> tuple[slice, slice]:
    """The hole's box with a margin of `share` of its size, at least `least` pixels high and wide where the picture is."""
    spans = []
    for axis in (1, 0):
        length, inside = hole.shape[1 - axis], np.flatnonzero(hole.any(axis))
        first, last = int(inside[0]), int(inside[-1]) + 1
        margin = max(int(share * (last - first)), 24, (least - (last - first)) // 2)
        spans.append(slice(max(first - margin, 0), min(last + margin, length)))
    return spans[0], spans[1]


def outlined(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The picture with its hole tinted and outlined in magenta."""
    padded = np.pad(hole, 1)
    inner = hole & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    out = picture.copy()
    out[hole] = (0.6 * out[hole] + 0.4 * np.array([255, 0, 255])).astype(np.uint8)
    out[hole & ~inner] = (255, 0, 255)
    return out


def sheet(panels: dict[str, np.ndarray]) -> Image.Image:
    height, width = next(iter(panels.values())).shape[:2]
    canvas = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height + HEAD), "white")
    for k, (label, picture) in enumerate(panels.items()):
        canvas.paste(Image.fromarray(picture), (k * (width + GAP), HEAD))
        ImageDraw.Draw(canvas).text((k * (width + GAP) + 4, 3), label, fill="black")
    return canvas


def sheets(options: argparse.Namespace) -> None:
    folder, output, rng = options.set_folder, options.output, np.random.default_rng(options.seed)
    if (output / "key.json").exists():
        raise SystemExit(f"{output} has sheets already.")
    fills = [options.fills / method for method in (options.first, options.second)]
    both = [name for name in names(folder) if all((fill / f"{name}.png").is_file() for fill in fills)]
    chosen = [both[k] for k in rng.permutation(len(both))[: options.n]]
    if not chosen:
        raise SystemExit("No photograph is filled by both.")
    output.mkdir(parents=True, exist_ok=True)
    key = {"methods": [options.first, options.second], "sheets": {}}
    for number, name in enumerate(chosen, 1):
        picture, hole = load(folder, name)
        box, first_is_a = crop_box(hole, options.least, options.margin), bool(rng.random() < 0.5)
        a, b = (np.array(Image.open(fill / f"{name}.png").convert("RGB")) for fill in (fills if first_is_a else fills[::-1]))
        panels = {f"{number:02d}  the hole": outlined(picture, hole)[box], "A": a[box], "B": b[box]}
        sheet(panels).save(output / f"{number:02d}.png")
        key["sheets"][f"{number:02d}"] = {"photograph": name, "A": key["methods"][not first_is_a]}
    (output / "key.json").write_text(json.dumps(key, indent=1))
    (output / "votes.txt").write_text("".join(f"{number}\n" for number in key["sheets"]))
    print(f"{len(chosen)} sheets in {output}; write A, B or = behind each number in votes.txt.")


def score(options: argparse.Namespace) -> None:
    """Count the votes; a word after a vote is a remark, and is printed."""
    key = json.loads((options.output / "key.json").read_text())
    first, second = key["methods"]
    better = {first: [], second: [], "=": []}
    remarks = []
    for line in (options.output / "votes.txt").read_text().splitlines():
        number, vote, remark = (*line.split(maxsplit=2), "", "", "")[:3]
        if not vote:
            continue
        if number not in key["sheets"] or vote.upper() not in ("A", "B", "="):
            raise SystemExit(f"votes.txt: cannot read {line!r}; a line is a number and A, B or =.")
        on_a = key["sheets"][number]["A"]
        winner = "=" if vote == "=" else on_a if vote.upper() == "A" else first if on_a == second else second
        better[winner].append(key["sheets"][number]["photograph"])
        remarks += [f"{key['sheets'][number]['photograph']}: {winner}, A was {on_a}: {remark}"] if remark else []
    wins, losses = len(better[first]), len(better[second])
    print(f"{first} better {wins}, {second} better {losses}, no clear difference {len(better['='])} of {len(key['sheets'])}")
    print(f"two-sided sign test: p = {sign_test(wins, losses):.3f}")
    for method, photographs in better.items():
        print(f"{method}: {', '.join(photographs)}")
    print(*remarks, sep="\n")


def sign_test(wins: int, losses: int) -> float:
    """How likely a split as uneven as this one is, if either side were as likely to win."""
    n = wins + losses
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(wins, losses) + 1)) / 2**n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    make = actions.add_parser("sheets")
    make.add_argument("set_folder", type=Path, metavar="SET")
    make.add_argument("fills", type=Path, metavar="FILLS")
    make.add_argument("first")
    make.add_argument("second")
    make.add_argument("-o", "--output", type=Path, required=True)
    make.add_argument("-n", type=int, default=28)
    make.add_argument("--seed", type=int, default=0, help="of the choice of photographs and sides")
    make.add_argument("--margin", type=float, default=0.5, help="around the hole, in sizes of the hole")
    make.add_argument("--least", type=int, default=256, help="least side of a crop in pixels")
    count = actions.add_parser("score")
    count.add_argument("output", type=Path, metavar="SHEETS")
    options = parser.parse_args()
    (sheets if options.action == "sheets" else score)(options)


if __name__ == "__main__":
    main()
