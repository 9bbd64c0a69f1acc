"""How deep a pixel lies in a hole."""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor


def touches(bad: Tensor, patch: int) -> Tensor:
    """Whether the patch that starts at a pixel has any bad one: (h, w) bool -> (h - p + 1, w - p + 1) bool."""
    for axis in (0, 1):
        count = bad.shape[axis] - patch + 1
        bad = reduce(torch.logical_or, (bad.narrow(axis, k, count) for k in range(patch)))
    return bad


def depth_of(hole: Tensor, most: int = 24) -> Tensor:
    """Steps (chessboard) from each hole pixel (h, w) to the nearest known one, `most` at most; 0 outside the hole."""
    depth = torch.zeros(hole.shape, device=hole.device)
    if not hole.any():
        return depth
    rows, columns = (hole.any(axis).nonzero()[:, 0] for axis in (1, 0))
    box = slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2), slice(max(int(columns[0]) - 1, 0), int(columns[-1]) + 2)
    rest = hole[box]
    for _ in range(most):
        depth[box] += rest
        if not rest.any():
            break
        rest = ~touches(F.pad(~rest, (1,) * 4), 3)  # beyond the box's border: not known
    return depth
