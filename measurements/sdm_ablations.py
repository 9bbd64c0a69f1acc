"""SDM's ablations in miniature (SDM Tables 1 and 4).

`python -m measurements.sdm_ablations -o docs` writes results/sdm_ablations.json there.

Each row is a small network for 32x32 pixels, trained from scratch with one flag changed, which then fills unseen landscapes. Finished rows
are kept, so it is safe to interrupt: run it again to resume.
"""

import argparse
import json
from pathlib import Path

import torch

from rad_core.__main__ import main as command
from rad_core.bench.scene import load_reader
from rad_core.bench.statistics import frechet_distance
from rad_core.masks import brush_masks
from rad_core.metrics import hole_rmse, rank_correlation, save_table, seam
from rad_core.sdm import Generator, load_sdm, sdm_inpaint
from rad_core.synthetic import UNSEEN, landscapes

SIZE = 32
NETWORK = ["--widths", "16,32,64", "--attention", "1,2", "--latent", "64", "--code", "128", "--heads", "2", "--global-convs", "1"]
ROWS = {  # name: (flags of the training; changes of the paper's settings at test time)
    "A, full": ([], {}),
    "B, one iteration": (["--iterations", "1"], {"iterations": 1}),
    "C, two iterations": (["--iterations", "2"], {"iterations": 2}),
    "D, without DPM": (["--no-dpm"], {}),
    "E, without continuous sampling": (["--alpha", "0"], {"alpha": 0.0}),
    "F, without uncertainty in attention": (["--no-guided-attention"], {}),
    "cubic": (["--schedule", "cubic"], {"schedule": "cubic"}),
    "cosine": (["--schedule", "cosine"], {"schedule": "cosine"}),
    "square root": (["--schedule", "square root"], {"schedule": "square root"}),
    "ours, anchored": (["--anchor", "1"], {"anchor": 1.0}),
}


def train(flags: list[str], path: Path, steps: int) -> Generator:
    """Train a small network as the paper does, but for the flags."""
    flags = ["--anchor", "0", "--iterations", "3", *flags]  # the last value of a repeated option counts
    options = ["--stages", f"{SIZE}:{steps}:16", "--learning-rate", "2e-3", "--threads", "1", "--save-every", "50", "-o", str(path)]
    if command(["train", "sdm", *NETWORK, *flags, *options]):
        raise RuntimeError(f"The training of {path.name} failed.")
    return load_sdm(path)


def evaluate(net: Generator, count: int, **changes) -> dict[str, float]:
    """Fill unseen landscapes in 3 passes with the paper's settings, but for the changes. Returns a row of the table."""
    truth, mask = landscapes(count, SIZE, seed=UNSEEN), brush_masks(count, SIZE, SIZE, seed=UNSEEN).gt(0.5).float()
    mask[mask.sum((1, 2, 3)) == 0, :, 8:24, 8:24] = 1  # some brush masks are empty
    changes = {"iterations": 3} | changes
    out, uncertainty = sdm_inpaint(net, truth, mask, "paper", seed=UNSEEN, view="native", **changes)
    reader = load_reader()
    return {
        "Fréchet": frechet_distance(reader.features(out), reader.features(truth)),
        "hole RMSE": float(hole_rmse(out, truth, mask).mean()),
        "seam, median": float(seam(out, truth, mask).median()),
        "Spearman": rank_correlation((out - truth).abs().mean(1, keepdim=True)[mask > 0], uncertainty[mask > 0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("--work", type=Path, default=Path("ablations"), help="folder for the networks (default: ablations)")
    parser.add_argument("-n", "--count", type=int, default=500, help="pictures (default: 500)")
    parser.add_argument("--steps", type=int, default=400, help="of each training (default: 400)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table, path = {}, options.work / "rows.json"
    if path.is_file():
        table = json.loads(path.read_text())
    for name, (flags, changes) in ROWS.items():
        if name not in table:
            net = train(flags, options.work / f"{name.split(',')[0].replace(' ', '_')}.safetensors", options.steps)
            table[name] = evaluate(net, options.count, **changes)
            save_table(table, path)
    save_table(table, options.output / "results" / "sdm_ablations.json")


if __name__ == "__main__":
    main()
