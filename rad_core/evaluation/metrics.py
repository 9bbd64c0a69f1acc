"""How good a fill is. Pictures (B, 3, H, W) in [0, 1], masks (B, 1, H, W) with 1 = hole; every metric gives (B,)."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import write_whole


def hole_rmse(out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Root mean squared error over the hole's pixels."""
    return _mean((out - truth).square(), mask > 0).sqrt()


def ring_rmse(out: Tensor, truth: Tensor, mask: Tensor, width: int = 1) -> Tensor:
    """Root mean squared error over the hole's pixels that have a known one within `width` pixels (of the eight neighbours: 1)."""
    known = F.max_pool2d((mask == 0).to(out), 2 * width + 1, 1, width)
    return _mean((out - truth).square(), (mask > 0) & (known > 0)).sqrt()


def psnr(out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over the hole's pixels, in dB."""
    return -20 * hole_rmse(out, truth, mask).log10()


def seam(out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean jump between neighbours across the hole's rim, as a multiple of the true picture's: 1 is natural."""
    return rim_jump(out, mask) / rim_jump(truth, mask).clamp(min=1e-6)


def texture(out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Energy of fine detail (Laplacian, squared) in the hole, as a multiple of the true picture's there: flat fills go to 0."""
    return _detail(out, mask) / _detail(truth, mask).clamp(min=1e-9)


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's: the correlation of the ranks of two sets of values, of any equal shape. Ties are ranked as they come."""
    ranks = torch.stack([values.flatten().argsort(stable=True).argsort().double() for values in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])


def _mean(values: Tensor, where: Tensor) -> Tensor:
    where = where.expand_as(values)
    return (values * where).flatten(1).sum(1) / where.flatten(1).sum(1).clamp(min=1)


def rim_jump(image: Tensor, mask: Tensor) -> Tensor:
    """Mean difference between neighbours on the two sides of the hole's rim."""
    hole, total, count = mask > 0, 0, 0
    for axis in (2, 3):
        rim = hole.narrow(axis, 1, hole.shape[axis] - 1) != hole.narrow(axis, 0, hole.shape[axis] - 1)
        total = total + (image.diff(dim=axis).abs().mean(1, keepdim=True) * rim).flatten(1).sum(1)
        count = count + rim.flatten(1).sum(1)
    return total / count.clamp(min=1)


def save_table(rows: dict[str, dict[str, float]], path: Path) -> None:
    """Write a table as JSON, and print it as Markdown."""
    write_whole(path, lambda temporary: Path(temporary).write_text(json.dumps(rows, indent=1) + "\n"))
    heads = list(next(iter(rows.values())))
    print(f"|  | {' | '.join(heads)} |\n|---" + "|---" * len(heads) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()) + " |")


def _detail(image: Tensor, mask: Tensor) -> Tensor:
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(3, 1, 3, 3)
    return _mean(F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=3).square(), mask > 0)
