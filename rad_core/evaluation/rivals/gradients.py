"""Methods that differentiate the known pixels' error through the network: MCG and DPS."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...samplers import Callback, Denoiser, Noise, ddpm_step


def sample_dps(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[Tensor],
    noise: Noise,
    callback: Callback | None = None,
    *,
    picture: Tensor,
    mask: Tensor,
    scale: float = 1.0,
) -> Tensor:
    """DPS (Chung et al. 2023, Algorithm 1): x_s <- x_s - zeta d|y - x0(x_t)|^2 / dx_t over the known pixels, zeta = scale / (2 |y - x0|).

    So a step goes along the gradient of the norm itself, by `scale`.
    """
    steps = len(sigmas) - 1
    for i in range(steps):
        moved, x0, gradient = _step(denoise, x, sigmas[i], sigmas[i + 1], noise, picture, mask)
        x = moved - scale * gradient
        if callback:
            callback(i + 1, steps, x0)
    return x


def sample_mcg(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[Tensor],
    noise: Noise,
    callback: Callback | None = None,
    *,
    picture: Tensor,
    mask: Tensor,
    scale: float = 1.0,
) -> Tensor:
    """MCG (Chung et al. 2022, Algorithm 1 and Eq. 14, 15): the same gradient step, after which the known pixels are noised afresh."""
    steps = len(sigmas) - 1
    for i in range(steps):
        s = sigmas[i + 1]
        moved, x0, gradient = _step(denoise, x, sigmas[i], s, noise, picture, mask)
        x = torch.lerp(picture + s * noise(), moved - scale * gradient, mask)
        if callback:
            callback(i + 1, steps, x0)
    return x


def _step(denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise, picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A DDPM step, its x0, and the gradient of |y - x0(x_t)| by which the papers move x_s, in our state's units.

    They take it with respect to x_t = x / sqrt(1 + t^2) and subtract it from x_s = x' / sqrt(1 + s^2): both factors come to stand in front.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        moved, x0 = ddpm_step(denoise, x, t, s, noise)
        distance = ((1 - mask) * (picture - x0)).flatten(1).norm(dim=1)  # of each picture
        (gradient,) = torch.autograd.grad(distance.sum(), x)
    return moved.detach(), x0.detach(), gradient * ((1 + t.square()) * (1 + s.square())).sqrt()
