"""SDM on unseen landscapes: by iterations, in a random order, and with RAD on what it doubts: `python -m measurements.sdm`."""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from measurements.landscapes import MASKS
from rad_core.adapters import load_adapter, merge_adapters
from rad_core.bench.scene import frechet_distance, load_reader, perceptual_distance, scene_error
from rad_core.checkpoints import load_model
from rad_core.masks import brush_masks
from rad_core.metrics import hole_rmse, rank_correlation, rim_jump, save_table, seam
from rad_core.rad import STRENGTH, rad_inpaint
from rad_core.sdm import MEMORY, Generator, iterate, load_sdm, sdm_inpaint
from rad_core.sheets import mark_hole, sheet
from rad_core.synthetic import UNSEEN, landscapes

SIZE = 64
Fill = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor | None]]  # (pictures, masks, seed) -> fills and their uncertainty


def holes(count: int) -> Tensor:
    """SDM's free-form strokes, boxes, extreme and wide masks in turn, binary."""
    kinds = [brush_masks, *MASKS.values()]
    masks = torch.cat([kinds[k % len(kinds)](1, SIZE, SIZE, seed=UNSEEN + k) for k in range(count)]).gt(0.5).float()
    masks[masks.sum((1, 2, 3)) == 0, :, 16:48, 16:48] = 1  # some strokes draw nothing
    return masks


@torch.no_grad()
def random_order(sdm: Generator, iterations: int, picture: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, None]:
    """The ablation: pixels are decided in a random order."""
    noise = torch.rand(mask.shape, generator=torch.Generator().manual_seed(seed))
    as_ours = {"memory": MEMORY, "refresh": False, "rank": lambda deviation: noise}
    *_, last = iterate(sdm, picture * 2 - 1, mask, iterations, seed=seed, latent=sdm.latent, **as_ours)
    return torch.where(mask > 0, ((last.picture + 1) / 2).clamp(0, 1), picture), None


def in_order(sdm: Generator, iterations: int, picture: Tensor, mask: Tensor, seed: int, **options) -> tuple[Tensor, Tensor]:
    return sdm_inpaint(sdm, picture, mask, iterations, seed, context="own", **options)


def rad_alone(rad, steps: int, sampler: str, picture: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, None]:
    return rad_inpaint(rad, picture, mask, steps, sampler, seed), None


def refined(sdm: Generator, rad, steps: int, strength: float, picture: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    filled, doubt = in_order(sdm, 4, picture, mask, seed)
    return rad_inpaint(rad, filled, mask, steps, "dpmpp_2m", seed, doubt=doubt, strength=strength), doubt


def run(fill: Fill, truth: Tensor, mask: Tensor, batch: int = 50) -> tuple[Tensor, Tensor | None, float]:
    """Fills, uncertainty, and seconds a picture."""
    began, parts = time.perf_counter(), []
    for k in range(0, len(truth), batch):
        parts.append(fill(truth[k : k + batch], mask[k : k + batch], UNSEEN + k))
    fills, doubts = zip(*parts, strict=True)
    return torch.cat(fills), None if doubts[0] is None else torch.cat(doubts), (time.perf_counter() - began) / len(truth)


def measures(out: Tensor, doubt: Tensor | None, seconds: float, truth: Tensor, mask: Tensor, reader, scene) -> dict[str, float | str]:
    error = (out - truth).abs().mean(1, keepdim=True)
    return {
        "hole RMSE": float(hole_rmse(out, truth, mask).mean()),
        "seam, median": float(seam(out, truth, mask).median()),
        "seam, of the means": float(rim_jump(out, mask).mean() / rim_jump(truth, mask).mean()),
        "Spearman": "" if doubt is None else rank_correlation(error[mask > 0], doubt[mask > 0]),
        "perceptual": float(perceptual_distance(reader, out, truth).mean()),
        "Fréchet": frechet_distance(reader.features(out), reader.features(truth)),
        "scene error": float(scene_error(reader, out, scene).mean()),
        "ms a picture": 1000 * seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    parser.add_argument("-n", "--count", type=int, default=500)
    parser.add_argument("--refined", type=int, default=200, help="so many of them are also filled by RAD and refined; 0 for none")
    parser.add_argument("--model", default="landscapes", help="an SDM network")
    parser.add_argument("--memory", type=float, nargs="+", default=[MEMORY], help="of the passes; several to choose among")
    parser.add_argument("--strength", type=float, nargs="+", default=[STRENGTH], help="of the refinement; several to choose among")
    parser.add_argument("--seed", type=int, default=UNSEEN, help="of the pictures")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sdm, rad = load_sdm(options.model), merge_adapters(load_adapter(load_model("landscapes"), "landscapes"))
    mask, reader = holes(options.count), load_reader()
    methods: dict[str, tuple[Fill, int]] = {}
    for memory in options.memory:
        told = "" if memory == MEMORY else f", memory {memory:g}"
        methods |= {f"SDM, {t} passes{told}": (partial(in_order, sdm, t, memory=memory), options.count) for t in (1, 2, 4, 8)}
    for t in (4, 8):
        methods[f"SDM, {t} passes, refreshed, no memory"] = partial(in_order, sdm, t, memory=0.0, refresh=True), options.count
    methods["SDM, 4 passes, random order"] = partial(random_order, sdm, 4), options.count
    if few := options.refined:
        methods |= {
            f"the first {few}: SDM, 4 passes": (partial(in_order, sdm, 4), few),
            f"the first {few}: RAD, 10 steps of dpmpp_2m": (partial(rad_alone, rad, 10, "dpmpp_2m"), few),
            f"the first {few}: RAD, 10 steps of ddpm": (partial(rad_alone, rad, 10, "ddpm"), few),
        }
        for strength in options.strength:
            methods[f"the first {few}: SDM refined with RAD, 10 steps, strength {strength:g}"] = (
                partial(refined, sdm, rad, 10, strength),
                few,
            )
    rows, columns = {}, {}
    for name, (fill, count) in methods.items():
        truth, scene = landscapes(count, SIZE, options.seed, return_scene=True)
        out, doubt, seconds = run(fill, truth, mask[:count])
        rows[name] = {"pictures": count} | measures(out, doubt, seconds, truth, mask[:count], reader, scene)
        print(name, rows[name], flush=True)
        columns[name.rpartition(": ")[2].removesuffix(f", strength {STRENGTH:g}")] = out
        if name == "SDM, 4 passes":
            columns["uncertainty x 3"] = (3 * doubt).clamp(max=1).expand(-1, 3, -1, -1)
    save_table(rows, options.output / "sdm.json")
    shown = {"picture": truth, "hole": mark_hole(truth, mask[:count])}
    wanted = ("SDM, 1 passes", "SDM, 4 passes", "uncertainty x 3", "RAD, 10 steps of dpmpp_2m", "SDM refined with RAD, 10 steps")
    shown |= {name: columns[name] for name in wanted if name in columns}
    sheet([(label, pictures[:8]) for label, pictures in shown.items()], options.output / "sdm.jpg", cell=128)


if __name__ == "__main__":
    main()
