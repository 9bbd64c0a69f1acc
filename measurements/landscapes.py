"""RAD on unseen landscapes, and the paper's Table 3 in miniature.

`python -m measurements.landscapes -o docs` writes results/landscapes.json and images/landscapes.jpg there; with `--align 1` it writes
results/aligned.json instead.
"""

import argparse
import warnings
from pathlib import Path

import torch
from torch import Tensor

from rad_core.adapters import load_adapter
from rad_core.bench.runs import PAPER_MASKS
from rad_core.checkpoints import load_model
from rad_core.metrics import hole_rmse, rim_jump, save_table, seam
from rad_core.rad import rad_inpaint
from rad_core.sheets import mark_hole, sheet
from rad_core.synthetic import UNSEEN, landscapes
from rad_core.unet import UNet

ON_SHEET = 3  # pictures of each kind of mask


def holes(count: int, size: int = 64) -> Tensor:
    """Boxes, extreme and wide masks in turn: (count, 1, size, size)."""
    kinds = list(PAPER_MASKS.values())
    return torch.cat([kinds[k % len(kinds)](1, size, size, seed=UNSEEN + k) for k in range(count)])


def fill(net: UNet, truth: Tensor, mask: Tensor, steps: int, sampler: str, align: float = 0.0, batch: int = 25) -> Tensor:
    """Fill pictures with RAD; without alignment unless given, as in the paper."""
    starts, settings = range(0, len(truth), batch), {"steps": steps, "sampler": sampler, "align": align}
    return torch.cat([rad_inpaint(net, truth[k : k + batch], mask[k : k + batch], seed=k, **settings) for k in starts])


def measure(out: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    """A row of the tables. There may be fewer fills than pictures: they are of the first."""
    truth, mask = truth[: len(out)], mask[: len(out)]
    return {
        "pictures": len(out),
        "hole RMSE": float(hole_rmse(out, truth, mask).mean()),
        "seam, median": float(seam(out, truth, mask).median()),
        "seam, of the means": float(rim_jump(out, mask).mean() / rim_jump(truth, mask).mean()),
    }


def evaluate_aligned(count: int, steps: int, sampler: str, align: float) -> dict:
    """RAD with its rim aligned, under each kind of mask in turn: rows of a table."""
    rad = load_adapter(load_model("landscapes"), "landscapes")
    truth, mask = landscapes(count, 64, seed=UNSEEN), holes(count)
    out = fill(rad, truth, mask, steps, sampler, align)
    rows = {"all, RAD aligned": measure(out, truth, mask)}
    for k, kind in enumerate(PAPER_MASKS):
        rows[f"{kind}, RAD aligned"] = measure(*(maps[k :: len(PAPER_MASKS)] for maps in (out, truth, mask)))
    return rows


def evaluate(count: int, ablation: int, steps: int, sampler: str, folder: Path) -> dict:
    """Fill landscapes under each kind of mask with RAD (`count` of them) and with the plain network (the first `ablation`).

    Draws some of each kind. Returns the rows of a table: RAD on all, and both on the first.
    """
    warnings.filterwarnings("ignore", message="This network was not trained for RAD")
    rad, base = load_adapter(load_model("landscapes"), "landscapes"), load_model("landscapes")
    rows, columns = {}, {"picture": [], "hole": [], "RAD": [], "plain base (Cfg. 1)": []}
    for kind, make in PAPER_MASKS.items():
        truth, mask = landscapes(count, 64, seed=UNSEEN), make(count, 64, 64, seed=UNSEEN)
        filled = fill(rad, truth, mask, steps, sampler)
        plain = fill(base, truth[:ablation], mask[:ablation], steps, sampler)
        for name, out in (("RAD", filled), (f"RAD, the first {ablation}", filled[:ablation]), (f"plain base, the first {ablation}", plain)):
            rows[f"{kind}, {name}"] = measure(out, truth, mask)
            print(f"{kind}, {name}", rows[f"{kind}, {name}"], flush=True)
        for label, pictures in zip(columns, (truth, mark_hole(truth, mask), filled, plain), strict=True):
            columns[label].append(pictures[:ON_SHEET])
    sheet([(label, torch.cat(parts)) for label, parts in columns.items()], folder / "images" / "landscapes.jpg", cell=128)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("-n", "--count", type=int, default=200, help="pictures under each kind of mask (default: 200)")
    parser.add_argument("--ablation", type=int, default=50, help="pictures that the plain network fills too (default: 50)")
    parser.add_argument("--steps", type=int, default=50, help="of the sampler (default: 50)")
    parser.add_argument("--sampler", default="ddpm", help="ddpm, ddim or dpmpp_2m (default: ddpm)")
    parser.add_argument("--align", type=float, help="measure RAD with this much rim alignment instead, 0 to 1")
    options = parser.parse_args()
    folder = options.output / "results"
    if options.align is not None:
        save_table(evaluate_aligned(options.count, options.steps, options.sampler, options.align), folder / "aligned.json")
        return
    rows = evaluate(options.count, options.ablation, options.steps, options.sampler, options.output)
    save_table(rows, folder / "landscapes.json")


if __name__ == "__main__":
    main()
