"""Coarse to fine: RAD's loop on every level, from pure noise on the coarsest, from the coarser level's matches on the others."""

from dataclasses import replace

import torch
from torch import Tensor

from ..depth import depth_of
from ..images import mean_pool
from .coherence import choose_sources
from .denoiser import BLOCK, all_comparable, match
from .level import COLOUR, Level
from .light import without_light
from .lines import LineGuide, find_lines
from .poisson import blend
from .progress import Poll, Progress, no_poll
from .scene import Scene, pages_at
from .search import Keys, Queries, distances
from .settings import ExemplarSettings
from .votes import most_certain, vote

HELD = 0.1  # `eps` where the light is off: all colours are right already, and would drift with the grain
FULL = 50_000  # pixels of a hole from which `limit` counts in full beyond the coarsest level
LEAST = 0.1  # share of `limit` for the smallest holes


def level_sizes(scene: Scene, settings: ExemplarSettings, patch: int, poll: Poll = no_poll) -> list[tuple[int, int]]:
    """Sizes of the pyramid's levels, coarsest first: it starts where the hole is `coarsest` pixels deep and all patches can be compared."""
    sizes = [scene.size]
    while min(smaller := scene.scaled(settings.factor ** len(sizes))) >= 3.5 * patch:
        hole = scene.unseen_at(sizes[-1])
        poll()
        pairs = int(hole.sum()) * sum(source.known.numel() for source in scene.sources) * hole.numel() / scene.hole.numel()
        if pairs < settings.limit and depth_of(hole, int(settings.coarsest) + 1).max() <= settings.coarsest:
            break
        sizes.append(smaller)
    return sizes[::-1]


@torch.no_grad()
def fill_scene(
    scene: Scene, settings: ExemplarSettings, patch: int, rng: torch.Generator, progress: Progress
) -> tuple[Tensor, Tensor] | None:
    """Fill one hole.

    Returns:
        colours (P, 3) in [-1, 1] and variances (P,) of the hole's pixels in reading order; None where no patch is wholly known.
    """
    scene, light = without_light(scene) if len(scene.sources) == 1 else (scene, None)
    if light is not None:
        progress.set_light(light)
        settings = replace(settings, eps=max(settings.eps, HELD))
    level = _denoise(scene, settings, patch, rng, progress)
    if level is None:
        return None
    colours, variances = _finish(level, scene, settings, progress)
    if light is not None:
        colours += light[:, scene.hole].T
    return colours.clamp(-1, 1), variances


def _denoise(scene: Scene, settings: ExemplarSettings, patch: int, rng: torch.Generator, progress: Progress) -> Level | None:
    """The finest level with its matches and votes; None where it has no whole patch."""
    sizes = level_sizes(scene, settings, patch, progress.poll)
    textures = scene.textures(settings.factor ** (len(sizes) - 1), progress.poll)
    level, number = None, 0
    lines = find_lines(scene, settings.lines) if settings.lines and len(scene.sources) == 1 else []
    limit = settings.limit * min(1.0, max(LEAST, int(scene.hole.sum()) / FULL))
    for size in sizes:
        progress.poll()
        finer = _level(scene, size, textures, settings, patch, progress.poll)
        if not len(finer.pixels) or not len(finer.keys) or not len(finer.queries):
            continue  # a picture narrower than a patch has no queries, though a reference has patches
        first = level is None
        if lines and lines[0].height / 4 <= finer.height <= 1.2 * lines[0].height:
            finer.guide = LineGuide(finer, lines)
        _start(finer, level, scene, size, rng, progress.poll)
        level = None  # its memory
        seen = _follow(finer, scene)
        steps = settings.steps_of(number) * (2 if scene.order is not None and first else 1)
        order, uncertainty = _values(scene.order, finer, size), _values(scene.uncertainty, finer, size, 1.0)
        small, all_seen = all_comparable(finer, settings.limit if first else limit), bool(seen.all())
        if all_seen:
            steps = settings.steps[-1]
        keys = Keys.of(finer, finer.keys) if small and not all_seen else None
        for step in range(steps):
            sigma = _sigma(settings, step, steps, first, order) * uncertainty * ~seen
            noise = torch.randn(len(sigma), 3, generator=rng).to(sigma.device)
            finer.state[finer.pixels, :3] += sigma[:, None] * noise * COLOUR
            everywhere = (first and small) or (step % 3 == 0 and (first or small))
            if all_seen:  # few patches have nothing to follow
                everywhere = step == 0 and bool((finer.match < 0).any())
            match(finer, finer.state, sigma, step, rng, everywhere, progress.poll, keys)
            finer.state[finer.pixels], finer.variance = vote(finer, progress.poll, step == steps - 1)
            progress.advance(len(finer.pixels), finer)
        level, number = finer, number + 1
    return None if level is None or level.height != scene.size[0] else level


