"""SDM's ablations in miniature (SDM Table 1 and 4): `python -m measurements.sdm_ablations -o docs`.

Each row is a small network of 32x32 pixels that is trained from scratch with one flag changed, then fills unseen landscapes. Rows that are
done are kept, so a stopped run goes on.
"""

import argparse
import json
from pathlib import Path

import torch

from rad_core.__main__ import main as command
from rad_core.bench.scene import frechet_distance, load_reader
from rad_core.masks import brush_masks
from rad_core.metrics import hole_rmse, rank_correlation, save_table, seam
from rad_core.sdm import Generator, load_sdm, sdm_inpaint
from rad_core.synthetic import UNSEEN, landscapes

SIZE = 32
NETWORK = ["--widths", "16,32,64", "--attention", "1,2", "--latent", "64", "--code", "128", "--heads", "2", "--global-convs", "1"]
ROWS = {  # name: (flags of the training; iterations, schedule, alpha and anchor of the test)
    "A, full": ([], 3, "linear", 0.01),
    "B, one iteration": (["--iterations", "1"], 1, "linear", 0.01),
    "C, two iterations": (["--iterations", "2"], 2, "linear", 0.01),
    "D, without DPM": (["--no-dpm"], 3, "linear", 0.01),
    "E, without continuous sampling": (["--alpha", "0"], 3, "linear", 0.0),
    "F, without uncertainty in attention": (["--no-guided-attention"], 3, "linear", 0.01),
    "cubic": (["--schedule", "cubic"], 3, "cubic", 0.01),
    "cosine": (["--schedule", "cosine"], 3, "cosine", 0.01),
    "square root": (["--schedule", "square root"], 3, "square root", 0.01),
    "ours, anchored": (["--anchor", "1"], 3, "linear", 0.01, 1.0),
}


def train(flags: list[str], path: Path, steps: int) -> Generator:
    flags = ["--anchor", "0", "--iterations", "3", *flags]  # the paper's; of an option that is given twice the last counts
    options = ["--stages", f"{SIZE}:{steps}:16", "--learning-rate", "2e-3", "--threads", "1", "--save-every", "50", "-o", str(path)]
    if command(["train", "sdm", *NETWORK, *flags, *options]):
        raise RuntimeError(f"The training of {path.name} failed.")
    return load_sdm(path)


def evaluate(net: Generator, count: int, iterations: int, schedule: str, alpha: float, anchor: float = 0.0) -> dict[str, float]:
    truth, mask = landscapes(count, SIZE, seed=UNSEEN), brush_masks(count, SIZE, SIZE, seed=UNSEEN).gt(0.5).float()
    mask[mask.sum((1, 2, 3)) == 0, :, 8:24, 8:24] = 1  # some brushes draw nothing
    out, doubt = sdm_inpaint(net, truth, mask, iterations, UNSEEN, schedule, alpha, anchor, 0.0, refresh=True, context="own")
    reader = load_reader()
    return {
        "Fréchet": frechet_distance(reader.features(out), reader.features(truth)),
        "hole RMSE": float(hole_rmse(out, truth, mask).mean()),
        "seam, median": float(seam(out, truth, mask).median()),
        "Spearman": rank_correlation((out - truth).abs().mean(1, keepdim=True)[mask > 0], doubt[mask > 0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    parser.add_argument("--work", type=Path, default=Path("ablations"), help="where the networks are kept")
    parser.add_argument("-n", "--count", type=int, default=500)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table, path = {}, options.work / "rows.json"
    if path.is_file():
        table = json.loads(path.read_text())
    for name, (flags, *test) in ROWS.items():
        if name not in table:
            net = train(flags, options.work / f"{name.split(',')[0].replace(' ', '_')}.safetensors", options.steps)
            table[name] = evaluate(net, options.count, *test)
            save_table(table, path)
    save_table(table, options.output / "sdm_ablations.json")


if __name__ == "__main__":
    main()
