"""Samplers, element-wise: every pixel has its own noise level.

One contract, as in k-diffusion. A *denoiser* is called with a state x = x0 + sigma * noise (B, C, H, W) and its sigma, a scalar
tensor or a map (B or 1, 1, H, W), and returns its estimate of x0. An ADM network, a host's MODEL and a Gaussian whose
exact denoiser is known all fit, and so does a guidance wrapped around one.

A sampler takes (denoise, x, sigmas, noise, callback):
    sigmas: a sequence of steps + 1 noise levels, falling; the last is 0.
    noise: a function without arguments that returns fresh standard normal numbers shaped like x.
    callback: called after each step with (step from 1, steps, x0 estimate); to cancel, raise from it.
Where a pixel's sigma does not change in a step, or is 0, the pixel is held.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
Noise = Callable[[], Tensor]
Callback = Callable[[int, int, Tensor], None]


def predict(denoise: Denoiser, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
    """x0, and the variance code in [-1, 1] of a denoiser that offers one through `with_variance`."""
    return denoise.with_variance(x, sigma) if hasattr(denoise, "with_variance") else (denoise(x, sigma), None)


def sample_ddpm(denoise: Denoiser, x: Tensor, sigmas: Sequence[Tensor], noise: Noise, callback: Callback | None = None) -> Tensor:
    """DDPM's reverse step with the learned variance of Improved DDPM, the RAD paper's sampler (Eq. 5, 4.2).

    In sigma: mean = x0 + (s / t)^2 (x - x0); beta~ = s^2 (1 - (s / t)^2), beta^ = (t^2 - s^2)(1 + s^2) / (1 + t^2), and the
    log of the variance lies between their logs where the network's code says. No noise where a step ends clean. Without a code: beta~.
    """
    steps = len(sigmas) - 1
    for i in range(steps):
        x, x0 = ddpm_step(denoise, x, sigmas[i], sigmas[i + 1], noise)
        if callback:
            callback(i + 1, steps, x0)
    return x


def ddpm_step(denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """From noise t to s: the new state and the x0 it was made with."""
    x0, code = predict(denoise, x, t)
    ratio = _ratio(s, t).square()
    moved = torch.lerp(x0, x, ratio)
    if s.any():
        posterior = s.square() * (1 - ratio)
        if code is not None:
            forward = (t.square() - s.square()) * (1 + s.square()) / (1 + t.square())
            tiny = torch.finfo(x.dtype).tiny
            posterior = torch.lerp(posterior.clamp(min=tiny).log(), forward.clamp(min=tiny).log(), (code + 1) / 2).exp()
        moved = moved + torch.where(s > 0, posterior, 0).sqrt() * noise()
    return torch.where(t > s, moved, x), x0


def sample_ddim(
    denoise: Denoiser, x: Tensor, sigmas: Sequence[Tensor], noise: Noise, callback: Callback | None = None, eta: float = 0.0
) -> Tensor:
    """DDIM (Song et al. 2021, Eq. 12 and 16). eta 0 is deterministic, 1 as noisy as DDPM with the posterior's variance."""
    steps = len(sigmas) - 1
    for i in range(steps):
        t, s = sigmas[i], sigmas[i + 1]
        x0 = denoise(x, t)
        ratio = _ratio(s, t)
        fresh = eta * s * (1 - ratio.square()).sqrt()
        kept = (s.square() - fresh.square()).clamp(min=0).sqrt()
        moved = x0 + _ratio(kept, t) * (x - x0)
        if eta > 0 and s.any():
            moved = moved + fresh * noise()
        x = torch.where(t > s, moved, x)
        if callback:
            callback(i + 1, steps, x0)
    return x


def sample_dpmpp_2m(denoise: Denoiser, x: Tensor, sigmas: Sequence[Tensor], noise: Noise, callback: Callback | None = None) -> Tensor:
    """DPM-Solver++ 2M (Lu et al. 2022, Algorithm 2), deterministic, second order.

    First order for a pixel in its first and last step, and wherever it was held before.
    """
    steps, before, h_before = len(sigmas) - 1, None, None
    for i in range(steps):
        t, s = sigmas[i], sigmas[i + 1]
        x0 = denoise(x, t)
        ratio = _ratio(s, t)
        h = -ratio.log()  # the step in log SNR; infinite where the pixel becomes clean
        target = x0
        if before is not None:
            second = (h_before > 0) & torch.isfinite(h) & (h > 0)
            weight = torch.where(second, h / (2 * torch.where(second, h_before, 1)), 0)
            target = x0 + weight * (x0 - before)
        x = torch.where(t > s, torch.lerp(target, x, ratio), x)
        before, h_before = x0, h
        if callback:
            callback(i + 1, steps, x0)
    return x


def _ratio(s: Tensor, t: Tensor) -> Tensor:
    """s / t, and 1 where both are 0."""
    return torch.where(t > 0, s / torch.where(t > 0, t, 1), 1)


SAMPLERS = {"ddpm": sample_ddpm, "ddim": sample_ddim, "dpmpp_2m": sample_dpmpp_2m}
RESPONSE = {"ddpm": 2, "ddim": 1, "dpmpp_2m": 1}  # a first-order step from t to s takes 1 - (s / t)^this of x0
STEPS = {"ddpm": 100, "ddim": 20, "dpmpp_2m": 20}  # network calls that suit each; ddpm's are the RAD paper's
SPACING = {"ddpm": "time", "ddim": "time", "dpmpp_2m": "karras"}  # what each is made for, see `RegionSchedule.sigmas`


def choose_sampler(name: str, eta: float = 0.0) -> Callable[..., Tensor]:
    """A sampler by its name.

    Raises:
        ValueError: an unknown name, or an `eta` outside [0, 1].
    """
    if name not in SAMPLERS:
        raise ValueError(f"Unknown sampler '{name}': choose from {', '.join(SAMPLERS)}.")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie between 0 and 1, got {eta}.")
    return partial(sample_ddim, eta=eta) if name == "ddim" else SAMPLERS[name]
