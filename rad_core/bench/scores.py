"""The benchmark's numbers: how good the fills are, with confidence intervals, and ratios that test the papers' claims."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..metrics import hole_rmse, psnr, ring_rmse, seam, ssim, variation
from .features import FeatureExtractor
from .methods import METHODS
from .runs import Pictures, Piece, holes, read
from .scene import scene_error
from .statistics import bootstrap, frechet_distance, inception_scores, kernel_distance

ENOUGH = 8  # fewest fills for a distance between sets
DRAWS = 200  # resamples of the pictures for an interval
MEASURES = {"hole RMSE": hole_rmse, "PSNR": psnr, "SSIM": ssim, "ring RMSE": ring_rmse, "seam": seam, "TV": variation}
COMPARED = ("Fréchet", "perceptual", "scene error")  # the errors that claims are tested on
Interval = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class Scores:
    """How good a method's fills are: of n pictures, each under M kinds of mask.

    Args:
        values: by measure, (M, n).
        features: of the fills, (M, n, D). true_features: of the pictures, (n, D).
        spread: RMSE between the first and the second fills, (M, pictures filled twice), or None.
        seconds: for a picture. peak: memory in MiB, or None.
    """

    values: dict[str, Tensor]
    features: Tensor
    true_features: Tensor
    spread: Tensor | None
    seconds: float
    peak: float | None

    @property
    def pictures(self) -> int:
        """n."""
        return self.features.shape[1]

    def first(self, count: int) -> "Scores":
        """The scores of the first pictures alone."""
        values = {name: value[:, :count] for name, value in self.values.items()}
        spread = None if self.spread is None else self.spread[:, :count]
        return Scores(values, self.features[:, :count], self.true_features[:count], spread, self.seconds, self.peak)

    def distance(self, between: Callable[[Tensor, Tensor], float], chosen: Tensor | None = None) -> float:
        """A distance between the features of all fills and those of the pictures, or of the chosen pictures (indices)."""
        chosen = torch.arange(self.pictures) if chosen is None else chosen
        fills = self.features[:, chosen].flatten(0, 1)
        return between(fills, self.true_features[chosen].repeat(len(self.features), 1))

    def mean(self, name: str, chosen: Tensor | None = None) -> float:
        """The mean of a measure over masks and pictures, or over the chosen pictures (indices)."""
        values = self.values[name] if chosen is None else self.values[name][:, chosen]
        return float(values.mean())


@torch.no_grad()
def score(method: str, mask: str, pieces: Sequence[Piece], pictures: Pictures, extractor: FeatureExtractor, folder: Path) -> Scores:
    """Read a method's fills under one kind of mask, and compare them with the pictures."""
    records, fills = [], {0: [], 1: []}
    for piece in sorted((p for p in pieces if p.method == method and p.mask == mask), key=lambda piece: (piece.repeat, piece.start)):
        out, record = read(piece, folder)
        fills[piece.repeat].append(out)
        if not piece.repeat:  # a second fill has other batches, and so another speed
            records.append(record | {"pictures": piece.count})
    out = torch.cat(fills[0])
    truth, hole = pictures.truth[: len(out)], holes(mask, len(out), out.shape[2])
    values = {name: measure(out, truth, hole) for name, measure in MEASURES.items()}
    values["perceptual"] = extractor.distance(out, truth)
    if extractor.reader and pictures.scene is not None:
        values["scene error"] = scene_error(extractor.reader, out, pictures.first_scenes(len(out)))
    again = torch.cat(fills[1])[: len(out)] if fills[1] else None
    peaks = [record["peak"] for record in records if record["peak"] is not None]
    return Scores(
        {name: value[None].double() for name, value in values.items()},
        extractor.features(out)[None].double(),
        extractor.features(truth).double(),
        None if again is None else hole_rmse(again, out[: len(again)], hole[: len(again)])[None],
        sum(record["seconds"] for record in records) / sum(record["pictures"] for record in records),
        max(peaks, default=None),
    )


