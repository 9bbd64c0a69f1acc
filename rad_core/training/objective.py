"""What a network is trained for: noise prediction plus the variational bound, per pixel (RAD 3.1, 3.4, 4.2; Improved DDPM 3.1)."""

import math
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Levels:
    """The noise of a batch.

    beta_bar, previous: (B, 1, H, W) float64, after the step and after the one before. told: (B,) or (B, 1, H, W), the timesteps that
    the network is told.
    """

    beta_bar: Tensor
    previous: Tensor
    told: Tensor

    @property
    def noised(self) -> Tensor:
        """Pixels that carry noise; the others have no target."""
        return self.beta_bar > 0

    @property
    def stepping(self) -> Tensor:
        """Pixels to which the step adds noise; the others have no bound."""
        return self.beta_bar > self.previous

    def counts(self) -> Tensor:
        """How many pixels are noised, and stepping: (2,) float64. Those of a batch's parts add up to the batch's."""
        return torch.stack([self.noised.sum(), self.stepping.sum()]).double()


def base_levels(t: Tensor, schedule: NoiseSchedule, size: tuple[int, int]) -> Levels:
    """Every pixel has the noise of step t (B,), as a plain ADM network is trained. size: (H, W) of the maps."""
    square = schedule.level_sigma.square().view(-1, 1, 1, 1).expand(-1, 1, *size)
    return Levels(*(square[k] / (1 + square[k]) for k in (t + 1, t)), t.float())


def region_levels(mask: Tensor, t: Tensor, schedule: RegionSchedule, spatial: bool = True) -> Levels:
    """RAD's: t (B,) over both phases, mask (B, 1, H, W) with 1 = phase 1. Not `spatial`: the network is told the step alone (Table 3)."""
    told = schedule.phase1.level_of_sigma(schedule.sigma(mask, t)).float() if spatial else (t + 1).float()
    return Levels(schedule.beta_bar(mask, t), schedule.beta_bar(mask, t - 1), told)


def losses(
    net: nn.Module, x0: Tensor, noise: Tensor, levels: Levels, prediction: str = "eps", given: tuple = ()
) -> tuple[Tensor, Tensor | None]:
    """Noise a batch, run the network, and return both losses per pixel: squared error, and the bound in bits.

    The squared error is the noise's, as in the paper. For networks that predict v (Salimans and Ho 2022) it is v's, which is
    the noise's weighted by SNR + 1: little training then goes further, because the noisy steps, where the hole's content is
    decided, are not drowned by the clean ones.

    Args:
        net: called as net(x, t, *given); its output has as many channels as x0, or twice as many with a learned variance.
        x0: (B, C, H, W), pictures in [-1, 1]. noise: the same shape, standard normal.
        prediction: "eps" or "v", see `UNetConfig`.
        given: what else the network is told: class labels, a prompt.

    Returns:
        two (B, C, H, W); both are to be averaged over the pixels that carry noise (`mean_over`). No bound without a learned variance.
    """
    beta_bar, previous = levels.beta_bar.to(x0.device), levels.previous.to(x0.device)
    alpha, std = (1 - beta_bar).sqrt().to(x0.dtype), beta_bar.sqrt().to(x0.dtype)
    x = alpha * x0 + std * noise
    out = net(x, levels.told.to(x0.device), *given).to(x0.dtype)
    out, code = out.chunk(2, 1) if out.shape[1] == 2 * x0.shape[1] else (out, None)
    squared = (out - (alpha * noise - std * x0 if prediction == "v" else noise)).square()
    if code is None:
        return squared, None
    known = out.detach()  # the bound teaches the variance alone
    x0_hat = alpha * x - std * known if prediction == "v" else (x - std * known) / alpha
    return squared, variational_bound(x0, x0_hat, code, x, beta_bar, previous)


def mean_over(values: Tensor, where: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean of (B, C, H, W) over the pixels of a (B, 1, H, W) boolean map; 0 if there are none.

    `count` stands for the number of those pixels: where the batch is a part of a larger one, the parts' means then add up to its mean.
    """
    count = where.sum() if count is None else count.to(values)
    return (values * where).sum() / (count * values.shape[1]).clamp(min=1)


def objective(
    net: nn.Module,
    x0: Tensor,
    noise: Tensor,
    levels: Levels,
    vlb_weight: float = 1e-3,
    prediction: str = "eps",
    counts: Tensor | None = None,
    given: tuple = (),
) -> Tensor:
    """The squared error's mean over the pixels that carry noise, plus the bound's over those whose step adds some (RAD 4.2).

    Args:
        counts: `Levels.counts` of the whole batch that this is a part of. Other arguments as `losses`.
    """
    squared, bound = losses(net, x0, noise, levels, prediction, given)
    noised, stepping = levels.noised.to(x0.device), levels.stepping.to(x0.device)
    noised_count, stepping_count = (None, None) if counts is None else counts
    loss = mean_over(squared, noised, noised_count)
    return loss if bound is None else loss + vlb_weight * mean_over(bound, stepping, stepping_count)
