"""The benchmark's report: benchmarks.md, and the data and pictures that it shows, in results/ and images/ beside it."""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..atomic import atomic_write
from ..metrics import markdown
from ..sheets import mark_hole, sheet
from ..synthetic import UNSEEN
from .claims import compare, exceptions, few_steps
from .features import FeatureExtractor
from .methods import METHODS
from .runs import Pictures, Piece, holes, read
from .scene import scene_error
from .scores import COMPARED, Scores, pool, score, summarise
from .tables import PAPER, SDM_FID, by_mask, format_value, overview, paper_table, ratio_table, sdm_table

LEGEND = """Brackets hold 95 % confidence intervals, by resampling the pictures. *Seconds* are for a picture, *peak* (GPU) the memory
beyond what was in use before, *seam* and *TV* (medians) are multiples of the true pictures', *diversity* is the RMSE between two fills of a
picture. The Fréchet distance depends on the number of pictures: compare rows of equal numbers.

*Calls* are network calls for a picture. Distances are taken on the features of a network; lower is better. *Fréchet*: between the
distributions of all fills and all true pictures, as FID. *Perceptual*: between a fill and its picture, as LPIPS without learned weights.
*Scene error*: how far the sun, the horizon, the hour and so on that a small network reads in a fill are from those that were drawn. *Ring
RMSE*: error in the hole's outermost pixels. *TV*: total variation, how busy the fill is. Masks: *box*, a square of half the side;
*extreme*, all but such a square; *wide*, one to four broad strokes; *perlin*, blobs of noise. *vjp*: GradPaint by backpropagation;
*combine-image*: the known part is put back in every step, and nothing else is done."""
PAPER_NOTE = """RAD's Tables 1, 2 and 3: FID and LPIPS on FFHQ at 256x256 under box, extreme and wide masks, and seconds on a TITAN RTX.
Ours are the Fréchet and the perceptual distance on other pictures, by other features: compare the orders, not the numbers. The bundled
Cfg. 2 was not trained from the base as the paper's was, but on from RAD's adapter; *RAD, trained on* has seen the same pictures."""
RATIO_NOTE = (
    "Ratios of errors with their intervals; below 1, the first is better. "
    "Of few pictures a Fréchet distance comes mostly of their number, which draws a ratio to 1."
)


