"""Other methods on the same `denoise(x, sigma)` contract, written from their papers, to be measured beside ours."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..jobs import Batch, fill_holes
from ..samplers import Callback, Denoiser, Noise, ddpm_step
from ..schedule import NoiseSchedule, RegionSchedule
from ..unet import UNet


def sample_repaint(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[Tensor],
    noise: Noise,
    callback: Callback | None = None,
    *,
    combine: Callable[[Tensor, Tensor], Tensor],
    resamplings: int,
) -> Tensor:
    """RePaint (Lugmayr et al. 2022, Algorithm 1) with jump length 1: each step is taken `resamplings` times, noised back in between.

    Network calls: (steps - 1) * resamplings + 1.
    """
    steps = len(sigmas) - 1
    for i in range(steps):
        t, s = sigmas[i], sigmas[i + 1]
        last = i == steps - 1
        for turn in range(1 if last else resamplings):
            if turn:
                x = x + (t.square() - s.square()).sqrt() * noise()
            x, x0 = ddpm_step(denoise, combine(x, t), t, s, noise)
        if callback:
            callback(i + 1, steps, x0)
    return x


@torch.no_grad()
def repaint_inpaint(net: UNet, image: Tensor, mask: Tensor, steps: int, resamplings: int = 5, seed: int | Sequence[int] = 0) -> Tensor:
    """As `gradpaint_inpaint`, with RePaint."""
    schedule = RegionSchedule(NoiseSchedule(net.config.schedule))

    def fill(batch: Batch) -> Tensor:
        sigmas = schedule.sigmas(torch.ones_like(batch.mask), steps)
        combine = lambda x, sigma: torch.lerp(batch.picture + sigma * batch.draw(), x, batch.mask)
        start = sigmas[0] * batch.draw()
        return sample_repaint(batch.denoise, start, sigmas, batch.draw, batch.callback, combine=combine, resamplings=resamplings)

    return fill_holes(net, image, mask, fill, seed, region_aware=False)
