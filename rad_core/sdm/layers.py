"""The layers of StyleGAN2 that SDM is built of (Karras et al. 2020), and SDM's uncertainty-guided attention (SDM 3.2, Eq. 6).

Equalised learning rate: weights are drawn from N(0, 1) and scaled when they are used, so that every layer learns at the same pace.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images import mean_pool

# StyleGAN2 multiplies by sqrt(2) after a leaky ReLU of slope 0.2, which about restores the variance, and residual sums by sqrt(0.5).
# Both factors go into the weights and biases here, since c max(x, 0.2 x) = max(c x, 0.2 c x): one pass less over the features.
GAIN = math.sqrt(2)


def lrelu(x: Tensor) -> Tensor:
    """Leaky ReLU, in place, of values that GAIN has scaled already."""
    return F.leaky_relu_(x, 0.2)


def _blur_kernel(x: Tensor, gain: float) -> Tensor:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype) / 8
    return (line[:, None] * line * gain).repeat(x.shape[1], 1, 1, 1)


def blur(x: Tensor, pad: tuple[int, int], gain: float = 1.0, stride: int = 1) -> Tensor:
    """The [1, 3, 3, 1] filter; `pad` zeros before and after, in both directions."""
    return F.conv2d(F.pad(x, (*pad, *pad)), _blur_kernel(x, gain), stride=stride, groups=x.shape[1])


def upsample2x(x: Tensor) -> Tensor:
    """Smooth upsampling, (B, C, H, W) -> (B, C, 2H, 2W)."""
    zeros = torch.zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3], device=x.device, dtype=x.dtype)
    zeros[..., ::2, ::2] = x
    return blur(zeros, (2, 1), 4.0)


class Linear(nn.Module):
    """A linear layer with equalised learning rate.

    Args:
        bias: its initial value.
        lr_multiplier: scales the learning rate.
        activation: apply the leaky ReLU.
    """

    def __init__(self, in_features: int, out_features: int, bias: float = 0.0, lr_multiplier: float = 1.0, activation: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_multiplier))
        self.activation = activation
        self.bias_scale = lr_multiplier * (GAIN if activation else 1.0)
        self.weight_scale = self.bias_scale / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight * self.weight_scale, self.bias * self.bias_scale)
        return lrelu(x) if self.activation else x


class Conv(nn.Module):
    """A convolution with equalised learning rate.

    Args:
        kernel: 1 or 3.
        down: halve the resolution.
        activation: apply the leaky ReLU.
        gain: multiplies the result.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        down: bool = False,
        bias: bool = True,
        activation: bool = True,
        gain: float = 1.0,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.down, self.activation = down, activation
        self.bias_scale = gain * (GAIN if activation else 1.0)
        self.weight_scale = self.bias_scale / math.sqrt(in_channels * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        kernel, weight = self.weight.shape[2], self.weight * self.weight_scale
        bias = None if self.bias is None else self.bias * self.bias_scale
        if self.down and kernel == 1:
            x = F.conv2d(blur(x, (1, 1), stride=2), weight, bias)
        elif self.down:
            x = F.conv2d(blur(x, (2, 2)), weight, bias, stride=2)
        else:
            x = F.conv2d(x, weight, bias, padding=kernel // 2)
        return lrelu(x) if self.activation else x


class ModulatedConv(nn.Module):
    """A convolution whose input channels a style scales (Karras et al. 2020): w' = w s, demodulated w'' = w' / sqrt(sum w'^2).

    Textbook code makes a weight for every picture and runs a grouped convolution. The same numbers come from one shared weight,
    with the inputs scaled by s before and the outputs by 1 / sqrt(sum (w s)^2) after, at the cost of a plain convolution.

    Args:
        style: size of the style.
        up: double the resolution.
        activation: demodulate and apply the leaky ReLU; off in the output layers.
    """

    def __init__(self, in_channels: int, out_channels: int, style: int, kernel: int = 3, up: bool = False, activation: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.affine = Linear(style, in_channels, bias=1.0)
        self.weight_scale, self.up, self.activation = 1 / math.sqrt(in_channels * kernel**2), up, activation

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x (B, C, H, W), style (B, S)."""
        s, weight = self.affine(style), self.weight * self.weight_scale
        x = x * s[:, :, None, None]
        if self.up:
            x = blur(F.conv_transpose2d(x, weight.transpose(0, 1).contiguous(), stride=2), (1, 1), 4.0)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
        if not self.activation:
            return x + self.bias[:, None, None]
        demodulation = torch.rsqrt(s.square() @ weight.square().sum((2, 3)).T + 1e-8)
        return lrelu(torch.addcmul(GAIN * self.bias[:, None, None], x, GAIN * demodulation[:, :, None, None]))


class Residual(nn.Module):
    """Two convolutions and a skip connection; the sum is scaled by sqrt(0.5), to keep the variance."""

    def __init__(self, in_channels: int, out_channels: int, down: bool = False):
        super().__init__()
        half = math.sqrt(0.5)
        self.first, self.second = Conv(in_channels, out_channels), Conv(out_channels, out_channels, down=down, gain=half)
        self.skip = Conv(in_channels, out_channels, 1, down=True, bias=False, activation=False, gain=half) if down else None

    def forward(self, x: Tensor) -> Tensor:
        branch = self.second(self.first(x))
        return torch.add(branch, x, alpha=math.sqrt(0.5)) if self.skip is None else branch + self.skip(x)


class UncertaintyAttention(nn.Module):
    """Self-attention with logits q k^T / sqrt(d) + b, where b = F(u), one per key, can make uncertain places weigh less (SDM Eq. 6).

    F is a small network on the uncertainty map. Its last layer starts at 0, so training starts from plain attention.

    Args:
        guided: False leaves b at 0 (the paper's ablation).
    """

    def __init__(self, channels: int, heads: int, guided: bool = True):
        super().__init__()
        self.heads, self.guided = heads, guided
        self.query, self.key, self.value = (Conv(channels, channels, 1, bias=False, activation=False) for _ in range(3))
        self.out = Conv(channels, channels, 1, bias=False, activation=False, gain=math.sqrt(0.5))
        width = 64  # channels inside F
        self.bias = nn.Sequential(Conv(1, width), Conv(width, width), Conv(width, width), Conv(width, heads, activation=False))
        nn.init.zeros_(self.bias[-1].weight)

    def forward(self, x: Tensor, uncertainty: Tensor) -> Tensor:
        """x (B, C, h, w), uncertainty (B, 1, H, W) in [0, 1]."""
        size = x.shape[2:]
        split = lambda maps: maps.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)  # (B, heads, h w, d)
        normed = x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-8).to(x.dtype)  # squares overflow float16
        q, k, v = split(self.query(normed)), split(self.key(normed)), split(self.value(x))
        scale = 1 / math.sqrt(q.shape[-1])
        if self.guided:
            # q k^T + b is a product with one more channel, 1 in q and b in k; a learned mask would rule out the fast kernels. These
            # also need a multiple of 8 channels, so zeros are appended.
            b = self.bias(mean_pool(uncertainty, size)).flatten(2)[..., None].to(k.dtype)
            pad = lambda maps: F.pad(maps, (0, 7 - q.shape[-1] % 8))
            ones, bias, zeros = pad(torch.ones_like(b)), pad(b / scale), pad(torch.zeros_like(b))
            q, k, v = torch.cat([q, ones], -1), torch.cat([k, bias], -1), torch.cat([v, zeros], -1)
        attended = F.scaled_dot_product_attention(q, k, v, scale=scale)[..., : x.shape[1] // self.heads]
        return torch.add(self.out(attended.transpose(2, 3).flatten(1, 2).unflatten(2, size)), x, alpha=math.sqrt(0.5))
