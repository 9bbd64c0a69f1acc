"""From matched patches to pixels: every patch over a pixel has a vote about it.

v_hq ~ a_q exp(-d(q, k(q)) / 2 d_h),  d_h = a quantile of the d over h
mean_h = sum_q v_hq P_k(q)[h - q],  var_h = sum_q v_hq |P_k(q)[h - q] - mean_h|^2
"""

import torch
from torch import Tensor

from .level import COLOUR, Level, take
from .progress import Poll, no_poll

CHUNK = 16384  # pixels at a time


def votes_of(level: Level, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Votes of the patches over some pixels.

    Args:
        pixels: (n,) flat indices of the picture.

    Returns:
        v (n, p * p), each row adding up to 1 (to 0 where no patch covers the pixel), and the pixels voted for (n, p * p), flat indices.
    """
    slot = take(level.slot, (pixels + level.slot_offset)[:, None] - level.offsets)
    exists = slot >= 0
    slot = slot.clamp_(min=0)
    d = take(level.distance, slot).masked_fill_(~exists, 9.0)
    scale = d.kthvalue(int(level.settings.quantile * d.shape[1]) + 1, 1, keepdim=True).values.clamp_(min=1e-6)
    v = (take(level.query_confidence, slot) * torch.exp(d / (-2 * scale)) + 1e-12).mul_(exists)
    return v / v.sum(1, keepdim=True).clamp(min=1e-12), (take(level.match, slot) + level.offsets).clamp_(0, len(level.state) - 1)


def vote(level: Level, poll: Poll = no_poll, spread: bool = True) -> tuple[Tensor, Tensor | None]:
    """Mean and variance (if `spread`) at the level's pixels: (P, 5) states and (P, 3) variances of the colours in [-1, 1].

    poll: called between chunks; raise from it to cancel.
    """
    means, variances = [], []
    for pixels in level.pixels.split(CHUNK):
        v, sources = votes_of(level, pixels)
        states = take(level.state, sources)
        mean = torch.bmm(v[:, None], states)[:, 0]
        means.append(mean)
        if spread:
            square = torch.bmm(v[:, None], states[..., :3].square())[:, 0]
            variances.append((square - mean[:, :3].square()).clamp_(min=0) / COLOUR**2)
        poll()
    return torch.cat(means), torch.cat(variances) if spread else None


def most_certain(level: Level, poll: Poll = no_poll) -> Tensor:
    """The pixel that the most certain patch over each pixel has there, (P,) flat indices of the canvas."""
    best = []
    for pixels in level.pixels.split(CHUNK):
        v, sources = votes_of(level, pixels)
        best.append(sources.gather(1, v.argmax(1, keepdim=True))[:, 0])
        poll()
    return torch.cat(best)
