"""RAD inpainting: only the hole is noised and denoised (RAD 3.1, 3.2, 4.2)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from .denoisers import ADM, Network, check_network
from .depth import depth_of
from .fills import Batch, FillMethod, Holes, Redrawing, Refinement, fill_holes
from .guidance import GradPaint, Guidance, KnownPixels, Probe, finite_difference_step
from .images import check_image_and_mask, check_map
from .notes import note
from .samplers import SPACING, Callback, choose_sampler, sample_ddpm
from .schedule import RegionSchedule, SigmaMaps
from .settings import OWN_REDRAW, TRAINED_REDRAW, SamplingSettings, resolve_settings
from .timestep_embedding import MAX_LEVELS

ALIGNMENT = Guidance(since=0.75, lambda_mse=0.0, align_until=1.0, step="natural", carry=False, eta=1.0)  # of the rim, at full strength

UNTRAINED = "This network was not trained for RAD: load a RAD adapter, or the fill will not fit the picture."


@dataclass(frozen=True)
class RADSettings(SamplingSettings):
    """How RAD fills a hole. The defaults are the preset "default".

    Args:
        steps, sampler, eta, view, context, detail: see `SamplingSettings`.
        align: how far to bring the jumps across the hole's rim to those beside it, 0 (the paper's RAD) to 1, by GradPaint's alignment
            loss in the last quarter of the steps, at 1.25 times the cost. It hides the rim of a network that is not fully trained. With an
            order map, only the rims of the parts filled last are aligned; with an uncertainty map, none: what is refined fits already.
        overlap: with an order map (only), 0 finishes a part before the next begins, 1 denoises all at the same time.
        sigma_scale: with an uncertainty map, the noise that a pixel starts from in units of its uncertainty, above 0, where it is 3
            pixels (as the network sees them) inside the hole; see `deepen`.

    Raises:
        ValueError: a value out of its range.
    """

    align: float = 1.0
    overlap: float = 0.0
    sigma_scale: float = 4.0

    def __post_init__(self):
        super().__post_init__()
        for name in ("align", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}.")
        if not 0 < self.sigma_scale < math.inf:
            raise ValueError(f"sigma_scale must be above 0 and finite, got {self.sigma_scale}.")


PRESETS = {"default": RADSettings(), "paper": RADSettings(sampler="ddpm", align=0.0, detail=0.0)}


@torch.no_grad()
def rad_inpaint(
    net: Network,
    image: Tensor,
    mask: Tensor,
    settings: RADSettings | str = "default",
    *,
    seed: int | Sequence[int] = 0,
    order: Tensor | None = None,
    uncertainty: Tensor | None = None,
    labels: Tensor | None = None,
    detail_net: Network | None = None,
    callback: Callback | None = None,
    context_mask: Tensor | None = None,
    stitch_mask: Tensor | None = None,
    **changes: object,
) -> Tensor:
    """Fill the hole of each picture, or refine an earlier fill.

    Args:
        net: an ADM network with a RAD adapter loaded or merged (`load_model`, `load_adapter`).
        image: (B, 3, H, W) in [0, 1], any size and float dtype. Pixels where the mask is 1 are ignored.
        mask: (B, 1, H, W), (B, H, W) or (H, W): 1 = hole, 0 = keep, between = how strongly a pixel may change.
        settings: how to fill: "default", "paper" or a `RADSettings`.
        seed: picture k is drawn from seed + k, or from its entry of a list.
        order: (B or 1, 1, H, W), (B or 1, H, W) or (H, W) in [0, 1], which part of a hole is filled first: 0 = first, 1 = last. It is
            stretched to this range over each hole and rounded to 15 levels. Parts that are finished guide those that follow.
        uncertainty: (B or 1, 1, H, W), (B or 1, H, W) or (H, W), 0 or more: how far the content of the hole may be from the truth, as
            `sdm_inpaint` returns it. Then the hole is refined instead of filled from nothing: each pixel starts from its present value,
            with the more noise the more uncertain it is and the deeper it lies in the hole, see `deepen`. Pixels of uncertainty 0
            come back bit-identical.
        labels: (B,) class labels for class-conditional networks.
        detail_net: the network that redraws enlarged fills (see `detail`), such as the same one with an adapter that was trained to
            (`train rad --redraw-noise`). It draws by the same classes, if any. None: `net`.
        callback: called with (step, steps, x0) after each step, x0 (b, 3, h, w) in [0, 1] being the crops under work; raise from
            it to cancel. Crops of different sizes run one after the other, and their steps are counted on.
        context_mask: (B or 1, 1, H, W), (B or 1, H, W) or (H, W), 1 = the network may look at it: outside it, known pixels are ignored too.
            The view "hole" then reaches as far as it does, whatever `context`.
        stitch_mask: the same shapes: what is pasted back in place of the mask, 1 = the fill, 0 = the picture, bit-identical.
        changes: fields of `RADSettings` to change, such as steps=100, sampler="ddpm".

    Returns:
        (B, 3, H, W), dtype and device of `image`. Pixels where the mask (the stitch mask, if any) is 0 are bit-identical to the input.

    Raises:
        ValueError: an argument out of its range, in one sentence.
    """
    check_network(net, *ADM)
    settings = resolve_settings(settings, PRESETS, changes)
    if settings.overlap and order is None:
        raise ValueError("overlap is for the parts of an order map: pass an order, or leave overlap at 0.")
    if not net.region_aware:
        note(UNTRAINED)
    if detail_net is not None and not detail_net.region_aware:
        note("The network that redraws was not trained for RAD: load an adapter that was trained to redraw on it.")
    steps, schedule = settings.step_count, RegionSchedule(net.config.schedule)
    sample, guidance = choose_sampler(settings.sampler, settings.eta), replace(ALIGNMENT, eta=settings.align)
    redraw_from = OWN_REDRAW if detail_net is None else TRAINED_REDRAW

    def run(batch: Batch, mask: Tensor, sigmas: SigmaMaps, sample: Callable[..., Tensor]) -> Tensor:
        denoise = batch.denoise
        if settings.align and uncertainty is None:
            known = KnownPixels(batch.picture, mask)
            denoise = GradPaint(denoise, known, sigmas, guidance, probe=Probe(finite_difference_step(batch.dtype)))
        return sample(denoise, batch.picture + sigmas[0] * batch.noise(), sigmas, batch.noise, batch.callback)

    def fill(batch: Batch) -> Tensor:
        return run(batch, batch.mask, schedule.sigmas(batch.mask, steps, SPACING[settings.sampler], batch.order, settings.overlap), sample)

    def redraw(batch: Batch) -> Tensor:
        return run(batch, (batch.mask > 0).to(batch.mask), schedule.sigmas(batch.mask, redraw_from.steps, "karras"), sample_ddpm)

    refinement = None
    if uncertainty is not None:
        image, mask = check_image_and_mask(image, mask)
        uncertainty = check_map(uncertainty, mask, "uncertainty map")
        mask = mask * (uncertainty > 0)
        if not bool(torch.isfinite(image.masked_fill(mask == 0, 0)).all()):
            raise ValueError("The fill to refine has NaN or infinite values.")
        noise_mask = (mask > 0) * schedule.mask_of_sigma(settings.sigma_scale * uncertainty.clamp(min=0))
        refinement = Refinement(noise_mask, partial(deepen, schedule=schedule))
    holes = Holes(image, mask, seed, labels, callback, order, context_mask, stitch_mask)
    method = FillMethod(fill, refinement=refinement, redrawing=Redrawing(redraw, redraw_from, detail_net))
    return fill_holes(net, holes, settings, method)


def deepen(noise_mask: Tensor, schedule: RegionSchedule) -> Tensor:
    """Give an uncertain pixel the more noise the farther it is from a certain one: sigma (d / 3)^1.5 at d of the crop's pixels.

    Near the rim a fill errs pixel by pixel. Deep in a hole it errs by whole shapes, and noise hides a shape only if it is stronger than the
    error, since the network averages it over the shape's area. The powers 1.5 and 2 did best of 0, .5, 1, 1.5 and 2, and a
    `sigma_scale` of 3 to 5 about alike (docs/measurements.md).

    Args:
        noise_mask: (b, 1, h, w), `RegionSchedule.mask_of_sigma` of each pixel's own noise sigma; 0 = certain.

    Returns:
        (b, 1, h, w), the same of the noise that each pixel gets, 0 where it was 0; so few values that the network has a shortcut for them
        (see `timestep_embedding`).
    """
    depth = torch.stack([depth_of(hole, most=64) for hole in noise_mask[:, 0] > 0])[:, None]
    variance = schedule.nu * noise_mask / (1 - schedule.nu * noise_mask).clamp(min=1e-6) * (depth / 3) ** 3
    root, values = schedule.mask_of_sigma(variance.sqrt()).sqrt(), MAX_LEVELS - 1
    return torch.where(noise_mask > 0, ((root * values).round().clamp(min=1) / values).square(), 0)
