"""One SDM iteration against its multiplications alone, side by side in one run: `python -m measurements.sdm_speed -o docs`.

Every convolution and matrix product of a pass of the full-width network is written down with its tensors, then run again by itself. What
the pass takes beyond that are modulation, activations, skips, the blur's padding, softmax.
"""

import argparse
import platform
from pathlib import Path
from statistics import median

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rad_core.bench.timing.speed import alternate, wait_for
from rad_core.metrics import save_table
from rad_core.sdm import Generator, SDMConfig

aten = torch.ops.aten


class Products(TorchDispatchMode):
    """Writes down the convolutions and matrix products within it as functions to call again, the blurs (channel by channel) apart."""

    def __init__(self):
        super().__init__()
        self.calls, self.blurs = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (aten.convolution.default, aten.mm.default, aten.addmm.default, aten.bmm.default):
            grouped = function is aten.convolution.default and args[8] > 1
            (self.blurs if grouped else self.calls).append(lambda: function(*args))
        if "scaled_dot_product" in function.name():
            q, k, v = args[:3]
            weights = torch.rand(*q.shape[:3], k.shape[2], device=q.device)
            self.calls += [lambda: q @ k.transpose(2, 3), lambda: weights @ v]
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def measure(size: int, rounds: int, device: torch.device | str = "cpu") -> dict[str, dict[str, float]]:
    """Seconds of a pass of a square picture, times of its products, with and without the blurs, and ratios (medians over rounds)."""
    torch.manual_seed(0)
    with torch.device(device):
        net = Generator(SDMConfig()).eval().requires_grad_(False).to(memory_format=torch.channels_last)
        given = torch.randn(1, 7, size, size), torch.rand(1, 1, size, size), torch.randn(1, 512)
    with Products() as products:
        net(*given)
    plain = lambda: [call() for call in products.calls]
    runs = {"iteration": lambda: net(*given), "products": plain, "blurs": lambda: [call() for call in products.blurs]}
    seconds = alternate(runs, rounds, wait_for(device))
    rounds = list(zip(*seconds.values(), strict=True))
    return {
        f"{size}x{size}": {
            "iteration, s": median(seconds["iteration"]),
            "convolutions and products, s": median(seconds["products"]),
            "blurs, s": median(seconds["blurs"]),
            "ratio to all these": median(a / (b + c) for a, b, c in rounds),
            "ratio without the blurs": median(a / b for a, b, _ in rounds),
        }
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    save_table(measure(options.size, options.rounds), options.output / "sdm_speed.json")


if __name__ == "__main__":
    main()
