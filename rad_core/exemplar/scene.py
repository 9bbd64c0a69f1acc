"""What one hole is filled from: the picture around it, its references, and both at every level's size."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import check_range, mean_pool, resize_mask
from ..notes import note
from .level import Page
from .progress import Poll, no_poll

KNOWN = 0.6  # share of known pixels below which a coarse pixel is part of the hole


@dataclass
class Source:
    """A picture that patches come from.

    colour: (3, h, w) in [-1, 1], 0 where unknown. known: (h, w) bool. aligned: see `level.Page`. follows: it shows the picture's scene
    at the picture's places, see `motion`. copyable: (h, w) bool, the known pixels that may be copied; None for all of them.
    """

    colour: Tensor
    known: Tensor
    aligned: bool = True
    follows: bool = False
    copyable: Tensor | None = None
    half: tuple[Tensor, Tensor] | None = field(default=None, repr=False)

    def at(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Mean of the known colours under each pixel of another size (3, h', w'), and the known share (h', w')."""
        if size == tuple(self.known.shape):
            return self.colour, self.known.float()
        share = self.known_at(size)
        return _area(self._large(size)[0], size) / share.clamp(min=1e-6), share

    def known_at(self, size: tuple[int, int]) -> Tensor:
        """Share of known pixels under each pixel of another size, (h', w')."""
        share = self._large(size)[1].float()
        return share if size == tuple(share.shape) else _area(share[None], size)[0]

    def copyable_at(self, size: tuple[int, int]) -> Tensor:
        """Pixels of another size under which all may be copied, (h', w') bool."""
        return torch.ones(size, dtype=torch.bool, device=self.known.device) if self.copyable is None else _whole(self.copyable, size)

    def _large(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Colour and known share to shrink to a size: from half the size where that is as good, which costs a quarter."""
        if max(self.known.shape) < 4 * max(size):
            return self.colour, self.known
        if self.half is None:
            half = tuple(-(-side // 2) for side in self.known.shape)
            self.half = _area(self.colour, half), _area(self.known[None].float(), half)[0]
        return self.half

    def gradients(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Mean |dx| and |dy| of the grey picture between known pixels (2, h', w'), times their share (1, h', w'), and that share."""
        grey, known = self.colour.mean(0), self.known
        dx, dy = torch.zeros_like(grey), torch.zeros_like(grey)
        dx[:, :-1], dy[:-1] = (grey[:, 1:] - grey[:, :-1]).abs(), (grey[1:] - grey[:-1]).abs()
        both = known.clone()
        both[:, :-1] &= known[:, 1:]
        both[:-1] &= known[1:]
        share = _area(both[None].float(), size)
        return torch.cat([_area(d.mul_(both)[None], size) for d in (dx, dy)]), share


@dataclass
class Scene:
    """One hole with its context.

    sources: the picture itself, then its references. hole: (h, w) bool, to be filled. excluded: (h, w) bool, unknown and not to be
    filled now. order, uncertainty: (h, w) in [0, 1] or None. content: (3, h, w) in [-1, 1], the content of the hole, used where
    `uncertainty` is below 1.
    """

    sources: list[Source]
    hole: Tensor
    excluded: Tensor
    order: Tensor | None = None
    uncertainty: Tensor | None = None
    content: Tensor | None = None

    @classmethod
    def of(cls, image: Tensor, hole: Tensor, references: Sequence["Source"] = ()) -> "Scene":
        """A whole picture (3, h, w) in [0, 1] with its hole (h, w) bool."""
        return cls([Source((image.float() * 2 - 1).masked_fill_(hole, 0), ~hole), *references], hole, torch.zeros_like(hole))

    @property
    def size(self) -> tuple[int, int]:
        return tuple(self.hole.shape)

    def scaled(self, factor: float) -> tuple[int, int]:
        """The picture's size divided by a factor."""
        return shrink(self.size, factor)

    def holes_at(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Hole and excluded pixels at another size, (h', w') bool."""
        if size == self.size:
            return self.hole, self.excluded
        unknown = self.sources[0].known_at(size) < KNOWN
        if not self.excluded.any():
            return unknown, torch.zeros_like(unknown)
        hole = _area(self.hole[None].float(), size)[0]
        excluded = unknown & (_area(self.excluded[None].float(), size)[0] > hole)
        return unknown & ~excluded, excluded

    def unseen_at(self, size: tuple[int, int]) -> Tensor:
        """Hole pixels at another size that no reference which follows the picture shows, (h', w') bool."""
        hole = self.holes_at(size)[0]
        for source in self.sources:
            if source.follows:
                hole = hole & (source.known_at(size) <= KNOWN)
        return hole

    def textures(self, scale: float, poll: Poll = no_poll) -> list[tuple[Tensor, Tensor]]:
        """Texture maps of all sources on a grid of `scale` / 2 pixels, averaged over about `scale`: (sums (2, h', w'), shares)."""
        out = []
        for source in self.sources:
            maps = source.gradients(shrink(source.known.shape, max(1.0, scale / 2)))
            out.append(tuple(_box(map_) for map_ in maps) if scale > 1 else maps)
            poll()
        return out


def pages_at(scene: Scene, size: tuple[int, int], textures: list[tuple[Tensor, Tensor]], poll: Poll = no_poll) -> list[Page]:
    """All sources at a level's size (of the picture). poll: called between steps; raise from it to cancel."""
    factor, pages = scene.size[0] / size[0], []
    for k, (source, (sums, shares)) in enumerate(zip(scene.sources, textures, strict=True)):
        page_size = size if tuple(source.known.shape) == scene.size else shrink(source.known.shape, factor)
        colour, share = source.at(page_size)
        poll()
        wide = lambda map_, to=page_size: F.interpolate(map_[None], to, mode="bilinear")[0] if map_.shape[1:] != to else map_
        texture = wide(sums) / wide(shares).clamp(min=1e-6)
        poll()
        known = share >= KNOWN if k == 0 else share > 0.99
        pages.append(Page(colour, texture, known & source.copyable_at(page_size), source.aligned))
    return pages


def references_of(references: Tensor | Sequence[Tensor] | None, masks: Tensor | Sequence[Tensor] | None, like: Tensor) -> list[Source]:
    """References as sources; those of the picture's size are aligned with it.

    Args:
        references: (R, 3, h, w) in [0, 1], or a list of (3, h, w) or (1, 3, h, w) of any sizes.
        masks: (R, h, w), (R, 1, h, w) or a list, 1 = may not be used; None for all usable.
        like: a picture (..., H, W) on the device wanted.

    Raises:
        ValueError: wrong shapes or counts, values outside [0, 1].
    """
    if references is None:
        if masks is not None:
            raise ValueError("There are reference masks without references: pass the pictures too.")
        return []
    pictures = [p for r in references for p in (r if r.ndim == 4 else r[None])]
    if masks is None:
        masks = [None] * len(pictures)
    masks = [masks] if isinstance(masks, Tensor) and masks.ndim == 2 else list(masks)
    if len(masks) != len(pictures):
        raise ValueError(f"{len(pictures)} references and {len(masks)} reference masks do not fit: pass one mask for each.")
    out = []
    for picture, mask in zip(pictures, masks, strict=True):
        if picture.ndim != 3 or picture.shape[0] != 3 or not picture.is_floating_point() or 0 in picture.shape:
            raise ValueError(f"A reference must be a float tensor (3, h, w), got {tuple(picture.shape)} {picture.dtype}.")
        h, w = picture.shape[1:]
        mask = torch.zeros(h, w) if mask is None else mask
        if mask.numel() != mask.shape[-1] * mask.shape[-2]:
            raise ValueError(f"A reference mask must be (h, w), got {tuple(mask.shape)}.")
        mask = mask.reshape(mask.shape[-2:]).to(like.device, torch.float32)
        if mask.shape != (h, w):
            note(f"A reference mask ({mask.shape[1]}x{mask.shape[0]}) was resized to its picture's ({w}x{h}).")
            mask = resize_mask(mask[None, None], (h, w))[0, 0]
        known = mask <= 0
        picture = picture.to(like.device).float().masked_fill(~known, 0.5)
        if not bool(torch.isfinite(picture).all()):
            raise ValueError("A reference has NaN or infinite values where it may be used.")
        check_range(picture, "A reference must lie in [0, 1] where it may be used")
        out.append(Source((picture.clamp(0, 1) * 2 - 1).masked_fill_(~known, 0), known, (h, w) == tuple(like.shape[-2:])))
    return out


def shrink(size: Sequence[int], factor: float) -> tuple[int, int]:
    """A size divided by a factor, at least one pixel."""
    return tuple(max(1, round(side / factor)) for side in size)


def _whole(map_: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels of another size under which a map (h, w) is True everywhere, but for rounding."""
    return map_ if size == tuple(map_.shape) else _area(map_[None].float(), size)[0] > 0.99


def _area(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return mean_pool(maps[None], size)[0]


def _box(maps: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(maps[None], (1,) * 4, mode="replicate"), 3, 1)[0]
