"""RAD's element-wise samplers as a host SAMPLER: a noise level per pixel, clean known pixels, and an optional order."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import comfy.model_patcher
import comfy.sample
import comfy.samplers
import torch
from torch import Tensor

from ...rad_core import FlowSchedule, RegionSchedule
from ...rad_core.denoisers import Denoiser
from ...rad_core.flow import flow_start
from ...rad_core.images import check_order, clamp_mask
from ...rad_core.noise import generators, normal
from ...rad_core.notes import note
from ...rad_core.rad import UNTRAINED
from ...rad_core.samplers import choose_sampler
from .adm import VARIANCE_CALLBACK, set_conds
from .holes import one_mask_a_picture
from .latents import check_latents
from .notes import shown_on_node
from .progress import Progress
from .region_aware import is_region_aware, is_untrained
from .token_levels import has_token_levels, native_levels, predicts_ratio, snap, token_patch

SCHEDULERS = comfy.samplers.SCHEDULER_NAMES
SAMPLER_NAMES = comfy.samplers.SAMPLER_NAMES


class HostSampler(comfy.samplers.Sampler):
    """A sampler of `rad_core.SAMPLERS` as the host's SAMPLER.

    Args:
        sampler: its name.
        eta: noise of "ddim", 0 to 1.
        order: (B or 1, 1, h, w), black parts are generated first, or None. overlap: see `SigmaMaps`.
        seeds: of each picture's fresh noise; counted up from the run's seed unless given.
    """

    def __init__(
        self, sampler: str, eta: float = 0.0, order: Tensor | None = None, overlap: float = 0.0, seeds: Sequence[int] | None = None
    ):
        self.sampler, self.seeds = choose_sampler(sampler, eta), seeds
        self.order, self.overlap = order, overlap

    @shown_on_node()
    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False) -> Tensor:
        """Follow the host's contract: scalar sigmas, noise and latents (B, C, [T,] h, w) in, latents out.

        Raises:
            ValueError: the MODEL takes no noise level per pixel, or the order does not fit.
        """
        model = model_wrap.model_patcher
        check_model(model)
        mask = torch.ones_like(noise[:, :1]) if denoise_mask is None else clamp_mask(denoise_mask[:, :1])
        if is_untrained(model) and (mask < 1).any():
            note(UNTRAINED)
        order = None if self.order is None else self._order(model, mask)
        flow = has_token_levels(model)
        build = partial(_flow_maps if flow else _maps, model_wrap.inner_model.model_sampling, sigmas=sigmas, overlap=self.overlap)
        maps = build(mask, order=order)
        streams = generators(self.seeds or extra_args.get("seed") or 0, noise.shape[0], "sampling")
        last = len(sigmas) - 1
        report = callback and (lambda step, steps, x0: callback(step - 1, x0, x0, last))
        denoise = _HostDenoiser(model_wrap, extra_args, flow, _levels(build, order, mask.ndim))
        fresh_noise = partial(normal, streams, noise.shape[1:], noise.device)
        start = flow_start(latent_image, noise, maps[0]) if flow else latent_image + maps[0] * noise
        last_state = self.sampler(denoise, start, maps, fresh_noise, report)
        return last_state / (1 - maps[-1]) if flow else last_state  # as the host: the next part of split sigmas multiplies by 1 - s

    def _order(self, model, mask: Tensor) -> Tensor:
        """The order map at the mask's size, the same for all frames, and with one value in each token: the token's last."""
        frames = mask if mask.ndim == 5 else mask[:, :, None]
        order = check_order(self.order, frames.amax(2))
        order = order[:, :, None].expand(-1, -1, frames.shape[2], -1, -1).reshape(-1, *mask.shape[1:])
        return snap(order, token_patch(model)) if has_token_levels(model) else order


def _levels(build: Callable, order: Tensor | None, ndim: int) -> list[float]:
    """The run's noise level at each step: that of a pixel of mask 1, of the part of an order that comes last.

    Other samplers have one level for all pictures, and the host compares it with the ranges of prompts and ControlNets.
    """
    last = None if order is None else order.amax(tuple(range(1, ndim)), keepdim=True)
    return [float(level.amax()) for level in build(torch.ones((1,) * ndim), order=None if last is None else last.cpu())]


def _maps(sampling, mask: Tensor, sigmas: Tensor, order: Tensor | None, overlap: float):
    """Noise maps of a variance-preserving model, which ends phase 1 at its own highest level."""
    schedule = RegionSchedule(betas(sampling.sigmas.cpu().double()))
    return schedule.maps(mask, schedule.share_of_sigma(sigmas.cpu().double()).clamp(0, 1).tolist(), order, overlap)


def _flow_maps(sampling, mask: Tensor, sigmas: Tensor, order: Tensor | None, overlap: float):
    """Noise maps of a flow model: the levels themselves."""
    return FlowSchedule().maps(mask, sigmas.cpu().double().clamp(0, 1).tolist(), order, overlap)


class _HostDenoiser(Denoiser):
    """The host's guided MODEL on the denoiser contract, sigma a map. `levels`: the level passed to the host, one for each call."""

    def __init__(self, model_wrap, extra_args: dict, flow: bool, levels: Iterable[float]):
        self.model_wrap, self.flow, self.levels = model_wrap, flow, iter(levels)
        self.least = float(model_wrap.inner_model.model_sampling.sigmas[0])
        self.options, self.seed = extra_args["model_options"], extra_args.get("seed")

    def signal(self, sigma: Tensor) -> Tensor:
        return 1 - sigma if self.flow else super().signal(sigma)

    def predict(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        variances: list[Tensor] = []
        options = comfy.model_patcher.create_model_options_clone(self.options)
        options.setdefault("transformer_options", {})[VARIANCE_CALLBACK] = variances.append
        sigma = sigma.expand(x.shape[0], *[-1] * (x.ndim - 1))
        set_conds(self.model_wrap, sigma_map=sigma)
        level = sigma.new_full((len(x),), max(next(self.levels), self.least))
        x0 = self.model_wrap(x, level, model_options=options, seed=self.seed)
        # With CFG there are two predictions, and the learned variance of neither is that of the mixture.
        return x0, variances[0] if len(variances) == 1 and variances[0].shape == x0.shape else None


def betas(sigmas: Tensor) -> Tensor:
    """A table of sigmas (T,) -> betas: alpha_bar = 1 / (1 + sigma^2), beta_t = 1 - alpha_bar_t / alpha_bar_(t-1)."""
    alpha_bar = torch.cat([torch.ones(1, dtype=sigmas.dtype), 1 / (1 + sigmas.square())])
    return 1 - alpha_bar[1:] / alpha_bar[:-1]


def check_model(model) -> None:
    """Check that RAD's samplers can set a MODEL's noise level per pixel.

    Raises:
        ValueError: they cannot.
    """
    if native := native_levels(model):
        raise ValueError(
            f"RAD's samplers cannot set the noise levels of {native}, which gives every token its own by itself: use a KSampler on it "
            "instead."
        )
    if has_token_levels(model) and predicts_ratio(model.get_model_object("model_sampling")):
        raise ValueError("RAD's samplers are not for Cosmos-Predict2, whose noise has no upper end: use a KSampler on it instead.")
    if not is_region_aware(model):
        raise ValueError(
            "This MODEL takes one noise level for the whole picture. Put 'RAD Spatial Noise Embedding' before this node, or load a "
            "pixel-space network with 'Load ADM Model'."
        )


def run_sampler(model, sampler: HostSampler, scheduler: str, steps: int, seed: int, cfg: float, positive, negative, latent: dict) -> dict:
    """Sample as KSampler does, but with RAD's sampler: LATENT in, LATENT out.

    Raises:
        ValueError: a MODEL that takes no noise level per pixel, or latents that do not belong to it.
    """
    check_model(model)  # before the latents: the host gives those of many a MODEL a time axis
    ratio = latent.get("downscale_ratio_spacial")  # what newer hosts' empty latents carry
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], *([] if ratio is None else [ratio]))
    if getattr(samples, "is_nested", False) or (samples.ndim != 4 and not has_token_levels(model)):
        raise ValueError("These latents have a time axis or sound, which RAD's samplers cannot fill on this MODEL: use those of a picture.")
    check_latents(model, samples)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)
    filled = comfy.sample.sample_custom(
        model,
        comfy.sample.prepare_noise(samples, seed, latent.get("batch_index")),
        cfg,
        sampler,
        sigmas,
        positive,
        negative,
        samples,
        noise_mask=_masks_of_pictures(latent.get("noise_mask"), samples.shape),
        callback=Progress().of_latents(model),
        seed=seed,
    )
    return {**latent, "samples": filled}


def _masks_of_pictures(mask: Tensor | None, shape: torch.Size) -> Tensor | None:
    """Masks of pictures whose latents have a time axis, each with a frame of its own: the host would take them for a video's frames."""
    if mask is None or len(shape) != 5 or mask.ndim == 5 or not one_mask_a_picture(len(mask.flatten(0, -3)), shape):
        return mask
    return mask.reshape(-1, 1, 1, *mask.shape[-2:])
