"""The nodes on the bundled networks, in the host."""

import pytest
import torch
from helpers import defaults


def with_adapter(host, model, name="landscapes (bundled)", strength=1.0):
    return host.call("RAI_LoadRADAdapter", model=model, adapter_name=name, strength=strength)[0]


@pytest.fixture(scope="module")
def scene(host, landscape):
    """IMAGE (2, 64, 64, 3) and MASK (1, 64, 64)."""
    (mask,) = host.call(
        "RAI_InpaintMaskShapes", width=1, height=1, batch_size=1, seed=3, shape="box", share=40.0, invert=False, image=landscape
    )
    assert mask.shape == (1, 64, 64)
    return landscape, mask


def inpaint(host, model, image, mask, **change):
    options = {"seed": 5, "steps": 4, "sampler": "ddpm", "view": "network's own", "context": 1.0, "eta": 0.0, "align": 0.0} | change
    return host.call("RAI_RADInpaint", model=model, image=image, mask=mask, **options)[0]


def ksample(host, model, vae, image, mask, sampler="euler", steps=4, seed=5, scheduler="normal"):
    (conditioning,) = host.call("RAI_ADMConditioning", class_label=0)
    latent = {"samples": vae.encode(image), "noise_mask": mask[:, None]}
    (out,) = host.nodes.common_ksampler(model, seed, steps, 1.0, sampler, scheduler, conditioning, conditioning, latent)
    return vae.decode(out["samples"])


def test_rad_inpaint_is_the_librarys_picture_alone_and_in_a_batch(host, rad, scene):
    core, (image, mask) = host.module("rad_core"), scene
    net = core.load_adapter(core.load_model("landscapes"), "landscapes")
    for sampler in ("ddpm", "dpmpp_2m"):
        expected = core.rad_inpaint(net, image.movedim(-1, 1), mask, steps=4, sampler=sampler, seed=5, align=0.0).movedim(1, -1)
        out = inpaint(host, rad, image, mask, sampler=sampler)
        assert (out - expected).abs().max() <= 1 / 255
        known = (mask == 0)[..., None].expand_as(out)
        assert torch.equal(out[known], image[known]), "known pixels must come back bit-exact"
        idle = {"eta": 0.5, "overlap": 0.5}  # widgets that neither sampler, nor a fill without an order, looks at
        assert (inpaint(host, rad, image[1:], mask, sampler=sampler, seed=6, **idle) - out[1:]).abs().max() <= 1 / 255


def test_with_the_defaults_the_fill_is_the_librarys_bit_for_bit(host, rad, scene):
    """The same seed, and nothing set: the node, and the library as in README. (The host merges LoRA in another order of operations.)"""
    core, (image, mask) = host.module("rad_core"), scene
    options = {"image": image, "mask": mask} | defaults(host, "RAI_RADInpaint")
    plain, _ = host.call("RAI_LoadADMModel", model_name="landscapes (bundled)", attention_order="auto", precision="float32")
    expected = core.rad_inpaint(core.load_model("landscapes"), image.movedim(-1, 1), mask, seed=0).movedim(1, -1)
    assert torch.equal(host.call("RAI_RADInpaint", model=plain, **options)[0], expected) and not torch.equal(expected, image)
    net = core.load_adapter(core.load_model("landscapes"), "landscapes")
    expected = core.rad_inpaint(net, image.movedim(-1, 1), mask, seed=0).movedim(1, -1)
    out = host.call("RAI_RADInpaint", model=rad, **options)[0]
    assert torch.equal(to_bytes(out), to_bytes(expected)) and not torch.equal(to_bytes(out), to_bytes(image))


def to_bytes(image):
    """As a PNG holds it."""
    return (image * 255).round().byte()


