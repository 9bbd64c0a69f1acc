"""Fill a set of photographs by named methods, keep every fill, and print how good they are.

    python -m measurements.photos SET -o FILLS -m telea pypatchmatch proof exemplar --package ../exemplar --ours exemplar

SET holds NAME.png and NAME.mask.png (white = hole). A fill is FILLS/METHOD/NAME.png, what is known about it stands in NAME.json beside it.
Safe to interrupt: fills that are there are kept, with their measures, unless --again. One method in several variants: -m exemplar
--preset fast --set eps=0 --label "exemplar, eps 0". Seconds are of the processor, all threads together, not of the clock: other
programs beside it hardly change them. What loads or compiles at a method's first fill is not counted: it is filled twice.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from . import table
from .methods import ADJUSTABLE, METHODS, OWN
from .sets import spread

ROOT = Path(__file__).resolve().parent.parent


def names(folder: Path) -> list[str]:
    """The photographs of a set that have a mask."""
    return [path.name.removesuffix(".mask.png") for path in sorted(folder.glob("*.mask.png"))]


def load(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Picture uint8 (H, W, 3) and hole bool (H, W)."""
    picture = np.array(Image.open(folder / f"{name}.png").convert("RGB"))
    hole = np.array(Image.open(folder / f"{name}.mask.png").convert("L")) > 127
    if hole.shape != picture.shape[:2] or not hole.any() or hole.all():
        raise SystemExit(f"{name}: the mask must have the photograph's size, holes and known pixels.")
    return picture, hole


def fill(method: str, picture: np.ndarray, hole: np.ndarray, options: argparse.Namespace) -> tuple[np.ndarray, dict]:
    """One fill with its known pixels put back (the package's own must leave them alone), and what it took."""
    blank = picture.copy()
    blank[hole] = 127  # nobody sees the truth
    clock, processor = time.perf_counter(), time.process_time()
    filled = METHODS[method](blank, hole, options)
    facts = {"seconds": time.process_time() - processor, "clock": time.perf_counter() - clock, "pixels": int(hole.sum())}
    facts["known_changed"] = int((filled != picture).any(2)[~hole].sum())
    if facts["known_changed"] and method in OWN:
        raise SystemExit(f"{method} changed {facts['known_changed']} known pixels.")
    return np.where(hole[..., None], filled, picture), facts


def run(folder: Path, chosen: list[str], methods: dict[str, str], options: argparse.Namespace) -> None:
    """Fill what is not there yet, photograph by photograph. methods: label -> method."""
    from .measures import measure

    warm, old = set(), {}
    for name in chosen:
        picture, hole = load(folder, name)
        for label, method in methods.items():
            target = options.output / label / f"{name}.png"
            record = target.with_suffix(".json")
            if record.is_file() and not options.again:
                facts = json.loads(record.read_text())
                if facts["source"] != source(method, options):
                    old.setdefault((label, facts["source"]), []).append(name)
                if options.remeasure:
                    filled = np.array(Image.open(target).convert("RGB"))
                    record.write_text(json.dumps(facts | measure(filled, picture, hole), indent=1))
                continue
            if method not in warm:
                piece = np.s_[:192, :192]
                small = np.zeros((192, 192), bool)
                small[90:100, 90:100] = True
                METHODS[method](np.ascontiguousarray(picture[piece]), small, options)
                warm.add(method)
            filled, facts = fill(method, picture, hole, options)
            facts |= {"source": source(method, options), "seed": options.seed, "threads": options.threads}
            facts |= measure(filled, picture, hole)
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(filled).save(target)
            record.write_text(json.dumps(facts, indent=1))  # last: a fill without it is made again
            print(f"{name}, {label}: features {facts['features']:.3f}, {facts['seconds']:.1f} s", flush=True)
    for (label, made_by), which in old.items():
        print(f"{label}: {len(which)} fills are older ones, made by {made_by}; --again makes them anew.")


def source(method: str, options: argparse.Namespace) -> str:
    """What made a fill: the last commit of the package's rad_core, and the settings."""
    settings = " ".join([options.preset or "", *(f"{key}={value}" for key, value in options.set.items())]).strip()
    if method not in OWN:
        return settings if method in ADJUSTABLE else ""
    git = lambda *words: subprocess.run(["git", "-C", options.package, *words], capture_output=True, text=True).stdout.strip()
    commit, dirty = git("log", "-1", "--format=%h", "--", "rad_core"), git("status", "--porcelain", "--", "rad_core")
    return f"{commit or options.package}{'-dirty' * bool(dirty)} {settings}".strip()


def setting(text: str) -> tuple[str, object]:
    key, _, value = text.partition("=")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set_folder", type=Path, metavar="SET")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILLS", help="outside the repository")
    parser.add_argument("-m", "--methods", nargs="+", choices=METHODS, default=[], help="to fill with; none: only print the table")
    parser.add_argument("--package", default=str(ROOT), help="work tree whose rad_core is measured (default: this one)")
    parser.add_argument("--proof", default=str(ROOT.parent / "shared/prototypes/exemplar.py"), help="file of the method `proof`")
    parser.add_argument("--preset", help="of the method `exemplar`")
    parser.add_argument("--set", nargs="*", type=setting, default=[], metavar="KEY=VALUE", help=f"settings of {', '.join(ADJUSTABLE)}")
    parser.add_argument("--label", help="under which name to keep the fills of a single method")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-n", type=int, help="only this many photographs, at even distances")
    parser.add_argument("--again", action="store_true", help="fill again what is there")
    parser.add_argument("--remeasure", action="store_true", help="measure again what is there")
    parser.add_argument("--rows", nargs="+", metavar="LABEL", help="of the table (default: all in FILLS)")
    parser.add_argument("--ours", metavar="LABEL", help="compare every other method with this one, photograph by photograph")
    options = parser.parse_args()
    options.set = dict(options.set)
    if options.label and len(options.methods) != 1:
        parser.error("--label is for one method.")
    if options.set and not options.label:
        parser.error("--set needs a --label, or its fills would pass for the plain method's.")
    limit_threads(options.threads)
    sys.path.insert(0, options.package)
    chosen = names(options.set_folder)
    if options.n and options.n > 0:
        chosen = spread(chosen, min(options.n, len(chosen)))
    run(options.set_folder, chosen, {options.label or method: method for method in options.methods}, options)
    table.report(options.output, options.rows, options.ours, chosen)


def limit_threads(threads: int) -> None:
    import cv2
    import torch

    os.environ["OMP_NUM_THREADS"] = str(threads)
    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
