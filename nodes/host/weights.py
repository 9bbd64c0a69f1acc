"""The weights of a MODEL's network: as they were loaded, and with its patches (LoRA, adapters)."""

from collections.abc import Callable
from dataclasses import dataclass

import comfy.lora
from comfy.model_patcher import get_key_weight
from torch import Tensor

PREFIX = "diffusion_model."


@dataclass
class Weight:
    """A weight as it was loaded, what makes plain numbers of a quantised one (or None), and the patches on it."""

    key: str
    loaded: Tensor
    convert: Callable | None
    patches: list

    def plain(self) -> Tensor:
        """A float32 copy on the CPU."""
        copy = self.loaded.to("cpu", copy=True)
        return (copy if self.convert is None else self.convert(copy, inplace=True)).float()

    def merged(self) -> Tensor:
        """The same with its patches."""
        return comfy.lora.calculate_weight(self.patches, self.plain(), self.key) if self.patches else self.plain()


def weights_of(model) -> dict[str, Weight]:
    """By name. (The host's own `get_key_patches` fails on the scales of quantised weights.)"""
    weights = {}
    for name, _ in model.model.diffusion_model.named_parameters(remove_duplicate=False):
        key = PREFIX + name
        weight, _, convert = get_key_weight(model.model, key)
        if key in model.backup:  # the host has merged the patches in place
            weight = model.backup[key].weight
        if key in model.hook_backup:
            weight = model.hook_backup[key][0]
        weights[name] = Weight(key, weight, convert, model.patches.get(key, []))
    return weights


def loaded_weights(model) -> dict[str, Tensor]:
    """The network's weights before any patch, by name."""
    return {name: weight.loaded for name, weight in weights_of(model).items()}