def test_the_rim_is_aligned_as_by_the_library(host, rad, scene):
    core, (image, mask) = host.module("rad_core"), scene
    net = core.load_adapter(core.load_model("landscapes"), "landscapes")
    expected = core.rad_inpaint(net, image.movedim(-1, 1), mask, steps=8, seed=5, align=1.0).movedim(1, -1)
    out = inpaint(host, rad, image, mask, steps=8, sampler="ddim", align=1.0)
    assert (out - expected).abs().max() <= 1 / 255
    assert (out - inpaint(host, rad, image, mask, steps=8, sampler="ddim")).abs().max() > 2 / 255


def test_another_adapter_on_the_same_network_redraws(host, adm, rad):
    """Both MODELs share the network, so the host must change its weights between filling and redrawing, and back."""
    core, large = host.module("rad_core"), host.call("RAI_DrawLandscape", size=96, batch_size=1, seed=7, time_of_day="noon")[0]
    (mask,) = host.call("RAI_InpaintMaskShapes", width=96, height=96, batch_size=1, seed=3, shape="box", share=40.0, invert=False)
    net, night = (core.load_adapter(core.load_model("landscapes"), name) for name in ("landscapes", "night"))
    detail_model = with_adapter(host, adm[0], "night (bundled)")
    expected = core.rad_inpaint(net, large.movedim(-1, 1), mask, steps=4, seed=5, detail=1.0, detail_net=night).movedim(1, -1)
    alone = inpaint(host, rad, large, mask, sampler="ddim", align=1.0, detail=1.0)
    for _ in range(2):
        out = inpaint(host, rad, large, mask, sampler="ddim", align=1.0, detail=1.0, detail_model=detail_model)
        assert (out - expected).abs().max() <= 2 / 255
    assert (out - alone).abs().max() > 20 / 255
    assert torch.equal(inpaint(host, rad, large, mask, sampler="ddim", align=1.0, detail=1.0), alone)
    refined = host.call(
        "RAI_RefineWithRAD",
        **defaults(host, "RAI_RefineWithRAD")
        | {"model": rad, "image": out, "mask": mask, "uncertainty": 0.1 * mask, "steps": 2, "detail_model": detail_model},
    )[0]
    assert (refined - out).abs().max() > 2 / 255


def test_no_steps_are_those_that_suit_the_sampler(host, rad, scene):
    image, mask = scene
    default, twenty, four = (inpaint(host, rad, image[:1], mask[:1], steps=steps, sampler="ddim") for steps in (0, 20, 4))
    assert torch.equal(default, twenty) and not torch.equal(default, four)


def test_rad_inpaint_is_the_command_lines_picture(host, rad, scene, tmp_path):
    core, command = host.module("rad_core"), host.module("rad_core.__main__")
    photo, mask = scene[0][:1].movedim(-1, 1), scene[1][:, None]
    core.write_photo(tmp_path / "photo.png", core.Photo(photo))
    core.write_photo(tmp_path / "mask.png", core.Photo(mask.expand(-1, 3, -1, -1)))
    files = ["--mask", str(tmp_path / "mask.png"), "-o", str(tmp_path / "out.png")]
    options = ["--steps", "4", "--sampler", "ddpm", "--align", "0", "--seed", "5", "--device", "cpu"]
    assert command.main(["inpaint", "rad", str(tmp_path / "photo.png"), "--model", "landscapes", *files, *options]) == 0
    read = core.read_photo(tmp_path / "photo.png").rgb.movedim(1, -1)
    out = inpaint(host, rad, read, scene[1])
    assert (core.read_photo(tmp_path / "out.png").rgb.movedim(1, -1) - out).abs().max() <= 1 / 255


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "ddim", "dpmpp_2m_sde", "heun", "uni_pc"])
def test_host_samplers_leave_known_pixels_alone(host, adm, rad, scene, sampler):
    image, mask = scene
    out = ksample(host, rad, adm[1], image, mask, sampler)
    known = (mask == 0)[..., None].expand_as(out)
    assert (out - image)[known].abs().max() <= 1e-7  # the rounding of 2 x - 1
    assert (out - image)[~known].abs().max() > 1e-3 and torch.isfinite(out).all()


