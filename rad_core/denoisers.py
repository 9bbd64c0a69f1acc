"""Networks as denoisers: `denoise(x, sigma) -> x0`, the one contract between networks, guidance and samplers."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from .schedule import NoiseSchedule
from .unet import UNetConfig


class Network(Protocol):
    """What the methods need of a diffusion network: a `UNet`, or a host's network that stands for one."""

    config: UNetConfig
    region_aware: bool  # trained for a noise level per pixel (RAD)

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...  # of its arithmetic

    def __call__(self, x: Tensor, t: Tensor, *labels: Tensor) -> Tensor: ...


def check_network(net: object, attribute: str, wanted: str) -> None:
    """Raise ValueError for something without the attribute by which a network of the kind wanted is known."""
    if not hasattr(net, attribute):
        raise ValueError(f"This needs {wanted}, got {type(net).__name__}.")


ADM = "region_aware", "a network as load_model returns it"
SDM = "latent", "a network as load_sdm returns it"


class Denoiser:
    """Estimates the clean picture x0 in a noisy state x = x0 + sigma * noise.

    x is (B, C, H, W), sigma a scalar tensor or a map (B or 1, 1, H, W), as in k-diffusion but per pixel. Subclasses define `predict`, and
    those of flow models `signal`.
    """

    def signal(self, sigma: Tensor) -> Tensor:
        """The factor of x0 in a state of noise sigma: x = signal x0 + sigma n. 1, or 1 - sigma for flow models."""
        return torch.ones_like(sigma)

    def predict(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """x0, and the network's values for the variance in [-1, 1] (`model_var_values`), or None where it predicts none."""
        raise NotImplementedError

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.predict(x, torch.as_tensor(sigma, dtype=x.dtype, device=x.device) if isinstance(sigma, float | int) else sigma)[0]


class FunctionDenoiser(Denoiser):
    """A function (x, sigma) -> x0 as a denoiser without a learned variance."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]):
        self.function = function

    def predict(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, None]:
        x0 = self.function(x, sigma)
        if x0.shape != x.shape:
            raise ValueError(f"A denoiser must return x0 of its state's shape {tuple(x.shape)}, got {tuple(x0.shape)}.")
        return x0, None


DenoiserLike = Denoiser | Callable[[Tensor, Tensor], Tensor]


def as_denoiser(denoise: DenoiserLike) -> Denoiser:
    """A function (x, sigma) -> x0 as a `Denoiser`; a `Denoiser` as it is."""
    return denoise if isinstance(denoise, Denoiser) else FunctionDenoiser(denoise)


class ADMDenoiser(Denoiser):
    """An ADM network on the denoiser contract.

    Args:
        net: called as net(x, t[, y]); 3 outputs (noise, or v if its `config` says so) or 6 (the variance values after them).
        region_aware: give the network a timestep per pixel, as RAD trains it: clean is 0, step t is t + 1. Otherwise it gets
            step t alone, as a plain ADM network expects, and sigma must be the same for all pixels of a picture.
        labels: (B,) class labels of a class-conditional network, or (1,) for all.
        schedule: the noise levels it was trained with; those its `config` names unless given.
    """

    def __init__(self, net: Network, region_aware: bool = True, labels: Tensor | None = None, schedule: NoiseSchedule | None = None):
        self.net, self.region_aware, self.labels = net, region_aware, labels
        self.schedule = schedule or NoiseSchedule(net.config.schedule)

    def predict(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """x (B, 3, H, W), sigma scalar or (B or 1, 1, H, W) -> x0 clipped to [-1, 1] (RAD 4.2), and the variance values or None."""
        level = self.schedule.level_of_sigma(sigma)
        if self.region_aware:
            t = level.expand(x.shape[0], 1, *x.shape[2:]) if level.ndim else level.expand(x.shape[0])
        else:
            step = level.flatten(1).amax(1) if level.ndim else level
            t = step.sub(1).clamp(min=0).expand(x.shape[0])
        scaled = x / (1 + sigma.square()).sqrt()
        labels = () if self.labels is None else (self.labels.expand(x.shape[0]),)
        out = self.net(scaled, t.to(x.dtype), *labels)
        out, model_var_values = out.chunk(2, 1) if out.shape[1] == 2 * x.shape[1] else (out, None)
        # v as in Salimans and Ho 2022, Appendix D, in terms of sigma
        x0 = (scaled - sigma * out) / (1 + sigma.square()).sqrt() if self.net.config.prediction == "v" else x - sigma * out
        return x0.clamp(-1, 1), model_var_values


class TiledDenoiser(Denoiser):
    """A network of fixed size on a picture of any size at its own scale: overlapping windows, blended in every step.

    Windows without noise are left out, so the cost follows the hole, not the picture. Because the blend happens inside
    the denoiser, samplers know nothing of tiles and no seam can form between them (the idea of MultiDiffusion, 2023).

    Args:
        denoise: a denoiser, or a function (x, sigma) -> x0, of pictures `size` pixels wide and high.
        size: side of a window in pixels.
        mask: (1, 1, H, W), sides of at least `size`; windows in which it is 0 everywhere are left out.
        batch: windows per network call.
    """

    def __init__(self, denoise: DenoiserLike, size: int, mask: Tensor, batch: int = 16):
        self.denoise, self.size, self.batch = as_denoiser(denoise), size, batch
        corners = [(top, left) for top in _starts(mask.shape[2], size) for left in _starts(mask.shape[3], size)]
        windows = [(..., slice(top, top + size), slice(left, left + size)) for top, left in corners]
        self.windows = [window for window in windows if bool((mask[window] > 0).any())]
        ramp = torch.minimum(torch.arange(1, size + 1), torch.arange(size, 0, -1)).to(mask.device, torch.float32)
        self.weight = ramp[:, None] * ramp  # triangular blending weights
        total = torch.zeros(mask.shape, device=mask.device)
        for window in self.windows:
            total[window] += self.weight
        self.total = total.clamp(min=1)

    def signal(self, sigma: Tensor) -> Tensor:
        return self.denoise.signal(sigma)

    def predict(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """x (1, 3, H, W), sigma scalar or (1, 1, H, W) -> x0 and the variance values or None; 0 where there is no window."""
        if len(x) != 1:
            raise ValueError(f"A TiledDenoiser takes one picture at a time, got {len(x)}.")
        sigma = sigma.expand(1, 1, *x.shape[2:])
        blended, blended_var, model_var_values = torch.zeros_like(x), torch.zeros_like(x), None
        for k in range(0, len(self.windows), self.batch):
            windows = self.windows[k : k + self.batch]
            x0, model_var_values = self.denoise.predict(*(torch.cat([maps[window] for window in windows]) for maps in (x, sigma)))
            for j, window in enumerate(windows):
                blended[window] += self.weight * x0[j]
                if model_var_values is not None:
                    blended_var[window] += self.weight * model_var_values[j]
        return blended / self.total, None if model_var_values is None else blended_var / self.total


def _starts(length: int, size: int) -> list[int]:
    """Window starts that cover `length` with an overlap of at least half a window."""
    count = -(-(length - size) // (size // 2)) + 1
    return torch.linspace(0, length - size, count).round().int().tolist()
