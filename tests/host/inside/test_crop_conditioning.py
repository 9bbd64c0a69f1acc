"""What a CONDITIONING says about places of the picture, in GradPaint Inpaint's crops of it: hints of ControlNets, masks and areas."""

import pytest
import torch
from families import build, in_host, prompts
from helpers import Blocks, defaults, devices, prompt, tiny_model
from test_family_templates import TinyVAE
from test_video import tiny_wan_vae

SIDE = 256


@pytest.fixture(scope="module")
def inpaint(host):
    """inpaint(positive, negative) fills a small hole at the right of two pictures; the crops are columns 176 to 240."""
    model, mask = tiny_model(host, "SD15"), torch.zeros(1, SIDE, SIDE)
    mask[:, 100:132, 192:224] = 1
    settings = {"model": model, "vae": Blocks(), "mask": mask, "steps": 2, "cfg": 1.0, "size": 64, "context": 0.5, "preset": "combine"}
    image = torch.rand(2, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0))

    def run(positive, negative, **change):
        options = defaults(host, "RAI_GradPaintInpaint") | settings | {"image": image, "positive": positive, "negative": negative}
        return host.call("RAI_GradPaintInpaint", **options | change)[0]

    return run


@pytest.mark.parametrize("size", [SIDE, SIDE // 2])
def test_a_controlnet_gets_the_crops_part_of_its_hint(inpaint, size):
    """Two ControlNets, one after the other, each picture with a hint of its own; both prompts still go through the network together."""
    import comfy.controlnet
    import comfy.utils

    seen = []

    class Recorder(comfy.controlnet.ControlBase):
        def get_control(self, x_noisy, t, cond, batched, *rest):
            if self.previous_controlnet is not None:
                self.previous_controlnet.get_control(x_noisy, t, cond, batched, *rest)
            sides = x_noisy.shape[3] * 8, x_noisy.shape[2] * 8
            hint = comfy.utils.common_upscale(self.cond_hint_original, *sides, self.upscale_algorithm, "center")
            seen.append((self.strength, len(x_noisy), hint))

        def copy(self):
            copied = Recorder()
            self.copy_to(copied)
            return copied

    ramp = torch.linspace(0, 1, size).expand(1, 3, size, size)
    first, second = (Recorder().set_cond_hint(hint, strength) for hint, strength in ((ramp, 0.3), (torch.cat([ramp, 1 - ramp]), 0.6)))
    second.set_previous_controlnet(first)
    words = [[prompt("SD15")[0][0], {"control": second, "control_apply_to_uncond": True}]]
    inpaint(words, words, cfg=2.0)
    across = torch.linspace(176 / SIDE, 240 / SIDE, 64)
    assert {strength for strength, _, _ in seen} == {0.3, 0.6} and {count for _, count, _ in seen} == {4}
    for strength, _, hint in seen:
        expected = [across] if strength == 0.3 else [across, 1 - across]
        torch.testing.assert_close(hint[:, 0, 32], torch.stack(expected), rtol=0, atol=0.02)
    assert first.cond_hint_original is ramp and second.previous_controlnet is first


def test_hints_for_a_vae_with_a_time_axis_are_encoded_one_by_one(inpaint, monkeypatch):
    """The VAE of Qwen-Image's ControlNets would take the hints of a batch for the frames of a video."""
    import comfy.controlnet

    encoded = []

    class Recorder(comfy.controlnet.ControlBase):
        def get_control(self, x_noisy, *_):
            for control in (self, self.previous_controlnet):
                if control is not None and control.vae is not None:
                    encoded.append(len(control.cond_hint_original))

        def copy(self):
            copied = Recorder()
            self.copy_to(copied)
            return copied

    first, second = (Recorder().set_cond_hint(torch.rand(2, 3, SIDE, SIDE)) for _ in range(2))
    first.vae = tiny_wan_vae(monkeypatch)
    second.set_previous_controlnet(first)
    masks = torch.zeros(2, SIDE, SIDE)
    masks[0, 100:132, 192:224] = masks[1, 20:52, 40:72] = 1
    inpaint(prompt("SD15"), [[prompt("SD15")[0][0], {"control": second}]], mask=masks, cfg=2.0)
    assert encoded == [1] * 4


@pytest.mark.parametrize("kind", ["mask", "area", "percentage"])
def test_a_prompt_for_another_part_of_the_picture_does_not_reach_the_crop(host, inpaint, kind):
    def at(words, left):
        if kind == "mask":
            mask = torch.zeros(1, SIDE // 2, SIDE // 2)
            mask[..., left // 2 : (left + 128) // 2] = 1
            return host.nodes.ConditioningSetMask().append(words, mask, "default", 1.0)[0]
        if kind == "area":
            return host.nodes.ConditioningSetArea().append(words, 128, SIDE, left, 0, 1.0)[0]
        return host.nodes.ConditioningSetAreaPercentage().append(words, 0.5, 1.0, left / SIDE, 0.0, 1.0)[0]

    words, other = prompt("SD15"), [[3 * prompt("SD15")[0][0].flip(1), {}]]
    alone, there = inpaint(words, words), inpaint(at(words, 128) + at(other, 0), words)
    torch.testing.assert_close(there, alone, rtol=0, atol=1e-4)
    assert not torch.allclose(inpaint(at(words, 0) + at(other, 128), words), alone, rtol=0, atol=1e-2)


def test_a_prompt_for_a_part_of_a_video_keeps_its_place_and_time(host):
    """The left half of the first two of four latent frames, in a crop of the video's middle."""
    name = "Wan 2.1, 2.2 14B"
    if not in_host(name):
        pytest.skip(f"this host does not know {name}")
    latents, area = torch.zeros(1, 16, 4, 8, 8), ("percentage", 0.5, 1.0, 0.5, 0.0, 0.0, 0.0)  # as ConditioningSetAreaPercentageVideo
    words = [[prompts(name)[0][0][0], {"area": area, "strength": 1.0, "set_area_to_bounds": True}]]  # as ConditioningSetMask's mask bounds
    middle = slice(SIDE // 2 - 32, SIDE // 2 + 32)
    (words,) = host.module("nodes.host.crop_conditioning").in_crops(
        [words], (SIDE, SIDE), latents, lambda maps, *_: maps[..., middle, middle]
    )
    expected = torch.zeros(1, 4, 64, 64)
    expected[:, :2, :, :32] = 1
    assert torch.equal(words[0][1]["mask"], expected) and "area" not in words[0][1]
    latent = {"samples": latents, "noise_mask": torch.ones(1, 8, 8)}
    plain = prompts(name)[0]
    host.nodes.common_ksampler(build(name), 3, 1, 1.0, "euler", "normal", words + plain, plain, latent)


def test_instruct_pix2pix_gets_the_crops_part_of_its_picture(host, inpaint):
    name, seen = "SD1.5 InstructPix2Pix", []
    if not in_host(name):
        pytest.skip(f"this host does not know {name}")
    model, ramp = build(name), torch.linspace(0, 1, SIDE).view(1, 1, SIDE, 1).expand(1, SIDE, SIDE, 3)
    apply = model.model.apply_model
    model.model.apply_model = lambda x, t, c_concat=None, **rest: seen.append(c_concat) or apply(x, t, c_concat=c_concat, **rest)
    whole = Blocks().encode(ramp)
    words = [[text, options | {"concat_latent_image": whole}] for text, options in prompts(name)[0]]
    inpaint(words, words, model=model, image=ramp)
    expected = whole[..., 10:18, 22:30]  # rows 84 to 148, columns 176 to 240
    assert seen and all(torch.allclose(each[:1, :4], expected, atol=1e-4) for each in seen)


def test_the_upscaler_gets_the_crops_part_of_its_picture(host, inpaint):
    name = "SD x4 upscaler"
    model, vae, hint = build(name), TinyVAE(name), torch.rand(1, SIDE, SIDE, 3)
    picture, mask = torch.rand(1, SIDE, SIDE, 3), torch.zeros(1, SIDE, SIDE)
    mask[:, 100:132, 192:224] = 1
    box = (slice(None), slice(84, 148), slice(176, 240))

    def fill(hint, where, **change):
        small = torch.nn.functional.avg_pool2d(2 * hint.movedim(-1, 1) - 1, 4)
        words, _ = [[[text, options | {"concat_image": small}] for text, options in each] for each in prompts(name)]
        return inpaint(words, words, model=model, vae=vae, image=picture[where], mask=mask[where], **change)

    whole, by_hand = fill(hint, ...)[box], fill(hint[box], box, context=5.0)
    torch.testing.assert_close(whole, by_hand, rtol=0, atol=1e-4)
    assert not torch.allclose(fill(1 - hint, ...)[box], whole, atol=1e-2)


def test_stage_b_of_stable_cascade_gets_the_crops_part_of_stage_c(host, inpaint):
    """It sees in the crop what it would see there in the whole picture."""
    name, seen = "Stable Cascade B", []
    model, prior = build(name), torch.rand(1, 16, 6, 6)
    apply = model.model.apply_model
    model.model.apply_model = lambda x, t, effnet=None, **rest: seen.append(effnet) or apply(x, t, effnet=effnet, **rest)
    words = [[text, options | {"stable_cascade_prior": prior}] for text, options in prompts(name)[0]]
    inpaint(words, words, model=model, vae=TinyVAE(name))
    spread = torch.nn.functional.interpolate(prior, (SIDE // 4, SIDE // 4), mode="bilinear", align_corners=True)
    assert seen and all(torch.allclose(each[:1], spread[..., 21:37, 44:60], atol=0.03) for each in seen)


def test_a_model_patch_gets_the_crops_part_of_its_hint(host, inpaint):
    """Qwen-Image's ControlNet, whose hint is in the MODEL, with a hint of its own for each of two pictures."""
    import comfy.model_patcher
    import comfy.ops
    from comfy_extras.nodes_model_patch import QwenImageBlockWiseControlNet, QwenImageDiffsynthControlnet

    name = "Qwen-Image, -Edit"
    model, vae, (words, _) = build(name), TinyVAE(name), prompts(name)
    controls = QwenImageBlockWiseControlNet(2, dim=model.model.diffusion_model.inner_dim, operations=comfy.ops.disable_weight_init)
    for k, p in enumerate(controls.parameters()):
        p.data = torch.randn(p.shape, generator=torch.Generator().manual_seed(k)) * 0.3
    control_net, hint = comfy.model_patcher.ModelPatcher(controls, *devices()), torch.rand(2, SIDE, SIDE, 3)

    def fill(hint, **change):
        with torch.inference_mode():
            (patched,) = QwenImageDiffsynthControlnet().diffsynth_controlnet(model, control_net, vae, hint, 1.0)
        out = inpaint(words, words, model=patched, vae=vae, **change)
        patches = patched.model_options["transformer_options"]["patches"]["double_block"]
        assert [len(patch.image) for patch in patches] == [len(hint)], "the MODEL of the graph keeps its own"
        return out

    elsewhere, inside = hint.clone(), hint.clone()
    elsewhere[:, :, :170] = 0
    inside[1, :, 180:] = 0
    filled, changed = fill(hint), fill(inside)
    assert torch.equal(fill(elsewhere), filled)
    assert torch.equal(changed[0], filled[0]) and not torch.allclose(changed[1], filled[1], atol=1e-2)


def test_a_model_patch_with_pictures_of_two_sizes_gets_the_crops_part_of_both(host):
    """The host encodes those of Z-Image's ControlNet in the first step, so its patch has no size yet."""
    from types import SimpleNamespace

    import comfy_extras.nodes_model_patch as host_patches

    if not hasattr(host_patches, "ZImageControlPatch"):
        pytest.skip("this host does not know Z-Image's ControlNet")
    hint, other = torch.rand(1, SIDE, SIDE, 3), torch.rand(1, 2 * SIDE, 2 * SIDE, 3)
    patch = host_patches.ZImageControlPatch(SimpleNamespace(model=SimpleNamespace(additional_in_dim=17)), None, hint, 1.0, other)
    model = tiny_model(host, "SD15")
    model.set_model_patch(patch, "double_block")
    cropped = host.module("nodes.host.crop_conditioning").model_in_crop(model, lambda maps, *_: maps[..., :64, :64])
    (copied,) = cropped.model_options["transformer_options"]["patches"]["double_block"]
    assert torch.equal(copied.image, hint[:, :64, :64]) and torch.equal(copied.inpaint_image, other[:, :64, :64])
    assert patch.image is hint


def test_the_latents_of_supirs_whole_picture_are_refused_in_a_sentence(inpaint, host):
    class Patch:  # as the host's SUPIRPatch
        hint_latent = torch.zeros(1, 4, SIDE // 8, SIDE // 8)

        def middle_after(self, kwargs):
            return {"h": kwargs["h"]}

    model, words = tiny_model(host, "SD15"), prompt("SD15")
    model.set_model_patch(Patch().middle_after, "middle_block_after_patch")
    with pytest.raises(ValueError, match="SUPIR's whole picture"):
        inpaint(words, words, model=model)


@pytest.mark.parametrize(
    "options",
    [
        {"vace_frames": [torch.zeros(1, 32, 3, 4, 4)]},
        {"concat_latent_image": torch.zeros(1, 16, 3, 4, 4), "concat_mask": torch.zeros(1, 4, 3, 4, 4)},
        {"concat_latent_image": torch.zeros(1, 32, 3, 4, 4)},  # as WanFunControlToVideo
        {"time_dim_concat": torch.zeros(1, 16, 1, 4, 4)},  # as WanPhantomSubjectToVideo
        {"camera_conditions": torch.zeros(1, 24, 3, 32, 32)},  # as WanCameraImageToVideo
        {"time_dim_replace": torch.zeros(1, 16, 1, 4, 4), "concat_mask": torch.zeros(1, 1, 3, 4, 4)},  # as Kandinsky5ImageToVideo
        {"ref_latent": torch.zeros(1, 16, 1, 4, 4), "guiding_frame_index": 0},  # as HunyuanImageToVideo
    ],
)
def test_a_whole_video_in_the_prompts_is_refused_in_a_sentence(host, options):
    in_crops = host.module("nodes.host.crop_conditioning").in_crops
    with pytest.raises(ValueError, match="GradPaint Sampler"):
        in_crops([[[torch.zeros(1, 7, 64), options]]], (SIDE, SIDE), torch.zeros(1, 16, 3, 4, 4), lambda maps, *_: maps)
