"""The cancel button within a step, as on a CPU, where one may take minutes."""

import pytest
import torch
from torch.nn.modules import module as hooks


@pytest.mark.parametrize("node", ["RAI_RADInpaint", "RAI_GradPaintInpaint", "RAI_SDMInpaint"])
def test_no_layer_runs_after_it_in_any_node(fill, node):
    import comfy.model_management as management

    ran = []

    def press(module, inputs):
        ran.append(module)
        if len(ran) == 3:
            management.interrupt_current_processing()

    handle = hooks.register_module_forward_pre_hook(press)
    try:
        with pytest.raises(management.InterruptProcessingException):
            fill(node)
    finally:
        handle.remove()
        management.interrupt_current_processing(False)
    assert len(ran) <= 4, "the layer whose hook came before the node's own"
    picture, _ = fill(node)
    assert torch.isfinite(picture).all()


def test_no_layer_runs_backwards_after_it(host):
    import comfy.model_management as management

    layers = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(5)))
    with host.module("nodes.host.cancel").cancellable():
        out = layers(torch.ones(1, 4))
    layers[3].weight.register_hook(lambda _: management.interrupt_current_processing())
    with pytest.raises(management.InterruptProcessingException):
        out.sum().backward()
    assert layers[4].weight.grad is not None and layers[0].weight.grad is None


def test_nothing_is_left_behind(host, fill):
    fill("RAI_RADInpaint")
    assert not hooks._global_forward_pre_hooks and not hooks._global_forward_hooks
