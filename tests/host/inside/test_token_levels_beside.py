"""RAD Spatial Noise Embedding on transformers beside what else changes them: patches of blocks and attention, ControlNets, torch.compile.

Under each, a constant map at level s' is what the plain model under the same change is at s'.
"""

import pytest
import torch
from families import build, in_host
from helpers import apply
from test_token_levels import difference, host_is_floor, patch, state

BLOCK, BETWEEN, ATTENTION, CONTROLNET = "a replaced block", "a patch between blocks", "an attention patch", "a ControlNet"
WAYS = {  # that the host's networks offer
    "SD3, 3.5": (BLOCK, CONTROLNET),
    "Flux.1 dev": (BLOCK, ATTENTION, CONTROLNET),
    "Flux.2, klein": (BLOCK, ATTENTION, CONTROLNET),
    "Chroma": (BLOCK, ATTENTION, CONTROLNET),
    "Z-Image": (BETWEEN,),
    "Qwen-Image, -Edit": (BLOCK, BETWEEN, ATTENTION, CONTROLNET),
    "Krea 2": (ATTENTION,),
    "Wan 2.1, 2.2 14B": (BLOCK, BETWEEN, ATTENTION),
    "HunyuanVideo": (BLOCK, ATTENTION, CONTROLNET),
}
LEVEL, SCALAR = 0.4, 0.9


def stronger_block(args, options):
    """A block whose picture comes out a tenth stronger, as a node that replaces it would make it."""
    out = options["original_block"](args)
    return out | {"img": 1.1 * out["img"]}


def stronger_stream(args):
    """The same between two blocks, as Z-Image's ControlNets are applied."""
    return args | {"img": 1.1 * args["img"]}


def sharper_attention(*args, **kwargs):
    """Queries a half larger; where the host gives a patch the output to change, that."""
    return 1.5 * args[0]["x"] if isinstance(args[0], dict) else {"q": 1.5 * args[0]}


CHANGES = {
    BLOCK: lambda model: model.set_model_patch_replace(stronger_block, "dit", "double_block", 0),
    BETWEEN: lambda model: model.set_model_patch(stronger_stream, "double_block"),
    ATTENTION: lambda model: model.set_model_patch(sharper_attention, "attn1_patch"),
    CONTROLNET: lambda model: None,
}


def control_of(net):
    """What a ControlNet adds after the first block of each kind: to one token, or to all."""
    width = getattr(net, "inner_dim", None) or net.hidden_size
    add = torch.randn(1, 1, width, generator=torch.Generator().manual_seed(2))
    return {"input": [add], "middle": [], "output": [add]}


def outputs(base, model, change, x, conds):
    """A MODEL's answer to a state under one of `CHANGES`: plain at LEVEL, or with a map of LEVEL under SCALAR."""
    changed = model.clone()
    CHANGES[change](changed)
    extra = {"control": control_of(base.model.diffusion_model)} if change == CONTROLNET else {}
    if model is base:
        return apply(changed, x, LEVEL, conds | extra)
    return apply(changed, x, SCALAR, conds | extra | {"sigma_map": torch.full((1, 1, *x.shape[2:]), LEVEL)})


@pytest.mark.parametrize(("name", "change"), [(name, change) for name, changes in WAYS.items() for change in changes])
def test_a_map_has_its_effect_beside_patches_and_controlnets(host, name, change):
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    base = build(name)
    x, conds = state(name, base)
    plain = outputs(base, base, change, x, conds)
    if difference(plain, apply(base, x, LEVEL, conds), x) < 1e-4:
        assert host_is_floor(), f"{name} no longer takes {change}"
        pytest.skip(f"{name} of this host does not take {change}")
    assert difference(outputs(base, patch(host, base), change, x, conds), plain, x) < 1e-5


def compiled(model):
    helpers = pytest.importorskip("comfy_api.torch_helpers")
    model = model.clone()
    helpers.set_torch_compile_wrapper(model=model, backend="eager")  # traced as with any backend, without a compiler's minutes
    return model


def test_a_map_has_its_effect_in_a_compiled_transformer(host):
    name = "Z-Image"
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    torch._dynamo.reset()
    base = build(name)
    x, conds = state(name, base)
    patched = patch(host, base)
    both, levels = compiled(patched), torch.full((1, 1, *x.shape[2:]), LEVEL)
    for sigma_i in (levels, torch.where(torch.arange(x.shape[-1]) < 4, 0, levels)):  # of one level and of two
        mapped = apply(both, x, SCALAR, conds | {"sigma_map": sigma_i})
        assert difference(mapped, apply(patched, x, SCALAR, conds | {"sigma_map": sigma_i}), x) < 1e-5
    assert difference(apply(both, x, LEVEL, conds), apply(base, x, LEVEL, conds), x) < 1e-5, "without a map the plain model"
