"""A noise level per pixel for the host's own U-Nets (SD1.5, SDXL), through the model patcher alone (RAD 3.3, 3.4).

Outside the network sigma stays a scalar, so every sampler of the host works. Inside, known latents stay clean, the network sees
x / sqrt(sigma_i^2 + 1) at pixel i, and each residual block gets the embedding of that pixel's own timestep. As in `rad_core.unet`
the few distinct noise levels of a mask are embedded once each and blended, which gives the same result.
"""

from dataclasses import dataclass

import comfy.model_sampling
import comfy.patcher_extension
import torch
import torch.nn.functional as F
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from torch import Tensor, nn

from .adm import OTHER_PREDICTION, ADMModel, keep_known, noise_levels
from .clones import on_another_network
from .token_levels.levels import distinct

WRAPPER = "rad_spatial_noise_embedding"


@dataclass
class Differences:
    """The embeddings that the blocks add in a forward pass: set before it, cleared after it."""

    vectors: Tensor | None = None  # (B, L, E): each timestep's embedding minus that of the scalar timestep
    weights: Tensor | None = None  # (B, L, h, w): where each of them applies
    size: tuple[int, int] | None = None  # rows and columns of the features of the block under way


class SpatialEmbedding(nn.Sequential):
    """A block's `emb_layers` (SiLU, Linear; the same children under the same names, so LoRA still applies), per pixel."""

    def __init__(self, layers: nn.Sequential, differences: Differences):
        super().__init__(*layers)
        self.differences = differences

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, E) -> (B, C, h, w) at the block's size, or (B, C) where no map is set."""
        if self.differences.vectors is None:
            return super().forward(embedding)
        vectors = super().forward(embedding[:, None] + self.differences.vectors)  # (B, L, C)
        weights = F.interpolate(self.differences.weights, self.differences.size, mode="bilinear", align_corners=True)
        return torch.einsum("blc,blhw->bchw", vectors, weights.to(vectors.dtype))


class Measured(nn.Sequential):
    """A block's `in_layers` (the same children under the same names), which tell its `emb_layers` the size of the features.

    It follows from the block's depth, but for nodes that shrink features on the way (Kohya's Deep Shrink).
    """

    def __init__(self, layers: nn.Sequential, differences: Differences):
        super().__init__(*layers)
        self.differences = differences

    def forward(self, x: Tensor) -> Tensor:
        features = super().forward(x)
        self.differences.size = tuple(features.shape[2:])
        return features


def has_spatial_embedding(model) -> bool:
    """Whether a MODEL is one of `with_spatial_embedding`."""
    return bool(model.get_wrappers(comfy.patcher_extension.WrappersMP.APPLY_MODEL, WRAPPER))


def with_spatial_embedding(model, node: str):
    """Clone a MODEL and give it the noise level of every pixel when its latents have a noise mask.

    Args:
        node: the name of the node that needs it, for errors.

    Raises:
        ValueError: not a U-Net of the SD1.5 or SDXL kind, or one that predicts neither noise nor v.
    """
    need_unet(model, node)
    if has_spatial_embedding(model):
        return model
    patched = model.clone()
    _patch(patched)
    on_another_network(patched, WRAPPER, _patch)
    return patched


def _patch(model) -> None:
    """Give a MODEL's network its stand-ins, and the MODEL their wrappers."""
    differences = Differences()
    for name, block in blocks_of(model.get_model_object("diffusion_model")):
        for layers, stand_in in stand_ins(block, differences).items():
            model.add_object_patch(f"diffusion_model.{name}.{layers}", stand_in)
    model.add_object_patch("scale_latent_inpaint", lambda latent_image, **kwargs: latent_image)
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, WRAPPER, _PerPixel(differences))
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.SAMPLER_SAMPLE, WRAPPER, keep_known)


def need_unet(model, node: str) -> UNetModel:
    """The U-Net of a MODEL, for the node of this name.

    Raises:
        ValueError: not a U-Net of the SD1.5 or SDXL kind, or one that predicts neither noise nor v.
    """
    net, sampling = model.get_model_object("diffusion_model"), model.get_model_object("model_sampling")
    plain = type(net) is UNetModel and not net.use_temporal_resblocks
    if not plain or not predicts_noise(sampling):
        kind = type(model.model).__name__
        hint = " (Networks from 'Load ADM Model' do not need it.)" if isinstance(model.model, ADMModel) else ""
        raise ValueError(f"'{node}' works on U-Nets that predict noise or v (SD1.5, SD2, SDXL); this MODEL is of type {kind}.{hint}")
    return net


