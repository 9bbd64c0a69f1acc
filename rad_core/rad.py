"""RAD inpainting: only the hole is noised and denoised (RAD 3.1, 3.2, 4.2)."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .crops import Batch, fill_holes
from .gradpaint import FINITE_DIFFERENCE, GradPaint, GradPaintSettings
from .images import check_image_and_mask, check_map
from .samplers import SPACING, STEPS, Callback, choose_sampler
from .schedule import NoiseSchedule, RegionSchedule
from .unet import UNet

ALIGNMENT = GradPaintSettings(since=0.75, align_until=1.0, step="natural", eta=1.0)  # of the rim, at full strength
STRENGTH = 3.0  # noise in units of the doubt: `measurements.sdm --strength 1 2 4 8 16 --seed 5000` is best at 2 to 4


@torch.no_grad()
def rad_inpaint(
    net: UNet,
    image: Tensor,
    mask: Tensor,
    steps: int | None = None,
    sampler: str = "ddim",
    seed: int | Sequence[int] = 0,
    context: float | None = None,
    eta: float = 0.0,
    order: Tensor | None = None,
    overlap: float = 0.0,
    labels: Tensor | None = None,
    align: float = 0.0,
    doubt: Tensor | None = None,
    strength: float = STRENGTH,
    callback: Callback | None = None,
) -> Tensor:
    """Fill the hole of each picture, or refine what stands in it.

    Args:
        net: an ADM network with a RAD adapter loaded or merged (`load_model`, `load_adapter`).
        image: (B, 3, H, W) in [0, 1], any size and float dtype. What stands where the mask is 1 is not looked at.
        mask: (B, 1, H, W), (B, H, W) or (H, W): 1 = hole, 0 = keep, between = how strongly a pixel may change.
        steps: network calls, 1 to the length of the network's schedule; what suits the sampler unless given, see `samplers.STEPS`.
        sampler: "ddim", "dpmpp_2m", or "ddpm", which is the paper's.
        seed: picture k is drawn from seed + k, or from its entry of a list.
        context: what the network sees around the hole, as a share of the hole's size on each side; float("inf") for the whole
            picture. The part it sees is resized to the network's size. None: the network's own way, see `UNetConfig.context`.
        eta: noise of "ddim", 0 to 1.
        order: (B or 1, 1, H, W), (B or 1, H, W) or (H, W) in [0, 1], which part of a hole is filled first: 0 = first, 1 = last. It is
            stretched to this range over each hole and rounded to 15 levels. Parts that are finished lead those that follow.
        overlap: 0 = a part begins when the one before is finished, 1 = all together.
        align: how far to bring the jumps across the hole's rim to those beside it, 0 (the paper's RAD) to 1, by GradPaint's alignment
            loss in the last quarter of the steps, at 1.25 times the cost. It hides the rim of a network that is not quite trained.
        labels: (B,) class labels for class-conditional networks.
        doubt: (B or 1, 1, H, W), (B or 1, H, W) or (H, W), 0 or more: how far what stands in the hole may be from the truth, as
            `sdm_inpaint` tells it. Then the hole is not filled from nothing: each pixel starts from what it shows, with noise of
            `strength` times its doubt (in the network's units, where black to white is 2), so that only what is doubtful is re-imagined.
            Where the doubt is 0, pixels come back bit-equal.
        strength: see `doubt`, above 0.
        callback: called with (step, steps, x0) after each step, x0 (b, 3, h, w) in [0, 1] being the part under work; raise from
            it to cancel.

    Returns:
        (B, 3, H, W), dtype and device of `image`. Pixels where the mask is 0 are bit-equal to the input.

    Raises:
        ValueError: an argument out of its range, in one sentence.
    """
    sample = choose_sampler(sampler, eta)
    steps = STEPS[sampler] if steps is None else steps
    if not 0 <= overlap <= 1:
        raise ValueError(f"overlap must lie between 0 and 1, got {overlap}.")
    if not net.region_aware:
        warnings.warn("This network was not trained for RAD: load a RAD adapter, or the fill will not fit the picture.", stacklevel=2)
    if not 0 <= align <= 1:
        raise ValueError(f"align must lie between 0 and 1, got {align}.")
    if doubt is not None and not strength > 0:
        raise ValueError(f"strength must be above 0, got {strength}.")
    guidance = replace(ALIGNMENT, eta=align)
    schedule = RegionSchedule(NoiseSchedule(net.config.schedule))
    schedule.phase1.spaced(steps)  # a wrong count is told before any work is done

    def fill(batch: Batch) -> Tensor:
        sigmas = schedule.sigmas(batch.mask, steps, SPACING[sampler], batch.order, overlap)
        denoise = batch.denoise
        if align:
            difference = FINITE_DIFFERENCE.get(net.dtype, 0.02)
            denoise = GradPaint(denoise, batch.picture, batch.mask, sigmas, guidance, difference=difference)
        return sample(denoise, batch.picture + sigmas[0] * batch.draw(), sigmas, batch.draw, batch.callback)

    image, mask = check_image_and_mask(image, mask)
    amount = None
    if doubt is not None:
        doubt = check_map(doubt, mask, "doubt")
        mask = mask * (doubt > 0)
        amount = mask * noise_share(doubt, strength, schedule.nu)
        if not bool(torch.isfinite(image.masked_fill(mask == 0, 0)).all()):
            raise ValueError("The fill to refine has NaN or infinite values.")
    return fill_holes(net, image, mask, fill, seed, context, labels, callback, order, amount=amount)


def noise_share(doubt: Tensor, strength: float, nu: float, levels: int = 15) -> Tensor:
    """The mask value m at which a pixel's noise at the end of phase 1 is `strength` times its doubt: sigma^2 / (1 + sigma^2) = nu m.

    Rounded to few values, which the network has a shortcut for (see `unet`), and never to 0.
    """
    sigma = strength * doubt.clamp(min=0)
    root = (sigma.square() / (1 + sigma.square()) / nu).clamp(max=1).sqrt()
    return ((root * levels).round().clamp(min=1) / levels).square()
