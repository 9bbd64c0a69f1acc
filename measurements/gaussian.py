"""Gaussian pictures: their best denoiser and the best fill of their holes are known exactly."""

import torch
from torch import Tensor


def places(side: int) -> Tensor:
    """Rows and columns of a square's pixels, (side^2, 2)."""
    return torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"), -1).reshape(-1, 2).double()


def covariance_of(side: int, length: float) -> Tensor:
    """exp(-distance / length) between the pixels of a square, (side^2, side^2)."""
    return torch.exp(-torch.cdist(places(side), places(side)) / length)


def conditional_mean(picture: Tensor, mask: Tensor, covariance: Tensor) -> Tensor:
    """E[picture | its known pixels] of pictures (B, 1, H, W) with one mask (1, 1, H, W)."""
    known = (mask == 0).flatten()
    gain = covariance[:, known] @ torch.linalg.inv(covariance[known][:, known])
    return (picture.flatten(1)[:, known].double() @ gain.T).view_as(picture)


class GaussianDenoiser:
    """The exact denoiser of states with a covariance (D, D)."""

    def __init__(self, covariance: Tensor):
        self.covariance = covariance
        self.values, self.vectors = torch.linalg.eigh(covariance)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | x] = C (C + sigma^2)^-1 x."""
        gain = self.values / (self.values + float(sigma.max()) ** 2)
        return (x.flatten(1).double() @ self.vectors * gain @ self.vectors.T).view_as(x).to(x.dtype)
