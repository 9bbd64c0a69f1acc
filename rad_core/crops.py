"""What a network sees of each hole, as crops, and the way back into the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import Box, fit_size, hole_box, tile_box
from .denoisers import Network
from .images import max_pool
from .notes import note
from .settings import SamplingSettings

LARGE = 2.5  # a picture that is so many times as large as the network's looks soft in its fill
BLOCK = 8  # pixels: how finely a hole's thickness is measured
TWICE = 2.2  # times the network's size: up to here, an enlarged fill is redrawn at the picture's own size


def shrink_known(image: Tensor, mask: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Resize a picture and its mask so that nothing of the hole's old content bleeds into the known pixels.

    A pixel of the resized mask takes the strongest value under it; a known pixel is the mean of known pixels alone.

    Args:
        image: (B, 3, h, w). mask: (B, 1, h, w).

    Returns:
        both at `size`.
    """
    if image.shape[2:] == tuple(size):
        return image, mask
    small = max_pool(mask, size)
    known = (mask < 1).to(image)
    resize = lambda maps: F.interpolate(maps, size, mode="bilinear", antialias=True)
    return resize(torch.where(mask < 1, image, 0)) / resize(known).clamp(min=1e-3), small


def stitch(image: Tensor, mask: Tensor, box: Box, fill: Tensor, mix: bool = False) -> Tensor:
    """Put a fill into a picture's hole. Pixels where the mask is 0 come back bit-exact.

    Args:
        image: (3, H, W). mask: (1, H, W). fill: (3, h, w), of the box's size or of another: then it is resized.
        mix: a soft mask mixes fill and picture. It always does where the fill is resized, because resizing has lost detail. Content of
            the picture that is not finite is not mixed in.

    Returns:
        (3, H, W), a new tensor of the picture's dtype.
    """
    mask = box.cut(mask)
    if fill.shape[1:] != mask.shape[1:]:
        fill = F.interpolate(fill[None], mask.shape[1:], mode="bicubic", antialias=True)[0].clamp(0, 1)
        mix = True
    if mix:
        old = box.cut(image).float()
        fill = torch.lerp(torch.where((mask < 1) & old.isfinite(), old, fill), fill, mask)
    out = image.clone()
    box.cut(out).copy_(torch.where(mask > 0, fill.to(image.dtype), box.cut(image)))
    return out


@dataclass(frozen=True)
class CropSpec:
    """How a network sees a picture.

    Args:
        size: the network's, in pixels. stride: what its sides must be multiples of. device: where it runs.
        view: "hole" (the hole and its surroundings, resized to `size`), "whole" (the whole picture, resized), "native" (the whole picture
            at its own size), or "tiles" (the hole and half a window around it, at the picture's own scale).
        context: what "hole" shows on each side, as a multiple of the hole's longer side.
    """

    size: int
    stride: int
    device: torch.device
    view: str
    context: float = 1.0

    @classmethod
    def of(cls, net: Network, settings: SamplingSettings) -> "CropSpec":
        """For an ADM network: "auto" is its own way, tiles or the hole with its surroundings."""
        view = settings.view if settings.view != "auto" else "tiles" if net.config.tiles else "hole"
        return cls(net.config.image_size, net.config.stride, net.device, view, settings.context)


@dataclass(frozen=True)
class Crop:
    """What a network sees of one picture, on its device. All (1, C, h, w)."""

    picture: Tensor  # in [0, 1]; 0.5 in the hole
    mask: Tensor
    order: Tensor | None
    box: Box
    resized: bool

    def enlarge(self, maps: Tensor) -> Tensor:
        """Maps (C, h, w) in [0, 1] of a resized crop at the box's size."""
        return F.interpolate(maps[None], (self.box.height, self.box.width), mode="bicubic", antialias=True)[0].clamp(0, 1)

    def with_detail_of(self, image: Tensor, mask: Tensor, fill: Tensor) -> Tensor:
        """As `CropBatch.with_detail_of`: image (C, H, W), mask (1, h, w) and fill (C, h, w)."""
        if not self.resized:
            return fill
        share, seen, fill = (self.enlarge(maps).to(image.device) for maps in (mask, self.picture[0], fill))
        fine = (self.box.cut(image).float().clamp(0, 1) - seen).nan_to_num(0)
        return (fill + (1 - share) * fine).clamp(0, 1)

    def stitch(self, image: Tensor, mask: Tensor, fill: Tensor, mix: bool = False) -> Tensor:
        """Put a fill (C, h, w) in [0, 1] back into image (C, H, W) under mask (1, H, W), see `stitch`."""
        height, width = fill.shape[1:] if self.resized else (self.box.height, self.box.width)  # without the padding
        return stitch(image, mask, self.box, fill[:, :height, :width].to(image.device), mix)


