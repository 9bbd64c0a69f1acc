"""What the benchmark found, as files: benchmarks.md, and bench.json, bench.jpg and bench.png beside it."""

import argparse
import json
import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..atomic import write_whole
from ..metrics import markdown
from ..sheets import mark_hole, sheet
from .features import Judge
from .methods import METHODS
from .runs import Pictures, Piece, holes, read
from .scene import scene_error
from .scores import COMPARED, Interval, Measured, fewest, measure, ratios, row, together
from .timing.side_by_side import Rows

PAPER = {  # FID and LPIPS on FFHQ under box, extreme and wide masks: RAD's Tables 1 and 3
    "rad-ddpm-100": ("RAD", (22.1, 0.074), (33.4, 0.317), (21.5, 0.078)),
    "repaint-2410": ("RePaint", (25.7, 0.093), (35.9, 0.398), (24.2, 0.108)),
    "mcg": ("MCG", (23.7, 0.089), (30.6, 0.366), (22.1, 0.099)),
    "ddrm": ("DDRM", (28.4, 0.109), (48.1, 0.532), (27.5, 0.113)),
    "ddnm": ("DDNM", (30.4, 0.089), (87.7, 0.353), (30.4, 0.089)),
    "plain-base": ("Cfg. 1", (128.3, 0.279), (172.0, 0.441), (95.7, 0.240)),
    "spatial": ("RAD", (22.1, 0.074), (33.4, 0.317), (21.5, 0.078)),
    "one-level": ("Cfg. 2", (23.5, 0.086), (37.0, 0.333), (26.8, 0.085)),
}
SECONDS = {
    "ddrm": 12.291,
    "repaint-2410": 837.136,
    "mcg": 128.058,
    "ddnm": 6.566,
    "rad-ddpm-100": 8.442,
}  # RAD's Table 2, 256x256, TITAN RTX
SDM_FID = {"sdm-4": 2.23, "sdm-8": 2.07, "sdm-10": 2.05}  # SDM's Table 2, model A, by passes
RAD = "rad-ddpm-100"
ABLATION = {"plain-base": "rad-ddpm-50", "one-level": "spatial", "told-one-level": "rad-ddpm-50"}  # and what each is compared with


def write_report(pieces: Sequence[Piece], pictures: Pictures, judge: Judge, speed: dict[str, Rows], options: argparse.Namespace) -> None:
    """Judge all fills and write the four files into `options.output`. speed: tables by what they show."""
    folder, every = options.output, {}
    for method in tqdm(options.methods, desc="judge", unit="method"):
        parts = {mask: measure(method, mask, pieces, pictures, judge, folder) for mask in options.masks if has(pieces, method, mask)}
        every[method] = parts
        if len(parts) == len(options.masks):
            least = min(part.pictures for part in parts.values())
            every[method] = parts | {"all": together([part.first(least) for part in parts.values()])}
    if not any("all" in parts for parts in every.values()):
        raise ValueError(f"There is no method in {folder} yet that has filled pictures under every kind of mask.")
    rows = {}
    for mask in tqdm(["all", *options.masks], desc="intervals", unit="table"):
        rows[mask] = {m: row(m, parts[mask], options.draws) for m, parts in every.items() if mask in parts}
    about = describe(pictures, judge, options) | {"minutes of filling": sum(read(piece, folder)[1]["seconds"] for piece in pieces) / 60}
    claims = follow(every, [*options.masks, "all"], options.draws)
    found = {"about": about, "rows": rows, "claims": claims, "speed": speed}
    write_whole(folder / "bench.json", lambda path: Path(path).write_text(json.dumps(found, indent=1) + "\n"))
    text = "\n\n".join([*paragraphs(about, rows, claims), *speed_paragraphs(speed)])
    write_whole(folder / "benchmarks.md", lambda path: Path(path).write_text(text + "\n"))
    plot(rows["all"], folder / "bench.png")
    picture_sheet(pieces, pictures, options, folder / "bench.jpg")
    print(f"Wrote {folder / 'benchmarks.md'}, bench.json, bench.png and bench.jpg.")


