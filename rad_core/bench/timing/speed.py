"""What RAD costs beyond plain sampling, measured side by side in one run: `python -m rad_core.bench.timing.speed`.

A RAD step (a noise level per pixel, a binary mask) against a plain ADM step of the same network; the time of a Perlin mask.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor

from ...denoisers import ADMDenoiser
from ...masks import perlin_masks, wide_masks
from ...metrics import markdown
from ...samplers import sample_ddpm
from ...schedule import RegionSchedule
from ...unet import UNet, UNetConfig


def alternate(
    runs: dict[str, Callable], rounds: int, wait: Callable = lambda: None, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Time functions that take turns, so that changes of the machine's speed affect all alike.

    Args:
        runs: functions by name. rounds: turns of each, after one to warm up.
        wait: returns when the device has finished, see `wait_for`.
        clock: time.process_time counts the processor's seconds, which other work on the machine does not lengthen.

    Returns:
        seconds by name, one for each round.
    """
    seconds = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            wait()
            began = clock()
            run()
            wait()
            if turn:  # the first round warms up
                seconds[name].append(clock() - began)
    return seconds


def wait_for(device: torch.device | str) -> Callable[[], None]:
    """A function that returns when the device has finished all its work."""
    return partial(torch.cuda.synchronize, device) if torch.device(device).type == "cuda" else lambda: None


def median_ratio(seconds: dict[str, list[float]], of: str, to: str) -> float:
    """The median over the rounds of one function's seconds as a multiple of another's."""
    return median(a / b for a, b in zip(seconds[of], seconds[to], strict=True))


def cost_row(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Seconds of "plain" and "RAD", and their ratio: medians of the rounds."""
    return {"plain, s": median(seconds["plain"]), "RAD, s": median(seconds["RAD"]), "ratio": median_ratio(seconds, "RAD", "plain")}


@torch.no_grad()
def step_cost(net: UNet, mask: Tensor, rounds: int) -> dict[str, float]:
    """Seconds of one DDPM step of pictures with holes (B, 1, H, W), plain and RAD, and their ratio (median of the rounds' ratios)."""
    schedule = RegionSchedule(net.config.schedule)
    layout = next(p for p in net.parameters() if p.ndim == 4).is_contiguous(memory_format=torch.channels_last)
    mask = mask.to(net.device)
    x = torch.randn(len(mask), 3, *mask.shape[2:], device=net.device)
    x = x.to(memory_format=torch.channels_last if layout else torch.contiguous_format)
    sigmas = list(schedule.sigmas(mask, 100))[40:42]
    flat = [sigma.amax().expand(len(mask), 1, 1, 1) for sigma in sigmas]
    steps = {
        "plain": lambda: sample_ddpm(ADMDenoiser(net, region_aware=False), x, flat, lambda: 0),
        "RAD": lambda: sample_ddpm(ADMDenoiser(net), x, sigmas, lambda: 0),
    }
    seconds = alternate(steps, rounds, wait_for(net.device))
    return cost_row(seconds)


def ffhq_step_cost(rounds: int, device: torch.device | str) -> dict[str, float]:
    """`step_cost` of one picture of 256x256 in a network of the FFHQ checkpoint's size (93.6 million parameters), channels-last."""
    torch.manual_seed(0)
    with torch.device(device):
        net = UNet(UNetConfig()).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return step_cost(net, wide_masks(1, 256, 256, seed=1), rounds)


def perlin_cost(rounds: int) -> float:
    """Milliseconds of a Perlin mask of 256x256 in batches of 64, on one CPU thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seeds = itertools.count(step=64)  # every round has other periods, and fine ones cost most
    seconds = alternate({"masks": lambda: perlin_masks(64, 256, 256, seed=next(seeds))}, rounds)["masks"]
    torch.set_num_threads(threads)
    return median(seconds) / 64 * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side (default: 9)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {options.device}")
    print(markdown({"256x256, 93.6 million parameters": ffhq_step_cost(options.rounds, options.device)}))
    print(f"Perlin mask of 256x256 in batches of 64, one thread: {perlin_cost(25):.3g} ms")


if __name__ == "__main__":
    main()
