"""LanPaint: Langevin dynamics at every noise level."""

from functools import cache

import torch
from torch import Tensor

from .travel import Problem


def lanpaint(
    problem: Problem,
    x: Tensor,
    sigma: Tensor,
    sigma_next: Tensor,
    inner: int = 5,
    guidance: float = 8.0,
    step: float = 0.2,
    friction: float = 15.0,
) -> tuple[Tensor, Tensor]:
    """LanPaint (Zheng et al. 2025): `inner` steps of fast Langevin dynamics (FLD) at every level, then an Euler step of the ODE.

    The joint score is (x0 - x) / sigma^2. The hole follows it; known pixels follow the bidirectional guided (BiG) score with
    lambda = guidance,
        -[(1 + lambda) (x - y) + lambda (x0 - x)] / sigma^2.
    FLD is dx = q dtau, dq = Gamma (-q dtau + score dtau + sqrt(2) dW). The score is split into C - A x, where C is constant during a step
    and A = 1 / sigma^2 in the hole, (1 + lambda) / sigma^2 outside; the linear part is solved exactly, see `_transition`.

    Args:
        inner: Langevin steps per noise level.
        guidance: lambda. step: dtau in units of 1 / A. friction: Gamma in units of A. All three within the ranges the authors recommend.
    """
    picture, mask, noise = problem.picture, problem.mask, problem.noise
    decay, spread = _transition(step, friction)
    stiffness = torch.lerp(torch.full_like(mask, 1 + guidance), torch.ones_like(mask), mask)  # A sigma^2
    width = sigma / stiffness.sqrt()  # A^-1/2
    v = friction**0.5 * noise()
    for _ in range(inner):
        x0 = problem.denoise(x, sigma)
        rest = torch.lerp(picture - guidance / (1 + guidance) * (x0 - x), x0, mask)  # C / A
        u, a, b = (x - rest) / width, noise(), noise()
        u, v = decay[0][0] * u + decay[0][1] * v + spread[0][0] * a, decay[1][0] * u + decay[1][1] * v + spread[1][0] * a + spread[1][1] * b
        x = rest + width * u
    x0 = torch.lerp(picture, problem.denoise(x, sigma), mask)
    return torch.lerp(x0, x, sigma_next / sigma), x0


@cache
def _transition(step: float, friction: float) -> tuple[list[list[float]], list[list[float]]]:
    """FLD's linear part over `step`, with u = A^1/2 (x - C / A) and v = A^-1/2 q: du = v dtau, dv = friction (-(u + v) dtau + sqrt(2) dW).

    Returns:
        (decay, spread): (u, v) becomes decay (u, v) + spread (two standard normal numbers). The covariance follows from N(0, 1) x
        N(0, friction) being stationary.
    """
    stationary = torch.diag(torch.tensor([1.0, friction], dtype=torch.float64))
    decay = torch.linalg.matrix_exp(step * torch.tensor([[0.0, 1.0], [-friction, -friction]], dtype=torch.float64))
    return decay.tolist(), torch.linalg.cholesky(stationary - decay @ stationary @ decay.T).tolist()
