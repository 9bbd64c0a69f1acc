"""From picture to picture: cut out what a network will see of each, let a method fill it, and put the fill back."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .denoisers import ADMDenoiser, TiledDenoiser
from .images import check_image_and_mask, check_order
from .noise import generators, normal
from .samplers import Callback, Denoiser, Noise
from .schedule import NoiseSchedule
from .unet import UNet


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, maps: Tensor) -> Tensor:
        return maps[..., self.top : self.top + self.height, self.left : self.left + self.width]


def hole_box(mask: Tensor, context: float, least: int) -> Box:
    """The square around a hole that a network gets to see, cut off at the picture's edges.

    Args:
        mask: (1, H, W), not empty.
        context: what is shown on each side, as a share of the hole's longer side; infinity shows the whole picture.
        least: smallest side in pixels (the network's size: nothing is enlarged without need).
    """
    if context == float("inf"):
        return Box(0, 0, *mask.shape[1:])
    spans = [_span(mask[0] > 0, axis) for axis in (1, 0)]
    side = max(least, round(max(end - start for start, end in spans) * (1 + 2 * context)))
    return _box(spans, [side, side], mask)


def tile_box(mask: Tensor, size: int) -> Box:
    """The rectangle that holds a hole and half a window of `size` around it, cut off at the picture's edges."""
    spans = [_span(mask[0] > 0, axis) for axis in (1, 0)]
    return _box(spans, [max(size, end - start + size) for start, end in spans], mask)


def _span(hole: Tensor, axis: int) -> tuple[int, int]:
    """First and one past the last row (axis 1) or column (axis 0) that is touched by the hole (H, W)."""
    touched = hole.any(axis).nonzero()
    return touched[0].item(), touched[-1].item() + 1


def _box(spans: list[tuple[int, int]], sides: list[int], mask: Tensor) -> Box:
    sides = [min(side, length) for side, length in zip(sides, mask.shape[1:], strict=True)]
    corner = [
        min(max(0, (start + end - side) // 2), length - side)
        for (start, end), side, length in zip(spans, sides, mask.shape[1:], strict=True)
    ]
    return Box(*corner, *sides)


def fit_size(box: Box, size: int, stride: int) -> tuple[int, int]:
    """The size (height, width) at which a box is given to a network: longer side `size`, both multiples of `stride`."""
    scale = size / max(box.height, box.width)
    return tuple(max(stride, round(side * scale / stride) * stride) for side in (box.height, box.width))


def shrink_known(image: Tensor, mask: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Resize a picture and its mask so that nothing of the hole's old content bleeds into the known pixels.

    A pixel of the small mask is as much hole as the strongest pixel under it; a known one is the mean of known ones alone.

    Args:
        image: (B, 3, h, w). mask: (B, 1, h, w).

    Returns:
        both at `size`.
    """
    if image.shape[2:] == tuple(size):
        return image, mask
    small = F.adaptive_max_pool2d(mask, size)
    known = (mask < 1).to(image)
    resize = lambda maps: F.interpolate(maps, size, mode="bilinear", antialias=True)
    return resize(torch.where(mask < 1, image, 0)) / resize(known).clamp(min=1e-3), small


def stitch(image: Tensor, mask: Tensor, box: Box, fill: Tensor, mix: bool = False) -> Tensor:
    """Put a fill into a picture's hole. Pixels where the mask is 0 come back bit-exact.

    Args:
        image: (3, H, W). mask: (1, H, W). fill: (3, h, w), of the box's size or of another: then it is resized.
        mix: a soft mask mixes fill and picture. Where the fill is resized it always does, because that has lost detail.

    Returns:
        (3, H, W), a new tensor of the picture's dtype.
    """
    mask = box.cut(mask)
    if fill.shape[1:] != mask.shape[1:]:
        fill = F.interpolate(fill[None], mask.shape[1:], mode="bicubic", antialias=True)[0].clamp(0, 1)
        mix = True
    if mix:
        fill = torch.lerp(torch.where(mask < 1, box.cut(image).float(), fill), fill, mask)
    out = image.clone()
    box.cut(out).copy_(torch.where(mask > 0, fill.to(image.dtype), box.cut(image)))
    return out


@dataclass(frozen=True)
class View:
    """How a network gets to see a picture.

    Args:
        size: the network's. stride: what sides must be multiples of. device: where it runs.
        context: share of the hole's size that is shown around it, resized to `size`; None for tiles at the picture's own scale; "own"
            for the whole picture at its own size.
    """

    size: int
    stride: int
    device: torch.device
    context: float | str | None

    def __post_init__(self):
        if isinstance(self.context, float | int) and not self.context >= 0:
            raise ValueError(f"context must be 0 or more, got {self.context}.")


@dataclass(frozen=True)
class Cutting:
    """What a network sees of one picture, on its device. All (1, C, h, w)."""

    picture: Tensor  # in [-1, 1]; 0 in the hole
    mask: Tensor
    order: Tensor | None
    box: Box
    resized: bool

    def stitch(self, image: Tensor, mask: Tensor, fill: Tensor, mix: bool = False) -> Tensor:
        """Put a fill (C, h, w) in [0, 1] back into image (C, H, W) under mask (1, H, W), see `images.stitch`."""
        height, width = fill.shape[1:] if self.resized else (self.box.height, self.box.width)
        return stitch(image, mask, self.box, fill[:, :height, :width].to(image.device), mix)


@dataclass(frozen=True)
class Batch:
    """Pictures of equal size on their way through the network, on its device. Pictures and fills are in [-1, 1]."""

    denoise: Denoiser
    picture: Tensor  # (b, 3, h, w); 0 in the hole
    mask: Tensor  # (b, 1, h, w)
    order: Tensor | None  # (b, 1, h, w)
    draw: Noise
    callback: Callback | None  # takes x0 as it comes; what it shows has the known pixels in place


def cut_out(image: Tensor, mask: Tensor, view: View, order: Tensor | None = None) -> list[dict[int, Cutting]]:
    """Cut out what a network will see of every picture that has a hole: groups of equal size, each by the pictures' numbers."""
    groups = {}
    for k in range(image.shape[0]):
        if mask[k].any():
            cutting = _cut(view, image[k], mask[k], None if order is None else order[k])
            alone = k if view.context is None else 0  # tiled pictures are sampled one by one
            groups.setdefault((alone, cutting.picture.shape), {})[k] = cutting
    return list(groups.values())


def _cut(view: View, picture: Tensor, mask: Tensor, order: Tensor | None) -> Cutting:
    """Resized, in tiles at the picture's own scale, or as it is."""
    picture, resized = torch.where(mask < 1, picture.float(), 0.5), isinstance(view.context, float | int)
    if view.context == "own":
        box = Box(0, 0, *mask.shape[1:])
        picture, mask, order = picture[None], mask[None], None if order is None else order[None]
    elif view.context is None:
        box = tile_box(mask, view.size)
        pad = [max(0, view.size - side) for side in (box.height, box.width)]
        picture = F.pad(box.cut(picture)[None], (0, pad[1], 0, pad[0]), mode="replicate")
        mask = F.pad(box.cut(mask)[None], (0, pad[1], 0, pad[0]))
        order = None if order is None else F.pad(box.cut(order)[None], (0, pad[1], 0, pad[0]))
    else:
        box = hole_box(mask, view.context, view.size)
        picture, mask = shrink_known(box.cut(picture)[None], box.cut(mask)[None], fit_size(box, view.size, view.stride))
        order = None if order is None else F.interpolate(box.cut(order)[None], mask.shape[2:], mode="nearest-exact")
    picture = torch.where(mask < 1, picture * 2 - 1, 0)
    return Cutting(picture.to(view.device), mask.to(view.device), None if order is None else order.to(view.device), box, resized)


def together(cuttings: Iterable[Cutting]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Pictures, masks and orders of a group as batches."""
    cuttings = list(cuttings)
    picture, mask = (torch.cat([getattr(cutting, name) for cutting in cuttings]) for name in ("picture", "mask"))
    return picture, mask, None if cuttings[0].order is None else torch.cat([cutting.order for cutting in cuttings])


def fill_holes(
    net: UNet,
    image: Tensor,
    mask: Tensor,
    fill: Callable[[Batch], Tensor],
    seed: int | Sequence[int] = 0,
    context: float | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
    order: Tensor | None = None,
    region_aware: bool = True,
    amount: Tensor | None = None,
) -> Tensor:
    """Run a method of diffusion on every picture that has a hole; arguments as `rad_inpaint`.

    Args:
        fill: gives (b, 3, h, w) for a batch, about [-1, 1].
        region_aware: `fill` noises the hole alone, and a soft pixel partly; otherwise it noises the whole picture, and the soft
            mask mixes its fill with the picture.
        amount: (B, 1, H, W), the mask as `fill` is to see it, where it is not `mask` itself. Where it is below 1, what stands in the
            hole is looked at.

    Raises:
        ValueError: an argument out of its range, in one sentence.
    """
    view = View(net.config.image_size, net.config.stride, net.device, net.config.context if context is None else context)
    image, mask = check_image_and_mask(image, mask)
    if order is not None:
        order = check_order(order, mask)
    classes = net.config.num_classes
    if classes and (labels is None or bool((labels < 0).any() | (labels >= classes).any())):
        raise ValueError(f"This network draws by class: give a label from 0 to {classes - 1} for each picture.")

    out, streams = image.clone(), generators(seed, image.shape[0], "sampling")
    for group in cut_out(image, mask if amount is None else amount, view, order):
        picture, holes, orders = together(group.values())
        given = None if labels is None else labels[list(group)].to(view.device)
        denoise = ADMDenoiser(net, NoiseSchedule(net.config.schedule), region_aware or net.region_aware, given)
        if view.context is None:
            denoise = TiledDenoiser(denoise, view.size, holes if region_aware else torch.ones_like(holes))
        draw = partial(normal, [streams[k] for k in group], picture.shape[1:], picture.device)
        fills = fill(Batch(denoise, picture, holes, orders, draw, callback and _report(callback, picture, holes)))
        if not torch.isfinite(fills).all():
            raise ValueError("The network gave values that are not numbers. Use float32, and look at the strengths of its adapters.")
        for (k, cutting), done in zip(group.items(), to_unit(fills), strict=True):
            out[k] = cutting.stitch(image[k], mask[k], done, mix=not region_aware)
    return out


def _report(callback: Callback, picture: Tensor, mask: Tensor) -> Callback:
    return lambda step, total, x0: callback(step, total, to_unit(torch.where(mask > 0, x0, picture)))


def to_unit(x: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1]."""
    return ((x + 1) / 2).clamp(0, 1)  # a NaN stays one
