"""The loss of RAD networks over drawn landscapes that no training saw: how far a training has come.

`python -m measurements.landscape_loss landscapes+landscapes tuned.safetensors landscapes+my_look.safetensors` prints, for each network (a
file or a bundled name, + its adapters), the mean squared error of the pixels that have noise, in phase 1 alone and in both phases.
"""

import argparse

import torch

from rad_core.adapters import load_adapter
from rad_core.checkpoints import load_model
from rad_core.masks import perlin_masks
from rad_core.noise import generators, normal
from rad_core.schedule import RegionSchedule
from rad_core.synthetic import UNSEEN, landscapes
from rad_core.training.objective import losses, region_levels
from rad_core.unet import UNet


@torch.no_grad()
def loss(net: UNet, count: int, phases: int, size: int = 64, batch: int = 16) -> float:
    """Mean squared error over `count` pictures, each at a timestep of its own, evenly over the phases."""
    x0, mask = landscapes(count, size, UNSEEN) * 2 - 1, perlin_masks(count, size, size, UNSEEN)
    noise = normal(generators(UNSEEN, count, "val"), x0.shape[1:])
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    schedule, total, pixels = RegionSchedule(net.config.schedule), 0.0, 0.0
    t = ((shuffled + 0.5) / count * phases * len(schedule.phase1)).long()
    for some in torch.arange(count).split(batch):
        target = region_levels(mask[some], t[some], schedule)
        squared, _ = losses(net, x0[some], noise[some], target, net.config.prediction)
        total += float((squared * target.noised).sum())
        pixels += float(target.noised.sum() * x0.shape[1])
    return total / pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="+", metavar="NETWORK[+ADAPTER]")
    parser.add_argument("-n", type=int, default=128, help="pictures (default: 128)")
    options = parser.parse_args()
    for name in options.networks:
        network, *adapters = name.split("+")
        net = load_model(network)
        for adapter in adapters:
            load_adapter(net, adapter)
        print(f"{name}: {loss(net, options.n, 1):.4f} in phase 1, {loss(net, options.n, 2):.4f} in both")


if __name__ == "__main__":
    main()
