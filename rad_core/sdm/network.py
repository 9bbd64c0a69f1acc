"""SDM's generator and discriminator (SDM 3.2): 74.24 million parameters at full width."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Conv, Linear, ModulatedConv, Residual, UncertaintyAttention, double

INPUTS = 7  # image, first mask, mask of this iteration, uncertainty, time


@dataclass(frozen=True)
class SDMConfig:
    """Architecture. The defaults are the paper's at 512.

    Args:
        widths: channels at full size, half size, ...; the smallest size should be 8x8 or more.
        attention: levels (0 = full size) with a residual block and attention, on the way down and up.
        global_convs: halvings more, before the mean that makes the global code.
        latent: numbers of z and of w. code: numbers of the global code.
        heads: of each attention.
        guided: uncertainty-guided attention; False is the paper's ablation.
        image_size: what it was trained at.
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
            raise ValueError("An SDM network needs two or more widths, and all its numbers must be positive.")
        for level in self.attention:
            if not 0 <= level < levels:
                raise ValueError(f"There is no level {level} to attend: the {levels} widths are levels 0 to {levels - 1}.")
            if self.widths[level] % self.heads:
                raise ValueError(f"{self.heads} heads do not divide the {self.widths[level]} channels of level {level}.")

    @property
    def stride(self) -> int:
        return 2 ** (len(self.widths) - 1)


class Focus(nn.Module):
    """A residual block, then attention."""

    def __init__(self, channels: int, config: SDMConfig):
        super().__init__()
        self.block = Residual(channels, channels)
        self.attend = UncertaintyAttention(channels, config.heads, config.guided)

    def forward(self, x: Tensor, uncertainty: Tensor) -> Tensor:
        return self.attend(self.block(x), uncertainty)


