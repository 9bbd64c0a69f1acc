"""Take the tour: open every template in the host's web page, run it as it is, and photograph it; `make tour`.

Run with the host's interpreter: python tools/tour.py [-o FOLDER] [--again] [the beginning of a template's name]
A tour that was broken off goes on: a template whose picture is newer than its file is not visited again, unless --again is given.
Prints for each template: the zoom it opens at, whether text is drawn at it, overlapping nodes, and the run's time, and that of
the processor, which other work on the machine does not lengthen. Writes a picture of
the page as it opens and one after the run into FOLDER, and those of the second kind whose templates ran as one sheet, docs/images/tour.jpg.
"""

import argparse
import json
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
from PIL import Image, ImageDraw, ImageFont

COLUMNS, CELL, CAPTION, MARGIN = 3, (800, 475), 34, 12  # of the sheet, in pixels
LARGEST = 1.5e6  # bytes of the sheet
LONGEST = 3600  # seconds that a template may run
SET_UP = """async () => { const set = (name, value) => app.extensionManager.setting.set(name, value)
    await set('Comfy.Minimap.Visible', false)  // it would lie over the results
    await set('LiteGraph.Canvas.MinFontSizeForLOD', 0) }"""  # draw text at any zoom
# The whole graph between the page's bars, as large as it fits.
FIT = """() => { const boxes = app.graph._nodes.map(n => n.boundingRect ?? n.getBounding()), c = app.canvas
    const [x, y] = [0, 1].map(k => Math.min(...boxes.map(b => b[k])))
    const [w, h] = [0, 1].map(k => Math.max(...boxes.map(b => b[k] + b[k + 2])) - [x, y][k])
    const [left, top, width, height] = [80, 130, innerWidth - 110, innerHeight - 200]
    c.ds.scale = Math.min(width / w, height / h, 1.2)
    c.ds.offset = [left / c.ds.scale - x, top / c.ds.scale - y]
    c.setDirty(true, true) }"""
SHEET = PACK / "docs" / "images" / "tour.jpg"


def visit(page, server: psutil.Process, name: str, folder: Path) -> str:
    """Open, run and photograph a template. Returns a line of what was measured."""
    graph = web_page.open_template(page, name)
    page.screenshot(path=str(folder / f"{name} (opened).png"))
    (scale, text), before, seconds = web_page.zoom(page), web_page.overlaps(page), "not run: it needs a checkpoint"
    if not needs_a_download(graph):
        began, used = time.perf_counter(), server.cpu_times()
        web_page.run_template(page, LONGEST)
        now = server.cpu_times()
        seconds = f"{time.perf_counter() - began:.1f} s, {now.user + now.system - used.user - used.system:.1f} s of one core"
    page.evaluate(FIT)
    page.wait_for_timeout(1000)
    page.screenshot(path=str(folder / f"{name}.png"))
    return f"{name} | zoom {scale:.2f}, text {'drawn' if text else 'NOT drawn'} | overlaps {before + web_page.overlaps(page)} | {seconds}"


def write_sheet(pictures: list[Path]) -> None:
    """All pictures, in their order, on one sheet, each below its template's name."""
    width, height = CELL[0] + MARGIN, CELL[1] + CAPTION + MARGIN
    sheet = Image.new("RGB", (width * COLUMNS + MARGIN, height * -(-len(pictures) // COLUMNS) + MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=24)
    for k, path in enumerate(pictures):
        left, top = MARGIN + width * (k % COLUMNS), MARGIN + height * (k // COLUMNS)
        draw.text((left, top), path.stem, fill="black", font=font)
        with Image.open(path) as picture:
            sheet.paste(picture.convert("RGB").resize(CELL, Image.LANCZOS), (left, top + CAPTION))
    for quality in range(85, 30, -5):
        sheet.save(SHEET, quality=quality, optimize=True)
        if SHEET.stat().st_size < LARGEST:
            break


def visited(name: str, folder: Path) -> bool:
    """Whether a template has been photographed since it was written."""
    picture, template = folder / f"{name}.png", PACK / "example_workflows" / f"{name}.json"
    return picture.exists() and picture.stat().st_mtime > template.stat().st_mtime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="?", default="", help="visit the templates whose names begin so")
    parser.add_argument("--again", action="store_true", help="visit those that are photographed already, too")
    parser.add_argument("-o", "--out", type=Path, default=PACK / "demo_out" / "tour")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = sorted(path.stem for path in (PACK / "example_workflows").glob(f"{options.only}*.json"))
    with tempfile.TemporaryDirectory() as base, web_page.running_server(Path(base) / "comfy") as (url, number):
        server = psutil.Process(number)
        with web_page.open_page(url) as page:
            page.evaluate(SET_UP)
            for name in names:
                if visited(name, options.out) and not options.again:
                    print(f"{name} | photographed before", flush=True)
                    continue
                print(visit(page, server, name, options.out), flush=True)
    if not options.only:
        graphs = {name: json.loads((PACK / "example_workflows" / f"{name}.json").read_text()) for name in names}
        write_sheet([options.out / f"{name}.png" for name in names if not needs_a_download(graphs[name])])
        print(f"{os.path.relpath(SHEET, PACK)}, {SHEET.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
