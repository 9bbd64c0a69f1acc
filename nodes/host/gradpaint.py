"""GradPaint on any host MODEL: a guider that wraps the sampler's denoiser. The MODEL itself is never patched."""

from dataclasses import dataclass, field
from functools import partial

import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
import torch.nn.functional as F
from torch import Tensor

from ...rad_core.gradpaint import GradPaint, Guidance, KnownPixels, Probe, finite_difference_step
from ...rad_core.images import clamp_mask
from ...rad_core.losses import Colours
from ...rad_core.noise import generators, normal
from ...rad_core.notes import note
from .latents import check_latents, seed_of
from .notes import shown_on_node
from .taesd import TAESDColours

NO_HOLE = "The mask has no hole, so the picture comes back as it was. Paint one, or connect a mask node."


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
        picture: a LATENT of shape (B, C, h, w); mask: (B or 1, 1, H, W) or (H, W), 1 = hole. Without them the sampler's own latents and
            noise mask are used.

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
        self.settings, self.picture, self.hole = settings, None if picture is None else picture["samples"], mask

    @shown_on_node()
    def sample(self, noise, latent_image, sampler, sigmas, denoise_mask=None, callback=None, disable_pbar=False, seed=None):
        """Sample as the host's guiders do.

        Raises:
            ValueError: latents that are not pictures', or a sampler that cannot be guided.
        """
        hole = denoise_mask if self.hole is None else self.hole
        if getattr(latent_image, "is_nested", False) or latent_image.ndim != 4:
            raise ValueError(
                "These latents have a time axis (video, sound, or an image MODEL on a video VAE such as Qwen-Image), which GradPaint "
                "cannot guide: use SD1.5, SDXL, SD3, Flux or an ADM network."
            )
        if not isinstance(sampler, comfy.samplers.KSAMPLER):
            raise ValueError(
                f"GradPaint cannot guide the sampler {type(sampler).__name__}: choose one with 'KSamplerSelect' "
                "(RAD's samplers keep known pixels without it)."
            )
        if hole is not None:
            hole = clamp_mask(hole.reshape(-1, 1, *hole.shape[-2:]).float())
            if self.picture is not None:
                latent_image = _place(latent_image, self.picture, F.adaptive_max_pool2d(hole, latent_image.shape[2:]))
            if not hole.any():
                note(NO_HOLE)
                return latent_image
            sampler = _GuidedSampler(sampler, self, trusted_latents(hole, latent_image.shape))
            # The host would sample the mask at a few pixels of each block, and keep latents that show some of the hole.
            hole = F.adaptive_max_pool2d(hole, latent_image.shape[2:])
        else:
            note("GradPaint: there is no mask, so no pixel is known and the picture is sampled without guidance.")
        return super().sample(noise, latent_image, sampler, sigmas, hole, callback, disable_pbar, seed)


def _is_flow(model) -> bool:
    """Whether a MODEL predicts a flow, not noise or v. Raises ValueError for any other kind."""
    sampling, known = model.get_model_object("model_sampling"), comfy.model_sampling
    if isinstance(sampling, known.CONST):
        return True
    if not isinstance(sampling, known.EPS) or isinstance(sampling, known.IMG_TO_IMG):
        raise ValueError(
            f"GradPaint does not know the prediction type of this MODEL ({type(model.model).__name__}): it works on models that "
            "predict noise, v or a flow (SD1.5, SDXL, SD3, Flux, ADM)."
        )
    return False


def _place(latent_image: Tensor, picture: Tensor, hole: Tensor) -> Tensor:
    """`picture`, with `latent_image` in its hole."""
    if picture.shape[1:] != latent_image.shape[1:]:
        have, want = (" x ".join(map(str, x.shape[1:])) for x in (picture, latent_image))
        raise ValueError(f"The guider's picture ({have}) and the sampler's latents ({want}) differ in size: connect the same latents.")
    count = latent_image.shape[0]
    share = comfy.utils.reshape_mask(hole, latent_image.shape).to(latent_image)
    return torch.lerp(comfy.utils.repeat_to_batch_size(picture, count).to(latent_image), latent_image, share)


