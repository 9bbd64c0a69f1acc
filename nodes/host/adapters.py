"""RAD adapters as patches of a host MODEL: nothing is reloaded, and the host merges and unmerges the weights.

For an ADM network the adapter is a PEFT file (`rad_core.adapter_files`). For a latent model it is a LoRA file of the host's own kind, with
the time layers as differences, so that the host's LoRA loader reads it too (and only lacks the noise level per pixel).
"""

import json
from dataclasses import asdict

import comfy.lora
import comfy.sd
import comfy.weight_adapter
import torch
from safetensors.torch import save_file
from torch import Tensor

from ...rad_core import CheckpointError, read_adapter
from ...rad_core.adapter_files import (
    ADAPTER,
    ADAPTER_KEY,
    PEFT,
    Adapter,
    AdapterMetadata,
    adapter_metadata,
    other_base_warning,
    read_copied,
    time_layers_warning,
)
from ...rad_core.adapters import check_fit
from ...rad_core.atomic import atomic_write
from ...rad_core.checkpoints import resolve_file
from ...rad_core.notes import note
from .adm import REGION_AWARE, ADMModel
from .region_aware import make_region_aware
from .token_levels import family_name
from .weights import PREFIX, loaded_weights

FAMILY = "family"


def with_adapter(model, path: str, strength: float, node: str = "Load RAD Adapter"):
    """Clone a MODEL and put an adapter on it: W + strength (alpha / rank) B A and T + strength (T_adapter - T_base).

    Args:
        node: the name of the node that needs it, for errors.

    Raises:
        FileNotFoundError, CheckpointError: as `rad_core.read_adapter`, or the adapter does not fit the network.
        ValueError: there are no adapters for this kind of MODEL.
    """
    if isinstance(model.model, ADMModel):
        return _on_adm(model, path, strength)
    return _on_latents(model, path, strength, node)


def _on_adm(model, path: str, strength: float):
    adapter = read_adapter(path)
    if adapter.for_latents:
        raise CheckpointError(f"Adapter {adapter.name} was trained on a latent model; this MODEL is a pixel-space network.")
    parameters = dict(model.model.diffusion_model.named_parameters())
    check_fit(adapter, parameters)
    if warning := time_layers_warning(adapter):
        note(warning)
    patches, base = {}, loaded_weights(model)
    _warn(adapter, base)
    for name, (a, b) in adapter.lora.items():
        alpha = adapter.config.get("lora_alpha", a.shape[0])
        patches[PREFIX + name] = comfy.weight_adapter.LoRAAdapter(set(), (b, a, alpha, None, None, None))
    for name, tensor in adapter.time.items():
        original = base[name].float().cpu()
        patches[PREFIX + name] = ("diff", (tensor.float().view(original.shape) - original,))
    patched = model.clone()
    patched.add_patches(patches, strength)
    if strength != 0 and adapter.time:
        patched.add_object_patch(REGION_AWARE, True)
    return patched


def _on_latents(model, path: str, strength: float, node: str):
    """Put an adapter on a latent model, with the noise level per pixel or token that it was trained for."""
    aware = make_region_aware(model, node)  # fails early on a MODEL that cannot be
    file = resolve_file(path, ADAPTER)
    tensors, metadata = read_copied(file)
    if not all(bool(torch.isfinite(tensor.float()).all()) for tensor in tensors.values()):
        raise CheckpointError(f"Adapter {file.name} has NaN or infinite values.")
    if not any(key.startswith(PREFIX) for key in tensors):
        raise CheckpointError(
            f"{file.name} is not a RAD adapter for a latent model. Adapters for pixel-space networks need one from 'Load ADM Model', "
            "other LoRA the host's own loader."
        )
    family, own = metadata.get(FAMILY, ""), family_name(model.model.diffusion_model)
    if family and family != own:
        raise CheckpointError(
            f"Adapter {file.name} was trained on a network of another family ({family.rpartition('.')[2]}); this MODEL's is "
            f"{own.rpartition('.')[2]}. Load the model it was trained on."
        )
    layers = {key.rpartition(".lora_" if ".lora_" in key else ".")[0] for key in tensors}
    known = comfy.lora.model_lora_keys_unet(model.model, {})
    base = loaded_weights(model)
    shapes = {PREFIX + name: weight.shape for name, weight in base.items()}
    wrong = sorted(layer for layer in layers if not _fits(layer, tensors, known, shapes))
    if wrong:
        raise CheckpointError(
            f"Adapter {file.name} was made for another network: {wrong[0].removeprefix(PREFIX)} does not fit "
            f"({len(layers) - len(wrong)} of {len(layers)} layers do). Load the network it was trained on."
        )
    _warn(Adapter(file.name, {}, {}, {}, metadata=adapter_metadata(metadata, file.name)), base)
    if strength == 0:
        return model.clone()  # off: without the noise level per pixel too
    patched, _ = comfy.sd.load_lora_for_models(aware, None, tensors, strength, 0.0)
    return patched


def _fits(layer: str, tensors: dict[str, Tensor], known: dict[str, str], shapes: dict[str, torch.Size]) -> bool:
    """Whether the tensors of an adapter's layer fit the network; `known`: the host's LoRA names and their weights."""
    if layer not in known:
        return False
    shape = shapes[known[layer]]
    if f"{layer}.diff" in tensors:
        return tensors[f"{layer}.diff"].shape == shape
    a, b = (tensors.get(f"{layer}.lora_{letter}.weight") for letter in "AB")
    return a is not None and b is not None and b.shape[0] * a[0].numel() == shape.numel() and a.shape[0] == b.shape[1]


def _warn(adapter: Adapter, base: dict[str, Tensor]) -> None:
    if warning := other_base_warning(adapter, base):
        note(warning)


def write_latent_adapter(
    trained: dict[str, Tensor], start: dict[str, Tensor], alpha: float, path, note: str, about: AdapterMetadata, family: str = ""
) -> None:
    """Write an adapter that PEFT trained on a copy of a host network as a LoRA file of the host's kind.

    Args:
        trained: `get_peft_model_state_dict` of a `LatentNetwork` or a `FlowNetwork`.
        start: the same before training; the time layers' differences are to it, so that they add to patches that were on the MODEL.
        alpha: of the LoRA.
        family: `family_name` of a transformer.

    Raises:
        ValueError: the path cannot be written.
    """
    tensors = {}
    for key, value in trained.items():
        name = key.removeprefix(PEFT).removeprefix("unet.").removeprefix("net.")
        value = value.detach().float().cpu()
        if ".lora_" in name:
            tensors[PREFIX + name] = value
            tensors[PREFIX + name.rpartition(".lora_")[0] + ".alpha"] = torch.tensor(float(alpha))
        else:
            layer, _, leaf = name.rpartition(".")
            tensors[f"{PREFIX}{layer}.{'diff' if leaf == 'weight' else 'diff_b'}"] = value - start[key].float().cpu()
    metadata = {"format": "pt", "note": note, ADAPTER_KEY: json.dumps(asdict(about))} | ({FAMILY: family} if family else {})
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    atomic_write(path, lambda temporary: save_file(tensors, temporary, metadata))
