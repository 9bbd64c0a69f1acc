"""SDM's generator and discriminator (SDM 3.2). At full width the generator has 74.24 million parameters."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Conv, Linear, ModulatedConv, Residual, UncertaintyAttention, upsample2x

IN_CHANNELS = 7  # of the generator, see `pack`


@dataclass(frozen=True)
class SDMConfig:
    """Architecture. The defaults are the paper's, for pictures of 512 pixels.

    Args:
        widths: channels at full size, half size, ...; the smallest size should be at least 8x8.
        attention: levels (0 = full size) with a residual block and attention, on the way down and on the way up.
        global_convs: further halvings, before the mean that gives the global code.
        latent: size of z and of w.
        code: size of the global code.
        heads: of each attention.
        guided: uncertainty-guided attention; False is the paper's ablation.
        image_size: size of the pictures it was trained with.

    Raises:
        ValueError: an impossible architecture.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
    attention: tuple[int, ...] = (4, 5)
    global_convs: int = 3
    latent: int = 512
    code: int = 1024
    heads: int = 8
    guided: bool = True
    image_size: int = 512

    def __post_init__(self):
        levels = len(self.widths)
        if min(*self.widths, self.latent, self.code, self.heads, self.image_size, levels - 1) < 1 or self.global_convs < 0:
            raise ValueError("An SDM network needs two or more widths, and all sizes must be positive.")
        for level in self.attention:
            if not 0 <= level < levels:
                raise ValueError(f"There is no level {level} for attention: the {levels} widths are levels 0 to {levels - 1}.")
            if self.widths[level] % self.heads:
                raise ValueError(f"{self.heads} heads do not divide the {self.widths[level]} channels of level {level}.")

    @property
    def stride(self) -> int:
        """The network works on sides that are multiples of this; it pads others."""
        return 2 ** (len(self.widths) - 1)


class AttnBlock(nn.Module):
    """A residual block, then uncertainty-guided attention."""

    def __init__(self, channels: int, config: SDMConfig):
        super().__init__()
        self.block = Residual(channels, channels)
        self.attend = UncertaintyAttention(channels, config.heads, config.guided)

    def forward(self, x: Tensor, uncertainty: Tensor) -> Tensor:
        return self.attend(self.block(x), uncertainty)


