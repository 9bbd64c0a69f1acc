"""Networks as denoisers: `denoise(x, sigma) -> x0`, see `samplers`."""

import torch
from torch import Tensor, nn

from .schedule import NoiseSchedule


class ADMDenoiser:
    """An ADM network in sigma's terms.

    Args:
        net: called as net(x, t[, y]); 3 outputs (noise, or v if its `config` says so) or 6 (the variance code after them).
        schedule: the noise levels it was trained with.
        region_aware: tell the network the level of every pixel, as RAD trains it: clean is 0, step t is t + 1. Otherwise it is
            told step t alone, as a plain ADM network expects, and sigma must be the same for all pixels of a picture.
        labels: (B,) class labels of a class-conditional network, or (1,) for all.
    """

    def __init__(self, net: nn.Module, schedule: NoiseSchedule, region_aware: bool = True, labels: Tensor | None = None):
        self.net, self.schedule, self.region_aware, self.labels = net, schedule, region_aware, labels
        self.prediction = net.config.prediction if hasattr(net, "config") else "eps"

    def with_variance(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """x (B, 3, H, W), sigma scalar or (B or 1, 1, H, W) -> x0 in [-1, 1] (RAD 4.2 clips it) and the variance code or None."""
        level = self.schedule.level_of_sigma(sigma)
        if self.region_aware:
            t = level.expand(x.shape[0], 1, *x.shape[2:]) if level.ndim else level.expand(x.shape[0])
        else:
            t = (level.reshape(-1, 1).amax(1) if level.ndim == 0 else level.flatten(1).amax(1)).sub(1).clamp(min=0).expand(x.shape[0])
        scaled = x / (1 + sigma.square()).sqrt()
        labels = () if self.labels is None else (self.labels.expand(x.shape[0]),)
        out = self.net(scaled, t.to(x.dtype), *labels)
        out, code = out.chunk(2, 1) if out.shape[1] == 2 * x.shape[1] else (out, None)
        # v as in Salimans and Ho 2022, Appendix D, in sigma's terms
        x0 = (scaled - sigma * out) / (1 + sigma.square()).sqrt() if self.prediction == "v" else x - sigma * out
        return x0.clamp(-1, 1), code

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.with_variance(x, sigma)[0]


class TiledDenoiser:
    """A network of fixed size on a picture of any size at its own scale: overlapping windows, blended in every step.

    Windows without noise are left out, so the cost follows the hole, not the picture. Because the blend happens inside
    the denoiser, samplers know nothing of tiles and no seam can form between them (the idea of MultiDiffusion, 2023).

    Args:
        denoise: an `ADMDenoiser`.
        size: side of a window in pixels.
        mask: (1, 1, H, W), sides of at least `size`; windows in which it is 0 everywhere are left out.
        batch: windows per network call.
    """

    def __init__(self, denoise: ADMDenoiser, size: int, mask: Tensor, batch: int = 16):
        self.denoise, self.size, self.batch = denoise, size, batch
        corners = [(top, left) for top in _starts(mask.shape[2], size) for left in _starts(mask.shape[3], size)]
        windows = [(..., slice(top, top + size), slice(left, left + size)) for top, left in corners]
        self.windows = [window for window in windows if bool((mask[window] > 0).any())]
        ramp = torch.minimum(torch.arange(1, size + 1), torch.arange(size, 0, -1)).to(mask)
        self.weight = ramp[:, None] * ramp  # a window's say falls towards its edges
        share = torch.zeros_like(mask)
        for window in self.windows:
            share[window] += self.weight
        self.share = share.clamp(min=1)

    def with_variance(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """x (1, 3, H, W), sigma (1, 1, H, W) -> x0 and the variance code or None; 0 where no window is."""
        total, codes, code = torch.zeros_like(x), torch.zeros_like(x), None
        for k in range(0, len(self.windows), self.batch):
            part = self.windows[k : k + self.batch]
            x0, code = self.denoise.with_variance(*(torch.cat([maps[window] for window in part]) for maps in (x, sigma)))
            for j, window in enumerate(part):
                total[window] += self.weight * x0[j]
                if code is not None:
                    codes[window] += self.weight * code[j]
        return total / self.share, None if code is None else codes / self.share

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.with_variance(x, sigma)[0]


def _starts(length: int, size: int) -> list[int]:
    """Window starts that cover `length` with an overlap of at least half a window."""
    count = -(-(length - size) // (size // 2)) + 1
    return torch.linspace(0, length - size, count).round().int().tolist()
