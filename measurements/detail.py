"""What `detail` does to fills of landscapes of twice the network's size, and of four times; and why.

`python -m measurements.detail -o docs` writes results/detail.json there. `--size 256 -n 6` is the larger one, and `--errors` the network's
error by noise and size; both are printed alone.
"""

import argparse
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from measurements.landscapes import holes
from rad_core import gradpaint_inpaint, rad_inpaint
from rad_core.adapters import load_adapter
from rad_core.checkpoints import load_model
from rad_core.masks import perlin_masks
from rad_core.metrics import hole_rmse, markdown, rim_jump, save_table, texture
from rad_core.schedule import RegionSchedule
from rad_core.settings import OWN_REDRAW
from rad_core.synthetic import UNSEEN, landscapes
from rad_core.training.objective import losses, region_levels
from rad_core.unet import UNet

NOISES = (0.0, 0.2, 0.35, 0.5)  # sigma that the redraw starts from
SIGMAS = (0.1, 0.25, 0.5, 1, 2, 5)
PATCH, PATCHES, DIRECTIONS = 7, 60_000, 64


def hole_patches(image: Tensor, mask: Tensor) -> Tensor:
    """High-passed patches around the hole's pixels: (N, 3 * 7 * 7)."""
    mean = F.avg_pool2d(F.pad(image, (PATCH // 2,) * 4, mode="replicate"), PATCH, 1)
    patches = F.unfold(image - mean, PATCH, padding=PATCH // 2).transpose(1, 2).flatten(0, 1)
    return patches[(mask > 0).flatten()]


def patch_distance(out: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Sliced Wasserstein distance (Rabin et al. 2011) of the high-passed patches in the holes, in 255ths."""
    stream = torch.Generator().manual_seed(0)
    a, b = (hole_patches(image, mask) for image in (out, truth))
    some = torch.randperm(len(a), generator=stream)[:PATCHES]
    directions = F.normalize(torch.randn(a.shape[1], DIRECTIONS, generator=stream), dim=0)
    a, b = ((patches[some] @ directions).sort(0).values for patches in (a, b))
    return float((a - b).abs().mean() * 255)


def measure(out: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    """A row of the table."""
    return {
        "hole RMSE": float(hole_rmse(out, truth, mask).mean()),
        "texture, median": float(texture(out, truth, mask).median()),
        "patch distance": patch_distance(out, truth, mask),
        "seam, of the means": float(rim_jump(out, mask).mean() / rim_jump(truth, mask).mean()),
    }


def evaluate(count: int, size: int) -> dict:
    """Rows of the table by method and setting."""
    plain, rad, detail_net = load_model("landscapes"), adapted("landscapes"), adapted("landscapes-detail")
    truth, mask = landscapes(count, size, seed=UNSEEN), holes(count, size)
    paper, default, gradpaint = "RAD, DDPM 100", "RAD's default", "GradPaint, 50 steps"
    own = lambda noise: {"detail": noise / OWN_REDRAW.sigma}
    runs = {f"{paper}, redrawn from {noise:g}": (rad_inpaint, rad, {"settings": "paper"} | own(noise)) for noise in NOISES}
    runs[f"{paper}, redrawn by landscapes-detail"] = rad_inpaint, rad, {"settings": "paper", "detail": 1.0, "detail_net": detail_net}
    runs |= {f"{default}, redrawn from {noise:g}": (rad_inpaint, rad, own(noise)) for noise in (0.0, 0.35)}
    runs[f"{default}, redrawn by landscapes-detail"] = rad_inpaint, rad, {"detail_net": detail_net}
    runs[f"{paper}, the network at the picture's size"] = rad_inpaint, rad, {"settings": "paper", "view": "native"}
    runs |= {f"{gradpaint}, redrawn from {noise:g}": (gradpaint_inpaint, plain, {"steps": 50} | own(noise)) for noise in (0.0, 0.35)}
    rows = {}
    for name, (method, net, settings) in runs.items():
        out = torch.cat([method(net, truth[k : k + 10], mask[k : k + 10], seed=k, **settings) for k in range(0, count, 10)])
        rows[name] = measure(out, truth, mask)
        print(markdown({name: rows[name]}).splitlines()[-1], flush=True)
    return rows


def adapted(name: str) -> UNet:
    """The landscapes' network with an adapter."""
    return load_adapter(load_model("landscapes"), name)


def errors(count: int = 32, batch: int = 8) -> dict:
    """Mean squared error of v in holes of noise sigma, on landscapes of the network's size and of twice that size."""
    rows, schedule = {}, RegionSchedule()
    for size, name in ((64, "landscapes"), (128, "landscapes"), (128, "landscapes-detail")):
        net = adapted(name)
        truth, mask = landscapes(count, size, seed=UNSEEN) * 2 - 1, perlin_masks(count, size, size, seed=UNSEEN)
        noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
        row = rows[f"{size}x{size} pixels, {name}"] = {}
        for sigma in SIGMAS:
            step = int((schedule.phase1.level_sigma[1:] - sigma).abs().argmin())
            total, pixels = 0.0, 0.0
            for k in range(0, count, batch):
                levels = region_levels(mask[k : k + batch], torch.full((batch,), step), schedule)
                with torch.no_grad():
                    squared, _ = losses(net, truth[k : k + batch], noise[k : k + batch], levels, "v")
                total, pixels = total + float((squared * levels.noised).sum()), pixels + 3 * float(levels.noised.sum())
            row[f"sigma {sigma:g}"] = total / pixels
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=60, help="pictures, of three kinds of mask in turn")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--errors", action="store_true", help="print the network's error by noise and size, and nothing else")
    options = parser.parse_args()
    if options.errors:
        print(markdown(errors()))
        return
    warnings.simplefilter("ignore")  # that holes are large for the network
    rows = evaluate(options.n, options.size)
    if options.output:
        save_table(rows, options.output / "results" / "detail.json")


if __name__ == "__main__":
    main()