def has(pieces: Iterable[Piece], method: str, mask: str) -> bool:
    return any(piece.method == method and piece.mask == mask and not piece.turn for piece in pieces)


def describe(pictures: Pictures, judge: Judge, options: argparse.Namespace) -> dict:
    """What the numbers were made with."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    device = torch.cuda.get_device_name(options.device) if torch.device(options.device).type == "cuda" else cpu
    about = {
        "machine": f"{device}, {torch.get_num_threads()} threads a process",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "networks": f"{options.model} with adapter {options.adapter}; SDM {options.sdm}",
        "ablation": " and ".join(path.stem for path in options.ablation or ()) or "none",
        "data": "drawn landscapes" if options.data is None else options.data.name,
        "pictures under each kind of mask": f"{options.count}; {options.few} by methods of thousands of calls, {options.again} twice",
        "size": pictures.truth.shape[2],
        "judge": options.judge,
        "seeds": "pictures, masks and fills of 10000 and up",
    }
    if judge.reader and pictures.scene is not None:
        with torch.no_grad():
            about["scene error of the pictures themselves"] = float(scene_error(judge.reader, pictures.truth, pictures.scene).mean())
    return about


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def follow(every: dict[str, dict[str, Measured]], masks: Sequence[str], draws: int) -> dict:
    """The papers' claims as ratios of errors with their intervals, by method, mask and measure."""
    compare = lambda of, to: {
        mask: ratios(every[of][mask], every[to][mask], draws) for mask in masks if mask in every[of] and mask in every[to]
    }
    claims: dict = {}
    every = {method: parts for method, parts in every.items() if parts}
    if RAD in every:
        claims["RAD against RePaint"] = {m: compare(RAD, m) for m in ("repaint-2410", "repaint-146") if m in every}
        few = {m: compare(m, RAD) for m in every if m.startswith("rad-") and m != RAD}
        claims["fewer steps"], claims["fewest"] = few, fewest({m: found["all"] for m, found in few.items() if "all" in found})
    claims["ablation"] = {of: compare(of, to) for of, to in ABLATION.items() if of in every and to in every}
    return claims


def paragraphs(about: dict, rows: dict, claims: dict) -> Iterable[str]:
    yield "# Benchmarks: every method side by side"
    yield "Made by `python -m rad_core bench`:\n\n" + "\n".join(f"- {name}: {text(value)}" for name, value in about.items())
    yield LEGEND
    yield overview(rows["all"])
    yield "![quality against network calls](bench.png)\n\n![fills](bench.jpg)"
    for mask in rows:
        if mask != "all":
            yield f"## Under {mask} masks\n\n" + by_mask(rows[mask])
    if any(claims.values()):
        yield "## What the papers claim"
    verdict = "Ratios of errors with their intervals; below 1, the first is better."
    for name, found in (
        ("RAD, 100 calls, against RePaint", claims.get("RAD against RePaint")),
        ("Fewer steps against RAD's 100", claims.get("fewer steps")),
        ("Ablations against RAD with as many steps, trained as long", claims.get("ablation")),
    ):
        if found:
            yield f"### {name}\n\n{verdict}\n\n{ratio_table(found)}"
    if any(claims.values()):
        found = exceptions(claims)
        yield "### Where this does not bear them out\n\n" + ("\n".join(f"- {line}" for line in found) or "Nowhere.")
    if claims.get("fewer steps"):
        yield few_steps(claims)
    yield f"## Beside the paper's numbers\n\n{PAPER_NOTE}\n\n" + beside_paper(rows)
    if any(method in rows["all"] for method in SDM_FID):
        yield "SDM's Table 2, FID on Places at 256x256 by passes:\n\n" + beside_sdm(rows["all"])


def speed_paragraphs(tables: dict[str, Rows]) -> Iterable[str]:
    if tables:
        yield "## Speed side by side\n\nMeasured in turns in one process when the rest was done; ratios are medians over the rounds."
    for name, rows in tables.items():
        yield f"### {name}\n\n{markdown(rows)}"