def test_ksampler_fills_as_well_as_rad_inpaint(host, adm, rad):
    """Hole RMSE over eight landscapes at equal calls: within a fifth of RAD Inpaint's with the same kind of sampler."""
    (image,) = host.call("RAI_DrawLandscape", size=64, batch_size=8, seed=100, time_of_day="any")
    (mask,) = host.call(
        "RAI_InpaintMaskShapes", width=64, height=64, batch_size=8, seed=100, shape="wide", share=40.0, invert=False, image=image
    )
    rmse = lambda out: (((out - image) ** 2).mean(-1)[mask > 0]).mean().sqrt().item()
    ours = rmse(inpaint(host, rad, image, mask, steps=20, sampler="ddim", view="whole picture"))
    for sampler, scheduler in (("euler", "normal"), ("dpmpp_2m", "karras"), ("ddim", "normal")):
        theirs = rmse(ksample(host, rad, adm[1], image, mask, sampler, 20, scheduler=scheduler))
        print(f"{sampler}: hole RMSE {theirs:.4f}, RAD Inpaint (ddim) {ours:.4f}")
        assert theirs < 1.2 * ours


def test_adapters_swap_without_a_reload_and_come_off_bit_exact(host, adm, scene, monkeypatch):
    core, checkpoints = host.module("rad_core"), host.module("rad_core.checkpoints")
    loads = []
    monkeypatch.setattr(checkpoints, "read_tensors", lambda path, read=checkpoints.read_tensors: loads.append(path) or read(path))
    image, mask = scene
    plain = ksample(host, adm[0], adm[1], image, mask)
    full, half = with_adapter(host, adm[0]), with_adapter(host, adm[0], strength=0.5)
    outputs = {}
    for _ in range(2):
        for name, model in (("full", full), ("half", half), ("plain", adm[0])):
            out = ksample(host, model, adm[1], image, mask)
            assert torch.equal(outputs.setdefault(name, out), out), f"{name} changed by swapping"
    assert torch.equal(outputs["plain"], plain) and not torch.equal(outputs["full"], outputs["half"])
    assert full.model is half.model is adm[0].model and not loads, "the base network must not be read again"
    # stacked: 0.5 + 0.5 of one adapter is the adapter, as in the core
    stacked = with_adapter(host, half, strength=0.5)
    assert (inpaint(host, stacked, image, mask) - inpaint(host, full, image, mask)).abs().max() <= 2 / 255
    net = core.load_adapter(core.load_model("landscapes"), "landscapes", 0.5)
    expected = core.rad_inpaint(net, image.movedim(-1, 1), mask, steps=4, sampler="ddpm", seed=5, align=0.0).movedim(1, -1)
    assert (inpaint(host, half, image, mask) - expected).abs().max() <= 1 / 255


def test_models_are_evicted_and_come_back(host, rad, scene):
    import comfy.model_management

    image, mask = scene
    before = inpaint(host, rad, image, mask)
    assert not torch.equal(before, image)
    comfy.model_management.unload_all_models()
    assert not any(loaded.model is rad for loaded in comfy.model_management.current_loaded_models)
    assert torch.equal(inpaint(host, rad, image, mask), before)


def test_part_of_the_network_may_stay_outside_video_memory(host, adm, scene):
    """The host's low-VRAM mode: weights stay away and are cast, adapter and all, when their layer runs."""
    import comfy.model_management

    image, mask = scene
    rad = with_adapter(host, adm[0])
    whole = inpaint(host, rad, image, mask)
    comfy.model_management.unload_all_models()
    low = with_adapter(host, adm[0])
    with torch.inference_mode():
        low.load(torch.device("cpu"), lowvram_model_memory=2 * 1024 * 1024)
        assert low.model.model_lowvram
        out = low.model._apply_model(torch.ones(1, 3, 64, 64), torch.tensor([3.0]))
        low.detach()
    with torch.inference_mode():
        rad.load(torch.device("cpu"), full_load=True)
        expected = rad.model._apply_model(torch.ones(1, 3, 64, 64), torch.tensor([3.0]))
        rad.detach()
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)
    assert torch.equal(inpaint(host, with_adapter(host, adm[0]), image, mask), whole)


