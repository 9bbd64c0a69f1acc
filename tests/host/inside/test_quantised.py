"""MODELs of quantised files, as most of today's are: every node that takes one, on small transformers."""

import pytest
import torch
from families import prompts, quantise, scene
from helpers import apply, defaults, train
from safetensors.torch import load_file
from test_flow_training import Blocks
from test_token_levels import assert_known, difference, host_is_floor, latent_mask, patch, state

KINDS = ["float8_e4m3fn", "int8_tensorwise", "nvfp4"]


@pytest.fixture(params=[("Flux.2, klein", kind) for kind in KINDS] + [("Qwen-Image, -Edit", "float8_e4m3fn"), ("Z-Image", "float8_e4m3fn")])
def models(host, request):
    """A family's name, its quantised MODEL and the plain one of the same numbers."""
    if host_is_floor():
        pytest.skip("this host has no such layers")
    with torch.inference_mode():  # as the host's loaders do
        return request.param[0], *quantise(*request.param)


def test_gradpaint_fills_with_quantised_weights(host, models):
    name, model, plain = models
    latent, (positive, negative) = scene(name), prompts(name)
    settings = defaults(host, "RAI_GradPaintSampler") | {"seed": 0, "steps": 2, "cfg": 1.0}
    settings |= {"positive": positive, "negative": negative, "latent_image": latent}
    for preset in ("plus", "turbo", "paper"):
        run = lambda some, preset=preset: host.call("RAI_GradPaintSampler", **settings | {"model": some, "preset": preset})[0]["samples"]
        out, exact = run(model), run(plain)
        assert_known(out, latent["samples"], latent_mask(latent["noise_mask"], latent["samples"]))
        assert (out - exact).abs().mean() < 0.1 * exact.std()


def test_every_token_has_its_level_with_quantised_weights(host, models):
    name, model, _ = models
    x, conds = state(name, model)
    mapped = apply(patch(host, model), x, 0.9, conds | {"sigma_map": torch.full((1, 1, *x.shape[2:]), 0.4)})
    assert difference(mapped, apply(model, x, 0.4, conds), x) < 1e-5


def test_an_adapter_is_trained_on_quantised_weights_as_on_the_same_plain_numbers(host, models, recwarn):
    name, model, plain = models
    folder, files = host.base / "models" / "rad_adapters", []
    pictures = {"images": torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(1)), "size": 64}
    settings = pictures | {"vae": Blocks(name), "positive": prompts(name)[0], "steps": 2, "learning_rate": 1e-2}
    try:
        for some, adapter in ((model, "quantised"), (plain, "plain")):
            train(host, some, adapter_name=adapter, gradient_checkpointing=True, **settings)
            files.append(load_file(next(folder.rglob(f"{adapter}.safetensors"))))
        ours, theirs = files
        assert set(ours) == set(theirs) and any("lora_B" in key for key in ours)
        for key, value in theirs.items():
            assert (ours[key].float() - value.float()).abs().mean() <= 0.01 * value.float().abs().mean() + 1e-7
        recwarn.clear()
        (adapted,) = host.call("RAI_LoadRADAdapter", model=model, adapter_name="latent/plain.safetensors", strength=1.0)
        assert not [warning for warning in recwarn if "another network" in str(warning.message)]
        x, conds = state(name, model)
        assert difference(apply(adapted, x, 0.4, conds), apply(model, x, 0.4, conds), x) > 0
    finally:
        for path in folder.rglob("*"):
            if path.is_file():
                path.unlink()
