"""GradPaint on unseen landscapes, against plain combining and RePaint.

`python -m measurements.gradpaint -o docs` writes results/gradpaint.json and images/gradpaint.jpg there.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from measurements.landscapes import holes
from rad_core.bench.baselines import BASELINES, baseline_inpaint
from rad_core.checkpoints import load_model
from rad_core.gradpaint import PRESETS, gradpaint_inpaint
from rad_core.metrics import hole_rmse, rim_jump, ring_rmse, save_table, seam, texture
from rad_core.sheets import mark_hole, sheet
from rad_core.synthetic import UNSEEN, landscapes

ON_SHEET = 9  # pictures


def methods(steps: int) -> dict[str, tuple[int, Callable]]:
    """By label: network calls for a picture, and a function of (net, image, mask, seed)."""
    found = {}
    for name in ("combine", "paper", "plus"):
        label = "combine-image" if name == "combine" else f"GradPaint {name}"
        found[label] = PRESETS[name].guidance.calls(steps), partial(gradpaint_inpaint, settings=name, steps=steps)
    repaint = partial(baseline_inpaint, steps=steps, baseline="repaint-short")
    found["RePaint, 5 resamplings"] = BASELINES["repaint-short"].calls(steps), repaint
    return found


def measure(out: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    """Means over pictures; medians for ratios, because a few smooth pictures would dominate their mean."""
    return {
        "hole RMSE": float(hole_rmse(out, truth, mask).mean()),
        "ring RMSE, 1 px": float(ring_rmse(out, truth, mask).mean()),
        "ring RMSE, 3 px": float(ring_rmse(out, truth, mask, 3).mean()),
        "seam, median": float(seam(out, truth, mask).median()),
        "seam, of the means": float(rim_jump(out, mask).mean() / rim_jump(truth, mask).mean()),
        "texture, median": float(texture(out, truth, mask).median()),
    }


def evaluate(count: int, steps: int, folder: Path, batch: int = 25) -> dict:
    """Fill `count` landscapes by every method with the plain network, and draw some of them. Returns the rows of a table."""
    net = load_model("landscapes").to(memory_format=torch.channels_last)
    truth, mask = landscapes(count, 64, seed=UNSEEN), holes(count)
    rows, columns = {}, [("picture", truth[:ON_SHEET]), ("hole", mark_hole(truth, mask)[:ON_SHEET])]
    for label, (calls, fill) in methods(steps).items():
        starts = tqdm(range(0, count, batch), desc=label)
        out = torch.cat([fill(net, truth[k : k + batch], mask[k : k + batch], seed=k) for k in starts])
        rows[label] = {"pictures": count, "network calls": calls, **measure(out, truth, mask)}
        print(label, rows[label], flush=True)
        columns.append((label, out[:ON_SHEET]))
    sheet(columns, folder / "images" / "gradpaint.jpg", cell=128)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("-n", "--count", type=int, default=200, help="pictures (default: 200)")
    parser.add_argument("--steps", type=int, default=30, help="of the sampler (default: 30)")
    options = parser.parse_args()
    save_table(evaluate(options.count, options.steps, options.output), options.output / "results" / "gradpaint.json")


if __name__ == "__main__":
    main()
