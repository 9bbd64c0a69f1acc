"""GradPaint on any host MODEL: a guider that wraps the sampler's denoiser. The MODEL itself is never patched."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from torch import Tensor

from ...rad_core.guidance import Guidance
from ...rad_core.images import clamp_mask
from ...rad_core.notes import note
from .guided_model import GuidedModel, Parts
from .holes import NO_HOLE, hole_in_latents
from .latents import check_latents, seed_of, seeds_of
from .notes import shown_on_node
from .progress import Progress

OWN_LEVELS = ("dpm_fast_function", "dpm_adaptive_function")  # the host's samplers that step between noise levels of their own


@dataclass(frozen=True)
class HostSettings:
    """How to guide a host MODEL.

    Args:
        guidance: as for any network.
        align_in: "colours" takes the alignment loss on the colours that a latent stands for (the host's preview factors), "TAESD" on
            the picture that TAESD decodes from it, "latent" on its values.
        conditional_only: take the gradient of the positive prompt's prediction alone; halves the extra cost where CFG is used.
    """

    guidance: Guidance = field(default_factory=Guidance)
    align_in: str = "colours"
    conditional_only: bool = False


class GradPaintGuider(comfy.samplers.CFGGuider):
    """A CFG guider that keeps a picture's known latents and guides the rest toward them.

    Args:
        model: any MODEL whose prediction is a mean: noise, v, EDM, flow matching.
        picture: a LATENT of pictures (B, C, h, w) or video (B, C, T, h, w); mask: see `hole_in_latents`. Without them the sampler's own
            latents and noise mask are used.

    Raises:
        ValueError: another kind of MODEL.
    """

    def __init__(
        self, model, positive, negative, cfg: float, settings: HostSettings, picture: dict | None = None, mask: Tensor | None = None
    ):
        super().__init__(model)
        self.flow = _is_flow(model)
        self.inner_set_conds({"positive": positive, "negative": negative})
        self.set_cfg(cfg)
        self.settings, self.hole = settings, mask
        self.picture = None if picture is None else _parts(picture["samples"])[0]

    @shown_on_node()
    def sample(self, noise, latent_image, sampler, sigmas, denoise_mask=None, callback=None, disable_pbar=False, seed=None, seeds=None):
        """Sample as the host's guiders do. Of nested latents (video with sound) the first is guided.

        Args:
            seeds: of the guidance's noise, for each picture; seed + k for picture k unless given.

        Raises:
            ValueError: latents that are not pictures' or video's, or a sampler that cannot be guided.
        """
        latents, masks = _parts(latent_image), _parts(denoise_mask)
        self.parts = Parts(tuple(latents[0].shape) if len(latents) > 1 else None)
        if latents[0].ndim not in (4, 5):
            raise ValueError("These latents are not a picture's or a video's (sound, or a 3D shape): GradPaint cannot guide them.")
        if len(latents) == 1:  # of several kinds of latents the host names the channels of one
            check_latents(self.model_patcher, latents[0])
        if not isinstance(sampler, comfy.samplers.KSAMPLER):
            raise ValueError(
                f"GradPaint cannot guide the sampler {type(sampler).__name__}: choose one with 'KSamplerSelect' "
                "(RAD's samplers keep known pixels without it)."
            )
        mask = masks[0] if self.hole is None else self.hole
        if mask is not None:
            mask = clamp_mask(mask.float())
            # The host would sample the mask at a few pixels of each block, and keep latents that show some of the hole.
            hole = hole_in_latents(mask, latents[0].shape)
            if self.picture is not None:
                latents[0] = _place(latents[0], self.picture, hole)
            if mask.any():
                sampler = _GuidedSampler(sampler, self, seeds)
            elif len(masks) == len(latents) and not any(other.any() for other in masks[1:]):  # the host samples what has no mask
                note(NO_HOLE)
                return _joined(latents)
            latent_image, denoise_mask = _joined(latents), _joined([hole, *masks[1:]])
        else:
            note("GradPaint: there is no mask, so no pixel is known and the picture is sampled without guidance.")
        return super().sample(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed)


def _parts(latents) -> list[Tensor]:
    """The tensors of nested latents or masks, or the only one."""
    return list(latents.unbind()) if getattr(latents, "is_nested", False) else [latents]


def _joined(parts: list[Tensor]):
    """The host's form of several latents or masks, or the only one."""
    if len(parts) == 1:
        return parts[0]
    import comfy.nested_tensor  # not in older hosts

    return comfy.nested_tensor.NestedTensor(parts)


def _is_flow(model) -> bool:
    """Whether a MODEL's state is (1 - sigma) x0 + sigma noise, not x0 + sigma noise. Raises ValueError for any other kind."""
    sampling = model.get_model_object("model_sampling")
    kinds = lambda *names: tuple(getattr(comfy.model_sampling, name) for name in names if hasattr(comfy.model_sampling, name))
    noised = isinstance(sampling, kinds("EPS", "CONST", "COSMOS_RFLOW", "V_PREDICTION_DDPM"))  # newer hosts have more
    if not noised or isinstance(sampling, kinds("IMG_TO_IMG", "IMG_TO_IMG_FLOW")):
        raise ValueError(
            f"GradPaint does not know the prediction type of this MODEL ({type(model.model).__name__}): it works on models that "
            "make a picture out of noise (SD1.5, SDXL, SD3, Flux, Qwen-Image, Z-Image, Wan and others)."
        )
    return isinstance(sampling, comfy.model_sampling.CONST)


def _place(latent_image: Tensor, picture: Tensor, hole: Tensor) -> Tensor:
    """`picture`, with `latent_image` in its hole."""
    if picture.shape[1:] != latent_image.shape[1:]:
        have, want = (" x ".join(map(str, x.shape[1:])) for x in (picture, latent_image))
        raise ValueError(f"The guider's picture ({have}) and the sampler's latents ({want}) differ in size: connect the same latents.")
    count = latent_image.shape[0]
    share = comfy.utils.repeat_to_batch_size(hole, count).to(latent_image)
    return torch.lerp(comfy.utils.repeat_to_batch_size(picture, count).to(latent_image), latent_image, share)


class _GuidedSampler(comfy.samplers.Sampler):
    """A host sampler that runs on a guided denoiser."""

    def __init__(self, sampler, guider: GradPaintGuider, seeds: list[int] | None):
        self.sampler, self.guider, self.seeds = sampler, guider, seeds

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False) -> Tensor:
        function = self.sampler.sampler_function
        if (self.guider.parts.split(denoise_mask)[0] == 0).any():
            function = partial(self._guided, denoise_mask)
        else:
            note("GradPaint: the mask leaves no known pixels, so the picture is sampled without guidance.")
        run = comfy.samplers.KSAMPLER(function, self.sampler.extra_options, self.sampler.inpaint_options)
        ends_clean = sigmas[-1] == 0  # read first: uni_pc writes into sigmas
        samples = run.sample(model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar)
        if not ends_clean:
            return samples
        # uni_pc and dpm_fast leave a trace of noise on known latents
        parts = self.guider.parts
        (first, rest), (mask, _), (known, _) = map(parts.split, (samples, denoise_mask, latent_image))
        return parts.join(torch.where(mask > 0, first, known.to(first)), rest)

    def _guided(self, mask: Tensor, model, x: Tensor, sigmas: Tensor, extra_args: dict, **options) -> Tensor:
        function = self.sampler.sampler_function
        own_levels = getattr(function, "__name__", "") in OWN_LEVELS
        guided = GuidedModel(model, self.guider, sigmas, mask, self.seeds or extra_args.get("seed") or 0, own_levels)
        return function(guided, x, sigmas, extra_args=extra_args, **options)


