"""Measures of how good a fill is.

Pictures are (B, 3, H, W) in [0, 1], masks (B, 1, H, W) with 1 = hole; every measure of a fill returns (B,) float32.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .atomic import atomic_write
from .boxes import bounding_box
from .losses import mean_jump, rim_jump


def hole_rmse(out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Root mean squared error over the hole's pixels."""
    return _mean((out - truth).square(), mask > 0).sqrt()


def ring_rmse(out: Tensor, truth: Tensor, mask: Tensor, width: int = 1) -> Tensor:
    """Root mean squared error over the ring: the hole's pixels with a known pixel at most `width` away (1: among the eight neighbours)."""
    known = F.max_pool2d((mask == 0).to(out), 2 * width + 1, 1, width)
    return _mean((out - truth).square(), (mask > 0) & (known > 0)).sqrt()


def psnr(out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over the hole's pixels, in dB."""
    return -20 * hole_rmse(out, truth, mask).log10()


def seam(out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean jump between neighbours across the hole's rim, relative to that of the true picture: 1 is natural."""
    return _relative(rim_jump, out, truth, mask)


def texture(out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Energy of fine detail (the squared Laplacian) in the hole, relative to that of the true picture: near 0 for a flat fill."""
    return _detail(out, mask) / _detail(truth, mask).clamp(min=1e-9)


def variation(out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Total variation (the mean jump between neighbours, at least one of them in the hole), relative to that of the true picture."""
    return _relative(lambda image, hole: mean_jump(image, hole, torch.maximum), out, truth, mask)


def ssim(out: Tensor, truth: Tensor, mask: Tensor, window: int = 7) -> Tensor:
    """Structural similarity (Wang et al. 2004, Eq. 13) in uniform windows, averaged over the hole's pixels and the channels.

    As in scikit-image: unbiased (co)variances, pictures mirrored beyond their edges.
    """
    count, c1, c2 = window**2, 0.01**2, 0.03**2
    hole = mask.cpu() > 0
    if not hole.any():
        return out.new_zeros(len(out))
    box = bounding_box(hole.flatten(0, 1).any(0))
    near = replace(box, height=box.height + window - 1, width=box.width + window - 1)  # of the padded picture
    x, y = (near.cut(_mirror(picture.cpu(), window // 2)).double() for picture in (out, truth))
    mean = lambda maps: F.avg_pool2d(maps, window, 1)
    mx, my = mean(x), mean(y)
    covariance = lambda a, b, ma, mb: count / (count - 1) * (mean(a * b) - ma * mb)
    vx, vy, vxy = covariance(x, x, mx, mx), covariance(y, y, my, my), covariance(x, y, mx, my)
    similarity = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx.square() + my.square() + c1) * (vx + vy + c2))
    return _mean(similarity, box.cut(hole)).to(out)


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation of two tensors of equal shape. Ties are ranked in the order in which they come."""
    ranks = torch.stack([values.flatten().argsort(stable=True).argsort().double() for values in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])


def _relative(measure: Callable[[Tensor, Tensor], Tensor], out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """measure(picture, hole) of the fill, divided by that of the true picture."""
    hole = (mask > 0).to(out)
    return measure(out, hole) / measure(truth, hole).clamp(min=1e-6)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of each picture's values where `where` is true."""
    where = where.expand_as(values)
    return (values * where).flatten(1).sum(1) / where.flatten(1).sum(1).clamp(min=1)


def _mirror(image: Tensor, margin: int) -> Tensor:
    """Pad a picture by its mirror image, edge pixels repeated ("symmetric" in NumPy)."""
    for axis in (2, 3):
        missing = margin
        while missing > 0:  # a side shorter than the margin is mirrored several times
            side = image.shape[axis]
            more = min(missing, side)
            first, last = image.narrow(axis, 0, more), image.narrow(axis, side - more, more)
            image = torch.cat([first.flip(axis), image, last.flip(axis)], axis)
            missing -= more
    return image


def save_table(rows: dict[str, dict[str, float]], path: Path) -> None:
    """Write a table as JSON, and print it as Markdown.

    Raises:
        ValueError: the file cannot be written.
    """
    atomic_write(path, lambda temporary: Path(temporary).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8"))
    print(markdown(rows))


def markdown(rows: dict[str, dict[str, float]]) -> str:
    """A Markdown table from named rows; a row may lack columns of others."""
    heads = list(dict.fromkeys(head for row in rows.values() for head in row))
    lines = [f"|  | {' | '.join(heads)} |", "|---" + "|---" * len(heads) + "|"]
    for name, row in rows.items():
        values = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in (row.get(head, "") for head in heads))
        lines.append(f"| {name.replace('|', '&#124;')} | {' | '.join(values)} |")
    return "\n".join(lines)


def _detail(image: Tensor, mask: Tensor) -> Tensor:
    """Mean squared Laplacian in the hole."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).to(image).expand(3, 1, 3, 3)
    return _mean(F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=3).square(), mask > 0)