def _level(scene: Scene, size: tuple[int, int], textures: list, settings: ExemplarSettings, patch: int, poll: Poll) -> Level:
    hole, excluded = scene.holes_at(size)
    extra_depth = None if scene.order is None else _resized(scene.order, size) * hole * settings.order_depth
    if any(source.follows for source in scene.sources):
        extra_depth = depth_of(scene.unseen_at(size)) - depth_of(hole) + (0 if extra_depth is None else extra_depth)
    poll()
    return Level(pages_at(scene, size, textures, poll), hole, excluded, patch, settings, extra_depth)


def _start(level: Level, coarser: Level | None, scene: Scene, size: tuple[int, int], rng: torch.Generator, poll: Poll) -> None:
    """The state in the hole before the first step: what the coarser level's matches have at this size, or what stands there."""
    pixels = level.pixels
    level.state[pixels] = 0
    if coarser is not None:
        level.match[:] = _carry(coarser, level, rng)
        level.state[pixels] = _enlarged(coarser, level)
        uniform = torch.ones(level.height * level.width, device=pixels.device)
        uniform[level.excluded] = 0
        for start in range(0, len(level.queries), BLOCK):
            part = slice(start, start + BLOCK)
            queries = Queries.of(level, level.queries[part], level.state, uniform)
            level.distance[part] = distances(level, queries, level.match[part])
            poll()
        level.state[pixels] = vote(level, poll, False)[0]
    if scene.uncertainty is not None:
        content = _resized(scene.content, size)[:, pixels // level.width, pixels % level.width].T * COLOUR
        keep = (_values(scene.uncertainty, level, size) < 1)[:, None]
        level.state[pixels, :3] = torch.where(keep, content, level.state[pixels, :3])


def _enlarged(coarse: Level, fine: Level) -> Tensor:
    """The coarse level's state between its pixels, where the fine level's pixels are: bilinear, (P, 5)."""
    at = []
    for place, side, sides in (
        (fine.pixels // fine.width, coarse.height, fine.height),
        (fine.pixels % fine.width, coarse.picture_width, fine.picture_width),
    ):
        centre = ((place + 0.5) * (side / sides) - 0.5).clamp(0, side - 1)
        low = centre.floor()
        at.append((low.long(), (low.long() + 1).clamp(max=side - 1), (centre - low)[:, None]))
    (top, bottom, down), (left, right, across) = at
    row = lambda y: torch.lerp(coarse.state[y * coarse.width + left], coarse.state[y * coarse.width + right], across)
    return torch.lerp(row(top), row(bottom), down)


def _follow(level: Level, scene: Scene) -> Tensor:
    """Start from what the references that follow the picture show at its places: which of the level's pixels that are, (P,) bool."""
    pixels, queries = level.pixels, level.queries
    seen, found = (torch.zeros(len(index), dtype=torch.bool, device=index.device) for index in (pixels, queries))
    for source, top in zip(scene.sources, level.tops.tolist(), strict=True):
        if source.follows:
            there, patch = pixels + top * level.width, queries + top * level.width
            new, first = level.known[there] & ~seen, level.usable[patch] & ~found
            level.state[pixels[new]] = level.state[there[new]]
            level.match[first], level.distance[first] = patch[first], 0.0
            seen, found = seen | new, found | first
    return seen


def _carry(coarse: Level, fine: Level, rng: torch.Generator) -> Tensor:
    """Sources of the fine level's queries with the coarse level's offsets; random ones where there are none."""
    fy, fx = fine.height / coarse.height, fine.picture_width / coarse.picture_width
    centre, limits = fine.patch // 2, (coarse.height - coarse.patch, coarse.picture_width - coarse.patch)
    y, x = fine.queries // fine.width, fine.queries % fine.width
    at = [
        (((a + centre + 0.5) / f - centre - 0.5).round().long()).clamp(0, most) for a, f, most in ((y, fy, limits[0]), (x, fx, limits[1]))
    ]
    slot = coarse.slot[at[0] * coarse.width + at[1] + coarse.slot_offset]
    source = coarse.match[slot.clamp(min=0).long()]
    row, page = source // coarse.width, coarse.page[source // coarse.width]
    oy = ((coarse.local_row[row] - at[0]) * fy).round().long()
    ox = ((source % coarse.width - at[1]) * fx).round().long()
    room = (fine.sizes[page] - fine.patch).clamp(min=0)
    there = (fine.tops[page] + (y + oy).clamp(min=0).minimum(room[:, 0])) * fine.width + (x + ox).clamp(min=0).minimum(room[:, 1])
    random = fine.keys[torch.randint(len(fine.keys), (len(y),), generator=rng).to(y.device)]
    return torch.where((slot >= 0) & fine.usable[there], there, random)


def _sigma(settings: ExemplarSettings, step: int, steps: int, first: bool, order: Tensor) -> Tensor:
    """Noise levels of the hole's pixels at a step: geometric on the first level, linear on others, later where the order is higher."""
    done = step / (steps - 1) if steps > 1 else 1.0
    done = ((1 + order.max().ceil()) * done - order).clamp(0, 1)
    if first:
        return settings.sigma_max * (settings.sigma_min / settings.sigma_max) ** done
    return settings.sigma * (1 - done)


def _finish(level: Level, scene: Scene, settings: ExemplarSettings, progress: Progress) -> tuple[Tensor, Tensor]:
    sources = most_certain(level, progress.poll)
    if settings.coherence and settings.sweeps:
        sources = choose_sources(level, sources, settings.coherence, settings.sweeps, progress.poll)
    colours = level.state[sources, :3]
    if settings.poisson:
        colours = blend(level, sources, settings.poisson, settings.eps, settings.rho, progress.poll)
    colours = colours / COLOUR
    if scene.uncertainty is not None:
        u, sigma, tau = _values(scene.uncertainty, level, scene.size).square(), settings.sigma**2, settings.tau**2
        share = u * (sigma + tau) / (u * sigma + tau)  # s of `posterior` at the noise u sigma, as a multiple of that at sigma
        content = scene.content[:, level.pixels // level.width, level.pixels % level.width].T
        colours = torch.lerp(content, colours, share[:, None])
    return colours, level.variance.mean(1)


def _resized(map_: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (h, w) or (C, h, w) at another size."""
    maps = map_ if map_.ndim == 3 else map_[None]
    return mean_pool(maps[None], size)[0].view(*map_.shape[:-2], *size)


def _values(map_: Tensor | None, level: Level, size: tuple[int, int], default: float = 0.0) -> Tensor:
    """A map's values at the level's pixels, (P,)."""
    if map_ is None:
        return torch.full((len(level.pixels),), default, device=level.state.device)
    return _resized(map_, size)[level.pixels // level.width, level.pixels % level.width]
