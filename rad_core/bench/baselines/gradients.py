"""Methods that differentiate the known pixels' error through the network: MCG and DPS."""

import torch
from torch import Tensor

from ...samplers import ddpm_step
from .travel import Problem


def dps(problem: Problem, x: Tensor, sigma: Tensor, sigma_next: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """DPS (Chung et al. 2023, Algorithm 1): a DDPM step, then x_s <- x_s - zeta d|y - x0(x_t)|^2 / dx_t over the known pixels.

    With zeta = scale / (2 |y - x0|) the step follows the gradient of the norm itself, times `scale`. The paper differentiates with
    respect to x_t = x / sqrt(1 + sigma^2) and subtracts from x_s = x / sqrt(1 + sigma_next^2): for our state, both factors multiply
    the gradient.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        moved, x0 = ddpm_step(problem.denoise, x, sigma, sigma_next, problem.noise)
        distance = ((1 - problem.mask) * (problem.picture - x0)).flatten(1).norm(dim=1)  # (B,)
        (gradient,) = torch.autograd.grad(distance.sum(), x)
    factor = ((1 + sigma.square()) * (1 + sigma_next.square())).sqrt()
    return moved.detach() - scale * (gradient * factor), x0.detach()


def mcg(problem: Problem, x: Tensor, sigma: Tensor, sigma_next: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """MCG (Chung et al. 2022, Algorithm 1, Eq. 14 and 15): the step of `dps`, after which the known pixels are noised afresh."""
    moved, x0 = dps(problem, x, sigma, sigma_next, scale)
    return torch.lerp(problem.picture + sigma_next * problem.noise(), moved, problem.mask), x0