def test_cancel_stops_between_steps_and_leaves_the_model_as_it_was(host, rad, scene, monkeypatch):
    import comfy.model_management
    import comfy.utils

    image, mask = scene
    before, seen, previews = inpaint(host, rad, image, mask), [], []

    def report(value, total, preview, **kwargs):
        seen.append((value, total))
        previews.append(preview)
        if value == 2:
            comfy.model_management.interrupt_current_processing()

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", report)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        inpaint(host, rad, image, mask, steps=9)
    assert seen == [(1, 9), (2, 9)] and previews[0][1].size == (64, 64), "progress after every step, and no step after the cancel"
    monkeypatch.undo()
    assert torch.equal(inpaint(host, rad, image, mask), before)


def test_out_of_memory_goes_on_at_half_the_batch(host, rad, scene, monkeypatch):
    import comfy.model_management

    nodes_rad = host.module("nodes.rad")
    image, mask = scene[0].repeat(2, 1, 1, 1)[:3], scene[1]
    whole, sizes = inpaint(host, rad, image, mask), []

    def tight(net, picture, hole, settings, limit=1, work=nodes_rad.rad_inpaint, **kwargs):
        count = max(picture.shape[0], hole.shape[0])
        sizes.append(count)
        if count > limit:
            raise comfy.model_management.OOM_EXCEPTION("no memory")
        return work(net, picture, hole, settings, **kwargs)

    monkeypatch.setattr(nodes_rad, "rad_inpaint", tight)
    assert (inpaint(host, rad, image, mask) - whole).abs().max() <= 1 / 255
    assert sizes == [3, 2, 1, 1, 1]
    monkeypatch.setattr(nodes_rad, "rad_inpaint", lambda *args, **kwargs: tight(*args, limit=0, **kwargs))
    with pytest.raises(MemoryError, match="Not even one picture"):
        inpaint(host, rad, image, mask)


def test_odd_pictures_have_a_defined_answer(host, rad, scene):
    image, mask = scene
    with_alpha = torch.cat([image, torch.zeros(2, 64, 64, 1)], -1)
    out = inpaint(host, rad, with_alpha, mask, steps=1)
    assert torch.equal(out[..., :3], inpaint(host, rad, image, mask, steps=1)) and not torch.equal(out[..., :3], image)
    assert out.shape == (2, 64, 64, 4) and torch.equal(out[..., 3], mask.expand(2, -1, -1)), "what was filled is opaque"
    assert inpaint(host, rad, image[..., :1], mask, steps=1).shape == (2, 64, 64, 3)
    assert inpaint(host, rad, image[:1, :61, :47], mask[0, :61, :47], steps=1).shape == (1, 61, 47, 3)
    three = mask.expand(3, -1, -1)
    assert inpaint(host, rad, image[:1], three, steps=1).shape == (3, 64, 64, 3)
    half = torch.nn.functional.interpolate(mask[None], (32, 32))[0]
    assert inpaint(host, rad, image, half, steps=1).shape == (2, 64, 64, 3)


