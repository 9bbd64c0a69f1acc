"""What GradPaint costs beside plain masked sampling: `python -m measurements.gradpaint_cost -o docs/gradpaint_cost.json`.

Seconds of whole runs that take turns, and the highest memory of a run, each in a process of its own. Time is that
of the bundled network; memory that of a network of the FFHQ checkpoint's size at 256x256, with random weights.
"""

import argparse
import json
import multiprocessing
import platform
import resource
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from rad_core.bench.timing.speed import alternate, wait_for
from rad_core.checkpoints import load_model
from rad_core.gradpaint import PRESETS, GradPaintSettings, gradpaint_inpaint
from rad_core.masks import box_masks
from rad_core.synthetic import landscapes
from rad_core.unet import UNet, UNetConfig

WAYS = {**PRESETS, "vjp": replace(PRESETS["plus"], gradient="vjp")}


def seconds(net: UNet, steps: int, batch: int, rounds: int) -> dict[str, float]:
    """Time of each preset as a multiple of "combine", the median of the rounds' ratios."""
    size = net.config.image_size
    picture, mask = landscapes(batch, size, seed=1).to(net.device), box_masks(batch, size, size, seed=1).to(net.device)
    fill = lambda settings: lambda: gradpaint_inpaint(net, picture, mask, steps, settings=settings)
    taken = alternate({name: fill(settings) for name, settings in WAYS.items()}, rounds, wait_for(net.device))
    return {name: median(b / a for a, b in zip(taken["combine"], values, strict=True)) for name, values in taken.items()}


def peak(settings: GradPaintSettings, size: int, device: str) -> float:
    """Bytes that two steps take beside the network."""
    torch.manual_seed(0)
    with torch.device(device):
        net = UNet(UNetConfig(image_size=size)).eval().requires_grad_(False)
    picture, mask = torch.rand(1, 3, size, size, device=device), box_masks(1, size, size, seed=1).to(device)
    used = torch.cuda.max_memory_allocated if device != "cpu" else lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    before = used()
    gradpaint_inpaint(net, picture, mask, 2, settings=settings, context=float("inf"))
    return used() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    rows = {"machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.device}"}
    rows["time, times that of combine"] = seconds(load_model("landscapes").to(options.device), options.steps, options.batch, options.rounds)
    memory = {}
    for name, settings in WAYS.items():
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            memory[name] = fresh.apply(peak, (settings, options.size, options.device))
    rows["memory of a run, MiB"] = {name: round(value / 2**20) for name, value in memory.items()}
    print(json.dumps(rows, indent=1))
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
