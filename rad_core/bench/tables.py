"""The report's tables in Markdown: the methods' numbers, and those of the papers beside them."""

from collections.abc import Iterable, Sequence

from .methods import METHODS
from .scores import COMPARED, Interval

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
SECONDS = {  # RAD's Table 2, 256x256, TITAN RTX
    "ddrm": 12.291,
    "repaint-2410": 837.136,
    "mcg": 128.058,
    "ddnm": 6.566,
    "rad-ddpm-100": 8.442,
}
SDM_FID = {"sdm-4": 2.23, "sdm-8": 2.07, "sdm-10": 2.05}  # SDM's Table 2, model A, by passes


def format_value(value: float | int | Interval | None) -> str:
    """A table's cell: three digits, an interval in brackets, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        # a single picture has no interval
        return f"{value[0]:.3g} [{value[1]:.3g}, {value[2]:.3g}]" if value[1] < value[2] else f"{value[0]:.3g}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def table(heads: Sequence[str], lines: Iterable[tuple[str, Sequence]]) -> str:
    """A table of labelled lines, without the columns that are empty in all of them."""
    lines = [(label, [format_value(value) for value in values]) for label, values in lines]
    kept = [k for k in range(len(heads)) if any(cells[k] for _, cells in lines)]
    out = ["| | " + " | ".join(heads[k] for k in kept) + " |", "|---" * (len(kept) + 1) + "|"]
    return "\n".join([*out, *(f"| {label} | " + " | ".join(cells[k] for k in kept) + " |" for label, cells in lines)])


def overview(rows: dict) -> str:
    """Every number of every method (`scores.summarise`)."""
    return _methods(list(dict.fromkeys(name for numbers in rows.values() for name in numbers)), rows)


def by_mask(rows: dict) -> str:
    """The most important numbers of every method."""
    return _methods(["pictures", *COMPARED, "hole RMSE", "SSIM", "seam"], rows)


def _methods(heads: list[str], rows: dict) -> str:
    return table(heads, ((METHODS[method].label, [numbers.get(name) for name in heads]) for method, numbers in rows.items()))


def ratio_table(claims: dict[str, dict[str, dict[str, Interval | None]]]) -> str:
    """Ratios of errors by method and mask (`scores.ratios`)."""
    lines = (
        (f"{METHODS[method].label}, {mask}", [found[name] for name in COMPARED])
        for method, masks in claims.items()
        for mask, found in masks.items()
        if any(found.values())
    )
    return table(COMPARED, lines)


def paper_table(rows: dict) -> str:
    """RAD's Tables 1 to 3 beside the same methods' numbers here. rows: by mask and method."""
    masks = [mask for mask in ("box", "extreme", "wide") if mask in rows]
    heads = [f"{mask}, {number}" for mask in masks for number in ("FID (paper)", "Fréchet", "LPIPS (paper)", "perceptual")]
    lines = []
    for method, (name, *paper) in PAPER.items():
        if measured := [numbers[method] for numbers in rows.values() if method in numbers]:
            theirs, values = dict(zip(("box", "extreme", "wide"), paper, strict=True)), []
            for mask in masks:
                ours = rows[mask].get(method, {})
                frechet, perceptual = ours.get("Fréchet"), ours.get("perceptual")
                values += [theirs[mask][0], frechet and frechet[0], theirs[mask][1], perceptual and perceptual[0]]
            lines.append((f"{name} ({METHODS[method].label})", [*values, SECONDS.get(method), measured[0]["seconds"]]))
    return table([*heads, "seconds (paper)", "seconds"], lines)


def sdm_table(rows: dict) -> str:
    """SDM's Table 2 beside the same numbers of passes here. rows: by method."""
    found = {method: rows[method].get("Fréchet") for method in SDM_FID if method in rows}
    return table(["FID (paper)", "Fréchet"], ((METHODS[m].label, [SDM_FID[m], frechet]) for m, frechet in found.items()))