def test_fills_are_compared(host, rad, scene):
    image, mask = scene
    fill = inpaint(host, rad, image, mask, steps=2)
    sheet, table = host.call("RAI_InpaintCompare", original=image, mask=mask, result_1=fill, result_3=image[:1], labels="rad")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert [row[0] for row in rows] == ["", "---", "rad", "result 2"] and rows[2][-1] == "0"
    assert sheet.shape[0] == 1 and sheet.shape[3] == 3
    taken = host.call(
        "RAI_InpaintCompare", original=image, mask=mask, result_1=fill, result_2=fill, result_3=fill, labels="a (3), a|b, a|b"
    )[1]
    assert [row.split("|")[1].strip() for row in taken.splitlines()[2:]] == ["a (3)", "a&#124;b", "a&#124;b (3)"]
    clash = host.call("RAI_InpaintCompare", original=image, mask=mask, result_1=fill, result_2=fill, result_3=fill, labels="a (3), a, a")[1]
    assert len(clash.splitlines()) == 5, "no result is lost"
    ended = host.call("RAI_InpaintCompare", original=image, mask=mask, result_1=fill, result_2=fill, labels="a, b, ")[1]
    assert [row.split("|")[1].strip() for row in ended.splitlines()[2:]] == ["a", "b"]
    for wrong, sentence in (
        ({"labels": "a, b, c"}, "3 labels for 1 results"),
        ({"result_2": image[:, :32]}, "'result 2' is 64x32, but the original is 64x64"),
        ({"result_2": image.repeat(2, 1, 1, 1)[:3]}, "do not fit"),
    ):
        with pytest.raises(ValueError, match=sentence):
            host.call("RAI_InpaintCompare", original=image, mask=mask, result_1=fill, **wrong)


def test_bad_input_is_told_in_a_sentence(host, adm, rad, scene, tmp_path):
    image, mask = scene
    for change, sentence in (
        ({"mask": torch.zeros(0, 64, 64)}, "The mask is an empty batch"),
        ({"image": image[:0]}, "The image is an empty batch"),
        ({"mask": 255 * mask}, "divide by 255"),
        ({"image": image.repeat(2, 1, 1, 1)[:3], "mask": mask.repeat(2, 1, 1)}, "3 images and 2 masks"),
        ({"image": torch.zeros(1, 64, 64, 2)}, "2 channels"),
        (
            {"model": type("Latent", (), {"model": torch.nn.Identity()})()},
            "type Identity, which works on latents. With a latent model use 'RAD Spatial",
        ),
    ):
        wrong = {"model": rad, "image": image, "mask": mask} | change
        with pytest.raises(ValueError, match=sentence):
            inpaint(host, wrong["model"], wrong["image"], wrong["mask"])
    folders = host.module("nodes.host.folders")
    for kind in (folders.ADM, folders.ADAPTERS):
        host.folder_paths.add_model_folder_path(kind, str(tmp_path))
    (tmp_path / "foreign.safetensors").write_bytes(b"not a network")
    with pytest.raises(ValueError, match="not a weights file"):
        host.call("RAI_LoadADMModel", model_name="foreign.safetensors", attention_order="auto", precision="float32")
    with pytest.raises(FileNotFoundError, match="gone"):
        host.call("RAI_LoadADMModel", model_name="gone.safetensors", attention_order="auto", precision="float32")
    unet, checkpoints = host.module("rad_core.unet"), host.module("rad_core.checkpoints")
    checkpoints.save_model(unet.UNet(unet.UNetConfig(32, (32, 32), 1, (1,), 32, image_size=16)), tmp_path / "other.safetensors")
    other, _ = host.call("RAI_LoadADMModel", model_name="other.safetensors", attention_order="auto", precision="float32")
    with pytest.raises(ValueError, match=r"was made for another network.*\d+ of \d+ tensors fit") as error:
        with_adapter(host, other)
    assert len(str(error.value)) < 400


def test_lower_precision_gives_nearly_the_same_picture(host, rad, scene):
    image, mask = scene
    (half, _) = host.call("RAI_LoadADMModel", model_name="landscapes (bundled)", attention_order="auto", precision="bfloat16")
    out, expected = (inpaint(host, model, image, mask, sampler="ddim") for model in (with_adapter(host, half), rad))
    assert (out - expected).abs().mean() < 0.02 < (out - image).abs()[mask.expand(2, -1, -1) > 0].mean()


