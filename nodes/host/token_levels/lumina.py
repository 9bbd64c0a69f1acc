"""Z-Image and Lumina 2: text and picture in one sequence, each filled up to a multiple of tokens."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from .family import NET, Family, Patch
from .levels import ModulationLayers


class Lumina(Family):
    targets = (
        r"(noise_refiner|layers)\.\d+\.(attention\.(qkv|out)|feed_forward\.w[123]|adaLN_modulation\.\d)|final_layer\.adaLN_modulation\.1"
    )
    blocks = ("noise_refiner", "context_refiner", "layers")

    def patches(self) -> Iterator[Patch]:
        layers = lambda stream: partial(ModulationLayers, levels=self.levels, stream=stream)
        for k in range(len(self.net.noise_refiner)):
            yield f"{NET}noise_refiner.{k}.adaLN_modulation", layers("padded")
        for k in range(len(self.net.layers)):
            yield f"{NET}layers.{k}.adaLN_modulation", layers("joint")
        yield f"{NET}final_layer.adaLN_modulation", layers("joint")

    def embed(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        return self.net.t_embedder((1.0 - timesteps) * getattr(self.net, "time_scale", 1.0), dtype=dtype)

    def refusal(self, conds: dict) -> str | None:
        if getattr(self.net, "clip_text_pooled_proj", None) is not None:
            return "a network that mixes its timestep with a pooled text"
        return "reference pictures" if conds.get("ref_latents") or conds.get("ref_contexts") else None

    def text_length(self, context: Tensor, conds: dict) -> int:
        return context.shape[1] + -context.shape[1] % self._multiple()

    def streams(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        padded = torch.cat([image, text[:, :1].expand(-1, -image.shape[1] % self._multiple())], 1)
        return {"padded": padded, "joint": torch.cat([text, padded], 1)}

    def _multiple(self) -> int:
        return getattr(self.net, "pad_tokens_multiple", None) or 1
