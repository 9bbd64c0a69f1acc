"""One SDM pass against its multiplications alone, side by side in one run.

`python -m measurements.sdm_speed -o docs` writes results/sdm_speed.json there.

Every convolution and matrix product of a pass of the full-width network is recorded with its tensors, then run again by itself. The rest
of a pass is modulation, activations, skips, the blurs' padding and softmax.
"""

import argparse
import platform
from pathlib import Path

import torch

from rad_core.bench.timing.costs import sdm_cost
from rad_core.metrics import save_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("--size", type=int, default=512, help="side of the picture (default: 512)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default: 5)")
    parser.add_argument("--threads", type=int, help="of the CPU (default: PyTorch's choice)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    save_table(sdm_cost(options.size, options.rounds), options.output / "results" / "sdm_speed.json")


if __name__ == "__main__":
    main()
