"""StyleGAN2's layers, as SDM is built of (Karras et al. 2020), and SDM's uncertainty-guided attention (SDM 3.2, Eq. 6).

Equalised learning rate: weights are drawn from N(0, 1) and scaled when used, so that every layer learns at the same pace.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAIN = math.sqrt(2)  # of a leaky rectifier of slope 0.2, about


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2) * GAIN


def _blur_kernel(x: Tensor, gain: float) -> Tensor:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype) / 8
    return (line[:, None] * line * gain).expand(x.shape[1], 1, 4, 4)


def blur(x: Tensor, pad: tuple[int, int], gain: float = 1.0, stride: int = 1) -> Tensor:
    """The [1, 3, 3, 1] filter. pad: zeros before and after in both directions."""
    return F.conv2d(F.pad(x, (*pad, *pad)), _blur_kernel(x, gain), stride=stride, groups=x.shape[1])


def double(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W), smoothly."""
    zeros = torch.zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3], device=x.device, dtype=x.dtype)
    zeros[..., ::2, ::2] = x
    return blur(zeros, (2, 1), 4.0)


class Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0, active: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate, self.active = rate / math.sqrt(inputs), rate, active

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight * self.scale, self.bias * self.rate)
        return activate(x) if self.active else x


class Conv(nn.Module):
    """kernel 1 or 3, at full or, with `down`, at half size."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, down: bool = False, bias: bool = True, active: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.down, self.active = 1 / math.sqrt(inputs * kernel**2), down, active

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.shape[2]
        if self.down and kernel == 1:
            x = F.conv2d(blur(x, (1, 1), stride=2), self.weight * self.scale, self.bias)
        elif self.down:
            x = F.conv2d(blur(x, (2, 2)), self.weight * self.scale, self.bias, stride=2)
        else:
            x = F.conv2d(x, self.weight * self.scale, self.bias, padding=kernel // 2)
        return activate(x) if self.active else x


class ModulatedConv(nn.Module):
    """A convolution whose inputs a style scales: w' = w s_i, w'' = w' / sqrt(sum w'^2).

    Textbook code makes a weight for every picture and runs a grouped convolution. The same numbers come from one shared weight,
    with the inputs scaled by s before and the outputs by 1 / sqrt(sum (w s)^2) after, at the cost of a plain convolution.
    """

    def __init__(self, inputs: int, outputs: int, style: int, kernel: int = 3, up: bool = False, demodulate: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = Linear(style, inputs, bias=1.0)
        self.scale, self.up, self.demodulate = 1 / math.sqrt(inputs * kernel**2), up, demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Without bias and activation, which come after a skip is added."""
        s, weight = self.affine(style), self.weight * self.scale
        x = x * s[:, :, None, None]
        if self.up:
            x = blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1), 4.0)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
        if self.demodulate:
            x = x * torch.rsqrt(s.square() @ weight.square().sum((2, 3)).T + 1e-8)[:, :, None, None]
        return x

    def finish(self, x: Tensor) -> Tensor:
        return activate(x + self.bias[:, None, None])


class Residual(nn.Module):
    """Two convolutions beside a straight way; the sum is scaled to keep its size."""

    def __init__(self, inputs: int, outputs: int, down: bool = False):
        super().__init__()
        self.first, self.second = Conv(inputs, outputs), Conv(outputs, outputs, down=down)
        self.skip = Conv(inputs, outputs, 1, down=True, bias=False, active=False) if down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.second(self.first(x)) + self.skip(x)) * math.sqrt(0.5)


class UncertaintyAttention(nn.Module):
    """Self-attention that may look less at uncertain places: logits q k^T / sqrt(d) + b, one b = F(u) per key (SDM Eq. 6).

    F is a small network on the uncertainty map; its last layer is 0 at the start, so learning begins from plain attention. With
    `guided` off b stays 0 (the paper's ablation).
    """

    def __init__(self, channels: int, heads: int, guided: bool = True, width: int = 64):
        super().__init__()
        self.heads, self.guided = heads, guided
        self.query, self.key, self.value, self.out = (Conv(channels, channels, 1, bias=False, active=False) for _ in range(4))
        self.bias = nn.Sequential(Conv(1, width), Conv(width, width), Conv(width, width), Conv(width, heads, active=False))
        nn.init.zeros_(self.bias[-1].weight)

    def forward(self, x: Tensor, uncertainty: Tensor) -> Tensor:
        """x (B, C, h, w), uncertainty (B, 1, H, W) in [0, 1]."""
        shape = x.shape
        split = lambda maps: maps.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)  # (B, heads, h w, d)
        flat = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)
        mask = None
        if self.guided:
            mask = self.bias(F.adaptive_avg_pool2d(uncertainty, shape[2:])).flatten(2)[:, :, None].to(x.dtype)
            mask = mask.expand(-1, -1, mask.shape[-1], -1)
        seen = F.scaled_dot_product_attention(split(self.query(flat)), split(self.key(flat)), split(self.value(x)), mask)
        return (x + self.out(seen.transpose(2, 3).flatten(1, 2).unflatten(2, shape[2:]))) * math.sqrt(0.5)