def trusted_latents(hole: Tensor, shape) -> Tensor:
    """Where latents depend on known pixels alone: hole (n, 1, H, W) -> (B, 1, h, w) with 1 = trusted.

    A latent stands for a block of pixels and depends on those around it too. So it is trusted if neither its block nor those of its
    neighbours have a hole. A mask of the latents' own size is taken as it is.
    """
    hole = (hole > 0).float()
    touched = F.adaptive_max_pool2d(hole, shape[2:])
    if hole.shape[2:] != shape[2:]:
        touched = F.max_pool2d(touched, 3, 1, 1)
    return 1 - comfy.utils.repeat_to_batch_size(touched, shape[0])


class _GuidedSampler(comfy.samplers.Sampler):
    """A host sampler that runs on a guided denoiser."""

    def __init__(self, sampler, guider: GradPaintGuider, trusted: Tensor):
        self.sampler, self.guider, self.trusted = sampler, guider, trusted

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False) -> Tensor:
        function = self.sampler.sampler_function
        if self.trusted.any():
            function = partial(self._guided, denoise_mask)
        else:
            note("GradPaint: the mask leaves no known pixels, so the picture is sampled without guidance.")
        run = comfy.samplers.KSAMPLER(function, self.sampler.extra_options, self.sampler.inpaint_options)
        ends_clean = sigmas[-1] == 0  # read first: uni_pc writes into sigmas
        samples = run.sample(model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar)
        # uni_pc and dpm_fast leave a trace of noise on known latents
        return torch.where(denoise_mask > 0, samples, latent_image.to(samples)) if ends_clean else samples

    def _guided(self, mask: Tensor, model, x: Tensor, sigmas: Tensor, extra_args: dict, **options) -> Tensor:
        guided = _GuidedModel(model, self.guider, sigmas, mask, self.trusted, extra_args.get("seed") or 0)
        return self.sampler.sampler_function(guided, x, sigmas, extra_args=extra_args, **options)


