"""Methods that put the known pixels into the estimate or the state, without gradients: RePaint, DDRM, DDNM, DInG."""

import torch
from torch import Tensor

from ...samplers import ddpm_step
from .travel import Problem


def repaint(problem: Problem, x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """RePaint (Lugmayr et al. 2022, Algorithm 1): known pixels are noised afresh at every level (Eq. 8), and the run goes back again."""
    return ddpm_step(problem.denoise, torch.lerp(problem.picture + t * problem.noise(), x, problem.mask), t, s, problem.noise)


def ddrm(problem: Problem, x: Tensor, t: Tensor, s: Tensor, eta: float = 0.85, eta_b: float = 1.0) -> tuple[Tensor, Tensor]:
    """DDRM (Kawar et al. 2022, Eq. 8), which is written in sigma. Its defaults are the paper's.

    For inpainting the singular vectors are the pixels: singular value 1 where known, 0 in the hole; and the picture has no noise.
        hole:  x_s ~ N(x0 + sqrt(1 - eta^2) s (x_t - x0) / t, (eta s)^2)
        known: x_s ~ N((1 - eta_b) x0 + eta_b y, s^2)
    """
    x0, fresh = problem.denoise(x, t), problem.noise()
    hole = x0 + (1 - eta**2) ** 0.5 * s * (x - x0) / t + eta * s * fresh
    known = torch.lerp(x0, problem.picture, eta_b) + s * fresh
    return torch.lerp(known, hole, problem.mask), x0


def ddrm_start(problem: Problem, x: Tensor) -> Tensor:
    """Its first state (Eq. 7): the known pixels are noised, not left away."""
    return torch.lerp(problem.picture + x, x, problem.mask)


def ddnm(problem: Problem, x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """DDNM (Wang et al. 2023, Algorithm 1): the known pixels are the range space, the hole the null space, x0 <- A^+ y + (I - A^+ A) x0.

    The step is the posterior's, q(x_s | x_t, x0), of variance beta~. With jumps it is its time travel (Algorithm 2).
    """
    rectified = lambda x, sigma: torch.lerp(problem.picture, problem.denoise(x, sigma), problem.mask)
    return ddpm_step(rectified, x, t, s, problem.noise)


def ding(problem: Problem, x: Tensor, t: Tensor, s: Tensor, sigma_y: float = 0.01) -> tuple[Tensor, Tensor]:
    """DInG (Moufad et al. 2026): the likelihood's noise is predicted at a point z of its own, so that the posterior step is a Gaussian.

    A DDIM step N(mu, h^2) with mu = x0 + sqrt(s^2 - h^2) eps(x_t) and, in the paper's terms, eta_s = sigma_s (1 - alpha_s), which is
    h = s (1 - 1 / sqrt(1 + s^2)). With z drawn from it, the known pixels' likelihood is N(y; x_s - s eps(z), sigma_y^2), and so
        known: x_s ~ N((1 - gamma) mu + gamma (y + s eps(z)), gamma sigma_y^2), gamma = h^2 / (h^2 + sigma_y^2)
        hole:  x_s ~ N(mu, h^2)
    Two network calls a step, one in the last.
    """
    denoise, noise = problem.denoise, problem.noise
    x0 = denoise(x, t)
    h = s * (1 - (1 + s.square()).rsqrt())
    mu = x0 + (s.square() - h.square()).sqrt() * (x - x0) / t
    x = mu + h * noise()
    if not s.any():
        return x, x0
    z = mu + h * noise()
    gamma = h.square() / (h.square() + sigma_y**2)
    known = torch.lerp(mu, problem.picture + z - denoise(z, s), gamma) + gamma.sqrt() * sigma_y * noise()
    return torch.lerp(known, x, problem.mask), x0
