"""Going back and forth between noise levels, and RePaint, which lives by it."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ...samplers import Callback, Denoiser, Noise, ddpm_step


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
    """Network calls of such a run: 2410 for 250 steps, jumps of 10 and 10 resamplings."""
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


def sample_repaint(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[Tensor],
    noise: Noise,
    callback: Callback | None = None,
    *,
    picture: Tensor,
    mask: Tensor,
    jump: int = 10,
    resamplings: int = 10,
) -> Tensor:
    """RePaint (Lugmayr et al. 2022, Algorithm 1): known pixels are noised afresh at every level (Eq. 8), and the run goes back again."""

    def step(x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return ddpm_step(denoise, torch.lerp(picture + t * noise(), x, mask), t, s, noise)

    return travel(step, x, sigmas, noise, callback, jump, resamplings)
