"""Every node on a pretended GPU (`tests/pretend_gpu.py`), through the host's own execution and memory management.

The host's device functions answer "cuda" here, and its tensors refuse to be mixed with those of the CPU. Pictures must be those of the CPU.
"""

import inspect
import textwrap
from contextlib import contextmanager
from operator import attrgetter
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from graphs import GRAPHS, TRANSFORMERS, UNETS, latents, pictures, trained
from pretend_gpu import CUDA, pretend_gpu

MEMORY = 8 * 2**30


@contextmanager
def gpu_in_host():
    """The host with a GPU of 8 GiB, in a `with` block; nothing is loaded on it before or after."""
    import comfy.model_management as management

    nothing = lambda *_, **__: None
    answers = {
        "memory_stats": lambda *_: {"active_bytes.all.current": 0, "reserved_bytes.all.current": 0},
        "mem_get_info": lambda *_: (MEMORY, MEMORY),
        "get_device_properties": lambda *_: SimpleNamespace(major=8, minor=0, name="pretended", total_memory=MEMORY),
        "set_device": nothing,
        "empty_cache": nothing,
        "ipc_collect": nothing,
    }
    state = {"cpu_state": management.CPUState.GPU, "vram_state": management.VRAMState.NORMAL_VRAM}
    management.unload_all_models()
    with pretend_gpu(), mock.patch.multiple(torch.cuda, **answers), mock.patch.multiple(management, **state):
        assert management.get_torch_device() == CUDA
        try:
            yield
        finally:
            management.unload_all_models()


@pytest.mark.parametrize("name", GRAPHS)
def test_nodes_give_the_cpus_pictures(host, name):
    expected = pictures(host, name)
    with gpu_in_host():
        out = pictures(host, name)
    assert len(out) == len(expected)
    for there, here in zip(out, expected, strict=True):
        assert there.shape == here.shape and np.abs(there - here).max() <= 2


@pytest.mark.parametrize("name", [*UNETS, *TRANSFORMERS])
def test_latent_models_give_the_cpus_latents(host, name):
    expected = latents(host, name)
    with gpu_in_host():
        out = latents(host, name)
    for there, here in zip(out, expected, strict=True):
        assert type(there) is torch.Tensor, "the host keeps latents on the CPU"
        torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [*UNETS, TRANSFORMERS[0]])
def test_training_ends_with_an_adapter_and_samples(host, name):
    """One in bfloat16, which `auto` is on a GPU and is slow on a CPU."""
    with gpu_in_host():
        model, curve, samples = trained(host, name, "auto" if name == TRANSFORMERS[0] else "float32")
    assert torch.isfinite(samples).all() and samples.std() > 0.05 and type(curve) is torch.Tensor
    assert sum(len(parts) > 1 for parts in model.get_key_patches().values()) >= 8


def test_pictures_may_lie_on_both_devices(host, monkeypatch):
    """With --gpu-only results of nodes stay on the GPU, while some nodes of the host and of this pack make theirs on the CPU."""
    import comfy.model_management as management

    photo, mask = torch.rand(1, 32, 32, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 32, 32)
    mask[:, 8:16, 8:16] = 1
    with gpu_in_host():
        kept = host.call("RAI_FillFromPicture", image=photo, mask=mask, seed=0, preset="fast")
        assert all(type(maps) is torch.Tensor for maps in kept), "without it results are kept on the CPU"
        monkeypatch.setattr(management, "intermediate_device", lambda: CUDA)
        filled, uncertainty = host.call("RAI_FillFromPicture", image=photo, mask=mask, seed=0, preset="fast")
        wide, _ = host.call("RAI_ExtendPicture", image=photo, left=0, top=0, right=8, bottom=0, seed=0, preset="fast")
        assert filled.device == wide.device == CUDA
        for original, result in ((photo, filled), (filled, photo)):
            assert "changed outside" in host.call("RAI_InpaintCompare", original=original, mask=mask, result_1=result)[1]
        host.call("RAI_UncertaintyHeatMap", image=photo, uncertainty=uncertainty)
        matched = host.call("RAI_MatchFill", filled=filled, original=photo, mask=mask, ring=24, strength=1.0)[0]
    assert matched.shape == photo.shape


def test_room_is_made_for_all_that_is_moved(host, monkeypatch):
    import comfy.model_management as management

    asked = []
    monkeypatch.setattr(management, "free_memory", lambda size, *_, **__: asked.append(size))
    frames, masks = torch.rand(40, 3, 32, 32), torch.zeros(40, 1, 32, 32)
    host.module("nodes.host.device").on_device(frames, masks, None)
    assert asked[0] >= 2 * frames.nbytes + masks.nbytes


LOAD = "comfy.model_management.load_models_gpu([self.model], "
# What a test above runs, the function of `nodes` whose line is made wrong, and that line before and after.
MISTAKES = [
    (pictures, "rad", "run", "HostNetwork.__call__", LOAD, "dict("),
    (pictures, "rad", "run", "HostNetwork.__init__", "model.load_device\n", "model.offload_device\n"),
    (pictures, "rad sampler", "adm", "_keep_known", "latent_image.to(samples)", "latent_image.cpu()"),
    (pictures, "gradpaint sampler", "gradpaint", "_GuidedSampler.sample", "torch.where(mask > 0", "torch.where(mask.cpu() > 0"),
    (latents, "SD15", "spatial_embedding", "_PerPixel.__call__", "sigma_i.to(x)", "sigma_i.cpu()"),
    (latents, "SD15", "spatial_embedding", "_PerPixel._set", ", device=sigma_i.device)", ")"),
    (latents, "Flux.1 dev", "token_levels.per_token", "PerToken.mapped", "sigma_i.to(x)", "sigma_i.cpu()"),
    (latents, "Flux.1 dev", "token_levels.per_token", "KeepKnown.__call__", "latent_image.to(samples)", "latent_image.cpu()"),
    (trained, "SD15", "latent_training", "fill_latents", "value.to(device)", "value"),
    (trained, "Flux.1 dev", "flow_training", "_batch", "value.to(device, dtype)", "value.to(dtype)"),
]


@pytest.mark.parametrize("work, name, module, path, line, wrong", MISTAKES, ids=lambda value: value if isinstance(value, str) else None)
def test_mistakes_of_device_are_caught(host, monkeypatch, work, name, module, path, line, wrong):
    module = host.module(f"nodes.host.{module}")
    function = inspect.unwrap(attrgetter(path)(module))
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(line) == 1
    changed = {}
    exec("from __future__ import annotations\n" + source.replace(line, wrong), module.__dict__, changed)
    monkeypatch.setattr(function, "__code__", inspect.unwrap(changed[function.__name__]).__code__)
    with gpu_in_host(), pytest.raises((AssertionError, RuntimeError, TypeError), match=r"same device|can't convert cuda"):
        work(host, name)