def test_samplers_for_latents_agree_with_each_other(host, adm, rad, scene):
    """RAD Sampler is SamplerCustom with RAD Sampler Select; with an order, parts follow each other."""
    image, mask = scene
    (conditioning,) = host.call("RAI_ADMConditioning", class_label=0)
    latent = {"samples": adm[1].encode(image), "noise_mask": mask[:, None]}
    order = torch.linspace(0, 1, 64).expand(1, 64, 64)
    import comfy.samplers

    sigmas = comfy.samplers.calculate_sigmas(rad.get_model_object("model_sampling"), "normal", 4)
    fills = []
    for parts in ({}, {"order": order, "overlap": 0.0}, {"order": order, "overlap": 1.0}):
        (out,) = host.call(
            "RAI_RADSampler",
            model=rad,
            seed=5,
            steps=4,
            cfg=1.0,
            sampler="ddpm",
            scheduler="normal",
            positive=conditioning,
            negative=conditioning,
            latent_image=latent,
            eta=0.0,
            **parts,
        )
        (sampler,) = host.call("RAI_RADSamplerSelect", sampler="ddpm", eta=0.0, **parts)
        custom = host.nodes.NODE_CLASS_MAPPINGS["SamplerCustom"]
        run = custom.EXECUTE_NORMALIZED if hasattr(custom, "EXECUTE_NORMALIZED") else custom().sample
        again = run(
            model=rad,
            add_noise=True,
            noise_seed=5,
            cfg=1.0,
            positive=conditioning,
            negative=conditioning,
            sampler=sampler,
            sigmas=sigmas,
            latent_image=latent,
        )
        again = again.args[0] if hasattr(again, "args") else again[0]
        assert torch.equal(out["samples"], again["samples"])
        known = (mask == 0)[:, None].expand_as(out["samples"])
        assert torch.equal(out["samples"][known], latent["samples"][known])
        fills.append(out["samples"])
    assert torch.equal(fills[0], fills[2]) and not torch.equal(fills[0], fills[1])


def test_classes_reach_the_network(host):
    """A class-conditional network uses ADM Conditioning, and raises an error for a class that it does not have."""
    core, adm_module = host.module("rad_core"), host.module("nodes.host.adm")
    torch.manual_seed(0)
    net = core.UNet(core.UNetConfig(32, (32, 32), 1, (), 32, image_size=16, num_classes=3)).eval().requires_grad_(False)
    path = host.base / "models" / "adm" / "classes.safetensors"
    net.region_aware = True
    core.save_model(net, path)
    model = adm_module.load_adm(str(path))
    latent = {"samples": torch.zeros(1, 3, 16, 16)}
    fills = []
    for label in (0, 2):
        (conditioning,) = host.call("RAI_ADMConditioning", class_label=label)
        fills.append(host.nodes.common_ksampler(model, 0, 2, 1.0, "euler", "normal", conditioning, conditioning, latent)[0]["samples"])
    assert not torch.equal(*fills)
    (conditioning,) = host.call("RAI_ADMConditioning", class_label=7)
    with pytest.raises(ValueError, match="0 to 2"):
        host.nodes.common_ksampler(model, 0, 1, 1.0, "euler", "normal", conditioning, conditioning, latent)
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:12, 4:12] = 1
    shared = {"model": model, "image": torch.rand(1, 16, 16, 3), "mask": mask, "steps": 2}
    for node, own in (("RAI_RADInpaint", {}), ("RAI_RefineWithRAD", {"uncertainty": mask})):
        call = lambda label, node=node, own=own: host.call(node, **defaults(host, node) | shared | own | {"class_label": label})[0]
        assert not torch.equal(call(0), call(2))
        with pytest.raises(ValueError, match="This network draws by class: give a label from 0 to 2"):
            call(7)


def rad_sample(host, model, image, mask, vae, sampler="ddpm", conditioning=None, **latent):
    conditioning = conditioning or host.call("RAI_ADMConditioning", class_label=0)[0]
    (out,) = host.call(
        "RAI_RADSampler",
        model=model,
        seed=5,
        steps=4,
        cfg=1.0,
        sampler=sampler,
        scheduler="normal",
        positive=conditioning,
        negative=conditioning,
        latent_image={"samples": vae.encode(image), "noise_mask": mask[:, None]} | latent,
        eta=0.0,
    )
    return vae.decode(out["samples"])


