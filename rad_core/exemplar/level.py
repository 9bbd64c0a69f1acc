"""One level of the pyramid: the picture, the references below it, and views of all their patches.

All pages share one width, so that a patch is named by the flat index of its top left pixel and a neighbour is one addition away. An
index that runs over a row's end meets a patch that is not usable, or another one that is: a candidate like any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..depth import depth_of, touches
from .settings import ExemplarSettings

COLOUR = 3**-0.5  # scales of the state's channels: a squared difference of two states is the mean over colours ...
TEXTURE = 2**-0.5  # ... plus the mean over texture channels


@dataclass(frozen=True)
class Page:
    """A picture at one level's size.

    colour: (3, h, w) in [-1, 1]. texture: (2, h, w). known: (h, w) bool, pixels that may be copied. aligned: its places correspond to
    the picture's, so that a source's distance counts (the picture itself, a frame of the same video, a photo of the same size).
    """

    colour: Tensor
    texture: Tensor
    known: Tensor
    aligned: bool = True


class Level:
    """State, patches and matches of one level.

    Args:
        pages: the picture, then its references.
        hole: (h, w) bool of the picture: what is to be filled. excluded: (h, w) bool, unknown pixels that are not to be filled now.
        patch: side of a patch.
        extra_depth: (h, w), added to each pixel's depth in the hole, or None.

    Attributes:
        state: (N, 5), scaled colours and textures of all pages.
        known, usable: (N,) bool, pixels that may be copied, and those where a wholly known patch starts.
        keys: (K,) usable source patches. queries: (Q,) patches that touch the hole. pixels: (P,) the hole's pixels.
        match: (Q,) source of each query, and distance: (Q,) its mean weighted squared difference.
        guide: a `LineGuide`, or None.
    """

    def __init__(
        self,
        pages: Sequence[Page],
        hole: Tensor,
        excluded: Tensor,
        patch: int,
        settings: ExemplarSettings,
        extra_depth: Tensor | None = None,
    ):
        self.settings, self.patch = settings, patch
        device = hole.device
        self.height, self.picture_width = hole.shape
        self.width = max(page.known.shape[1] for page in pages)
        self.rows = sum(page.known.shape[0] for page in pages)
        self.state = torch.zeros(self.rows * self.width, 5, device=device)
        self.usable, self.known = torch.zeros(2, self.rows * self.width, dtype=torch.bool, device=device)
        self.local_row = torch.empty(self.rows, device=device)  # of a row in its page
        self.aligned = torch.empty(self.rows, device=device)
        self.page = torch.empty(self.rows, dtype=torch.long, device=device)
        canvas = self.state.view(self.rows, self.width, 5)
        usable, copyable = (map_.view(self.rows, self.width) for map_ in (self.usable, self.known))
        top = 0
        for k, page in enumerate(pages):
            h, w = page.known.shape
            rows = slice(top, top + h)
            canvas[rows, :w, :3] = page.colour.permute(1, 2, 0) * COLOUR
            canvas[rows, :w, 3:] = page.texture.permute(1, 2, 0) * (TEXTURE * settings.texture)
            copyable[rows, :w] = known = page.known & ~(hole | excluded) if k == 0 else page.known
            if min(h, w) >= patch:
                usable[rows, :w][: h - patch + 1, : w - patch + 1] = ~touches(~known, patch)
            self.local_row[rows], self.aligned[rows] = torch.arange(h, device=device), float(page.aligned)
            self.page[rows] = k
            top += h
        self.sizes = torch.tensor([page.known.shape for page in pages], device=device)  # (pages, 2)
        self.tops = self.sizes[:, 0].cumsum(0) - self.sizes[:, 0]
        self.page_rows = pages[0].known.shape[0] if all(page.known.shape == pages[0].known.shape for page in pages) else 0
        self.pages, self.all_aligned = len(pages), all(page.aligned for page in pages)
        side = torch.arange(patch, device=device)
        self.row_offsets = side * self.width
        self.offsets = (side[:, None] * self.width + side).flatten()
        self.keys = self.usable.nonzero()[:, 0]
        self.excluded = self.flat(excluded)
        depth = depth_of(hole) + (0 if extra_depth is None else extra_depth)
        self.confidence = self.flat(settings.falloff**-depth)
        self.guide = None
        self.set_hole(self.flat(hole))

    def flat(self, map_: Tensor) -> Tensor:
        """A map (h, w) of the picture by the canvas' flat index, (h * width,)."""
        return F.pad(map_, (0, self.width - map_.shape[1])).flatten()

    def set_hole(self, hole: Tensor) -> None:
        """Choose the pixels (h * width,) bool to estimate: queries are all patches of the picture that touch them."""
        self.hole = hole
        h, w, p = self.height, self.picture_width, self.patch
        touched = torch.zeros(h, self.width, dtype=torch.bool, device=hole.device)
        if min(h, w) >= p:
            touched[: h - p + 1, : w - p + 1] = touches(hole.view(h, self.width)[:, :w], p)
        self.queries = touched.flatten().nonzero()[:, 0]
        self.pixels = hole.nonzero()[:, 0]
        # where a query stands in the list; -1 elsewhere, and for indices up to one patch before the first
        self.slot_offset = (p - 1) * (self.width + 1)
        self.slot = torch.full((self.slot_offset + h * self.width,), -1, dtype=torch.int32, device=hole.device)
        self.slot[self.queries + self.slot_offset] = torch.arange(len(self.queries), dtype=torch.int32, device=hole.device)
        self.match = torch.full((len(self.queries),), -1, dtype=torch.long, device=hole.device)
        self.distance = torch.full((len(self.queries),), torch.inf, device=hole.device)
        self.query_confidence = self.confidence[self.queries + (p // 2) * (self.width + 1)]

    def patches(self, index: Tensor, state: Tensor | None = None) -> Tensor:
        """Patches of a state (the level's own for None) by the index of their top left pixel: (n,) -> (n, p * p * 5)."""
        state = self.state if state is None else state
        strips = state.as_strided((len(state) - self.patch + 1, self.patch * 5), (5, 1))
        return strips.index_select(0, (index[:, None] + self.row_offsets).flatten()).view(len(index), -1)

    def weights(self, index: Tensor, weight: Tensor) -> Tensor:
        """c_qj of the patches at `index`, (n, p * p), each row adding up to 1, from `weight` (h * width,) of every pixel."""
        strips = weight.as_strided((len(weight) - self.patch + 1, self.patch), (1, 1))
        c = strips.index_select(0, (index[:, None] + self.row_offsets).flatten()).view(len(index), -1) + 1e-6
        return c / c.sum(1, keepdim=True)

    def distance_cost(self, queries: Tensor, sources: Tensor) -> Tensor:
        """The prior's cost of a source, growing with its distance: near |q - k| / H."""
        scale = self.settings.near / self.height
        row = sources // self.width
        dy = self.local_row[row] - queries // self.width
        return scale * self.aligned[row] * torch.hypot(dy, (sources % self.width - queries % self.width).float())

    def colours(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The picture's pixels at some rows (r,) and columns (c,), (3, r, c) in [-1, 1]."""
        return self.state[rows[:, None] * self.width + columns, :3].permute(2, 0, 1) / COLOUR


def take(values: Tensor, index: Tensor) -> Tensor:
    """values[index] for an index of any shape, three times as quick on a CPU."""
    return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])