class Generator(nn.Module):
    """SDM's network: predicts the mean and log-variance of every pixel from a partly filled picture."""

    def __init__(self, config: SDMConfig = SDMConfig()):
        super().__init__()
        self.config = config
        widths, last = config.widths, len(config.widths) - 1
        style = config.latent + config.code
        attn = lambda: nn.ModuleDict({str(level): AttnBlock(widths[level], config) for level in config.attention})
        self.stem = nn.Sequential(Conv(IN_CHANNELS, widths[0]), Conv(widths[0], widths[0]))
        self.down = nn.ModuleList(Residual(a, b, down=True) for a, b in pairwise(widths))
        self.attn_down, self.attn_up = attn(), attn()
        self.shrink = nn.Sequential(*(Conv(widths[-1], widths[-1], down=True) for _ in range(config.global_convs)))
        self.code = Linear(widths[-1], config.code, activation=True)
        self.mapping = nn.Sequential(*(Linear(config.latent, config.latent, lr_multiplier=0.01, activation=True) for _ in range(8)))
        self.mid = nn.ModuleList(ModulatedConv(widths[-1], widths[-1], style) for _ in range(2))
        self.up = nn.ModuleList(ModulatedConv(widths[k + 1], widths[k], style, up=True) for k in reversed(range(last)))
        self.refine = nn.ModuleList(ModulatedConv(widths[k], widths[k], style) for k in reversed(range(last)))
        self.to_rgb = nn.ModuleList(ModulatedConv(widths[k], 6, style, kernel=1, activation=False) for k in reversed(range(last + 1)))

    @property
    def size(self) -> int:
        """Size of the pictures it was trained with."""
        return self.config.image_size

    @property
    def stride(self) -> int:
        """See `SDMConfig.stride`."""
        return self.config.stride

    @property
    def latent(self) -> int:
        """Size of z."""
        return self.config.latent

    @property
    def device(self) -> torch.device:
        """The device that the network runs on."""
        return self.code.weight.device

    def forward(self, inputs: Tensor, uncertainty: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Predict, at any size H, W.

        Args:
            inputs: (B, 7, H, W), see `pack`.
            uncertainty: (B, 1, H, W) in [0, 1].
            z: (B, latent), standard normal.

        Returns:
            mean and log-variance, (B, 3, H, W) each; the log-variance within [-9, 2].
        """
        height, width = inputs.shape[2:]
        dtype = self.code.weight.dtype
        inputs, uncertainty, z = _pad(inputs.to(dtype), self.stride), _pad(uncertainty.to(dtype), self.stride), _normalised(z).to(dtype)
        x, skips = self.stem(inputs), []
        for level in range(len(self.config.widths)):
            if level:
                x = self.down[level - 1](x)
            if str(level) in self.attn_down:
                x = self.attn_down[str(level)](x, uncertainty)
            skips.append(x)
        w, shrunk = self.mapping(z), x
        for conv in self.shrink:  # a side of one pixel is doubled, since the kernel needs two
            shrunk = conv(F.pad(shrunk, (0, int(shrunk.shape[3] < 2), 0, int(shrunk.shape[2] < 2)), mode="replicate"))
        style = torch.cat([w, self.code(shrunk.mean((2, 3)))], 1)
        out = None
        for k, level in enumerate(reversed(range(len(skips)))):
            if level == len(skips) - 1:
                x = self.mid[1](self.mid[0](x, style), style)
            else:
                x = (self.up[k - 1](x, style) + skips[level]) * math.sqrt(0.5)
                x = self.refine[k - 1](x, style)
            if str(level) in self.attn_up:
                x = self.attn_up[str(level)](x, uncertainty)
            rgb = self.to_rgb[k](x, style).float()
            out = rgb if out is None else upsample2x(out) + rgb
        mean, log_variance = out[..., :height, :width].chunk(2, 1)
        return mean, log_variance.clamp(-9, 2)


class Discriminator(nn.Module):
    """StyleGAN2's residual discriminator, on a filled picture and what of it was known."""

    def __init__(self, config: SDMConfig = SDMConfig()):
        super().__init__()
        widths = config.widths
        self.stem = Conv(4, widths[0], 1)
        self.down = nn.ModuleList(Residual(a, b, down=True) for a, b in pairwise(widths))
        self.last = Conv(widths[-1] + 1, widths[-1])
        self.score = nn.Sequential(Linear(widths[-1] * 16, widths[-1], activation=True), Linear(widths[-1], 1))

    def forward(self, picture: Tensor, known: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Score pictures.

        Args:
            picture: (B, 3, H, W) in [-1, 1].
            known: (B, 1, H, W), 1 = known, 0 = hole.

        Returns:
            scores (B,), and the features of each block, for feature matching.
        """
        x, features = self.stem(_pad(torch.cat([known - 0.5, picture], 1), 2 ** len(self.down))), []
        for block in self.down:
            x = block(x)
            features.append(x)
        x = self.last(torch.cat([x, _minibatch_deviation(x)], 1))
        return self.score(F.adaptive_avg_pool2d(x, 4).flatten(1))[:, 0], features


def pack(picture: Tensor, known: Tensor, decided: Tensor, uncertainty: Tensor, t: int, iterations: int) -> Tensor:
    """The generator's seven input channels: picture (0 where undecided), m0 - .5, m_t - .5, u - .5, (t - 1) / T - .5.

    The masks are SDM's: m0 = `known` is 1 at pixels known from the start, m_t = `decided` also at those decided so far.
    """
    time = torch.full_like(known, (t - 1) / iterations - 0.5)
    return torch.cat([picture, known - 0.5, decided - 0.5, uncertainty - 0.5, time], 1)


def _minibatch_deviation(x: Tensor) -> Tensor:
    """StyleGAN2's minibatch standard deviation: how much the pictures of a group of 4 differ, as one more channel."""
    count = math.gcd(x.shape[0], 4)
    groups = x.reshape(count, -1, *x.shape[1:])
    deviation = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    return deviation.repeat(count)[:, None, None, None].expand(-1, 1, *x.shape[2:])


def _normalised(z: Tensor) -> Tensor:
    """z with a mean square of 1."""
    return z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)


def _pad(maps: Tensor, stride: int) -> Tensor:
    """Pad by reflection to multiples of `stride`, at least two of them; maps too small to reflect repeat their edges."""
    below, right = (max(2 * stride, -(-side // stride) * stride) - side for side in maps.shape[2:])
    mode = "reflect" if below < maps.shape[2] and right < maps.shape[3] else "replicate"
    return F.pad(maps, (0, right, 0, below), mode=mode) if below or right else maps