def pool(parts: Sequence[Scores]) -> Scores:
    """The scores under several kinds of mask as one. All parts are of the same pictures."""
    spreads = [part.spread for part in parts]
    twice = 0 if None in spreads else min(spread.shape[1] for spread in spreads)  # pictures, of which an interrupted run may differ
    return Scores(
        {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values},
        torch.cat([part.features for part in parts]),
        parts[0].true_features,
        torch.cat([spread[:, :twice] for spread in spreads]) if twice else None,
        sum(part.seconds for part in parts) / len(parts),
        max((part.peak for part in parts if part.peak is not None), default=None),
    )


def summarise(method: str, scores: Scores, draws: int = DRAWS) -> dict[str, float | int | Interval | None]:
    """A method's numbers for a table: means over pictures and masks, medians of ratios, intervals by resampling the pictures."""
    count = scores.pictures
    enough = len(scores.features) * count >= ENOUGH
    numbers: dict = {"calls": METHODS[method].calls, "pictures": count, "seconds": scores.seconds, "peak MiB": scores.peak}
    log_distance = lambda chosen: math.log(max(scores.distance(frechet_distance, chosen), 1e-12))  # so that no interval reaches below 0
    numbers["Fréchet"] = tuple(map(math.exp, interval(log_distance, count, draws))) if enough else None
    for name in ("perceptual", "scene error", "hole RMSE"):
        if name in scores.values:
            numbers[name] = interval(lambda chosen, name=name: scores.mean(name, chosen), count, draws)
    numbers |= {name: scores.mean(name) for name in ("PSNR", "SSIM", "ring RMSE")}
    numbers |= {name: float(scores.values[name].quantile(0.5)) for name in ("seam", "TV")}
    numbers["diversity"] = None if scores.spread is None else float(scores.spread.mean())
    # with fewer fills than features an SVM always separates the sets, and the kernel distance is noise
    many = len(scores.features) * count > scores.true_features.shape[1]
    # each kind of mask by itself: with every picture in several times the kernel distance would not be unbiased
    kernel = [kernel_distance(fills, scores.true_features, paired=True) for fills in scores.features] if many else []
    numbers["KID"] = sum(kernel) / len(kernel) if many else None
    numbers["U-IDS"], numbers["P-IDS"] = scores.distance(inception_scores) if many else (None, None)
    return numbers


def interval(statistic: Callable[[Tensor], float], count: int, draws: int) -> Interval:
    """A statistic of all `count` pictures, with its confidence interval."""
    return (statistic(torch.arange(count)), *bootstrap(statistic, count, draws))


def ratios(of: Scores, to: Scores, draws: int = DRAWS) -> dict[str, Interval | None]:
    """One method's errors as multiples of another's, on the pictures that both filled. Each resample is the same for both."""
    count, found = min(of.pictures, to.pictures), {}
    of, to = of.first(count), to.first(count)
    for name in COMPARED:
        if name == "Fréchet":
            enough = count > 1 and count * len(of.features) >= ENOUGH
            error = lambda scores, chosen: scores.distance(frechet_distance, chosen)
        else:
            enough = count > 1 and name in of.values  # a single picture has no interval
            error = lambda scores, chosen, name=name: scores.mean(name, chosen)
        log_ratio = lambda chosen, error=error: math.log(max(error(of, chosen), 1e-12) / max(error(to, chosen), 1e-12))
        found[name] = tuple(math.exp(value) for value in interval(log_ratio, count, draws)) if enough else None
    return found


def fewest_calls(compared: dict[str, dict[str, Interval | None]], limit: float = 1.05) -> str | None:
    """The method of the fewest calls among those with no ratio above `limit`, or None. `compared`: by method, `ratios` to the same one."""
    known = {method: [value[0] for value in found.values() if value] for method, found in compared.items()}
    good = [method for method, values in known.items() if values and max(values) <= limit]
    return min(good, key=lambda method: METHODS[method].calls, default=None)
