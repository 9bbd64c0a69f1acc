"""GradPaint from picture to picture (Grechka et al. 2023): a network that was never trained to fill holes, under `guidance`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from .denoisers import ADM, Network, check_network
from .fills import Batch, FillMethod, Holes, Redrawing, fill_holes
from .guidance import GradPaint, Guidance, KnownPixels, Probe, finite_difference_step
from .notes import note
from .samplers import RESPONSE, SPACING, Callback, choose_sampler, sample_ddpm
from .schedule import RegionSchedule, SigmaMaps
from .settings import OWN_REDRAW, SamplingSettings, resolve_settings


@dataclass(frozen=True)
class GradPaintSettings(SamplingSettings):
    """How GradPaint fills a hole: how the network samples (see `SamplingSettings`; `eta` is ddim's), and how it is guided."""

    sampler: str = "ddpm"
    guidance: Guidance = field(default_factory=Guidance)

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.guidance, Guidance):
            raise ValueError(f"guidance must be a Guidance, got {type(self.guidance).__name__}.")


_GUIDANCE_ALONE = {each.name for each in fields(Guidance)} - {each.name for each in fields(GradPaintSettings)}
PLUS = GradPaintSettings()
PRESETS = {
    "default": PLUS,
    "plus": PLUS,
    "turbo": GradPaintSettings(guidance=Guidance(step="none")),
    "paper": GradPaintSettings(
        detail=0.0, guidance=Guidance(until=0.45, align_until=0.45, step="normalised", carry=False, eta=0.45, band=0)
    ),
    "combine": GradPaintSettings(guidance=Guidance(until=0.0)),
}


@torch.no_grad()
def gradpaint_inpaint(
    net: Network,
    image: Tensor,
    mask: Tensor,
    settings: GradPaintSettings | str = "default",
    *,
    seed: int | Sequence[int] = 0,
    labels: Tensor | None = None,
    callback: Callback | None = None,
    context_mask: Tensor | None = None,
    stitch_mask: Tensor | None = None,
    **changes: object,
) -> Tensor:
    """Fill the hole of each picture with a network that was never trained to fill holes.

    Args:
        net: a plain ADM network (`load_model`).
        image, mask, seed, labels, callback, context_mask, stitch_mask: as `rad_inpaint`; a soft mask mixes the fill with the picture.
        settings: how to fill: a name in `PRESETS` ("plus", which is the default, "turbo", "paper", or "combine" for no guidance) or
            a `GradPaintSettings`. A guided step costs two network calls, with "turbo" one.
        changes: fields of `GradPaintSettings` to change, such as steps=30, sampler="ddim", guidance=Guidance(until=0.5).

    Returns:
        (B, 3, H, W), dtype and device of `image`. Pixels where the mask is 0 are bit-identical to the input.

    Raises:
        ValueError: an argument out of its range, in one sentence.
    """
    check_network(net, *ADM)
    if wrong := [name for name in _GUIDANCE_ALONE if name in changes]:
        raise ValueError(f"{wrong[0]} is a setting of the guidance: pass guidance=Guidance({wrong[0]}={changes[wrong[0]]!r}).")
    settings = resolve_settings(settings, PRESETS, changes)
    steps, schedule = settings.step_count, RegionSchedule(net.config.schedule)
    sample = choose_sampler(settings.sampler, settings.eta)
    if net.region_aware:
        note("This network was trained for RAD, which fills holes better without GradPaint.")

    def guided(batch: Batch, sigmas: SigmaMaps, response: int, guidance: Guidance = settings.guidance) -> GradPaint:
        hole = (batch.mask > 0).to(batch.mask)  # grey pixels are mixed afterwards
        combine = lambda x, sigma, mask: torch.lerp(batch.picture + sigma * batch.noise(), x, mask)
        known, probe = KnownPixels(batch.picture, hole, combine=combine), Probe(finite_difference_step(batch.dtype))
        return GradPaint(batch.denoise, known, sigmas, guidance, response, probe=probe)

    def fill(batch: Batch) -> Tensor:
        sigmas = schedule.sigmas(torch.ones_like(batch.mask), steps, SPACING[settings.sampler])
        denoise = guided(batch, sigmas, RESPONSE[settings.sampler])
        return sample(denoise, sigmas[0] * batch.noise(), sigmas, batch.noise, batch.callback)

    def redraw(batch: Batch) -> Tensor:
        sigma = settings.detail * OWN_REDRAW.sigma
        share = schedule.mask_of_sigma(torch.tensor(sigma))
        sigmas = schedule.sigmas(torch.full_like(batch.mask, share), OWN_REDRAW.steps, "karras")
        guidance = settings.guidance
        if guidance.step == "normalised":  # such a step does not shrink with the noise by itself
            guidance = replace(guidance, eta=guidance.eta * sigma)
        denoise = guided(batch, sigmas, RESPONSE["ddpm"], guidance)
        return sample_ddpm(denoise, batch.picture + sigmas[0] * batch.noise(), sigmas, batch.noise, batch.callback)

    holes = Holes(image, mask, seed, labels, callback, context_mask=context_mask, stitch_mask=stitch_mask)
    return fill_holes(net, holes, settings, FillMethod(fill, region_aware=False, redrawing=Redrawing(redraw)))
