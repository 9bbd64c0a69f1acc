"""GradPaint's two losses, closed forms with their gradients: how far an estimate is from the known pixels, and across the rim.

In the formulas m: 1 = known (the complement of the mask elsewhere in this library). "(B, C, ...)" is a picture (B, C, h, w) or a video
(B, C, T, h, w); its map m is (B, 1, ...). In a video the rim is where m changes from pixel to pixel or from frame to frame.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_mse(error: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """L_mse = sum m e^2 / (C |m|) of error e = x0 - y (B, C, ...) and known m (B, 1, ...): (B,), and its gradient to e."""
    count = (known.flatten(1).sum(1) * error.shape[1]).clamp(min=1e-8)
    return (known * error.square()).flatten(1).sum(1) / count, 2 * known * error / append_dims(count, error)


def alignment(picture: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """L_al = sum |m_p - m_q| (c_p - c_q)^2 / (C count) over neighbours p, q of c (B, C, ...): (B,), and its gradient to c."""
    loss, count, gradient = 0, 0, torch.zeros_like(picture)
    for axis in range(2, picture.ndim):
        weight, jump = known.diff(dim=axis).abs(), picture.diff(dim=axis)
        loss = loss + (weight * jump.square()).flatten(1).sum(1)
        count = count + weight.flatten(1).sum(1) * picture.shape[1]
        add_transposed_diff(2 * weight * jump, axis, gradient)
    count = count.clamp(min=1e-8)
    return loss / count, gradient / append_dims(count, gradient)


def add_transposed_diff(jump: Tensor, axis: int, out: Tensor) -> None:
    """Add the transpose of `diff` along an axis, of jumps between neighbours, to `out`."""
    out.narrow(axis, 1, jump.shape[axis]).add_(jump)
    out.narrow(axis, 0, jump.shape[axis]).sub_(jump)


def rim_jump(picture: Tensor, known: Tensor) -> Tensor:
    """Mean size of the jumps between neighbours across the rim, weighted |m_p - m_q| as in L_al: (B,). Either side may be 1."""
    return mean_jump(picture, known, lambda p, q: (p - q).abs())


def natural_jump(picture: Tensor, known: Tensor) -> Tensor:
    """What `rim_jump` would be across an invisible rim: (B,), the mean over known pixels within 2 of the hole."""
    return mean_jump(picture, known * dilate(1 - known, 2), torch.mul)


def mean_jump(picture: Tensor, mask: Tensor, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Mean absolute difference (B,) between neighbours of (B, C, ...), by weights: `pick` of the mask's (B, 1, ...) values there."""
    total, count = 0, 0
    for axis in range(2, picture.ndim):
        length = picture.shape[axis] - 1
        weight = pick(mask.narrow(axis, 1, length), mask.narrow(axis, 0, length))
        total = total + (picture.diff(dim=axis).abs() * weight).flatten(1).sum(1)
        count = count + weight.flatten(1).sum(1) * picture.shape[1]
    return total / count.clamp(min=1e-8)


class Colours:
    """Where the alignment loss looks: at the values themselves, or at colours that are a linear map of them.

    Args:
        matrix: (k, C) from a latent pixel's C values to k colours; a constant offset does not matter to differences.
    """

    def __init__(self, matrix: Tensor | None = None):
        self.matrix = matrix

    def to_colours(self, values: Tensor) -> Tensor:
        """Colours of (B, C, ...), at any size."""
        return values if self.matrix is None else torch.einsum("kc,bc...->bk...", self.matrix.to(values), values)

    def vjp(self, values: Tensor, gradient: Tensor) -> Tensor:
        """J^T gradient: from a gradient to the colours of `values` to one to the values."""
        return gradient if self.matrix is None else torch.einsum("kc,bk...->bc...", self.matrix.to(values), gradient)

    def jvp(self, values: Tensor, move: Tensor) -> Tensor:
        """J move: how the colours change when the values move, to first order."""
        return self.to_colours(move)


def dilate(hole: Tensor, band: int) -> Tensor:
    """1 within `band` pixels of a hole (B, 1, ...), in each frame alone, 0 elsewhere; 1 everywhere for a band of 0."""
    if band == 0:
        return torch.ones_like(hole)
    frames = (hole > 0).to(hole).flatten(0, -3)[:, None]
    rows = F.max_pool2d(frames, (2 * band + 1, 1), 1, (band, 0))  # a square is its rows' columns: 2 band steps for a pixel, not band^2
    return F.max_pool2d(rows, (1, 2 * band + 1), 1, (0, band)).view(hole.shape)


def rms(values: Tensor) -> Tensor:
    """Root mean square of each picture: (B,)."""
    return values.square().flatten(1).mean(1).sqrt()


def append_dims(values: Tensor, like: Tensor) -> Tensor:
    """(B,) as (B, 1, ...), with as many axes as `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
