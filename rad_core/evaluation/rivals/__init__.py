"""Other methods on the same `denoise(x, sigma)` contract, written from their papers, to be measured beside ours.

All use a plain network and train nothing. Each is a sampler (see `samplers`) with two arguments more:
    picture: (B, C, h, w), the known pixels; what stands in its hole is not looked at.
    mask: (B or 1, 1, h, w), 1 = hole, 0 = known.
The papers write the state as x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise; here it is x = x0 + sigma noise, so that
x_t = x / sqrt(1 + sigma^2) and sqrt(alpha_bar) = 1 / sqrt(1 + sigma^2). `t` is the noise a step begins with, `s` what it ends with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...jobs import Batch, fill_holes
from ...schedule import NoiseSchedule, RegionSchedule
from ...unet import UNet
from .gradients import sample_dps, sample_mcg
from .langevin import sample_lanpaint
from .projections import sample_ddnm, sample_ddrm, sample_ding
from .travel import sample_repaint, visits


@dataclass(frozen=True)
class Rival:
    """A method, where it comes from, and the network calls of a picture in so many steps (a call that is differentiated counts as one)."""

    sample: Callable[..., Tensor]
    source: str
    calls: Callable[[int], int]


RIVALS = {
    "repaint": Rival(sample_repaint, "Lugmayr et al. 2022, Algorithm 1", lambda steps: visits(steps, 10, 10)),
    "mcg": Rival(sample_mcg, "Chung et al. 2022, Algorithm 1", lambda steps: steps),
    "dps": Rival(sample_dps, "Chung et al. 2023, Algorithm 1", lambda steps: steps),
    "ddrm": Rival(sample_ddrm, "Kawar et al. 2022, Eq. 7 and 8", lambda steps: steps),
    "ddnm": Rival(sample_ddnm, "Wang et al. 2023, Algorithm 1", lambda steps: steps),
    "lanpaint": Rival(sample_lanpaint, "Zheng et al. 2025, BiG score and fast Langevin dynamics", lambda steps: 6 * steps),
    "ding": Rival(sample_ding, "Moufad et al. 2026, decoupled guidance", lambda steps: 2 * steps - 1),
}


@torch.no_grad()
def rival_inpaint(
    net: UNet, image: Tensor, mask: Tensor, sample: Callable[..., Tensor], steps: int, seed: int | Sequence[int] = 0, **options
) -> Tensor:
    """As `gradpaint_inpaint`, with a rival's sampler and its options."""
    schedule = RegionSchedule(NoiseSchedule(net.config.schedule))

    def fill(batch: Batch) -> Tensor:
        sigmas = schedule.sigmas(torch.ones_like(batch.mask), steps)
        hole = (batch.mask > 0).to(batch.mask)  # what is grey is mixed afterwards
        start = sigmas[0] * batch.draw()
        return sample(batch.denoise, start, sigmas, batch.draw, batch.callback, picture=batch.picture, mask=hole, **options)

    return fill_holes(net, image, mask, fill, seed, region_aware=False)


def repaint_inpaint(net: UNet, image: Tensor, mask: Tensor, steps: int, resamplings: int = 5, seed: int | Sequence[int] = 0) -> Tensor:
    """RePaint with jumps of one step: (steps - 1) * resamplings + 1 network calls."""
    return rival_inpaint(net, image, mask, sample_repaint, steps, seed, jump=1, resamplings=resamplings)
