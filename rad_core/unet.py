"""The ADM network (Dhariwal and Nichol 2021, guided-diffusion) with RAD's spatial noise embedding (RAD 3.3).

Names of parts follow diffusers, as the RAD authors' files do; `checkpoints` translates guided-diffusion's. The forward pass
takes one timestep per picture, or one per pixel.

THE SHORTCUT. The paper embeds the timestep of every pixel, resizes the embedding to each block's size and projects it with
a 1x1 convolution. Resizing and projecting are linear and resizing weights sum to 1, so with L distinct levels in a picture
(2 for a binary mask) the same numbers come from embedding and projecting L vectors and blending them by L resized masks:
a matrix product of (2C, L) by (L, HW) for each block. `NoiseLevels` holds the L levels and masks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MAX_LEVELS = 16  # with more distinct levels in a picture the dense path is cheaper


@dataclass(frozen=True)
class UNetConfig:
    """Architecture of an ADM network. `attention` lists the levels (0 = full size) that carry attention."""

    model_channels: int = 128
    block_out_channels: tuple[int, ...] = (128, 128, 256, 256, 512, 512)
    num_res_blocks: int = 1
    attention: tuple[int, ...] = (4,)
    num_head_channels: int | None = 64  # channels of one head, or
    num_heads: int | None = None  # a fixed number of heads
    in_channels: int = 3
    out_channels: int = 6  # 6: noise and variance; 3: noise alone
    num_classes: int | None = None
    norm_eps: float = 1e-5
    image_size: int = 256
    schedule: str = "linear"
    prediction: str = "eps"  # what the first three outputs are: the noise, or "v" = sqrt(alpha_bar) noise - sqrt(beta_bar) x0
    context: float | None = 1.0  # how `rad_inpaint` shows a hole: with this much around it, resized; None: in tiles, not resized

    @property
    def stride(self) -> int:
        """Picture sides must be multiples of this."""
        return 2 ** (len(self.block_out_channels) - 1)


@dataclass
class NoiseLevels:
    """Timesteps of a batch: L levels per picture, and where each of them holds.

    values: (B, L) levels. weights: (B, L, H, W) summing to 1 over L, or None where L = 1 (one level for all pixels).
    """

    values: Tensor
    weights: Tensor | None = None
    _resized: dict = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, t: Tensor) -> "NoiseLevels | None":
        """From (B,) or a map (B, 1, H, W); None where a map has more than MAX_LEVELS distinct values."""
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
        """Weights at a block's size, (B, L, h * w): bilinear, corners aligned, no antialias (as the paper's program)."""
        if size not in self._resized:
            self._resized[size] = _resize(self.weights, size).flatten(2).to(dtype)
        return self._resized[size]


def _resize(maps: Tensor, size: torch.Size) -> Tensor:
    return maps if maps.shape[2:] == size else F.interpolate(maps, size, mode="bilinear", align_corners=True)


def sinusoidal(t: Tensor, channels: int, max_period: float = 10000) -> Tensor:
    """[cos, sin] code of fractional timesteps: (...,) -> (..., channels)."""
    half = channels // 2
    frequency = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * (-torch.tensor(max_period).log() / half))
    angle = t.float().unsqueeze(-1) * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)


class TimestepEmbedding(nn.Module):
    def __init__(self, channels: int, hidden: int, layers):
        super().__init__()
        self.channels = channels
        self.linear_1 = layers.Linear(channels, hidden)
        self.linear_2 = layers.Linear(hidden, hidden)

    def forward(self, t: Tensor) -> Tensor:
        code = sinusoidal(t, self.channels).to(self.linear_1.weight.dtype)
        return self.linear_2(F.silu(self.linear_1(code)))


class Embedding:
    """What the blocks need to know of the timestep: call with a block's projection and size, get its scale and shift."""

    def __init__(self, levels: NoiseLevels | None, vectors: Tensor):
        self.levels = levels
        self.vectors = F.silu(vectors)  # (B, L, E); dense: (B, E, H, W)

    def scale_shift(self, project: nn.Linear, size: torch.Size, layout: torch.memory_format) -> tuple[Tensor, Tensor]:
        """1 + scale, and shift: both (B, C, 1, 1) or (B, C, h, w)."""
        if self.levels is None:  # the paper's own way: resize the embedding, project every pixel
            maps = _resize(self.vectors, size)
            scale, shift = project(maps.movedim(1, -1)).movedim(-1, 1).contiguous(memory_format=layout).chunk(2, 1)
            return scale + 1, shift
        scale, shift = project(self.vectors).chunk(2, 2)  # (B, L, C) each
        if self.levels.weights is None:
            return (scale[:, 0, :, None, None] + 1), shift[:, 0, :, None, None]
        weights = self.levels.resized(size, scale.dtype)
        blend = partial(_blend, weights=weights, size=size, layout=layout)
        return blend(scale + 1), blend(shift)