def exceptions(claims: dict) -> list[str]:
    """Where RAD is not surely better than RePaint, 20 calls are more than 5 % off 100, or the ablation's order is not the paper's."""
    lines = []
    for method, masks in claims.get("RAD against RePaint", {}).items():
        for how, which in {
            "is worse than": lambda value: value[1] > 1,
            "is not surely better than": lambda value: value[1] <= 1 <= value[2],
        }.items():
            lines += listed(f"RAD with 100 calls {how} {METHODS[method].label}", masks, which)
    for method, masks in claims.get("fewer steps", {}).items():
        if METHODS[method].calls == 20:
            lines += listed(f"{METHODS[method].label} is more than 5 % off RAD's 100", masks, lambda value: value[0] > 1.05)
    ablation = claims.get("ablation", {})
    if {"plain-base", "one-level"} <= ablation.keys():
        for mask, found in ablation["plain-base"].items():
            for name, plain in found.items():
                told = ablation["one-level"].get(mask, {}).get(name)
                if plain and told and not plain[0] > told[0] > 1:
                    lines.append(
                        f"{mask}, {name}: plain base {text(plain)} and one level {text(told)} times RAD's, not in the paper's order"
                    )
    return lines


def few_steps(claims: dict) -> str:
    """The method of the fewest calls within 5 % of RAD's 100, or else the nearest."""
    if claims["fewest"]:
        return (
            f"The fewest calls that keep all three measures within 5 % of RAD's 100, over all masks: **{METHODS[claims['fewest']].label}**."
        )
    over_all = {
        method: {name: v for name, v in masks["all"].items() if v} for method, masks in claims["fewer steps"].items() if "all" in masks
    }
    over_all = {method: found for method, found in over_all.items() if found}
    if not over_all:
        return "No method with fewer calls has filled enough pictures under every kind of mask."
    nearest = min(over_all, key=lambda method: max(value[0] for value in over_all[method].values()))
    how = ", ".join(f"{name} {text(value)}" for name, value in over_all[nearest].items())
    none = "No run of fewer calls keeps all three measures within 5 % of RAD's 100, over all masks"
    return f"{none}. The nearest: **{METHODS[nearest].label}** ({how})."


def listed(what: str, masks: dict[str, dict[str, Interval | None]], which: Callable[[Interval], bool]) -> list[str]:
    """One line with every mask and measure whose ratio is one of those, or none."""
    cases = {mask: [f"{name} {text(value)}" for name, value in found.items() if value and which(value)] for mask, found in masks.items()}
    cases = [f"{mask} ({', '.join(some)})" for mask, some in cases.items() if some]
    return [f"{what}: {'; '.join(cases)}"] if cases else []


LEGEND = """In brackets 95 % intervals, by drawing the pictures anew. *Seconds* are for a picture, *peak* (GPU) the memory in use beyond
what was before, *seam* and *TV* (medians) are multiples of the true pictures', *diversity* is the RMSE between two fills of a picture. The
Fréchet distance depends on the number of pictures: rows of equal numbers compare."""
PAPER_NOTE = """RAD's Tables 1, 2 and 3: FID and LPIPS on FFHQ at 256x256 under box, extreme and wide masks, and seconds on a TITAN RTX.
Ours are the Fréchet and the perceptual distance on other pictures, by other features: orders compare, numbers do not. The bundled
Cfg. 2 was not trained from the base as the paper's was, but on from RAD's adapter; *RAD, trained on* has seen the same pictures."""


def text(value: float | int | Interval | None) -> str:
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        return f"{value[0]:.3g} [{value[1]:.3g}, {value[2]:.3g}]" if value[1] < value[2] else f"{value[0]:.3g}"  # of one picture
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def table(heads: Sequence[str], lines: Iterable[tuple[str, Sequence]]) -> str:
    """Markdown; columns in which no line has anything are left out."""
    lines = [(label, list(values)) for label, values in lines]
    kept = [k for k in range(len(heads)) if any(text(values[k]) for _, values in lines)]
    out = ["| | " + " | ".join(heads[k] for k in kept) + " |", "|---" * (len(kept) + 1) + "|"]
    return "\n".join([*out, *(f"| {label} | " + " | ".join(text(values[k]) for k in kept) + " |" for label, values in lines)])


