"""RAD adapters on a network: train them, merge them into its weights, take them off again (RAD 3.4, 4.2).

Loading merges: W + strength * (alpha / rank) B A, and T + strength * (T_adapter - T_base), so sampling is no slower with an adapter.
The replaced weights are kept in `net.adapter_backup`, so that unloading restores them bit-exact.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .adapter_files import (
    ALL_TARGETS,
    TARGETS,
    TIME_LAYERS,
    UNKNOWN,
    Adapter,
    AdapterMetadata,
    fingerprint,
    lora_config,
    other_base_warning,
    peft_tensors,
    read_adapter,
    time_layers_warning,
    write_tensors,
)
from .attention_order import rows_in_other_order
from .checkpoints import CheckpointError
from .denoisers import check_network
from .notes import note
from .unet import AdapterBackup, Attention, UNet

if TYPE_CHECKING:
    from peft import PeftModel


def add_adapter(
    net: UNet, rank: int = 16, alpha: float | None = None, start: Adapter | None = None, targets: Sequence[str] = TARGETS
) -> "PeftModel":
    """Wrap a network to train an adapter on it: everything is frozen except the LoRA and the time layers.

    Args:
        rank, alpha, targets: as in `lora_config`.
        start: an adapter to continue training; then its own rank, alpha and targets apply.

    Returns:
        a `peft.PeftModel`, called like the network.

    Raises:
        CheckpointError: `start` does not fit the network.
        ValueError: a rank below 1, or an unknown target.
    """
    from peft import get_peft_model, set_peft_model_state_dict

    if start is None:
        return get_peft_model(net, lora_config(rank, alpha, targets))
    check_fit(start, dict(net.named_parameters()))
    stems = [name.removesuffix(".weight") for name in start.lora]
    targets = [target for target in ALL_TARGETS if any(f".{stem}".endswith(f".{target}") for stem in stems)]
    config = lora_config(start.rank, start.config.get("lora_alpha", start.rank), targets)
    config.rank_pattern = dict(start.config.get("rank_pattern") or {})
    model = get_peft_model(net, config)
    set_peft_model_state_dict(model, peft_tensors(start))
    return model


def save_adapter(
    model: "PeftModel",
    path: str | Path,
    dtype: torch.dtype | None = None,
    note: str = "",
    metadata: AdapterMetadata = UNKNOWN,
    added: Mapping[str, Tensor] = {},
) -> None:
    """Save the adapter of a model from `add_adapter`.

    Args:
        path: a folder that `peft.PeftModel.from_pretrained` reads or, if the path ends in .safetensors, one file with the same
            tensors and PEFT's configuration in its header.
        dtype: of the tensors in the file; None for the model's own.
        note: any text, such as how it was trained.
        metadata: the same for programs.
        added: float32 tensors by PEFT's names, added to the adapter's.

    Raises:
        ValueError: the path cannot be written.
    """
    from peft import get_peft_model_state_dict

    check_network(model, "peft_config", "a model as add_adapter returns it, which is in training")
    tensors = get_peft_model_state_dict(model)
    tensors |= {name: (tensors[name].float().cpu() + change).to(tensors[name].dtype) for name, change in added.items()}
    config = model.peft_config["default"].to_dict() | {"inference_mode": True}
    write_tensors(path, tensors, config, dtype, note, metadata)


def check_fit(adapter: Adapter, state: dict[str, Tensor]) -> None:
    """Check that an adapter's tensors fit a network's, `state`.

    Raises:
        CheckpointError: they do not; names the first one that does not fit, and how many do.
    """
    wrong, total = [], len(adapter.lora) + len(adapter.time)
    for name, (a, b) in adapter.lora.items():
        weight = state.get(name)
        if weight is None:
            wrong.append(f"'{name}' does not exist in the network")
        elif b.shape[0] * a[0].numel() != weight.numel() or a.shape[0] != b.shape[1]:
            wrong.append(f"'{name}' is {tuple(weight.shape)} in the network but {(b.shape[0], *a.shape[1:])} in the adapter")
    for name, tensor in adapter.time.items():
        if name not in state:
            wrong.append(f"'{name}' does not exist in the network")
        elif state[name].numel() != tensor.numel():
            wrong.append(f"'{name}' is {tuple(state[name].shape)} in the network but {tuple(tensor.shape)} in the adapter")
    if wrong:
        raise CheckpointError(
            f"Adapter {adapter.name} was made for another network: {wrong[0]} ({total - len(wrong)} of {total} tensors fit). "
            "Load the network it was trained on."
        )


@torch.no_grad()
def load_adapter(net: UNet, path: str | Path, strength: float = 1.0) -> UNet:
    """Merge an adapter into a network. Call again to stack another one on top.

    Args:
        net: the network that it was trained on.
        path: see `read_adapter`.
        strength: 1 as trained, 0 no effect, in between weaker, above 1 or below 0 exaggerated or reversed.

    Returns:
        the same network.

    Raises:
        FileNotFoundError, CheckpointError: as `read_adapter`.
        CheckpointError: the adapter does not fit the network, which is left unchanged.
        ValueError: the strength is not finite.
    """
    if not math.isfinite(strength):
        raise ValueError(f"An adapter's strength must be a finite number such as 1.0, got {strength}.")
    adapter = read_adapter(path)
    parameters = dict(net.named_parameters())
    check_fit(adapter, parameters)
    if warning := time_layers_warning(adapter):
        note(warning)
    net.adapter_backup = net.adapter_backup or AdapterBackup({}, net.region_aware)
    originals = net.adapter_backup.weights
    if warning := other_base_warning(adapter, parameters | originals):
        note(warning)
    for name in [*adapter.lora, *adapter.time]:
        originals.setdefault(name, parameters[name].detach().clone())
    for name in adapter.lora:
        p = parameters[name]
        p.copy_(p.float() + strength * adapter.delta(name, p.shape).to(p.device))
    for name, tensor in adapter.time.items():
        p = parameters[name]
        original = originals[name].to(p.device)  # the network may have been moved since
        target = tensor.to(p.device, torch.float32).view(p.shape)
        p.copy_(target if strength == 1 and torch.equal(p, original) else p.float() + strength * (target - original.float()))
    net.region_aware = net.region_aware or (strength != 0 and bool(adapter.time))
    return net


@torch.no_grad()
def unload_adapters(net: UNet) -> UNet:
    """Take all adapters off: the weights become bit-equal to those before the first `load_adapter`. Returns the same network."""
    if net.adapter_backup is None:
        return net
    originals = net.adapter_backup.weights
    for name, parameter in net.named_parameters():
        if name in originals:
            parameter.copy_(originals[name])
    net.region_aware, net.adapter_backup = net.adapter_backup.region_aware, None
    return net


def merge_adapters(net: UNet) -> UNet:
    """Make the loaded adapters permanent and forget the original weights. Returns the same network."""
    net.adapter_backup = None
    return net


def adapter_to_new(adapter: Adapter, net: UNet) -> Adapter:
    """Convert an adapter whose base had been loaded in the wrong attention order, for the base in the right one.

    The authors' program took the legacy order for the new one, so the adapter's q, k and v each hold rows that belong to the other
    two. Stacking A and B of all three (B as a block diagonal) and reordering the rows of B gives LoRAs of three times the rank that
    have exactly the same effect.

    Args:
        adapter: trained on the network in the wrong order.
        net: the network in the right order; the reordering depends on its heads.

    Raises:
        CheckpointError: the adapter does not fit the network.
    """
    check_fit(adapter, dict(net.named_parameters()))
    lora, ranks = dict(adapter.lora), {}
    for name, block in net.named_modules():
        names = [f"{name}.to_{letter}.weight" for letter in "qkv"]
        if isinstance(block, Attention) and any(layer in lora for layer in names):
            channels, rank = block.to_q.weight.shape[0], adapter.rank
            empty = torch.zeros(rank, channels), torch.zeros(channels, rank)
            a, b = zip(*(lora.get(layer, empty) for layer in names), strict=True)
            stacked = torch.block_diag(*(factor.float() for factor in b))  # (3C, 3 rank)
            for layer, rows in zip(names, rows_in_other_order(stacked.chunk(3), block.heads, to_new=True), strict=True):
                lora[layer] = torch.cat(a).float(), 3 * rows  # times 3, since alpha will be divided by three times the rank
                ranks[layer.removesuffix(".weight")] = 3 * rank
    config = (adapter.config or lora_config(adapter.rank).to_dict()) | {"rank_pattern": ranks}
    return replace(adapter, lora=lora, config=config)


@torch.no_grad()
def extract_adapter(tuned: UNet, base: UNet, rank: int = 32) -> tuple[Adapter, float]:
    """What all weights of a network have learnt beyond its base, as an adapter ("LoRA extraction").

    Each weight's difference becomes the nearest one of the rank, by its largest singular values, and the time layers are copied. Norms, and
    biases of other layers, cannot be in a LoRA and keep the base's values. Train the adapter a little further (`add_adapter`) to make
    up for them.

    Args:
        tuned: a network whose every weight was trained on from `base` (`train rad --init NETWORK`, without `--base`).
        rank: of the LoRA.

    Returns:
        the adapter, and the share of the difference of all parameters that it holds, 0 to 1, in squares.

    Raises:
        ValueError: the networks have other shapes, or the rank is below 1.
    """
    config = lora_config(rank, targets=ALL_TARGETS)
    before, after = dict(base.named_parameters()), dict(tuned.named_parameters())
    if {name: p.shape for name, p in before.items()} != {name: p.shape for name, p in after.items()}:
        raise ValueError("An adapter is extracted from a network that was trained on from its base; these two have other shapes.")
    lora, time, lost, total = {}, {}, 0.0, 0.0
    for name, weight in after.items():
        layer, _, kind = name.rpartition(".")
        change = (weight - before[name]).float().cpu()
        total += float(change.square().sum())
        if layer.endswith(tuple(TIME_LAYERS)):
            time[name] = weight.clone()
        elif kind == "weight" and f".{layer}".endswith(tuple(f".{target}" for target in ALL_TARGETS)):
            left, values, right = torch.linalg.svd(change.flatten(1), full_matrices=False)
            lost += float(values[rank:].square().sum())
            a, b = torch.zeros(rank, right.shape[1]), torch.zeros(len(left), rank)
            kept, root = len(values[:rank]), values[:rank].sqrt()
            a[:kept], b[:, :kept] = root[:, None] * right[:rank], left[:, :rank] * root
            lora[name] = a.view(rank, *weight.shape[1:]), b.view(len(left), rank, *[1] * (weight.ndim - 2))
        else:
            lost += float(change.square().sum())
    metadata = AdapterMetadata(fingerprint(before), base.config.schedule)
    return Adapter("extracted", lora, time, config.to_dict(), metadata=metadata), 1 - lost / total if total else 1.0
