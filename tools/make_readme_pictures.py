"""Make the README's pictures by the demo: `python tools/make_readme_pictures.py`, on an idle machine, since the seconds are on them."""

import argparse
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))
import demo  # noqa: E402

from rad_core.sheets import sheet  # noqa: E402

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="cores that a fill may use (default: 2)")
    parser.add_argument("--runs", type=int, default=5, help="fills of each photograph; the median of their seconds counts (default: 5)")
    parser.add_argument("--landscapes", action="store_true", help="make the landscapes' sheet too, which takes a minute")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = ROOT / "docs" / "images"
    before_and_after = [(title, rows[::2]) for title, rows in demo.photo_columns(("path", "sunset", "waves"), options.runs)]
    sheet(before_and_after, images / "exemplar.jpg", cell=288)
    if options.landscapes:
        rows = demo.landscape_rows()
        sheet([(title, torch.cat(c)) for title, *c in zip(demo.TITLES, *rows, strict=True)], images / "demo.png", cell=demo.CELL)
