"""SDM's iteration: predict, pick, sample (SDM 3.1.2, Eq. 5). Pictures in [-1, 1]; masks as everywhere here, 1 = hole."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..noise import generators, normal
from .membrane import membrane
from .network import pack

# Share of the hole that is decided after a share r of the iterations (SDM Table 4)
SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda r: r,
    "cosine": lambda r: 1 - math.cos(math.pi * r / 2),
    "cubic": lambda r: r**3,
    "square root": math.sqrt,
}
MEMORY = 0.3  # of `measurements.sdm --memory 0 0.15 0.3 --seed 5000` the least at which the error falls with every pass to 4
Predict = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # (seven channels, uncertainty, z) -> mean, log-variance


@dataclass(frozen=True)
class Iteration:
    """What one pass left.

    picture: (B, 3, H, W), still 0 where nothing is decided. hole: (B, 1, H, W), what is not decided yet. uncertainty: (B, 1, H, W): 1
    there, 0 where the picture was known, the predicted deviation elsewhere. mean, log_variance: (B, 3, H, W), as predicted and
    anchored; these alone carry gradients.
    """

    picture: Tensor
    hole: Tensor
    uncertainty: Tensor
    mean: Tensor
    log_variance: Tensor


def iterate(
    predict: Predict,
    picture: Tensor,
    hole: Tensor,
    iterations: int = 4,
    schedule: str = "linear",
    alpha: float = 0.01,
    seed: int | Sequence[int] = 0,
    latent: int = 512,
    anchor: float = 1.0,
    memory: float = 0.0,
    refresh: bool = True,
    rank: Callable[[Tensor], Tensor] = lambda deviation: deviation,
) -> Iterator[Iteration]:
    """Fill holes, giving each iteration as it is done; the last one's picture is the result.

    Args:
        predict: a `Generator`, or anything that is called like one.
        picture: (B, 3, H, W) in [-1, 1]; its hole is not looked at. hole: (B, 1, H, W) of 0 and 1.
        iterations: T. The paper trains with 2 and tests with 4 at 512; gains end at 9 or 10.
        schedule: a name in `SCHEDULES`; linear is the paper's best.
        alpha: how much of its deviation a pixel that is not final is given as noise; 0 for none.
        seed: picture k is drawn from seed + k, or from its entry of a list.
        latent: numbers of z, which is drawn once and serves all iterations.
        anchor: 0 takes predictions as they come (the paper's). A network paints the known pixels too, and how far it is off there tells how
            far it is off beside them: that error, extended over the hole by a membrane, is taken away `anchor` times (ours).
        memory: how much of its earlier predictions a pass holds to, 0 (the paper's) to below 1: they are averaged with that weight (ours).
        refresh: pixels that were decided earlier are predicted anew in every pass (the paper's); without, they stay (ours).
        rank: (B, 1, H, W) predicted deviation -> what pixels are picked by, the lowest first. For ablations: the paper picks by the
            deviation itself.

    Raises:
        ValueError: an argument out of its range.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"Unknown schedule '{schedule}': choose from {', '.join(SCHEDULES)}.")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}.")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}.")
    if not 0 <= anchor <= 1:
        raise ValueError(f"anchor must lie between 0 and 1, got {anchor}.")
    if not 0 <= memory < 1:
        raise ValueError(f"memory must lie between 0 and 1, and below it, got {memory}.")
    streams = generators(seed, picture.shape[0], "sdm")
    z = normal(streams, (latent,), picture.device)
    known = 1 - hole
    start = torch.where(hole > 0, 0, picture)
    x, decided, uncertainty, said = start, known, hole, start
    for t in range(1, iterations + 1):
        mean, log_variance = predict(pack(x, known, decided, uncertainty, t, iterations), uncertainty, z)
        if anchor:
            mean = mean + anchor * hole * membrane(start - mean, known)
        if memory and t > 1:
            mean = torch.lerp(mean, said, memory)
        said, before = mean.detach(), decided
        deviation = log_variance.exp().mean(1, keepdim=True).sqrt().clamp(0, 1)
        decided = _pick(rank(deviation), hole, decided, SCHEDULES[schedule](t / iterations))
        drawn = mean
        if alpha and t < iterations:
            drawn = mean + alpha * (log_variance / 2).exp() * normal(streams, picture.shape[1:], picture.device)
        drawn = drawn if refresh else torch.where(before > 0, x, drawn)
        x = (start + (decided - known) * drawn).detach()
        uncertainty = torch.where(decided > 0, deviation * hole, 1.0).detach()
        yield Iteration(x, 1 - decided, uncertainty, mean, log_variance)


def _pick(rank: Tensor, hole: Tensor, decided: Tensor, share: float) -> Tensor:
    """Let the undecided pixels of lowest rank join until round(share of the hole) are decided. Once in, a pixel stays."""
    total = hole.flatten(1).sum(1)
    wanted = torch.clamp((total * share).round(), max=total).long()  # (B,)
    # pixels decided earlier come first, then by rank; what was never hole comes last and is not counted
    key = torch.where(hole > 0, torch.where(decided > 0, -torch.inf, rank), torch.inf).flatten(1)
    place = key.argsort(dim=1, stable=True).argsort(dim=1)
    joined = (place < wanted[:, None]).view_as(hole).to(decided)
    return torch.maximum(decided, joined)
