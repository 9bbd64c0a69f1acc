"""Methods that put the known pixels into the estimate or into the state, without gradients: RePaint, DDRM, DDNM, DInG."""

import torch
from torch import Tensor

from ...denoisers import as_denoiser
from ...samplers import ddpm_step
from .travel import Problem


def repaint(problem: Problem, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> tuple[Tensor, Tensor]:
    """RePaint (Lugmayr et al. 2022, Algorithm 1): known pixels are noised afresh at every level (Eq. 8). `travel` resamples."""
    x = torch.lerp(problem.picture + sigma * problem.noise(), x, problem.mask)
    return ddpm_step(problem.denoise, x, sigma, sigma_next, problem.noise)


def ddrm(problem: Problem, x: Tensor, sigma: Tensor, sigma_next: Tensor, eta: float = 0.85, eta_b: float = 1.0) -> tuple[Tensor, Tensor]:
    """DDRM (Kawar et al. 2022, Eq. 8, which is written in sigma), with the paper's defaults.

    For inpainting the singular vectors are the pixels: the singular value is 1 where known and 0 in the hole. The known pixels have no
    noise. With t for sigma and s for sigma_next:
        hole:  x_s ~ N(x0 + sqrt(1 - eta^2) s (x_t - x0) / t, (eta s)^2)
        known: x_s ~ N((1 - eta_b) x0 + eta_b y, s^2)
    """
    x0, fresh = problem.denoise(x, sigma), problem.noise()
    hole = x0 + (1 - eta**2) ** 0.5 * sigma_next * (x - x0) / sigma + eta * sigma_next * fresh
    known = torch.lerp(x0, problem.picture, eta_b) + sigma_next * fresh
    return torch.lerp(known, hole, problem.mask), x0


def ddrm_start(problem: Problem, x: Tensor) -> Tensor:
    """DDRM's first state (Eq. 7): noise around the known pixels, and noise alone in the hole."""
    return torch.lerp(problem.picture + x, x, problem.mask)


def ddnm(problem: Problem, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> tuple[Tensor, Tensor]:
    """DDNM (Wang et al. 2023, Algorithm 1): the known pixels are the range space, the hole the null space, x0 <- A^+ y + (I - A^+ A) x0.

    The step samples the posterior q(x_s | x_t, x0), whose variance is beta~. With jumps, `travel` is the paper's time travel
    (Algorithm 2).
    """
    rectified = as_denoiser(lambda x, sigma: torch.lerp(problem.picture, problem.denoise(x, sigma), problem.mask))
    return ddpm_step(rectified, x, sigma, sigma_next, problem.noise)


def ding(problem: Problem, x: Tensor, sigma: Tensor, sigma_next: Tensor, sigma_y: float = 0.01) -> tuple[Tensor, Tensor]:
    """DInG (Moufad et al. 2026), decoupled guidance: the likelihood's noise is predicted at an independent z, so the step is Gaussian.

    With t for sigma and s for sigma_next: a DDIM step is N(mu, h^2) with mu = x0 + sqrt(s^2 - h^2) eps(x_t) and, in the paper's terms,
    eta_s = sigma_s (1 - alpha_s), which is h = s (1 - 1 / sqrt(1 + s^2)). For z sampled from it, the likelihood of the known pixels is
    N(y; x_s - s eps(z), sigma_y^2), and so
        known: x_s ~ N((1 - gamma) mu + gamma (y + s eps(z)), gamma sigma_y^2), gamma = h^2 / (h^2 + sigma_y^2)
        hole:  x_s ~ N(mu, h^2)
    A step takes two network calls, the last one a single call.
    """
    denoise, noise = problem.denoise, problem.noise
    x0 = denoise(x, sigma)
    h = sigma_next * (1 - (1 + sigma_next.square()).rsqrt())
    mu = x0 + (sigma_next.square() - h.square()).sqrt() * (x - x0) / sigma
    x = mu + h * noise()
    if not sigma_next.any():
        return x, x0
    z = mu + h * noise()
    gamma = h.square() / (h.square() + sigma_y**2)
    known = torch.lerp(mu, problem.picture + z - denoise(z, sigma_next), gamma) + gamma.sqrt() * sigma_y * noise()
    return torch.lerp(known, x, problem.mask), x0
