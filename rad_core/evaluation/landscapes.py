"""RAD on unseen landscapes, and the paper's Table 3 in miniature: `python -m rad_core.evaluation.landscapes -o docs`."""

import argparse
import warnings
from pathlib import Path

import torch
from torch import Tensor

from ..adapters import load_adapter
from ..checkpoints import load_model
from ..masks import box_masks, extreme_masks, wide_masks
from ..rad import rad_inpaint
from ..sheets import mark_hole, sheet
from ..training.landscapes import landscapes
from .metrics import hole_rmse, rim_jump, save_table, seam

UNSEEN = 10_000  # seeds of test pictures; training starts at 2 ** 40
MASKS = {"box": box_masks, "extreme": extreme_masks, "wide": wide_masks}


def fill(net, truth: Tensor, mask: Tensor, steps: int, sampler: str, batch: int = 25) -> Tensor:
    parts = [rad_inpaint(net, truth[k : k + batch], mask[k : k + batch], steps, sampler, seed=k) for k in range(0, len(truth), batch)]
    return torch.cat(parts)


def evaluate(count: int, ablation: int, steps: int, sampler: str, folder: Path, shown: int = 3) -> dict:
    """Fill landscapes under each kind of mask with RAD (`count` of them) and with the plain base (the first `ablation`).

    Returns:
        rows of a table: the mean RMSE in the hole over the pictures both filled, the same for RAD over all, and the median jump
        across the hole's rim as a multiple of the true picture's. Writes a sheet with some of each kind.
    """
    warnings.filterwarnings("ignore", message="This network was not trained for RAD")
    rad, base = load_adapter(load_model("landscapes"), "landscapes"), load_model("landscapes")
    rows, columns = {}, {"picture": [], "hole": [], "RAD": [], "plain base (Cfg. 1)": []}
    for kind, make in MASKS.items():
        truth, mask = landscapes(count, 64, seed=UNSEEN), make(count, 64, 64, seed=UNSEEN)
        filled = fill(rad, truth, mask, steps, sampler)
        plain = fill(base, truth[:ablation], mask[:ablation], steps, sampler)
        for name, out in (("RAD", filled), (f"RAD, the first {ablation}", filled[:ablation]), (f"plain base, the first {ablation}", plain)):
            n = len(out)
            errors, jumps = hole_rmse(out, truth[:n], mask[:n]), seam(out, truth[:n], mask[:n])
            rows[f"{kind}, {name}"] = {
                "pictures": n,
                "hole RMSE": float(errors.mean()),
                "seam, median": float(jumps.median()),
                "seam, of the means": float(rim_jump(out, mask[:n]).mean() / rim_jump(truth[:n], mask[:n]).mean()),
            }
            print(f"{kind}, {name}", rows[f"{kind}, {name}"], flush=True)
        for label, pictures in zip(columns, (truth, mark_hole(truth, mask), filled, plain), strict=True):
            columns[label].append(pictures[:shown])
    sheet([(label, torch.cat(parts)) for label, parts in columns.items()], folder / "landscapes.jpg", cell=128)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    parser.add_argument("-n", "--count", type=int, default=200)
    parser.add_argument("--ablation", type=int, default=50)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--sampler", default="ddpm")
    options = parser.parse_args()
    rows = evaluate(options.count, options.ablation, options.steps, options.sampler, options.output)
    save_table(rows, options.output / "landscapes.json")


if __name__ == "__main__":
    main()
