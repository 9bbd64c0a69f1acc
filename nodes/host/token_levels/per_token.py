"""The wrappers around the host's model and sampler: a map of noise levels in place of the scalar one."""

from dataclasses import dataclass

import comfy.model_sampling
import torch
from torch import Tensor

from ....rad_core.losses import append_dims
from ..adm import OTHER_PREDICTION, keep_known, noise_levels
from .family import Family
from .guard import check_once
from .levels import TokenLevels, snap


class PerToken:
    """Wraps the host's `apply_model(x, sigma, ...) -> x0` with a map sigma_i in place of sigma."""

    def __init__(self, family: Family, levels: TokenLevels):
        self.family, self.levels, self.checked = family, levels, False

    def __call__(
        self,
        executor,
        x: Tensor,
        t: Tensor,
        c_concat=None,
        c_crossattn=None,
        control=None,
        transformer_options=None,
        denoise_mask=None,
        sigma_map=None,
        **conds,
    ) -> Tensor:
        others = (c_concat, c_crossattn, control, transformer_options or {})
        sigma_i = noise_levels(t, denoise_mask, sigma_map)
        if sigma_i is None:
            return executor(x, t, *others, **conds)
        if reason := self.family.refusal(conds):
            raise ValueError(
                f"RAD gives every token its own noise level, and cannot with {reason}: remove it, or 'RAD Spatial Noise Embedding'."
            )
        if not predicts_velocity(executor.class_obj.model_sampling):
            raise ValueError(OTHER_PREDICTION)
        if not self.checked:
            check_once(self, executor, x, t, others, conds)
            self.checked = True
        return self.mapped(executor, x, t, sigma_i, others, conds)

    def mapped(self, executor, x: Tensor, t: Tensor, sigma_i: Tensor, others: tuple, conds: dict) -> Tensor:
        """x0 of a state whose pixel i has the noise level sigma_i."""
        inner, sigma, sigma_i, conds = executor.class_obj, append_dims(t, x), sigma_i.to(x), dict(conds)
        algebra = RatioFlow if predicts_ratio(inner.model_sampling) else Flow
        dtype = inner.manual_cast_dtype or inner.get_dtype()
        self.family.set_levels(sigma_i, t, lambda s: inner.model_sampling.timestep(s).float(), dtype, others[1], conds)
        try:
            x_in = algebra.rescale(x, sigma, sigma_i)
            x0 = executor(x_in, t, *others, **conds)
        finally:
            self.levels.clear()
        return algebra.x0(x, x_in, x0, sigma, sigma_i)


class Flow:
    """x = (1 - s) x0 + s n. The host computes x - s v; pixel i is to be x - s_i v."""

    @staticmethod
    def rescale(x: Tensor, sigma: Tensor, sigma_i: Tensor) -> Tensor:
        return x

    @staticmethod
    def x0(x: Tensor, x_in: Tensor, x0: Tensor, sigma: Tensor, sigma_i: Tensor) -> Tensor:
        return x - (x - x0) / sigma * sigma_i


class RatioFlow:
    """x = x0 + sigma n with sigma = s / (1 - s) (Cosmos). The host scales x by 1 - s and computes (1 - s) x_in - s v."""

    @staticmethod
    def rescale(x: Tensor, sigma: Tensor, sigma_i: Tensor) -> Tensor:
        return x * (1 + sigma) / (1 + sigma_i)

    @staticmethod
    def x0(x: Tensor, x_in: Tensor, x0: Tensor, sigma: Tensor, sigma_i: Tensor) -> Tensor:
        v = (x_in / (1 + sigma) - x0) * (1 + sigma) / sigma
        return x / (1 + sigma_i) - v * sigma_i / (1 + sigma_i)


@dataclass
class KeepKnown:
    """Wraps a host sampler's run: one mask value in each token for the network, known latents put back at the end.

    patch: frames, rows and columns of latents in a token.
    """

    patch: tuple[int, int, int]

    def __call__(self, executor, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, *rest) -> Tensor:
        if denoise_mask is None:
            return executor(model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *rest)
        snapped = snap(denoise_mask[:, :1].clamp(0, 1), self.patch).expand_as(denoise_mask)
        samples = keep_known(executor, model_wrap, sigmas, extra_args, callback, noise, latent_image, snapped, *rest)
        return torch.where(denoise_mask > 0, samples, latent_image.to(samples))


def predicts_velocity(sampling) -> bool:
    """Whether a MODEL is one of flow matching: v = n - x0."""
    if isinstance(sampling, getattr(comfy.model_sampling, "IMG_TO_IMG_FLOW", ())):
        return False
    return isinstance(sampling, comfy.model_sampling.CONST) or predicts_ratio(sampling)


def predicts_ratio(sampling) -> bool:
    """Whether a MODEL's sigma is s / (1 - s), as Cosmos-Predict2's."""
    return isinstance(sampling, comfy.model_sampling.COSMOS_RFLOW)
