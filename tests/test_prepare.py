"""Holes made ready, pictures made larger, and the heat map."""

import pytest
import torch
from PIL import ImageDraw

from rad_core import landscapes
from rad_core.heat import COLOURS, colour, heat_map
from rad_core.prepare import extend, prepare_masks


def ring_and_speck():
    """A ring of 7x7 with an island of one pixel, and a speck of two pixels: (1, 1, 32, 32)."""
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 5:12, 5:12] = 1
    mask[..., 8, 8] = 0
    mask[..., 25, 25] = mask[..., 26, 26] = 1  # they touch at a corner
    return mask


def test_nothing_asked_changes_nothing():
    mask = ring_and_speck() * 0.7
    assert torch.equal(prepare_masks(mask), mask)


def test_specks_go_and_larger_holes_stay():
    assert prepare_masks(ring_and_speck(), specks=2).sum() == 50
    assert prepare_masks(ring_and_speck(), specks=3).sum() == 48
    assert prepare_masks(ring_and_speck(), specks=49).sum() == 0


def test_islands_become_hole():
    mask = ring_and_speck()
    filled = prepare_masks(mask, fill=True)
    assert filled[..., 8, 8] == 1 and filled.sum() == 51
    assert torch.equal(filled, torch.maximum(mask, filled))


def test_snapping_covers_every_cell_that_the_hole_touches_and_no_other():
    mask = ring_and_speck()[..., :30, :29]  # no multiple of the cell
    snapped = prepare_masks(mask, grid=8)
    for y in range(0, 30, 8):
        for x in range(0, 29, 8):
            cell = (..., slice(y, y + 8), slice(x, x + 8))
            assert (snapped[cell] == mask[cell].max()).all()


def test_the_soft_rim_lies_outside_and_falls_with_the_distance():
    mask = torch.zeros(1, 1, 9, 21)
    mask[..., :5] = 1
    soft = prepare_masks(mask, feather=3)
    assert torch.equal(soft[..., :5], mask[..., :5])
    assert torch.allclose(soft[0, 0, 4, 5:10], torch.tensor([0.75, 0.5, 0.25, 0.0, 0.0]))
    assert torch.equal(prepare_masks(torch.zeros_like(mask), feather=3), torch.zeros_like(mask)), "without a hole there is no rim"


def test_the_steps_come_in_their_order_and_masks_do_not_mix():
    mask = torch.cat([ring_and_speck(), 1 - ring_and_speck()])
    both = prepare_masks(mask, specks=3, fill=True, grow=2, grid=4, feather=2)
    alone = [prepare_masks(one[None], specks=3, fill=True, grow=2, grid=4, feather=2) for one in mask]
    assert torch.equal(both, torch.cat(alone))
    assert torch.equal(prepare_masks(mask[:1], invert=True), mask[1:])
    with pytest.raises(ValueError, match="0 or more"):
        prepare_masks(mask, grow=-1)


def test_a_larger_picture_keeps_its_old_pixels_and_marks_its_new_ones():
    picture = landscapes(2, 32, seed=1)
    larger, mask = extend(picture, left=8, bottom=16)
    assert larger.shape == (2, 3, 48, 40) and mask.shape == (1, 1, 48, 40)
    assert torch.equal(larger[..., :32, 8:], picture) and mask[..., :32, 8:].sum() == 0
    assert mask.sum() == 48 * 40 - 32 * 32
    assert torch.equal(larger[..., :32, 0], picture[..., 0])
    with pytest.raises(ValueError, match="at least one side"):
        extend(picture)


def test_heat_is_lighter_where_more_is_uncertain_and_grey_where_nothing_is():
    assert (COLOURS.mean(1).diff() > 0).all()
    level = torch.linspace(0, 1, 11).view(1, 1, 1, -1)
    assert torch.allclose(colour(level)[0, :, 0, ::2].T, COLOURS, atol=1e-6)
    picture, doubt = landscapes(1, 64, seed=1), torch.zeros(1, 1, 64, 64)
    doubt[..., 20:40, 20:30], doubt[..., 20:40, 30:40] = 0.02, 0.1
    shown, scale = heat_map(picture, doubt)
    assert abs(scale - 0.1) < 1e-6
    certain = shown[0, :, 0]
    assert torch.equal(certain[0], certain[1]) and torch.equal(certain[1], certain[2]), "grey"
    assert shown[..., 20:40, 30:40].mean() > shown[..., 20:40, 20:30].mean() + 0.2
    assert heat_map(picture, doubt, scale=0.5)[1] == 0.5 and heat_map(picture, 0 * doubt)[1] == 1
    with pytest.raises(ValueError, match="NaN or infinite"):
        heat_map(picture, doubt.fill_(torch.nan))


def test_a_legend_is_drawn_where_there_is_room():
    picture, doubt = torch.zeros(1, 3, 200, 320), torch.full((1, 1, 200, 320), 0.25)
    with_legend, _ = heat_map(picture, doubt)
    without, _ = heat_map(picture, doubt, legend=False)
    changed = (with_legend - without).abs().amax(1)[0] > 0.05
    assert changed[170:, :200].any() and not changed[:160].any()
    below_black, _ = heat_map(picture - 0.01, 0 * doubt)  # as resizing leaves it
    assert below_black[..., :160, :].max() == 0


def test_holes_are_cleaned_then_filled_then_grown_then_aligned_then_feathered():
    assert prepare_masks(ring_and_speck(), specks=49, fill=True).sum() == 0, "a ring of 48 pixels is a speck before it is filled"
    cell = torch.zeros(1, 1, 16, 16)
    cell[..., 4:8, 4:8] = 1
    assert prepare_masks(cell, grow=1, grid=4).sum() == 5 * 16, "the cell and its four neighbours"


def test_faint_pixels_are_no_body_and_half_ones_are():
    faint, half = 0.3 * ring_and_speck(), 0.6 * ring_and_speck()
    assert torch.equal(prepare_masks(faint, fill=True, feather=3), faint)
    soft = prepare_masks(half, feather=3)
    assert prepare_masks(half, fill=True)[..., 8, 8] == 1 and soft[0, 0, 8, 12:16].tolist() == [0.75, 0.5, 0.25, 0]


def test_the_legend_is_in_percent_of_a_colours_range(monkeypatch):
    """An uncertainty of 1 is half the range."""
    texts, draw = [], ImageDraw.ImageDraw.text
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, at, text, **more: texts.append(text) or draw(self, at, text, **more))
    heat_map(torch.zeros(1, 3, 200, 320), torch.full((1, 1, 200, 320), 0.25), scale=0.5)
    assert texts == ["certain", "25 % of a colour's range"]
