"""Fill from Picture and Example Photo in the host."""

import pytest
import torch
from helpers import defaults


@pytest.fixture(scope="module")
def scene(host):
    """IMAGE (2, 144, 144, 3) of two photographs and MASK (2, 144, 144): what is to be removed, a quarter of the size."""
    pairs = [host.call("RAI_ExamplePhoto", photo=photo) for photo in ("boardwalk", "rocks")]
    images, masks = map(torch.cat, zip(*pairs, strict=True))
    small = torch.nn.functional.interpolate(images.movedim(-1, 1), (144, 144), mode="area").movedim(1, -1)
    return small.clamp(0, 1), (torch.nn.functional.max_pool2d(masks[:, None], 4)[:, 0] > 0).float()


def fill(host, image, mask, **change):
    return host.call("RAI_FillFromPicture", **{"image": image, "mask": mask, "seed": 5, "preset": "fast"} | change)


def is_kept(image, out, mask):
    """Whether every pixel outside the mask is bit-equal."""
    known = (mask == 0)[..., None].expand_as(out)
    return torch.equal(out[known], image.expand_as(out)[known])


@pytest.mark.parametrize("photo", ["boardwalk", "light bulb", "flagpole", "rocks"])
def test_every_example_has_a_mask_on_what_is_to_be_removed(host, photo):
    image, mask = host.call("RAI_ExamplePhoto", photo=photo)
    assert image.shape == (1, 576, 576, 3) and mask.shape == (1, 576, 576) and image.min() >= 0 and image.max() <= 1
    assert 0.01 < mask.mean() < 0.2 and set(mask.unique().tolist()) == {0, 1}
    assert host.module("nodes.example_photo").PHOTOS.keys() == set(
        host.info("RAI_ExamplePhoto")["input"]["required"]["photo"][1]["options"]
    )


def test_with_the_defaults_the_fill_is_the_librarys_bit_for_bit(host):
    core, (image, mask) = host.module("rad_core"), host.call("RAI_ExamplePhoto", photo="flagpole")
    image, mask = image[:, 200:400, 280:480], mask[:, 200:400, 280:480]
    options = {"image": image, "mask": mask} | defaults(host, "RAI_FillFromPicture")
    out, uncertainty = host.call("RAI_FillFromPicture", **options)
    expected, deviation = core.exemplar_inpaint(image.movedim(-1, 1), mask)
    assert torch.equal(out, expected.movedim(1, -1)) and torch.equal(uncertainty, deviation[:, 0])
    assert is_kept(image, out, mask) and (out - image).abs().amax(-1)[mask > 0].mean() > 0.1, "the pole is gone"


def test_a_batch_is_its_pictures_alone(host, scene):
    image, mask = scene
    out, uncertainty = fill(host, image, mask)
    assert is_kept(image, out, mask) and not uncertainty[mask == 0].any()
    assert uncertainty.min() >= 0 and uncertainty.max() <= 1 and (uncertainty[mask > 0] > 0).float().mean() > 0.5
    for k in range(2):
        alone, deviation = fill(host, image[k : k + 1], mask[k : k + 1], seed=5 + k)
        assert torch.equal(alone[0], out[k]) and torch.equal(deviation[0], uncertainty[k])
        assert (alone[0] - image[k]).abs().amax(-1)[mask[k] > 0].mean() > 0.03, "what the mask covers has changed"
    other, _ = fill(host, image, mask, seed=6)
    assert not torch.equal(other, out)


def test_the_hole_grows_and_the_rest_is_exact(host, scene):
    image, mask = scene[0][:1], scene[1][:1]
    out, _ = fill(host, image, mask, grow=3)
    grown = host.module("rad_core.masks").grow_masks(mask[:, None], 3)[:, 0]
    ring = (grown > 0) & (mask == 0)
    assert is_kept(image, out, grown) and ring.any() and (out - image).abs().amax(-1)[ring].mean() > 0.01


def test_fills_alpha_and_one_mask_for_all(host, scene):
    image, mask = scene
    clear = torch.cat([image, torch.zeros(2, 144, 144, 1)], -1)
    out, uncertainty = fill(host, clear, mask[:1], fills=2)
    assert out.shape == (4, 144, 144, 4) and uncertainty.shape == (4, 144, 144)
    assert torch.equal(out[..., 3], mask[:1].expand(4, -1, -1)), "what was filled is opaque"
    assert not torch.equal(out[0], out[1])
    alone, _ = fill(host, image[1:], mask[:1], seed=7, fills=2)
    assert torch.equal(alone, out[2:, ..., :3])
    assert torch.equal(fill(host, image, 0 * mask)[0], image)
    with pytest.raises(ValueError, match="do not fit"):
        fill(host, image, mask[:1].expand(3, -1, -1))
    with pytest.raises(ValueError, match="is known"):
        fill(host, image, torch.ones_like(mask))


