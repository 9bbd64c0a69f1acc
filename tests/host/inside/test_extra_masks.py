"""Masks apart from the hole, and batches of frames, through every node that fills."""

import pytest
import torch
from helpers import defaults

NODES = ["RAI_RADInpaint", "RAI_GradPaintInpaint", "RAI_SDMInpaint"]


def square(top, left, side, value=1.0):
    mask = torch.zeros(1, 64, 64)
    mask[:, top : top + side, left : left + side] = value
    return mask


def kept(image, out, mask):
    """Whether every pixel where the mask is 0 is bit-equal."""
    known = (mask == 0)[..., None].expand_as(out)
    return torch.equal(out[known], image.expand_as(out)[known])


@pytest.mark.parametrize("node", NODES)
def test_the_context_mask_is_all_that_the_model_sees(fill, landscape, node):
    image, mask, look = landscape[:1], square(24, 24, 12), square(16, 16, 28)
    elsewhere = torch.where(look[..., None] > 0, image, landscape[1:])
    denoise = {"denoise": 0.5} if "GradPaint" in node else {}
    for change in ({}, denoise):
        out = fill(node, mask=mask, context_mask=look, **change)[0]
        other = fill(node, image=elsewhere, mask=mask, context_mask=look, **change)[0]
        assert kept(image, out, mask) and torch.equal(out[mask > 0], other[mask > 0])
        assert not torch.equal(out, fill(node, mask=mask, **change)[0])
    nothing = torch.zeros(1, 32, 32)  # Load Image's mask of a picture without transparency
    assert torch.equal(fill(node, mask=mask, context_mask=nothing, stitch_mask=nothing)[0], fill(node, mask=mask)[0])


@pytest.mark.parametrize("node", NODES)
def test_the_stitch_mask_is_all_that_changes(fill, landscape, node):
    mask, paste = square(20, 20, 20), square(10, 30, 20).maximum(square(10, 50, 5, 0.5))
    out = fill(node, mask=mask, stitch_mask=paste)[0]
    assert kept(landscape[:1], out, paste) and not torch.equal(out, landscape[:1])
    plain = fill(node, mask=mask)[0]
    both = (mask > 0) & (paste == 1)
    torch.testing.assert_close(out[both], plain[both], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="3 stitch masks"):
        fill(node, mask=mask, stitch_mask=paste.expand(3, -1, -1))


@pytest.mark.parametrize("node", NODES)
def test_a_stitch_mask_makes_nothing_opaque_that_was_not_filled(host, fill, node):
    """A cut-out with a small hole: the network sees 64 pixels around it."""
    picture = host.call("RAI_DrawLandscape", size=192, batch_size=2, seed=7, time_of_day="any")[0]
    image = torch.cat([picture, torch.zeros(2, 192, 192, 1)], -1)
    mask, everywhere = torch.zeros(1, 192, 192), torch.ones(1, 96, 96)
    mask[:, 30:40, 20:40] = 1
    out = fill(node, image=image, mask=mask, stitch_mask=everywhere)[0]
    opaque = out[..., 3] == 1
    assert opaque[mask.expand(2, -1, -1) > 0].all() and opaque[(out[..., :3] != picture).any(-1)].all()
    assert opaque.sum() <= 2 * 64 * 64 and torch.equal(out[~opaque], image[~opaque])


def test_a_source_mask_names_where_patches_come_from(fill, landscape):
    mask, source = square(24, 24, 12), square(40, 0, 24)
    out = fill("RAI_FillFromPicture", mask=mask, source_mask=source)[0]
    assert kept(landscape[:1], out, mask) and not torch.equal(out, fill("RAI_FillFromPicture", mask=mask)[0])


@pytest.mark.parametrize("node", [*NODES, "RAI_FillFromPicture"])
def test_a_batch_of_frames_is_exact_outside_a_moving_mask_with_one_bar_for_all(host, fill, node, monkeypatch):
    import comfy.utils

    frames = host.call("RAI_DrawLandscape", size=128, batch_size=4, seed=7, time_of_day="any")[0][:, 40:88]
    mask = torch.zeros(4, 48, 128)
    for k in range(4):
        mask[k, 20:30, 20 * k : 30 * k + 12] = 1  # crops of different sizes
    seen = []
    monkeypatch.setattr(
        comfy.utils, "ProgressBar", lambda total: type("Bar", (), {"update_absolute": lambda _, *report: seen.append(report)})()
    )
    out = fill(node, image=frames, mask=mask, **({"frames": True} if "Fill" in node else {}))[0]
    assert out.shape == frames.shape and kept(frames, out, mask)
    assert all((out[k] - frames[k])[mask[k] > 0].abs().mean() > 1e-3 for k in range(4))
    done = [value / total for value, total, _ in seen]
    assert len(done) > 4 and done == sorted(done) and done[-1] == 1, "one bar for all, that never goes back"
    assert "GradPaint" in node or seen[0][2] is not None, "a preview with the first report"  # the test's host makes none of latents


def test_old_workflows_keep_their_inputs_in_place(host):
    """The new inputs are optional and last, so that saved widget values stay where they were."""
    for node in NODES:
        assert list(host.info(node)["input"]["optional"])[-2:] == ["context_mask", "stitch_mask"]
    assert list(host.info("RAI_FillFromPicture")["input"]["optional"])[-1] == "source_mask"
    assert not {"context_mask", "stitch_mask", "source_mask"} & defaults(host, "RAI_RADInpaint").keys()
