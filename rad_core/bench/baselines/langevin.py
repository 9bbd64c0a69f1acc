"""LanPaint: Langevin dynamics at every noise level."""

from functools import cache

import torch
from torch import Tensor

from .travel import Problem


def lanpaint(
    problem: Problem, x: Tensor, t: Tensor, s: Tensor, inner: int = 5, guidance: float = 8.0, step: float = 0.2, friction: float = 15.0
) -> tuple[Tensor, Tensor]:
    """LanPaint (Zheng et al. 2025): `inner` steps of fast Langevin dynamics (FLD) at every level, then Euler's step of the ODE.

    The joint score is (x0 - x) / t^2. The hole follows it; known pixels follow the bidirectional guided (BiG) score with lambda = guidance,
        -[(1 + lambda) (x - y) + lambda (x0 - x)] / t^2.
    FLD is dx = q dtau, dq = Gamma (-q dtau + score dtau + sqrt(2) dW). The score is split into C - A x with C held over a step, where
    A = 1 / t^2 in the hole and (1 + lambda) / t^2 outside; what remains is linear and is solved exactly, see `_transition`.

    Args:
        step: dtau in units of 1 / A. friction: Gamma in units of A. Both, and lambda, lie in the ranges the authors recommend.
    """
    picture, mask, noise = problem.picture, problem.mask, problem.noise
    turn, spread = _transition(step, friction)
    stiffness = torch.lerp(torch.full_like(mask, 1 + guidance), torch.ones_like(mask), mask)  # A t^2
    width = t / stiffness.sqrt()  # A^-1/2
    v = friction**0.5 * noise()
    for _ in range(inner):
        x0 = problem.denoise(x, t)
        rest = torch.lerp(picture - guidance / (1 + guidance) * (x0 - x), x0, mask)  # C / A
        u, a, b = (x - rest) / width, noise(), noise()
        u, v = turn[0][0] * u + turn[0][1] * v + spread[0][0] * a, turn[1][0] * u + turn[1][1] * v + spread[1][0] * a + spread[1][1] * b
        x = rest + width * u
    x0 = torch.lerp(picture, problem.denoise(x, t), mask)
    return torch.lerp(x0, x, s / t), x0


@cache
def _transition(step: float, friction: float) -> tuple[list[list[float]], list[list[float]]]:
    """FLD's linear part over `step`, with u = A^1/2 (x - C / A) and v = A^-1/2 q: du = v dtau, dv = friction (-(u + v) dtau + sqrt(2) dW).

    (u, v) becomes turn (u, v) + spread (two normal numbers). It leaves N(0, 1) x N(0, friction) as it is, which gives the covariance.
    """
    stationary = torch.diag(torch.tensor([1.0, friction], dtype=torch.float64))
    turn = torch.linalg.matrix_exp(step * torch.tensor([[0.0, 1.0], [-friction, -friction]], dtype=torch.float64))
    return turn.tolist(), torch.linalg.cholesky(stationary - turn @ stationary @ turn.T).tolist()
