"""Prepare Hole, Extend Picture, Uncertainty Heat Map and Before and After, as the host calls them."""

import pytest
import torch
from families import build, in_host
from helpers import flow_model, tiny_model


def prepare(host, mask, **change):
    options = {"invert": False, "specks": 0, "fill_islands": False, "grow": 0, "feather": 0} | change
    return host.call("RAI_PrepareHole", mask=mask, **options)[0]


def spot(height=48, width=64):
    mask = torch.zeros(1, height, width)
    mask[:, 20:23, 30:35] = 1
    return mask


def test_the_grid_is_the_models_own(host, adm):
    assert torch.equal(prepare(host, spot(), model=adm[0]), spot()), "a pixel network decides by the pixel"
    assert prepare(host, spot(), model=tiny_model(host, "SD15")).nonzero()[:, 1:].unique(dim=0).shape[0] == 8 * 16
    tokens = prepare(host, spot(), model=flow_model())[0]
    assert tokens.sum() == 16 * 32 and tokens[16:32, 16:48].all()


@pytest.mark.parametrize(
    "name", ["Flux.2, klein", "Krea 2", "Anima", "Cosmos-Predict2", "Ideogram 4", "Wan 2.1 (picture)", "Qwen-Image, -Edit"]
)
def test_a_token_is_16_pixels_however_the_network_calls_its_patch(host, name):
    if not in_host(name):
        pytest.skip(f"this host does not know {name}")
    assert host.module("nodes.host.token_grid").token_size(build(name)) == 16


def test_a_mask_takes_the_pictures_size_and_keeps_its_batch(host, landscape):
    masks = torch.cat([spot(), 1 - spot()])
    assert prepare(host, masks, grow=2).shape == masks.shape
    assert prepare(host, spot(128, 128), image=landscape).shape == (1, 64, 64)
    assert torch.equal(prepare(host, spot().bool(), feather=4), prepare(host, spot(), feather=4)), "a mask of true and false"


@pytest.mark.parametrize("fill_with", ["picture's patches", "stretched edge"])
def test_a_larger_picture_keeps_its_old_pixels(host, landscape, fill_with):
    sides = {"left": 8, "top": 0, "right": 0, "bottom": 16}
    larger, mask = host.call("RAI_ExtendPicture", image=landscape, **sides, seed=0, fill_with=fill_with, preset="fast")
    assert larger.shape == (2, 80, 72, 3) and mask.shape == (2, 80, 72)
    assert torch.equal(larger[:, :64, 8:], landscape) and mask[:, :64, 8:].sum() == 0 and mask.mean() == 1 - 64 * 64 / (80 * 72)
    again = host.call("RAI_ExtendPicture", image=landscape, **sides, seed=0, fill_with=fill_with, preset="fast")[0]
    assert torch.equal(larger, again)


def test_the_new_part_of_a_clip_does_not_flicker(host, landscape):
    clip = landscape[:1].expand(4, -1, -1, -1) + 0.02 * torch.randn(4, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    sides = {"left": 0, "top": 0, "right": 16, "bottom": 0, "seed": 0, "preset": "fast"}
    extend = lambda frames: host.call("RAI_ExtendPicture", image=clip.clamp(0, 1), **sides, frames=frames)[0][:, :, 64:]
    alone, video = extend(False), extend(True)
    assert video.diff(dim=0).abs().mean() < 0.5 * alone.diff(dim=0).abs().mean()


def test_heat_map_and_slider_show_their_pictures(host, landscape):
    (shown,) = host.call("RAI_UncertaintyHeatMap", image=landscape, uncertainty=torch.rand(1, 32, 32), scale=0.0, legend=True)
    assert shown.shape == landscape.shape and not torch.equal(shown, landscape)
    with torch.inference_mode():
        node = host.nodes.NODE_CLASS_MAPPINGS["RAI_BeforeAfter"].EXECUTE_NORMALIZED(before=landscape[:1], after=landscape[1:])
    assert len(node.ui["images"]) == 2 and node.ui["a_images"] + node.ui["b_images"] == node.ui["images"]


def test_a_video_shows_its_first_masks(host):
    """Each is a file."""
    frames, masks = torch.rand(20, 16, 16, 3), torch.zeros(20, 16, 16)
    masks[:, 4:8, 4:8] = 1
    options = {"invert": False, "specks": 0, "fill_islands": True, "grow": 0, "feather": 0}
    for image in (frames, frames[:1]):
        out = host.nodes.NODE_CLASS_MAPPINGS["RAI_PrepareHole"].EXECUTE_NORMALIZED(mask=masks, image=image, **options)
        assert len(out[0]) == 20 and len(out.ui["mask_previews"]) == 8


def test_masks_that_are_not_as_many_as_the_pictures_are_shown_over_the_first(host):
    options = {"invert": False, "specks": 0, "fill_islands": True, "grow": 0, "feather": 0}
    pictures = torch.rand(3, 48, 64, 3)
    node = host.nodes.NODE_CLASS_MAPPINGS["RAI_PrepareHole"]
    for masks, shown in ((5, 5), (1, 3)):
        out = node.EXECUTE_NORMALIZED(mask=spot().expand(masks, -1, -1), image=pictures, **options)
        assert len(out[0]) == masks and len(out.ui["mask_previews"]) == shown
