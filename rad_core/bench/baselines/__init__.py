"""Other methods on the same `denoise(x, sigma)` contract, written from their papers, to be measured beside ours.

All use a plain network and train nothing. Each is a step (problem, x, t, s) -> (x, x0) from noise t to noise s, see `travel.Problem`.
The papers write the state as x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise; here it is x = x0 + sigma noise, so that
x_t = x / sqrt(1 + sigma^2) and sqrt(alpha_bar) = 1 / sqrt(1 + sigma^2).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...crops import Batch, fill_holes
from ...samplers import Callback, Denoiser, Noise
from ...schedule import NoiseSchedule, RegionSchedule
from ...unet import UNet
from .gradients import dps, mcg
from .langevin import lanpaint
from .projections import ddnm, ddrm, ddrm_start, ding, repaint
from .travel import Problem, travel, visits


@dataclass(frozen=True)
class Rival:
    """
    Args:
        step: (problem, x, t, s, **options) -> the state at s and the estimate x0 it was made with.
        source: where the method comes from.
        jump, resamplings: how it travels between noise levels, see `walk`; straight down unless given.
        spent: network calls for a number of steps; one that is differentiated counts as one.
        start: (problem, x) -> the first state, made of noise x; x itself unless given.
    """

    step: Callable[..., tuple[Tensor, Tensor]]
    source: str
    jump: int = 1
    resamplings: int = 1
    spent: Callable[[int], int] = lambda steps: steps
    start: Callable[[Problem, Tensor], Tensor] = lambda problem, x: x

    def calls(self, steps: int) -> int:
        """Network calls for a picture on so many noise levels."""
        return self.spent(visits(steps, self.jump, self.resamplings))

    def sample(
        self,
        denoise: Denoiser,
        x: Tensor,
        sigmas: Sequence[Tensor],
        noise: Noise,
        callback: Callback | None = None,
        *,
        picture: Tensor,
        mask: Tensor,
        **options,
    ) -> Tensor:
        """A sampler (see `samplers`) with the known pixels of a picture, and the step's own options."""
        problem = Problem(denoise, noise, picture, mask)
        step = partial(self.step, problem, **options)
        return travel(step, self.start(problem, x), sigmas, noise, callback, self.jump, self.resamplings)


RIVALS = {
    "repaint": Rival(repaint, "Lugmayr et al. 2022, Algorithm 1", jump=10, resamplings=10),
    "repaint-short": Rival(repaint, "the same with jumps of one step", jump=1, resamplings=5),
    "mcg": Rival(mcg, "Chung et al. 2022, Algorithm 1"),
    "dps": Rival(dps, "Chung et al. 2023, Algorithm 1"),
    "ddrm": Rival(ddrm, "Kawar et al. 2022, Eq. 7 and 8", start=ddrm_start),
    "ddnm": Rival(ddnm, "Wang et al. 2023, Algorithm 1"),
    "lanpaint": Rival(lanpaint, "Zheng et al. 2025, BiG score and fast Langevin dynamics", spent=lambda steps: 6 * steps),
    "ding": Rival(ding, "Moufad et al. 2026, decoupled guidance", spent=lambda steps: 2 * steps - 1),
}


@torch.no_grad()
def rival_inpaint(net: UNet, image: Tensor, mask: Tensor, steps: int, rival: str, seed: int | Sequence[int] = 0, **options) -> Tensor:
    """As `gradpaint_inpaint`, with one of `RIVALS` and its step's options."""
    schedule = RegionSchedule(NoiseSchedule(net.config.schedule))

    def fill(batch: Batch) -> Tensor:
        sigmas = schedule.sigmas(torch.ones_like(batch.mask), steps)
        hole = (batch.mask > 0).to(batch.mask)  # what is grey is mixed afterwards
        start = sigmas[0] * batch.draw()
        sample = RIVALS[rival].sample
        return sample(batch.denoise, start, sigmas, batch.draw, batch.callback, picture=batch.picture, mask=hole, **options)

    return fill_holes(net, image, mask, fill, seed, region_aware=False)
