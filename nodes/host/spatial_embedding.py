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
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, ResBlock, UNetModel, Upsample
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from torch import Tensor, nn

from ...rad_core.timestep_embedding import MAX_LEVELS
from .adm import keep_known, noise_levels

WRAPPER = "rad_spatial_noise_embedding"


@dataclass
class Differences:
    """The embeddings that the blocks add in a forward pass: set before it, cleared after it."""

    vectors: Tensor | None = None  # (B, L, E): each timestep's embedding minus that of the scalar timestep
    weights: Tensor | None = None  # (B, L, h, w): where each of them applies


class SpatialEmbedding(nn.Sequential):
    """A block's `emb_layers` (SiLU, Linear; the same children under the same names, so LoRA still applies), per pixel."""

    def __init__(self, layers: nn.Sequential, depth: int, differences: Differences):
        super().__init__(*layers)
        self.depth, self.differences = depth, differences

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, E) -> (B, C, h, w) at the block's size, or (B, C) where no map is set."""
        if self.differences.vectors is None:
            return super().forward(embedding)
        vectors = super().forward(embedding[:, None] + self.differences.vectors)  # (B, L, C)
        weights, size = self.differences.weights, self.differences.weights.shape[2:]
        for _ in range(self.depth):  # a stride-2 convolution gives half the size, rounded up
            size = [(side + 1) // 2 for side in size]
        weights = F.interpolate(weights, tuple(size), mode="bilinear", align_corners=True)
        return torch.einsum("blc,blhw->bchw", vectors, weights.to(vectors.dtype))


def has_spatial_embedding(model) -> bool:
    """Whether a MODEL is one of `with_spatial_embedding`."""
    return bool(model.get_wrappers(comfy.patcher_extension.WrappersMP.APPLY_MODEL, WRAPPER))


def with_spatial_embedding(model):
    """Clone a MODEL and give it the noise level of every pixel when its latents have a noise mask.

    Raises:
        ValueError: not a U-Net of the SD1.5 or SDXL kind, or one that predicts neither noise nor v.
    """
    net = need_unet(model, "RAD Spatial Noise Embedding")
    if has_spatial_embedding(model):
        return model
    patched, differences = model.clone(), Differences()
    for name, block, depth in blocks_of(net):
        patched.add_object_patch(f"diffusion_model.{name}.emb_layers", SpatialEmbedding(block.emb_layers, depth, differences))
    patched.add_object_patch("scale_latent_inpaint", lambda latent_image, **kwargs: latent_image)
    patched.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, WRAPPER, _PerPixel(differences))
    patched.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.SAMPLER_SAMPLE, WRAPPER, keep_known)
    return patched


def need_unet(model, node: str) -> UNetModel:
    """The U-Net of a MODEL, for the node of this name.

    Raises:
        ValueError: not a U-Net of the SD1.5 or SDXL kind, or one that predicts neither noise nor v.
    """
    net, sampling = model.get_model_object("diffusion_model"), model.get_model_object("model_sampling")
    plain = type(net) is UNetModel and not net.use_temporal_resblocks
    others = (comfy.model_sampling.EDM, comfy.model_sampling.X0)  # of the host's kinds of EPS
    if not plain or not isinstance(sampling, comfy.model_sampling.EPS) or isinstance(sampling, others):
        kind = type(model.model).__name__
        raise ValueError(
            f"'{node}' works on U-Nets that predict noise or v (SD1.5, SD2, SDXL); this MODEL is of type {kind}. "
            "(Networks from 'Load ADM Model' do not need it.)"
        )
    return net


def blocks_of(net: UNetModel) -> list[tuple[str, ResBlock, int]]:
    """Every residual block with its name and its depth: how often the picture was halved before it."""
    blocks, depth = [], 0
    for part in ("input_blocks", "middle_block", "output_blocks"):
        for name, module in getattr(net, part).named_modules():
            depth += isinstance(module, Downsample) - isinstance(module, Upsample)
            if isinstance(module, ResBlock):
                blocks.append((f"{part}.{name}", module, depth))
    return blocks


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
        inner, sigma, sigma_i = executor.class_obj, t.view(-1, 1, 1, 1), sigma_i.to(x)
        self._set(inner, sigma_i, t)
        try:
            # the host divides by sqrt(sigma^2 + 1); each pixel needs its own factor
            x_in = x * ((sigma.square() + 1) / (sigma_i.square() + 1)).sqrt()
            x0 = executor(x_in, t, *others, **kwargs)
        finally:
            self.differences.vectors = self.differences.weights = None
        if isinstance(inner.model_sampling, comfy.model_sampling.V_PREDICTION):
            v = (x_in / (sigma.square() + 1) - x0) * (sigma.square() + 1).sqrt() / sigma
            return x / (sigma_i.square() + 1) - v * sigma_i / (sigma_i.square() + 1).sqrt()
        eps = (x_in - x0) / sigma
        return x - eps * sigma_i

    def _set(self, inner, sigma_i: Tensor, t: Tensor) -> None:
        """Embed the map's distinct noise levels; those of a soft mask are rounded to 16 evenly spaced ones."""
        levels = sigma_i.unique()
        if len(levels) > MAX_LEVELS:
            levels = torch.linspace(float(levels[0]), float(levels[-1]), MAX_LEVELS, device=levels.device, dtype=levels.dtype)
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
