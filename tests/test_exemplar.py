"""`exemplar_inpaint`: what it promises for every picture, mask, size and dtype, and what it restores."""

import time
import warnings
from functools import partial
from itertools import pairwise
from unittest import mock

import pytest
import torch
from conftest import box_mask, noise_picture, rmse

from rad_core import ExemplarSettings, exemplar_inpaint
from rad_core.exemplar.denoiser import KEYS
from rad_core.exemplar.holes import _cell_depth, group_holes
from rad_core.exemplar.search import search_all
from rad_core.exemplar.settings import PRESETS
from rad_core.sdm.membrane import membrane

quick = partial(exemplar_inpaint, settings="fast")  # where quality does not matter

HOLES = {
    "a pixel": [(20, 20, 1, 1)],
    "left border": [(10, 0, 12, 6)],
    "right border": [(10, 42, 12, 6)],
    "top border": [(0, 10, 6, 12)],
    "bottom border": [(42, 10, 6, 12)],
    "a corner": [(0, 0, 8, 8)],
    "two far apart": [(2, 2, 4, 4), (40, 40, 5, 5)],
    "a line": [(0, 24, 48, 1)],
    "a half": [(0, 0, 48, 24)],
    "ninety per cent": [(0, 0, 43, 48)],
}


@pytest.mark.parametrize("name", HOLES)
def test_a_hole_is_filled_and_known_pixels_are_bit_exact(name):
    image, mask = noise_picture(), torch.zeros(48, 48)
    for hole in HOLES[name]:
        mask = torch.maximum(mask, box_mask(48, 48, *hole))
    spoilt = torch.where(mask > 0, torch.nan, image)
    filled, uncertainty = quick(spoilt, mask)
    assert filled.shape == image.shape and uncertainty.shape == (1, 1, 48, 48)
    assert torch.equal(filled[0][:, mask == 0], image[0][:, mask == 0])
    assert torch.isfinite(filled).all() and filled.min() >= 0 and filled.max() <= 1
    assert (uncertainty[0, 0][mask == 0] == 0).all() and uncertainty.min() >= 0 and uncertainty.max() <= 1
    assert rmse(filled, image, mask) < 0.35  # no black or white holes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_is_kept_and_known_pixels_are_bit_exact(dtype):
    image, mask = noise_picture(dtype=dtype), box_mask(48, 48, 16, 16, 10, 14)
    filled, _ = quick(image, mask)
    assert filled.dtype == dtype
    assert torch.equal(filled[0][:, mask == 0], image[0][:, mask == 0])
    assert rmse(filled.float(), image.float(), mask) < 0.25


def test_no_hole_changes_nothing():
    image = noise_picture()
    filled, uncertainty = exemplar_inpaint(image, torch.zeros(48, 48))
    assert torch.equal(filled, image) and not uncertainty.any()


def test_a_soft_mask_mixes_the_fill_with_the_picture():
    image, hard = noise_picture(), box_mask(48, 48, 16, 16, 12, 12)
    soft = hard * 0.25
    full, _ = quick(image, hard)
    mixed, _ = quick(image, soft)
    assert (full - image).abs().max() > 0.02
    assert torch.allclose(mixed, torch.lerp(image, full, soft), atol=1e-5)


def test_a_picture_does_not_depend_on_its_batch():
    image = noise_picture(3)
    mask = torch.stack([box_mask(48, 48, 10 + 3 * k, 12, 14, 12) for k in range(3)])
    whole, deviation = quick(image, mask, seed=5)
    for k in range(3):
        alone, own = quick(image[k : k + 1], mask[k], seed=5 + k)
        assert torch.equal(alone[0], whole[k]) and torch.equal(own[0], deviation[k])
    listed, _ = quick(image, mask, seed=[7, 6, 5])
    assert torch.equal(listed[2], quick(image[2:], mask[2], seed=5)[0][0])


