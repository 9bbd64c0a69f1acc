"""A membrane over the hole: what to add to a prediction so that it meets the known pixels (Perez et al. 2003, Poisson image editing)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import mean_pool


def membrane(values: Tensor, known: Tensor, steps: int = 4) -> Tensor:
    """Extend values smoothly over the unknown pixels: an approximate solution of Laplace's equation, from coarse to fine.

    Args:
        values: (B, C, H, W), ignored where `known` is 0.
        known: (B, 1, H, W) of 0 and 1.
        steps: Jacobi iterations at each resolution.

    Returns:
        (B, C, H, W): `values` where known; 0 everywhere if nothing is known. Differentiable.
    """
    values = values * known
    height, width = known.shape[2:]
    if height * width == 1:
        return values
    half = (-(-height // 2), -(-width // 2))
    share = mean_pool(known, half)
    coarse = mean_pool(values, half) / share.clamp(min=1e-6)
    x = F.interpolate(membrane(coarse, (share > 0).to(known), steps), (height, width), mode="bilinear")
    for _ in range(steps):
        x = torch.lerp(_neighbour_mean(x), values, known)
    return x


def _neighbour_mean(x: Tensor) -> Tensor:
    """Mean of the four neighbours; beyond the border, pixels repeat."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return (padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:] + padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]) / 4
