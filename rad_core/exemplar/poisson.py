"""Blending of copied pixels: the colours u whose gradients are their sources' (screened Poisson equation, Perez et al. 2003).

    min_u sum_(h, n) w_hn |u_h - u_n - g_hn|^2 + eps sum_h |u_h - y_h|^2,   w_hn = 1 / (1 + |y_h - y_n - g_hn|^2 / rho^2)

over pairs of neighbours; u is fixed outside the hole. g_hn is the stronger of the two sources' own differences there (mixed gradients,
Eq. 12): their mean would blur. Beyond the rim only the hole pixel's source has one. w spares what no change of light explains: a jump
much above rho stays where it is, instead of bleeding into the fill (the Cauchy, or Lorentzian, weights of robust statistics).
"""

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
    width, pixels = level.width, level.pixels
    count, total, most = len(pixels), level.height * width, len(level.state)
    place = torch.full((total,), count, dtype=torch.int32, device=pixels.device)  # of a hole pixel in the list
    place[pixels] = torch.arange(count, dtype=torch.int32, device=pixels.device)
    y = level.state[sources, :3]
    column = pixels % width
    degree, right, neighbours, weights = y.new_full((count, 1), eps), eps * y, [], []
    for shift, exists in (
        (1, column < level.picture_width - 1),
        (-1, column > 0),
        (width, pixels < total - width),
        (-width, pixels >= width),
    ):
        beside = torch.where(exists, pixels + shift, pixels)
        exists = exists & ~level.excluded[beside]
        slot = torch.where(exists, place[beside], count).long()
        inner = exists & (slot < count)
        onward = (sources + shift).clamp(0, most - 1)  # the pixel's source, continued
        back = torch.where(inner, (sources[slot.clamp(max=count - 1)] - shift).clamp(0, most - 1), 0)  # the neighbour's, continued
        ours = _continues(level, sources, onward)[:, None]
        theirs = (inner & _continues(level, sources[slot.clamp(max=count - 1)], back))[:, None]
        colour = lambda index: level.state[index, :3]
        other = torch.where(inner[:, None], y[slot.clamp(max=count - 1)], colour(beside))
        own, other_own = y - colour(onward), colour(back) - other
        stronger = ~theirs | (ours & (own.square().sum(1, keepdim=True) >= other_own.square().sum(1, keepdim=True)))
        g = torch.where(ours | theirs, torch.where(stronger, own, other_own), y - other)
        weight = exists[:, None] / (1 + (y - other - g).square().sum(1, keepdim=True) / rho**2)
        degree = degree + weight
        right = right + weight * torch.where(inner[:, None], g, g + other)
        neighbours.append(slot)
        weights.append(weight)
        poll()
    return _solve(y, right, degree, torch.stack(neighbours, 1), torch.cat(weights, 1), steps, poll)


def _continues(level: Level, source: Tensor, beside: Tensor) -> Tensor:
    """Whether `beside` is a known pixel next to `source` on the same page."""
    rows = level.local_row[source // level.width] - level.local_row[beside // level.width]
    return level.known[beside] & (rows.abs() + (source % level.width - beside % level.width).abs() == 1)


def _solve(u: Tensor, right: Tensor, degree: Tensor, neighbours: Tensor, weights: Tensor, steps: int, poll: Poll) -> Tensor:
    """Conjugate gradients, preconditioned by the diagonal, from u (n, 3)."""
    flat, zero, weights = neighbours.flatten(), u.new_zeros(1, 3), weights[:, None]
    apply = lambda v: degree * v - torch.bmm(weights, torch.cat([v, zero]).index_select(0, flat).view(-1, 4, 3))[:, 0]
    r = right - apply(u)
    z = r / degree
    p, rz = z, (r * z).sum(0)
    first = rz
    for step in range(steps):
        ap = apply(p)
        a = rz / (p * ap).sum(0).clamp(min=1e-12)
        u, r = u + a * p, r - a * ap
        z = r / degree
        rz, before = (r * z).sum(0), rz
        if step % 8 == 7 and bool((rz <= ENOUGH * first).all()):
            break
        p = z + rz / before.clamp(min=1e-12) * p
        poll()
    return u