@dataclass(frozen=True)
class CropBatch:
    """Crops of equal size, by the numbers of their pictures. Pictures are in [-1, 1], 0 in the hole; all (b, C, h, w)."""

    crops: dict[int, Crop]
    picture: Tensor
    mask: Tensor
    order: Tensor | None

    def with_detail_of(self, images: Tensor, fills: Tensor) -> list[Tensor]:
        """Fills (b, C, h, w) at their boxes' sizes, with what resizing took from the pictures (B, C, H, W).

        A noisy pixel gets less of it: a state of noise sigma keeps the share 1 / (1 + sigma^2) of a picture, about 1 - mask.
        """
        return [crop.with_detail_of(images[k], *parts) for (k, crop), *parts in zip(self.crops.items(), self.mask, fills, strict=True)]

    def limit(self, masks: Tensor) -> None:
        """Lower masks (B, 1, H, W), in place, to those of the crops that were resized."""
        for (k, crop), mask in zip(self.crops.items(), self.mask, strict=True):
            if crop.resized:
                part = crop.box.cut(masks[k])
                part.copy_(part.minimum(crop.enlarge(mask).to(part)))

    def stitch(self, images: Tensor, masks: Tensor, fills: Sequence[Tensor], out: Tensor, mix: bool = False) -> None:
        """Write every fill (C, h, w) in [0, 1], stitched into its picture of `images` (B, C, H, W), into `out`."""
        for (k, crop), fill in zip(self.crops.items(), fills, strict=True):
            out[k] = crop.stitch(images[k], masks[k], fill, mix)


def crop_holes(
    image: Tensor, mask: Tensor, spec: CropSpec, order: Tensor | None = None, context_mask: Tensor | None = None
) -> list[CropBatch]:
    """Crop every picture (B, 3, H, W) in [0, 1] that has a hole in mask (B, 1, H, W); crops of equal size share a batch.

    With a context_mask (B, 1, H, W), the view "hole" reaches as far as it does, and what is outside it belongs to the crop's hole.
    """
    groups: dict[tuple, dict[int, Crop]] = {}
    for k in range(image.shape[0]):
        if mask[k].any():
            crop = _crop(spec, image[k], mask[k], *(None if maps is None else maps[k] for maps in (order, context_mask)))
            note_size(crop, spec.size)
            alone = k if spec.view == "tiles" else 0  # tiled pictures are sampled one by one
            groups.setdefault((alone, crop.picture.shape), {})[k] = crop
    return [collate(crops) for crops in groups.values()]