def test_references_are_used_where_their_mask_is_black(host, scene):
    image, mask = scene[0][:1], scene[1][:1]
    red = torch.zeros(1, 60, 90, 3)
    red[..., 0] = torch.rand(1, 60, 90, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.8
    unknown = torch.ones_like(mask)
    out, _ = fill(host, image, unknown, reference=red)
    assert out[..., 0].min() > 0.7 and out[..., 1:].max() < 0.1
    half = torch.cat([red, 1 - red], 2)
    cover = torch.zeros(1, 60, 180)
    cover[..., 90:] = 1
    assert fill(host, image, unknown, reference=half, reference_mask=cover)[0][..., 0].min() > 0.7
    plain, _ = fill(host, image, mask)
    assert not torch.equal(fill(host, image, mask, reference=scene[0][1:])[0], plain)
    none = torch.zeros(1, 64, 64)  # Load Image's, for a picture without transparency
    assert torch.equal(fill(host, image, unknown, reference=red, reference_mask=none)[0], out)
    with pytest.raises(ValueError, match="without a reference"):
        fill(host, image, mask, reference_mask=cover)
    with pytest.raises(ValueError, match="reference masks"):
        fill(host, image, mask, reference=half, reference_mask=cover.expand(3, -1, -1))


def test_order_and_refining(host, scene):
    image, mask = scene
    plain, uncertainty = fill(host, image, mask)
    order = torch.linspace(0, 1, 144).expand(1, 144, 144)
    assert not torch.equal(fill(host, image, mask, order=order)[0], plain)
    left = torch.zeros_like(mask)
    left[..., :60] = 1
    refined, _ = fill(host, plain, mask, uncertainty=left, seed=9)
    assert torch.equal(refined[:, :, 60:], plain[:, :, 60:]), "black stays"
    assert not torch.equal(refined, plain) and is_kept(image, refined, mask)
    assert is_kept(image, fill(host, plain, mask, uncertainty=uncertainty)[0], mask)
    for name in ("order", "uncertainty"):
        with pytest.raises(ValueError, match=name):
            fill(host, image, mask, **{name: order.expand(3, -1, -1)})


def test_frames_find_what_another_frame_shows(host, scene):
    still = scene[0][:1].expand(3, -1, -1, -1)
    moving = torch.zeros(3, 144, 144)
    for k in range(3):
        moving[k, 60:90, 20 + 35 * k : 50 + 35 * k] = 1
    out, _ = fill(host, still, moving, frames=True)
    apart, _ = fill(host, still, moving)
    error = lambda filled: (filled - still).square().mean(-1)[moving > 0].mean().sqrt() * 255
    assert is_kept(still, out, moving) and error(out) < 3 < error(apart)


def test_progress_moves_with_previews_and_cancelling_ends_it(host, scene, monkeypatch):
    import comfy.model_management
    import comfy.utils

    seen = []

    class Bar:
        def __init__(self, total):
            self.total = total

        def update_absolute(self, value, total=None, preview=None):
            seen.append((value, total, preview))
            if len(seen) == 3 and cancel:
                comfy.model_management.interrupt_current_processing(True)

    monkeypatch.setattr(comfy.utils, "ProgressBar", Bar)
    cancel = False
    fill(host, *scene)
    values = [value for value, _, _ in seen]
    assert len(seen) > 4 and values == sorted(values) and values[-1] == seen[-1][1]
    previews = [preview[1] for _, _, preview in seen if preview]
    assert previews[0].size == (144, 144) and previews[0].tobytes() != previews[-1].tobytes()
    cancel, count = True, len(seen)
    seen.clear()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        fill(host, *scene)
    assert len(seen) == 3 < count
    seen.clear()
    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        fill(host, *scene)
    assert not seen, "cancelled within the first callback"


def test_memory_that_runs_out_halves_the_batch(host, scene, monkeypatch):
    import comfy.model_management

    module = host.module("nodes.exemplar")
    in_batch, _ = fill(host, *scene)
    whole, counts = module.exemplar_inpaint, []

    def narrow(image, *rest, **options):
        counts.append(len(image))
        if len(image) > limit:
            raise comfy.model_management.OOM_EXCEPTION("out of memory")
        return whole(image, *rest, **options)

    monkeypatch.setattr(module, "exemplar_inpaint", narrow)
    limit = 1
    assert torch.equal(fill(host, *scene)[0], in_batch) and counts == [2, 1, 1]
    limit = 0
    with pytest.raises(MemoryError, match="fast"):
        fill(host, *scene)
    counts.clear()
    with pytest.raises(MemoryError, match="connect fewer"):
        fill(host, *scene, frames=True)
    assert counts == [2], "a video is never split"


def test_it_is_found_by_the_words_an_artist_types(host):
    info = host.info("RAI_FillFromPicture")
    if "search_aliases" not in info and not hasattr(host.nodes.NODE_CLASS_MAPPINGS["RAI_FillFromPicture"].GET_SCHEMA(), "search_aliases"):
        pytest.skip("this host has no search aliases")
    assert {"remove", "erase", "heal", "object removal"} <= set(info["search_aliases"])
