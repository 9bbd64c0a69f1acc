"""Where each pixel is copied from, so that seams are not seen: a shift map (Pritch et al. 2009) found by local moves.

Two neighbours h and n with different offsets meet in a seam. It is invisible where both sources agree on both pixels, so its cost is

    |P(h + o_h) - P(h + o_n)|^2 + |P(n + o_h) - P(n + o_n)|^2                      (Kwatra et al. 2003)

and at the rim, where the neighbour n is known, |P(n + o_h) - y_n|^2. The sum over a pixel's neighbours, plus its distance from the vote
|P(h + o_h) - mean_h|^2, falls as pixels take over a neighbour's offset, those of one colour of a chessboard at a time.
"""

import torch
from torch import Tensor

from .level import Level
from .progress import Poll, no_poll

CHUNK = 32768  # pixels at a time


def choose_sources(level: Level, sources: Tensor, weight: float, sweeps: int, poll: Poll = no_poll) -> Tensor:
    """Improve the pixels' sources.

    Args:
        level: its state has the vote's mean at its pixels.
        sources: (P,) flat indices of the pixels copied. weight: of seams against the distance from the vote. sweeps: rounds.

    Returns:
        (P,) flat indices.
    """
    pixels, width, total = level.pixels, level.width, level.height * level.width
    at = torch.arange(total, device=pixels.device)  # a known pixel is its own source
    at[pixels] = sources
    shifts = torch.tensor([1, -1, width, -width], device=pixels.device)
    column = pixels % width
    exists = torch.stack([column < level.picture_width - 1, column > 0, pixels < total - width, pixels >= width], 1)
    beside = torch.where(exists, pixels[:, None] + shifts, pixels[:, None])
    exists &= ~level.excluded[beside]
    hole = level.hole
    odd = (pixels // width + column) % 2
    for sweep in range(2 * sweeps):
        seam = ((at[beside] - beside != (at[pixels] - pixels)[:, None]) & exists & hole[beside]).any(1)
        moving = (seam & (odd == sweep % 2)).nonzero()[:, 0]
        for part in moving.split(CHUNK):
            at[pixels[part]] = _best(level, at, pixels[part], beside[part], exists[part], shifts, weight)
            poll()
    return at[pixels]


def _best(level: Level, at: Tensor, pixels: Tensor, beside: Tensor, exists: Tensor, shifts: Tensor, weight: float) -> Tensor:
    """The source of least cost for each of some pixels (n,), none of them neighbours."""
    most = len(level.state) - 1
    colour = lambda index: level.state.index_select(0, index.flatten())[:, :3].view(*index.shape, 3)
    inner = exists & level.hole[beside]
    theirs = at[beside]  # (n, 4), the neighbours' sources
    candidates = torch.cat([at[pixels][:, None], torch.where(inner, (theirs - shifts).clamp(0, most), at[pixels][:, None])], 1)
    usable = level.known[candidates]
    there, ours = colour(theirs), colour(candidates)  # (n, 4, 3), (n, 5, 3)
    onward = (candidates[:, :, None] + shifts).clamp(0, most)  # (n, 5, 4): candidates, continued to the neighbours
    continued = (level.known[onward] & exists[:, None]).to(there)
    cost = (colour(onward) - there[:, None]).square().sum(3).mul_(continued).sum(2)
    back = usable[:, 1:] & inner  # neighbours' sources, continued to the pixel: candidates 1 to 4
    cost += (ours[:, :, None] - ours[:, None, 1:]).square().sum(3).mul_(back[:, None]).sum(2)
    cost = weight * cost + (ours - colour(pixels)[:, None]).square().sum(2)
    best = cost.masked_fill_(~usable, torch.inf).argmin(1, keepdim=True)
    return candidates.gather(1, best)[:, 0]
