"""RAD inpainting: only the hole is noised and denoised (RAD 3.1, 3.2, 4.2)."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .denoisers import ADMDenoiser, TiledDenoiser
from .images import Box, check_image_and_mask, check_order, fit_size, hole_box, shrink_known, stitch, tile_box
from .noise import generators, normal
from .samplers import SAMPLERS, SPACING, Callback
from .schedule import NoiseSchedule, RegionSchedule
from .unet import UNet


@dataclass
class _Job:
    """One picture of a batch on its way through the network. All (1, C, h, w), in [-1, 1]."""

    picture: Tensor
    mask: Tensor
    order: Tensor | None
    box: Box
    stream: torch.Generator


@torch.no_grad()
def rad_inpaint(
    net: UNet,
    image: Tensor,
    mask: Tensor,
    steps: int = 100,
    sampler: str = "ddpm",
    seed: int | Sequence[int] = 0,
    context: float | None = None,
    eta: float = 0.0,
    order: Tensor | None = None,
    overlap: float = 0.0,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Fill the hole of each picture.

    Args:
        net: an ADM network with a RAD adapter loaded or merged (`load_model`, `load_adapter`).
        image: (B, 3, H, W) in [0, 1], any size and float dtype. What stands where the mask is 1 is not looked at.
        mask: (B, 1, H, W), (B, H, W) or (H, W): 1 = hole, 0 = keep, between = how strongly a pixel may change.
        steps: network calls, 1 to the length of the network's schedule.
        sampler: "ddpm" (the paper's), "ddim" or "dpmpp_2m".
        seed: picture k is drawn from seed + k, or from its entry of a list.
        context: what the network sees around the hole, as a share of the hole's size on each side; float("inf") for the whole
            picture. The part it sees is resized to the network's size. None: the network's own way, see `UNetConfig.context`.
        eta: noise of "ddim", 0 to 1.
        order: (B or 1, 1, H, W), (B or 1, H, W) or (H, W) in [0, 1], which part of a hole is filled first: 0 = first, 1 = last. It is
            stretched to this range over each hole and rounded to 15 levels. Parts that are finished lead those that follow.
        overlap: 0 = a part begins when the one before is finished, 1 = all together.
        labels: (B,) class labels for class-conditional networks.
        callback: called with (step, steps, x0) after each step, x0 (b, 3, h, w) in [0, 1] being the part under work; raise from
            it to cancel.

    Returns:
        (B, 3, H, W), dtype and device of `image`. Pixels where the mask is 0 are bit-equal to the input.

    Raises:
        ValueError: an argument out of its range, in one sentence.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"Unknown sampler '{sampler}': choose from {', '.join(SAMPLERS)}.")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie between 0 and 1, got {eta}.")
    if not 0 <= overlap <= 1:
        raise ValueError(f"overlap must lie between 0 and 1, got {overlap}.")
    if context is not None and not context >= 0:
        raise ValueError(f"context must be 0 or more, got {context}.")
    image, mask = check_image_and_mask(image, mask)
    if order is not None:
        order = check_order(order, mask)
    classes = net.config.num_classes
    if classes and (labels is None or bool((labels < 0).any() | (labels >= classes).any())):
        raise ValueError(f"This network draws by class: give a label from 0 to {classes - 1} for each picture.")
    if not net.region_aware:
        warnings.warn("This network was not trained for RAD: load a RAD adapter, or the fill will not fit the picture.", stacklevel=2)
    sample = partial(SAMPLERS[sampler], eta=eta) if sampler == "ddim" else SAMPLERS[sampler]
    schedule = RegionSchedule(NoiseSchedule(net.config.schedule))
    schedule.phase1.spaced(steps)  # a wrong count is told before any work is done
    spaced = partial(schedule.sigmas, steps=steps, spacing=SPACING[sampler], overlap=overlap)
    context = net.config.context if context is None else context

    out, groups = image.clone(), {}
    for k, stream in enumerate(generators(seed, image.shape[0], "sampling")):
        if mask[k].any():
            job = _prepare(net, image[k], mask[k], None if order is None else order[k], context, stream)
            alone = k if context is None else 0  # tiled pictures are sampled one by one
            groups.setdefault((alone, job.picture.shape), {})[k] = job
    for group in groups.values():
        jobs = list(group.values())
        denoise = ADMDenoiser(net, schedule.phase1, labels=None if labels is None else labels[list(group)].to(jobs[0].picture.device))
        if context is None:
            denoise = TiledDenoiser(denoise, net.config.image_size, jobs[0].mask)
        fills = _fill(denoise, jobs, spaced, sample, callback)
        if not torch.isfinite(fills).all():
            raise ValueError("The network gave values that are not numbers. Use float32, and look at the strengths of its adapters.")
        for k, fill in zip(group, fills, strict=True):
            height, width = (jobs[0].box.height, jobs[0].box.width) if context is None else fill.shape[1:]
            out[k] = stitch(image[k], mask[k], group[k].box, fill[:, :height, :width].to(image.device))
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


def _fill(denoise, jobs: list[_Job], spaced, sample, callback: Callback | None) -> Tensor:
    """Sample a batch of equal size: (b, 3, h, w) in [0, 1] on the network's device."""
    picture, mask = (torch.cat([getattr(job, name) for job in jobs]) for name in ("picture", "mask"))
    draw = partial(normal, [job.stream for job in jobs], picture.shape[1:], picture.device)
    sigmas = spaced(mask, order=None if jobs[0].order is None else torch.cat([job.order for job in jobs]))
    report = (lambda step, total, x0: callback(step, total, _to_unit(torch.where(mask > 0, x0, picture)))) if callback else None
    return _to_unit(sample(denoise, picture + sigmas[0] * draw(), sigmas, draw, report))


def _to_unit(x: Tensor) -> Tensor:
    return ((x + 1) / 2).clamp(0, 1)  # a NaN stays one
