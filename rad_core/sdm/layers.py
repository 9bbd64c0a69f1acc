"""StyleGAN2's layers, as SDM is built of (Karras et al. 2020), and SDM's uncertainty-guided attention (SDM 3.2, Eq. 6).

Equalised learning rate: weights are drawn from N(0, 1) and scaled when used, so that every layer learns at the same pace.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAIN = math.sqrt(2)  # keeps the size of what a leaky rectifier of slope 0.2 lets through, about
# It and the factors of residual sums are put into weights and biases, since c max(x, 0.2 x) = max(c x, 0.2 c x): a pass less over maps.


def activate(x: Tensor) -> Tensor:
    """The leaky rectifier, on values that are scaled by GAIN already."""
    return F.leaky_relu_(x, 0.2)


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
        gain = GAIN if active else 1.0
        self.scale, self.rate, self.active = gain * rate / math.sqrt(inputs), gain * rate, active

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight * self.scale, self.bias * self.rate)
        return activate(x) if self.active else x


class Conv(nn.Module):
    """kernel 1 or 3, at full or, with `down`, at half size. The result is `gain` times as large."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, down: bool = False, bias: bool = True, active: bool = True, gain: float = 1.0
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain = gain * (GAIN if active else 1.0)
        self.scale, self.down, self.active = self.gain / math.sqrt(inputs * kernel**2), down, active

    def forward(self, x: Tensor) -> Tensor:
        kernel, weight = self.weight.shape[2], self.weight * self.scale
        bias = None if self.bias is None else self.bias * self.gain
        if self.down and kernel == 1:
            x = F.conv2d(blur(x, (1, 1), stride=2), weight, bias)
        elif self.down:
            x = F.conv2d(blur(x, (2, 2)), weight, bias, stride=2)
        else:
            x = F.conv2d(x, weight, bias, padding=kernel // 2)
        return activate(x) if self.active else x


class ModulatedConv(nn.Module):
    """A convolution whose inputs a style scales: w' = w s_i, w'' = w' / sqrt(sum w'^2).

    Textbook code makes a weight for every picture and runs a grouped convolution. The same numbers come from one shared weight,
    with the inputs scaled by s before and the outputs by 1 / sqrt(sum (w s)^2) after, at the cost of a plain convolution. The output
    layer (`active` off) is not divided.
    """

    def __init__(self, inputs: int, outputs: int, style: int, kernel: int = 3, up: bool = False, active: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = Linear(style, inputs, bias=1.0)
        self.scale, self.up, self.active = 1 / math.sqrt(inputs * kernel**2), up, active

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        s, weight = self.affine(style), self.weight * self.scale
        x = x * s[:, :, None, None]
        if self.up:
            x = blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1), 4.0)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
        if not self.active:
            return x + self.bias[:, None, None]
        size = torch.rsqrt(s.square() @ weight.square().sum((2, 3)).T + 1e-8)
        return activate(torch.addcmul(GAIN * self.bias[:, None, None], x, GAIN * size[:, :, None, None]))


class Residual(nn.Module):
    """Two convolutions beside a straight way; the sum is scaled by sqrt(0.5) to keep its size."""

    def __init__(self, inputs: int, outputs: int, down: bool = False):
        super().__init__()
        half = math.sqrt(0.5)
        self.first, self.second = Conv(inputs, outputs), Conv(outputs, outputs, down=down, gain=half)
        self.skip = Conv(inputs, outputs, 1, down=True, bias=False, active=False, gain=half) if down else None

    def forward(self, x: Tensor) -> Tensor:
        changed = self.second(self.first(x))
        return torch.add(changed, x, alpha=math.sqrt(0.5)) if self.skip is None else changed + self.skip(x)


class UncertaintyAttention(nn.Module):
    """Self-attention that may look less at uncertain places: logits q k^T / sqrt(d) + b, one b = F(u) per key (SDM Eq. 6).

    F is a small network on the uncertainty map; its last layer is 0 at the start, so learning begins from plain attention. With
    `guided` off b stays 0 (the paper's ablation).
    """

    def __init__(self, channels: int, heads: int, guided: bool = True, width: int = 64):
        super().__init__()
        self.heads, self.guided = heads, guided
        self.query, self.key, self.value = (Conv(channels, channels, 1, bias=False, active=False) for _ in range(3))
        self.out = Conv(channels, channels, 1, bias=False, active=False, gain=math.sqrt(0.5))
        self.bias = nn.Sequential(Conv(1, width), Conv(width, width), Conv(width, width), Conv(width, heads, active=False))
        nn.init.zeros_(self.bias[-1].weight)

    def forward(self, x: Tensor, uncertainty: Tensor) -> Tensor:
        """x (B, C, h, w), uncertainty (B, 1, H, W) in [0, 1]."""
        size = x.shape[2:]
        split = lambda maps: maps.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)  # (B, heads, h w, d)
        flat = x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-8).to(x.dtype)  # squares overflow float16
        q, k, v = split(self.query(flat)), split(self.key(flat)), split(self.value(x))
        scale = 1 / math.sqrt(q.shape[-1])
        if self.guided:
            # q k^T + b is the product with one channel more, 1 in q and b in k. A learned mask instead would rule out the fast kernels,
            # which also want a multiple of 8 channels: the others are 0.
            b = self.bias(F.adaptive_avg_pool2d(uncertainty, size)).flatten(2)[..., None].to(k.dtype)
            more = lambda maps: F.pad(maps, (0, 7 - q.shape[-1] % 8))
            one, bias, zero = more(torch.ones_like(b)), more(b / scale), more(torch.zeros_like(b))
            q, k, v = torch.cat([q, one], -1), torch.cat([k, bias], -1), torch.cat([v, zero], -1)
        seen = F.scaled_dot_product_attention(q, k, v, scale=scale)[..., : x.shape[1] // self.heads]
        return torch.add(self.out(seen.transpose(2, 3).flatten(1, 2).unflatten(2, size)), x, alpha=math.sqrt(0.5))
