"""Another program's network beside ours, with the same weights: the RAD authors' program, or guided-diffusion, where a user has it.

`python -m rad_core.bench.timing.other_program theirs.py --model adm.pt --adapter rad.safetensors`
"""

import argparse
import runpy
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from ...adapters import load_adapter, merge_adapters
from ...checkpoints import load_model
from ...masks import wide_masks
from ...metrics import markdown
from ...schedule import RegionSchedule
from ...unet import UNet
from .speed import alternate, median_ratio, wait_for

Other = Callable[[Tensor, Tensor], Tensor]


def load_other(path: Path) -> Other:
    """Load another program's network: what the function `network()` of a user's own Python file returns.

    The network is called as net(x, t): x is (B, 3, H, W); t is (B,), one timestep for all pixels, or (B, 1, H, W), one for each, in [0, T].
    It must return as many channels as ours.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no function `network`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    network = runpy.run_path(str(path)).get("network")
    if not callable(network):
        raise ValueError(f"{path.name} must have a function network() that returns a network, called as net(x, t).")
    return network()


@torch.no_grad()
def beside(net: UNet, other: Other, mask: Tensor, rounds: int) -> dict[str, dict[str, float]]:
    """Compare a network call of ours with the other program's, in turns: once with one timestep, once with one per pixel.

    Args:
        mask: holes (B, 1, H, W); the timesteps per pixel are those of a RAD step on them.

    Returns:
        rows of a table. *Times ours* is the median of the rounds' ratios. *Difference* is the RMS of the outputs' difference as a fraction
        of our output's RMS: 0 for the same network, above 0 for a program that ignores timesteps per pixel.
    """
    schedule, mask = RegionSchedule(net.config.schedule), mask.to(net.device)
    x = torch.randn(len(mask), 3, *mask.shape[2:], device=net.device, generator=torch.Generator(net.device).manual_seed(0))
    t = torch.full((len(mask),), len(schedule.phase1) // 2, device=net.device)
    t_map = schedule.phase1.level_of_sigma(schedule.sigma(mask, t)).float()
    rows = {}
    for name, timesteps in {"one timestep": t.float(), "a timestep per pixel": t_map}.items():
        runs = {"ours": lambda timesteps=timesteps: net(x, timesteps), "theirs": lambda timesteps=timesteps: other(x, timesteps)}
        ours, theirs = (run() for run in runs.values())
        seconds = alternate(runs, rounds, wait_for(net.device))
        rows[name] = {f"{whose}, s": median(values) for whose, values in seconds.items()}
        rows[name]["times ours"] = median_ratio(seconds, "theirs", "ours")
        rows[name]["difference"] = float((theirs - ours).double().square().mean().sqrt() / ours.double().square().mean().sqrt())
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="a Python file whose function network() returns the other program's network")
    parser.add_argument("--model", default="landscapes", help="our network, with the same weights (default: landscapes)")
    parser.add_argument("--adapter", help="its RAD adapter, if the other network has one")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    net = load_model(options.model)
    if options.adapter:
        net = merge_adapters(load_adapter(net, options.adapter))
    net = net.eval().requires_grad_(False).to(options.device, memory_format=torch.channels_last)
    size = net.config.image_size
    print(f"{size}x{size}, batch 1, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.device}")
    print(markdown(beside(net, load_other(options.other), wide_masks(1, size, size, seed=1), options.rounds)))


if __name__ == "__main__":
    main()
