"""Comparing fills: the numbers, and the sheet that shows them."""

import numpy as np
import torch

from rad_core import landscapes
from rad_core.compare import compare, comparison
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
    below = pixels[-18 * 3 :]
    assert (below < 100).any(), "the table is written below"
    assert pixels.shape[1] > 4 * 64