def note_size(crop: Crop, size: int) -> None:
    """Note that a hole is larger than a network of this size is made for."""
    box = crop.box
    if crop.resized and max(box.height, box.width) > LARGE * size:
        note(
            f"The hole with its surroundings ({box.width}x{box.height}) is much larger than the {size} pixels that the network works at: "
            "the fill is enlarged and looks soft."
        )
    elif not crop.resized and min(crop.mask.shape[2:]) > size and _is_thick(crop.mask, size // 2):
        note(f"The hole is wider than the network, which was trained on {size} pixels, is made for: it may be filled with mere texture.")


def _is_thick(mask: Tensor, side: int) -> bool:
    """Whether a square of about this side fits into the hole of a mask (1, 1, h, w)."""
    known = F.max_pool2d((mask == 0).float(), BLOCK, ceil_mode=True)
    side = max(1, min(side // BLOCK, *known.shape[2:]))
    return bool((F.max_pool2d(known, side, 1) == 0).any())


def enlarged(boxes: dict[int, Box], size: int) -> list[list[int]]:
    """The numbers of pictures whose crops a network of this size does not see at their own size, in batches of crops of equal size.

    A batch has at most as many pixels as all crops have at the network's size, or as one has at `TWICE` that size.
    """
    groups: dict[tuple, list[int]] = {}
    for k, box in boxes.items():
        if box.longer > size:
            groups.setdefault((box.height, box.width), []).append(k)
    most = max(1, int(len(boxes) / (TWICE + 0.2) ** 2))  # sides are filled up to the network's stride
    return [numbers[k : k + most] for numbers in groups.values() for k in range(0, len(numbers), most)]


def crop_twice_as_large(image: Tensor, mask: Tensor, boxes: dict[int, Box], spec: CropSpec) -> CropBatch:
    """Crop filled pictures (B, 3, H, W) in [0, 1] at twice the network's size, or, where it is not much more, at their own.

    Args:
        mask: (B, 1, H, W), below 1 everywhere, so that the fills are seen.
        boxes: what to crop, of equal size, by the numbers of the pictures.
    """
    crops = {}
    for k, box in boxes.items():
        picture, hole = box.cut(image[k])[None].float().clamp(0, 1), box.cut(mask[k])[None]
        resized = box.longer > TWICE * spec.size
        if resized:
            picture, hole = shrink_known(picture, hole, fit_size(box, 2 * spec.size, spec.stride))
        else:
            picture, hole = (_pad(maps, *(-side % spec.stride for side in maps.shape[2:])) for maps in (picture, hole))
        crops[k] = Crop(picture.to(spec.device), hole.to(spec.device), None, box, resized)
    return collate(crops)


def _pad(maps: Tensor, below: int, right: int) -> Tensor:
    """Continue maps (1, C, h, w) beyond two borders: a hole at the border goes on."""
    return F.pad(maps, (0, right, 0, below), mode="replicate")


def collate(crops: dict[int, Crop]) -> CropBatch:
    """Crops of equal size as one batch."""
    parts = list(crops.values())
    picture, mask = (torch.cat([getattr(crop, name) for crop in parts]) for name in ("picture", "mask"))
    order = None if parts[0].order is None else torch.cat([crop.order for crop in parts])
    return CropBatch(crops, torch.where(mask < 1, picture * 2 - 1, 0), mask, order)


def _crop(spec: CropSpec, picture: Tensor, mask: Tensor, order: Tensor | None, context_mask: Tensor | None) -> Crop:
    """Crop one picture (3, H, W) with its mask, order and context mask (1, H, W)."""
    hole = mask
    if context_mask is not None:
        mask = mask.maximum(1 - context_mask)
        order = None if order is None else torch.where((hole == 0) & (mask > 0), order.amax(), order)  # what is hidden guides nothing
    picture = torch.where(mask < 1, picture.float().clamp(0, 1), 0.5)
    if spec.view == "native":
        box = Box(0, 0, *mask.shape[1:])
        pad = lambda maps: _pad(maps[None], *(-side % spec.stride for side in maps.shape[1:]))
        picture, mask, order = pad(picture), pad(mask), None if order is None else pad(order)
    elif spec.view == "tiles":
        box = tile_box(hole, spec.size)
        pad = lambda maps: _pad(box.cut(maps)[None], *(max(0, spec.size - side) for side in (box.height, box.width)))
        picture, mask, order = pad(picture), pad(mask), None if order is None else pad(order)
    else:
        around = spec.view == "hole"
        box = hole_box(hole, spec.context, spec.size, context_mask) if around else Box(0, 0, *mask.shape[1:])
        picture, mask = shrink_known(box.cut(picture)[None], box.cut(mask)[None], fit_size(box, spec.size, spec.stride))
        order = None if order is None else max_pool(box.cut(order)[None], mask.shape[2:])  # as the mask; it is 0 outside it
    to_device = lambda maps: None if maps is None else maps.to(spec.device)
    return Crop(to_device(picture), to_device(mask), to_device(order), box, spec.view in ("hole", "whole"))


def to_unit(x: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1]. A NaN stays one."""
    return ((x + 1) / 2).clamp(0, 1)
