"""What RAD's masks and noise maps add to a training step.

`python -m measurements.training_speed -o docs` writes results/training_speed.json there.

A step of RAD's objective against one of the plain network's, with the same LoRA on the bundled network, in turns in one run.
"""

import argparse
import platform
from pathlib import Path

import torch

from rad_core.bench.timing.costs import training_step_cost
from rad_core.metrics import save_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("--batch", type=int, default=16, help="pictures of a step (default: 16)")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures (default: 64)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each side (default: 15)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()
    row = training_step_cost(options.batch, options.size, options.rounds, options.device, options.precision)
    row["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads, {options.device}, {options.precision}"
    save_table({f"{options.batch} pictures of {options.size}x{options.size}": row}, options.output / "results" / "training_speed.json")


if __name__ == "__main__":
    main()
