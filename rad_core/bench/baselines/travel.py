"""What a rival's step is given, and the run that takes the steps: straight down the noise levels, or back and forth between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ...samplers import Callback, Denoiser, Noise


@dataclass(frozen=True)
class Problem:
    """denoise, noise: see `samplers`. picture (B, C, h, w): what stands in its hole is not looked at. mask (B or 1, 1, h, w), 1 = hole."""

    denoise: Denoiser
    noise: Noise
    picture: Tensor
    mask: Tensor


def walk(steps: int, jump: int, resamplings: int) -> list[int]:
    """Numbers of the noise levels a run visits, 0 (most noise) to `steps` (none).

    RePaint's order (its Fig. 9): at every `jump`-th level, counted from the last noisy one, the run goes back `jump` levels and comes
    again, until it has been there `resamplings` times. Where `jump` levels do not fit any more it does not go back.
    """
    left = dict.fromkeys(range(steps - 1, jump - 1, -jump), resamplings - 1)
    path, level = [0], 0
    while level < steps:
        level += 1
        path.append(level)
        if left.get(level, 0):
            left[level] -= 1
            level -= jump
            path.append(level)
    return path


def visits(steps: int, jump: int, resamplings: int) -> int:
    """Steps down of such a run: 2410 for 250 levels, jumps of 10 and 10 resamplings."""
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
    """Take `step` (x, t, s) -> (x, x0) wherever the walk goes down, and add noise where it goes back."""
    path, done = walk(len(sigmas) - 1, jump, resamplings), 0
    for i, j in pairwise(path):
        t, s = sigmas[i], sigmas[j]
        if j < i:
            x = x + (s.square() - t.square()).sqrt() * noise()  # q(x_s | x_t) for s > t
            continue
        x, x0 = step(x, t, s)
        done += 1
        if callback:
            callback(done, visits(len(sigmas) - 1, jump, resamplings), x0)
    return x
