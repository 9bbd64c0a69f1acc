"""GradPaint on every family of MODELs that the host knows, on tiny ones with random weights."""

import pytest
from families import FAMILIES, build, in_host, prompts
from matrix import REFUSED, check


@pytest.fixture()
def guidances(host, monkeypatch):
    """The `GradPaint` objects of the runs that follow."""
    guided, made = host.module("nodes.host.guided_model"), []
    make = guided.GradPaint
    monkeypatch.setattr(guided, "GradPaint", lambda *a, **k: made.append(make(*a, **k)) or made[-1])
    return made


@pytest.mark.parametrize("name", list(FAMILIES))
def test_known_latents_stay_and_the_loss_falls(host, guidances, name):
    if not in_host(name):
        pytest.skip(f"this host does not know {name}")
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            check(host, name, guidances)
        return
    result = check(host, name, guidances)
    print(name, result)
    assert result.known <= 1e-6 and result.changed > 0.99
    assert result.guidance > 0.01 and result.guider < 1e-5
    # random weights may say anything about the rim of a picture whose known part they do not see noised
    assert result.clean or result.loss[1] < result.loss[0]
    assert result.alone is None or result.alone < 0.02  # random weights amplify rounding


def test_the_reference_of_an_edit_model_is_cut_with_the_crop(host, monkeypatch):
    """The first reference becomes the crop, hole included; a second one, and conditioning without any, stay as they are."""
    import torch
    from helpers import Blocks

    gradpaint, seen = host.module("nodes.gradpaint"), []
    model, words = build("SD1.5"), prompts("SD1.5")
    monkeypatch.setattr(gradpaint, "GradPaintGuider", lambda model, *words, **_: seen.append(words) or gradpaint_guider(model, *words))
    gradpaint_guider = host.module("nodes.host.gradpaint").GradPaintGuider
    Blocks.spacial_compression_encode = lambda self: 8
    other = torch.zeros(1, 4, 8, 8)
    words[0][0][1]["reference_latents"] = [other, other]
    image, mask = torch.rand(1, 96, 96, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 96, 96)
    mask[:, 40:56, 40:56] = 1
    options = {"seed": 5, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "size": 64}
    options |= {"context": 1.5, "preset": "plus", "positive": words[0], "negative": words[1], "image": image, "mask": mask}
    for reference in ("crop", "whole"):
        (out,) = host.call("RAI_GradPaintInpaint", model=model, vae=Blocks(), reference=reference, **options)
        known = (mask == 0)[..., None].expand_as(out)
        assert torch.equal(out[known], image[known]) and not torch.equal(out[~known], image[~known])
    cut, whole = (conditioning[0][1].get("reference_latents") for conditioning, *_ in seen)
    torch.testing.assert_close(cut[0], Blocks().encode(image[:, 16:80, 16:80]))  # 64 pixels around the hole, with what is in it
    assert cut[1] is other and whole[0] is other and words[0][0][1]["reference_latents"][0] is other
    assert all("reference_latents" not in negative[0][1] for _, negative, *_ in seen)


def test_the_inputs_of_an_inpainting_model_are_cut_with_the_crop(host, monkeypatch):
    """Its picture, grey in the hole, and its mask, from InpaintModelConditioning; conditioning without them stays as it is."""
    import torch
    from helpers import Blocks

    gradpaint, seen = host.module("nodes.gradpaint"), []
    model, words = build("SD1.5 inpainting"), prompts("SD1.5 inpainting")
    make = host.module("nodes.host.gradpaint").GradPaintGuider
    monkeypatch.setattr(gradpaint, "GradPaintGuider", lambda model, *words, **_: seen.append(words) or make(model, *words))
    monkeypatch.setattr(Blocks, "spacial_compression_encode", lambda self: 8, raising=False)
    image, mask = torch.rand(1, 96, 96, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 96, 96)
    mask[:, 40:56, 40:56] = 1
    positive = host.nodes.InpaintModelConditioning().encode(words[0], words[1], image, Blocks(), mask)[0]
    options = {"seed": 5, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "size": 64}
    options |= {"context": 1.5, "preset": "plus", "positive": positive, "negative": words[1], "image": image, "mask": mask}
    host.call("RAI_GradPaintInpaint", model=model, vae=Blocks(), **options)
    ((given, negative, *_),) = seen
    crop, hole = image[:, 16:80, 16:80].clone(), mask[:, 16:80, 16:80]
    crop[hole > 0] = 0.5
    torch.testing.assert_close(given[0][1]["concat_latent_image"], Blocks().encode(crop))
    assert torch.equal(given[0][1]["concat_mask"][:, 0], hole)
    assert "concat_mask" not in negative[0][1] and positive[0][1]["concat_mask"].shape[-1] == 96


def test_what_both_prompts_ask_for_is_encoded_once(host):
    import torch
    from helpers import Blocks, defaults

    class VAE(Blocks):
        seen = 0
        spacial_compression_encode = lambda self: 8

        def encode(self, image):
            self.seen += 1
            return super().encode(image)

    vae, words = VAE(), prompts("SD1.5 inpainting")
    image, mask = torch.rand(1, 96, 96, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 96, 96)
    mask[:, 40:56, 40:56] = 1
    positive, negative, _ = host.nodes.InpaintModelConditioning().encode(words[0], words[1], image, vae, mask)
    before = vae.seen
    options = {"model": build("SD1.5 inpainting"), "vae": vae, "image": image, "mask": mask, "steps": 1, "size": 64}
    host.call("RAI_GradPaintInpaint", **defaults(host, "RAI_GradPaintInpaint") | options | {"positive": positive, "negative": negative})
    assert vae.seen - before == 2, "the crop to start from, and the one with a grey hole for both prompts"
