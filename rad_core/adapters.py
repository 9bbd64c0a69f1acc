"""RAD adapters on networks: trained on them, merged into them, taken off again (RAD 3.4, 4.2).

Loading merges: W + strength * (alpha / rank) B A, and T + strength * (T_adapter - T_base), so sampling pays nothing for it. The
replaced weights are kept aside, so unloading brings them back bit-exact.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from .adapter_files import TARGETS, UNKNOWN, Adapter, Facts, lora_config, peft_tensors, read_adapter, warn_of_other_base, write_tensors
from .attention_order import rows_in_other_order
from .checkpoints import CheckpointError
from .unet import Attention, UNet


def add_adapter(net: UNet, rank: int = 16, alpha: float | None = None, start: "Adapter | None" = None, targets: Sequence[str] = TARGETS):
    """Wrap a network for training an adapter on it: everything is frozen but the LoRA and the time layers.

    Args:
        rank, alpha: of the LoRA, whose strength is alpha / rank; alpha is the rank where None.
        start: an adapter to go on from; its rank, alpha and targets hold then.
        targets: which kinds of layers get a LoRA, of `TARGETS`.

    Returns:
        a `peft.PeftModel`; called as the network is.

    Raises:
        CheckpointError: `start` does not fit the network.
        ValueError: as `lora_config`.
    """
    from peft import get_peft_model, set_peft_model_state_dict

    if start is None:
        return get_peft_model(net, lora_config(rank, alpha, targets))
    check_fit(start, dict(net.named_parameters()))
    stems = [name.removesuffix(".weight") for name in start.lora]
    targets = [target for target in TARGETS if any(f".{stem}".endswith(f".{target}") for stem in stems)]
    model = get_peft_model(net, lora_config(start.rank, start.config.get("lora_alpha", start.rank), targets))
    set_peft_model_state_dict(model, peft_tensors(start))
    return model


def save_adapter(model, path: str | Path, dtype: torch.dtype | None = None, note: str = "", facts: Facts = UNKNOWN) -> None:
    """Save a trained `add_adapter` model: a folder that `peft.PeftModel.from_pretrained` reads, or, where `path` ends in
    .safetensors, one file with the same tensors and PEFT's configuration in its metadata.

    Raises:
        ValueError: the place cannot be written.
    """
    from peft import get_peft_model_state_dict

    config = model.peft_config["default"].to_dict() | {"inference_mode": True}
    write_tensors(path, get_peft_model_state_dict(model), config, dtype, note, facts)


def check_fit(adapter: Adapter, state: dict[str, Tensor]) -> None:
    """Does an adapter belong to a network?

    Raises:
        CheckpointError: no; names the first tensor that does not fit and how many do.
    """
    wrong, total = [], len(adapter.lora) + len(adapter.time)
    for name, (a, b) in adapter.lora.items():
        have = state.get(name)
        if have is None:
            wrong.append(f"'{name}' does not exist in the network")
        elif b.shape[0] * a[0].numel() != have.numel() or a.shape[0] != b.shape[1]:
            wrong.append(f"'{name}' is {tuple(have.shape)} in the network but {(b.shape[0], *a.shape[1:])} in the adapter")
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
    """Merge an adapter into a network. Call again to stack another on top.

    Args:
        net: the network it was trained on.
        path: see `read_adapter`.
        strength: 1 as trained, 0 nothing, between or beyond to weaken or exaggerate.

    Returns:
        the same network.

    Raises:
        FileNotFoundError, CheckpointError: as `read_adapter`, or it does not fit the network, which is then left as it was.
    """
    if not math.isfinite(strength):
        raise ValueError(f"An adapter's strength must be a number such as 1.0, got {strength}.")
    adapter = read_adapter(path)
    parameters = dict(net.named_parameters())
    check_fit(adapter, parameters)
    if not adapter.time:
        warnings.warn(
            f"Adapter {adapter.name} lacks the time layers that RAD trains in full; its fills will not be as good as trained.", stacklevel=2
        )
    kept: dict[str, Tensor] = net.__dict__.setdefault("_weights_before_adapters", {})
    net.__dict__.setdefault("_region_aware_before", net.region_aware)
    if warning := warn_of_other_base(adapter, parameters | kept):
        warnings.warn(warning, stacklevel=2)
    for name in [*adapter.lora, *adapter.time]:
        kept.setdefault(name, parameters[name].detach().clone())
    for name in adapter.lora:
        p = parameters[name]
        p.copy_(p.float() + strength * adapter.delta(name, p.shape).to(p.device))
    for name, tensor in adapter.time.items():
        p = parameters[name]
        base = kept[name].float()
        target = tensor.to(p.device, torch.float32).view(p.shape)
        p.copy_(target if strength == 1 and torch.equal(p, kept[name]) else p.float() + strength * (target - base))
    net.region_aware = net.region_aware or (strength != 0 and bool(adapter.time))
    return net


@torch.no_grad()
def unload_adapters(net: UNet) -> UNet:
    """Take all adapters off again: the weights are bit-equal to those before the first `load_adapter`."""
    kept = net.__dict__.pop("_weights_before_adapters", {})
    for name, parameter in net.named_parameters():
        if name in kept:
            parameter.copy_(kept[name])
    net.region_aware = net.__dict__.pop("_region_aware_before", net.region_aware)
    return net


def merge_adapters(net: UNet) -> UNet:
    """Make the loaded adapters permanent and forget the weights before them."""
    net.__dict__.pop("_weights_before_adapters", None)
    net.__dict__.pop("_region_aware_before", None)
    return net


def adapter_to_new(adapter: Adapter, net: UNet) -> Adapter:
    """An adapter that was trained on a base whose legacy order had been taken for the new one, for the base as it should be.

    Its q, k and v are each a mixture of what they should be. With A and B of all three stacked (B block by block), the rows of B are
    put where they belong; so the LoRA of q, k and v are of three times the rank, and do exactly what they did.

    Args:
        net: the base, from whose heads the order follows.

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
            spread = torch.block_diag(*(part.float() for part in b))  # (3C, 3 rank)
            for layer, rows in zip(names, rows_in_other_order(spread.chunk(3), block.heads, to_new=True), strict=True):
                lora[layer] = torch.cat(a).float(), 3 * rows  # alpha is divided by three times the rank now
                ranks[layer.removesuffix(".weight")] = 3 * rank
    config = (adapter.config or lora_config(adapter.rank).to_dict()) | {"rank_pattern": ranks}
    return replace(adapter, lora=lora, config=config)
