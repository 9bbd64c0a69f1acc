"""RAD's element-wise samplers as a host SAMPLER: a noise level per pixel, clean known pixels, and an optional order."""

from functools import partial

import comfy.model_patcher
import comfy.sample
import comfy.samplers
import torch
from torch import Tensor

from ...rad_core import RegionSchedule
from ...rad_core.denoisers import Denoiser
from ...rad_core.images import check_order, clamp_mask
from ...rad_core.noise import generators, normal
from ...rad_core.samplers import choose_sampler
from .adm import VARIANCE_CALLBACK, ADMModel, set_conds
from .latents import check_latents
from .notes import shown_on_node
from .spatial_embedding import has_spatial_embedding

SCHEDULERS = comfy.samplers.SCHEDULER_NAMES
SAMPLER_NAMES = comfy.samplers.SAMPLER_NAMES


class HostSampler(comfy.samplers.Sampler):
    """A sampler of `rad_core.SAMPLERS` as the host's SAMPLER.

    Args:
        sampler: its name.
        eta: noise of "ddim", 0 to 1.
        order: (B or 1, h, w) in [0, 1], which part is generated first, or None. overlap: see `SigmaMaps`.
    """

    def __init__(self, sampler: str, eta: float = 0.0, order: Tensor | None = None, overlap: float = 0.0):
        self.sampler = choose_sampler(sampler, eta)
        self.order, self.overlap = order, overlap

    @shown_on_node()
    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False) -> Tensor:
        """Follow the host's contract: scalar sigmas, noise and latents (B, C, h, w) in, latents out.

        Raises:
            ValueError: the MODEL takes no noise level per pixel, or the order does not fit.
        """
        check_model(model_wrap.model_patcher)
        table = model_wrap.inner_model.model_sampling.sigmas.double().cpu()
        schedule = RegionSchedule(betas(table))
        mask = torch.ones_like(noise[:, :1]) if denoise_mask is None else clamp_mask(denoise_mask[:, :1])
        order = None if self.order is None else check_order(self.order, mask)
        shares = schedule.share_of_sigma(sigmas.double().cpu()).clamp(0, 1).tolist()
        maps = schedule.maps(mask, shares, order, self.overlap)
        streams = generators(extra_args.get("seed") or 0, noise.shape[0], "sampling")
        last = len(sigmas) - 1
        report = callback and (lambda step, steps, x0: callback(step - 1, x0, x0, last))
        denoise = _HostDenoiser(model_wrap, extra_args, float(table[0]))
        fresh_noise = partial(normal, streams, noise.shape[1:], noise.device)
        return self.sampler(denoise, latent_image + maps[0] * noise, maps, fresh_noise, report)


class _HostDenoiser(Denoiser):
    """The host's guided MODEL on the denoiser contract, sigma a map."""

    def __init__(self, model_wrap, extra_args: dict, least: float):
        self.model_wrap, self.least = model_wrap, least
        self.options, self.seed = extra_args["model_options"], extra_args.get("seed")

    def predict(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        variances: list[Tensor] = []
        options = comfy.model_patcher.create_model_options_clone(self.options)
        options.setdefault("transformer_options", {})[VARIANCE_CALLBACK] = variances.append
        sigma = sigma.expand(x.shape[0], -1, -1, -1)
        set_conds(self.model_wrap, sigma_map=sigma)
        highest = sigma.amax((1, 2, 3)).clamp(min=self.least)
        x0 = self.model_wrap(x, highest, model_options=options, seed=self.seed)
        # With CFG there are two predictions, and the learned variance of neither is that of the mixture.
        return x0, variances[0] if len(variances) == 1 and variances[0].shape == x0.shape else None


def betas(sigmas: Tensor) -> Tensor:
    """A table of sigmas (T,) -> betas: alpha_bar = 1 / (1 + sigma^2), beta_t = 1 - alpha_bar_t / alpha_bar_(t-1)."""
    alpha_bar = torch.cat([torch.ones(1, dtype=sigmas.dtype), 1 / (1 + sigmas.square())])
    return 1 - alpha_bar[1:] / alpha_bar[:-1]


def check_model(model) -> None:
    """Check that a MODEL takes a noise level per pixel.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(model.model, ADMModel) and not has_spatial_embedding(model):
        raise ValueError(
            "This MODEL takes one noise level for the whole picture. Put 'RAD Spatial Noise Embedding' before this node (SD1.5, SDXL), "
            "or load a pixel-space network with 'Load ADM Model'."
        )


def run_sampler(model, sampler: HostSampler, scheduler: str, steps: int, seed: int, cfg: float, positive, negative, latent: dict) -> dict:
    """Sample as KSampler does, but with RAD's sampler: LATENT in, LATENT out.

    Raises:
        ValueError: latents that do not belong to the MODEL.
    """
    import latent_preview  # the host's; it needs a running host

    ratio = latent.get("downscale_ratio_spacial")  # what newer hosts' empty latents carry
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], *([] if ratio is None else [ratio]))
    check_latents(model, samples)
    if samples.ndim != 4:
        raise ValueError("These latents have a time axis (video or sound), which RAD's samplers cannot fill: use those of a picture.")
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
        noise_mask=latent.get("noise_mask"),
        callback=latent_preview.prepare_callback(model, sigmas.shape[-1] - 1),
        seed=seed,
    )
    return {**latent, "samples": filled}
