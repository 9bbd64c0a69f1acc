"""Other methods on the same `denoise(x, sigma)` contract, written from their papers, to be measured beside ours.

All use a plain network and train nothing. Each is a step (problem, x, sigma, sigma_next) -> (x, x0), see `travel.Problem`. The papers
write the state as x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise; here it is x = x0 + sigma noise, so x_t = x / sqrt(1 + sigma^2)
and sqrt(alpha_bar) = 1 / sqrt(1 + sigma^2).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...denoisers import Denoiser, Network, as_denoiser
from ...fills import Batch, FillMethod, Holes, fill_holes
from ...samplers import Callback, Noise
from ...schedule import RegionSchedule
from ...settings import SamplingSettings
from .gradients import dps, mcg
from .langevin import lanpaint
from .projections import ddnm, ddrm, ddrm_start, ding, repaint
from .travel import Problem, travel, visits


@dataclass(frozen=True)
class Baseline:
    """A method of another paper: its step, and the run that takes it.

    Args:
        step: (problem, x, sigma, sigma_next, **options) -> the state at sigma_next, and the estimate x0 it was made with.
        jump, resamplings: how the run jumps back between noise levels, see `travel.walk`; by default it goes straight down.
        network_calls: denoising steps -> network calls. A call that is differentiated counts as one.
        start: (problem, noise of the first level) -> the first state; by default the noise itself.
    """

    step: Callable[..., tuple[Tensor, Tensor]]
    jump: int = 1
    resamplings: int = 1
    network_calls: Callable[[int], int] = lambda steps: steps
    start: Callable[[Problem, Tensor], Tensor] = lambda problem, x: x

    def calls(self, steps: int) -> int:
        """Network calls for a picture in a run of `steps` noise levels."""
        return self.network_calls(visits(steps, self.jump, self.resamplings))

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
        """Sample as `samplers` do, with the known pixels of a picture (see `Problem`) and the step's own options."""
        problem = Problem(as_denoiser(denoise), noise, picture, mask)
        step = partial(self.step, problem, **options)
        return travel(step, self.start(problem, x), sigmas, noise, callback, self.jump, self.resamplings)


BASELINES = {  # their papers: see each step
    "repaint": Baseline(repaint, jump=10, resamplings=10),
    "repaint-short": Baseline(repaint, jump=1, resamplings=5),
    "mcg": Baseline(mcg),
    "dps": Baseline(dps),
    "ddrm": Baseline(ddrm, start=ddrm_start),
    "ddnm": Baseline(ddnm),
    "lanpaint": Baseline(lanpaint, network_calls=lambda steps: 6 * steps),
    "ding": Baseline(ding, network_calls=lambda steps: 2 * steps - 1),
}


@torch.no_grad()
def baseline_inpaint(
    net: Network, image: Tensor, mask: Tensor, steps: int, baseline: str, seed: int | Sequence[int] = 0, **options
) -> Tensor:
    """Fill the hole of each picture by another paper's method.

    Args:
        net, image, mask, seed: as `gradpaint_inpaint`.
        steps: noise levels of the run; `Baseline.calls` counts its network calls.
        baseline: a name in `BASELINES`. options: of its step.

    Returns:
        (B, 3, H, W), dtype and device of `image`. Pixels where the mask is 0 are bit-equal to the input.
    """
    schedule = RegionSchedule(net.config.schedule)

    def fill(batch: Batch) -> Tensor:
        sigmas = schedule.sigmas(torch.ones_like(batch.mask), steps)
        hole = (batch.mask > 0).to(batch.mask)  # grey pixels are mixed with the picture afterwards
        start = sigmas[0] * batch.noise()
        sample = BASELINES[baseline].sample
        return sample(batch.denoise, start, sigmas, batch.noise, batch.callback, picture=batch.picture, mask=hole, **options)

    return fill_holes(net, Holes(image, mask, seed), SamplingSettings(steps), FillMethod(fill, region_aware=False))