def _blend(vectors: Tensor, weights: Tensor, size: torch.Size, layout: torch.memory_format) -> Tensor:
    """(B, L, C) and (B, L, h * w) -> (B, C, h, w) in the memory layout of the features, so that no copy follows."""
    if layout == torch.channels_last:
        return torch.bmm(weights.transpose(1, 2), vectors).unflatten(1, size).permute(0, 3, 1, 2)
    return torch.bmm(vectors.transpose(1, 2), weights).unflatten(2, size)


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous() else torch.contiguous_format


class ResnetBlock(nn.Module):
    """BigGAN-style residual block. resample: None, "down" (2x2 mean) or "up" (nearest), inside the block."""

    def __init__(self, channels: int, out_channels: int, embedding: int, eps: float, layers, resample: str | None = None):
        super().__init__()
        self.norm1 = layers.GroupNorm(32, channels, eps)
        self.conv1 = layers.Conv2d(channels, out_channels, 3, padding=1)
        self.time_emb_proj = layers.Linear(embedding, 2 * out_channels)
        self.norm2 = layers.GroupNorm(32, out_channels, eps)
        self.conv2 = layers.Conv2d(out_channels, out_channels, 3, padding=1)
        if channels != out_channels:
            self.conv_shortcut = layers.Conv2d(channels, out_channels, 1)
        self.resample = {None: nn.Identity(), "down": nn.AvgPool2d(2), "up": nn.Upsample(scale_factor=2)}[resample]

    def forward(self, x: Tensor, embedding: Embedding) -> Tensor:
        h = self.conv1(self.resample(F.silu(self.norm1(x))))
        x = self.resample(x)
        scale, shift = embedding.scale_shift(self.time_emb_proj, h.shape[2:], _layout(h))
        h = torch.addcmul(shift, self.norm2(h), scale)
        h = self.conv2(F.silu(h))
        return (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x) + h


class Attention(nn.Module):
    """Self-attention over all pixels, residual."""

    def __init__(self, channels: int, heads: int, eps: float, layers):
        super().__init__()
        self.heads = heads
        self.group_norm = layers.GroupNorm(32, channels, eps)
        self.to_q = layers.Linear(channels, channels)
        self.to_k = layers.Linear(channels, channels)
        self.to_v = layers.Linear(channels, channels)
        self.to_out = nn.ModuleList([layers.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = (f(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.to_out[0](mixed).transpose(1, 2).unflatten(2, x.shape[2:])


class Level(nn.Module):
    """One resolution of the network: residual blocks, their attentions, a resampler at its end."""

    def __init__(self, ins: list[int], out: int, embedding: int, config: UNetConfig, layers, attend: bool, resample: str | None):
        super().__init__()
        block = partial(ResnetBlock, out_channels=out, embedding=embedding, eps=config.norm_eps, layers=layers)
        self.resnets = nn.ModuleList(block(channels) for channels in ins)
        if attend:
            heads = config.num_heads or out // config.num_head_channels
            self.attentions = nn.ModuleList(Attention(out, heads, config.norm_eps, layers) for _ in ins)
        if resample:
            setattr(self, f"{resample}samplers", nn.ModuleList([block(out, resample=resample)]))

    def forward_block(self, index: int, x: Tensor, embedding: Embedding) -> Tensor:
        x = self.resnets[index](x, embedding)
        return self.attentions[index](x) if hasattr(self, "attentions") else x


class MidBlock(nn.Module):
    def __init__(self, channels: int, embedding: int, config: UNetConfig, layers):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, embedding, config.norm_eps, layers) for _ in range(2))
        heads = config.num_heads or channels // config.num_head_channels
        self.attentions = nn.ModuleList([Attention(channels, heads, config.norm_eps, layers)])

    def forward(self, x: Tensor, embedding: Embedding) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, embedding)), embedding)


