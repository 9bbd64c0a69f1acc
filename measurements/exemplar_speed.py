"""How long `exemplar_inpaint` takes and how much memory, by size, hole and threads: one process for each row.

    python measurements/exemplar_speed.py PHOTO [--rival PYTHON]

The photograph is enlarged to each size. Seconds are of the clock and of the processor (all threads); the latter is what a machine that does
nothing else comes near to: the load beside it is written down. Memory is the peak of the whole process, torch itself (about 0.3 GiB) and
the picture included. --rival names a Python that has PyPatchMatch (see README.md): its processor seconds on the same hole follow.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
CASES = [  # width, height, pixels of the hole ("scratch": 3 pixels wide, right across; "specks": 40 of 4x4 pixels, anywhere), threads
    (512, 512, 5_000, 1),
    (512, 512, 20_000, 1),
    (512, 512, 20_000, 2),
    (1000, 750, 47_000, 2),
    (2000, 1500, 187_000, 2),
    (2000, 1500, "scratch", 2),
    (4000, 3000, 750_000, 2),
    (576, 576, "specks", 1),
]


def one(photo: str, width: int, height: int, pixels: int | str, threads: int, rival: bool) -> dict:
    import numpy as np
    import torch
    from PIL import Image

    torch.set_num_threads(threads)
    picture = torch.from_numpy(np.array(Image.open(photo).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)))
    image = picture.permute(2, 0, 1)[None].float().div_(255)
    del picture
    mask = torch.zeros(height, width)
    if pixels == "scratch":
        mask[height // 2 : height // 2 + 3] = 1
    elif pixels == "specks":
        anywhere = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([height - 4, width - 4])
        for y, x in anywhere.long().tolist():
            mask[y : y + 4, x : x + 4] = 1
    else:
        y, x = torch.meshgrid(torch.linspace(-1, 1, height) * height, torch.linspace(-1, 1, width) * width, indexing="ij")
        mask.view(-1)[(x.square() + y.square()).flatten().argsort()[:pixels]] = 1
        del x, y
    if rival:
        return {"processor": rival_seconds(image, mask)}
    from rad_core import exemplar_inpaint

    exemplar_inpaint(image[..., :64, :64], torch.nn.functional.pad(torch.ones(8, 8), (28,) * 4))
    clock, processor = time.perf_counter(), time.process_time()
    exemplar_inpaint(image, mask)
    seconds, busy, hole = time.perf_counter() - clock, time.process_time() - processor, int(mask.sum())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "size": f"{width}x{height}",
        "hole": f"{hole:,}" + (f" ({pixels})" if isinstance(pixels, str) else ""),
        "threads": threads,
        "seconds": round(seconds, 2),
        "processor": round(busy, 2),
        "microseconds": round(busy / hole * 1e6),
        "memory": round(memory, 2),
    }


def rival_seconds(image, mask) -> float:
    """Processor seconds of PyPatchMatch with its default patches."""
    from patchmatch import inpaint, set_random_seed

    set_random_seed(0)
    picture = (image[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    processor = time.process_time()
    inpaint(picture, mask.numpy() > 0, patch_size=7)
    return round(time.process_time() - processor, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--cases", type=int, nargs="+", default=range(len(CASES)), help="rows, counted from 0")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rival", metavar="PYTHON", help="with PyPatchMatch installed, run where the hole has at most 50,000 pixels")
    parser.add_argument("--is-rival", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(one(options.photo, *CASES[options.one], options.is_rival)))
        return
    heads = ["size", "hole pixels", "threads", "seconds", "processor seconds", "us a hole pixel (processor)", "peak memory, GiB"]
    heads += ["load of the machine before", "PyPatchMatch's processor seconds", "times ours"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for case in options.cases:
        load = round(os.getloadavg()[0], 1)
        row = _run(sys.executable, options.photo, case) | {"load": load, "rival": "", "ratio": ""}
        pixels = CASES[case][2]
        if options.rival and isinstance(pixels, int) and pixels <= 50_000:
            row["rival"] = _run(options.rival, options.photo, case, "--is-rival")["processor"]
            row["ratio"] = round(row["rival"] / row["processor"], 1)
        lines.append("| " + " | ".join(str(value) for value in row.values()) + " |")
        print(lines[-1], flush=True)
    if options.output:
        note = f"`measurements/exemplar_speed.py` on {os.cpu_count()} cores. Above a load of {os.cpu_count()} other programs ran beside it."
        options.output.write_text("\n".join([note, "", *lines]) + "\n")


def _run(python: str, photo: str, case: int, *words: str) -> dict:
    """One row in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": str(CASES[case][3])}
    command = [python, __file__, photo, "--one", str(case), *words]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