def write_report(
    pieces: Sequence[Piece], pictures: Pictures, extractor: FeatureExtractor, speed: dict, options: argparse.Namespace
) -> None:
    """Score all fills, and write the four files into `options.output`.

    Args:
        pieces: those that have files. speed: as `kept_speed_tables` returns it. options: of `bench`.

    Raises:
        ValueError: no method has filled pictures under every kind of mask.
    """
    folder = options.output
    scores = score_methods(pieces, pictures, extractor, options)
    rows = {}
    for mask in tqdm(["all", *options.masks], desc="intervals", unit="table"):
        rows[mask] = {m: summarise(m, parts[mask], options.draws) for m, parts in scores.items() if mask in parts}
    records = [read(piece, folder)[1] for piece in pieces]
    about = describe(records, pictures, extractor, options)
    claims = compare(scores, [*options.masks, "all"], options.draws)
    data = {"about": about, "rows": rows, "claims": claims, "speed": speed}
    atomic_write(folder / "results" / "bench.json", lambda path: Path(path).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8"))
    text = "\n\n".join([*paragraphs(about, rows, claims), *speed_paragraphs(speed)])
    atomic_write(folder / "benchmarks.md", lambda path: Path(path).write_text(text + "\n", encoding="utf-8"))
    plot(rows["all"], folder / "images" / "bench.png")
    picture_sheet(pieces, pictures, options, folder / "images" / "bench.jpg")
    print(f"Wrote {folder / 'benchmarks.md'}, results/bench.json, images/bench.png and images/bench.jpg.")


def score_methods(
    pieces: Sequence[Piece], pictures: Pictures, extractor: FeatureExtractor, options: argparse.Namespace
) -> dict[str, dict[str, Scores]]:
    """Scores by method and mask; "all" pools the masks of a method that has filled pictures under each.

    Raises:
        ValueError: there is no such method.
    """
    done = {(piece.method, piece.mask) for piece in pieces if not piece.repeat}
    scores = {}
    for method in tqdm(options.methods, desc="scores", unit="method"):
        parts = {mask: score(method, mask, pieces, pictures, extractor, options.output) for mask in options.masks if (method, mask) in done}
        scores[method] = parts
        if len(parts) == len(options.masks):
            least = min(part.pictures for part in parts.values())
            scores[method] = parts | {"all": pool([part.first(least) for part in parts.values()])}
    if not any("all" in parts for parts in scores.values()):
        raise ValueError(f"No method in {options.output} has filled pictures under every kind of mask yet.")
    return scores


def describe(records: Sequence[dict], pictures: Pictures, extractor: FeatureExtractor, options: argparse.Namespace) -> dict:
    """The machines, the networks and the data of the benchmark. records: of all pieces."""
    few, again = (min(count, options.count) for count in (options.few, options.again))
    about = {
        "machine": "; ".join(sorted({record["machine"] for record in records})),
        "networks": f"{options.model} with adapter {options.adapter}; SDM {options.sdm}",
        "ablation": " and ".join(path.stem for path in options.ablation or ()) or "none",
        "data": "drawn landscapes" if options.data is None else options.data.resolve().name,
        "pictures under each kind of mask": f"{options.count}; {few} by methods of thousands of calls, {again} twice",
        "size": pictures.truth.shape[2],
        "features": options.features,
        "seeds": f"pictures, masks and fills from {UNSEEN} up",
    }
    if extractor.reader and pictures.scene is not None:
        with torch.no_grad():
            about["scene error of the pictures themselves"] = float(scene_error(extractor.reader, pictures.truth, pictures.scene).mean())
    about["minutes of filling"] = sum(record["seconds"] for record in records) / 60
    return about


def paragraphs(about: dict, rows: dict, claims: dict) -> Iterable[str]:
    """The report's text, but for the speed tables."""
    yield "# Benchmarks: every method side by side"
    yield "Made by `python -m rad_core bench`:\n\n" + "\n".join(f"- {name}: {format_value(value)}" for name, value in about.items())
    yield LEGEND
    yield overview(rows["all"])
    yield "![quality against network calls](images/bench.png)\n\n![fills](images/bench.jpg)"
    for mask in rows:
        if mask != "all":
            yield f"## Under {mask} masks\n\n" + by_mask(rows[mask])
    if any(value for found in claims.values() if isinstance(found, dict) for value in _values(found)):
        yield from claim_paragraphs(claims)
    if claims.get("fewer steps"):
        yield few_steps(claims)
    if any(method in numbers for numbers in rows.values() for method in PAPER):
        yield f"## Beside the paper's numbers\n\n{PAPER_NOTE}\n\n" + paper_table(rows)
    if any(method in rows["all"] for method in SDM_FID):
        yield "SDM's Table 2, FID on Places at 256x256 by passes:\n\n" + sdm_table(rows["all"])


def _values(found: dict) -> list:
    """The ratios in nested dictionaries, None where too few pictures were compared."""
    return [value for part in found.values() for value in (_values(part) if isinstance(part, dict) else [part])]


def claim_paragraphs(claims: dict) -> Iterable[str]:
    """The papers' claims as tables of ratios, and where they do not hold."""
    yield "## What the papers claim"
    for title, found in (
        ("RAD, 100 calls, against RePaint", claims.get("RAD against RePaint")),
        ("Fewer steps against RAD's 100", claims.get("fewer steps")),
        ("Ablations against RAD with as many steps; one level, against an adapter trained as long", claims.get("ablation")),
        ("The plain base against RAD with one level, the ablation's first step", claims.get("first step")),
        *((f"{METHODS[method].label}, against its parts", found) for method, found in claims.get("combined", {}).items()),
    ):
        if any(_values(found or {})):
            yield f"### {title}\n\n{RATIO_NOTE}\n\n{ratio_table(found)}"
    yield "### Claims that do not hold here\n\n" + ("\n".join(f"- {line}" for line in exceptions(claims)) or "None.")


def speed_paragraphs(speed: dict) -> Iterable[str]:
    """The speed tables, if there are any."""
    if speed:
        yield f"## Speed side by side\n\nMeasured in turns in one process on {speed['machine']}; ratios are medians over the rounds."
    for title, rows in speed.get("tables", {}).items():
        yield f"### {title}\n\n{markdown(rows)}"


def plot(rows: dict, path: Path) -> None:
    """Draw quality against network calls, a point for each method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in COMPARED if any(numbers.get(name) for numbers in rows.values())]
    figure, axes = pyplot.subplots(1, len(names), figsize=(7 * len(names), 6), layout="constrained", squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for method, numbers in rows.items():
            if numbers.get(name):
                value, low, high = numbers[name]
                colour = "C3" if method.startswith("rad-") else "C2" if method.startswith("sdm") else "C0"
                bars = [[max(0, value - low)], [max(0, high - value)]]
                axis.errorbar(numbers["calls"], value, bars, fmt="o", color=colour, alpha=0.7, elinewidth=0.7)
                axis.annotate(METHODS[method].label, (numbers["calls"], value), (4, 3), textcoords="offset points", fontsize=7)
        axis.set(xscale="log", xlabel="network calls for a picture", ylabel=f"{name} (lower is better)")
    atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=110))
    pyplot.close(figure)


def picture_sheet(pieces: Sequence[Piece], pictures: Pictures, options: argparse.Namespace, path: Path) -> None:
    """Draw a different picture under each kind of mask, filled by the methods that are `on_sheet`; grey where a fill is missing."""
    cases = [(kind, k % options.count) for k, kind in enumerate(options.masks)]
    truth = torch.cat([pictures.truth[k : k + 1] for _, k in cases])
    mask = torch.cat([holes(kind, k + 1, truth.shape[2])[k:] for kind, k in cases])
    columns: list[tuple[str, Tensor]] = [("picture", truth), ("hole", mark_hole(truth, mask))]
    for method in filter(lambda method: METHODS[method].on_sheet, options.methods):
        filled = torch.full_like(truth, 0.5)
        for case, (kind, k) in enumerate(cases):
            for piece in pieces:
                if (piece.method, piece.mask, piece.repeat) == (method, kind, 0) and piece.start <= k < piece.start + piece.count:
                    filled[case] = read(piece, options.output)[0][k - piece.start]
        columns.append((METHODS[method].label, filled))
    sheet(columns, path, cell=min(128, truth.shape[2]))
