"""A trainable copy of a host network that shares its weights: another module tree on the same memory."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from .weights import weights_of

# What the host leaves on the layers of a network that it has loaded (dynamic memory, weights fetched ahead, pinned memory): owners of its
# memory. A copy of them would free that memory a second time, while the MODEL still uses it.
HOST_STATE = (
    "_v",
    "_v_signature",
    "_v_weight",
    "_v_bias",
    "_v_block",
    "_v_block_faulted",
    "_prefetch",
    "_pins",
    "_pin_state",
    "_comfy_graph",
    "weight_lowvram_function",
    "bias_lowvram_function",
)


def shared_copy(model, quantised: bool = False) -> nn.Module:
    """A MODEL's network as a module tree of its own, on the same weights; only those that a LoRA changes are copied, merged.

    The host's network is only read. The weights are aliases made outside the host's inference mode, whose tensors autograd refuses.

    Args:
        quantised: whether the weights may be the host's quantised ones, which compute with numbers of higher precision.

    Raises:
        ValueError: weights of another kind.
    """
    net, merged = model.model.diffusion_model, _merged(model)
    memo = {}
    with torch.inference_mode(False):
        tensors = chain(net.named_parameters(remove_duplicate=False), net.named_buffers(remove_duplicate=False))
        for name, tensor in tensors:
            if type(tensor.data) is not Tensor and not (quantised and is_traceable_wrapper_subclass(tensor.data)):
                raise ValueError(
                    f"This checkpoint's weights are stored as {type(tensor.data).__name__}, which cannot be trained on: load a bfloat16, "
                    "float16 or plain fp8 file of the model instead."
                )
            alias = merged[name] if name in merged else _alias(tensor)
            memo[id(tensor)] = nn.Parameter(alias, requires_grad=False) if isinstance(tensor, nn.Parameter) else alias
        with _without_host_state(net):
            net = copy.deepcopy(net, memo)
    for layer in net.modules():
        if hasattr(layer, "weight_function"):  # where the host keeps the LoRA of a MODEL loaded in part: merged above
            layer.weight_function, layer.bias_function = [], []
            if is_traceable_wrapper_subclass(getattr(layer, "weight", None)):
                layer.weight_function = [_plain_numbers]
    return net


@contextmanager
def _without_host_state(net: nn.Module) -> Iterator[None]:
    """Take `HOST_STATE` off a network's layers inside a `with` block."""
    taken = [(layer, {name: vars(layer).pop(name) for name in HOST_STATE if name in vars(layer)}) for layer in net.modules()]
    try:
        yield
    finally:
        for layer, state in taken:
            vars(layer).update(state)


def _plain_numbers(weight: Tensor) -> Tensor:
    """With a function on its weight a quantised layer of the host multiplies plain numbers, instead of quantising its input too."""
    return weight


def _merged(model) -> dict[str, Tensor]:
    """The weights that patches (LoRA, adapters) of a MODEL change, merged, by name and in their own precision."""
    with torch.inference_mode(False):
        return {
            name: weight.merged().to(weight.loaded.device, weight.loaded.dtype)
            for name, weight in weights_of(model).items()
            if weight.patches
        }


def _alias(tensor: Tensor) -> Tensor:
    """The same memory as a tensor that autograd knows."""
    values = tensor.data
    if is_traceable_wrapper_subclass(values):  # quantised: its numbers, and their scales
        names, about = values.__tensor_flatten__()
        parts = {name: _alias(getattr(values, name)) for name in names}
        return type(values).__tensor_unflatten__(parts, about, values.size(), values.stride())
    if not tensor.is_inference():
        return tensor.detach()
    plain = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return plain.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
