"""Krea 2: one modulation for all blocks, and the last layer's."""

from collections.abc import Iterator
from functools import partial

from comfy.ldm.flux.layers import timestep_embedding
from comfy.model_management import cast_to
from torch import Tensor, nn

from .family import NET, Family, Patch
from .levels import StandIn, TokenLevels


class Time(nn.Sequential):
    """The layers that read the timestep: they read each level's, (B, K, F)."""

    def __init__(self, layers: nn.Sequential, levels: TokenLevels, channels: int):
        super().__init__(*layers)
        self.__dict__.update(levels=levels, channels=channels)

    def forward(self, waves: Tensor) -> Tensor:
        if self.levels.active:
            steps = self.levels.timesteps
            waves = timestep_embedding(steps.flatten(), self.channels).unflatten(0, steps.shape).to(waves)
        return super().forward(waves)


class Project(nn.Sequential):
    """The layers that make the blocks' modulation of it: per token."""

    def __init__(self, layers: nn.Sequential, levels: TokenLevels):
        super().__init__(*layers)
        self.__dict__.update(levels=levels)

    def forward(self, vec: Tensor) -> Tensor:
        out = super().forward(vec)
        return self.levels.pick(out, "joint") if self.levels.active else out


class LastModulation(StandIn):
    def mapped(self, vec: Tensor) -> tuple[Tensor, Tensor]:
        vec, (scale, shift) = self.levels.pick(vec, "joint"), cast_to(self.layer.lin, dtype=vec.dtype, device=vec.device)
        return vec + scale, vec + shift


class Krea2(Family):
    targets = r"blocks\.\d+\.(attn\.(w[qkvo]|gate)|mlp\.(gate|up|down))|tproj\.1|tmlp\.[02]"
    blocks = ("blocks",)

    def token_size(self) -> tuple[int, int, int]:
        return 1, self.net.patch, self.net.patch

    def patches(self) -> Iterator[Patch]:
        yield f"{NET}tmlp", partial(Time, levels=self.levels, channels=self.net.tdim)
        yield f"{NET}tproj", partial(Project, levels=self.levels)
        yield f"{NET}last.modulation", partial(LastModulation, levels=self.levels)

    def references(self, conds: dict) -> list[Tensor]:
        return super().references(conds) if conds.get("ref_latents_method", self.reference_method()) else []
