"""The exact posterior of a patch whose prior is a small set of patches.

Prior: p(x0) = mean_k N(x0; P_k, tau^2 I). Observed: x_j = x0_j + sigma_j n_j, with a noise level of its own for each pixel j. Then

    w_k ~ exp(-1/2 sum_j |x_j - P_kj|^2 / (sigma_j^2 + tau^2)),  s_j = sigma_j^2 / (sigma_j^2 + tau^2)
    E[x0_j | x] = (1 - s_j) x_j + s_j sum_k w_k P_kj
    Var[x0_j | x] = s_j tau^2 + s_j^2 (sum_k w_k P_kj^2 - (sum_k w_k P_kj)^2)

This is the equivariant local score machine of Kamb and Ganguli (2024), trained on one picture and conditioned by RAD's noise map.
"""

import torch
from torch import Tensor


def patch_posterior(x: Tensor, sigma: Tensor, prior: Tensor, tau: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of patches by the equations above, in float64.

    Args:
        x: (Q, n, C), n pixels of C colours. sigma: (Q, n), 0 where a pixel is known. prior: (K, n, C). tau: blur of the prior, above 0.

    Returns:
        mean (Q, n, C), variance (Q, n, C), and the least over k of the mean weighted squared difference (Q,), with the weights
        c_j ~ 1 / (sigma_j^2 + tau^2) of sum 1.
    """
    x, sigma, prior = x.double(), sigma.double()[..., None], prior.double()
    precision = 1 / (sigma.square() + tau**2)
    weight = precision.expand_as(x).flatten(1)
    flat, keys = x.flatten(1), prior.flatten(1)
    centre = keys.mean(0)  # differences of large numbers lose digits
    flat, keys = flat - centre, keys - centre
    squared = (weight * flat * flat).sum(1, keepdim=True) + weight @ keys.square().T - 2 * (weight * flat) @ keys.T
    w = torch.softmax(-squared / 2, 1)
    first = (w @ keys).view_as(x)
    second = (w @ keys.square()).view_as(x)
    s = sigma.square() * precision
    mean = torch.lerp(x, first + centre.view(x.shape[1:]), s.expand_as(x))
    variance = s * tau**2 + s.square() * (second - first.square()).clamp(min=0)
    return mean, variance, squared.amin(1).clamp(min=0) / weight.sum(1)
