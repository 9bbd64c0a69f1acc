"""Wan 2.1 and 2.2, and Ideogram 4: their networks take a timestep per token, which the host does not feed them."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from .family import Family, Patch


class Wan(Family):
    """Text is read by cross-attention, without a timestep."""

    stream = "img"

    def patches(self) -> Iterator[Patch]:
        yield "process_timestep", lambda plain: partial(self._timesteps, plain)

    def _timesteps(self, plain, timestep: Tensor, x: Tensor, **kwargs) -> Tensor:
        if not self.levels.active:
            return plain(timestep, x=x, **kwargs)
        return self.levels.pick(self.levels.timesteps[..., None], self.stream)[..., 0]

    def refusal(self, conds: dict) -> str | None:
        names = ("reference_latent", "context_latents", "time_dim_concat")
        return "reference pictures" if any(conds.get(name) is not None for name in names) else None


class Ideogram4(Wan):
    stream = "joint"

    def token_size(self) -> tuple[int, int, int]:
        return 1, 1, 1  # one latent of 128 channels is one token

    def refusal(self, conds: dict) -> str | None:
        return None

    def streams(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        return {"joint": torch.cat([text, image], 1)}