def overview(rows: dict) -> str:
    heads = list(dict.fromkeys(name for found in rows.values() for name in found))
    return table(heads, ((METHODS[m].label, [found.get(name) for name in heads]) for m, found in rows.items()))


def by_mask(rows: dict) -> str:
    heads = ["pictures", *COMPARED, "hole RMSE", "SSIM", "seam"]
    return table(heads, ((METHODS[m].label, [found.get(name) for name in heads]) for m, found in rows.items()))


def ratio_table(claims: dict[str, dict[str, dict[str, Interval | None]]]) -> str:
    lines = (
        (f"{METHODS[m].label}, {mask}", [found[name] for name in COMPARED]) for m, masks in claims.items() for mask, found in masks.items()
    )
    return table(COMPARED, lines)


def beside_paper(rows: dict) -> str:
    masks = [mask for mask in ("box", "extreme", "wide") if mask in rows]
    heads = [f"{mask}, {what}" for mask in masks for what in ("FID (paper)", "Fréchet", "LPIPS (paper)", "perceptual")]
    lines = []
    for method, (name, *paper) in PAPER.items():
        if have := [found[method] for found in rows.values() if method in found]:
            theirs, values = dict(zip(("box", "extreme", "wide"), paper, strict=True)), []
            for mask in masks:
                ours = rows[mask].get(method, {})
                frechet, perceptual = ours.get("Fréchet"), ours.get("perceptual")
                values += [theirs[mask][0], frechet and frechet[0], theirs[mask][1], perceptual and perceptual[0]]
            lines.append((f"{name} ({METHODS[method].label})", [*values, SECONDS.get(method), have[0]["seconds"]]))
    return table([*heads, "seconds (paper)", "seconds"], lines)


def beside_sdm(rows: dict) -> str:
    found = {method: rows[method].get("Fréchet") for method in SDM_FID if method in rows}
    return table(["FID (paper)", "Fréchet"], ((METHODS[m].label, [SDM_FID[m], frechet]) for m, frechet in found.items()))


def plot(rows: dict, path: Path) -> None:
    """Quality against network calls, a point for each method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in COMPARED if any(found.get(name) for found in rows.values())]
    figure, axes = pyplot.subplots(1, len(names), figsize=(7 * len(names), 6), layout="constrained", squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for method, found in rows.items():
            if found.get(name):
                value, low, high = found[name]
                colour = "C3" if method.startswith("rad-") else "C2" if method.startswith("sdm") else "C0"
                bars = [[max(0, value - low)], [max(0, high - value)]]
                axis.errorbar(found["calls"], value, bars, fmt="o", color=colour, alpha=0.7, elinewidth=0.7)
                axis.annotate(METHODS[method].label, (found["calls"], value), (4, 3), textcoords="offset points", fontsize=7)
        axis.set(xscale="log", xlabel="network calls for a picture", ylabel=f"{name} (lower is better)")
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=110))
    pyplot.close(figure)


def picture_sheet(pieces: Sequence[Piece], pictures: Pictures, options: argparse.Namespace, path: Path) -> None:
    """Another picture under each kind of mask, by every method that is shown; grey where a method has not filled it."""
    cases = [(kind, k % options.count) for k, kind in enumerate(options.masks)]
    truth = torch.cat([pictures.truth[k : k + 1] for _, k in cases])
    mask = torch.cat([holes(kind, k + 1, truth.shape[2])[k:] for kind, k in cases])
    columns: list[tuple[str, Tensor]] = [("picture", truth), ("hole", mark_hole(truth, mask))]
    for method in filter(lambda method: METHODS[method].shown, options.methods):
        filled = torch.full_like(truth, 0.5)
        for case, (kind, k) in enumerate(cases):
            for piece in pieces:
                if (piece.method, piece.mask, piece.turn) == (method, kind, 0) and piece.start <= k < piece.start + piece.count:
                    filled[case] = read(piece, options.output)[0][k - piece.start]
        columns.append((METHODS[method].label, filled))
    sheet(columns, path, cell=min(128, truth.shape[2]))
