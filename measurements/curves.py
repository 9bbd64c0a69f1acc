"""Draw the loss curves of training logs as one picture.

`python -m measurements.curves docs/results/training/*.csv -o docs/images/curves.png`
"""

import argparse
import csv
from pathlib import Path

from rad_core.atomic import atomic_write

COLUMNS = 5  # panels side by side


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="+", help="logs that `train` wrote, .csv")
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture to write")
    options = parser.parse_args()
    columns = min(COLUMNS, len(options.logs))
    rows = -(-len(options.logs) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(4 * columns, 3 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(options.logs) :]:
        axis.remove()
    for axis, path in zip(axes.flat[: len(options.logs)], options.logs, strict=True):
        with open(path) as f:
            log = list(csv.DictReader(f))
        loss = "loss" if "loss" in log[0] else "colours"  # the most telling of SDM's losses
        for size in dict.fromkeys(row["size"] for row in log):
            stage = [row for row in log if row["size"] == size]
            axis.plot([int(row["step"]) for row in stage], [float(row[loss]) for row in stage], marker=".", label=f"{size}x{size}")
        axis.set(title=path.stem, xlabel="step", ylabel=loss, yscale="log")
        axis.legend()
    atomic_write(options.output, figure.savefig)


if __name__ == "__main__":
    main()
