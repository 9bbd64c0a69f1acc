"""Masks apart from the hole: what a model may see (context mask, source mask), and what is pasted back (stitch mask)."""

import pytest
import torch

from rad_core import UNet, UNetConfig, exemplar_inpaint, gradpaint_inpaint, rad_inpaint, sdm_inpaint
from rad_core.boxes import Box, hole_box
from rad_core.frames import steady_boxes
from rad_core.sdm import Generator, SDMConfig

SIDE = 40
VIEWS = ["hole", "whole", "native"]


def unet(region_aware: bool) -> UNet:
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16)).eval().requires_grad_(False)
    net.region_aware = region_aware
    return net


def fillers():
    torch.manual_seed(0)
    sdm = Generator(SDMConfig((16, 16, 32), (1, 2), global_convs=1, latent=32, code=32, heads=2, image_size=16)).eval()
    rad, plain = unet(True), unet(False)
    return {
        "rad": lambda *args, **masks: rad_inpaint(rad, *args, steps=2, **masks),
        "gradpaint": lambda *args, **masks: gradpaint_inpaint(plain, *args, steps=2, **masks),
        "sdm": lambda *args, **masks: sdm_inpaint(sdm.requires_grad_(False), *args, iterations=2, **masks)[0],
    }


FILLERS = fillers()


def picture(seed=0):
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def square(top, left, side, value=1.0):
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., top : top + side, left : left + side] = value
    return mask


HOLE, CONTEXT = square(14, 16, 8), square(12, 4, 20)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("method", FILLERS)
def test_what_is_outside_the_context_mask_is_not_looked_at(method, view):
    image, fill = picture(), FILLERS[method]
    out = fill(image, HOLE, view=view, context_mask=CONTEXT)
    known = (HOLE == 0).expand_as(image)
    assert torch.equal(out[known], image[known]) and not torch.equal(out, fill(image, HOLE, view=view))
    elsewhere = torch.where(CONTEXT > 0, image, picture(1))
    assert torch.equal(fill(elsewhere, HOLE, view=view, context_mask=CONTEXT)[~known], out[~known])
    inside = torch.where(square(12, 5, 6) > 0, picture(1), image)
    assert not torch.equal(fill(inside, HOLE, view=view, context_mask=CONTEXT)[~known], out[~known])


@pytest.mark.parametrize("method", FILLERS)
def test_what_is_outside_the_stitch_mask_comes_back_bit_exact(method):
    image, fill, mask = picture(), FILLERS[method], square(14, 16, 12)
    stitch = square(10, 20, 12).maximum(square(10, 32, 4, 0.5))
    plain = fill(image, mask, view="native")
    out = fill(image, mask, view="native", stitch_mask=stitch)
    kept = (stitch == 0).expand_as(image)
    assert torch.equal(out[kept], image[kept]) and not torch.equal(out, image)
    both = ((mask > 0) & (stitch == 1)).expand_as(image)
    assert torch.equal(out[both], plain[both]), "the fill is the same: only what is pasted differs"


def test_masks_for_each_picture_and_of_another_size():
    image, fill = picture(), FILLERS["rad"]
    masks = torch.cat([square(10, 20, 12), torch.ones(1, 1, SIDE, SIDE)])
    out = fill(image, HOLE, stitch_mask=masks, context_mask=torch.ones(2 * SIDE, 2 * SIDE))
    torch.testing.assert_close(out[1], fill(image, HOLE, stitch_mask=torch.ones(SIDE, SIDE), context_mask=torch.ones(SIDE, SIDE))[1])
    assert torch.equal(out[0][:, masks[0, 0] == 0], image[0][:, masks[0, 0] == 0])
    with pytest.raises(ValueError, match="stitch mask"):
        fill(image, HOLE, stitch_mask=masks[:1].expand(3, -1, -1, -1))


def test_the_crop_reaches_as_far_as_the_context_mask():
    far = square(0, 0, 4)
    assert hole_box(HOLE[0], 5.0, 8, far[0]) == Box(0, 0, 24, 24) and hole_box(HOLE[0], 0.0, 8, HOLE[0]) == Box(14, 16, 8, 8)
    boxes = steady_boxes(HOLE.expand(3, -1, -1, -1), 5.0, 8, far.expand(3, -1, -1, -1))
    assert set(boxes) == {Box(0, 0, 24, 24)}


def test_patches_come_from_the_source_mask_alone():
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.3
    image[:, 0, :, :24] += 0.6  # a red part, and a blue one with the hole
    image[:, 2, :, 24:] += 0.6
    mask, source = torch.zeros(64, 64), torch.zeros(64, 64)
    mask[24:40, 40:56], source[:, :24] = 1, 1
    redder = lambda out: (out[0, 0] - out[0, 2])[mask > 0].mean()
    assert redder(exemplar_inpaint(image, mask, "fast")[0]) < -0.3
    out, _ = exemplar_inpaint(image, mask, "fast", source_mask=source, poisson=0)
    assert redder(out) > 0.3 and torch.equal(out[0, :, mask == 0], image[0, :, mask == 0])
    assert torch.equal(exemplar_inpaint(image, mask, "fast", source_mask=source.clamp(min=0.4), poisson=0)[0], out), "white alone counts"
    torch.testing.assert_close(
        exemplar_inpaint(image, mask, "fast", source_mask=torch.ones(64, 64))[0], exemplar_inpaint(image, mask, "fast")[0]
    )
    with pytest.raises(ValueError, match="source mask"):
        exemplar_inpaint(image, mask, source_mask=mask)


@pytest.mark.parametrize("method", FILLERS)
def test_a_soft_stitch_mask_mixes_in_no_content_that_is_not_finite(method):
    spoilt = torch.where(HOLE > 0, torch.nan, picture())
    assert torch.isfinite(FILLERS[method](spoilt, HOLE, stitch_mask=HOLE / 2)).all()


def test_soft_pixels_that_may_not_be_seen_still_change_little():
    image, mask = picture(), square(14, 16, 8).maximum(square(30, 30, 4, 0.05))
    out = FILLERS["rad"](image, mask, view="native", context_mask=CONTEXT)
    assert 0 < (out - image)[..., 30:34, 30:34].abs().max() <= 0.05


def test_light_around_a_hole_is_not_taken_off_patches_from_elsewhere():
    y = torch.linspace(0, 1, 160)[:, None].expand(160, 160)
    grain = 0.01 * torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    sky = torch.stack([0.3 + 0.9 * (y - 0.1) ** 2, 0.5 + 0.5 * (y - 0.1) ** 2, 0.85 - 0.1 * y])[None] + grain
    wall = torch.tensor([0.55, 0.3, 0.2]).view(1, 3, 1, 1)
    image, mask, far = sky.clone(), torch.zeros(160, 160), torch.zeros(160, 160)
    image[..., 110:, :] = wall + 10 * grain[..., 110:, :]
    mask[30:60, 60:100], far[114:] = 1, 1
    from_wall = exemplar_inpaint(image, mask, "fast", source_mask=far, poisson=0)[0]
    assert (from_wall[0][:, mask > 0].mean(1) - wall.flatten() - 0.05).abs().max() < 0.03
    own = torch.zeros(160, 160)
    own[:100] = 1  # of the sky, where the light holds
    from_sky = exemplar_inpaint(image, mask, "fast", source_mask=own)[0]
    assert (from_sky - sky)[0][:, mask > 0].abs().mean() < 0.01
