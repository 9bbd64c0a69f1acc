"""The inputs of a baseline's step, and the run that takes the steps: straight down the noise levels, or back and forth between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ...denoisers import Denoiser
from ...samplers import Callback, Noise


@dataclass(frozen=True)
class Problem:
    """An inpainting problem, as a baseline's step sees it.

    Args:
        denoise: the network, see `denoisers.Denoiser`.
        noise: returns fresh standard normal numbers shaped like the state, see `samplers`.
        picture: (B, C, h, w) in the network's range; pixels inside the hole are ignored.
        mask: (B or 1, 1, h, w), 1 = hole, 0 = known.
    """

    denoise: Denoiser
    noise: Noise
    picture: Tensor
    mask: Tensor


def walk(steps: int, jump: int, resamplings: int) -> list[int]:
    """Indices of the noise levels that a run visits, from 0 (most noise) to `steps` (none).

    RePaint's order (its Fig. 9): at every `jump`-th level, counted from the last noisy one, the run jumps back `jump` levels and comes
    down again, until it has visited that level `resamplings` times. It does not jump back beyond the first level.
    """
    jumps_left = dict.fromkeys(range(steps - 1, jump - 1, -jump), resamplings - 1)
    path, level = [0], 0
    while level < steps:
        level += 1
        path.append(level)
        if jumps_left.get(level, 0):
            jumps_left[level] -= 1
            level -= jump
            path.append(level)
    return path


def visits(steps: int, jump: int, resamplings: int) -> int:
    """Number of denoising steps in such a run: 2410 for 250 levels, jumps of 10 and 10 resamplings."""
    return steps + (resamplings - 1) * jump * len(range(steps - 1, jump - 1, -jump))


def travel(
    step: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    sigmas: Sequence[Tensor],
    noise: Noise,
    callback: Callback | None,
    jump: int,
    resamplings: int,
) -> Tensor:
    """Denoise with `step` (x, sigma, sigma_next) -> (x, x0) wherever the walk goes down, and add noise wherever it jumps back."""
    path, done = walk(len(sigmas) - 1, jump, resamplings), 0
    for i, j in pairwise(path):
        sigma, sigma_next = sigmas[i], sigmas[j]
        if j < i:
            x = x + (sigma_next.square() - sigma.square()).sqrt() * noise()  # q(x_next | x), with more noise
            continue
        x, x0 = step(x, sigma, sigma_next)
        done += 1
        if callback:
            callback(done, visits(len(sigmas) - 1, jump, resamplings), x0)
    return x
