"""The patch of least distance for each query: among all of them by matrix products, or among coherent candidates (PatchMatch).

The distance is d(q, k) = sum_j c_qj |x_qj - P_kj|^2 + near |q - k| / H, with sum_j c_qj = 1.
"""

import torch
from torch import Tensor

from .level import Level

CHUNK = 2048  # patches in one gather, so that they stay in the processor's cache
PAIRS = 4_000_000  # distances in one matrix product
JUMPS = ((1, 4), (2, 1), (8, 1), (1, 2))  # how far neighbours are asked, by step


def distances(level: Level, queries: Tensor, x: Tensor, c: Tensor, sources: Tensor) -> Tensor:
    """d of queries (n,) with states x (n, p * p * 5) and weights c (n, p * p) to one source each, (n,)."""
    out = x.new_empty(len(sources))
    for start in range(0, len(sources), CHUNK):
        part = slice(start, start + CHUNK)
        error = level.patches(sources[part]).sub_(x[part]).square_().view(-1, c.shape[1], 5).sum(2)
        out[part] = error.mul_(c[part]).sum(1)
    return out.add_(level.way(queries, sources))


def search_all(level: Level, queries: Tensor, x: Tensor, c: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """The best of all keys for each query.

    d = sum c x^2 + sum c P^2 - 2 sum c x P: two matrix products.

    Returns:
        distances (n,) and sources (n,).
    """
    patches = level.patches(keys)
    squares = patches.square().view(len(keys), -1, 5).sum(2).T.contiguous()  # (p * p, K)
    patches = patches.T.contiguous()
    rows, columns = keys // level.width, (keys % level.width).float()
    local, scale = level.local_row[rows], level.settings.near / level.height * level.aligned[rows]
    best, found = [], []
    for part in torch.arange(len(queries), device=x.device).split(max(1, PAIRS // max(1, len(keys)))):
        q, w = queries[part], c[part]
        cx = (x[part].view(len(part), -1, 5) * w[..., None]).view(len(part), -1)
        d = torch.addmm(w @ squares, cx, patches, alpha=-2)
        d += (cx * x[part]).sum(1, keepdim=True)
        d.clamp_(min=0)
        if level.settings.near:
            dy = (local - (q // level.width)[:, None]).square_()
            d += dy.add_((columns - (q % level.width)[:, None]).square_()).sqrt_().mul_(scale)
        least, index = d.min(1)
        best.append(least)
        found.append(keys[index])
    return torch.cat(best), torch.cat(found)


def search_near(
    level: Level, part: slice, x: Tensor, c: Tensor, match: Tensor, distance: Tensor, step: int, rng: torch.Generator, common: Tensor
) -> tuple[Tensor, Tensor]:
    """Improve the matches of some queries by PatchMatch (Barnes et al. 2009).

    Candidates are the sources that neighbours' offsets lead to, random places around the own source, in any page, and `common`
    offsets that many patches of the picture agree on (He and Sun 2012).

    Args:
        part: which of level.queries. x, c: their states and weights. match, distance: their sources so far.
        step: number of the step; jumps and radii alternate with it.
        rng: a CPU generator.
        common: (m,) offsets, possibly none.

    Returns:
        sources and distances, new tensors.
    """
    queries, width, device = level.queries[part], level.width, x.device
    match, distance, most = match.clone(), distance.clone(), len(level.usable)

    def attempt(candidates: Tensor, valid: Tensor | None = None) -> None:
        inside = candidates.clamp(0, most - 1)
        good = level.usable[inside] & (inside == candidates) & (candidates != match)
        chosen = (good if valid is None else good & valid).nonzero()[:, 0]
        if not len(chosen):
            return
        sources = candidates[chosen]
        whole = len(chosen) == len(queries)
        d = distances(level, queries[chosen], *((x, c) if whole else (x[chosen], c[chosen])), sources)
        better = d < distance[chosen]
        index = chosen[better]
        distance[index], match[index] = d[better], sources[better]

    last = len(level.slot) - 1
    for jump in JUMPS[step % len(JUMPS)]:
        for shift in (jump * width, -jump * width, jump, -jump):
            slot = level.slot[(queries + (shift + level.lead)).clamp(0, last)]
            attempt(level.match[slot.clamp(min=0)] - shift, slot >= 0)
    uniform = lambda *shape: torch.rand(*shape, generator=rng).to(device)
    for k in range(level.settings.random):
        radius = max(level.height, level.picture_width) * 0.5 ** (2 * k + 1 + step % 4)
        jump = ((uniform(2, len(queries)) * 2 - 1) * radius).round().long()
        candidates = match + jump[0] * width + jump[1]
        if level.page_rows and level.pages > 1:
            pages = (uniform(len(queries)) * level.pages).long()
            top = (match // width) // level.page_rows
            candidates = candidates + (pages - top) * (level.page_rows * width)
        attempt(candidates)
    if len(common):
        for _ in range(level.settings.common):
            attempt(queries + common[(uniform(len(queries)) * len(common)).long()])
    return match, distance


def common_offsets(level: Level, count: int = 12) -> Tensor:
    """The offsets k(q) - q that most queries share, (count,) or fewer."""
    offsets, counts = (level.match - level.queries).unique(return_counts=True)
    return offsets[counts.argsort(descending=True, stable=True)[:count]]
