"""Methods that differentiate the known pixels' error through the network: MCG and DPS."""

import torch
from torch import Tensor

from ...samplers import ddpm_step
from .travel import Problem


def dps(problem: Problem, x: Tensor, t: Tensor, s: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """DPS (Chung et al. 2023, Algorithm 1): x_s <- x_s - zeta d|y - x0(x_t)|^2 / dx_t over the known pixels, zeta = scale / (2 |y - x0|).

    So a step goes along the gradient of the norm itself, by `scale`. The papers take it with respect to x_t = x / sqrt(1 + t^2) and
    subtract it from x_s = x' / sqrt(1 + s^2): in our state's units both factors come to stand in front.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        moved, x0 = ddpm_step(problem.denoise, x, t, s, problem.noise)
        distance = ((1 - problem.mask) * (problem.picture - x0)).flatten(1).norm(dim=1)  # of each picture
        (gradient,) = torch.autograd.grad(distance.sum(), x)
    return moved.detach() - scale * (gradient * ((1 + t.square()) * (1 + s.square())).sqrt()), x0.detach()


def mcg(problem: Problem, x: Tensor, t: Tensor, s: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """MCG (Chung et al. 2022, Algorithm 1 and Eq. 14, 15): the same gradient step, after which the known pixels are noised afresh."""
    moved, x0 = dps(problem, x, t, s, scale)
    return torch.lerp(problem.picture + s * problem.noise(), moved, problem.mask), x0
