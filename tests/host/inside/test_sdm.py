"""SDM's nodes in the host, on the bundled network."""

import pytest
import torch


@pytest.fixture(scope="module")
def sdm(host):
    return host.call("RAI_LoadSDMModel", sdm_name="landscapes (bundled)", precision="float32")[0]


@pytest.fixture(scope="module")
def scene(host):
    """IMAGE (2, 64, 64, 3) and MASK (1, 64, 64)."""
    (image,) = host.call("RAI_DrawLandscape", size=64, batch_size=2, seed=7, time_of_day="any")
    mask = torch.zeros(1, 64, 64)
    mask[:, 20:44, 16:50] = 1
    return image, mask


def fill(host, sdm, image, mask, **change):
    given = {
        "seed": 5,
        "iterations": 3,
        "schedule": "linear",
        "alpha": 0.01,
        "anchor": 1.0,
        "view": "around the hole",
        "context": 1.0,
        "fills": 1,
    } | change
    return host.call("RAI_SDMInpaint", sdm=sdm, image=image, mask=mask, **given)


def refine(host, model, image, mask, uncertainty, **change):
    given = {"seed": 5, "steps": 3, "sampler": "dpmpp_2m", "strength": 3.0, "view": "network's own", "context": 1.0} | change
    return host.call("RAI_RefineWithRAD", model=model, image=image, mask=mask, uncertainty=uncertainty, **given)[0]


def test_it_is_the_librarys_picture_in_any_view(host, sdm, scene):
    core, (image, mask) = host.module("rad_core"), scene
    for view, context in (("around the hole", 0.3), ("whole picture", float("inf")), ("picture's own size", "own")):
        out, uncertainty, iterations = fill(host, sdm, image, mask, view=view, context=0.3)
        expected, doubt = core.sdm_inpaint(core.load_sdm("landscapes"), image.movedim(-1, 1), mask, 3, 5, context=context)
        torch.testing.assert_close(out, expected.movedim(1, -1), rtol=0, atol=1e-4)
        torch.testing.assert_close(uncertainty, doubt[:, 0], rtol=0, atol=1e-4)
        known = (mask == 0)[..., None].expand_as(out)
        assert torch.equal(out[known], image[known]) and iterations.shape == (6, 64, 64, 3)
        assert torch.equal(iterations[2], out[0]) and torch.equal(iterations[5], out[1])


def test_fills_alpha_and_batches(host, sdm, scene):
    image, mask = scene
    clear = torch.cat([image, torch.zeros(2, 64, 64, 1)], -1)
    out, uncertainty, iterations = fill(host, sdm, clear, mask, fills=2, iterations=2)
    assert out.shape == (4, 64, 64, 4) and uncertainty.shape == (4, 64, 64) and iterations.shape == (8, 64, 64, 3)
    assert torch.equal(out[..., 3], mask.expand(4, -1, -1)), "what was filled is opaque"
    again, _, _ = fill(host, sdm, image[1:], mask, seed=7, iterations=2)
    torch.testing.assert_close(again[0], out[2, ..., :3], rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="no hole"):
        fill(host, sdm, image, 0 * mask)
    with pytest.raises(ValueError, match="do not fit"):
        fill(host, sdm, image, mask.expand(3, -1, -1))


def test_memory_that_runs_out_halves_the_batch(host, sdm, scene, monkeypatch):
    import comfy.model_management

    image, mask = scene
    together, _, _ = fill(host, sdm, image, mask)
    generator, forward, seen = sdm.model.generator, sdm.model.generator.forward, []

    def narrow(given, *rest):
        seen.append(len(given))
        if len(given) > 1:
            raise comfy.model_management.OOM_EXCEPTION("out of memory")
        return forward(given, *rest)

    monkeypatch.setattr(generator, "forward", narrow)
    out, uncertainty, iterations = fill(host, sdm, image, mask)
    torch.testing.assert_close(out, together, rtol=0, atol=1e-4)
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
    assert (out - fill(host, sdm, *scene, iterations=1)[0]).abs().mean() < 0.02


def test_refining_changes_what_is_doubtful(host, sdm, scene):
    core, (image, mask) = host.module("rad_core"), scene
    (model, _) = host.call("RAI_LoadADMModel", model_name="landscapes (bundled)", attention_order="auto", precision="float32")
    (rad,) = host.call("RAI_LoadRADAdapter", model=model, adapter_name="landscapes (bundled)", strength=1.0)
    filled, uncertainty, _ = fill(host, sdm, image, mask)
    out = refine(host, rad, filled, mask, uncertainty)
    net = core.load_adapter(core.load_model("landscapes"), "landscapes")
    expected = core.rad_inpaint(net, filled.movedim(-1, 1), mask, 3, "dpmpp_2m", 5, doubt=uncertainty)
    assert (out - expected.movedim(1, -1)).abs().max() <= 1 / 255
    known = (mask == 0)[..., None].expand_as(out)
    assert torch.equal(out[known], image[known]) and not torch.equal(out, filled)
    left = torch.zeros_like(mask)
    left[..., :32] = 2
    assert torch.equal(refine(host, rad, filled, mask, left)[:, :, 32:], filled[:, :, 32:]), "black stays"
    left = left.clamp(min=1e-6)
    one_sided = refine(host, rad, filled, mask, left)
    change = (one_sided - filled).abs().mean(-1)
    assert change[:, 20:44, 16:32].mean() > 3 * change[:, 20:44, 33:50].mean()
    fills, doubts, _ = fill(host, sdm, image, mask.expand(2, -1, -1), fills=2)
    assert refine(host, rad, fills, mask.expand(2, -1, -1), doubts).shape == fills.shape, "two masks serve two fills of each picture"
    with pytest.raises(ValueError, match="uncertainty"):
        refine(host, rad, filled, mask, uncertainty[:1].expand(3, -1, -1))


def test_the_network_is_the_hosts_to_move(host, sdm, scene):
    import comfy.model_management

    fill(host, sdm, *scene)
    assert any(loaded.model is sdm for loaded in comfy.model_management.current_loaded_models)
    comfy.model_management.unload_all_models()
    out, _, _ = fill(host, sdm, *scene)
    assert torch.isfinite(out).all()


def test_a_foreign_file_is_told(host, tmp_path):
    from safetensors.torch import save_file

    folder = tmp_path / "sdm"
    folder.mkdir()
    save_file({"a": torch.zeros(1)}, folder / "foreign.safetensors")
    host.folder_paths.add_model_folder_path("sdm", str(folder))
    with pytest.raises(ValueError, match="not an SDM network"):
        host.call("RAI_LoadSDMModel", sdm_name="foreign.safetensors", precision="float32")
