"""From picture to picture: run a diffusion method on every hole, at the network's size and then at twice its size."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from .crops import CropBatch, CropSpec, crop_holes, crop_twice_as_large, enlarged, to_unit
from .denoisers import ADMDenoiser, Denoiser, Network, TiledDenoiser
from .images import check_extra_masks, check_image_and_mask, check_order
from .noise import generators, normal
from .samplers import Callback, Noise
from .schedule import RegionSchedule
from .settings import OWN_REDRAW, Redraw, SamplingSettings


@dataclass(frozen=True)
class Batch:
    """Crops of equal size on their way through a diffusion network, on its device. Pictures and fills are in [-1, 1]."""

    denoise: Denoiser
    picture: Tensor  # (b, 3, h, w); 0 in the hole
    mask: Tensor  # (b, 1, h, w)
    order: Tensor | None  # (b, 1, h, w)
    noise: Noise
    callback: Callback | None  # takes x0 in [-1, 1]
    dtype: torch.dtype  # of the network's arithmetic


Fill = Callable[[Batch], Tensor]  # a batch -> fills (b, 3, h, w), about [-1, 1]


@dataclass(frozen=True)
class Refinement:
    """What a method starts from where the hole's content is used.

    noise_mask: (B, 1, H, W), the mask as the method gets it. Where it is below 1, the content of the hole is used, and what resizing takes
    from it is put back. deepen: what a crop's noise mask (b, 1, h, w) becomes.
    """

    noise_mask: Tensor
    deepen: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Redrawing:
    """How enlarged fills are redrawn at twice the network's size.

    fill: its batch's picture has the fill in the hole, and its mask is the hole's at the noise to start from
    (`RegionSchedule.mask_of_sigma`). start: that noise, which `settings.detail` multiplies, and which is less where a refinement's noise
    mask has less; and the steps. net: the network that redraws; None: the one that fills.
    """

    fill: Fill
    start: Redraw = OWN_REDRAW
    net: Network | None = None


@dataclass(frozen=True)
class FillMethod:
    """How a method fills.

    Args:
        fill: a batch's holes.
        region_aware: `fill` noises the hole alone, and a soft pixel partly. Otherwise it noises the whole picture, and the soft
            mask mixes its fill with the picture.
        refinement: the hole's content is used; the mask, if soft, then mixes the fill with the picture.
        redrawing: None: fills are only enlarged.
    """

    fill: Fill
    region_aware: bool = True
    refinement: Refinement | None = None
    redrawing: Redrawing | None = None


@dataclass(frozen=True)
class Holes:
    """What is to be filled. Arguments as `rad_inpaint`."""

    image: Tensor
    mask: Tensor
    seed: int | Sequence[int] = 0
    labels: Tensor | None = None
    callback: Callback | None = None
    order: Tensor | None = None
    context_mask: Tensor | None = None
    stitch_mask: Tensor | None = None


def fill_holes(net: Network, holes: Holes, settings: SamplingSettings, method: FillMethod) -> Tensor:
    """Run a diffusion method on every picture that has a hole; of the settings, the sampler is the method's business.

    Raises:
        ValueError: an argument out of its range, in one sentence.
    """
    image, mask = check_image_and_mask(holes.image, holes.mask)
    refinement, redrawing = method.refinement, method.redrawing
    noise_mask = mask if refinement is None else refinement.noise_mask
    others = (refinement, holes.stitch_mask, holes.context_mask)  # a context mask may hide what a soft pixel keeps
    mix = not method.region_aware or any(each is not None for each in others)
    context_mask, stitch_mask = check_extra_masks(holes.context_mask, holes.stitch_mask, mask)
    order = None if holes.order is None else check_order(holes.order, mask)
    redraw_net = redrawing.net if redrawing and redrawing.net else net
    _check_labels(holes.labels, len(image), net, redraw_net)
    redrawing = redrawing if settings.detail else None
    spec = CropSpec.of(net, settings)
    batches = crop_holes(image, noise_mask, spec, order, context_mask)
    boxes = {k: crop.box for batch in batches for k, crop in batch.crops.items() if crop.resized}
    larger = enlarged(boxes, spec.size) if redrawing else []
    steps = settings.step_count * len(batches) + (redrawing.start.steps * len(larger) if redrawing else 0)
    streams = generators(holes.seed, len(image), "sampling")
    run = _Run(spec, method.region_aware, streams, holes.labels, holes.callback, steps)

    out = image.clone()
    if larger:
        drawn, hidden = image.clone(), mask if context_mask is None else mask.maximum(1 - context_mask)
        start = torch.tensor(settings.detail * redrawing.start.sigma)
        redraw_mask = hidden * RegionSchedule(net.config.schedule).mask_of_sigma(start).to(mask)
    for crops in batches:
        crops = crops if refinement is None else replace(crops, mask=refinement.deepen(crops.mask))
        fills = run(method.fill, crops, net, settings.step_count)
        if refinement is not None:
            fills = crops.with_detail_of(image, fills)
        crops.stitch(image, stitch_mask, fills, out, mix)
        if larger:
            if refinement is not None:
                crops.limit(redraw_mask)
            crops.stitch(image, (hidden > 0).to(mask), fills, drawn)
    spec = replace(spec, stride=math.lcm(spec.stride, redraw_net.config.stride), device=redraw_net.device)
    for numbers in larger:
        crops = crop_twice_as_large(drawn, redraw_mask, {k: boxes[k] for k in numbers}, spec)
        fills = run(redrawing.fill, crops, redraw_net, redrawing.start.steps)
        crops.stitch(image, stitch_mask, crops.with_detail_of(drawn, fills), out, mix=True)
    return out


def _check_labels(labels: Tensor | None, count: int, net: Network, redraw_net: Network) -> None:
    """Raise ValueError unless labels (count,) suit networks that draw by class."""
    classes = net.config.num_classes
    if classes and (labels is None or labels.shape != (count,) or bool((labels < 0).any() | (labels >= classes).any())):
        raise ValueError(f"This network draws by class: give a label from 0 to {classes - 1} for each picture.")
    if redraw_net.config.num_classes != classes:
        raise ValueError("The network that redraws must draw by the same classes as the one that fills.")


@dataclass
class _Run:
    """The batches of one call, one after the other: each picture draws its noise from its own stream, and all steps are counted."""

    spec: CropSpec
    region_aware: bool
    streams: list[torch.Generator]
    labels: Tensor | None
    callback: Callback | None
    steps: int  # of all batches
    done: int = 0

    def __call__(self, fill: Fill, crops: CropBatch, net: Network, steps: int) -> Tensor:
        """Fills (b, 3, h, w) in [0, 1]."""
        picture, holes, numbers = crops.picture, crops.mask, list(crops.crops)
        labels = None if self.labels is None else self.labels[numbers].to(picture.device)
        denoise = ADMDenoiser(net, self.region_aware or net.region_aware, labels)
        if self.spec.view == "tiles":
            denoise = TiledDenoiser(denoise, self.spec.size, holes if self.region_aware else torch.ones_like(holes))
        noise = partial(normal, [self.streams[k] for k in numbers], picture.shape[1:], picture.device)
        report = self.callback and _report(self.callback, picture, holes, self.done, self.steps)
        fills = fill(Batch(denoise, picture, holes, crops.order, noise, report, net.dtype))
        if not torch.isfinite(fills).all():
            raise ValueError("The network's output has NaN or infinite values. Use float32, and check the strengths of its adapters.")
        self.done += steps
        return to_unit(fills)


def _report(callback: Callback, picture: Tensor, mask: Tensor, done: int, total: int) -> Callback:
    """The user's callback for a batch, with x0 in [0, 1], the known pixels in place, and the steps of all batches counted."""
    return lambda step, steps, x0: callback(done + step, total, to_unit(torch.where(mask > 0, x0, picture)))
