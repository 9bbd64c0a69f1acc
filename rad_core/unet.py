"""The ADM network (Dhariwal and Nichol 2021, guided-diffusion) with RAD's spatial noise embedding (RAD 3.3).

Parts are named as in diffusers and in the RAD authors' files; `formats` translates guided-diffusion's names. The forward pass
takes one timestep per picture, or one per pixel (`timestep_embedding`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .timestep_embedding import Embedding, TimestepEmbedding, TimestepMap


@dataclass(frozen=True)
class UNetConfig:
    """Architecture of an ADM network, and how it was trained."""

    model_channels: int = 128
    block_out_channels: tuple[int, ...] = (128, 128, 256, 256, 512, 512)  # one width per level, full size first
    num_res_blocks: int = 1
    attention: tuple[int, ...] = (4,)  # levels with attention, 0 = full size
    num_head_channels: int | None = 64  # channels per attention head, or
    num_heads: int | None = None  # a fixed number of heads
    in_channels: int = 3
    out_channels: int = 6  # 6: noise and variance; 3: noise alone
    num_classes: int | None = None
    norm_eps: float = 1e-5
    image_size: int = 256
    schedule: str = "linear"
    prediction: str = "eps"  # what the first three outputs are: the noise, or "v" = sqrt(alpha_bar) noise - sqrt(beta_bar) x0
    tiles: bool = False  # trained on tiles at the pictures' own scale, so holes are filled in tiles; otherwise holes are resized

    @property
    def stride(self) -> int:
        """Picture sides must be multiples of this."""
        return 2 ** (len(self.block_out_channels) - 1)


@dataclass(frozen=True)
class AdapterBackup:
    """What adapters replaced in a network: original weights by name, and whether it was region-aware before."""

    weights: dict[str, Tensor]
    region_aware: bool


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous() else torch.contiguous_format


class ResnetBlock(nn.Module):
    """BigGAN-style residual block. `resample` inside the block: None, "down" (2x2 mean) or "up" (nearest)."""

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
    """Residual self-attention over all pixels."""

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


class UNetLevel(nn.Module):
    """One resolution of the network: residual blocks, perhaps with attention, and a resampling block at the end.

    Args:
        in_channels: of each residual block.
        out_channels: of all of them.
        resample: "down", "up" or None, as in `ResnetBlock`.
    """

    def __init__(
        self,
        in_channels: list[int],
        out_channels: int,
        embedding: int,
        config: UNetConfig,
        layers,
        attention: bool,
        resample: str | None,
    ):
        super().__init__()
        block = partial(ResnetBlock, out_channels=out_channels, embedding=embedding, eps=config.norm_eps, layers=layers)
        self.resnets = nn.ModuleList(block(channels) for channels in in_channels)
        if attention:
            heads = config.num_heads or out_channels // config.num_head_channels
            self.attentions = nn.ModuleList(Attention(out_channels, heads, config.norm_eps, layers) for _ in in_channels)
        if resample:
            setattr(self, f"{resample}samplers", nn.ModuleList([block(out_channels, resample=resample)]))

    def forward_block(self, index: int, x: Tensor, embedding: Embedding) -> Tensor:
        """One residual block and its attention."""
        x = self.resnets[index](x, embedding)
        return self.attentions[index](x) if hasattr(self, "attentions") else x


class MidBlock(nn.Module):
    """The bottom of the network: residual block, attention, residual block."""

    def __init__(self, channels: int, embedding: int, config: UNetConfig, layers):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, embedding, config.norm_eps, layers) for _ in range(2))
        heads = config.num_heads or channels // config.num_head_channels
        self.attentions = nn.ModuleList([Attention(channels, heads, config.norm_eps, layers)])

    def forward(self, x: Tensor, embedding: Embedding) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, embedding)), embedding)


class UNet(nn.Module):
    """An ADM network: net(x, t) or, if class-conditional, net(x, t, y).

    x is (B, 3, H, W), variance-preserving: sqrt(alpha_bar) picture + sqrt(1 - alpha_bar) noise with pictures in [-1, 1]; H and W are
    multiples of `config.stride`. t is (B,), or (B, 1, H, W) for a timestep per pixel, fractional, in [0, T]. y is (B,) labels. The
    result is (B, out_channels, H, W): the noise (or v, see `UNetConfig.prediction`), and if out_channels is 6, `model_var_values` in
    the last three channels.

    Args:
        config: the architecture.
        layers: the module that Linear, Conv2d, GroupNorm and Embedding come from; a host that manages memory passes its own.

    Attributes:
        region_aware: whether the network was trained for a noise level per pixel (RAD). Set by whoever loads the weights.
        checkpointing: in training, keep no features and compute them again in the backward pass.
        adapter_backup: while adapters are loaded, what they replaced (see `adapters`).

    Raises:
        ValueError: a wrong picture size, or class labels missing or given to a network without classes.
    """

    def __init__(self, config: UNetConfig, layers=nn):
        super().__init__()
        self.config = config
        self.region_aware = False
        self.checkpointing = False
        self.adapter_backup: AdapterBackup | None = None
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
            self.down_blocks.append(UNetLevel(ins, width, hidden, config, layers, i in config.attention, "down" if i < last else None))
            skips += [width] * (config.num_res_blocks + (i < last))
            channels = width
        self.mid_block = MidBlock(channels, hidden, config, layers)
        self.up_blocks = nn.ModuleList()
        for i, width in reversed(list(enumerate(widths))):
            ins = [(channels if j == 0 else width) + skips.pop() for j in range(config.num_res_blocks + 1)]
            self.up_blocks.append(UNetLevel(ins, width, hidden, config, layers, i in config.attention, "up" if i > 0 else None))
            channels = width
        self.conv_norm_out = layers.GroupNorm(32, channels, config.norm_eps)
        self.conv_out = layers.Conv2d(channels, config.out_channels, 3, padding=1)

    @property
    def device(self) -> torch.device:
        """The device that the network runs on."""
        return self.conv_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision inside the network; pictures go in and come out in any dtype."""
        return self.conv_in.weight.dtype

    def embed(self, t: Tensor, y: Tensor | None) -> Embedding:
        """Embed the timesteps (and class labels): the distinct ones if they are few, every pixel's otherwise."""
        timesteps = TimestepMap.of(t)
        vectors = self.time_embedding(timesteps.values if timesteps else t[:, 0])
        if y is not None:
            label = self.class_embedding(y)
            vectors = vectors + (label[:, None] if timesteps else label[:, None, None])
        return Embedding(timesteps, vectors if timesteps else vectors.movedim(-1, 1))

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

    def _run(self, block: Callable[..., Tensor], *inputs) -> Tensor:
        if not self.checkpointing or not torch.is_grad_enabled():
            return block(*inputs)
        return checkpoint(block, *inputs, use_reentrant=False)


def initialise(net: UNet) -> UNet:
    """Zero the last layer of every residual branch and of the network, as ADM does, so that training starts from the identity."""
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