def test_seeds_give_different_fills_and_fills_follow_each_other():
    image, mask = noise_picture(), box_mask(48, 48, 14, 14, 20, 20)
    many, uncertainty = quick(image, mask, seed=3, fills=2)
    singles = [quick(image, mask, seed=seed) for seed in (3, 4)]
    within = torch.stack([u for _, u in singles]).square().mean(0)
    between = (2 * torch.cat([picture for picture, _ in singles]).double()).var(0).mean(0)  # in [-1, 1]
    assert torch.allclose(uncertainty.double(), (within + between).sqrt().expand(2, -1, -1, -1), atol=1e-6)  # the law of total variance
    assert not (uncertainty * (mask < 1)).any()
    assert torch.equal(many[1], quick(image, mask, seed=4)[0][0])
    assert (many[0] - many[1]).abs().max() > 0.01


def test_stripes_and_checks_are_continued():
    y, x = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    for pattern, bound in (((x // 4) % 2, 0.01), (((x + y) // 5) % 2, 0.01), (((x // 6) + (y // 6)) % 2, 0.1)):
        image = (0.2 + 0.6 * pattern.float()).expand(1, 3, -1, -1)
        mask = box_mask(96, 96, 32, 30, 30, 34)
        filled, _ = exemplar_inpaint(image, mask)
        assert rmse(filled, image, mask) < bound


def test_a_gradient_of_light_is_continued():
    y, x = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 96), indexing="ij")
    image = torch.stack([0.2 + 0.3 * y, 0.4 + 0.3 * y + 0.1 * x, 0.9 - 0.2 * y])[None]
    mask = box_mask(96, 96, 30, 30, 32, 32)
    filled, _ = exemplar_inpaint(image, mask)
    assert rmse(filled, image, mask) < 2 / 255


def test_a_flat_picture_stays_flat():
    image = torch.full((1, 3, 40, 40), 0.37)
    filled, uncertainty = exemplar_inpaint(image, box_mask(40, 40, 10, 10, 14, 14))
    assert (filled - 0.37).abs().max() < 1e-4 and uncertainty.max() < 1e-3


def test_grey_stays_grey():
    image = noise_picture()[:, :1].expand(-1, 3, -1, -1)
    filled, _ = exemplar_inpaint(image, box_mask(48, 48, 10, 10, 14, 14))
    assert (filled.amax(1) - filled.amin(1)).max() < 1e-4


def test_tiny_pictures():
    image = noise_picture(1, 8, 8)
    for hole in ((0, 0, 2, 2), (3, 3, 1, 1), (2, 2, 3, 3)):
        mask = box_mask(8, 8, *hole)
        filled, _ = quick(image, mask)
        assert torch.equal(filled[0][:, mask == 0], image[0][:, mask == 0]) and torch.isfinite(filled).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.isfinite(quick(image[..., :2, :1], torch.tensor([[1.0], [0.0]]))[0]).all()


def test_nothing_known_is_one_sentence():
    with pytest.raises(ValueError, match="Nothing of picture 1 is known"):
        exemplar_inpaint(noise_picture(), torch.ones(48, 48))


def test_a_shredded_picture_is_filled_smoothly_with_a_warning():
    y, x = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 40), indexing="ij")
    image, mask = torch.stack([y, x, 1 - y])[None] * 0.8, torch.zeros(40, 40)
    mask[:, ::2] = 1
    with pytest.warns(UserWarning, match="smoothly"):
        filled, _ = exemplar_inpaint(image, mask)
    assert rmse(filled, image, mask) < 0.03


def test_every_fourth_column_missing_is_restored():
    image, mask = noise_picture(1, 64, 64), torch.zeros(64, 64)
    mask[:, ::4] = 1
    filled, _ = exemplar_inpaint(image, mask)
    assert rmse(filled, image, mask) < 0.06


@pytest.mark.parametrize("steps", [1, 3])
def test_cancelling_raises_what_the_callback_raised(steps):
    calls = []

    def callback(step, total, picture):
        calls.append(step)
        assert 1 <= step <= total and picture.shape == (1, 3, 64, 64) and picture.min() >= 0 and picture.max() <= 1
        if len(calls) == steps:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        quick(noise_picture(1, 64, 64), box_mask(64, 64, 20, 20, 20, 20), callback=callback)
    assert len(calls) == steps


