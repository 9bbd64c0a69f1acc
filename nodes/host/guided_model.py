"""What a host sampler calls in place of the MODEL while GradPaint guides it."""

import math
from collections.abc import Sequence
from functools import partial

import comfy.model_patcher
import torch
from torch import Tensor

from ...rad_core.guidance import GradPaint, KnownPixels, Probe, finite_difference_step
from ...rad_core.losses import append_dims
from ...rad_core.noise import generators, normal
from ...rad_core.notes import note
from .crop_conditioning import controls_of
from .latent_colours import colours_of


class Parts:
    """Latents of several kinds that the host packs into one tensor (B, 1, N): the first, a video, is guided; its sound goes along.

    Args:
        shape: of the first, (B, C, T, h, w), or None where nothing is packed.
    """

    def __init__(self, shape: tuple[int, ...] | None = None):
        self.shape = shape

    def split(self, packed: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.shape is None:
            return packed, None
        end = torch.Size(self.shape[1:]).numel()
        return packed[..., :end].reshape(-1, *self.shape[1:]), packed[..., end:]

    def join(self, first: Tensor, rest: Tensor | None) -> Tensor:
        return first if rest is None else torch.cat([first.flatten(1)[:, None], rest], -1)


class GuidedModel:
    """What a host sampler calls in place of the host's own wrapper (`KSamplerX0Inpaint`), whose attributes it has.

    Args:
        model: that wrapper. guider: a `GradPaintGuider`. sigmas: the run's.
        mask: of the latents as the host hands it on.
        seed: of the guidance's noise; picture k uses seed + k, or its entry of a list.
        own_levels: the sampler steps between levels of its own; how far, is not known, so no step is taken to leave anything to the next.
    """

    def __init__(self, model, guider, sigmas: Tensor, mask: Tensor, seed: int | Sequence[int], own_levels: bool = False):
        self.model, self.guider, self.parts, settings = model, guider, guider.parts, guider.settings
        inner, latents = guider.inner_model, model.latent_image
        self.noise = partial(normal, generators(seed, latents.shape[0], "gradpaint"), latents.shape[1:], latents.device)
        self.conditional = settings.conditional_only and guider.cfg != 1 and guider.conds.get("negative") is not None
        if self.conditional and (reason := _needs_both_prompts(guider)):
            note(f"GradPaint Settings' conditional only is off in this run, because {reason}.")
            self.conditional = False
        self.mask, self.settings = mask, settings
        picture, hole = self.parts.split(latents)[0], self.parts.split(mask)[0][:, :1]
        noise_scale = getattr(inner.model_sampling, "noise_scale", 1.0)
        probe = finite_difference_step(inner.manual_cast_dtype or inner.get_dtype()) * noise_scale
        self.guide = GradPaint(
            self._denoise,
            KnownPixels(picture, hole, (hole == 0).float(), self._combine, clean=self._known_is_clean(sigmas[:1])),
            sigmas,
            settings.guidance,
            response=math.inf if own_levels else 1.0,
            flow=guider.flow,
            probe=Probe(probe, self._difference),
            colours=colours_of(settings.align_in, inner.latent_format, picture),
        )

    def __getattr__(self, name: str):
        return getattr(self.model, name)

    def __call__(self, x: Tensor, sigma: Tensor, denoise_mask: Tensor, model_options: dict | None = None, seed=None) -> Tensor:
        options = model_options or {}
        if "denoise_mask_function" in options:  # Differential Diffusion
            extra = {"model": self.inner_model, "sigmas": self.sigmas}
            denoise_mask = options["denoise_mask_function"](sigma, denoise_mask, extra_options=extra)
        self.seed, self.mask, self.options = seed, denoise_mask, comfy.model_patcher.create_model_options_clone(options)
        own = self.guider.model_options.get("sampler_post_cfg_function", [])
        hooks = options.get("sampler_post_cfg_function", [])[len(own) :]  # of the sampler: cfg_pp
        # they must not be called for the finite difference
        self.probe_options = comfy.model_patcher.create_model_options_clone(options)
        self.probe_options["sampler_post_cfg_function"] = list(own)
        self.probe_options["disable_cfg1_optimization"] = self.guider.model_options.get("disable_cfg1_optimization", False)
        for each in (self.options, self.probe_options):
            if self.guide.guided and self.settings.guidance.step != "none":
                _switch_off_cache(each)
            if self.conditional:
                comfy.model_patcher.set_model_options_post_cfg_function(each, self._keep_conditional)
        if hooks:
            comfy.model_patcher.set_model_options_post_cfg_function(self.options, self._keep_prediction)
        first, self.rest = self.parts.split(x)
        mask, rest_mask = self.parts.split(denoise_mask)
        x0 = self.guide.predict(first, append_dims(sigma, first), mask[:, :1])[0]
        if self.rest is not None:
            self.rest_x0 = torch.lerp(self.parts.split(self.model.latent_image)[1], self.rest_x0, rest_mask)
        x0 = self.parts.join(x0, self.rest_x0 if self.rest is not None else None)
        self._move_unconditional(hooks, x0, denoise_mask)
        return x0

    def _move_unconditional(self, hooks: list, x0: Tensor, mask: Tensor) -> None:
        """Give cfg_pp samplers the unconditional estimate moved as far as the guided one.

        They take the difference of the two for a direction: with the guided one moved alone, flows diverge, and noise models lose.
        """
        for hook in hooks:
            unconditional = self.prediction["uncond_denoised"] + mask * (x0 - self.prediction["denoised"])
            hook(self.prediction | {"denoised": x0, "uncond_denoised": unconditional})

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.random = _random_state(x.device)
        x0, self.rest_x0 = self.parts.split(self._ask(x, sigma, self.options))
        return x0

    def _ask(self, x: Tensor, sigma: Tensor, options: dict) -> Tensor:
        return self.model(self.parts.join(x, self.rest), sigma.flatten(), None, options, self.seed)

    def _combine(self, x: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
        """Put known latents into x with fresh noise in every call, as in the paper; the host would use the same noise again."""
        known, known_rest = self.parts.split(self._noised(self.parts.join(x, self.rest), sigma, self.noise()))
        if self.rest is not None:
            self.rest = torch.lerp(known_rest.to(self.rest), self.rest, self.parts.split(self.mask)[1])
        return torch.lerp(known.to(x), x, mask)

    def _noised(self, x: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        latents, model = self.model.latent_image, self.guider.inner_model
        return model.scale_latent_inpaint(x=x, sigma=sigma.flatten(), noise=noise, latent_image=latents, denoise_mask=self.mask)

    def _known_is_clean(self, sigma: Tensor) -> bool:
        """Whether this MODEL gets known latents without noise (LTX, Wan 2.2 5B, Cosmos, HunyuanVideo): then it says nothing about them."""
        latents = self.model.latent_image
        with_noise, without = (self._noised(latents, sigma, noise(latents)) for noise in (torch.ones_like, torch.zeros_like))
        return bool(self.parts.split((with_noise - without).abs())[0].max() < 0.01 * sigma)

    def _keep_conditional(self, args: dict) -> Tensor:
        self.conditional_x0 = args["cond_denoised"]
        return args["denoised"]

    def _keep_prediction(self, args: dict) -> Tensor:
        self.prediction = args
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
        return self.parts.split(after - before)[0]

    def _probe(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x), with the same random choices as in the step's own call (ToMe merges random tokens)."""
        after = _random_state(x.device)
        _set_random_state(x.device, self.random)
        try:
            return self.parts.split(self._ask(x, sigma, self.probe_options))[0]
        finally:
            _set_random_state(x.device, after)


def _needs_both_prompts(guider) -> str | None:
    """Why the positive prompt's prediction would be another without the negative prompt, if it would be."""
    if guider.model_options.get("sampler_pre_cfg_function"):
        return "a node such as APG or FreSca changes what the prompts predict before CFG"
    controls = controls_of(options for conds in guider.conds.values() for options in conds)
    if any(hasattr(control, "control_input") for control in controls):  # made once, for the first call's count of pictures
        return "a T2I-Adapter needs both prompts in every call"
    return None


def _switch_off_cache(options: dict) -> None:
    """Make the host's EasyCache and LazyCache neither answer nor remember: a finite difference is too small a change for them."""
    if (holder := options.get("transformer_options", {}).get("easycache")) is not None:
        note("GradPaint asks the MODEL twice in a step, so EasyCache or LazyCache is off in this run. With turbo or combine it stays on.")
        off = holder.clone()
        off.end_t = math.inf
        options["transformer_options"]["easycache"] = off


def _generators(device: torch.device) -> list[tuple]:
    """Modules with torch's global random generators, of the CPU and of a device, and what tells them which device."""
    own = getattr(torch, device.type, None) if device.type != "cpu" else None
    if not hasattr(own, "get_rng_state") or not getattr(own, "is_available", lambda: True)():  # torch.mps had none before 2.5
        return [(torch.random,)]
    return [(torch.random,), (own,) if device.type == "mps" else (own, device)]


def _random_state(device: torch.device) -> list[Tensor]:
    return [own.get_rng_state(*place) for own, *place in _generators(device)]


def _set_random_state(device: torch.device, states: list[Tensor]) -> None:
    for (own, *place), state in zip(_generators(device), states, strict=True):
        own.set_rng_state(state, *place)
