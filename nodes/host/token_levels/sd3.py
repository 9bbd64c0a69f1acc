"""Stable Diffusion 3 and 3.5, and AuraFlow: each block's modulation of picture and text."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from .family import NET, Family, Patch
from .levels import ModulationLayers


class SD3(Family):
    targets = (
        r"joint_blocks\.\d+\.(x_block|context_block)\.(attn2?\.(qkv|proj)|mlp\.fc[12]|adaLN_modulation\.1)|final_layer\.adaLN_modulation\.1"
    )
    blocks = ("joint_blocks",)

    def patches(self) -> Iterator[Patch]:
        layers = lambda stream: partial(ModulationLayers, levels=self.levels, stream=stream)
        for k in range(len(self.net.joint_blocks)):
            yield f"{NET}joint_blocks.{k}.x_block.adaLN_modulation", layers("img")
            yield f"{NET}joint_blocks.{k}.context_block.adaLN_modulation", layers("txt")
        yield f"{NET}final_layer.adaLN_modulation", layers("img")

    def embed(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        return self.net.t_embedder(timesteps, dtype=dtype)


class AuraFlow(Family):
    targets = r"(double_layers|single_layers)\.\d+\.(attn\.w\w+|mlp\w*\.c_\w+|mod\w+\.1)|modF\.1"
    blocks = ("double_layers", "single_layers")

    def patches(self) -> Iterator[Patch]:
        layers = lambda stream: partial(ModulationLayers, levels=self.levels, stream=stream)
        for k in range(len(self.net.double_layers)):
            yield f"{NET}double_layers.{k}.modX", layers("img")
            yield f"{NET}double_layers.{k}.modC", layers("txt")
        for k in range(len(self.net.single_layers)):
            yield f"{NET}single_layers.{k}.modCX", layers("joint")
        yield f"{NET}modF", layers("img")

    def embed(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        return self.net.t_embedder(timesteps, dtype)

    def text_length(self, context: Tensor, conds: dict) -> int:
        return context.shape[1] + self.net.register_tokens.shape[1]
