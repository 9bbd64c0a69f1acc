"""What a network is trained for: noise prediction plus the variational bound, per pixel (RAD 3.1, 3.4, 4.2; Improved DDPM 3.1)."""

import math

import torch
from torch import Tensor, nn

from ..schedule import NoiseSchedule, RegionSchedule


def variational_bound(x0: Tensor, x0_hat: Tensor, v: Tensor, x: Tensor, beta_bar: Tensor, previous: Tensor) -> Tensor:
    """The bound's term of one step in bits, per pixel and channel: KL(q || p), or the decoder's -log p(x0 | x) where the step ends clean.

    The learned variance is Improved DDPM's, Eq. 15: log s^2 = f log beta^ + (1 - f) log beta~ with f = (v + 1) / 2, where
    beta^ = 1 - alpha_bar_t / alpha_bar_prev is the step's noise and beta~ = beta^ * beta_bar_prev / beta_bar_t the posterior's.
    Where the step ends clean beta~ is 0, and beta^ stands in for it.

    Args:
        x0, x0_hat, v, x: (B, 3, H, W) truth and estimate in [-1, 1], variance code, state x_t.
        beta_bar, previous: (B, 1, H, W) float64 noise after this step and after the one before. Where they are equal nothing
            was added: the singular 0/0 there is never evaluated and the term is 0 (RAD 3.4).
    """
    active = beta_bar > previous
    decode = active & (previous == 0)
    beta_bar = torch.where(active, beta_bar, 0.5)  # any harmless pair where nothing happens
    previous = torch.where(active, previous, 0.25)
    beta = (beta_bar - previous) / (1 - previous)
    beta_tilde = torch.where(decode, beta, beta * previous / beta_bar)
    weight = (1 - previous).sqrt() * beta / beta_bar  # of x0 in the posterior's mean
    weight_x = (1 - beta).sqrt() * previous / beta_bar
    log_beta, log_q, weight, weight_x = (c.to(x0.dtype) for c in (beta.log(), beta_tilde.log(), weight, weight_x))
    log_p = torch.lerp(log_q.expand_as(v), log_beta.expand_as(v), (v + 1) / 2)
    kl = 0.5 * (log_p - log_q - 1 + (log_q - log_p).exp() + (weight * (x0 - x0_hat)).square() * (-log_p).exp())
    nll = -discretised_gaussian_log_likelihood(x0, weight * x0_hat + weight_x * x, 0.5 * log_p)
    return torch.where(decode, nll, kl) * active / math.log(2)


def discretised_gaussian_log_likelihood(x0: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log of the Gaussian's mass in x0's 8-bit bin, the outer bins reaching to infinity (DDPM, Eq. 13). x0 in [-1, 1]."""
    normal = torch.special.log_ndtr
    centred, inverse = x0 - mean, (-log_std).exp()
    upper, lower = inverse * (centred + 1 / 255), inverse * (centred - 1 / 255)
    # log(Phi(u) - Phi(l)), taken on the side of the peak where it does not cancel
    flip = lower > 0
    upper, lower = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    middle = normal(upper) + torch.log1p(-(normal(lower) - normal(upper)).clamp(max=-1e-7).exp())
    below, above = normal(inverse * (centred + 1 / 255)), normal(-inverse * (centred - 1 / 255))
    return torch.where(x0 < -0.999, below, torch.where(x0 > 0.999, above, middle))


def losses(
    net: nn.Module, x0: Tensor, noise: Tensor, beta_bar: Tensor, previous: Tensor, t: Tensor, prediction: str = "eps"
) -> tuple[Tensor, Tensor]:
    """Noise a batch, run the network, and return both losses per pixel: squared error, and the bound in bits.

    The squared error is the noise's, as in the paper. For networks that predict v (Salimans and Ho 2022) it is v's, which is
    the noise's weighted by SNR + 1: little training then goes further, because the noisy steps, where the hole's content is
    decided, are not drowned by the clean ones.

    Args:
        x0: (B, 3, H, W) in [-1, 1]. noise: the same shape, standard normal.
        beta_bar, previous: (B, 1, H, W) float64 noise after the step and the one before.
        t: what the network is told: (B,) or (B, 1, H, W).
        prediction: "eps" or "v", see `UNetConfig`.

    Returns:
        two (B, 3, H, W); both are to be averaged over the pixels that carry noise (`mean_over`).
    """
    beta_bar, previous = beta_bar.to(x0.device), previous.to(x0.device)
    alpha, std = (1 - beta_bar).sqrt().to(x0.dtype), beta_bar.sqrt().to(x0.dtype)
    x = alpha * x0 + std * noise
    out, code = net(x, t).to(x0.dtype).chunk(2, 1)
    target = alpha * noise - std * x0 if prediction == "v" else noise
    known = out.detach()  # the bound teaches the variance alone
    x0_hat = alpha * x - std * known if prediction == "v" else (x - std * known) / alpha
    return (out - target).square(), variational_bound(x0, x0_hat, code, x, beta_bar, previous)


def mean_over(values: Tensor, where: Tensor) -> Tensor:
    """Mean of (B, C, H, W) over the pixels of a (B, 1, H, W) boolean map; 0 if there are none."""
    return (values * where).sum() / (where.sum() * values.shape[1]).clamp(min=1)


def base_loss(
    net: nn.Module, x0: Tensor, noise: Tensor, t: Tensor, schedule: NoiseSchedule, vlb_weight: float = 1e-3, prediction: str = "eps"
) -> Tensor:
    """Objective of a plain ADM network (Improved DDPM): every pixel has the noise of step t (B,)."""
    square = schedule.level_sigma.square().view(-1, 1, 1, 1)
    beta_bar, previous = (square[k] / (1 + square[k]) for k in (t + 1, t))
    squared, bound = losses(net, x0, noise, beta_bar, previous, t.to(x0.device).float(), prediction)
    return squared.mean() + vlb_weight * bound.mean()


def region_loss(
    net: nn.Module,
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    mask: Tensor,
    schedule: RegionSchedule,
    vlb_weight: float = 1e-3,
    prediction: str = "eps",
) -> Tensor:
    """RAD's objective: noise level per pixel, t (B,) over both phases, mask (B, 1, H, W) with 1 = phase 1.

    Pixels that carry no noise at t have no target and are left out of the mean of the noise error, those whose step adds
    none out of the mean of the bound.
    """
    beta_bar, previous = schedule.beta_bar(mask, t), schedule.beta_bar(mask, t - 1)
    level = schedule.phase1.level_of_sigma(schedule.sigma(mask, t)).float()
    squared, bound = losses(net, x0, noise, beta_bar, previous, level, prediction)
    return mean_over(squared, beta_bar > 0) + vlb_weight * mean_over(bound, beta_bar > previous)