class UNet(nn.Module):
    """ADM network.

    Call with x (B, 3, H, W) in the network's own scaling (pictures in [-1, 1] plus noise), t (B,) or per pixel (B, 1, H, W),
    fractional, in [0, T], and for class-conditional networks y (B,) labels. Returns (B, out_channels, H, W): the noise (or v,
    see `UNetConfig.prediction`), and where out_channels is 6 the variance code in the last three channels.

    H and W must be multiples of `config.stride`.

    Args:
        config: the architecture.
        layers: where Linear, Conv2d, GroupNorm and Embedding come from; a host that manages memory brings its own.

    Raises:
        ValueError: wrong picture size, or class labels missing or not wanted.
    """

    def __init__(self, config: UNetConfig, layers=nn):
        super().__init__()
        self.config = config
        self.region_aware = False  # trained for a noise level per pixel; set by whoever loads such weights
        self.checkpointing = False  # in training: keep no features, compute them again in the backward pass
        widths, hidden = config.block_out_channels, 4 * config.model_channels
        last = len(widths) - 1
        self.conv_in = layers.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(config.model_channels, hidden, layers)
        if config.num_classes:
            self.class_embedding = layers.Embedding(config.num_classes, hidden)

        channels, skips = widths[0], [widths[0]]
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            ins = [channels] + [width] * (config.num_res_blocks - 1)
            self.down_blocks.append(Level(ins, width, hidden, config, layers, i in config.attention, "down" if i < last else None))
            skips += [width] * (config.num_res_blocks + (i < last))
            channels = width
        self.mid_block = MidBlock(channels, hidden, config, layers)
        self.up_blocks = nn.ModuleList()
        for i, width in reversed(list(enumerate(widths))):
            ins = [(channels if j == 0 else width) + skips.pop() for j in range(config.num_res_blocks + 1)]
            self.up_blocks.append(Level(ins, width, hidden, config, layers, i in config.attention, "up" if i > 0 else None))
            channels = width
        self.conv_norm_out = layers.GroupNorm(32, channels, config.norm_eps)
        self.conv_out = layers.Conv2d(channels, config.out_channels, 3, padding=1)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.conv_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The arithmetic of the network's inside; pictures go in and out in any."""
        return self.conv_in.weight.dtype

    def embed(self, t: Tensor, y: Tensor | None) -> Embedding:
        """Embed the timesteps: distinct levels only where they are few, every pixel otherwise."""
        levels = NoiseLevels.of(t)
        vectors = self.time_embedding(levels.values if levels else t[:, 0])
        if y is not None:
            label = self.class_embedding(y)
            vectors = vectors + (label[:, None] if levels else label[:, None, None])
        return Embedding(levels, vectors if levels else vectors.movedim(-1, 1))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        stride = self.config.stride
        if x.shape[2] % stride or x.shape[3] % stride:
            raise ValueError(f"This network takes picture sides that are multiples of {stride}, got {x.shape[3]}x{x.shape[2]}.")
        if (y is None) != (self.config.num_classes is None):
            raise ValueError("This network needs class labels y." if y is None else "This network takes no class labels.")
        dtype = self.conv_in.weight.dtype
        embedding = self.embed(t, y)
        h = self.conv_in(x.to(dtype))
        skips = [h]
        for level in self.down_blocks:
            for j in range(len(level.resnets)):
                h = self._run(level.forward_block, j, h, embedding)
                skips.append(h)
            for sampler in getattr(level, "downsamplers", ()):
                h = self._run(sampler, h, embedding)
                skips.append(h)
        h = self._run(self.mid_block, h, embedding)
        for level in self.up_blocks:
            for j in range(len(level.resnets)):
                h = self._run(level.forward_block, j, torch.cat([h, skips.pop()], 1), embedding)
            for sampler in getattr(level, "upsamplers", ()):
                h = self._run(sampler, h, embedding)
        return self.conv_out(F.silu(self.conv_norm_out(h))).to(x.dtype)

    def _run(self, part: Callable[..., Tensor], *given) -> Tensor:
        if not self.checkpointing or not torch.is_grad_enabled():
            return part(*given)
        return checkpoint(part, *given, use_reentrant=False)


def initialise(net: UNet) -> UNet:
    """Zero the last layer of every residual branch and of the network, as ADM does: training starts from the identity."""
    last = [net.conv_out]
    for block in net.modules():
        if isinstance(block, ResnetBlock):
            last.append(block.conv2)
        elif isinstance(block, Attention):
            last.append(block.to_out[0])
    for layer in last:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return net
