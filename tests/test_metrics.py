import math

import pytest
import torch

from rad_core.evaluation.metrics import hole_rmse, psnr, rim_jump, seam, texture

MASK = torch.zeros(1, 1, 12, 12)
MASK[..., 4:8, 4:8] = 1
TRUTH = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_errors_are_counted_in_the_hole_alone():
    out = torch.where(MASK > 0, TRUTH + 0.1, TRUTH + 5)
    assert hole_rmse(out, TRUTH, MASK).item() == pytest.approx(0.1, rel=1e-4)
    assert psnr(out, TRUTH, MASK).item() == pytest.approx(-20 * math.log10(0.1), rel=1e-4)


def test_seam_and_texture_are_1_for_the_truth_and_know_a_step_from_a_flat_fill():
    assert seam(TRUTH, TRUTH, MASK).item() == texture(TRUTH, TRUTH, MASK).item() == 1
    step = MASK.expand(1, 3, 12, 12) * 0.3
    assert rim_jump(step, MASK).item() == pytest.approx(0.3)
    assert rim_jump(torch.zeros(1, 3, 12, 12), MASK).item() == 0
    flat = torch.where(MASK > 0, 0.5, TRUTH)
    assert texture(flat, TRUTH, MASK).item() < 0.5
