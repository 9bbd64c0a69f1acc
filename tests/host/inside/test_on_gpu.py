"""The pack's nodes on a real GPU against the CPU, through the host's own execution and memory management.

Run where there is one: RAD_GPU=1 COMFYUI_PATH=... pytest test_on_gpu.py. Everywhere else `test_pretend_gpu.py` stands in for it.
"""

import os
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch
from families import build, in_host, prompts, scene
from family_table import FAMILIES
from graphs import GRAPHS, TRANSFORMERS, UNETS, latents, pictures
from helpers import defaults
from matrix import REFUSED
from test_token_levels import NAMES, assert_known, latent_mask, patch
from torch.utils._pytree import tree_leaves

if not os.environ.get("RAD_GPU"):
    pytest.skip("NOT TESTED ON A GPU: set RAD_GPU=1 where there is one", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def float32_as_exact_as_the_cpus():
    with pytest.MonkeyPatch.context() as change:
        change.setattr(torch.backends.cudnn, "allow_tf32", False)
        yield


@contextmanager
def host_on(device: str, vram: str = "NORMAL_VRAM"):
    """The host on its CPU, or on its GPU in a state of its memory management; nothing is loaded before or after."""
    import comfy.model_management as management

    on_cpu = {"cpu_state": management.CPUState.CPU, "vram_state": management.VRAMState.DISABLED}
    management.unload_all_models()
    with mock.patch.multiple(management, **(on_cpu if device == "cpu" else {"vram_state": management.VRAMState[vram]})):
        assert management.get_torch_device().type == device
        try:
            yield
        finally:
            management.unload_all_models()


@contextmanager
def run_on_gpu(model):
    """Fails if the model's network was called elsewhere, or not at all."""
    seen = set()
    devices = lambda values: {value.device.type for value in tree_leaves(values) if torch.is_tensor(value)}
    hook = model.model.diffusion_model.register_forward_pre_hook(lambda _, args: seen.update(devices(args)))
    try:
        yield
    finally:
        hook.remove()
    assert seen == {"cuda"}


@pytest.mark.parametrize("name", GRAPHS)
def test_nodes_give_the_cpus_pictures(host, name):
    with host_on("cpu"):
        expected = pictures(host, name)
    with host_on("cuda"):
        out = pictures(host, name)
    differences = [np.abs(there - here) for there, here in zip(out, expected, strict=True)]
    another_patch = name in ("exemplar", "extend") and all(difference.mean() < 5 for difference in differences)  # chosen by rounding
    assert another_patch or all(difference.max() <= 2 for difference in differences)


@pytest.mark.parametrize("name", [*UNETS, *TRANSFORMERS])
@pytest.mark.parametrize("vram", ["NORMAL_VRAM", "NO_VRAM"])
def test_latent_models_give_the_cpus_latents(host, name, vram):
    with host_on("cpu"):
        expected = latents(host, name)
    with host_on("cuda", vram):
        out = latents(host, name)
    for there, here in zip(out, expected, strict=True):
        assert there.device.type == "cpu", "the host keeps latents on the CPU"
        torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("how", ["float32", "NO_VRAM", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_every_token_has_its_level(host, name, how):
    """Through KSampler; known latents exact, the rest as on the CPU."""
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    latent, cfg, dtype = scene(name), 3.0 if FAMILIES[name].cfg else 1.0, torch.bfloat16 if how == "bfloat16" else torch.float32

    def sampled(model):
        arguments = cfg, "euler", FAMILIES[name].scheduler, *prompts(name), latent
        return host.nodes.common_ksampler(patch(host, model), 0, 3, *arguments)[0]["samples"]

    with host_on("cpu"):
        expected = sampled(build(name, dtype))
    with host_on("cuda", "NO_VRAM" if how == "NO_VRAM" else "NORMAL_VRAM"):
        model = build(name, dtype)
        with run_on_gpu(model):
            out = sampled(model)
    assert torch.isfinite(out).all() and out.device.type == "cpu"
    assert_known(out, latent["samples"], latent_mask(latent["noise_mask"], latent["samples"]))
    error = (out - expected).abs().mean() / (expected - latent["samples"]).abs().mean()
    assert error < (0.2 if how == "bfloat16" else 2e-3), f"{error:.1e} from the CPU"


@pytest.mark.parametrize("preset", ["plus", "turbo", "paper"])
@pytest.mark.parametrize("name", list(FAMILIES))
def test_gradpaint_keeps_what_is_known(host, name, preset):
    """On every family; with `turbo` in bfloat16."""
    if not in_host(name) or name in REFUSED:
        pytest.skip("not of this host, or refused")
    latent, (positive, negative) = scene(name), prompts(name)
    settings = defaults(host, "RAI_GradPaintSampler") | {"steps": 3, "cfg": 2.0 if FAMILIES[name].cfg else 1.0, "preset": preset}
    settings |= {"seed": 0, "positive": positive, "negative": negative, "latent_image": latent}
    with host_on("cuda"):
        model = build(name, torch.bfloat16 if preset == "turbo" else torch.float32)
        with run_on_gpu(model):
            samples = host.call("RAI_GradPaintSampler", model=model, **settings)[0]["samples"]
    picture = lambda value: value.unbind()[0] if getattr(value, "is_nested", False) else value
    samples, before = picture(samples), picture(latent["samples"])
    assert torch.isfinite(samples).all() and samples.device.type == "cpu"
    assert_known(samples, before, latent_mask(latent["noise_mask"], before))
