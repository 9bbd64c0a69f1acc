"""Comparing fills: the numbers, and the sheet that shows them."""

import numpy as np
import torch

from rad_core import landscapes
from rad_core.compare import FAULT, compare, comparison
from rad_core.masks import box_masks


def test_a_perfect_fill_a_grey_one_and_one_that_touched_what_is_known():
    truth, mask = landscapes(2, 32, seed=3), box_masks(2, 32, 32, seed=1).gt(0.5).float()
    grey = torch.where(mask > 0, 0.5, truth)
    careless = (truth + 0.25).clamp(max=1)
    rows = compare(truth, mask, {"perfect": truth, "grey": grey, "careless": careless})
    assert rows["perfect"]["hole RMSE"] == 0 and rows["perfect"]["seam"] == 1 and abs(rows["perfect"]["SSIM"] - 1) < 1e-6
    assert rows["grey"]["texture"] < 0.7 and rows["grey"]["changed outside"] == 0
    assert abs(rows["careless"]["changed outside"] - 0.25) < 1e-6
    by_hand = np.sqrt((((grey - truth) ** 2).numpy() * mask.numpy()).sum((1, 2, 3)) / (3 * mask.numpy().sum((1, 2, 3)))).mean()
    assert abs(rows["grey"]["hole RMSE"] - by_hand) < 1e-6


def test_the_sheet_has_the_pictures_and_the_table():
    truth, mask = landscapes(1, 32, seed=3), torch.zeros(1, 1, 32, 32)
    mask[:, :, 8:20, 8:20] = 1
    sheet, table = comparison(truth, mask, {"a": truth, "b": torch.where(mask > 0, 0.0, truth)}, cell=64)
    assert [line.split("|")[1].strip() for line in table.splitlines()] == ["", "---", "a", "b"]
    pixels = np.array(sheet)
    table_of = pixels[pixels.shape[0] - 60 :]
    assert (table_of < 100).any(), "the table is written below"
    assert pixels.shape[1] > 4 * 64


def test_the_best_value_of_each_line_is_marked_and_a_tie_of_all_is_not():
    truth, mask = landscapes(1, 64, seed=3), box_masks(1, 64, 64, seed=1)
    grey, worse = (torch.where(mask > 0, value, truth) for value in (0.5, 1.0))
    green = lambda sheet: (np.array(sheet) == [0xC8, 0xF0, 0xC8]).all(-1)
    sheet, _ = comparison(truth, mask, {"grey": grey, "worse": worse})
    columns = green(sheet).any(0).reshape(-1)
    left = columns[2 * sheet.width // 4 + 8 : 3 * sheet.width // 4 - 8]
    assert left.any() and green(sheet).sum() > 0 and FAULT["PSNR"](30) < FAULT["PSNR"](20) and FAULT["seam"](0.9) < FAULT["seam"](1.2)
    assert not green(comparison(truth, mask, {"a": grey, "b": grey})[0]).any()
    assert not green(comparison(truth, mask, {"alone": grey})[0]).any()
    swapped = green(comparison(truth, mask, {"worse": worse, "grey": grey})[0])
    assert swapped[:, : sheet.width // 4 * 3].sum() == green(sheet)[:, sheet.width // 4 * 3 :].sum(), "marks follow the fills"


def test_a_picture_without_a_hole_does_not_count():
    truth, mask = landscapes(2, 32, seed=3), box_masks(2, 32, 32, seed=1).gt(0.5).float()
    mask[1] = 0
    grey = torch.where(mask > 0, 0.5, truth)
    assert compare(truth, mask, {"grey": grey}) == compare(truth[:1], mask[:1], {"grey": grey[:1]})
    assert compare(truth, 0 * mask, {"grey": truth})["grey"]["hole RMSE"] == 0


def test_a_grey_pixel_may_change():
    picture, mask = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 1, 8, 8)
    mask[..., 2:5, 2:5], mask[..., 5, 5] = 1, 0.3
    assert compare(picture, mask, {"fill": picture + 0.1 * (mask > 0)})["fill"]["changed outside"] == 0
