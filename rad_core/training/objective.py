"""The training objective: noise prediction plus the variational bound, per pixel (RAD 3.1, 3.4, 4.2; Improved DDPM 3.1)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..flow import FlowSchedule
from ..schedule import NoiseSchedule, RegionSchedule


def variational_bound(x0: Tensor, x0_hat: Tensor, model_var_values: Tensor, x: Tensor, beta_bar: Tensor, previous: Tensor) -> Tensor:
    """One step's term of the variational bound in bits: KL(q || p), or the decoder's -log p(x0 | x) where the step ends clean.

    The learned variance is Improved DDPM's, Eq. 15: log s^2 = f log beta^ + (1 - f) log beta~ with f = (model_var_values + 1) / 2, where
    beta^ = 1 - alpha_bar_t / alpha_bar_prev is the step's noise and beta~ = beta^ * beta_bar_prev / beta_bar_t the posterior's.
    Where the step ends clean beta~ is 0, and beta^ replaces it.

    Args:
        x0, x0_hat: (B, C, H, W), truth and estimate in [-1, 1].
        model_var_values: (B, C, H, W), the network's values for the variance, in [-1, 1].
        x: (B, C, H, W), the state x_t.
        beta_bar, previous: (B, 1, H, W) float64, noise after this step and after the one before. Where they are equal no noise was
            added: the singular 0/0 there is never evaluated and the term is 0 (RAD 3.4).

    Returns:
        (B, C, H, W).
    """
    active = beta_bar > previous
    decode = active & (previous == 0)
    beta_bar = torch.where(active, beta_bar, 0.5)  # any regular pair of values where the term is 0 anyway
    previous = torch.where(active, previous, 0.25)
    beta = (beta_bar - previous) / (1 - previous)
    beta_tilde = torch.where(decode, beta, beta * previous / beta_bar)
    weight = (1 - previous).sqrt() * beta / beta_bar  # posterior mean = weight * x0 + weight_x * x
    weight_x = (1 - beta).sqrt() * previous / beta_bar
    log_beta, log_q, weight, weight_x = (c.to(x0.dtype) for c in (beta.log(), beta_tilde.log(), weight, weight_x))
    log_p = torch.lerp(log_q.expand_as(x), log_beta.expand_as(x), (model_var_values + 1) / 2)
    kl = 0.5 * (log_p - log_q - 1 + (log_q - log_p).exp() + (weight * (x0 - x0_hat)).square() * (-log_p).exp())
    nll = -discretised_gaussian_log_likelihood(x0, weight * x0_hat + weight_x * x, 0.5 * log_p)
    return torch.where(decode, nll, kl) * active / math.log(2)


def discretised_gaussian_log_likelihood(x0: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log of the Gaussian's probability of x0's 8-bit bin, the outer bins reaching to infinity (DDPM, Eq. 13). x0 in [-1, 1]."""
    log_cdf = torch.special.log_ndtr
    centred, inverse = x0 - mean, (-log_std).exp()
    upper, lower = inverse * (centred + 1 / 255), inverse * (centred - 1 / 255)
    # log(Phi(u) - Phi(l)), evaluated on the side of the peak where the difference does not cancel
    flip = lower > 0
    upper, lower = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    inner = log_cdf(upper) + torch.log1p(-(log_cdf(lower) - log_cdf(upper)).clamp(max=-1e-7).exp())
    lowest, highest = log_cdf(inverse * (centred + 1 / 255)), log_cdf(-inverse * (centred - 1 / 255))
    return torch.where(x0 < -0.999, lowest, torch.where(x0 > 0.999, highest, inner))


