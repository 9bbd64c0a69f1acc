"""What an artist reads on a node: notes as a text, errors as a sentence; and limits that are checked before the work."""

import pytest
import torch
from helpers import INPAINT_NODES as NODES
from helpers import defaults


@pytest.mark.parametrize("node", NODES)
def test_odd_pictures_and_masks_are_noted_on_every_inpaint_node(fill, landscape, node):
    image, mask = landscape[:1], torch.zeros(1, 64, 64)
    out, text = fill(node, mask=mask)
    assert torch.equal(out, image) and "no hole" in text
    mask[:, 20:40, 20:40] = 1
    sharp = image * 1.04 - 0.02
    out, text = fill(node, image=sharp)
    assert "clamped" in text and torch.equal(out[:, mask[0] == 0], sharp[:, mask[0] == 0])
    assert "resized" in fill(node, mask=torch.nn.functional.max_pool2d(mask, 2))[1]
    noisy = mask.clamp(min=0.01)
    noisy[:, 0] = 0  # Fill from Picture needs something that is known
    assert "ThresholdMask" in fill(node, mask=noisy)[1]
    assert "clamped" in fill(node, mask=mask * 1.1)[1]
    assert fill(node, mask=mask)[1].startswith("Done in"), "the text of the run before goes"
    assert fill(node, mask=mask * (1 + 1e-6))[1] == ""


def test_what_was_cancelled_or_failed_is_not_said_to_be_done(host):
    from comfy.model_management import InterruptProcessingException
    from comfy_execution.utils import CurrentNodeContext

    notes = host.module("nodes.host.notes")
    for error in (InterruptProcessingException, ValueError):
        with CurrentNodeContext("prompt", "7"), pytest.raises(error), notes.shown_on_node():
            notes.say("2 min left")
            raise error
        assert host.server.messages[-1] == ("Stopped after 0 s.", "7")


@pytest.mark.parametrize("node", NODES)
def test_impossible_input_is_refused_in_a_sentence(fill, landscape, node):
    for change, sentence in (
        ({"image": landscape[:0]}, "The image is an empty batch"),
        ({"mask": torch.ones(0, 64, 64)}, "The mask is an empty batch"),
        ({"mask": torch.full((1, 64, 64), 255.0)}, "divide by 255"),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}" if sentence.startswith("The") else sentence):
            fill(node, **change)


def test_the_last_seed_serves_a_batch(fill, landscape):
    for node in NODES:
        assert fill(node, image=landscape, seed=2**64 - 1)[0].shape[0] == 2, node


def test_a_missing_adapter_and_a_large_hole_are_noted(fill, adm):
    assert "load a RAD adapter" in fill("RAI_RADInpaint", model=adm[0])[1]
    mask = torch.ones(1, 200, 200)
    mask[:, :4] = 0
    for node in ("RAI_RADInpaint", "RAI_GradPaintInpaint", "RAI_SDMInpaint"):
        assert "much larger than the 64 pixels" in fill(node, image=torch.rand(1, 200, 200, 3), mask=mask)[1], node


def test_a_missing_adapter_is_noted_where_rad_sampler_knows_pixels(host, adm, rad, landscape):
    from comfy_execution.utils import CurrentNodeContext

    cond = host.call("RAI_ADMConditioning", class_label=0)[0]
    inputs = defaults(host, "RAI_RADSampler") | {"positive": cond, "negative": cond, "steps": 2}
    hole = torch.zeros(1, 1, 64, 64)
    hole[..., 20:40, 20:40] = 1
    for model, mask, noted in ((adm[0], hole, True), (rad, hole, False), (adm[0], torch.ones_like(hole), False)):
        latent = {"samples": adm[1].encode(landscape[:1]), "noise_mask": mask}
        host.server.messages.clear()
        with CurrentNodeContext("prompt", "7"):
            host.call("RAI_RADSampler", **inputs | {"model": model, "latent_image": latent})
        texts = [text for text, node_id in host.server.messages if node_id == "7"]
        assert any("not trained for RAD: load a RAD adapter" in text for text in texts) == noted


