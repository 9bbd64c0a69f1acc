"""What RAD's extras cost, measured side by side in one run: `python -m rad_core.evaluation.speed`.

A RAD step (noise level per pixel, binary mask) against a plain ADM step of the same network; Perlin masks per second.
"""

import argparse
import itertools
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from ..denoisers import ADMDenoiser
from ..masks import perlin_masks, wide_masks
from ..samplers import sample_ddpm
from ..schedule import NoiseSchedule, RegionSchedule
from ..unet import UNet, UNetConfig


def alternate(runs: dict[str, Callable], rounds: int, wait: Callable = lambda: None) -> dict[str, list[float]]:
    """Seconds of each function over rounds in which they take turns, so that the machine's moods hit all alike."""
    seconds = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            wait()
            began = time.perf_counter()
            run()
            wait()
            if turn:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    return seconds


@torch.no_grad()
def step_cost(net: UNet, size: int, batch: int, rounds: int, device: str) -> dict:
    """Seconds of one DDPM step, plain and RAD, and their ratio (median of the rounds' ratios)."""
    schedule = RegionSchedule(NoiseSchedule(net.config.schedule))
    layout = next(p for p in net.parameters() if p.ndim == 4).is_contiguous(memory_format=torch.channels_last)
    x = torch.randn(batch, 3, size, size, device=device).to(memory_format=torch.channels_last if layout else torch.contiguous_format)
    mask = wide_masks(batch, size, size, seed=1).to(device)
    sigmas = list(schedule.sigmas(mask, 100))[40:42]
    flat = [s.amax().expand(batch, 1, 1, 1) for s in sigmas]
    steps = {
        "plain": lambda: sample_ddpm(ADMDenoiser(net, schedule.phase1, region_aware=False), x, flat, lambda: 0),
        "RAD": lambda: sample_ddpm(ADMDenoiser(net, schedule.phase1), x, sigmas, lambda: 0),
    }
    seconds = alternate(steps, rounds, torch.cuda.synchronize if device != "cpu" else lambda: None)
    ratios = [b / a for a, b in zip(seconds["plain"], seconds["RAD"], strict=True)]
    return {"plain s": median(seconds["plain"]), "RAD s": median(seconds["RAD"]), "ratio": median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    with torch.device(options.device):
        net = UNet(UNetConfig()).eval().requires_grad_(False)  # the FFHQ network's size, 93.6 M parameters
    if options.channels_last:
        net = net.to(memory_format=torch.channels_last)
    rows = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.device}",
        "parameters": sum(p.numel() for p in net.parameters()),
        "step": step_cost(net, options.size, options.batch, options.rounds, options.device),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seeds = itertools.count(step=64)  # every round draws other periods, and the finest cost most
    seconds = alternate({"masks": lambda: perlin_masks(64, 256, 256, seed=next(seeds))}, 25)["masks"]
    torch.set_num_threads(threads)
    rows["Perlin, ms a mask of 256x256 in batches of 64, one thread"] = median(seconds) / 64 * 1000
    print(json.dumps(rows, indent=1))
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
