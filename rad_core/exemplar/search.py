"""The patch of least distance for each query: among all of them by matrix products, or among coherent candidates (PatchMatch).

The distance is d(q, k) = sum_j c_qj |x_qj - P_kj|^2 + near |q - k| / H, with sum_j c_qj = 1, plus what `LineGuide` adds on a line.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .level import Level

CHUNK = 2048  # patches in one gather, so that they stay in the processor's cache
PAIRS = 1_000_000  # distances in one matrix product
SHARED = 12  # offsets that most patches agree on
JUMPS = ((1, 4), (2, 1), (8, 1), (1, 2))  # how far neighbours are asked, by step


@dataclass(frozen=True)
class Queries:
    """Queries with what they are compared by, all scaled by root c: a distance is then |scale * P - state|^2.

    index: (n,) of their top left pixels. state, scale: (n, p * p * 5).
    """

    index: Tensor
    state: Tensor
    scale: Tensor

    @classmethod
    def of(cls, level: Level, index: Tensor, state: Tensor, weight: Tensor) -> "Queries":
        """Queries seen in a noisy `state` (N, 5) under the weights (h * width,) of its pixels."""
        scale = level.weights(index, weight).sqrt_().repeat_interleave(5, 1)
        return cls(index, level.patches(index, state).mul_(scale), scale)

    def take(self, part: Tensor) -> "Queries":
        return Queries(*(values.index_select(0, part) for values in (self.index, self.state, self.scale)))

    def chunks(self, size: int) -> Iterator["Queries"]:
        return map(Queries, *(values.split(size) for values in (self.index, self.state, self.scale)))


@dataclass(frozen=True)
class Keys:
    """Patches that all queries are compared with. They are wholly known, so they stay the same through a level's steps.

    index: (K,) of their top left pixels. right: (p * p * 6, K), their numbers and squares. place: (K, 2), scaled, and aligned: (K,), for
    what distance costs.
    """

    index: Tensor
    right: Tensor
    place: Tensor
    aligned: Tensor

    @classmethod
    def of(cls, level: Level, index: Tensor) -> "Keys":
        patches, rows = level.patches(index), index // level.width
        squares = patches.square().view(len(index), -1, 5).sum(2)
        right = torch.cat([patches, squares], 1).T.contiguous()
        return cls(index, right, _place(level, level.local_row[rows], index % level.width), level.aligned[rows])

    def __len__(self) -> int:
        return len(self.index)


def _place(level: Level, row: Tensor, column: Tensor) -> Tensor:
    return torch.stack([row.float(), column.float()], 1) * (level.settings.near / level.height)


def distances(level: Level, queries: Queries, sources: Tensor) -> Tensor:
    """d of queries (n,) to one source each, (n,)."""
    parts = zip(queries.chunks(CHUNK), sources.split(CHUNK), strict=True)
    errors = [level.patches(source).mul_(query.scale).sub_(query.state).square_().sum(1) for query, source in parts]
    d = torch.cat(errors).add_(level.distance_cost(queries.index, sources))
    if level.guide is not None:
        level.guide.add_cost(d, queries.index, sources)
    return d


def search_all(level: Level, queries: Queries, keys: Keys, line: int | None = None) -> tuple[Tensor, Tensor]:
    """The best of all keys for each query.

    d = sum c x^2 + sum c P^2 - 2 sum c x P: one matrix product.

    Args:
        line: the line of the level's guide that the queries lie on.

    Returns:
        sources (n,) and distances (n,).
    """
    best, found = [], []
    for part in queries.chunks(max(1, PAIRS // len(keys))):
        index, state, scale = part.index, part.state, part.scale
        d = torch.cat([state * scale * -2, scale[:, ::5].square()], 1) @ keys.right
        if level.settings.near:
            place = _place(level, index // level.width, index % level.width)
            distance_cost = torch.cdist(place, keys.place, compute_mode="use_mm_for_euclid_dist")
            d += distance_cost if level.all_aligned else distance_cost * keys.aligned
        if line is not None:
            d += level.guide.cost(line, index[:, None], keys.index)
        least, which = d.min(1)
        best.append((least + state.square().sum(1)).clamp_(min=0))
        found.append(keys.index[which])
    return torch.cat(found), torch.cat(best)


def search_near(
    level: Level, queries: Queries, match: Tensor, distance: Tensor, step: int, rng: torch.Generator, common: Tensor
) -> tuple[Tensor, Tensor]:
    """Improve the matches of some queries by PatchMatch (Barnes et al. 2009).

    Candidates are the sources that neighbours' offsets lead to, random places around the own source (in any page, where all have one
    size), and `common` offsets that many patches of the picture agree on (He and Sun 2012).

    Args:
        match, distance: the queries' sources so far.
        step: number of the step; jumps and radii alternate with it.
        rng: a CPU generator.
        common: (m,) offsets, possibly none.

    Returns:
        sources and distances, new tensors.
    """
    index, width, device = queries.index, level.width, match.device
    match, distance, most = match.clone(), distance.clone(), len(level.usable)

    def attempt(candidates: Tensor, valid: Tensor | None = None) -> None:
        inside = candidates.clamp(0, most - 1)
        good = level.usable.index_select(0, inside) & (inside == candidates) & (candidates != match)
        chosen = (good if valid is None else good & valid).nonzero()[:, 0]
        if not len(chosen):
            return
        sources = candidates.index_select(0, chosen)
        d = distances(level, queries.take(chosen), sources)
        better = d < distance.index_select(0, chosen)
        improved = chosen[better]
        distance[improved], match[improved] = d[better], sources[better]

    last = len(level.slot) - 1
    for jump in JUMPS[step % len(JUMPS)]:
        for shift in (jump * width, -jump * width, jump, -jump):
            slot = level.slot.index_select(0, (index + (shift + level.slot_offset)).clamp(0, last))
            attempt(level.match.index_select(0, slot.clamp(min=0)) - shift, slot >= 0)
    uniform = lambda *shape: torch.rand(*shape, generator=rng).to(device)
    for k in range(level.settings.random):
        radius = max(level.height, level.picture_width) * 0.5 ** (2 * k + 1 + step % 4)
        jump = ((uniform(2, len(index)) * 2 - 1) * radius).round().long()
        candidates = match + jump[0] * width + jump[1]
        if level.page_rows and level.pages > 1:
            pages = (uniform(len(index)) * level.pages).long()
            top = (match // width) // level.page_rows
            candidates = candidates + (pages - top) * (level.page_rows * width)
        attempt(candidates)
    if len(common):
        for _ in range(level.settings.common):
            attempt(index + common[(uniform(len(index)) * len(common)).long()])
    return match, distance


def common_offsets(level: Level) -> Tensor:
    """The offsets k(q) - q that most queries share, (SHARED,) or fewer."""
    offsets, counts = (level.match - level.queries).unique(return_counts=True)
    return offsets[counts.argsort(descending=True, stable=True)[:SHARED]]
