"""The networks in the package do what the README says of them, in small."""

import pytest
import torch
import torch.nn.functional as F

from rad_core import (
    box_masks,
    bundled_adapters,
    bundled_networks,
    landscapes,
    load_adapter,
    load_model,
    rad_inpaint,
    read_mask,
    read_photo,
    unload_adapters,
)
from rad_core.evaluation.metrics import hole_rmse, psnr, texture


def test_what_is_bundled():
    assert bundled_networks() == ["landscapes", "photos"] and bundled_adapters() == ["landscapes", "night"]


@pytest.mark.filterwarnings("ignore:This network was not trained for RAD")
def test_the_adapter_makes_the_difference():
    """RAD Table 3, Cfg. 1: RAD's steps on the plain base are far worse."""
    net = load_adapter(load_model("landscapes"), "landscapes")
    truth, mask = landscapes(6, 64, seed=10_000), box_masks(6, 64, 64, seed=10_000)
    rad = hole_rmse(rad_inpaint(net, truth, mask, steps=10), truth, mask).mean()
    plain = hole_rmse(rad_inpaint(unload_adapters(net), truth, mask, steps=10), truth, mask).mean()
    assert rad < 0.6 * plain and rad < 0.15


def test_the_night_adapter_paints_nights():
    truth, mask = landscapes(4, 64, seed=10_000), torch.ones(64, 64)
    day, night = (rad_inpaint(load_adapter(load_model("landscapes"), name), truth, mask, steps=10) for name in ("landscapes", "night"))
    assert night.mean() < 0.6 * day.mean()


def test_a_kept_back_photograph_is_mended():
    """Four fills: their mean is nearer to the truth than the mean colour around the scratches, and each has the fur's own texture."""
    photo, mask = read_photo("examples/cat.png").rgb[..., 32:128, 32:128], read_mask("examples/scratches.png")[..., 32:128, 32:128]
    fills = rad_inpaint(load_model("photos"), photo.expand(4, -1, -1, -1), mask, steps=10, sampler="ddim")
    around = F.avg_pool2d(photo * (1 - mask), 9, 1, 4) / F.avg_pool2d(1 - mask, 9, 1, 4)
    assert psnr(fills.mean(0, keepdim=True), photo, mask) > psnr(around, photo, mask)
    assert 0.6 < texture(fills, photo, mask).mean() < 1.6
