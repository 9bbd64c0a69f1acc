"""The host's cancel button, heard within a step: on a CPU one may take minutes."""

from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


@contextmanager
def cancellable() -> Iterator[None]:
    """Heed the host's cancel button before every layer of every network that runs in the block, forwards and backwards.

    On a GPU nothing changes: there a step is short, and its layers wait in a queue that the host does not see.
    """
    if comfy.model_management.get_torch_device().type != "cpu":
        yield
        return
    handles = [register_module_forward_pre_hook(_heed), register_module_forward_hook(_heed_backwards)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _heed(*_) -> None:
    comfy.model_management.throw_exception_if_processing_interrupted()


def _heed_backwards(module, inputs, output) -> None:
    if isinstance(output, Tensor) and output.requires_grad:
        output.register_hook(_heed)