@dataclass(frozen=True)
class NoiseTarget:
    """A training batch's noise levels, and the network's timesteps for them.

    Args:
        beta_bar, previous: (B, 1, H, W) float64, noise after the step and after the one before.
        timesteps: (B,) or (B, 1, H, W), the network's input: one timestep per picture or per pixel.
    """

    beta_bar: Tensor
    previous: Tensor
    timesteps: Tensor

    def scales(self) -> tuple[Tensor, Tensor]:
        """Factors of x0 and of the noise in a state, sqrt(alpha_bar) and sqrt(beta_bar)."""
        return (1 - self.beta_bar).sqrt(), self.beta_bar.sqrt()

    @property
    def noised(self) -> Tensor:
        """Pixels with noise (boolean map); the others have no target."""
        return self.beta_bar > 0

    @property
    def stepping(self) -> Tensor:
        """Pixels to which the step adds noise (boolean map); the others have no bound."""
        return self.beta_bar > self.previous

    def counts(self) -> Tensor:
        """Numbers of noised and of stepping pixels, (2,) float64. A batch's counts are the sum of its slices' counts."""
        return torch.stack([self.noised.sum(), self.stepping.sum()]).double()


@dataclass(frozen=True)
class FlowTarget:
    """A training batch's noise levels on a flow model (see `flow`). There is no bound: these networks learn no variance.

    Args:
        timesteps: (B, 1, H, W) or (B, 1, T, H, W), the level s of every pixel, float32 in [0, 1]; the network's input too.
    """

    timesteps: Tensor

    def scales(self) -> tuple[Tensor, Tensor]:
        """Factors of x0 and of the noise in a state, 1 - s and s."""
        return 1 - self.timesteps, self.timesteps

    @property
    def noised(self) -> Tensor:
        """Pixels with noise (boolean map); the others have no target."""
        return self.timesteps > 0

    def counts(self) -> Tensor:
        """As `NoiseTarget.counts`."""
        return torch.stack([self.noised.sum(), self.timesteps.new_zeros(())]).double()


def flow_levels(mask: Tensor, t: Tensor, schedule: FlowSchedule) -> FlowTarget:
    """RAD's noise levels on a flow model at time t (B,) in [0, 2] of both phases. mask: (B, 1, [T,] H, W), 1 = phase 1."""
    return FlowTarget(schedule.levels(mask, t).float())


def base_levels(t: Tensor, schedule: NoiseSchedule, size: tuple[int, int]) -> NoiseTarget:
    """A plain ADM network's noise levels: step t (B,) for all pixels of a picture. size: (H, W) of the maps."""
    square = schedule.level_sigma.square().view(-1, 1, 1, 1).expand(-1, 1, *size)
    return NoiseTarget(*(square[k] / (1 + square[k]) for k in (t + 1, t)), t.float())


def region_levels(mask: Tensor, t: Tensor, schedule: RegionSchedule, spatial: bool = True) -> NoiseTarget:
    """RAD's noise levels at step t (B,) of both phases, for a mask (B, 1, H, W) with 1 = phase 1.

    `spatial`: one timestep per pixel; otherwise one per picture, the ablation of RAD's Table 3.
    """
    timesteps = schedule.phase1.level_of_sigma(schedule.sigma(mask, t)).float() if spatial else (t + 1).float()
    return NoiseTarget(schedule.beta_bar(mask, t), schedule.beta_bar(mask, t - 1), timesteps)


