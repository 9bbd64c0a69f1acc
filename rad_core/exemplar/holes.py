"""Holes that are far apart are filled one by one, each with the context that its own size asks for; long thin ones in tiles."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..boxes import Box, bounding_box
from .settings import ExemplarSettings

CELL = 8  # pixels; holes closer than a cell or two are one
LEAST = 32  # pixels of context


@dataclass(frozen=True)
class HoleGroup:
    """Pixels that are filled at once.

    where: their bounding box. pixels: (h, w) bool, of that box. context: the box that is looked at.
    """

    where: Box
    pixels: Tensor
    context: Box

    @property
    def area(self) -> int:
        return self.context.height * self.context.width


def group_holes(hole: Tensor, settings: ExemplarSettings) -> list[HoleGroup]:
    """Split a hole (H, W) bool into groups. Groups whose contexts would cover more alone than in one are merged."""
    cells = F.max_pool2d(hole[None, None].float(), CELL, CELL, ceil_mode=True)[0, 0]
    labels = _label(cells > 0)
    full = 1 - F.max_pool2d(1 - hole[None, None].float(), CELL, CELL, ceil_mode=True)[0, 0]  # cells that are hole all over
    full[:, -1], full[-1] = full[:, -1] * (hole.shape[1] % CELL == 0), full[-1] * (hole.shape[0] % CELL == 0)
    depth = _cell_depth(full)
    groups = []
    for label, box in enumerate(_boxes(labels), 1):
        mine = box.cut(labels) == label
        size = max(2 * CELL, CELL * (2 * int(box.cut(depth)[mine].max()) + 1))
        groups += _tiles(hole, box, mine, size, settings)
    return _merge(groups)


def with_copyable(context: Box, copyable: Tensor) -> Box:
    """A context, enlarged to all pixels of a picture (H, W) that may be copied, unless half of it may be copied already."""
    if not copyable.any() or 2 * int(context.cut(copyable).sum()) >= context.height * context.width:
        return context
    return _union(context, bounding_box(copyable))


def _label(cells: Tensor) -> Tensor:
    """Connected components (of 8 neighbours) of a bool map, numbered from 1 by their last cells; 0 outside."""
    from scipy import ndimage

    labels, count = ndimage.label(cells.cpu().numpy(), np.ones((3, 3)))
    labels = torch.from_numpy(labels).long()
    last = torch.zeros(count + 1, dtype=torch.long).scatter_reduce(0, labels.flatten(), torch.arange(labels.numel()), "amax")
    last[0] = -1
    return last.argsort().argsort()[labels].to(cells.device)


def _boxes(labels: Tensor) -> list[Box]:
    """The bounding box of each component, in the order of their numbers."""
    from scipy import ndimage

    found = ndimage.find_objects(labels.cpu().numpy())
    return [Box(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start) for rows, columns in found]


def _cell_depth(full: Tensor) -> Tensor:
    """Chessboard distance of whole cells to others; outside the picture counts as hole."""
    from scipy import ndimage

    if full.all():
        return torch.full_like(full, max(full.shape))
    return torch.from_numpy(ndimage.distance_transform_cdt(full.cpu().numpy(), "chessboard")).to(full)


def _tiles(hole: Tensor, box: Box, cells: Tensor, size: int, settings: ExemplarSettings) -> list[HoleGroup]:
    """One component, the `cells` (h, w) of a box of the map of cells, in tiles where it is much longer than it is deep."""
    top, left, height, width = box.top, box.left, box.height, box.width
    tile = max(settings.tile, 8 * size) // CELL
    rows, columns = (max(1, round(side / tile)) for side in (height, width))
    groups = []
    for row in torch.arange(height).tensor_split(rows):
        for column in torch.arange(width).tensor_split(columns):
            y, x = top + int(row[0]), left + int(column[0])
            mine = cells[int(row[0]) : int(row[-1]) + 1, int(column[0]) : int(column[-1]) + 1]
            if not mine.any():
                continue
            part = hole[y * CELL : (y + len(row)) * CELL, x * CELL : (x + len(column)) * CELL]
            part = part & mine.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)[: part.shape[0], : part.shape[1]]
            within = bounding_box(part)
            where = replace(within, top=y * CELL + within.top, left=x * CELL + within.left)
            margin = int(settings.reach * max(size if max(rows, columns) > 1 else 0, min(size, where.longer))) + LEAST
            groups.append(_group(where, within.cut(part), margin, hole.shape, settings))
    return groups


def _group(where: Box, pixels: Tensor, margin: int, shape: tuple[int, int], settings: ExemplarSettings) -> HoleGroup:
    most = max(settings.context, 8 * int(pixels.sum()))
    context = _grow(where, margin, shape)
    while context.height * context.width > most and margin > LEAST:
        margin = int(margin * 0.9)
        context = _grow(where, margin, shape)
    return HoleGroup(where, pixels, context)


def _grow(box: Box, margin: int, shape: tuple[int, int]) -> Box:
    top, left = max(0, box.top - margin), max(0, box.left - margin)
    bottom, right = min(shape[0], box.top + box.height + margin), min(shape[1], box.left + box.width + margin)
    return Box(top, left, bottom - top, right - left)


def _union(a: Box, b: Box) -> Box:
    top, left = min(a.top, b.top), min(a.left, b.left)
    bottom, right = max(a.top + a.height, b.top + b.height), max(a.left + a.width, b.left + b.width)
    return Box(top, left, bottom - top, right - left)


def _merge(groups: list[HoleGroup]) -> list[HoleGroup]:
    """Merge groups while their common context is no larger than both: each with the first before it with which that is so."""
    merged = True
    while merged:
        merged, done = False, []
        corners = np.empty((len(groups), 5), dtype=np.int64)  # of the contexts in `done`: top, left, bottom, right, and the area
        for group in groups:
            box = group.context
            mine = np.array([box.top, box.left, box.top + box.height, box.left + box.width, group.area])
            others = corners[: len(done)]
            height, width = (np.maximum(others[:, k + 2], mine[k + 2]) - np.minimum(others[:, k], mine[k]) for k in (0, 1))
            fits = np.flatnonzero(height * width <= others[:, 4] + mine[4])
            if len(fits):
                k, merged = fits[0], True
                group = _joined(group, done[k], _union(box, done[k].context))
                done[k], box = group, group.context
            else:
                k = len(done)
                done.append(group)
            corners[k] = box.top, box.left, box.top + box.height, box.left + box.width, group.area
        groups = done
    return groups


def _joined(a: HoleGroup, b: HoleGroup, context: Box) -> HoleGroup:
    where = _union(a.where, b.where)
    pixels = torch.zeros(where.height, where.width, dtype=torch.bool, device=a.pixels.device)
    for group in (a, b):
        y, x = group.where.top - where.top, group.where.left - where.left
        pixels[y : y + group.where.height, x : x + group.where.width] |= group.pixels
    return HoleGroup(where, pixels, context)
