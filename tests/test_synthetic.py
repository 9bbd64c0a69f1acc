"""Synthetic landscapes: one seed per picture, the same scene at every size, and the scene is what the picture shows."""

import numpy as np
import pytest
import torch

from rad_core import landscapes


def test_a_landscape_depends_on_its_seed_alone():
    batch = landscapes(5, 48, seed=100)
    assert batch.shape == (5, 3, 48, 48) and batch.min() >= 0 and batch.max() <= 1
    for k in (0, 2, 4):
        assert torch.equal(batch[k], landscapes(1, 48, seed=100 + k)[0])


def test_the_same_scene_at_every_size():
    small, large = landscapes(6, 32, seed=1), landscapes(6, 128, seed=1)
    shrunk = torch.nn.functional.interpolate(large, (32, 32), mode="area")
    assert (small - shrunk).abs().mean() < 0.03


def test_the_truth_is_in_the_picture():
    pictures, scene = landscapes(200, 64, seed=0, return_scene=True)
    clear = (scene.cloud_cover < 0.2) & (scene.disc_y < scene.horizon - 0.2)
    misses = []
    for picture, x, y in zip(pictures[clear], scene.disc_x[clear], scene.disc_y[clear], strict=True):
        sky = picture[:, : int(64 * 0.4)].mean(0)
        row, column = divmod(int(sky.argmax()), 64)
        misses.append(max(abs(column - 64 * float(x)), abs(row - 64 * float(y))))
    assert np.quantile(misses, 0.9) < 6  # the brightest spot of a clear sky is the sun (or a cloud before it)
    water = (scene.water == 1) & clear
    mirrored, direct = [], []
    for picture, horizon in zip(pictures[water], scene.horizon[water], strict=True):
        shore = round(float(horizon) * 64)
        depth = min(64 - shore, shore) - 2
        below, above = picture[:, shore + 1 : shore + 1 + depth], picture[:, shore - 1 - depth : shore - 1].flip(1)
        mirrored.append(torch.corrcoef(torch.stack([below.flatten(), above.flatten()]))[0, 1])
        direct.append(torch.corrcoef(torch.stack([below.flatten(), above.flip(2).flatten()]))[0, 1])
    assert torch.stack(mirrored).mean() > 0.6 and torch.stack(mirrored).mean() > torch.stack(direct).mean()


def test_hour_and_bad_size():
    night, noon = landscapes(8, 32, seed=3, hour=0.0), landscapes(8, 32, seed=3, hour=12.0)
    assert night.mean() < 0.5 * noon.mean()
    with pytest.raises(ValueError, match="at least 8"):
        landscapes(1, 4)
