"""RAD on unseen landscapes, and the paper's Table 3 in miniature: `python -m rad_core.evaluation.landscapes -o docs`."""

import argparse
import json
import warnings
from pathlib import Path

import torch

from ..adapters import load_adapter
from ..checkpoints import load_model
from ..masks import box_masks, extreme_masks, wide_masks
from ..rad import rad_inpaint
from ..sheets import mark_hole, sheet
from ..training.landscapes import landscapes
from .metrics import hole_rmse, seam

UNSEEN = 10_000  # seeds of test pictures; training starts at 2 ** 40
MASKS = {"box": box_masks, "extreme": extreme_masks, "wide": wide_masks}


def networks() -> dict:
    """The bundled network with its adapter, and without: the paper's Cfg. 1."""
    return {"RAD": load_adapter(load_model("landscapes"), "landscapes"), "plain base (Cfg. 1)": load_model("landscapes")}


def evaluate(count: int, steps: int, sampler: str, folder: Path, shown: int = 4) -> dict:
    """Fill `count` landscapes under each kind of mask with each network; one sheet with some of each kind."""
    warnings.filterwarnings("ignore", message="This network was not trained for RAD")
    nets, rows, columns = networks(), {}, {"picture": [], "hole": []}
    for kind, make in MASKS.items():
        truth = landscapes(count, 64, seed=UNSEEN)
        mask = make(count, 64, 64, seed=UNSEEN)
        columns["picture"].append(truth[:shown])
        columns["hole"].append(mark_hole(truth, mask)[:shown])
        for name, net in nets.items():
            filled = torch.cat([rad_inpaint(net, truth[k : k + 25], mask[k : k + 25], steps, sampler, seed=k) for k in range(0, count, 25)])
            rows[f"{kind}, {name}"] = {
                "hole RMSE": float(hole_rmse(filled, truth, mask).mean()),
                "seam": float(seam(filled, truth, mask).median()),
            }
            columns.setdefault(name, []).append(filled[:shown])
            print(kind, name, rows[f"{kind}, {name}"], flush=True)
    sheet([(name, torch.cat(parts)) for name, parts in columns.items()], folder / "landscapes.jpg", cell=128)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    parser.add_argument("-n", "--count", type=int, default=200)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--sampler", default="ddpm")
    options = parser.parse_args()
    rows = evaluate(options.count, options.steps, options.sampler, options.output)
    (options.output / "landscapes.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
