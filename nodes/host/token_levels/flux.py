"""Flux.1, Flux.2, LongCat-Image, HunyuanVideo and HunyuanImage: each block's `Modulation`, or three that all blocks share."""

from collections.abc import Iterator
from functools import partial

import torch.nn.functional as F
from comfy.ldm.flux.layers import ModulationOut, timestep_embedding
from torch import Tensor

from .family import NET, Family, Patch
from .levels import ModulationLayers, StandIn


class Modulation(StandIn):
    """The host's `Modulation`, whose outputs (B, L, C) broadcast by themselves."""

    def mapped(self, vec: Tensor):
        parts = self.levels.modulate(lambda v: self.lin(F.silu(v)), vec, self.stream).chunk(self.layer.multiplier, -1)
        return ModulationOut(*parts[:3]), ModulationOut(*parts[3:]) if self.layer.is_double else None


class Flux(Family):
    targets = (
        r"double_blocks\.\d+\.((img|txt)_(attn\.(qkv|proj)|mlp\.\w+)|(img|txt)_mod\.lin)"
        r"|single_blocks\.\d+\.(linear1|linear2|modulation\.lin)"
        r"|(double_stream_modulation_(img|txt)|single_stream_modulation)\.lin|final_layer\.adaLN_modulation\.1"
    )
    blocks = ("double_blocks", "single_blocks")
    time_factor = 1000.0

    def patches(self) -> Iterator[Patch]:
        stand_in = lambda kind, stream: partial(kind, levels=self.levels, stream=stream)
        if getattr(self.net.params, "global_modulation", False):
            yield f"{NET}double_stream_modulation_img", stand_in(Modulation, "img")
            yield f"{NET}double_stream_modulation_txt", stand_in(Modulation, "txt")
            yield f"{NET}single_stream_modulation", stand_in(Modulation, "joint")
        else:
            for k in range(len(self.net.double_blocks)):
                yield f"{NET}double_blocks.{k}.img_mod", stand_in(Modulation, "img")
                yield f"{NET}double_blocks.{k}.txt_mod", stand_in(Modulation, "txt")
            for k in range(len(self.net.single_blocks)):
                yield f"{NET}single_blocks.{k}.modulation", stand_in(Modulation, "joint")
        yield f"{NET}final_layer.adaLN_modulation", stand_in(ModulationLayers, "img")

    def embed(self, timesteps, dtype):
        return self.net.time_in(timestep_embedding(timesteps, 256, time_factor=self.time_factor).to(dtype))

    def reference_method(self) -> str | None:
        return getattr(self.net.params, "default_ref_method", None)


class HighestLevel(StandIn):
    """A layer that reads the text with one timestep: the highest."""

    def mapped(self, text, timesteps, *args, **kwargs):
        highest = self.levels.pick(self.levels.timesteps[..., None], "txt")[:, 0, 0]
        return self.layer(text, highest.to(timesteps), *args, **kwargs)


class Hunyuan(Flux):
    """HunyuanVideo and HunyuanImage: Flux' blocks, and a text refiner that gets the timestep too."""

    time_factor = 1.0

    def patches(self) -> Iterator[Patch]:
        yield from super().patches()
        yield f"{NET}txt_in", partial(HighestLevel, levels=self.levels)

    def text_length(self, context, conds):
        extra = (conds.get(name) for name in ("txt_byt5", "clip_fea"))
        return context.shape[1] + sum(tokens.shape[1] for tokens in extra if tokens is not None)

    def refusal(self, conds):
        if getattr(self.net, "time_r_in", None) is not None:
            return "the distilled (MeanFlow) model"
        names = {"guiding_frame_index": "a guiding frame", "ref_latent": "a reference picture"}
        return next((words for name, words in names.items() if conds.get(name) is not None), None)
