"""Timesteps per pixel, embedded at the cost of a few: RAD's spatial noise embedding (RAD 3.3) and the shortcut that makes it cheap.

THE SHORTCUT. The paper embeds the timestep of every pixel, resizes the embedding to each block's size and projects it with
a 1x1 convolution. Resizing and projecting are linear and the resizing weights sum to 1, so for L distinct timesteps in a picture
(2 for a binary mask) the same result comes from embedding and projecting L vectors and blending them with L resized masks:
one matrix product of (2C, L) by (L, HW) per block. `TimestepMap` holds the L timesteps and masks.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_LEVELS = 16  # distinct noise levels in a picture up to which the shortcut is cheaper than the dense path
MAX_PERIOD = 10000  # of the sinusoidal embedding's waves, in timesteps


@dataclass
class TimestepMap:
    """Timesteps of a batch: L distinct ones per picture, and which pixels have each of them.

    Args:
        values: (B, L) timesteps.
        weights: (B, L, H, W), summing to 1 over L; None if L = 1 (the same timestep for all pixels).
    """

    values: Tensor
    weights: Tensor | None = None
    _resized: dict = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, t: Tensor) -> "TimestepMap | None":
        """From timesteps (B,) or (B, 1, H, W); None if the maps of the batch have more than MAX_LEVELS distinct values together."""
        if t.ndim == 1:
            return cls(t[:, None])
        low, high = t.amin((2, 3), keepdim=True), t.amax((2, 3), keepdim=True)
        top = t == high
        if bool((top | (t == low)).all()):  # a binary mask, or a constant map
            if bool((low == high).all()):
                return cls(low.flatten(1))
            top = top.to(t.dtype)
            return cls(torch.cat([low, high], 1).flatten(1), torch.cat([1 - top, top], 1))
        distinct = torch.unique(t)
        if len(distinct) > MAX_LEVELS:
            return None
        return cls(distinct.expand(t.shape[0], -1), (t == distinct.view(1, -1, 1, 1)).to(t.dtype))

    def resized(self, size: torch.Size, dtype: torch.dtype) -> Tensor:
        """The weights at a block's size, (B, L, h * w): bilinear, corners aligned, no antialias (as in the authors' program)."""
        if size not in self._resized:
            self._resized[size] = _resize(self.weights, size).flatten(2).to(dtype)
        return self._resized[size]


def _resize(maps: Tensor, size: torch.Size) -> Tensor:
    return maps if maps.shape[2:] == size else F.interpolate(maps, size, mode="bilinear", align_corners=True)


def sinusoidal(t: Tensor, channels: int) -> Tensor:
    """[cos, sin] embedding of fractional timesteps: (...,) -> (..., channels)."""
    half = channels // 2
    frequency = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * (-torch.tensor(MAX_PERIOD).log() / half))
    angle = t.float().unsqueeze(-1) * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)


class TimestepEmbedding(nn.Module):
    """Sinusoidal embedding, then two linear layers: timesteps (...,) -> (..., hidden)."""

    def __init__(self, channels: int, hidden: int, layers):
        super().__init__()
        self.channels = channels
        self.linear_1 = layers.Linear(channels, hidden)
        self.linear_2 = layers.Linear(hidden, hidden)

    def forward(self, t: Tensor) -> Tensor:
        waves = sinusoidal(t, self.channels).to(self.linear_1.weight.dtype)
        return self.linear_2(F.silu(self.linear_1(waves)))


class Embedding:
    """The embedded timesteps of a batch, from which every block gets its scale and shift.

    Args:
        timesteps: where each vector applies; None for the dense path, with a vector for every pixel.
        vectors: (B, L, E); dense (B, E, H, W).
    """

    def __init__(self, timesteps: TimestepMap | None, vectors: Tensor):
        self.timesteps = timesteps
        self.vectors = F.silu(vectors)

    def scale_shift(self, project: nn.Linear, size: torch.Size, layout: torch.memory_format) -> tuple[Tensor, Tensor]:
        """1 + scale, and shift, of a block with features of this size: both (B, C, 1, 1) or (B, C, h, w)."""
        if self.timesteps is None:  # as in the paper: resize the embedding, project every pixel
            maps = _resize(self.vectors, size)
            scale, shift = project(maps.movedim(1, -1)).movedim(-1, 1).contiguous(memory_format=layout).chunk(2, 1)
            return scale + 1, shift
        scale, shift = project(self.vectors).chunk(2, 2)  # (B, L, C) each
        if self.timesteps.weights is None:
            return (scale[:, 0, :, None, None] + 1), shift[:, 0, :, None, None]
        weights = self.timesteps.resized(size, scale.dtype)
        blend = partial(_blend, weights=weights, size=size, layout=layout)
        return blend(scale + 1), blend(shift)


def _blend(vectors: Tensor, weights: Tensor, size: torch.Size, layout: torch.memory_format) -> Tensor:
    """(B, L, C) and (B, L, h * w) -> (B, C, h, w), in the memory layout of the features, which saves a copy."""
    if layout == torch.channels_last:
        return torch.bmm(weights.transpose(1, 2), vectors).unflatten(1, size).permute(0, 3, 1, 2)
    return torch.bmm(vectors.transpose(1, 2), weights).unflatten(2, size)
