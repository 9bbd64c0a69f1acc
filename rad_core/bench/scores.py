"""The benchmark's numbers: what the kept fills are worth, with intervals, and what follows for the papers' claims."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..metrics import hole_rmse, psnr, ring_rmse, seam, ssim, variation
from .features import Judge
from .methods import METHODS
from .runs import Pictures, Piece, holes, read
from .scene import frechet_distance, scene_error
from .statistics import bootstrap, inception_scores, kernel_distance

ENOUGH = 8  # fills that a distance between sets is given for
DRAWS = 200  # of the pictures, for an interval
MEASURES = {"hole RMSE": hole_rmse, "PSNR": psnr, "SSIM": ssim, "ring RMSE": ring_rmse, "seam": seam, "TV": variation}
Interval = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class Measured:
    """A method's fills of n pictures under M kinds of mask.

    values: of every measure (M, n). features: (M, n, D) of the fills. true: (n, D) of the pictures. spread: how far second fills are
    from the first, (M, few), or None. seconds: for a picture. peak: MiB.
    """

    values: dict[str, Tensor]
    features: Tensor
    true: Tensor
    spread: Tensor | None
    seconds: float
    peak: float | None

    @property
    def pictures(self) -> int:
        return self.features.shape[1]

    def first(self, count: int) -> "Measured":
        values = {name: value[:, :count] for name, value in self.values.items()}
        return Measured(values, self.features[:, :count], self.true[:count], self.spread, self.seconds, self.peak)

    def distance(self, between: Callable[[Tensor, Tensor], float], chosen: Tensor | None = None) -> float:
        """Between the fills and the pictures, all masks together."""
        chosen = torch.arange(self.pictures) if chosen is None else chosen
        out = self.features[:, chosen].flatten(0, 1)
        return between(out, self.true[chosen].repeat(len(self.features), 1))

    def mean(self, name: str, chosen: Tensor | None = None) -> float:
        values = self.values[name] if chosen is None else self.values[name][:, chosen]
        return float(values.mean())


@torch.no_grad()
def measure(method: str, mask: str, pieces: Sequence[Piece], pictures: Pictures, judge: Judge, folder: Path) -> Measured:
    """Read a method's fills under one kind of mask and judge them."""
    told, fills = [], {0: [], 1: []}
    for piece in sorted((p for p in pieces if p.method == method and p.mask == mask), key=lambda piece: (piece.turn, piece.start)):
        out, info = read(piece, folder)
        fills[piece.turn].append(out)
        told.append(info | {"pictures": piece.count})
    out = torch.cat(fills[0])
    truth, hole = pictures.truth[: len(out)], holes(mask, len(out), out.shape[2])
    values = {name: of(out, truth, hole) for name, of in MEASURES.items()} | {"perceptual": judge.distance(out, truth)}
    if judge.reader and pictures.scene is not None:
        values["scene error"] = scene_error(judge.reader, out, pictures.first_scenes(len(out)))
    again = torch.cat(fills[1]) if fills[1] else None
    peaks = [info["peak"] for info in told if info["peak"] is not None]
    return Measured(
        {name: value[None].double() for name, value in values.items()},
        judge.features(out)[None].double(),
        judge.features(truth).double(),
        None if again is None else hole_rmse(again, out[: len(again)], hole[: len(again)])[None],
        sum(info["seconds"] for info in told) / sum(info["pictures"] for info in told),
        max(peaks, default=None),
    )


def together(parts: Sequence[Measured]) -> Measured:
    """Several kinds of mask as one."""
    return Measured(
        {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values},
        torch.cat([part.features for part in parts]),
        parts[0].true,
        None if any(part.spread is None for part in parts) else torch.cat([part.spread for part in parts]),
        sum(part.seconds for part in parts) / len(parts),
        max((part.peak for part in parts if part.peak is not None), default=None),
    )


def row(method: str, found: Measured, draws: int = DRAWS) -> dict[str, float | int | Interval | None]:
    """A method's numbers. Means over pictures and masks, but medians of ratios; intervals by drawing the pictures anew."""
    known, whole = METHODS[method], found.features.shape[0] * found.pictures >= ENOUGH
    numbers: dict = {"calls": known.calls, "pictures": found.pictures, "seconds": found.seconds, "peak MiB": found.peak}
    numbers["Fréchet"] = interval(lambda chosen: found.distance(frechet_distance, chosen), found.pictures, draws) if whole else None
    for name in ("perceptual", "scene error", "hole RMSE"):
        if name in found.values:
            numbers[name] = interval(lambda chosen, name=name: found.mean(name, chosen), found.pictures, draws)
    numbers |= {name: found.mean(name) for name in ("PSNR", "SSIM", "ring RMSE")}
    numbers |= {name: float(found.values[name].median()) for name in ("seam", "TV")}
    numbers["diversity"] = None if found.spread is None else float(found.spread.mean())
    many = len(found.features) * found.pictures > found.true.shape[1]  # fewer can always be told apart, and the kernel distance is noise
    numbers["KID"] = found.distance(kernel_distance) if many else None
    numbers["U-IDS"], numbers["P-IDS"] = found.distance(inception_scores) if many else (None, None)
    return numbers


def interval(statistic: Callable[[Tensor], float], count: int, draws: int) -> Interval:
    """A statistic of all pictures with its interval."""
    return (statistic(torch.arange(count)), *bootstrap(statistic, count, draws))


COMPARED = ("Fréchet", "perceptual", "scene error")


def ratios(of: Measured, to: Measured, draws: int = DRAWS) -> dict[str, Interval | None]:
    """A method's errors as multiples of another's, on the pictures both filled; the same pictures are drawn for both."""
    count, found = min(of.pictures, to.pictures), {}
    of, to = of.first(count), to.first(count)
    for name in COMPARED:
        if name == "Fréchet":
            enough = count > 1 and count * len(of.features) >= ENOUGH
            take = lambda one, chosen: one.distance(frechet_distance, chosen)
        else:
            enough = count > 1 and name in of.values  # one picture has no interval
            take = lambda one, chosen, name=name: one.mean(name, chosen)
        statistic = lambda chosen, take=take: math.log(max(take(of, chosen), 1e-12) / max(take(to, chosen), 1e-12))
        found[name] = tuple(math.exp(value) for value in interval(statistic, count, draws)) if enough else None
    return found


def fewest(compared: dict[str, dict[str, Interval | None]], limit: float = 1.05) -> str | None:
    """Of the methods compared with one by `ratios`: the one of the fewest calls that is nowhere more than `limit` times as far off."""
    good = [method for method, found in compared.items() if all(value is None or value[0] <= limit for value in found.values())]
    return min(good, key=lambda method: METHODS[method].calls, default=None)
