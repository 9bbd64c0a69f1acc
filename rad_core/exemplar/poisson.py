"""Blending of copied pixels: the colours u whose gradients are their sources' (screened Poisson equation, Perez et al. 2003).

    min_u sum_(a, b) w_ab |u_a - u_b - g_ab|^2 + eps sum_h |u_h - y_h|^2,   w_ab = 1 / (1 + |y_a - y_b - g_ab|^2 / rho^2)

over pairs of neighbours; u is fixed outside the hole. g_ab is the stronger of the two sources' own differences there (mixed gradients,
Eq. 12): their mean would blur. Beyond the rim only the hole pixel's source has one. w spares what no change of light explains: a jump
much above rho stays where it is, instead of bleeding into the fill (the Cauchy, or Lorentzian, weights of robust statistics).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .level import Level
from .progress import Poll, no_poll

ENOUGH = 1e-5  # of the first squared residual


def blend(level: Level, sources: Tensor, steps: int, eps: float, rho: float, poll: Poll = no_poll) -> Tensor:
    """Colours of the level's pixels.

    Args:
        sources: (P,) flat indices of the pixels copied.
        steps: of conjugate gradients, each reaching one pixel farther.
        eps: how strongly colours are held to the copied ones.
        rho: jumps above it are not blended away, in the unit of the colours; infinity blends all.
        poll: called in every step; raise from it to cancel.

    Returns:
        (P, 3) scaled colours, as in level.state.
    """
    index = _box(level)
    hole, source = torch.zeros_like(index, dtype=torch.bool), index.clone()
    row, column = level.pixels // level.width - index[0, 0] // level.width, level.pixels % level.width - index[0, 0] % level.width
    hole[row, column], source[row, column] = True, sources
    y = level.state[source.flatten(), :3].view(*index.shape, 3).movedim(-1, 0).contiguous()
    pairs = [_pairs(level, y, index, source, hole, axis, rho) for axis in (1, 2)]
    u = _solve(y, pairs, hole, steps, eps, poll)
    return u[:, row, column].T.contiguous()


def _box(level: Level) -> Tensor:
    """Flat indices (h, w) of the box around the level's pixels and one pixel more, where the picture has it."""
    rows, columns = level.pixels // level.width, level.pixels % level.width
    span = lambda values, size: torch.arange(max(int(values.min()) - 1, 0), min(int(values.max()) + 2, size), device=values.device)
    return span(rows, level.height)[:, None] * level.width + span(columns, level.picture_width)


@dataclass
class Pairs:
    """All pairs of neighbours (a, b) along an axis: their weights (1, h, w) and wanted differences u_a - u_b (3, h, w)."""

    axis: int
    weight: Tensor
    wanted: Tensor

    def difference(self, u: Tensor) -> Tensor:
        """u_a - u_b."""
        size = u.shape[self.axis] - 1
        return u.narrow(self.axis, 0, size) - u.narrow(self.axis, 1, size)

    def scatter(self, values: Tensor, out: Tensor) -> None:
        """The transpose of `difference`, added to `out`."""
        size = out.shape[self.axis] - 1
        out.narrow(self.axis, 0, size).add_(values)
        out.narrow(self.axis, 1, size).sub_(values)


def _pairs(level: Level, y: Tensor, index: Tensor, source: Tensor, hole: Tensor, axis: int, rho: float) -> Pairs:
    step, size = (level.width, 1)[axis - 1], index.shape[axis - 1] - 1
    first, second = (lambda map_, k=k: map_.narrow(map_.ndim - 3 + axis, k, size) for k in (0, 1))
    ours, own = _own(level, first(source), step, first(y))  # y_a less what follows a's source
    theirs, other = _own(level, second(source), -step, second(y))
    ours, theirs = ours & first(hole), theirs & second(hole)
    usable = hole | ~level.excluded[index]
    exists = first(usable) & second(usable) & (first(hole) | second(hole))
    stronger = ours & (~theirs | (own.square().sum(0) >= other.square().sum(0)))
    copied = first(y) - second(y)
    wanted = torch.where(stronger, own, torch.where(theirs, -other, copied))
    return Pairs(axis, exists / (1 + (copied - wanted).square().sum(0, keepdim=True) / rho**2), wanted)


def _own(level: Level, source: Tensor, step: int, colour: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the pixel beside each source (h, w) is known and on the same page, and the source's colour (3, h, w) less that one's."""
    beside = (source + step).clamp(0, len(level.state) - 1)
    rows = level.local_row[source // level.width] - level.local_row[beside // level.width]
    known = level.known[beside] & (rows.abs() + (source % level.width - beside % level.width).abs() == 1)
    return known, colour - level.state[beside.flatten(), :3].view(*source.shape, 3).movedim(-1, 0)


def _solve(y: Tensor, pairs: list[Pairs], hole: Tensor, steps: int, eps: float, poll: Poll) -> Tensor:
    """Conjugate gradients, preconditioned by the diagonal, from y (3, h, w)."""
    hole = hole.to(y.dtype)

    def normal(values: list[Tensor], out: Tensor) -> Tensor:
        """The pairs' values, weighted and scattered to the hole's pixels."""
        for pair, value in zip(pairs, values, strict=True):
            pair.scatter(value.mul_(pair.weight), out)
        return out.mul_(hole)

    degree = torch.full_like(y[:1], eps)
    for pair in pairs:
        size = degree.shape[pair.axis] - 1
        degree.narrow(pair.axis, 0, size).add_(pair.weight)
        degree.narrow(pair.axis, 1, size).add_(pair.weight)
    degree.clamp_(min=1e-6)  # pixels without a pair, where eps is 0
    u = y.clone()
    r = normal([pair.wanted - pair.difference(y) for pair in pairs], torch.zeros_like(y))
    z = r / degree
    p, rz = z.clone(), (r * z).sum((1, 2), keepdim=True)
    first = rz
    for step in range(steps):
        ap = normal([pair.difference(p) for pair in pairs], eps * p)
        a = rz / (p * ap).sum((1, 2), keepdim=True).clamp(min=1e-12)
        u.addcmul_(a, p)
        r.addcmul_(a, ap, value=-1)
        torch.div(r, degree, out=z)
        rz, before = (r * z).sum((1, 2), keepdim=True), rz
        if step % 8 == 7 and bool((rz <= ENOUGH * first).all()):
            break
        p.mul_(rz / before.clamp(min=1e-12)).add_(z)
        poll()
    return u
