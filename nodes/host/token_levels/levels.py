"""The noise levels of one forward pass: each distinct level is embedded once, and picked per token."""

from collections.abc import Callable
from dataclasses import dataclass

import comfy.ldm.common_dit
import torch
from torch import Tensor, nn

from ....rad_core.timestep_embedding import MAX_LEVELS


@dataclass
class TokenLevels:
    """What the stand-ins of a network's layers read: set before a forward pass, cleared after it.

    Attributes:
        index: for each stream of tokens, such as "img" or "joint", the number of each token's level, (B, L). None: no map.
        timesteps: (B, K), the network's timestep of each level.
        vectors: (B, K, E), each timestep's embedding minus that of the scalar timestep; None where the network embeds levels by itself.
    """

    index: dict[str, Tensor] | None = None
    timesteps: Tensor | None = None
    vectors: Tensor | None = None

    @property
    def active(self) -> bool:
        return self.index is not None

    def clear(self) -> None:
        self.index = self.timesteps = self.vectors = None

    def pick(self, values: Tensor, stream: str) -> Tensor:
        """Values of the levels (B, K, C) -> of a stream's tokens (B, L, C)."""
        index, (batch, count, _) = self.index[stream], values.shape
        rows = index + count * torch.arange(batch, device=index.device)[:, None]
        return values.flatten(0, 1)[rows]

    def modulate(self, layers: Callable[[Tensor], Tensor], vec: Tensor, stream: str) -> Tensor:
        """What layers make of a modulation vector (B, E) or (B, 1, E), with each token's own timestep in it: (B, L, C)."""
        return self.pick(layers((vec if vec.ndim == 3 else vec[:, None]) + self.vectors.to(vec)), stream)


class Modulations:
    """Stands for a modulation (B, C) in code that writes `.chunk(n, dim=1)`, `.unsqueeze(1)` or `[:, None, :]`; holds (B, L, C)."""

    def __init__(self, values: Tensor):
        self.values = values

    def chunk(self, count: int, dim: int = -1) -> list["Modulations"]:
        return [Modulations(part) for part in self.values.chunk(count, -1)]

    def unsqueeze(self, dim: int) -> Tensor:
        return self.values

    def __getitem__(self, key) -> Tensor:
        return self.values

    def __add__(self, other) -> "Modulations":
        return Modulations(self.values + other)

    __radd__ = __add__

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return getattr(args[0], func.__name__)(*args[1:], **(kwargs or {}))  # torch.chunk


class StandIn(nn.Module):
    """Stands for a layer under the same name: it shows the layer's own weights, so keys stay and LoRA applies.

    What the host notes on it, such as that the weights are in place, it notes on the layer, which other clones of the MODEL share.

    Args:
        layer: the layer; it is called as it is while there is no map.
        stream: the tokens that it modulates.
    """

    def __init__(self, layer: nn.Module, levels: TokenLevels, stream: str = ""):
        super().__init__()
        weights = {name: layer.__dict__[name] for name in ("_modules", "_parameters", "_buffers")}
        self.__dict__.update(layer=layer, levels=levels, stream=stream, **weights)

    def forward(self, *args, **kwargs):
        return (self.mapped if self.levels.active else self.layer)(*args, **kwargs)

    def mapped(self, *args, **kwargs):
        """The layer's output while there is a map."""
        raise NotImplementedError

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["layer"], name)

    def __setattr__(self, name: str, value) -> None:
        layer = self.__dict__.get("layer")  # none while __init__ runs
        super().__setattr__(name, value) if layer is None else setattr(layer, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.layer, name)


class ModulationLayers(nn.Sequential):
    """adaLN's layers, such as (SiLU, Linear): the same children under the same names."""

    def __init__(self, layers: nn.Sequential, levels: TokenLevels, stream: str):
        super().__init__(*layers)
        self.__dict__.update(levels=levels, stream=stream)

    def forward(self, vec: Tensor) -> "Tensor | Modulations":
        if not self.levels.active:
            return super().forward(vec)
        out = self.levels.modulate(super().forward, vec, self.stream)
        return out if vec.ndim == 3 else Modulations(out)


def grid(values: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """A map (B, 1, [T,] h, w) on the tokens: (B, 1, T', h', w'). A token is as noisy as its noisiest latent.

    patch: frames, rows and columns of latents in a token.
    """
    frames = values if values.ndim == 5 else values[:, :, None]
    padded = comfy.ldm.common_dit.pad_to_patch_size(frames.float(), patch)
    for dim, size in zip((2, 3, 4), patch, strict=True):
        padded = padded.unflatten(dim, (-1, size)).amax(dim + 1)
    return padded


def snap(values: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """A map (B, 1, [T,] h, w) with one value in each token, the highest there."""
    if max(patch) == 1:
        return values
    snapped = grid(values, patch)
    for dim, size in zip((2, 3, 4), patch, strict=True):
        snapped = snapped.repeat_interleave(size, dim)
    frames = values if values.ndim == 5 else values[:, :, None]
    return snapped[:, :, : frames.shape[2], : frames.shape[3], : frames.shape[4]].reshape(values.shape).to(values)


def distinct(tokens: Tensor) -> Tensor:
    """The distinct levels of tokens (B, L), or of a map: (K,), rising. Those of a soft mask are rounded to 16 evenly spaced ones."""
    levels = tokens.unique()
    if len(levels) > MAX_LEVELS:
        levels = torch.linspace(float(levels[0]), float(levels[-1]), MAX_LEVELS, device=levels.device, dtype=levels.dtype)
    return levels
