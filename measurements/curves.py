"""Loss curves of training logs as one picture: `python -m measurements.curves docs/training/*.csv -o docs/curves.png`."""

import argparse
import csv
from pathlib import Path

from rad_core.atomic import write_whole


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    figure, axes = pyplot.subplots(1, len(options.logs), figsize=(4 * len(options.logs), 3), layout="constrained")
    for axis, path in zip([axes] if len(options.logs) == 1 else axes, options.logs, strict=True):
        with open(path) as f:
            rows = list(csv.DictReader(f))
        loss = "loss" if "loss" in rows[0] else "colours"  # of SDM's, the one that tells most
        for size in dict.fromkeys(row["size"] for row in rows):
            part = [row for row in rows if row["size"] == size]
            axis.plot([int(row["step"]) for row in part], [float(row[loss]) for row in part], marker=".", label=f"{size}x{size}")
        axis.set(title=path.stem, xlabel="step", ylabel=loss, yscale="log")
        axis.legend()
    write_whole(options.output, figure.savefig)


if __name__ == "__main__":
    main()
