from itertools import pairwise

import numpy as np
import pytest
import torch

from rad_core import NoiseSchedule, RegionSchedule
from rad_core.schedule import cosine_betas, linear_betas


def test_tables_agree_with_the_authors(oracle):
    schedule = RegionSchedule()
    np.testing.assert_allclose(schedule.phase1.betas, oracle["sched_betas"][:1000], rtol=1e-6)
    assert schedule.nu == pytest.approx(float(oracle["sched_nu"]), rel=1e-6)
    beta_bar = 1 - torch.exp(schedule.phase1.log_alphas.cumsum(0))
    np.testing.assert_allclose(1 - beta_bar, oracle["sched_alphas_cumprod"][:1000], rtol=1e-5)


def test_per_pixel_noise_agrees_with_the_authors(oracle):
    schedule, mask = RegionSchedule(), torch.tensor(oracle["in_mask"])
    for k, t in enumerate(oracle["var_t"].tolist()):
        beta_bar = schedule.beta_bar(mask, torch.tensor([t, t])).numpy()
        # 6e-6 absolute is the float32 rounding of their 1000-fold product
        np.testing.assert_allclose(beta_bar, oracle["var_b_bar"][k], rtol=1e-5, atol=6e-6)


def test_inverse_map_agrees_with_the_authors(oracle):
    schedule, mask = RegionSchedule(), torch.tensor(oracle["in_mask"])
    for k, t in enumerate(oracle["tr_t"].tolist()):
        level = schedule.phase1.level_of_sigma(schedule.sigma(mask, torch.tensor(t)).float()).numpy()
        np.testing.assert_allclose(level, oracle["tr_tmap"][k], rtol=1e-5, atol=5e-4)


def test_binary_mask_maps_to_whole_levels():
    schedule = RegionSchedule()
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0] = 1
    for t in (0, 1, 499, 999):
        level = schedule.phase1.level_of_sigma(schedule.sigma(mask, torch.tensor([t])).float())
        torch.testing.assert_close(level, mask * (t + 1), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_levels_are_linear_in_beta_bar(dtype):
    schedule = NoiseSchedule("cosine")
    square = schedule.level_sigma.square()
    bars = square / (1 + square)
    level = torch.linspace(0, 999, 778, dtype=torch.float64)
    low = level.floor().long()
    bar = torch.lerp(bars[low], bars[low + 1], level - low)
    found = schedule.level_of_sigma((bar / (1 - bar)).sqrt().to(dtype))
    torch.testing.assert_close(found.double(), level, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("t1", "t2"), [(1000, 1000), (1000, 250), (100, 700)])
def test_every_pixel_ends_at_the_common_level(t1, t2):
    schedule = RegionSchedule(NoiseSchedule(linear_betas(t1)), NoiseSchedule(linear_betas(t2)))
    mask = torch.tensor([0.0, 0.1, 0.5, 0.999, 1.0]).view(1, 1, 1, 5)
    end = schedule.beta_bar(mask, torch.tensor([t1 + t2 - 1]))
    torch.testing.assert_close(end, torch.full_like(end, schedule.nu))
    assert (schedule.beta_bar(mask, torch.tensor([-1])) == 0).all()
    half = schedule.beta_bar(mask, torch.tensor([t1 - 1]))
    torch.testing.assert_close(half, schedule.nu * mask.double())  # phase 1 brings each pixel to nu m


def test_noise_never_falls():
    schedule = RegionSchedule(NoiseSchedule("cosine"), "linear")
    mask = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = torch.stack([schedule.beta_bar(mask, torch.tensor([t])) for t in range(-1, 2000, 13)])
    assert (maps.diff(dim=0) >= 0).all()


def test_spacing():
    schedule = NoiseSchedule()
    assert schedule.timesteps(100).tolist() == list(range(990, -1, -10))  # the authors' run
    for steps in (1, 2, 7, 20, 137, 250, 1000):
        times = schedule.timesteps(steps)
        assert len(times) == steps and (steps == 1 or times[-1] == 0) and (times.diff() < 0).all()
    for steps in (0, -1, 1001):
        with pytest.raises(ValueError, match="between 1 and 1000"):
            schedule.timesteps(steps)


def test_sigma_maps_end_clean_and_hold_known_pixels():
    mask = torch.zeros(1, 1, 2, 3)
    mask[..., 1], mask[..., 2] = 0.5, 1
    maps = list(RegionSchedule().sigmas(mask, 10))
    assert len(maps) == 11 and (maps[-1] == 0).all()
    assert all((m[..., 0] == 0).all() for m in maps)
    assert all((a >= b).all() for a, b in pairwise(maps))


def test_cosine_and_bad_betas():
    alpha_bar = torch.cumprod(1 - cosine_betas(1000), 0)
    assert alpha_bar[499].item() == pytest.approx(np.cos((0.5 + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2)
    with pytest.raises(ValueError, match="linear, cosine"):
        NoiseSchedule("square")
    with pytest.raises(ValueError, match="between 0 and 1"):
        NoiseSchedule(torch.tensor([0.1, 1.0]))


def test_ends_of_the_tables():
    assert cosine_betas(1000).max() == cosine_betas(1000)[-1] == 0.999
    assert NoiseSchedule().level_of_sigma(torch.tensor([0.0, 1e6])).tolist() == [0, 1000], "more noise than the last step's is the last's"


def test_an_order_is_the_way_of_its_own_picture():
    """The first picture's parts are all alike, so it is denoised as without an order, whatever the second's are."""
    schedule, mask, order = RegionSchedule(), torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    order[1, ..., 1] = 1
    for plain, ordered in zip(schedule.sigmas(mask, 4), schedule.sigmas(mask, 4, order=order), strict=True):
        assert torch.equal(plain[0], ordered[0])