def test_the_callback_moves_and_ends():
    calls = []
    image, mask = noise_picture(2, 64, 64), box_mask(64, 64, 20, 20, 20, 20)
    plain, _ = quick(image, mask)
    shown, _ = quick(image, mask, callback=lambda *args: calls.append(args))
    assert torch.equal(plain, shown)
    assert [c[0] for c in calls] == sorted(c[0] for c in calls) and calls[-1][0] == calls[-1][1]
    assert (calls[0][2] - calls[len(calls) // 3][2]).abs().max() > 0.01


def test_cancelling_is_quick_on_a_large_picture():
    image = noise_picture(1, 1200, 1600)
    mask, times = box_mask(1200, 1600, 300, 400, 400, 500), []

    def callback(*_):
        times.append(time.monotonic())
        if len(times) > 12:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        exemplar_inpaint(image, mask, callback=callback)
    assert max(b - a for a, b in pairwise(times)) < 2  # of a busy machine


def test_references_are_used_and_masked():
    g = torch.Generator().manual_seed(3)
    texture = torch.rand(3, 40, 40, generator=g) * torch.tensor([0.2, 1, 0.2])[:, None, None]
    image = torch.cat([texture, 1 - texture], 2)[None]  # only the left half looks like the reference
    mask = torch.zeros(40, 80)
    mask[:, :34] = 1
    mask[:, 60:] = 1
    plain, _ = quick(image, mask)
    helped, _ = quick(image, mask, references=[texture])
    refused, _ = quick(image, mask, references=[texture], reference_masks=[torch.full((40, 40), 0.2)])  # grey counts
    left = (slice(None), slice(None), slice(None), slice(0, 30))
    assert rmse(helped[left], image[left], torch.ones(40, 30)) < 0.6 * rmse(plain[left], image[left], torch.ones(40, 30))
    assert torch.equal(refused, plain)


def test_a_whole_hole_is_drawn_from_a_reference():
    texture = (torch.arange(40) // 4 % 2).float().expand(1, 3, 40, 40) * 0.8
    filled, _ = exemplar_inpaint(torch.zeros(1, 3, 32, 32), torch.ones(32, 32), references=texture)
    assert filled.std() > 0.25 and (filled[..., 1:, :] - filled[..., :-1, :]).abs().mean() < 0.05


def test_wrong_references_are_refused():
    image, mask = noise_picture(), box_mask(48, 48, 10, 10, 8, 8)
    for arguments in (
        {"references": torch.zeros(1, 4, 9, 9)},
        {"references": [torch.zeros(3, 9, 9)], "reference_masks": torch.zeros(2, 9, 9)},
        {"references": [torch.full((3, 9, 9), 2.0)]},
        {"reference_masks": torch.zeros(1, 9, 9)},
        {"settings": "none"},
        {"fills": 0},
        {"uncertainty": torch.full((48, 48), 1.6)},
    ):
        with pytest.raises(ValueError, match=r"\.$"):
            exemplar_inpaint(image, mask, **arguments)


def test_what_comes_first_in_the_order_spreads():
    image = torch.zeros(1, 3, 48, 96)
    image[:, 0, :, :48], image[:, 2, :, 48:] = 0.9, 0.9
    image += 0.05 * torch.rand(1, 3, 48, 96, generator=torch.Generator().manual_seed(1))
    mask = box_mask(48, 96, 0, 30, 48, 36)
    ramp = torch.linspace(0, 1, 96).expand(48, 96)
    red = [float((f[0, 0] > f[0, 2])[:, 30:66].float().mean()) for f in (quick(image, mask, order=o)[0] for o in (ramp, 1 - ramp))]
    assert red[0] > red[1] + 0.1


def test_uncertainty_keeps_and_refines():
    image = (0.2 + 0.6 * (torch.arange(64) // 4 % 2)).expand(1, 3, 64, 64)
    mask = box_mask(64, 64, 16, 16, 32, 32)
    start = (image + 0.1 * mask * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    map_ = torch.full((64, 64), 0.5)
    map_[:, :32] = 0
    refined, deviation = exemplar_inpaint(start, mask, uncertainty=map_)
    assert torch.equal(refined[..., :32], start[..., :32]) and not deviation[..., :32].any()
    right = mask * (map_ > 0)
    assert rmse(refined, image, right) < 0.5 * rmse(start, image, right)
    little = exemplar_inpaint(start, mask, uncertainty=torch.full((64, 64), 0.02))[0]
    assert (little - start).abs().max() < 0.05
    anew = exemplar_inpaint(start, mask, uncertainty=torch.ones(64, 64), sigma=0.0)[0]
    assert rmse(anew, image, mask) < 0.1 * rmse(start, image, mask)  # without noise too


def test_far_holes_are_filled_alone_and_scratches_in_tiles():
    settings = ExemplarSettings()
    hole = torch.zeros(600, 900, dtype=torch.bool)
    hole[20:40, 20:40] = hole[550:570, 850:880] = True
    groups = group_holes(hole, settings)
    assert len(groups) == 2 and all(group.area < 200 * 200 for group in groups)
    y, x = torch.meshgrid(torch.arange(1400), torch.arange(2000), indexing="ij")
    for scratch, fewest in ((((y - 300).abs() < 2), 1), (((y * 1.4 - x).abs() < 2), 4)):
        tiles = group_holes(scratch, settings)
        assert len(tiles) >= fewest and sum(tile.area for tile in tiles) < 1400 * 2000 / 2
        assert sum(int(tile.pixels.sum()) for tile in tiles) == int(scratch.sum())


def test_a_scratch_is_better_than_a_membrane():
    y, x = torch.meshgrid(torch.arange(60), torch.arange(420), indexing="ij")
    image = (0.5 + 0.3 * torch.sin(x * 0.9 + y * 0.7) * torch.sin(y * 0.8 - x * 0.3)).expand(1, 3, -1, -1)
    mask = torch.zeros(60, 420)
    mask[28:33] = 1
    filled, _ = exemplar_inpaint(image, mask)
    smooth = membrane(image * (1 - mask), (1 - mask)[None, None])
    assert rmse(filled, image, mask) < 0.5 * rmse(smooth, image, mask)


def test_a_picture_narrower_than_a_patch_takes_smaller_ones_from_its_reference():
    """4 rows, all hole but one column; a patch of 5 fits into the reference alone."""
    stream = torch.Generator().manual_seed(0)
    picture, reference = torch.rand(1, 3, 4, 24, generator=stream), torch.rand(1, 3, 27, 27, generator=stream)
    mask = torch.ones(4, 24)
    mask[:, :3] = 0
    for preset in PRESETS:
        filled, _ = exemplar_inpaint(picture, mask, preset, references=reference)
        assert torch.isfinite(filled).all() and torch.equal(filled[..., :3], picture[..., :3])
        colours = torch.cat([x.flatten(2)[0].T for x in (picture[..., :3], reference)])
        assert filled[0, :, :, 3:].std() > 0.05 and filled.min() >= colours.min() - 0.5 and filled.max() <= 1


def test_a_blend_that_holds_no_colour_is_finite():
    image, mask = noise_picture(), box_mask(48, 48, 14, 14, 20, 20)
    assert torch.isfinite(quick(image, mask, eps=0.0)[0]).all()


def test_progress_does_not_jump_at_the_end_of_many_small_holes():
    image, mask, steps = noise_picture(1, 240, 240), torch.zeros(240, 240), []
    mask[20::100, 20::100] = 1
    quick(image, mask, callback=lambda step, *_: steps.append(step))
    assert steps == sorted(steps) and steps[-1] == 100 and max(after - before for before, after in pairwise(steps)) < 30


def test_the_last_preview_is_the_fill():
    image, mask, shown = noise_picture(1, 40, 40), box_mask(40, 40, 8, 8, 24, 24), []
    filled, _ = quick(image, mask, callback=lambda step, steps, picture: shown.append(picture))
    assert shown[-1].shape == filled.shape and torch.allclose(shown[-1], filled, atol=1e-6)


def test_a_tiny_hole_beside_a_large_reference_takes_no_more_memory_than_its_patches():
    image, mask = noise_picture(1, 40, 40), box_mask(40, 40, 20, 20, 1, 1)
    reference = noise_picture(1, 500, 400, seed=3)[0]
    searched = []
    with mock.patch("rad_core.exemplar.denoiser.search_all", lambda *args: searched.append(len(args[2])) or search_all(*args)):
        filled, _ = quick(image, mask, references=[reference])
    assert max(searched) == KEYS and sum(searched) <= 4 * KEYS  # not all 196,000 patches in each of ten steps
    assert not torch.equal(filled, image) and (filled - image).abs().max() < 0.5


def test_a_reference_of_the_pictures_size_serves_from_afar_where_it_shows_little_around_the_hole():
    image, mask = torch.full((1, 3, 160, 160), 0.4), box_mask(160, 160, 8, 8, 16, 16)
    red = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1) + 0.05 * noise_picture(1, 160, 160)
    hidden = 1 - box_mask(160, 160, 124, 124, 36, 36)
    filled, _ = quick(image, mask, references=red, reference_masks=hidden[None], source_mask=mask, poisson=0)
    assert (filled[0][:, mask > 0].mean(1) - red[0, :, 124:, 124:].mean((1, 2))).abs().max() < 0.03


def test_a_picture_and_references_that_show_nothing_are_refused():
    image, hidden = noise_picture(), torch.ones(48, 48)
    for references, masks in ((noise_picture(), torch.ones(1, 48, 48)), (torch.rand(1, 3, 1, 1), None)):
        with pytest.raises(ValueError, match="Nothing of picture 1 is known"):
            quick(image, hidden, references=references, reference_masks=masks)
    with pytest.raises(ValueError, match="source mask leaves nothing"):
        hole = box_mask(48, 48, 8, 8, 24, 24)
        quick(image.expand(2, -1, -1, -1), hole, source_mask=hole, frames=True)
    with pytest.raises(ValueError, match="too narrow for patches"):
        quick(noise_picture(1, 2, 48), torch.ones(2, 48), references=noise_picture())


def test_settings_are_finite():
    for name in ("reach", "near", "sigma_max"):
        with pytest.raises(ValueError, match=f"{name} must be a finite number"):
            ExemplarSettings(**{name: float("inf")})
    filled, _ = quick(noise_picture(), box_mask(48, 48, 20, 20, 6, 6), limit=float("inf"))
    assert torch.isfinite(filled).all()


def test_the_steps_of_a_level_count_from_the_coarsest_and_the_last_number_serves_the_finer_ones():
    assert [ExemplarSettings(steps=(7, 5, 2)).steps_of(level) for level in (0, 1, 2, 9)] == [7, 5, 2, 2]


def test_the_depth_of_cells_is_their_distance_from_others_and_the_outside_is_hole():
    full = torch.ones(5, 7)
    assert (_cell_depth(full) == 7).all(), "nothing is known"
    full[2, 6] = 0
    expected = torch.stack([(6 - torch.arange(7.0)).clamp(min=abs(row - 2)) for row in range(5)])
    assert torch.equal(_cell_depth(full), expected)


def test_grouping_takes_no_longer_where_a_hole_is_deep():
    hole = torch.zeros(1000, 1000, dtype=torch.bool)
    hole[50:-50, 50:-50] = True
    with mock.patch("torch.nn.functional.max_pool2d", wraps=torch.nn.functional.max_pool2d) as pool:
        assert len(group_holes(hole, PRESETS["default"])) == 1
    assert pool.call_count <= 2, "a pass over the picture for every eight pixels of depth"
