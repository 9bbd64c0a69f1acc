"""Noise schedules: the plain one of a diffusion network, and RAD's, which gives every pixel its own.

Symbols as in the RAD paper: beta, alpha_bar = cumprod(1 - beta), beta_bar = 1 - alpha_bar. In k-diffusion's terms
sigma^2 = beta_bar / alpha_bar, and a state x = x0 + sigma * noise is the paper's x_t / sqrt(alpha_bar).

*Level* means the fractional position of a noise amount in the network's own table: 0 is clean, t + 1 is the noise after
step t, so a level lies in [0, T] (RAD 3.4).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import overload

import torch
from torch import Tensor


def linear_betas(steps: int = 1000) -> Tensor:
    """DDPM's: 1e-4 to 0.02 over 1000 steps, scaled for other counts. (steps,) float64."""
    scale = 1000 / steps
    return torch.linspace(1e-4 * scale, min(0.02 * scale, 0.999), steps, dtype=torch.float64)


def cosine_betas(steps: int = 1000) -> Tensor:
    """Improved DDPM's: alpha_bar = cos^2((t + 0.008) / 1.008 * pi / 2), beta at most 0.999. (steps,) float64."""
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    alpha_bar = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)


BETAS = {"linear": linear_betas, "cosine": cosine_betas}


class NoiseSchedule:
    """The table of noise levels a network was trained with.

    Args:
        betas: (T,) per-step variances in (0, 1), or a name: "linear" or "cosine" (1000 steps).

    Raises:
        ValueError: unknown name, or betas outside (0, 1).
    """

    def __init__(self, betas: Tensor | str = "linear"):
        if isinstance(betas, str):
            if betas not in BETAS:
                raise ValueError(f"Unknown noise schedule '{betas}': choose from {', '.join(BETAS)}.")
            betas = BETAS[betas]()
        if not ((betas > 0) & (betas < 1)).all():
            raise ValueError("Every beta must lie strictly between 0 and 1.")
        self.betas = betas.double()
        self.log_alphas = torch.log1p(-self.betas)

    def __len__(self) -> int:
        return len(self.betas)

    @cached_property
    def level_sigma(self) -> Tensor:
        """sigma at the whole levels 0..T: (T + 1,) float64, rising from 0."""
        return torch.cat([torch.zeros(1, dtype=torch.float64), torch.expm1(-self.log_alphas.cumsum(0)).sqrt()])

    def level_of_sigma(self, sigma: Tensor) -> Tensor:
        """RAD's inverse map (3.4): the fractional level in [0, T] of a noise amount, beta_bar taken as linear between levels.

        In terms of sigma, beta_bar - beta_bar' = (sigma^2 - sigma'^2) / ((1 + sigma^2)(1 + sigma'^2)), so that float32 stays exact
        where beta_bar is close to 0 or to 1. Any shape and device, any dtype that holds the largest level.
        """
        sigma = sigma if sigma.is_floating_point() else sigma.float()
        table = self.level_sigma.to(sigma)
        sigma = sigma.clamp(0, float(self.level_sigma[-1]))
        right = torch.searchsorted(table, sigma.contiguous()).clamp(1, len(self))
        low, high, square = table[right - 1].square(), table[right].square(), sigma.square()
        part = (square - low) / (high - low) * (1 + high) / (1 + square)
        return (right - 1) + part.clamp(0, 1)

    def timesteps(self, steps: int) -> Tensor:
        """Timesteps of a run of `steps` steps, evenly spread from near T down to 0: 990, 980, ..., 0 for 100 of 1000.

        Samplers step between exactly these noise levels, whatever the count. (The RAD authors' program visits them too, but steps as
        if the stride divided T, which is right for 100 steps alone.)

        Returns:
            (steps,) int64, falling.

        Raises:
            ValueError: `steps` is not within 1..T.
        """
        if not isinstance(steps, Integral) or not 1 <= steps <= len(self):
            raise ValueError(f"steps must be a whole number between 1 and {len(self)} for this network, got {steps}.")
        start = len(self) - len(self) / max(steps, min(100, len(self)))
        return torch.linspace(start, 0, steps, dtype=torch.float64).round().long()


