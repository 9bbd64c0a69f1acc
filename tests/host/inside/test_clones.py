"""Clones of a MODEL on another network, as torch.compile, hooks and further GPUs make them where the host's memory is dynamic."""

import inspect

import pytest
import torch
from families import build, in_host
from helpers import apply, inputs, tiny_model
from test_token_levels import difference, patch, state

NAMES = ["SD15", "SD3, 3.5", "Flux.2, klein", "Qwen-Image, -Edit", "Z-Image", "Wan 2.1, 2.2 14B", "Anima"]


def model_and_inputs(host, name):
    """A MODEL by name, what makes another one, a state and what goes with it."""
    if name == "SD15":
        make = lambda **options: tiny_model(host, "SD15")
        return make, make(), *inputs("SD15", 1, (16, 16))
    make = lambda **options: build(name)
    base = make()
    return make, base, *state(name, base)


@pytest.mark.parametrize("name", NAMES)
def test_a_clone_on_another_network_leaves_the_first_network_alone(host, name):
    import comfy.model_patcher

    if "force_deepcopy" not in inspect.signature(comfy.model_patcher.ModelPatcher.clone).parameters:
        pytest.skip("this host's clones share one network")
    if name != "SD15" and not in_host(name):
        pytest.skip(f"this host has no {name}")
    make, base, x, conds = model_and_inputs(host, name)
    patched = patch(host, base)
    levels = torch.where(torch.arange(x.shape[-1]) < 4, 0.0, 0.4).expand(1, 1, *x.shape[2:])
    expected = apply(patched, x, 0.9, conds | {"sigma_map": levels})
    assert difference(apply(base, x, 0.9, conds), expected, x) > 1e-3
    patched.cached_patcher_init = make, ()
    clone = patched.clone().clone(force_deepcopy=True)
    assert clone.model is not base.model
    for weights in base.model.diffusion_model.parameters():
        weights.data = torch.full_like(weights, torch.nan)
    assert difference(apply(clone, x, 0.9, conds | {"sigma_map": levels}), expected, x) < 1e-5


def test_an_adm_network_can_be_loaded_again(host, adm):
    import comfy.model_patcher

    model = adm[0]
    if "force_deepcopy" not in inspect.signature(comfy.model_patcher.ModelPatcher.clone).parameters:
        pytest.skip("this host's clones share one network")
    clone = model.clone(force_deepcopy=True)
    weights = [each.model.diffusion_model.state_dict() for each in (model, clone)]
    assert clone.model is not model.model and all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
