"""SDM's nodes in the host, on the bundled network."""

import pytest
import torch
from helpers import defaults


@pytest.fixture(scope="module")
def sdm(host):
    return host.call("RAI_LoadSDMModel", sdm_name="landscapes (bundled)", precision="float32")[0]


@pytest.fixture(scope="module")
def scene(landscape):
    """IMAGE (2, 64, 64, 3) and MASK (1, 64, 64)."""
    mask = torch.zeros(1, 64, 64)
    mask[:, 20:44, 16:50] = 1
    return landscape, mask


def fill(host, sdm, image, mask, **change):
    options = {
        "seed": 5,
        "iterations": 3,
        "schedule": "linear",
        "alpha": 0.01,
        "anchor": 1.0,
        "view": "around the hole",
        "context": 1.0,
        "fills": 1,
    } | change
    return host.call("RAI_SDMInpaint", sdm=sdm, image=image, mask=mask, **options)


def refine(host, model, image, mask, uncertainty, **change):
    options = {"seed": 5, "steps": 3, "sampler": "dpmpp_2m", "strength": 3.0, "view": "network's own", "context": 1.0} | change
    return host.call("RAI_RefineWithRAD", model=model, image=image, mask=mask, uncertainty=uncertainty, **options)[0]


def test_it_is_the_librarys_picture_in_any_view(host, sdm, scene):
    core, (image, mask) = host.module("rad_core"), scene
    for choice, view in (("around the hole", "hole"), ("whole picture", "whole"), ("picture's own size", "native")):
        out, uncertainty, iterations = fill(host, sdm, image, mask, view=choice, context=0.3)
        net = core.load_sdm("landscapes")
        expected, deviation = core.sdm_inpaint(net, image.movedim(-1, 1), mask, seed=5, iterations=3, view=view, context=0.3)
        torch.testing.assert_close(out, expected.movedim(1, -1), rtol=0, atol=1e-4)
        torch.testing.assert_close(uncertainty, deviation[:, 0], rtol=0, atol=1e-4)
        known = (mask == 0)[..., None].expand_as(out)
        assert torch.equal(out[known], image[known]) and iterations.shape == (6, 64, 64, 3)
        assert torch.equal(iterations[2], out[0]) and torch.equal(iterations[5], out[1])


def test_with_the_defaults_the_fill_is_the_librarys_bit_for_bit(host, sdm, scene):
    core, (image, mask) = host.module("rad_core"), scene
    out, uncertainty, _ = host.call("RAI_SDMInpaint", sdm=sdm, image=image, mask=mask, **defaults(host, "RAI_SDMInpaint"))
    expected, deviation = core.sdm_inpaint(core.load_sdm("landscapes"), image.movedim(-1, 1), mask, seed=0)
    assert torch.equal(out, expected.movedim(1, -1)) and torch.equal(uncertainty, deviation[:, 0])
    assert not torch.equal(out, image)


def test_fills_alpha_and_batches(host, sdm, scene):
    image, mask = scene
    clear = torch.cat([image, torch.zeros(2, 64, 64, 1)], -1)
    out, uncertainty, iterations = fill(host, sdm, clear, mask, fills=2, iterations=2)
    assert out.shape == (4, 64, 64, 4) and uncertainty.shape == (4, 64, 64) and iterations.shape == (8, 64, 64, 3)
    assert torch.equal(out[..., 3], mask.expand(4, -1, -1)), "what was filled is opaque"
    assert not torch.equal(out[0], out[1]) and not torch.equal(out[0, ..., :3], image[0])
    again, _, _ = fill(host, sdm, image[1:], mask, seed=7, iterations=2)
    torch.testing.assert_close(again[0], out[2, ..., :3], rtol=0, atol=1e-4)
    same, nothing, _ = fill(host, sdm, image, 0 * mask)
    assert torch.equal(same, image) and not nothing.any()
    with pytest.raises(ValueError, match="do not fit"):
        fill(host, sdm, image, mask.expand(3, -1, -1))


