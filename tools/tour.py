"""Take the tour: open every template in the host's web page, run it as it is, and photograph it; `make tour`.

Run with the host's interpreter: python tools/tour.py [-o FOLDER] [the beginning of a template's name]
Prints for each template: the zoom it opens at, whether text is drawn at it, overlapping nodes, and the run's time, and that of
the processor, which other work on the machine does not lengthen. Writes a picture of
the page as it opens and one after the run into FOLDER, and all of the second kind as one sheet, docs/images/tour.jpg.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "host" / "inside"))
import psutil
import web_page
from host import PACK
from make_workflows import needs_a_download
from PIL import Image

COLUMNS, CELL = 3, (800, 475)
SHEET = PACK / "docs" / "images" / "tour.jpg"


def visit(page, server: psutil.Process, name: str, folder: Path) -> str:
    """Open, run and photograph a template. Returns a line of what was measured."""
    graph = web_page.open_template(page, name)
    page.screenshot(path=str(folder / f"{name} (opened).png"))
    (scale, text), before, seconds = web_page.zoom(page), web_page.overlaps(page), "not run: it needs a checkpoint"
    if not needs_a_download(graph):
        began, used = time.perf_counter(), server.cpu_times()
        web_page.run_template(page)
        now = server.cpu_times()
        seconds = f"{time.perf_counter() - began:.1f} s, {now.user + now.system - used.user - used.system:.1f} s of one core"
    page.wait_for_timeout(1000)
    page.screenshot(path=str(folder / f"{name}.png"))
    return f"{name} | zoom {scale:.2f}, text {'drawn' if text else 'NOT drawn'} | overlaps {before + web_page.overlaps(page)} | {seconds}"


def write_sheet(pictures: list[Path]) -> None:
    """All pictures, in their order, on one sheet."""
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (CELL[0] * COLUMNS, CELL[1] * rows))
    for k, path in enumerate(pictures):
        with Image.open(path) as picture:
            sheet.paste(picture.convert("RGB").resize(CELL, Image.LANCZOS), (CELL[0] * (k % COLUMNS), CELL[1] * (k // COLUMNS)))
    sheet.save(SHEET, quality=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="?", default="", help="visit the templates whose names begin so")
    parser.add_argument("-o", "--out", type=Path, default=PACK / "demo_out" / "tour")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = sorted(path.stem for path in (PACK / "example_workflows").glob(f"{options.only}*.json"))
    with tempfile.TemporaryDirectory() as base, web_page.running_server(Path(base) / "comfy") as (url, number):
        server = psutil.Process(number)
        with web_page.open_page(url) as page:
            for name in names:
                print(visit(page, server, name, options.out), flush=True)
    if not options.only:
        write_sheet([options.out / f"{name}.png" for name in names])
        print(os.path.relpath(SHEET, PACK))


if __name__ == "__main__":
    main()
