"""Methods that put the known pixels into the estimate or the state, without gradients: DDRM, DDNM, DInG."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...samplers import Callback, Denoiser, Noise, ddpm_step
from .travel import travel


def sample_ddrm(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[Tensor],
    noise: Noise,
    callback: Callback | None = None,
    *,
    picture: Tensor,
    mask: Tensor,
    eta: float = 0.85,
    eta_b: float = 1.0,
) -> Tensor:
    """DDRM (Kawar et al. 2022, Eq. 7 and 8), which is written in sigma. Its defaults are the paper's.

    For inpainting the singular vectors are the pixels: singular value 1 where known, 0 in the hole; and the picture has no noise.
        hole:  x_s ~ N(x0 + sqrt(1 - eta^2) s (x_t - x0) / t, (eta s)^2)
        known: x_s ~ N((1 - eta_b) x0 + eta_b y, s^2)
    """
    steps = len(sigmas) - 1
    x = torch.lerp(picture + x, x, mask)  # Eq. 7
    for i in range(steps):
        t, s = sigmas[i], sigmas[i + 1]
        x0 = denoise(x, t)
        fresh = noise()
        hole = x0 + (1 - eta**2) ** 0.5 * s * (x - x0) / t + eta * s * fresh
        known = torch.lerp(x0, picture, eta_b) + s * fresh
        x = torch.lerp(known, hole, mask)
        if callback:
            callback(i + 1, steps, x0)
    return x


def sample_ddnm(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[Tensor],
    noise: Noise,
    callback: Callback | None = None,
    *,
    picture: Tensor,
    mask: Tensor,
    jump: int = 1,
    resamplings: int = 1,
) -> Tensor:
    """DDNM (Wang et al. 2023, Algorithm 1): the known pixels are the range space, the hole the null space, x0 <- A^+ y + (I - A^+ A) x0.

    The step is the posterior's, q(x_s | x_t, x0), of variance beta~. `jump` and `resamplings` above 1 are its time travel (Algorithm 2).
    """
    rectified = lambda x, sigma: torch.lerp(picture, denoise(x, sigma), mask)
    return travel(lambda x, t, s: ddpm_step(rectified, x, t, s, noise), x, sigmas, noise, callback, jump, resamplings)


def sample_ding(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[Tensor],
    noise: Noise,
    callback: Callback | None = None,
    *,
    picture: Tensor,
    mask: Tensor,
    sigma_y: float = 0.01,
) -> Tensor:
    """DInG (Moufad et al. 2026): the likelihood's noise is predicted at a point z of its own, so that the posterior step is a Gaussian.

    A DDIM step N(mu, h^2) with mu = x0 + sqrt(s^2 - h^2) eps(x_t) and, in the paper's terms, eta_s = sigma_s (1 - alpha_s), which is
    h = s (1 - 1 / sqrt(1 + s^2)). With z drawn from it, the known pixels' likelihood is N(y; x_s - s eps(z), sigma_y^2), and so
        known: x_s ~ N((1 - gamma) mu + gamma (y + s eps(z)), gamma sigma_y^2), gamma = h^2 / (h^2 + sigma_y^2)
        hole:  x_s ~ N(mu, h^2)
    Two network calls a step, one in the last.
    """
    steps = len(sigmas) - 1
    for i in range(steps):
        t, s = sigmas[i], sigmas[i + 1]
        x0 = denoise(x, t)
        h = s * (1 - (1 + s.square()).rsqrt())
        mu = x0 + (s.square() - h.square()).sqrt() * (x - x0) / t
        x = mu + h * noise()
        if s.any():
            z = mu + h * noise()
            gamma = h.square() / (h.square() + sigma_y**2)
            known = torch.lerp(mu, picture + z - denoise(z, s), gamma) + gamma.sqrt() * sigma_y * noise()
            x = torch.lerp(known, x, mask)
        if callback:
            callback(i + 1, steps, x0)
    return x