def test_a_comparison_says_nothing_about_a_picture_of_its_own(host, landscape):
    from comfy_execution.utils import CurrentNodeContext

    mask = torch.full((1, 64, 64), 0.02)
    mask[:, 20:40, 20:40] = 1
    host.server.messages.clear()
    with CurrentNodeContext("prompt", "7"):
        host.call("RAI_InpaintCompare", original=landscape, mask=mask, result_1=landscape)
    assert not [text for text, node_id in host.server.messages if node_id == "7" and "ThresholdMask" in text]


def test_an_empty_batch_is_called_by_the_name_of_its_input(host, fill, rad):
    nothing = torch.ones(0, 64, 64)
    for node, name in (
        ("RAI_RADInpaint", "order map"),
        ("RAI_RADInpaint", "context mask"),
        ("RAI_SDMInpaint", "stitch mask"),
        ("RAI_RefineWithRAD", "uncertainty map"),
        ("RAI_FillFromPicture", "uncertainty map"),
        ("RAI_FillFromPicture", "source mask"),
    ):
        with pytest.raises(ValueError, match=f"^The {name} is an empty batch"):
            fill(node, **{name.removesuffix(" map").replace(" ", "_"): nothing})
    latent = {"model": rad, "positive": [], "negative": [], "latent_image": {"samples": torch.zeros(1, 3, 64, 64)}}
    for node, own in (("RAI_RADSampler", latent), ("RAI_RADSamplerSelect", {})):
        with pytest.raises(ValueError, match=r"^The order map is an empty batch"):
            host.call(node, **defaults(host, node) | own | {"order": nothing})


def test_latents_of_another_model_are_refused(host, rad, adm):
    cond = host.call("RAI_ADMConditioning", class_label=0)[0]
    inputs = defaults(host, "RAI_RADSampler") | {"model": rad, "positive": cond, "negative": cond, "steps": 2}
    for shape, sentence in (
        ((1, 4, 8, 8), "have 4 channels, but this MODEL works on 3"),
        ((1, 3, 2, 8, 8), "time axis"),
        ((0, 3, 8, 8), "empty batch"),
    ):
        with pytest.raises(ValueError, match=sentence):
            host.call("RAI_RADSampler", **inputs | {"latent_image": {"samples": torch.randn(shape)}})


def test_a_file_that_cannot_be_used_gives_the_sentence_alone(host, tmp_path):
    folders = host.module("nodes.host.folders")
    host.folder_paths.add_model_folder_path(folders.ADM, str(tmp_path))
    (tmp_path / "odd.safetensors").write_bytes(b"not a network")
    node = {
        "class_type": "RAI_LoadADMModel",
        "inputs": {"model_name": "odd.safetensors", "attention_order": "auto", "precision": "float32"},
    }
    show = {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}}
    decode = {"class_type": "VAEDecode", "inputs": {"vae": ["1", 1], "samples": ["4", 0]}}
    empty = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    ok, messages = host.run({"1": node, "2": show, "3": decode, "4": empty})
    error = next(data for event, data in messages if event == "execution_error")
    assert not ok and error["exception_type"] == "ValueError" and error["exception_message"].startswith("odd.safetensors")


def test_fills_of_any_size_and_dtype_are_compared(host):
    for height, width, dtype in ((5, 7, torch.float16), (64, 2048, torch.float32), (2048, 64, torch.bfloat16)):
        image = torch.rand(1, height, width, 3).to(dtype)
        mask = torch.zeros(1, height, width)
        mask[:, 1:4, 2:5] = 1
        sheet, table = host.call("RAI_InpaintCompare", original=image, mask=mask, result_1=image)
        assert max(sheet.shape) < 3000 and table.splitlines()[-1].endswith("| 0 |")
