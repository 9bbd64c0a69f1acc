"""Matching a fill to its picture: known drifts come off, what is outside the hole stays."""

import pytest
import torch
from conftest import hole_changed

from rad_core.matching import match_fill
from rad_core.synthetic import landscapes

SIDE = 96
MASK = torch.zeros(1, 1, SIDE, SIDE)
MASK[..., 30:70, 24:64] = 1
PICTURES = landscapes(4, SIDE, seed=5) * 0.8 + 0.1
Y, X = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")


@pytest.mark.parametrize(
    ("drift", "left"),
    [
        (torch.tensor([0.06, -0.04, 0.02]).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE), 0.01),  # a shift of colour
        ((0.05 * X + 0.04 * Y).expand(1, 3, SIDE, SIDE), 0.25),  # light that changes over the picture
    ],
)
def test_a_smooth_drift_comes_off(drift, left):
    noise = 0.01 * torch.randn(PICTURES.shape, generator=torch.Generator().manual_seed(0))  # a VAE's loss of detail
    filled = PICTURES + drift + noise
    error = lambda out: ((out - PICTURES - noise).square() * MASK).sum().sqrt()
    out = match_fill(filled, PICTURES, MASK)
    assert error(out) < left * error(filled) + 0.03 * error(PICTURES)  # the ring's noise is a little of the estimate
    half = match_fill(filled, PICTURES, MASK, strength=0.5)
    assert error(out) < error(half) < error(filled)


def test_pixels_outside_the_mask_are_bit_exact_and_grey_mixes():
    grey = MASK.clone()
    grey[..., 30:34, :] *= 0.5
    filled = PICTURES.flip(3)
    for dtype in (torch.float32, torch.float16):
        image = PICTURES.to(dtype)
        out = match_fill(filled, image, grey)
        assert out.dtype == dtype and torch.equal(out[(grey == 0).expand_as(out)], image[(grey == 0).expand_as(out)])
        assert hole_changed(out, image, grey.expand(4, -1, -1, -1))
    hard, soft = match_fill(filled, PICTURES, MASK), match_fill(filled, PICTURES, grey)
    middle = (slice(None), slice(None), 32, 40)
    assert ((soft[middle] - PICTURES[middle]).abs() < (hard[middle] - PICTURES[middle]).abs() + 0.02).all()


def test_odd_inputs():
    small = torch.nn.functional.avg_pool2d(PICTURES, 2)
    assert match_fill(small, PICTURES, MASK).shape == PICTURES.shape
    assert torch.equal(match_fill(PICTURES, PICTURES, torch.ones_like(MASK)), PICTURES)  # nothing is known
    assert torch.equal(match_fill(PICTURES.flip(3), PICTURES, torch.zeros_like(MASK)), PICTURES)  # no hole
    for wrong in ({"ring": 0}, {"strength": 1.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            match_fill(PICTURES, PICTURES, MASK, **wrong)
    with pytest.raises(ValueError, match="do not fit"):
        match_fill(PICTURES[:3], PICTURES, MASK)


def test_a_single_fill_picture_or_mask_serves_all_others():
    fills, masks = PICTURES.flip(3), torch.cat([MASK.roll(4 * k, 3) for k in range(4)])
    for some in ((fills, PICTURES[:1], MASK), (fills, PICTURES[:1], masks), (fills[:1], PICTURES, MASK), (fills[:1], PICTURES[:1], masks)):
        every = [maps.expand(4, -1, -1, -1) for maps in some]
        alone = [match_fill(*(maps[k : k + 1] for maps in every)) for k in range(4)]
        torch.testing.assert_close(match_fill(*some), torch.cat(alone), atol=1e-6, rtol=0)


def test_nan_in_a_fill_is_refused_in_the_hole_and_ignored_elsewhere():
    filled = PICTURES[:1] + 0.05
    filled[0, :, 0, 0] = torch.nan
    out = match_fill(filled, PICTURES[:1], MASK)
    assert out.isfinite().all() and ((out - PICTURES[:1]) * MASK).abs().max() < 0.02
    filled[0, 1, 40, 40] = torch.inf
    with pytest.raises(ValueError, match="The fill has NaN or infinite values in the hole"):
        match_fill(filled, PICTURES[:1], MASK)


def test_grey_mixes_in_proportion_and_what_is_beyond_the_ring_does_not_count():
    picture = PICTURES[:1]
    filled, grey = picture.flip(3), MASK * torch.rand(MASK.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(match_fill(filled, picture, grey, strength=0.0), torch.lerp(picture, filled, grey))
    far = filled.clone()
    far[..., :16, :] = 1 - far[..., :16, :]
    assert torch.equal(*(match_fill(one, picture, MASK, ring=8)[..., 30:70, 24:64] for one in (filled, far)))
