"""SDM on unseen landscapes: by number of passes, in a random order, and refined by RAD where it is uncertain.

`python -m measurements.sdm -o docs` writes results/sdm.json and images/sdm.jpg there.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from rad_core.adapters import load_adapter, merge_adapters
from rad_core.bench.runs import PAPER_MASKS
from rad_core.bench.scene import SceneReader, load_reader, perceptual_distance, scene_error
from rad_core.bench.statistics import frechet_distance
from rad_core.checkpoints import load_model
from rad_core.masks import brush_masks
from rad_core.metrics import hole_rmse, rank_correlation, rim_jump, save_table, seam
from rad_core.rad import RADSettings, rad_inpaint
from rad_core.sdm import Generator, SDMSettings, iterate, load_sdm, sdm_inpaint
from rad_core.sheets import mark_hole, sheet
from rad_core.synthetic import UNSEEN, Scene, landscapes
from rad_core.unet import UNet

SIZE = 64
SHEET = ("SDM, 1 pass", "SDM, 4 passes", "uncertainty x 3", "RAD, 10 steps of dpmpp_2m", "SDM refined with RAD, 10 steps")  # columns
ON_SHEET = 8  # pictures
MEMORY, SIGMA_SCALE = SDMSettings().memory, RADSettings().sigma_scale
Fill = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor | None]]  # (pictures, masks, seed) -> fills and their uncertainty


def holes(count: int) -> Tensor:
    """SDM's free-form strokes, boxes, extreme and wide masks in turn, binary: (count, 1, SIZE, SIZE)."""
    kinds = [brush_masks, *PAPER_MASKS.values()]
    masks = torch.cat([kinds[k % len(kinds)](1, SIZE, SIZE, seed=UNSEEN + k) for k in range(count)]).gt(0.5).float()
    masks[masks.sum((1, 2, 3)) == 0, :, 16:48, 16:48] = 1  # some stroke masks are empty
    return masks


def in_order(sdm: Generator, iterations: int, picture: Tensor, mask: Tensor, seed: int, **changes) -> tuple[Tensor, Tensor]:
    """SDM as it is: the most certain pixels are decided first."""
    return sdm_inpaint(sdm, picture, mask, seed=seed, iterations=iterations, view="native", **changes)


@torch.no_grad()
def random_order(sdm: Generator, iterations: int, picture: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, None]:
    """The ablation: pixels are decided in a random order."""
    noise = torch.rand(mask.shape, generator=torch.Generator().manual_seed(seed))
    settings = SDMSettings(iterations=iterations)
    *_, last = iterate(sdm, picture * 2 - 1, mask, settings, seed=seed, latent=sdm.latent, rank=lambda deviation: noise)
    return torch.where(mask > 0, ((last.picture + 1) / 2).clamp(0, 1), picture), None


def rad_alone(rad: UNet, steps: int, sampler: str, picture: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, None]:
    """RAD, without alignment of the rim."""
    return rad_inpaint(rad, picture, mask, seed=seed, steps=steps, sampler=sampler, align=0.0), None