def predicts_noise(sampling) -> bool:
    """Whether a MODEL predicts noise, or v."""
    others = (comfy.model_sampling.EDM, comfy.model_sampling.X0)  # of the host's kinds of EPS
    return isinstance(sampling, comfy.model_sampling.EPS) and not isinstance(sampling, others)


def blocks_of(net: UNetModel) -> list[tuple[str, ResBlock]]:
    """Every residual block with its name."""
    return [(name, module) for name, module in net.named_modules() if isinstance(module, ResBlock)]


def stand_ins(block: ResBlock, differences: Differences) -> dict[str, nn.Sequential]:
    """What stands for a block's layers, by their names."""
    return {"in_layers": Measured(block.in_layers, differences), "emb_layers": SpatialEmbedding(block.emb_layers, differences)}


class _PerPixel:
    """Wraps the host's `apply_model(x, sigma, ...) -> x0` with a map sigma_i in place of sigma."""

    def __init__(self, differences: Differences):
        self.differences = differences

    def __call__(
        self,
        executor,
        x,
        t,
        c_concat=None,
        c_crossattn=None,
        control=None,
        transformer_options=None,
        denoise_mask=None,
        sigma_map=None,
        **kwargs,
    ) -> Tensor:
        others = (c_concat, c_crossattn, control, transformer_options or {})
        sigma_i = noise_levels(t, denoise_mask, sigma_map)
        if sigma_i is None:
            return executor(x, t, *others, **kwargs)
        if not predicts_noise(executor.class_obj.model_sampling):
            raise ValueError(OTHER_PREDICTION)
        inner, sigma, sigma_i = executor.class_obj, t.view(-1, 1, 1, 1), sigma_i.to(x)
        self._set(inner, sigma_i, t)
        try:
            # the host divides by sqrt(sigma^2 + 1); each pixel needs its own factor
            x_in = x * ((sigma.square() + 1) / (sigma_i.square() + 1)).sqrt()
            x0 = executor(x_in, t, *others, **kwargs)
        finally:
            self.differences.vectors = self.differences.weights = self.differences.size = None
        if isinstance(inner.model_sampling, comfy.model_sampling.V_PREDICTION):
            v = (x_in / (sigma.square() + 1) - x0) * (sigma.square() + 1).sqrt() / sigma
            return x / (sigma_i.square() + 1) - v * sigma_i / (sigma_i.square() + 1).sqrt()
        eps = (x_in - x0) / sigma
        return x - eps * sigma_i

    def _set(self, inner, sigma_i: Tensor, t: Tensor) -> None:
        """Embed the map's distinct noise levels; those of a soft mask are rounded to 16 evenly spaced ones."""
        levels = distinct(sigma_i)
        nearest = (sigma_i - levels.view(1, -1, 1, 1)).abs().argmin(1, keepdim=True)
        weights = torch.zeros(sigma_i.shape[0], len(levels), *sigma_i.shape[2:], device=sigma_i.device)
        own, scalar = (_embed(inner, sigma) for sigma in (levels, t))
        self.differences.weights, self.differences.vectors = weights.scatter_(1, nearest, 1), own[None] - scalar[:, None]


def _embed(inner, sigma: Tensor) -> Tensor:
    """(n,) -> (n, E), as in the host's U-Net. Clean pixels get the first timestep."""
    net, sampling = inner.diffusion_model, inner.model_sampling
    steps = sampling.timestep(sigma.clamp(min=float(sampling.sigma_min))).float()
    return embed_steps(net, steps, inner.manual_cast_dtype or inner.get_dtype())


def embed_steps(net: UNetModel, steps: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Timesteps (...,) -> (..., E)."""
    waves = timestep_embedding(steps.flatten(), net.model_channels).to(dtype or net.time_embed[0].weight.dtype)
    return net.time_embed(waves).unflatten(0, steps.shape)
