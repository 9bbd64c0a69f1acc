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


Method = Callable[[Batch], Tensor]  # a batch -> fills (b, 3, h, w), about [-1, 1]


def fill_holes(
    net: Network,
    image: Tensor,
    mask: Tensor,
    settings: SamplingSettings,
    fill: Method,
    seed: int | Sequence[int] = 0,
    labels: Tensor | None = None,
    callback: Callback | None = None,
    order: Tensor | None = None,
    region_aware: bool = True,
    noise_mask: Tensor | None = None,
    context_mask: Tensor | None = None,
    stitch_mask: Tensor | None = None,
    deepen: Callable[[Tensor], Tensor] | None = None,
    redraw: Method | None = None,
    redraw_from: Redraw = OWN_REDRAW,
    detail_net: Network | None = None,
) -> Tensor:
    """Run a diffusion method on every picture that has a hole. Arguments as `rad_inpaint`.

    Args:
        settings: what the network sees, and `detail`; the sampler is the method's business.
        fill: the method.
        region_aware: `fill` noises the hole alone, and a soft pixel partly. Otherwise it noises the whole picture, and the soft
            mask mixes its fill with the picture.
        noise_mask: (B, 1, H, W), the mask as `fill` gets it, where it is not `mask` itself. Where it is below 1, the content of the
            hole is used, and what resizing takes from it is put back. `mask`, if soft, then mixes the fill with the picture.
        deepen: what a crop's noise mask (b, 1, h, w) becomes.
        context_mask, stitch_mask: as `rad_inpaint`.
        redraw: the method that redraws an enlarged fill. Its batch's picture has the fill in the hole, and its mask is the hole's at the
            noise to start from (`RegionSchedule.mask_of_sigma`). None: fills are only enlarged.
        redraw_from: that noise, which `settings.detail` multiplies, and which is less where the noise mask has less; and the steps.
        detail_net: the network that redraws; None: `net`.

    Raises:
        ValueError: an argument out of its range, in one sentence.
    """
    image, mask = check_image_and_mask(image, mask)
    others = (noise_mask, stitch_mask, context_mask)  # a context mask may hide what a soft pixel keeps
    mix = not region_aware or any(each is not None for each in others)
    context_mask, stitch_mask = check_extra_masks(context_mask, stitch_mask, mask)
    if order is not None:
        order = check_order(order, mask)
    classes = net.config.num_classes
    if classes and (labels is None or labels.shape != (len(image),) or bool((labels < 0).any() | (labels >= classes).any())):
        raise ValueError(f"This network draws by class: give a label from 0 to {classes - 1} for each picture.")
    detail_net = net if detail_net is None else detail_net
    if detail_net.config.num_classes != classes:
        raise ValueError("The network that redraws must draw by the same classes as the one that fills.")
    spec = CropSpec.of(net, settings)
    larger_spec = replace(spec, stride=math.lcm(spec.stride, detail_net.config.stride), device=detail_net.device)
    batches = crop_holes(image, mask if noise_mask is None else noise_mask, spec, order, context_mask)
    boxes = {k: crop.box for batch in batches for k, crop in batch.crops.items() if crop.resized}
    larger = enlarged(boxes, spec.size) if redraw and settings.detail else []
    streams, done, total = generators(seed, len(image), "sampling"), 0, settings.step_count * len(batches) + redraw_from.steps * len(larger)

    def run(method: Method, crops: CropBatch, network: Network) -> Tensor:
        picture, holes, numbers = crops.picture, crops.mask, list(crops.crops)
        own_labels = None if labels is None else labels[numbers].to(picture.device)
        denoise = ADMDenoiser(network, region_aware or network.region_aware, own_labels)
        if spec.view == "tiles":
            denoise = TiledDenoiser(denoise, spec.size, holes if region_aware else torch.ones_like(holes))
        noise = partial(normal, [streams[k] for k in numbers], picture.shape[1:], picture.device)
        report = callback and _report(callback, picture, holes, done, total)
        fills = method(Batch(denoise, picture, holes, crops.order, noise, report, network.dtype))
        if not torch.isfinite(fills).all():
            raise ValueError("The network's output has NaN or infinite values. Use float32, and check the strengths of its adapters.")
        return to_unit(fills)

    out, drawn = image.clone(), image.clone() if larger else image
    hidden = mask if context_mask is None else mask.maximum(1 - context_mask)
    share = RegionSchedule(net.config.schedule).mask_of_sigma(torch.tensor(settings.detail * redraw_from.sigma))
    shares = hidden * share.to(mask)
    for crops in batches:
        crops = crops if deepen is None else replace(crops, mask=deepen(crops.mask))
        fills = run(fill, crops, net)
        if noise_mask is not None:
            fills = crops.with_detail_of(image, fills)
            crops.limit(shares)
        crops.stitch(image, stitch_mask, fills, out, mix)
        if larger:
            crops.stitch(image, (hidden > 0).to(mask), fills, drawn)
        done += settings.step_count
    for numbers in larger:
        crops = crop_twice_as_large(drawn, shares, {k: boxes[k] for k in numbers}, larger_spec)
        crops.stitch(image, stitch_mask, crops.with_detail_of(drawn, run(redraw, crops, detail_net)), out, mix=True)
        done += redraw_from.steps
    return out


def _report(callback: Callback, picture: Tensor, mask: Tensor, done: int, total: int) -> Callback:
    """The user's callback for a batch, with x0 in [0, 1], the known pixels in place, and the steps of all batches counted."""
    return lambda step, steps, x0: callback(done + step, total, to_unit(torch.where(mask > 0, x0, picture)))
