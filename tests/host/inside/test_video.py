"""GradPaint on video: masks that move, a causal VAE, and sound that goes along."""

import pytest
import torch
from families import build, in_host, prompts, scene
from helpers import Blocks, prompt, tiny_model
from matrix import parts, sample

WAN = "Wan 2.1, 2.2 14B"


def tiny_wan_vae(monkeypatch):
    """The host's VAE of Wan 2.1 with 8 channels and random weights: 4 frames of 8x8 pixels a latent, but for the first frame."""
    import comfy.ldm.wan.vae
    import comfy.sd

    make = comfy.ldm.wan.vae.WanVAE
    monkeypatch.setattr(comfy.ldm.wan.vae, "WanVAE", lambda **options: make(**options | {"dim": 8}))  # older hosts know one size
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = make(dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, temperal_downsample=[False, True, True]).state_dict()
        for name, values in weights.items():  # the host leaves them empty
            kernel = "weight" in name and values.ndim > 2
            weights[name] = torch.randn_like(values) / values[0].numel() ** 0.5 if kernel else torch.full_like(values, "gamma" in name)
    return comfy.sd.VAE(sd=weights, device=torch.device("cpu"), dtype=torch.float32)


def moving_hole(frames: int, height: int, width: int, step: int = 4):
    """MASK (frames, H, W): a square that goes to the right; none in the last frame."""
    mask = torch.zeros(frames, height, width)
    for k in range(frames - 1):
        mask[k, height // 4 : height // 2, 8 + step * k : 24 + step * k] = 1
    return mask


def test_frames_of_a_video_become_frames_of_its_latents(host):
    """By hand: latent frame 0 is pixel frame 0, latent frame 1 the four after it."""
    holes = host.module("nodes.host.holes")
    mask = torch.zeros(9, 1, 32, 32)
    mask[0, :, 3, 3], mask[4, :, 20, 20], mask[5, :, 31, 0] = 1, 1, 1
    small = holes.hole_in_latents(mask, (1, 16, 3, 4, 4))
    assert small.shape == (1, 1, 3, 4, 4) and small.sum() == 3
    assert small[0, 0, 0, 0, 0] == small[0, 0, 1, 2, 2] == small[0, 0, 2, 3, 0] == 1
    each = holes.hole_in_latents(mask[[0, 4]], (2, 16, 1, 4, 4))  # one latent frame: a mask of each picture
    assert each.shape == (2, 1, 1, 4, 4) and each[0, 0, 0, 0, 0] == each[1, 0, 0, 2, 2] == 1 and each.sum() == 2
    assert holes.hole_in_latents(mask[:3], (1, 16, 3, 4, 4)).sum() == 1  # as many masks as latent frames
    one = holes.hole_in_latents(mask[:1], (2, 16, 3, 4, 4))
    assert one.shape == (1, 1, 3, 4, 4) and one.sum() == 3  # one mask for every frame


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_a_mask_for_each_frame(host, sampler):
    model, words = build(WAN), prompts(WAN)
    latent = scene(WAN, batch=2) | {"noise_mask": moving_hole(9, 64, 64)}
    out = sample(host, model, words, latent, 3.0, "simple")
    hole = host.module("nodes.host.holes").hole_in_latents(latent["noise_mask"], out.shape).expand_as(out) > 0
    assert hole[0, 0].any((1, 2)).all() and not torch.equal(hole[0, 0, 0], hole[0, 0, 1])
    assert (out - latent["samples"])[~hole].abs().max() <= 1e-6
    assert ((out - latent["samples"])[hole].abs() > 1e-3).float().mean() > 0.99


def test_sound_goes_along(host):
    """The video is guided; the sound is sampled as the host does where its own mask says so, and kept elsewhere."""
    name = "LTX-2 (video, sound)"
    if not in_host(name):
        pytest.skip(f"this host does not know {name}")
    import comfy.nested_tensor

    latent, sound_mask = scene(name), torch.ones(1, 1, 6, 16)
    sound_mask[:, :, :3] = 0
    masks = comfy.nested_tensor.NestedTensor([latent["noise_mask"][:, :, None], sound_mask])
    out = parts(sample(host, build(name), prompts(name), latent | {"noise_mask": masks}, 3.0, "simple"))
    video, sound = parts(latent["samples"])
    hole = host.module("nodes.host.holes").hole_in_latents(latent["noise_mask"], video.shape).expand_as(video) > 0
    assert (out[0] - video)[~hole].abs().max() <= 1e-6 and not torch.equal(out[0], video)
    torch.testing.assert_close(out[1][:, :, :3], sound[:, :, :3])
    assert ((out[1] - sound)[:, :, 3:].abs() > 1e-3).float().mean() > 0.99


def test_new_sound_for_a_video_without_a_hole(host):
    name = "LTX-2 (video, sound)"
    if not in_host(name):
        pytest.skip(f"this host does not know {name}")
    import comfy.nested_tensor

    latent, (video, sound) = scene(name), parts(scene(name)["samples"])
    masks = comfy.nested_tensor.NestedTensor([0 * latent["noise_mask"][:, :, None], torch.ones(1, 1, 6, 16)])
    out = parts(sample(host, build(name), prompts(name), latent | {"noise_mask": masks}, 3.0, "simple"))
    torch.testing.assert_close(out[0], video)
    assert ((out[1] - sound).abs() > 1e-3).float().mean() > 0.99


def inpaint(host, model, vae, words, image, mask, **change):
    options = {
        "seed": 5,
        "steps": 2,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "denoise": 1.0,
        "size": 64,
        "context": 0.5,
    }
    options |= {"context": 0.5, "preset": "plus", "positive": words[0], "negative": words[1]} | change
    return host.call("RAI_GradPaintInpaint", model=model, vae=vae, image=image, mask=mask, **options)[0]


def test_frames_in_parts_have_the_crops_of_the_whole_video(host):
    """An image MODEL out of memory takes half of the frames at a time; their crops have one size and follow the hole as before."""
    import comfy.model_management

    class VAE(Blocks):
        def __init__(self, most):
            self.most, self.seen = most, []

        def encode(self, images):
            if len(images) > self.most:
                raise comfy.model_management.OOM_EXCEPTION("pretended")
            self.seen.append(images)
            return super().encode(images)

    image, mask = torch.rand(8, 64, 192, 3), moving_hole(9, 64, 192, 20)[:8]
    mask[4:, 8:56] = mask[4:, 16:17]  # taller holes in the second half
    mask[2] = 0  # and no hole in one frame
    vaes, words = (VAE(8), VAE(4)), (prompt("SD15"), prompt("SD15"))
    for vae in vaes:
        out = inpaint(host, tiny_model(host, "SD15"), vae, words, image, mask, video=True, steps=1, size=32)
        known = (mask == 0)[..., None].expand_as(out)
        assert torch.equal(out[known], image[known]) and not torch.equal(out[~known], image[~known])
    assert [len(vae.seen) for vae in vaes] == [1, 2]
    assert torch.equal(vaes[0].seen[0], torch.cat(vaes[1].seen))
    assert torch.equal(inpaint(host, tiny_model(host, "SD15"), vaes[0], words, image, mask * 0, video=True), image), "no hole at all"


def test_a_frame_has_the_seed_of_its_number(host):
    """Whether the frames before it have holes or not: frame 3 of a video is frame 0 of the part that begins there."""
    image, mask = torch.rand(1, 64, 96, 3).expand(5, -1, -1, -1), torch.zeros(5, 64, 96)
    mask[[1, 3], 16:32, 16:40] = 1
    fill = lambda frames, seed: inpaint(
        host,
        tiny_model(host, "SD15"),
        Blocks(),
        (prompt("SD15"),) * 2,
        image[frames],
        mask[frames],
        seed=seed,
        video=True,
        steps=1,
        size=32,
    )
    whole, part = fill(slice(0, 5), 5), fill(slice(3, 5), 8)
    colourless = lambda frame: frame - frame[16:32, 16:40].mean((0, 1))  # frames share one correction of colours
    torch.testing.assert_close(colourless(whole[3])[16:32, 16:40], colourless(part[0])[16:32, 16:40], rtol=0, atol=2e-2)
    assert (colourless(whole[1]) - colourless(part[0]))[16:32, 16:40].abs().mean() > 0.05


def test_gradpaint_inpaint_on_a_video(host, monkeypatch):
    """9 frames, a hole that moves, and a tiny Wan with its causal VAE: what the masks keep is bit-exact in every frame."""
    import comfy.utils

    done = []
    bar = type("Bar", (), {"update_absolute": lambda _, value, total, preview: done.append(value / total)})
    monkeypatch.setattr(comfy.utils, "ProgressBar", lambda total: bar())
    model, vae, words = build("Wan 2.1 (picture)"), tiny_wan_vae(monkeypatch), prompts(WAN)
    image, mask = torch.rand(9, 48, 112, 3, generator=torch.Generator().manual_seed(1)), moving_hole(9, 48, 112)
    for frames in (9, 7):  # 7 are not 1 + 4 k
        done.clear()
        out = inpaint(host, model, vae, words, image[:frames], mask[:frames], video=True)
        assert done == [0.5, 1], "two steps for all frames"
        known = (mask[:frames] == 0)[..., None].expand_as(out)
        assert torch.equal(out[known], image[:frames][known])
        assert not torch.equal(out[~known], image[:frames][~known]) and torch.isfinite(out).all()
    alone = inpaint(host, model, vae, words, image[:2], mask[:2])  # as pictures: each is a video of one frame
    known = (mask[:2] == 0)[..., None].expand_as(alone)
    assert torch.equal(alone[known], image[:2][known]) and not torch.equal(alone[~known], image[:2][~known])
    again = inpaint(host, model, vae, words, image[1:2], mask[1:2], seed=6)
    torch.testing.assert_close(again[0], alone[1], rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["Qwen-Image, -Edit", "Krea 2"])
def test_an_image_model_with_a_videos_vae_fills_frame_by_frame(host, monkeypatch, name):
    """Its VAE would make one latent of four frames, which such a MODEL has never seen."""
    if not in_host(name):
        pytest.skip(f"this host does not know {name}")
    image, mask = torch.rand(5, 48, 48, 3, generator=torch.Generator().manual_seed(1)), torch.zeros(1, 48, 48)
    mask[:, 16:32, 16:32] = 1
    model, vae, words = build(name), tiny_wan_vae(monkeypatch), prompts(name)
    frames = inpaint(host, model, vae, words, image, mask, video=True, steps=1)
    pictures = inpaint(host, model, vae, words, image, mask, steps=1)
    shift = frames - pictures  # frames share one correction of colours
    hole = shift[:, 16:32, 16:32]
    assert hole.std((1, 2)).max() < 0.1 < (pictures - image)[:, 16:32, 16:32].std()


def test_a_video_that_does_not_fit_into_memory_gets_advice_that_its_node_can_follow(host):
    import comfy.model_management

    class VAE(Blocks):
        latent_dim, tries = 3, 0
        temporal_compression_decode = lambda self: 4

        def encode(self, images):
            self.tries += 1
            raise comfy.model_management.OOM_EXCEPTION("pretended")

    image, mask, vae = torch.rand(9, 64, 96, 3), moving_hole(9, 64, 96), VAE()
    with pytest.raises(MemoryError, match=r"Not even one video fits .*\. Choose a smaller size, or connect fewer frames"):
        inpaint(host, tiny_model(host, "SD15"), vae, (prompt("SD15"),) * 2, image, mask, video=True)
    assert vae.tries == 1, "a video is never split"
