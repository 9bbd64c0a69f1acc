"""RAD for flow matching: every pixel, or every token of a transformer, has its own noise level s (RAD 3.1, 3.2 on Lipman et al. 2023).

A state is x = (1 - s) x0 + s n, per pixel: s = 0 is clean, s = 1 is pure noise. The network predicts the velocity v = n - x0, so that
x0 = x - s v. A RAD run takes a pixel of mask value m through s_i = m s while s falls from 1 to 0 (phase 1); training also visits
phase 2, s_i = m + (1 - m) s, in which the hole stays noise and the rest is noised. Both phases end at s_i = 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .denoisers import Denoiser
from .losses import append_dims
from .schedule import SigmaMaps


def shifted(u: Tensor, shift: float = 1.0) -> Tensor:
    """Stable Diffusion 3's time shift (Esser et al. 2024, Eq. 23): u in [0, 1] -> s in [0, 1], noisier for shift > 1. Any shape."""
    return shift * u / (1 + (shift - 1) * u)


class FlowSchedule:
    """The noise levels of a flow model, per pixel.

    Args:
        shift: of the model's time, above 0; 1 for none. See `shifted`.
        table: (T,) rising levels in (0, 1], a model's own; replaces `shift`.

    Raises:
        ValueError: a shift of 0 or less, or a table that does not rise within (0, 1].
    """

    def __init__(self, shift: float = 1.0, table: Tensor | None = None):
        if not shift > 0:
            raise ValueError(f"shift must be above 0, got {shift}.")
        if table is not None and not (table.ndim == 1 and table[0] > 0 and table[-1] <= 1 and bool((table.diff() >= 0).all())):
            raise ValueError("A flow model's noise levels must rise within (0, 1].")
        self.shift = shift
        self.table = None if table is None else torch.cat([table.new_zeros(1), table]).double().cpu()

    def level(self, u: Tensor) -> Tensor:
        """Noise level s of the model's time u in [0, 1]: any shape, float64. Evenly drawn u give the model's own share of each s."""
        u = u.double().clamp(0, 1)
        if self.table is None:
            return shifted(u, self.shift)
        place = u * (len(self.table) - 1)
        below = place.floor().long().clamp(max=len(self.table) - 2)
        table = self.table.to(u.device)
        return torch.lerp(table[below], table[below + 1], place - below)

    def levels(self, mask: Tensor, t: Tensor) -> Tensor:
        """Noise level of every pixel at time t (B,) in [0, 2]: phase 1 up to 1, then phase 2.

        Returns:
            (B, 1, H, W) float64 in [0, 1] for a mask (B, 1, H, W), or (B, 1, T, H, W) for one of frames; 1 = hole.
        """
        mask, t = mask.double(), append_dims(t.double().to(mask.device), mask)
        return mask * self.level(t) + (1 - mask) * self.level(t - 1)  # m s, then m + (1 - m) s

    def sigmas(self, mask: Tensor, steps: int, order: Tensor | None = None, overlap: float = 0.0) -> "FlowMaps":
        """Noise levels of a run over phase 1 in `steps` even steps of the model's time: steps + 1 maps like `mask`, the last 0.

        Raises:
            ValueError: fewer than one step.
        """
        if steps < 1:
            raise ValueError(f"steps must be 1 or more, got {steps}.")
        return self.maps(mask, self.level(torch.linspace(1, 0, steps + 1, dtype=torch.float64)).tolist(), order, overlap)

    def maps(self, mask: Tensor, shares: Sequence[float], order: Tensor | None = None, overlap: float = 0.0) -> "FlowMaps":
        """As `sigmas`, at explicit levels s of the hole, falling from at most 1."""
        return FlowMaps(mask, list(shares), order, overlap)


@dataclass(frozen=True)
class FlowMaps(SigmaMaps):
    """Noise maps s_i = m s of a flow model's run, in the order of an order map (see `SigmaMaps`). `end` is the mask."""

    def _map(self, share: Tensor | float) -> Tensor:
        return self.end * share


class FlowDenoiser(Denoiser):
    """A velocity network on the denoiser contract: x is (1 - sigma) x0 + sigma n, sigma the level s, scalar or per pixel.

    Args:
        net: (x, s) -> v, shaped like x.
    """

    def __init__(self, net: Callable[[Tensor, Tensor], Tensor]):
        self.net = net

    def signal(self, sigma: Tensor) -> Tensor:
        return 1 - sigma

    def predict(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, None]:
        return x - sigma * self.net(x, sigma), None


def flow_start(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The state (1 - s) x0 + s n. Where s is 0 it is x0, bit for bit."""
    return torch.where(sigma > 0, (1 - sigma) * x0 + sigma * noise, x0)