def test_the_passes_of_a_large_picture_are_small(host, sdm):
    image, mask = torch.rand(1, 80, 1280, 3, generator=torch.Generator().manual_seed(1)), torch.zeros(1, 80, 1280)
    mask[:, 30:50, 600:640] = 1
    out, _, iterations = fill(host, sdm, image, mask, iterations=2)
    assert out.shape == image.shape and iterations.shape == (2, 64, 1024, 3)
    small = torch.nn.functional.interpolate(out.movedim(-1, 1), (64, 1024), mode="area").movedim(1, -1)
    torch.testing.assert_close(iterations[1], small[0])


def test_memory_that_runs_out_halves_the_batch(host, sdm, scene, monkeypatch):
    import comfy.model_management

    image, mask = scene
    in_batch, _, _ = fill(host, sdm, image, mask)
    generator, forward, seen = sdm.model.generator, sdm.model.generator.forward, []

    def narrow(packed, *rest):
        seen.append(len(packed))
        if len(packed) > 1:
            raise comfy.model_management.OOM_EXCEPTION("out of memory")
        return forward(packed, *rest)

    monkeypatch.setattr(generator, "forward", narrow)
    out, uncertainty, iterations = fill(host, sdm, image, mask)
    torch.testing.assert_close(out, in_batch, rtol=0, atol=1e-4)
    assert seen[0] == 2 and set(seen[1:]) == {1} and uncertainty.shape == (2, 64, 64) and iterations.shape == (6, 64, 64, 3)


def test_cancelling_ends_it(host, sdm, scene):
    import comfy.model_management

    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        fill(host, sdm, *scene)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision(host, sdm, scene, precision):
    (half,) = host.call("RAI_LoadSDMModel", sdm_name="landscapes (bundled)", precision=precision)
    out, _, _ = fill(host, half, *scene, iterations=1)
    assert (out - fill(host, sdm, *scene, iterations=1)[0]).abs().mean() < 0.02 and not torch.equal(out, scene[0])


def test_refining_changes_what_is_doubtful(host, sdm, rad, scene):
    core, (image, mask) = host.module("rad_core"), scene
    filled, uncertainty, _ = fill(host, sdm, image, mask)
    out = refine(host, rad, filled, mask, uncertainty)
    net = core.load_adapter(core.load_model("landscapes"), "landscapes")
    settings = {"steps": 3, "sampler": "dpmpp_2m", "align": 0.0, "sigma_scale": 3.0}
    expected = core.rad_inpaint(net, filled.movedim(-1, 1), mask, seed=5, uncertainty=uncertainty, **settings)
    assert (out - expected.movedim(1, -1)).abs().max() <= 1 / 255
    known = (mask == 0)[..., None].expand_as(out)
    assert torch.equal(out[known], image[known]) and not torch.equal(out, filled)
    left = torch.zeros_like(mask)
    left[..., :32] = 2
    assert torch.equal(refine(host, rad, filled, mask, left)[:, :, 32:], filled[:, :, 32:]), "black stays"
    left = left.clamp(min=1e-6)
    one_sided = refine(host, rad, filled, mask, left)
    change = (one_sided - filled).abs().mean(-1)
    assert change[:, 20:44, 16:32].mean() > 2 * change[:, 20:44, 33:50].mean()
    fills, uncertainties, _ = fill(host, sdm, image, mask.expand(2, -1, -1), fills=2)
    assert refine(host, rad, fills, mask.expand(2, -1, -1), uncertainties).shape == fills.shape, "two masks serve two fills of each picture"
    with pytest.raises(ValueError, match="uncertainty"):
        refine(host, rad, filled, mask, uncertainty[:1].expand(3, -1, -1))


def test_the_network_is_the_hosts_to_move(host, sdm, scene):
    import comfy.model_management

    before, _, _ = fill(host, sdm, *scene)
    assert any(loaded.model is sdm for loaded in comfy.model_management.current_loaded_models)
    comfy.model_management.unload_all_models()
    out, _, _ = fill(host, sdm, *scene)
    assert torch.equal(out, before) and not torch.equal(out, scene[0])


def test_a_foreign_file_is_told(host, tmp_path):
    from safetensors.torch import save_file

    folder = tmp_path / "sdm"
    folder.mkdir()
    save_file({"a": torch.zeros(1)}, folder / "foreign.safetensors")
    host.folder_paths.add_model_folder_path("sdm", str(folder))
    with pytest.raises(ValueError, match="not an SDM network"):
        host.call("RAI_LoadSDMModel", sdm_name="foreign.safetensors", precision="float32")