def run_gradpaint(
    guider: GradPaintGuider,
    seed: int,
    steps: int,
    sampler: str,
    scheduler: str,
    denoise: float,
    latent: dict,
    noise: Tensor | None = None,
    seeds: list[int] | None = None,
    callback: Callable | None = None,
) -> dict:
    """Sample as KSampler does: LATENT in, LATENT out.

    Args:
        noise: (B, C, h, w), drawn as KSampler does unless given.
        seeds: of the guidance's noise, for each picture; those of the pictures' places in their batch unless given.
    """
    model = guider.model_patcher
    ratios = {k: v for k, v in latent.items() if k.startswith("downscale_ratio") and v is not None}  # of newer hosts' empty latents
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], **ratios)
    plan = comfy.samplers.KSampler(model, steps, model.load_device, sampler, scheduler, denoise, model.model_options)
    if noise is None:
        noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
    seeds = seeds or seeds_of(seed, latent)
    callback = callback or Progress().of_latents(model)
    host_sampler = comfy.samplers.sampler_object(plan.sampler)
    quiet = not comfy.utils.PROGRESS_BAR_ENABLED
    filled = guider.sample(noise, samples, host_sampler, plan.sigmas, latent.get("noise_mask"), callback, quiet, seed, seeds)
    latent = {k: v for k, v in latent.items() if not k.startswith("downscale_ratio")}
    return {**latent, "samples": filled.to(comfy.model_management.intermediate_device())}


def sample_crops(
    guider: GradPaintGuider,
    seed: int,
    steps: int,
    sampler: str,
    scheduler: str,
    denoise: float,
    latents: Tensor,
    holes: Tensor,
    numbers: list[int],
    callback: Callable,
) -> Tensor:
    """`run_gradpaint` on latents (B, C, ...) with holes (n, 1, H, W); picture k starts from the noise of seed + k, whatever its batch.

    numbers: k of each, or of a video's frames, whose first counts.
    """
    check_latents(guider.model_patcher, latents)  # before the host gives those of another VAE a time axis
    seeds = [seed_of(seed, number) for number in numbers]
    noise = torch.cat([comfy.sample.prepare_noise(latents[k : k + 1], seeds[k]) for k in range(len(latents))])
    latent = {"samples": latents, "noise_mask": holes}
    return run_gradpaint(guider, seeds[0], steps, sampler, scheduler, denoise, latent, noise, seeds[: len(latents)], callback)["samples"]
