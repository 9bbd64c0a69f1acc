"""Wan 2.1 and 2.2, and Ideogram 4: their networks take a timestep per token, which the host does not feed them."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from .family import Family, Patch


class Wan(Family):
    """Text is read by cross-attention, without a timestep."""

    targets = r"blocks\.\d+\.((self_attn|cross_attn)\.([qkvo]|[kv]_img)|ffn\.[02])|time_projection\.1"
    blocks = ("blocks",)
    stream = "img"

    def patches(self) -> Iterator[Patch]:
        yield "process_timestep", lambda plain: partial(self._timesteps, plain)

    def _timesteps(self, plain, timestep: Tensor, x: Tensor, **kwargs) -> Tensor:
        return self.network_timesteps(timestep) if self.levels.active else plain(timestep, x=x, **kwargs)

    def network_timesteps(self, timestep: Tensor) -> Tensor:
        return self.levels.pick(self.levels.timesteps[..., None], self.stream)[..., 0]

    def refusal(self, conds: dict) -> str | None:
        names = ("reference_latent", "context_latents", "time_dim_concat")
        return "reference pictures" if any(conds.get(name) is not None for name in names) else None


class Ideogram4(Wan):
    targets = r"layers\.\d+\.(attention\.(qkv|o)|feed_forward\.w[123]|adaln_modulation)|final_layer\.adaln_modulation|adaln_proj"
    blocks = ("layers",)
    stream = "joint"

    def token_size(self) -> tuple[int, int, int]:
        return 1, 1, 1  # one latent of 128 channels is one token

    def refusal(self, conds: dict) -> str | None:
        return None

    def streams(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        return {"joint": torch.cat([text, image], 1)}
