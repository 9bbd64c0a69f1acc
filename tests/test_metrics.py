import math

import pytest
import torch

from rad_core.evaluation.metrics import hole_rmse, psnr, rank_correlation, rim_jump, seam, texture
from rad_core.evaluation.scene import SceneReader, frechet_distance, perceptual_distance

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


def test_rank_correlation_is_spearmans():
    a = torch.tensor([3.0, 1.0, 4.0, 1.5, 9.0])
    assert rank_correlation(a, a.exp()) == pytest.approx(1) and rank_correlation(a, -a) == pytest.approx(-1)
    b = torch.tensor([2.0, 7.0, 1.0, 8.0, 3.0])  # 1 - 6 sum d^2 / (n (n^2 - 1)), ranks 3 1 4 2 5 and 2 4 1 5 3
    assert rank_correlation(a, b) == pytest.approx(1 - 6 * (1 + 9 + 9 + 9 + 4) / 120)


def test_frechet_distance_of_gaussians_is_the_closed_form():
    """|m - m'|^2 + sum (s - s')^2 where covariances are diagonal; with samples whitened to have exactly these moments."""
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)).double()
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T
    s, t = torch.tensor([1.0, 2.0, 0.5, 3.0]).double(), torch.tensor([1.5, 1.0, 0.5, 4.0]).double()
    shift = torch.tensor([0.3, 0.0, -1.0, 0.2]).double()
    expected = float(shift.square().sum() + (s - t).square().sum())
    assert frechet_distance(white * s, white * t + shift) == pytest.approx(expected, rel=1e-6)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)).double())
    assert frechet_distance(white * s @ turn, (white * t + shift) @ turn) == pytest.approx(expected, rel=1e-6)


def test_perceptual_distance_is_0_for_the_same_and_grows():
    reader = SceneReader().requires_grad_(False)
    picture, noise = torch.rand(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    near, far = (perceptual_distance(reader, picture, picture + scale * noise) for scale in (0.02, 0.2))
    assert not perceptual_distance(reader, picture, picture).any() and (near < far).all() and near.shape == (2,)
