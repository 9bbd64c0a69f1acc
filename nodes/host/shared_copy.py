"""A trainable copy of a host network that shares its weights: another module tree on the same memory."""

import copy
from itertools import chain

import comfy.lora
import torch
from torch import Tensor, nn

PREFIX = "diffusion_model."


def shared_copy(model) -> nn.Module:
    """A MODEL's network as a module tree of its own, on the same weights; only those that a LoRA changes are copied, merged.

    The host's network is only read. The weights are aliases made outside the host's inference mode, whose tensors autograd refuses.

    Raises:
        ValueError: weights that are not plain tensors, such as those of a quantised file.
    """
    net, merged = model.model.diffusion_model, _merged(model)
    memo = {}
    with torch.inference_mode(False):
        tensors = chain(net.named_parameters(remove_duplicate=False), net.named_buffers(remove_duplicate=False))
        for name, tensor in tensors:
            if type(tensor.data) is not Tensor:
                raise ValueError(
                    f"This checkpoint's weights are stored as {type(tensor.data).__name__}, which cannot be trained on: load a bfloat16, "
                    "float16 or plain fp8 file of the model instead."
                )
            alias = merged[name] if name in merged else _alias(tensor)
            memo[id(tensor)] = nn.Parameter(alias, requires_grad=False) if isinstance(tensor, nn.Parameter) else alias
        return copy.deepcopy(net, memo)


def _merged(model) -> dict[str, Tensor]:
    """The weights that patches (LoRA, adapters) of a MODEL change, merged, by name and in their own precision."""
    merged = {}
    for key, ((weight, convert), *patches) in model.get_key_patches(PREFIX).items():
        if patches:
            with torch.inference_mode(False):
                plain = convert(weight.to("cpu", copy=True), inplace=True).float()
                value = comfy.lora.calculate_weight(patches, plain.clone(), key)
                merged[key.removeprefix(PREFIX)] = value.to(weight.device, weight.dtype)
    return merged


def _alias(tensor: Tensor) -> Tensor:
    """The same memory as a tensor that autograd knows."""
    if not tensor.is_inference():
        return tensor.detach()
    plain = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return plain.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