class RegionSchedule:
    """RAD's two-phase schedule (3.1, 3.2): phase 1 fills the hole with noise, phase 2 the rest.

    For a mask value m in [0, 1] (1 = hole) and g_t = ln(1 - beta_t) / ln(1 - nu), which sums to 1 over a phase:
    phase 1 has alpha_t = (1 - nu m)^g_t, phase 2 has alpha_t = ((1 - nu) / (1 - nu m))^g_t. Every pixel, a soft one too,
    ends at alpha_bar = 1 - nu. For binary masks this is the paper's schedule; the exponent form is right for any T1, T2.

    Args:
        phase1: schedule of the hole, and the network's own: a schedule, its betas (T,), or its name.
        phase2: schedule of the rest, likewise; the same as phase 1 unless given.
    """

    def __init__(self, phase1: NoiseSchedule | Tensor | str = "linear", phase2: NoiseSchedule | Tensor | str | None = None):
        as_schedule = lambda phase: phase if isinstance(phase, NoiseSchedule) else NoiseSchedule(phase)
        self.phase1 = as_schedule(phase1)
        self.phase2 = self.phase1 if phase2 is None else as_schedule(phase2)
        self.log_end = float(self.phase1.log_alphas.sum())  # ln(1 - nu)
        self.nu = -math.expm1(self.log_end)

    def __len__(self) -> int:
        return len(self.phase1) + len(self.phase2)

    @cached_property
    def _shares(self) -> tuple[Tensor, Tensor]:
        """Cumulative g of both phases over all T1 + T2 steps, with a leading 0 for "before step 0"."""
        g1 = self.phase1.log_alphas / self.phase1.log_alphas.sum()
        g2 = self.phase2.log_alphas / self.phase2.log_alphas.sum()
        zero = torch.zeros(1, dtype=torch.float64)
        return torch.cat([zero, g1, torch.zeros_like(g2)]).cumsum(0), torch.cat([zero, torch.zeros_like(g1), g2]).cumsum(0)

    def log_alpha_bar(self, mask: Tensor, t: Tensor) -> Tensor:
        """ln alpha_bar after step t, per pixel.

        Args:
            mask: (B, 1, H, W) in [0, 1], 1 = hole.
            t: (B,) integer step in [-1, T1 + T2); -1 means before any noise, that is 0 everywhere.

        Returns:
            (B, 1, H, W) float64, at most 0.
        """
        share1, share2 = (s.to(mask.device)[t.to(mask.device) + 1].view(-1, 1, 1, 1) for s in self._shares)
        end1 = torch.log1p(-self.nu * mask.double())
        return share1 * end1 + share2 * (self.log_end - end1)

    def beta_bar(self, mask: Tensor, t: Tensor) -> Tensor:
        """1 - alpha_bar after step t, per pixel: (B, 1, H, W) float64 in [0, nu]. Arguments as `log_alpha_bar`."""
        return -torch.expm1(self.log_alpha_bar(mask, t))

    def sigma(self, mask: Tensor, t: Tensor) -> Tensor:
        """sqrt(beta_bar / alpha_bar) after step t, per pixel: (B, 1, H, W) float64. Arguments as `log_alpha_bar`."""
        return torch.expm1(-self.log_alpha_bar(mask, t)).sqrt()

    def sigmas(self, mask: Tensor, steps: int, spacing: str = "time", order: Tensor | None = None, overlap: float = 0.0) -> "SigmaMaps":
        """Per-pixel noise levels of a reverse run over phase 1, for `samplers`.

        Args:
            mask: (B, 1, H, W) in [0, 1].
            steps: how many steps, 1..T1.
            order, overlap: see `SigmaMaps`.
            spacing: "time" for even timesteps (the paper's), "karras" for Karras et al. 2022, Eq. 5 with rho 7, which
                second-order samplers need: their steps in log SNR must change slowly.

        Returns:
            a sequence of steps + 1 maps (B, 1, H, W) float32, from the most noise to none; 0 wherever the mask is 0.

        Raises:
            ValueError: `steps` or `overlap` out of its range, or an unknown spacing.
        """
        if spacing not in ("time", "karras"):
            raise ValueError(f"Unknown spacing '{spacing}': choose from time, karras.")
        if not 0 <= overlap <= 1:
            raise ValueError(f"overlap must lie between 0 and 1, got {overlap}.")
        times = self.phase1.timesteps(steps)
        if spacing == "karras":
            ends = self.phase1.level_sigma[[int(times[0]) + 1, 1]] ** (1 / 7)
            sigma = torch.lerp(*ends, torch.linspace(0, 1, steps, dtype=torch.float64)) ** 7
            shares = self.share_of_sigma(sigma)
        else:
            shares = self._shares[0][times + 1]
        return self.maps(mask, [*shares.tolist(), 0.0], order, overlap)

    def maps(self, mask: Tensor, shares: Sequence[float], order: Tensor | None = None, overlap: float = 0.0) -> "SigmaMaps":
        """As `sigmas`, at explicit cumulative shares g of phase 1, falling: 1 = all its noise, 0 = none."""
        end = torch.log1p(-self.nu * mask.cpu().double())  # 1 - nu needs float64, which not every device has
        return SigmaMaps(end.float().to(mask.device), list(shares), order, overlap)

    def mask_of_sigma(self, sigma: Tensor) -> Tensor:
        """The mask value m, above 0 and at most 1, at which a pixel ends phase 1 with noise sigma: sigma^2 / (1 + sigma^2) = nu m."""
        return (sigma.square() / (1 + sigma.square()) / self.nu).clamp(1e-6, 1)

    def share_of_sigma(self, sigma: Tensor) -> Tensor:
        """Cumulative share g of phase 1 at which a hole pixel has noise sigma. Any shape."""
        return -torch.log1p(sigma.square()) / self.log_end


