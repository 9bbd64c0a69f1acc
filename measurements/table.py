"""Tables in Markdown from the records that `photos` keeps beside the fills: means with 95 % bootstrap intervals over the photographs."""

import json
from pathlib import Path

import numpy as np

RESAMPLES = 10_000
COLUMNS = ("PSNR", "SSIM", "feature distance", "seam", "texture", "its median", "mean abs log texture", "s")
Records = dict[str, dict]  # photograph -> what is known about its fill


def report(fills: Path, labels: list[str] | None, ours: str | None, chosen: list[str] | None = None) -> None:
    """Print all tables, over the photographs that every method of the table has filled."""
    records = read(fills, labels, chosen)
    if not records:
        raise SystemExit(f"No fills in {fills}.")
    shared = sorted(set.intersection(*(set(rows) for rows in records.values())))
    missing = {label: len(chosen or rows) - len(shared) for label, rows in records.items() if len(rows) != len(shared) or chosen}
    if any(missing.values()):
        print(f"Not filled by all methods, left out: {max(missing.values())} of {len(shared) + max(missing.values())} photographs.\n")
    if not shared:
        raise SystemExit("No photograph is filled by all methods; choose them with --rows.")
    print(means(records, shared))
    for label, rows in records.items():
        sources = sorted({rows[name]["source"] for name in shared} - {""})
        if sources:
            print(f"\n{label}: {'; '.join(sources)}")
    if len(shared) >= 9:
        print("\n" + thirds(records, shared))
    if ours:
        print("\n" + differences(records, shared, ours))


def read(fills: Path, labels: list[str] | None = None, chosen: list[str] | None = None) -> dict[str, Records]:
    """label -> photograph -> record."""
    labels = labels or sorted(path.name for path in fills.iterdir() if path.is_dir())
    records = {label: {path.stem: json.loads(path.read_text()) for path in sorted((fills / label).glob("*.json"))} for label in labels}
    if chosen is not None:
        records = {label: {name: row for name, row in rows.items() if name in chosen} for label, rows in records.items()}
    return {label: rows for label, rows in records.items() if rows}


def means(records: dict[str, Records], names: list[str]) -> str:
    lines = [f"| method ({len(names)} photographs) | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for label, rows in records.items():
        log_texture = np.log(column(rows, names, "texture"))
        cells = [
            interval(column(rows, names, "psnr"), ".2f"),
            interval(column(rows, names, "ssim"), ".3f"),
            interval(column(rows, names, "features"), ".3f"),
            interval(np.log(column(rows, names, "seam")), ".2f", np.exp),
            interval(log_texture, ".2f", np.exp),
            f"{np.exp(np.median(log_texture)):.2f}",
            f"{np.abs(log_texture).mean():.2f}",
            f"{column(rows, names, 'seconds').mean():.2f}",
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def thirds(records: dict[str, Records], names: list[str]) -> str:
    """Feature distance, texture and seam of the smallest, middle and largest third of the holes."""
    first = next(iter(records.values()))
    groups = np.array_split(sorted(names, key=lambda name: first[name]["pixels"]), 3)
    heads = [f"{first[group[0]]['pixels'] / 1000:.1f} to {first[group[-1]]['pixels'] / 1000:.1f} k" for group in groups]
    lines = [f"| by pixels of the hole: feature distance / texture / seam | {' | '.join(heads)} |", "|---" * 4 + "|"]
    for label, rows in records.items():
        geometric = lambda group, key, rows=rows: np.exp(np.log(column(rows, group, key)).mean())
        cells = [
            f"{column(rows, group, 'features').mean():.3f} / {geometric(group, 'texture'):.2f} / {geometric(group, 'seam'):.2f}"
            for group in groups
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def differences(records: dict[str, Records], names: list[str], ours: str) -> str:
    """Ours minus each other method, photograph by photograph."""
    heads = ("PSNR", "SSIM", "feature distance", "log texture", "abs log texture", "abs log seam", "wins on feature distance", "s, ratio")
    lines = [f"| {ours} minus | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    mine = records[ours]
    for label, rows in records.items():
        if label == ours:
            continue
        minus = lambda key, change=lambda x: x, rows=rows: change(column(mine, names, key)) - change(column(rows, names, key))
        closer = lambda x: np.abs(np.log(x))
        distance = minus("features")
        cells = [
            interval(minus("psnr"), "+.2f"),
            interval(minus("ssim"), "+.3f"),
            interval(distance, "+.3f"),
            interval(minus("texture", np.log), "+.2f"),
            interval(minus("texture", closer), "+.2f"),
            interval(minus("seam", closer), "+.2f"),
            f"{int((distance < 0).sum())} of {len(names)}",
            f"{column(mine, names, 'seconds').mean() / column(rows, names, 'seconds').mean():.2f}",
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def column(rows: Records, names: list[str], key: str) -> np.ndarray:
    return np.array([rows[name][key] for name in names], float)


def interval(values: np.ndarray, style: str, back=lambda x: x) -> str:
    """The mean and its 95 % interval: percentiles of the means of resampled photographs, the same resamples for every column."""
    picks = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(1), (2.5, 97.5))
    middle, low, high = (format(float(back(value)), style) for value in (values.mean(), low, high))
    return f"{middle} [{low}, {high}]"