def refined(sdm: Generator, rad: UNet, steps: int, sigma_scale: float, picture: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """SDM in 4 passes, then RAD where it is uncertain."""
    filled, uncertainty = in_order(sdm, 4, picture, mask, seed)
    settings = RADSettings(steps, "dpmpp_2m", align=0.0, sigma_scale=sigma_scale)
    return rad_inpaint(rad, filled, mask, settings, seed=seed, uncertainty=uncertainty), uncertainty


def run(fill: Fill, truth: Tensor, mask: Tensor, batch: int = 50) -> tuple[Tensor, Tensor | None, float]:
    """Fill pictures in batches. Returns the fills, their uncertainty or None, and seconds for a picture."""
    began, parts = time.perf_counter(), []
    for k in range(0, len(truth), batch):
        parts.append(fill(truth[k : k + batch], mask[k : k + batch], UNSEEN + k))
    fills, uncertainties = zip(*parts, strict=True)
    uncertainty = None if uncertainties[0] is None else torch.cat(uncertainties)
    return torch.cat(fills), uncertainty, (time.perf_counter() - began) / len(truth)


@dataclass(frozen=True)
class Pictures:
    """Landscapes, their holes, and what was drawn."""

    truth: Tensor
    mask: Tensor
    scene: Scene


def measure(out: Tensor, uncertainty: Tensor | None, seconds: float, pictures: Pictures, reader: SceneReader) -> dict[str, float | str]:
    """A row of the table. Spearman's correlation is that of the uncertainty with the true error, over the hole's pixels."""
    truth, mask = pictures.truth, pictures.mask
    error = (out - truth).abs().mean(1, keepdim=True)
    return {
        "hole RMSE": float(hole_rmse(out, truth, mask).mean()),
        "seam, median": float(seam(out, truth, mask).median()),
        "seam, of the means": float(rim_jump(out, mask).mean() / rim_jump(truth, mask).mean()),
        "Spearman": "" if uncertainty is None else rank_correlation(error[mask > 0], uncertainty[mask > 0]),
        "perceptual": float(perceptual_distance(reader, out, truth).mean()),
        "Fréchet": frechet_distance(reader.features(out), reader.features(truth)),
        "scene error": float(scene_error(reader, out, pictures.scene).mean()),
        "ms a picture": 1000 * seconds,
    }


def methods(options: argparse.Namespace) -> dict[str, tuple[Fill, int]]:
    """By label: a function that fills, and the number of pictures it fills."""
    sdm, rad = load_sdm(options.model), merge_adapters(load_adapter(load_model("landscapes"), "landscapes"))
    passes = lambda t: f"SDM, {t} pass{'es' * (t > 1)}"
    found: dict[str, tuple[Fill, int]] = {}
    for memory in options.memory:
        suffix = "" if memory == MEMORY else f", memory {memory:g}"
        found |= {f"{passes(t)}{suffix}": (partial(in_order, sdm, t, memory=memory), options.count) for t in (1, 2, 4, 8)}
    for t in (4, 8):
        found[f"{passes(t)}, refreshed, no memory"] = partial(in_order, sdm, t, memory=0.0, refresh=True), options.count
    found["SDM, 4 passes, random order"] = partial(random_order, sdm, 4), options.count
    if few := min(options.refined, options.count):
        found |= {
            f"the first {few}: SDM, 4 passes": (partial(in_order, sdm, 4), few),
            f"the first {few}: RAD, 10 steps of dpmpp_2m": (partial(rad_alone, rad, 10, "dpmpp_2m"), few),
            f"the first {few}: RAD, 10 steps of ddpm": (partial(rad_alone, rad, 10, "ddpm"), few),
        }
        for scale in options.sigma_scale:
            label = f"the first {few}: SDM refined with RAD, 10 steps, sigma scale {scale:g}"
            found[label] = partial(refined, sdm, rad, 10, scale), few
    return found


def evaluate(options: argparse.Namespace) -> dict:
    """Fill landscapes by every method, and draw some of them. Returns the rows of a table."""
    mask, reader = holes(options.count), load_reader()
    rows, columns = {}, {}
    for name, (fill, count) in methods(options).items():
        truth, scene = landscapes(count, SIZE, options.seed, return_scene=True)
        pictures = Pictures(truth, mask[:count], scene)
        out, uncertainty, seconds = run(fill, truth, pictures.mask)
        rows[name] = {"pictures": count} | measure(out, uncertainty, seconds, pictures, reader)
        print(name, rows[name], flush=True)
        columns[name.rpartition(": ")[2].removesuffix(f", sigma scale {SIGMA_SCALE:g}")] = out
        if name == "SDM, 4 passes":
            columns["uncertainty x 3"] = (3 * uncertainty).clamp(max=1).expand(-1, 3, -1, -1)
    columns = {"picture": truth, "hole": mark_hole(truth, pictures.mask)} | {name: columns[name] for name in SHEET if name in columns}
    sheet([(label, column[:ON_SHEET]) for label, column in columns.items()], options.output / "images" / "sdm.jpg", cell=128)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("-n", "--count", type=int, default=500, help="pictures (default: 500)")
    parser.add_argument("--refined", type=int, default=200, help="pictures that RAD fills and refines too; 0 for none (default: 200)")
    parser.add_argument("--model", default="landscapes", help="an SDM network (default: landscapes)")
    parser.add_argument("--memory", type=float, nargs="+", default=[MEMORY], help="of SDM's passes; several to compare")
    parser.add_argument("--sigma-scale", type=float, nargs="+", default=[SIGMA_SCALE], help="of the refinement; several to compare")
    parser.add_argument("--seed", type=int, default=UNSEEN, help=f"of the pictures (default: {UNSEEN})")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    save_table(evaluate(options), options.output / "results" / "sdm.json")


if __name__ == "__main__":
    main()