def losses(
    net: nn.Module, x0: Tensor, noise: Tensor, levels: NoiseTarget | FlowTarget, prediction: str = "eps", cond: tuple = ()
) -> tuple[Tensor, Tensor | None]:
    """Noise a batch, run the network, and return both losses per pixel: the squared error, and the bound in bits.

    The squared error is that of the noise, as in the paper, or, for networks that predict v (Salimans and Ho 2022), that of v. The latter
    is the noise's weighted by SNR + 1, which gives the noisy steps, where the hole's content is decided, more weight: such networks
    need less training. Flow models predict the velocity, noise - x0.

    Args:
        net: called as net(x, t, *cond); its output has as many channels as x0, or twice as many with a learned variance.
        x0: (B, C, H, W), pictures in [-1, 1].
        noise: (B, C, H, W), standard normal.
        prediction: "eps" or "v", see `UNetConfig`; "flow" with a `FlowTarget`.
        cond: the network's conditioning, such as class labels or a prompt's embedding.

    Returns:
        two (B, C, H, W), to be averaged by `masked_mean`: the squared error over the noised pixels, the bound over the stepping ones.
        The bound is None without a learned variance.
    """
    alpha, std = (scale.to(x0.device, x0.dtype) for scale in levels.scales())
    x = alpha * x0 + std * noise
    out = net(x, levels.timesteps.to(x0.device), *cond).to(x0.dtype)
    out, model_var_values = out.chunk(2, 1) if out.shape[1] == 2 * x0.shape[1] else (out, None)
    target = {"eps": noise, "v": alpha * noise - std * x0, "flow": noise - x0}[prediction]
    squared = (out - target).square()
    if model_var_values is None:
        return squared, None
    out = out.detach()  # the bound trains the variance alone
    beta_bar, previous = levels.beta_bar.to(x0.device), levels.previous.to(x0.device)
    x0_hat = alpha * x - std * out if prediction == "v" else (x - std * out) / alpha
    return squared, variational_bound(x0, x0_hat, model_var_values, x, beta_bar, previous)


def masked_mean(values: Tensor, where: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean of (B, C, H, W) over the pixels of a (B, 1, H, W) boolean map; 0 if there are none.

    Args:
        count: number of pixels to divide by, the map's own unless set. With the count of a larger batch, its slices' means add up to
            its mean.
    """
    count = where.sum() if count is None else count.to(values)
    return (values * where).sum() / (count * values.shape[1]).clamp(min=1)


def rim_weights(noised: Tensor, weight: float, reach: int = 3) -> Tensor:
    """Weights of the squared error that are larger beside known pixels, where a fill has to meet its picture.

    w = 1 + weight / d at distance d (in the maximum norm) from the nearest pixel without noise, up to `reach`; 1 beyond. The best
    denoiser is the same for all weights: they say where a small network should be good first. Not from the paper.

    Args:
        noised: (B, 1, [T,] H, W), boolean.
    """
    known = (~noised).float().reshape(-1, 1, *noised.shape[-2:])
    near = [F.max_pool2d(known, 2 * d + 1, stride=1, padding=d) / d for d in range(1, reach + 1)]
    return 1 + weight * torch.stack(near).amax(0).view(noised.shape)


def objective(
    net: nn.Module,
    x0: Tensor,
    noise: Tensor,
    levels: NoiseTarget | FlowTarget,
    *,
    vlb_weight: float = 1e-3,
    prediction: str = "eps",
    counts: Tensor | None = None,
    cond: tuple = (),
    rim_weight: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The loss: the squared error's mean over the noised pixels plus the weighted mean of the bound over the stepping ones (RAD 4.2).

    Args:
        counts: `NoiseTarget.counts` of the whole batch, where this is a slice of it.
        net, x0, noise, levels, prediction, cond: as `losses`.
        rim_weight: see `rim_weights`; 0 as in the paper.

    Returns:
        the loss, and the squared error's mean in each picture, (B,), without gradients.
    """
    squared, bound = losses(net, x0, noise, levels, prediction, cond)
    noised_count, stepping_count = (None, None) if counts is None else counts
    noised = levels.noised.to(x0.device)
    sums = (squared.detach() * noised).flatten(1).sum(1)
    errors = sums / (noised.flatten(1).sum(1) * squared.shape[1]).clamp(min=1)
    weights = rim_weights(noised, rim_weight) if rim_weight else 1
    loss = masked_mean(squared * weights, noised, noised_count)
    if bound is not None:
        loss = loss + vlb_weight * masked_mean(bound, levels.stepping.to(x0.device), stepping_count)
    return loss, errors
