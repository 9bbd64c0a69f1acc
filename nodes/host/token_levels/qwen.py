"""Qwen-Image, Qwen-Image-Edit and Mage-Flow: each block's modulation of picture and text, and the last layer's."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from .family import NET, Family, Patch
from .levels import ModulationLayers, StandIn


class LastLayer(StandIn):
    def mapped(self, x: Tensor, vec: Tensor) -> Tensor:
        scale, shift = self.levels.modulate(lambda v: self.linear(self.layer.silu(v)), vec, self.stream).chunk(2, -1)
        return torch.addcmul(shift, self.norm(x), 1 + scale)


class Qwen(Family):
    targets = (
        r"transformer_blocks\.\d+\.(attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)|(img|txt)_mlp\.net\.\d(\.proj)?|(img|txt)_mod\.1)"
        r"|norm_out\.linear"
    )
    blocks = ("transformer_blocks",)

    def patches(self) -> Iterator[Patch]:
        for k in range(len(self.net.transformer_blocks)):
            for stream in ("img", "txt"):
                yield f"{NET}transformer_blocks.{k}.{stream}_mod", partial(ModulationLayers, levels=self.levels, stream=stream)
        yield f"{NET}norm_out", partial(LastLayer, levels=self.levels, stream="img")

    def embed(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        return self.net.time_text_embed(timesteps, torch.zeros(1, dtype=dtype, device=timesteps.device))


class MageFlow(Qwen):
    def embed(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        return super().embed(timesteps.to(torch.bfloat16), dtype)  # the host rounds them so

    def network_timesteps(self, timestep: Tensor) -> Tensor:
        return timestep.to(torch.bfloat16)
