"""Samplers, element-wise: every pixel has its own noise level.

One contract, as in k-diffusion. A sampler takes (denoise, x, sigmas, noise, callback):
    denoise: a `Denoiser`, or any function (x, sigma) -> x0: an ADM network, a host's MODEL, a guidance wrapped around one, or a Gaussian
        whose exact denoiser is known.
    x: the state x0 + sigmas[0] * noise, (B, C, H, W); of a flow model (1 - sigmas[0]) x0 + sigmas[0] * noise, see `Denoiser.signal`.
    sigmas: a sequence of steps + 1 noise levels, scalars or maps (B or 1, 1, H, W), falling; the last is 0.
    noise: a function without arguments that returns fresh standard normal numbers shaped like x.
    callback: called after each step with (step from 1, steps, x0 estimate); to cancel, raise from it.
Where a pixel's sigma does not change in a step, or is 0, the pixel is held.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from .denoisers import Denoiser, DenoiserLike, as_denoiser

Noise = Callable[[], Tensor]
Callback = Callable[[int, int, Tensor], None]
Sigmas = Sequence[Tensor] | Tensor


class Sampler(Protocol):
    """The contract of samplers, see above."""

    def __call__(self, denoise: DenoiserLike, x: Tensor, sigmas: Sigmas, noise: Noise, callback: Callback | None = None) -> Tensor: ...


def sample_ddpm(denoise: DenoiserLike, x: Tensor, sigmas: Sigmas, noise: Noise, callback: Callback | None = None) -> Tensor:
    """DDPM with the learned variance of Improved DDPM, the RAD paper's sampler (RAD Eq. 5, 4.2). See `ddpm_step`."""
    denoise, steps = as_denoiser(denoise), len(sigmas) - 1
    for i in range(steps):
        x, x0 = ddpm_step(denoise, x, sigmas[i], sigmas[i + 1], noise)
        if callback:
            callback(i + 1, steps, x0)
    return x


def ddpm_step(denoise: Denoiser, x: Tensor, sigma: Tensor, sigma_next: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """DDPM's reverse step from noise sigma to sigma_next: the new state, and the x0 it was made with.

    In terms of t = sigma and s = sigma_next: mean = x0 + (s / t)^2 (x - x0); beta~ = s^2 (1 - (s / t)^2),
    beta^ = (t^2 - s^2)(1 + s^2) / (1 + t^2). The log of the variance lies between their logs where the network's values say; without a
    learned variance it is beta~. No noise is added where a step ends clean. With a signal a (flow models) the noise is in units of it, so
    r = (s / a_s) / (t / a_t), and mean = a_s x0 + r (s / t) (x - a_t x0), beta~ = s^2 (1 - r^2).
    """
    x0, model_var_values = denoise.predict(x, sigma)
    ratio, signal, signal_next = _ratio(sigma_next, sigma), denoise.signal(sigma), denoise.signal(sigma_next)
    in_signal = ratio * signal / torch.where(signal_next > 0, signal_next, 1)
    x_next = signal_next * x0 + in_signal * ratio * (x - signal * x0)
    if sigma_next.any():
        variance = sigma_next.square() * (1 - in_signal.square())
        if model_var_values is not None:
            forward = (sigma.square() - sigma_next.square()) * (1 + sigma_next.square()) / (1 + sigma.square())
            tiny = torch.finfo(x.dtype).tiny
            variance = torch.lerp(variance.clamp(min=tiny).log(), forward.clamp(min=tiny).log(), (model_var_values + 1) / 2).exp()
        x_next = x_next + torch.where(sigma_next > 0, variance, 0).sqrt() * noise()
    return torch.where(sigma > sigma_next, x_next, x), x0


def sample_ddim(
    denoise: DenoiserLike, x: Tensor, sigmas: Sigmas, noise: Noise, callback: Callback | None = None, eta: float = 0.0
) -> Tensor:
    """DDIM (Song et al. 2021, Eq. 12 and 16). eta 0 is deterministic, 1 as noisy as DDPM with the posterior's variance.

    On a flow model eta 0 is Euler's method, and the noise of eta is in units of the signal, as in `ddpm_step`.
    """
    denoise, steps = as_denoiser(denoise), len(sigmas) - 1
    for i in range(steps):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        x0, signal, signal_next = denoise(x, sigma), denoise.signal(sigma), denoise.signal(sigma_next)
        in_signal = _ratio(sigma_next, sigma) * signal / torch.where(signal_next > 0, signal_next, 1)
        sigma_up = eta * sigma_next * (1 - in_signal.square()).clamp(min=0).sqrt()
        sigma_down = (sigma_next.square() - sigma_up.square()).clamp(min=0).sqrt()
        x_next = signal_next * x0 + _ratio(sigma_down, sigma) * (x - signal * x0)
        if eta > 0 and sigma_next.any():
            x_next = x_next + sigma_up * noise()
        x = torch.where(sigma > sigma_next, x_next, x)
        if callback:
            callback(i + 1, steps, x0)
    return x


def sample_dpmpp_2m(denoise: DenoiserLike, x: Tensor, sigmas: Sigmas, noise: Noise, callback: Callback | None = None) -> Tensor:
    """DPM-Solver++ 2M (Lu et al. 2022, Algorithm 2), deterministic, second order.

    First order for a pixel in its first and last step, and wherever it was held before. Of a flow model it solves the same equation,
    dx / dsigma = (x - x0) / sigma, in the same steps of log sigma.
    """
    denoise, steps, previous_x0, previous_h = as_denoiser(denoise), len(sigmas) - 1, None, None
    for i in range(steps):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        x0 = denoise(x, sigma)
        ratio = _ratio(sigma_next, sigma)
        h = -ratio.log()  # the step in log(alpha / sigma), half the log SNR; infinite where the pixel becomes clean
        target = x0
        if previous_x0 is not None:
            second_order = (previous_h > 0) & torch.isfinite(h) & (h > 0)
            weight = torch.where(second_order, h / (2 * torch.where(second_order, previous_h, 1)), 0)
            target = x0 + weight * (x0 - previous_x0)
        x = torch.where(sigma > sigma_next, torch.lerp(target, x, ratio), x)
        previous_x0, previous_h = x0, h
        if callback:
            callback(i + 1, steps, x0)
    return x


def _ratio(sigma_next: Tensor, sigma: Tensor) -> Tensor:
    """sigma_next / sigma, and 1 where sigma is 0."""
    return torch.where(sigma > 0, sigma_next / torch.where(sigma > 0, sigma, 1), 1)


SAMPLERS: dict[str, Sampler] = {"ddpm": sample_ddpm, "ddim": sample_ddim, "dpmpp_2m": sample_dpmpp_2m}
RESPONSE = {"ddpm": 2, "ddim": 1, "dpmpp_2m": 1}  # a step takes the share 1 - (sigma_next / sigma)^this of x0; ddim's at eta 0
STEPS = {"ddpm": 100, "ddim": 20, "dpmpp_2m": 20}  # that suit each sampler; ddpm's are the RAD paper's
SPACING = {"ddpm": "time", "ddim": "time", "dpmpp_2m": "karras"}  # of the noise levels, see `RegionSchedule.sigmas`


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
