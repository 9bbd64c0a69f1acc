"""The networks in the package do what the README promises, on a few pictures."""

import json
from functools import partial

import pytest
import torch
from safetensors import safe_open

from rad_core import (
    RADSettings,
    box_masks,
    bundled_adapters,
    bundled_networks,
    bundled_sdms,
    gradpaint_inpaint,
    landscapes,
    load_adapter,
    load_model,
    load_sdm,
    rad_inpaint,
    sdm_inpaint,
    unload_adapters,
)
from rad_core.bench.methods import ABLATION
from rad_core.bench.scene import load_reader, scene_error
from rad_core.metrics import hole_rmse, rank_correlation, seam, texture
from rad_core.noise import generators, normal
from rad_core.schedule import RegionSchedule
from rad_core.training.objective import losses, region_levels


def test_what_is_bundled():
    assert bundled_networks() == ["landscapes"] and bundled_adapters() == ["landscapes", "landscapes-detail", "night"]
    assert bundled_sdms() == ["landscapes"]


def test_the_ablation_s_adapters_differ_in_the_embedding_alone():
    """RAD Table 3, Cfg. 2, and its reference: their files record how they were trained."""
    plans = []
    for path in ABLATION:
        with safe_open(path, "pt") as file:
            plans.append(json.loads(file.metadata()["note"]))
    assert [plan.pop("spatial") for plan in plans] == [True, False] and plans[0] == plans[1]


@pytest.mark.filterwarnings("ignore:This network was not trained for RAD")
def test_the_adapter_makes_the_difference():
    """RAD Table 3, Cfg. 1: RAD's sampling with the plain base network is far worse."""
    net = load_adapter(load_model("landscapes"), "landscapes")
    truth, mask = landscapes(6, 64, seed=10_000), box_masks(6, 64, 64, seed=10_000)
    rad = hole_rmse(rad_inpaint(net, truth, mask, steps=10), truth, mask).mean()
    plain = hole_rmse(rad_inpaint(unload_adapters(net), truth, mask, steps=10), truth, mask).mean()
    assert rad < 0.6 * plain and rad < 0.15


def test_the_night_adapter_paints_nights():
    truth, mask = landscapes(4, 64, seed=10_000), torch.ones(64, 64)
    day, night = (rad_inpaint(load_adapter(load_model("landscapes"), name), truth, mask, steps=10) for name in ("landscapes", "night"))
    assert night.mean() < 0.6 * day.mean()


def test_detail_gives_large_fills_the_texture_of_their_surroundings():
    """The network knows landscapes of 64 pixels; at 128 a fill that is only enlarged has a tenth of the fine detail."""
    net, plain = load_adapter(load_model("landscapes"), "landscapes"), load_model("landscapes")
    truth, mask = landscapes(1, 128, seed=10_000), box_masks(1, 128, 128, seed=10_000)
    for method in (partial(rad_inpaint, net), partial(gradpaint_inpaint, plain, sampler="ddim")):
        soft, sharp = (method(truth, mask, steps=10, detail=detail) for detail in (0.0, RADSettings().detail))
        assert texture(soft, truth, mask).median() < 0.3 and 0.4 < texture(sharp, truth, mask).median() < 1.7
        assert hole_rmse(sharp, truth, mask).mean() < 1.2 * hole_rmse(soft, truth, mask).mean()
        assert torch.equal(sharp[(mask == 0).expand_as(truth)], truth[(mask == 0).expand_as(truth)])


def test_the_detail_adapter_knows_the_detail_that_the_one_that_fills_does_not():
    """At 128 pixels, from noise in which the large shapes can still be seen, it denoises each hole with a smaller loss."""
    truth, mask = landscapes(4, 128, seed=10_000) * 2 - 1, box_masks(4, 128, 128, seed=10_000)
    noise = normal(generators(10_000, 4, "detail"), truth.shape[1:])
    own, trained = [], []
    for name, loss in (("landscapes", own), ("landscapes-detail", trained)):
        net = load_adapter(load_model("landscapes"), name)
        for t in (100, 200, 400):
            target = region_levels(mask, torch.full((4,), t), RegionSchedule(net.config.schedule))
            with torch.no_grad():
                squared, _ = losses(net, truth, noise, target, net.config.prediction)
            loss.extend((squared * target.noised).sum((1, 2, 3)) / (3 * target.noised.sum((1, 2, 3))))
    assert all(new < 0.8 * old for old, new in zip(own, trained, strict=True))


def test_sdm_fills_landscapes_and_knows_where_it_is_wrong():
    truth, mask = landscapes(32, 64, seed=10_000), box_masks(32, 64, 64, seed=10_000)
    out, uncertainty = sdm_inpaint(load_sdm("landscapes"), truth, mask)
    flat = (truth * (1 - mask)).sum((2, 3), keepdim=True) / (1 - mask).sum((2, 3), keepdim=True)
    assert hole_rmse(out, truth, mask).mean() < 0.5 * hole_rmse(flat.expand_as(truth), truth, mask).mean()
    assert 0.7 < seam(out, truth, mask).median() < 1.3
    assert rank_correlation((out - truth).abs().mean(1, keepdim=True)[mask > 0], uncertainty[mask > 0]) > 0.3


def test_rad_on_sdms_doubt_leaves_what_is_sure():
    net = load_adapter(load_model("landscapes"), "landscapes")
    truth, mask = landscapes(4, 64, seed=10_000), box_masks(4, 64, 64, seed=10_000)
    settings = RADSettings(steps=10, sampler="dpmpp_2m", align=0.0)
    out, uncertainty = sdm_inpaint(load_sdm("landscapes"), truth, mask)
    refined = rad_inpaint(net, out, mask, settings, uncertainty=uncertainty)
    changed = (refined - out).abs().mean(1, keepdim=True)
    assert torch.equal(refined[(mask == 0).expand_as(truth)], truth[(mask == 0).expand_as(truth)])
    assert rank_correlation(changed[mask > 0], uncertainty[mask > 0]) > 0.2
    uncertainty[..., :32] = 0
    refined = rad_inpaint(net, out, mask, settings, steps=2, uncertainty=uncertainty)
    assert torch.equal(refined[..., :32], out[..., :32]) and not torch.equal(refined, out)
    with pytest.raises(ValueError, match="NaN"):
        rad_inpaint(net, torch.where(mask > 0, torch.nan, out), mask, steps=2, uncertainty=uncertainty.clamp(min=0.1))


def test_the_scene_reader_reads_scenes_and_misses_what_is_covered():
    truth, scene = landscapes(64, 64, seed=10_000, return_scene=True)
    reader = load_reader()
    read = reader(truth)
    for name in ("horizon", "disc_x", "disc_y"):
        assert torch.corrcoef(torch.stack([read[name], getattr(scene, name)]))[0, 1] > 0.95
    assert ((read["water"] > 0) == (scene.water > 0)).float().mean() > 0.95
    grey = torch.where(box_masks(64, 64, 64, seed=10_000) > 0, 0.5, truth)
    assert scene_error(reader, grey, scene).mean() > 2 * scene_error(reader, truth, scene).mean()