class Generator(nn.Module):
    """(picture, masks, uncertainty, z) -> mean and log-variance of every pixel."""

    def __init__(self, config: SDMConfig = SDMConfig()):
        super().__init__()
        self.config = config
        widths, last = config.widths, len(config.widths) - 1
        style = config.latent + config.code
        focus = lambda: nn.ModuleDict({str(level): Focus(widths[level], config) for level in config.attention})
        self.stem = nn.Sequential(Conv(INPUTS, widths[0]), Conv(widths[0], widths[0]))
        self.down = nn.ModuleList(Residual(a, b, down=True) for a, b in pairwise(widths))
        self.focus_down, self.focus_up = focus(), focus()
        self.shrink = nn.Sequential(*(Conv(widths[-1], widths[-1], down=True) for _ in range(config.global_convs)))
        self.code = Linear(widths[-1], config.code, active=True)
        self.mapping = nn.Sequential(*(Linear(config.latent, config.latent, rate=0.01, active=True) for _ in range(8)))
        self.bottom = nn.ModuleList(ModulatedConv(widths[-1], widths[-1], style) for _ in range(2))
        self.up = nn.ModuleList(ModulatedConv(widths[k + 1], widths[k], style, up=True) for k in reversed(range(last)))
        self.refine = nn.ModuleList(ModulatedConv(widths[k], widths[k], style) for k in reversed(range(last)))
        self.paint = nn.ModuleList(ModulatedConv(widths[k], 6, style, kernel=1, active=False) for k in reversed(range(last + 1)))

    @property
    def size(self) -> int:
        return self.config.image_size

    @property
    def stride(self) -> int:
        return self.config.stride

    @property
    def latent(self) -> int:
        return self.config.latent

    @property
    def device(self) -> torch.device:
        return self.code.weight.device

    def forward(self, given: Tensor, uncertainty: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """given (B, 7, H, W), see `pack`; uncertainty (B, 1, H, W) in [0, 1]; z (B, latent).

        Returns:
            mean and log-variance, (B, 3, H, W) each, of any size H, W; log-variance within [-9, 2].
        """
        height, width = given.shape[2:]
        dtype = self.code.weight.dtype
        given, uncertainty, z = _pad(given.to(dtype), self.stride), _pad(uncertainty.to(dtype), self.stride), _normalised(z).to(dtype)
        x, skips = self.stem(given), []
        for level in range(len(self.config.widths)):
            if level:
                x = self.down[level - 1](x)
            if str(level) in self.focus_down:
                x = self.focus_down[str(level)](x, uncertainty)
            skips.append(x)
        w, whole = self.mapping(z), x
        for conv in self.shrink:  # what is one pixel wide is given a second, for the kernel's sake
            whole = conv(F.pad(whole, (0, int(whole.shape[3] < 2), 0, int(whole.shape[2] < 2)), mode="replicate"))
        style = torch.cat([w, self.code(whole.mean((2, 3)))], 1)
        out = None
        for k, level in enumerate(reversed(range(len(skips)))):
            if level == len(skips) - 1:
                x = self.bottom[1](self.bottom[0](x, style), style)
            else:
                x = (self.up[k - 1](x, style) + skips[level]) * math.sqrt(0.5)
                x = self.refine[k - 1](x, style)
            if str(level) in self.focus_up:
                x = self.focus_up[str(level)](x, uncertainty)
            painted = self.paint[k](x, style).float()
            out = painted if out is None else double(out) + painted
        mean, log_variance = out[..., :height, :width].chunk(2, 1)
        return mean, log_variance.clamp(-9, 2)


class Discriminator(nn.Module):
    """StyleGAN2's residual one, on (first mask - 0.5, picture); `features` serve feature matching."""

    def __init__(self, config: SDMConfig = SDMConfig()):
        super().__init__()
        widths = config.widths
        self.stem = Conv(4, widths[0], 1)
        self.down = nn.ModuleList(Residual(a, b, down=True) for a, b in pairwise(widths))
        self.last = Conv(widths[-1] + 1, widths[-1])
        self.score = nn.Sequential(Linear(widths[-1] * 16, widths[-1], active=True), Linear(widths[-1], 1))

    def forward(self, picture: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        """picture (B, 3, H, W) in [-1, 1], mask (B, 1, H, W) with 1 = known -> scores (B,) and each block's features."""
        x, features = self.stem(_pad(torch.cat([mask - 0.5, picture], 1), 2 ** len(self.down))), []
        for block in self.down:
            x = block(x)
            features.append(x)
        x = self.last(torch.cat([x, _spread(x)], 1))
        return self.score(F.adaptive_avg_pool2d(x, 4).flatten(1))[:, 0], features


def pack(image: Tensor, known: Tensor, now: Tensor, uncertainty: Tensor, t: int, iterations: int) -> Tensor:
    """The generator's seven channels: image (0 in the hole), m0 - .5, m_t - .5, u - .5, (t - 1) / T - .5."""
    time = torch.full_like(known, (t - 1) / iterations - 0.5)
    return torch.cat([image, known - 0.5, now - 0.5, uncertainty - 0.5, time], 1)


def _spread(x: Tensor, group: int = 4) -> Tensor:
    """Minibatch standard deviation: how different the pictures of a group are, as one more channel."""
    count = math.gcd(x.shape[0], group)
    groups = x.reshape(count, -1, *x.shape[1:])
    spread = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    return spread.repeat(count)[:, None, None, None].expand(-1, 1, *x.shape[2:])


def _normalised(z: Tensor) -> Tensor:
    return z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)


def _pad(maps: Tensor, stride: int) -> Tensor:
    """To multiples of `stride`, at least two of them, by reflection; what is too small to reflect repeats its edge."""
    need = [max(2 * stride, -(-side // stride) * stride) - side for side in maps.shape[2:]]
    mode = "reflect" if need[0] < maps.shape[2] and need[1] < maps.shape[3] else "replicate"
    return F.pad(maps, (0, need[1], 0, need[0]), mode=mode) if any(need) else maps