def test_a_picture_taken_out_of_a_batch_is_filled_as_in_it(host, adm, rad, scene):
    """By Latent From Batch, which names its place."""
    image, mask = scene
    together = rad_sample(host, rad, image, mask, adm[1])[1:]
    alone = rad_sample(host, rad, image[1:], mask, adm[1], batch_index=[1])
    torch.testing.assert_close(alone, together, atol=1e-3, rtol=0)


def test_the_learned_variance_reaches_rad_sampler(host, adm, rad, scene):
    """The host copies its options on the way to the model; a changed variance must still change the fill."""
    image, mask = scene
    before = rad_sample(host, rad, image, mask, adm[1])
    bias = rad.model.diffusion_model.conv_out.bias
    with torch.inference_mode():
        bias[3:] += 0.5
        other = rad_sample(host, rad, image, mask, adm[1])
        bias[3:] -= 0.5
    assert not torch.equal(other, before)


def test_conditioning_of_an_area_runs(host, adm, rad, scene):
    """With regional conditioning the model sees a part of the picture: mask and noise levels are cut with it."""
    image, mask = scene
    (conditioning,) = host.call("RAI_ADMConditioning", class_label=0)
    (part,) = host.nodes.ConditioningSetArea().append(conditioning, 32 * 8, 64 * 8, 32 * 8, 0, 1.0)
    both = [*conditioning, *part]
    latent = {"samples": adm[1].encode(image), "noise_mask": mask[:, None]}
    by_host = host.nodes.common_ksampler(rad, 0, 2, 1.0, "euler", "normal", both, both, latent)[0]["samples"]
    for out in (rad_sample(host, rad, image, mask, adm[1], conditioning=both), adm[1].decode(by_host)):
        assert torch.isfinite(out).all() and (out - image).abs()[mask.expand(2, -1, -1) > 0].mean() > 0.01


def test_networks_load_where_the_host_has_its_weights_elsewhere(host, monkeypatch, scene, rad):
    """With dynamic VRAM newer hosts build layers without weights; loading must not ask them for any."""
    memory = pytest.importorskip("comfy.memory_management", reason="this host is older than dynamic VRAM")
    monkeypatch.setattr(memory, "aimdo_enabled", True)
    net = host.module("nodes.host.adm").load_adm("landscapes").model.diffusion_model
    monkeypatch.undo()
    assert not any(p.is_meta for p in net.parameters()) and len(list(net.parameters())) == len(list(rad.model.diffusion_model.parameters()))


def test_a_changing_mask_does_not_contradict_the_network(host, adm, rad, scene):
    """Differential Diffusion on a region-aware network: grey is a noise level, and the step-wise mask is ignored."""
    image, mask = scene
    changed = rad.clone()
    changed.set_model_denoise_mask_function(lambda sigma, denoise_mask, extra_options: torch.zeros_like(denoise_mask))
    grey = mask * 0.5
    assert torch.equal(ksample(host, changed, adm[1], image, grey), ksample(host, rad, adm[1], image, grey))


def test_a_network_of_a_noise_schedule_is_no_flow_model(host, adm, rad, scene):
    of_host = host.nodes.NODE_CLASS_MAPPINGS
    (shifted,) = of_host["ModelSamplingSD3"]().patch(rad, shift=3.0)
    with pytest.raises(ValueError, match="remove the node, such as ModelSamplingSD3"):
        ksample(host, shifted, adm[1], *scene, steps=1)
    (of_v,) = of_host["ModelSamplingDiscrete"]().patch(rad, sampling="v_prediction", zsnr=False)
    assert torch.isfinite(ksample(host, of_v, adm[1], *scene, steps=1)).all()