@dataclass(frozen=True)
class SigmaMaps(Sequence[Tensor]):
    """Noise maps of a run, each computed on access: a hundred maps of a large picture would not fit in memory.

    An *order* map lets pixels go through the same noise levels at different times (asynchronous generation, RAD 3.1: the
    schedule of every pixel is its own). At position q of the run, from 0 to 1, a pixel with order o stands at position
    q (1 + spread) - spread o of its own way, within [0, 1], where spread = 1 - overlap. So with overlap 0 the pixels of order 0
    are finished when those of order 1 begin, and with overlap 1 all are denoised at the same time. In a picture whose order has no 1
    in it, which `check_order` gives where all parts are alike, all are denoised at the same time too.
    """

    end: Tensor  # ln alpha_bar of every pixel at the end of phase 1, (B, 1, H, W)
    shares: list[float]  # cumulative g at each noise level, falling to 0
    order: Tensor | None = None  # (B or 1, 1, [T,] H, W) in [0, 1]: 0 = first, 1 = last
    overlap: float = 0.0

    def __len__(self) -> int:
        return len(self.shares)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...

    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return [self[k] for k in range(len(self))[index]]
        return self._map(self._share(range(len(self))[index]))

    def _map(self, share: Tensor | float) -> Tensor:
        """The noise of all pixels at their shares."""
        return torch.expm1(-share * self.end).sqrt()

    def _share(self, index: int) -> Tensor | float:
        if self.order is None:
            return self.shares[index]
        axes = tuple(range(1, self.order.ndim))
        last, spread = len(self) - 1, (1 - self.overlap) * self.order.amax(axes, keepdim=True)
        place = (index * (1 + spread) - last * spread * self.order).clamp(0, last)
        table = torch.tensor(self.shares).to(place)
        below = place.floor().long().clamp(max=last - 1)
        return torch.lerp(table[below], table[below + 1], place - below)