class _GuidedModel:
    """What a host sampler calls in place of the host's own wrapper (`KSamplerX0Inpaint`), whose attributes it has."""

    def __init__(self, model, guider: GradPaintGuider, sigmas: Tensor, mask: Tensor, trusted: Tensor, seed: int):
        self.model, self.guider, settings = model, guider, guider.settings
        inner, picture = guider.inner_model, model.latent_image
        self.noise = partial(normal, generators(seed, picture.shape[0], "gradpaint"), picture.shape[1:], picture.device)
        self.conditional = settings.conditional_only and guider.cfg != 1 and guider.conds.get("negative") is not None
        self.guide = GradPaint(
            self._denoise,
            KnownPixels(picture, mask[:, :1], trusted, self._combine),
            sigmas,
            settings.guidance,
            flow=guider.flow,
            probe=Probe(finite_difference_step(inner.manual_cast_dtype or inner.get_dtype()), self._difference),
            colours=_colours(settings.align_in, inner.latent_format, picture),
        )

    def __getattr__(self, name: str):
        return getattr(self.model, name)

    def __call__(self, x: Tensor, sigma: Tensor, denoise_mask: Tensor, model_options: dict | None = None, seed=None) -> Tensor:
        options = model_options or {}
        if "denoise_mask_function" in options:  # Differential Diffusion
            extra = {"model": self.inner_model, "sigmas": self.sigmas}
            denoise_mask = options["denoise_mask_function"](sigma, denoise_mask, extra_options=extra)
        self.seed, self.options = seed, comfy.model_patcher.create_model_options_clone(options)
        # samplers that hook into this call (cfg_pp) must not be called for the finite difference
        own = self.guider.model_options
        self.probe_options = comfy.model_patcher.create_model_options_clone(options)
        self.probe_options["sampler_post_cfg_function"] = list(own.get("sampler_post_cfg_function", []))
        self.probe_options["disable_cfg1_optimization"] = own.get("disable_cfg1_optimization", False)
        if self.conditional:
            for each in (self.options, self.probe_options):
                comfy.model_patcher.set_model_options_post_cfg_function(each, self._keep_conditional)
        return self.guide.predict(x, sigma.view(-1, 1, 1, 1), denoise_mask[:, :1])[0]

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.model(x, sigma.flatten(), None, self.options, self.seed)

    def _combine(self, x: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
        """Put known latents into x with fresh noise in every call, as in the paper; the host would use the same noise again."""
        model = self.guider.inner_model
        known = model.scale_latent_inpaint(x=x, sigma=sigma.flatten(), noise=self.noise(), latent_image=self.model.latent_image)
        return torch.lerp(known.to(x), x, mask)

    def _keep_conditional(self, args: dict) -> Tensor:
        self.conditional_x0 = args["cond_denoised"]
        return args["denoised"]

    def _difference(self, x: Tensor, dx: Tensor, sigma: Tensor, x0: Tensor) -> Tensor:
        """D(x + dx) - D(x), of the positive prompt alone if asked for: with a CFG of 1 the host leaves the negative one out."""
        if not self.conditional:
            return self._probe(x + dx, sigma) - x0
        before, cfg = self.conditional_x0, self.guider.cfg
        self.guider.cfg = 1.0
        try:
            self._probe(x + dx, sigma)
        finally:
            self.guider.cfg = cfg
        after, self.conditional_x0 = self.conditional_x0, before
        return after - before

    def _probe(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.model(x, sigma.flatten(), None, self.probe_options, self.seed)


def _colours(align_in: str, latent_format, picture: Tensor) -> Colours:
    """What the alignment loss compares; the latents' own values where the host has no colours for them."""
    factors = latent_format.latent_rgb_factors
    if align_in == "TAESD":
        return TAESDColours(latent_format, picture)
    if align_in == "latent" or factors is None or len(factors) != picture.shape[1]:
        return Colours()
    return Colours(torch.tensor(factors, device=picture.device, dtype=picture.dtype).T)


def run_gradpaint(
    guider: GradPaintGuider,
    seed: int,
    steps: int,
    sampler: str,
    scheduler: str,
    denoise: float,
    latent: dict,
    noise: Tensor | None = None,
) -> dict:
    """Sample as KSampler does: LATENT in, LATENT out. `noise`: (B, C, h, w), drawn from the seed unless given."""
    import latent_preview  # the host's; it needs a running host

    model, ratio = guider.model_patcher, latent.get("downscale_ratio_spacial")  # what newer hosts' empty latents carry
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], *([] if ratio is None else [ratio]))
    check_latents(model, samples)
    plan = comfy.samplers.KSampler(model, steps, model.load_device, sampler, scheduler, denoise, model.model_options)
    if noise is None:
        noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
    callback = latent_preview.prepare_callback(model, len(plan.sigmas) - 1)
    host_sampler = comfy.samplers.sampler_object(plan.sampler)
    quiet = not comfy.utils.PROGRESS_BAR_ENABLED
    filled = guider.sample(noise, samples, host_sampler, plan.sigmas, latent.get("noise_mask"), callback, quiet, seed)
    latent = {k: v for k, v in latent.items() if not k.startswith("downscale_ratio")}
    return {**latent, "samples": filled.to(comfy.model_management.intermediate_device())}


def sample_crops(
    guider: GradPaintGuider, seed: int, steps: int, sampler: str, scheduler: str, denoise: float, latents: Tensor, holes: Tensor
) -> Tensor:
    """`run_gradpaint` on latents (B, C, h, w) with holes (B, 1, H, W); picture k starts from the noise of seed + k, whatever its batch."""
    noise = torch.cat([comfy.sample.prepare_noise(latents[k : k + 1], seed_of(seed, k)) for k in range(len(latents))])
    latent = {"samples": latents, "noise_mask": holes}
    return run_gradpaint(guider, seed_of(seed, 0), steps, sampler, scheduler, denoise, latent, noise)["samples"]
