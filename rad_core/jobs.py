"""From picture to picture: cut out what a network will see of each, let a method fill it, and put the fill back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .denoisers import ADMDenoiser, TiledDenoiser
from .images import Box, check_image_and_mask, check_order, fit_size, hole_box, shrink_known, stitch, tile_box
from .noise import generators, normal
from .samplers import Callback, Denoiser, Noise
from .schedule import NoiseSchedule
from .unet import UNet


@dataclass(frozen=True)
class Batch:
    """Pictures of equal size on their way through the network, on its device. Pictures and fills are in [-1, 1]."""

    denoise: Denoiser
    picture: Tensor  # (b, 3, h, w); 0 in the hole
    mask: Tensor  # (b, 1, h, w)
    order: Tensor | None  # (b, 1, h, w)
    draw: Noise
    callback: Callback | None  # takes x0 as it comes; what it shows has the known pixels in place


@dataclass
class _Job:
    """One picture, cut out. All (1, C, h, w)."""

    picture: Tensor
    mask: Tensor
    order: Tensor | None
    box: Box
    stream: torch.Generator


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
) -> Tensor:
    """Run a method on every picture that has a hole; arguments as `rad_inpaint`.

    Args:
        fill: gives (b, 3, h, w) for a batch, about [-1, 1].
        region_aware: `fill` noises the hole alone, and a soft pixel partly; otherwise it noises the whole picture, and the soft
            mask mixes its fill with the picture.

    Raises:
        ValueError: an argument out of its range, in one sentence.
    """
    if context is not None and not context >= 0:
        raise ValueError(f"context must be 0 or more, got {context}.")
    image, mask = check_image_and_mask(image, mask)
    if order is not None:
        order = check_order(order, mask)
    classes = net.config.num_classes
    if classes and (labels is None or bool((labels < 0).any() | (labels >= classes).any())):
        raise ValueError(f"This network draws by class: give a label from 0 to {classes - 1} for each picture.")
    context = net.config.context if context is None else context

    out, groups = image.clone(), {}
    for k, stream in enumerate(generators(seed, image.shape[0], "sampling")):
        if mask[k].any():
            job = _prepare(net, image[k], mask[k], None if order is None else order[k], context, stream)
            alone = k if context is None else 0  # tiled pictures are sampled one by one
            groups.setdefault((alone, job.picture.shape), {})[k] = job
    for group in groups.values():
        jobs = list(group.values())
        given = None if labels is None else labels[list(group)].to(jobs[0].picture.device)
        denoise = ADMDenoiser(net, NoiseSchedule(net.config.schedule), region_aware or net.region_aware, given)
        if context is None:
            seen = jobs[0].mask if region_aware else torch.ones_like(jobs[0].mask)
            denoise = TiledDenoiser(denoise, net.config.image_size, seen)
        fills = fill(_batch(denoise, jobs, callback))
        if not torch.isfinite(fills).all():
            raise ValueError("The network gave values that are not numbers. Use float32, and look at the strengths of its adapters.")
        for k, job, done in zip(group, jobs, _to_unit(fills), strict=True):
            height, width = (job.box.height, job.box.width) if context is None else done.shape[1:]
            done = done[:, :height, :width].to(image.device)
            out[k] = stitch(image[k], mask[k], job.box, done, mix=not region_aware)
    return out


def _prepare(net: UNet, picture: Tensor, mask: Tensor, order: Tensor | None, context: float | None, stream: torch.Generator) -> _Job:
    """Cut out what the network will see and bring it to its size: resized, or in tiles at the picture's own scale."""
    size, stride = net.config.image_size, net.config.stride
    device = net.device
    picture = torch.where(mask < 1, picture.float(), 0.5)
    if context is None:
        box = tile_box(mask, size)
        pad = [max(0, size - side) for side in (box.height, box.width)]
        picture = F.pad(box.cut(picture)[None], (0, pad[1], 0, pad[0]), mode="replicate")
        mask = F.pad(box.cut(mask)[None], (0, pad[1], 0, pad[0]))
        order = None if order is None else F.pad(box.cut(order)[None], (0, pad[1], 0, pad[0]))
    else:
        box = hole_box(mask, context, size)
        picture, mask = shrink_known(box.cut(picture)[None], box.cut(mask)[None], fit_size(box, size, stride))
        order = None if order is None else F.interpolate(box.cut(order)[None], mask.shape[2:], mode="nearest-exact")
    picture = torch.where(mask < 1, picture * 2 - 1, 0)
    return _Job(picture.to(device), mask.to(device), None if order is None else order.to(device), box, stream)


def _batch(denoise: Denoiser, jobs: list[_Job], callback: Callback | None) -> Batch:
    picture, mask = (torch.cat([getattr(job, name) for job in jobs]) for name in ("picture", "mask"))
    order = None if jobs[0].order is None else torch.cat([job.order for job in jobs])
    draw = partial(normal, [job.stream for job in jobs], picture.shape[1:], picture.device)
    report = callback and (lambda step, total, x0: callback(step, total, _to_unit(torch.where(mask > 0, x0, picture))))
    return Batch(denoise, picture, mask, order, draw, report)


def _to_unit(x: Tensor) -> Tensor:
    return ((x + 1) / 2).clamp(0, 1)  # a NaN stays one
