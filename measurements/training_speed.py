"""What RAD's masks and noise maps add to a training step: `python -m measurements.training_speed -o docs`.

A step of RAD's objective against one of the plain network's, with the same LoRA on the bundled base, in turns in one run.
"""

import argparse
import platform
from pathlib import Path
from statistics import median

import torch

from rad_core.adapters import add_adapter
from rad_core.bench.timing.speed import alternate, wait_for
from rad_core.checkpoints import load_model
from rad_core.metrics import save_table
from rad_core.schedule import NoiseSchedule, RegionSchedule
from rad_core.synthetic import landscapes
from rad_core.training.data import mask_source
from rad_core.training.diffusion import DiffusionTraining, TrainingPlan, pictures_of
from rad_core.training.loop import TRAINING_SEEDS, Part, Stage
from rad_core.training.processes import Processes


def step_cost(batch: int, size: int, rounds: int, device: str, precision: str) -> dict[str, float | str]:
    """Seconds of a step, and the median of the rounds' ratios."""
    part, steps = Part(size, TRAINING_SEEDS, 0, batch, batch), {}
    for name, region in (("plain", False), ("RAD", True)):
        net = load_model("landscapes").to(device)
        schedule = RegionSchedule(NoiseSchedule(net.config.schedule))
        plan = TrainingPlan([Stage(size, 1, batch)], precision=precision, prediction=net.config.prediction, region=region)
        method = DiffusionTraining(add_adapter(net).to(device), pictures_of(landscapes), plan, schedule, mask_source("perlin"))
        drawn = [(part, method.draw(part))]
        steps[name] = lambda method=method, drawn=drawn: method.step(1, drawn, 1e-4, Processes())
    seconds = alternate(steps, rounds, wait_for(device))
    ratios = [rad / plain for plain, rad in zip(seconds["plain"], seconds["RAD"], strict=True)]
    return {"plain, s": median(seconds["plain"]), "RAD, s": median(seconds["RAD"]), "ratio": median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()
    row = step_cost(options.batch, options.size, options.rounds, options.device, options.precision)
    row["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads, {options.device}, {options.precision}"
    save_table({f"{options.batch} pictures of {options.size}x{options.size}": row}, options.output / "training_speed.json")


if __name__ == "__main__":
    main()
