"""The papers' claims, tested on the benchmark's fills: ratios of errors with their confidence intervals."""

from collections.abc import Callable, Sequence

from .methods import METHODS
from .scores import Interval, Scores, fewest_calls, ratios
from .tables import format_value

RAD = "rad-ddpm-100"
COMBINED = {"sdm-rad": ("sdm-4", "rad-ddim-10"), "rad-inwards": ("rad-ddim-20",), "rad-aligned": ("rad-ddim-20",)}  # and their parts
ABLATION = {"plain-base": "rad-ddpm-50", "one-level": "spatial", "one-level-at-test": "rad-ddpm-50"}  # method: its reference


def compare(scores: dict[str, dict[str, Scores]], masks: Sequence[str], draws: int) -> dict:
    """The claims as ratios of errors, by claim, method, mask and measure.

    Args:
        scores: by method and mask. masks: those to compare under. draws: resamples for an interval.
    """
    of_to = lambda of, to: {
        mask: ratios(scores[of][mask], scores[to][mask], draws) for mask in masks if mask in scores[of] and mask in scores[to]
    }
    claims: dict = {}
    scores = {method: parts for method, parts in scores.items() if parts}
    if RAD in scores:
        claims["RAD against RePaint"] = {m: of_to(RAD, m) for m in ("repaint-2410", "repaint-146") if m in scores}
        fewer = {m: of_to(m, RAD) for m in scores if m.startswith("rad-") and m != RAD}
        claims["fewer steps"] = fewer
        claims["fewest"] = fewest_calls({m: found["all"] for m, found in fewer.items() if "all" in found})
    parts = {of: {to: of_to(of, to) for to in parts if to in scores} for of, parts in COMBINED.items() if of in scores}
    claims["combined"] = {of: found for of, found in parts.items() if found}
    claims["ablation"] = {of: of_to(of, to) for of, to in ABLATION.items() if of in scores and to in scores}
    claims["first step"] = {"plain-base": of_to("plain-base", "one-level")} if {"plain-base", "one-level"} <= scores.keys() else {}
    return claims


def exceptions(claims: dict) -> list[str]:
    """The claims that do not hold here, a line each.

    These are: RAD is not significantly better than RePaint, a run of 20 calls is more than 5 % worse than one of 100, or the ablations are
    not in the paper's order.
    """
    lines = []
    for method, masks in claims.get("RAD against RePaint", {}).items():
        for verdict, which in {
            "is worse than": lambda value: value[1] > 1,
            "is not significantly better than": lambda value: value[1] <= 1 <= value[2],
        }.items():
            lines += _cases(f"RAD with 100 calls {verdict} {METHODS[method].label}", masks, which)
    for method, masks in claims.get("fewer steps", {}).items():
        if METHODS[method].calls == 20:
            lines += _cases(f"{METHODS[method].label} is more than 5 % worse than RAD's 100", masks, lambda value: value[0] > 1.05)
    for mask, found in claims.get("first step", {}).get("plain-base", {}).items():
        for name, plain in found.items():
            one_level = claims.get("ablation", {}).get("one-level", {}).get(mask, {}).get(name)
            if plain and one_level and not (plain[0] > 1 and one_level[0] > 1):
                values = f"plain base {format_value(plain)} times one level's, which is {format_value(one_level)} times RAD's"
                lines.append(f"{mask}, {name}: {values}, not in the paper's order")
    return lines


def _cases(claim: str, masks: dict[str, dict[str, Interval | None]], which: Callable[[Interval], bool]) -> list[str]:
    """One line with every mask and measure whose ratio satisfies `which`, or no line."""
    cases = {
        mask: [f"{name} {format_value(value)}" for name, value in found.items() if value and which(value)] for mask, found in masks.items()
    }
    cases = [f"{mask} ({', '.join(measures)})" for mask, measures in cases.items() if measures]
    return [f"{claim}: {'; '.join(cases)}"] if cases else []


def few_steps(claims: dict) -> str:
    """A sentence with the method of the fewest calls within 5 % of RAD's 100, or else the one that comes nearest."""
    over_all = {
        method: {name: value for name, value in masks["all"].items() if value}
        for method, masks in claims["fewer steps"].items()
        if "all" in masks
    }
    over_all = {method: found for method, found in over_all.items() if found}
    if not over_all:
        return "No method with fewer calls has filled enough pictures under every kind of mask."
    *names, last = next(iter(over_all.values()))
    within = f"within 5 % of RAD's 100 in {' and '.join(filter(None, [', '.join(names), last]))}, over all masks"
    if claims["fewest"]:
        return f"The run of the fewest calls that is {within}: **{METHODS[claims['fewest']].label}**."
    nearest = min(over_all, key=lambda method: max(value[0] for value in over_all[method].values()))
    values = ", ".join(f"{name} {format_value(value)}" for name, value in over_all[nearest].items())
    return f"No run of fewer calls is {within}. The nearest: **{METHODS[nearest].label}** ({values})."
