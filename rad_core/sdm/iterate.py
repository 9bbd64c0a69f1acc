"""SDM's iteration: predict, pick, sample (SDM 3.1.2, Eq. 5). Pictures are in [-1, 1]; masks as everywhere here, 1 = hole."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..noise import generators, normal
from .membrane import membrane
from .network import pack
from .settings import SCHEDULES, SDMSettings

Predict = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # (seven channels, uncertainty, z) -> mean, log-variance


@dataclass(frozen=True)
class Iteration:
    """The result of one pass."""

    picture: Tensor  # (B, 3, H, W), 0 where nothing is decided yet
    hole: Tensor  # (B, 1, H, W), 1 where nothing is decided yet
    uncertainty: Tensor  # (B, 1, H, W): 1 in `hole`, 0 at pixels known from the start, the predicted deviation elsewhere
    mean: Tensor  # (B, 3, H, W), the prediction after anchoring and memory; only it and log_variance carry gradients
    log_variance: Tensor  # (B, 3, H, W)


def iterate(
    predict: Predict,
    picture: Tensor,
    hole: Tensor,
    settings: SDMSettings,
    seed: int | Sequence[int] = 0,
    latent: int = 512,
    rank: Callable[[Tensor], Tensor] = lambda deviation: deviation,
) -> Iterator[Iteration]:
    """Fill holes pass by pass; the last pass's picture is the result.

    Args:
        predict: a `Generator`, or a function with the same arguments.
        picture: (B, 3, H, W) in [-1, 1]; pixels inside the hole are ignored.
        hole: (B, 1, H, W) of 0 and 1.
        settings: iterations, schedule, alpha, anchor, memory and refresh; the others are `sdm_inpaint`'s.
        seed: picture k uses seed + k, or its entry of a list.
        latent: size of z, which is drawn once for all passes.
        rank: (B, 1, H, W) predicted deviation -> what pixels are picked by, the lowest first. For ablations: the paper picks by the
            deviation itself.

    Yields:
        the `Iteration` of every pass.
    """
    streams = generators(seed, picture.shape[0], "sdm")
    z = normal(streams, (latent,), picture.device)
    known = 1 - hole
    start = torch.where(hole > 0, 0, picture)
    x, decided, uncertainty, previous_mean = start, known, hole, start
    for t in range(1, settings.iterations + 1):
        # Predict
        mean, log_variance = predict(pack(x, known, decided, uncertainty, t, settings.iterations), uncertainty, z)
        if settings.anchor:
            mean = mean + settings.anchor * hole * membrane(start - mean, known)
        if settings.memory and t > 1:
            mean = torch.lerp(mean, previous_mean, settings.memory)
        previous_mean, previously_decided = mean.detach(), decided
        deviation = log_variance.exp().mean(1, keepdim=True).sqrt().clamp(0, 1)
        # Pick
        decided = _pick(rank(deviation), hole, decided, SCHEDULES[settings.schedule](t / settings.iterations))
        # Sample
        sample = mean
        if settings.alpha and t < settings.iterations:
            sample = mean + settings.alpha * (log_variance / 2).exp() * normal(streams, picture.shape[1:], picture.device)
        if not settings.refresh:
            sample = torch.where(previously_decided > 0, x, sample)
        x = (start + (decided - known) * sample).detach()
        uncertainty = torch.where(decided > 0, deviation * hole, 1.0).detach()
        yield Iteration(x, 1 - decided, uncertainty, mean, log_variance)


def _pick(rank: Tensor, hole: Tensor, decided: Tensor, share: float) -> Tensor:
    """Add the undecided pixels of lowest rank until round(share of the hole) are decided. A decided pixel stays decided."""
    total = hole.flatten(1).sum(1)
    wanted = torch.clamp((total * share).round(), max=total).long()  # (B,)
    # Sort order: pixels decided earlier, then the undecided ones by rank; pixels outside the hole come last and are not counted.
    key = torch.where(hole > 0, torch.where(decided > 0, -torch.inf, rank), torch.inf).flatten(1)
    place = key.argsort(dim=1, stable=True).argsort(dim=1)
    picked = (place < wanted[:, None]).view_as(hole).to(decided)
    return torch.maximum(decided, picked)
