"""Chroma and Chroma Radiance: one network makes all modulations from the timestep, as a table of 344 rows."""

from collections.abc import Iterator
from functools import partial

import torch
from comfy.ldm.chroma.layers import ChromaModulationOut
from comfy.ldm.flux.layers import timestep_embedding
from torch import Tensor

from .family import NET, Family, Patch
from .levels import StandIn, TokenLevels


class Table(StandIn):
    """The network that makes the table: a table for each level, (B, K, 344, C)."""

    def mapped(self, inputs: Tensor) -> Tensor:
        steps = self.levels.timesteps
        waves = timestep_embedding(steps.flatten(), 16).to(inputs).unflatten(0, steps.shape)
        rest = inputs[:, None, :, 16:].expand(-1, steps.shape[1], -1, -1)
        own = torch.cat([waves[:, :, None].expand(-1, -1, inputs.shape[1], -1), rest], -1)
        return self.layer(own.flatten(0, 1)).unflatten(0, steps.shape)


class Rows:
    """The host's `get_modulations`, with rows per token."""

    def __init__(self, plain, params, levels: TokenLevels):
        self.plain, self.params, self.levels = plain, params, levels

    def __call__(self, table: Tensor, block_type: str, *, idx: int = 0):
        if not self.levels.active:
            return self.plain(table, block_type, idx=idx)
        if block_type == "final":
            return tuple(self.levels.pick(table[:, :, row], "img") for row in (-2, -1))
        if block_type == "single":
            return self._three(table, 3 * idx, "joint")
        first = 3 * self.params.depth_single_blocks + 6 * idx
        if block_type == "double_txt":
            first += 6 * self.params.depth
        stream = block_type.removeprefix("double_")
        return self._three(table, first, stream), self._three(table, first + 3, stream)

    def _three(self, table: Tensor, first: int, stream: str) -> ChromaModulationOut:
        shift, scale, gate = (self.levels.pick(table[:, :, first + k], stream) for k in range(3))
        return ChromaModulationOut(shift=shift, scale=scale, gate=gate)


class LastLayer(StandIn):
    def mapped(self, x: Tensor, vec: tuple[Tensor, Tensor]) -> Tensor:
        shift, scale = vec
        return self.linear(torch.addcmul(shift, 1 + scale, self.norm_final(x)))


class Chroma(Family):
    targets = (
        r"double_blocks\.\d+\.(img|txt)_(attn\.(qkv|proj)|mlp\.\w+)|single_blocks\.\d+\.linear[12]"
        r"|distilled_guidance_layer\.(in_proj|out_proj|layers\.\d+\.(in_layer|out_layer))"
    )
    blocks = ("double_blocks", "single_blocks")

    def patches(self) -> Iterator[Patch]:
        yield f"{NET}distilled_guidance_layer", partial(Table, levels=self.levels)
        yield f"{NET}get_modulations", lambda plain: Rows(plain, self.net.params, self.levels)
        if hasattr(self.net, "final_layer"):
            yield f"{NET}final_layer", partial(LastLayer, levels=self.levels)
