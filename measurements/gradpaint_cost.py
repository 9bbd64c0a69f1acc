"""What GradPaint costs beside plain masked sampling.

`python -m measurements.gradpaint_cost -o docs` writes results/gradpaint_cost.json there.

Time: whole runs on the bundled network, in turns. Memory: the peak of a run on a network of the FFHQ checkpoint's size at 256x256 with
random weights, each in a process of its own.
"""

import argparse
import json
import multiprocessing
import platform
import resource
from pathlib import Path

import torch

from rad_core.atomic import atomic_write
from rad_core.bench.timing.costs import GUIDANCES, gradpaint_cost
from rad_core.checkpoints import load_model
from rad_core.gradpaint import GradPaintSettings, gradpaint_inpaint
from rad_core.masks import box_masks
from rad_core.unet import UNet, UNetConfig


def peak(settings: GradPaintSettings, size: int, device: str) -> float:
    """Memory in bytes that two steps need besides the network."""
    torch.manual_seed(0)
    with torch.device(device):
        net = UNet(UNetConfig(image_size=size)).eval().requires_grad_(False)
    picture, mask = torch.rand(1, 3, size, size, device=device), box_masks(1, size, size, seed=1).to(device)
    used = torch.cuda.max_memory_allocated if device != "cpu" else lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    before = used()
    gradpaint_inpaint(net, picture, mask, settings, steps=2, view="whole")
    return used() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("--steps", type=int, default=20, help="of the timed runs (default: 20)")
    parser.add_argument("--batch", type=int, default=4, help="pictures of the timed runs (default: 4)")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each kind (default: 5)")
    parser.add_argument("--size", type=int, default=256, help="of the picture whose memory is measured (default: 256)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    found = {"machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.device}"}
    net = load_model("landscapes").to(options.device)
    found["time, times that of combine"] = gradpaint_cost(net, options.steps, options.batch, options.rounds)
    memory = {}
    for name, settings in GUIDANCES.items():
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            memory[name] = fresh.apply(peak, (settings, options.size, options.device))
    found["memory of a run, MiB"] = {name: round(value / 2**20) for name, value in memory.items()}
    text = json.dumps(found, indent=1)
    atomic_write(options.output / "results" / "gradpaint_cost.json", lambda path: Path(path).write_text(text + "\n"))
    print(text)


if __name__ == "__main__":
    main()
