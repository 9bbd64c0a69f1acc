"""RAD on unseen landscapes, and the paper's Table 3 in miniature: `python -m measurements.landscapes -o docs`."""

import argparse
import warnings
from pathlib import Path

import torch
from torch import Tensor

from rad_core.adapters import load_adapter
from rad_core.checkpoints import load_model
from rad_core.masks import box_masks, extreme_masks, wide_masks
from rad_core.metrics import hole_rmse, rim_jump, save_table, seam
from rad_core.rad import rad_inpaint
from rad_core.sheets import mark_hole, sheet
from rad_core.synthetic import UNSEEN, landscapes

MASKS = {"box": box_masks, "extreme": extreme_masks, "wide": wide_masks}


def holes(count: int, size: int = 64) -> Tensor:
    """Boxes, extreme and wide masks in turn: (count, 1, size, size)."""
    kinds = list(MASKS.values())
    return torch.cat([kinds[k % len(kinds)](1, size, size, seed=UNSEEN + k) for k in range(count)])


def fill(net, truth: Tensor, mask: Tensor, steps: int, sampler: str, align: float = 0.0, batch: int = 25) -> Tensor:
    starts = range(0, len(truth), batch)
    return torch.cat([rad_inpaint(net, truth[k : k + batch], mask[k : k + batch], steps, sampler, seed=k, align=align) for k in starts])


def measures(out: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
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
    rows = {"all, RAD aligned": measures(out, truth, mask)}
    for k, kind in enumerate(MASKS):
        rows[f"{kind}, RAD aligned"] = measures(*(maps[k :: len(MASKS)] for maps in (out, truth, mask)))
    return rows


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
            rows[f"{kind}, {name}"] = measures(out, truth, mask)
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
    parser.add_argument("--align", type=float, help="measure what this strength of rim alignment does instead, into aligned.json")
    options = parser.parse_args()
    if options.align is not None:
        rows = evaluate_aligned(options.count, options.steps, options.sampler, options.align)
        save_table(rows, options.output / "aligned.json")
        return
    rows = evaluate(options.count, options.ablation, options.steps, options.sampler, options.output)
    save_table(rows, options.output / "landscapes.json")


if __name__ == "__main__":
    main()
