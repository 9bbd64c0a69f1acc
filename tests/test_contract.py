"""What every method and public class does with arguments that a newcomer passes: refused in a sentence, or taken as meant."""

import numpy as np
import pytest
import torch
from conftest import box_mask, noise_picture

import rad_core
from rad_core import (
    SAMPLERS,
    ADMDenoiser,
    ExemplarDenoiser,
    ExemplarSettings,
    GradPaint,
    GradPaintSettings,
    Guidance,
    KnownPixels,
    OneShot,
    Photo,
    RADSettings,
    RegionSchedule,
    SDMSettings,
    TiledDenoiser,
    exemplar_inpaint,
    gradpaint_inpaint,
    rad_inpaint,
    sdm_inpaint,
    write_photo,
)
from rad_core.noise import seed_list
from rad_core.schedule import NoiseSchedule

MASK = box_mask(48, 48, 20, 20, 8, 8)
IMAGE = noise_picture()
AVERAGE = OneShot(lambda picture, hole, z: picture.mean((2, 3), keepdim=True).expand_as(picture), 48)
METHODS = {
    "exemplar": lambda net, image, mask: exemplar_inpaint(image, mask, "fast")[0],
    "rad": lambda net, image, mask: rad_inpaint(net, image, mask, steps=1),
    "gradpaint": lambda net, image, mask: gradpaint_inpaint(net, image, mask, "turbo", steps=1),
    "sdm": lambda net, image, mask: sdm_inpaint(AVERAGE, image, mask, iterations=1)[0],
}


@pytest.mark.parametrize("method", METHODS)
def test_a_result_shares_no_memory_with_the_picture(method, tiny_net):
    for mask in (torch.zeros(48, 48), MASK):
        picture = noise_picture()
        filled, before = METHODS[method](tiny_net, picture, mask), picture.clone()
        filled.zero_()
        assert torch.equal(picture, before)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (noise_picture(), MASK[..., None], "colours last"),
        (noise_picture(), MASK[..., None].expand(-1, -1, 3), "colours last"),
        (noise_picture().numpy(), MASK, "picture must be a tensor, got ndarray"),
        (noise_picture(), MASK.numpy(), "mask must be a tensor, got ndarray"),
        ((noise_picture() * 255).byte(), MASK, "divide whole numbers by 255"),
    ],
)
def test_what_is_no_picture_or_mask_is_refused_with_a_hint(method, image, mask, message, tiny_net):
    with pytest.raises(ValueError, match=message):
        METHODS[method](tiny_net, image, mask)


@pytest.mark.parametrize("side", [1, 3, 4])
def test_a_batch_of_tiny_masks_is_no_mask_of_colours(side):
    images = torch.rand(side, 3, side, side, generator=torch.Generator().manual_seed(0))
    assert torch.equal(exemplar_inpaint(images, torch.zeros(side, side, side))[0], images)


@pytest.mark.parametrize("seed", ["12", 1.9, None, [1.5, 2], [1, 2, 3]])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(ValueError, match="seed"):
        seed_list(seed, 2)


@pytest.mark.parametrize("seed", [np.array([3, 9]), torch.tensor([3, 9]), (np.int64(3), 9)])
def test_lists_of_seeds_are_of_any_kind(seed):
    assert seed_list(seed, 2) == [3, 9] and seed_list(np.int64(3), 2) == [3, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: SDMSettings(iterations=2.5), "iterations must be a whole number of at least 1"),
        (lambda: ExemplarSettings(patch=5.0), "patch must be a whole number"),
        (lambda: ExemplarSettings(steps=(2.5, 1)), "each whole and 1 or more"),
        (lambda: RADSettings(steps=2.5), "steps must be a whole number between 1 and 1000, got 2.5"),
        (lambda: RADSettings(sampler="ddpm", eta=0.5), "eta is the noise of ddim, not of ddpm"),
        (lambda: GradPaintSettings(eta=3.0), "eta is the noise of ddim, not of ddpm"),
        (lambda: Guidance(since=0.6, until=0.5), "since must lie before until, got 0.6 and 0.5"),
        (lambda: ExemplarSettings(steps=5), r"steps has a number for each level, such as \(12, 8, 6\), got 5"),
        (lambda: Guidance(every=1.5), "every must be a whole number"),
        (lambda: GradPaintSettings(guidance=None), "guidance must be a Guidance, got NoneType"),
        (lambda: NoiseSchedule("linear").timesteps(5.0), "steps must be a whole number between 1 and 1000"),
        (lambda: RegionSchedule().sigmas(torch.ones(1, 1, 8, 8), 4, spacing="Karras"), "Unknown spacing 'Karras'"),
        (lambda: RegionSchedule().sigmas(torch.ones(1, 1, 8, 8), 4, overlap=2), "overlap must lie between 0 and 1"),
    ],
)
def test_settings_are_checked_when_they_are_made(settings, message):
    with pytest.raises(ValueError, match=message):
        settings()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda adm, sdm, path: rad_inpaint("landscapes", IMAGE, MASK), "load_model returns it, got str"),
        (lambda adm, sdm, path: rad_inpaint(sdm, IMAGE, MASK), "load_model returns it, got Generator"),
        (lambda adm, sdm, path: gradpaint_inpaint(sdm, IMAGE, MASK), "load_model returns it, got Generator"),
        (lambda adm, sdm, path: sdm_inpaint(adm, IMAGE, MASK), "load_sdm returns it, got UNet"),
        (lambda adm, sdm, path: rad_core.save_sdm(adm, path), "load_sdm returns it, got UNet"),
        (lambda adm, sdm, path: rad_core.save_model(sdm, path), "load_model returns it, got Generator"),
        (lambda adm, sdm, path: rad_core.save_adapter(adm, path), "add_adapter returns it, which is in training, got UNet"),
    ],
)
def test_networks_of_another_kind_are_refused(call, message, tiny_net, tmp_path):
    with pytest.raises(ValueError, match=message):
        call(tiny_net, rad_core.load_sdm("landscapes"), tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("draw", [rad_core.box_masks, rad_core.brush_masks, rad_core.wide_masks, rad_core.scratch_masks])
def test_masks_of_no_size_are_refused_and_none_are_none(draw):
    assert draw(0, 16, 24).shape == (0, 1, 16, 24)
    with pytest.raises(ValueError, match="at least 1x1 pixels, got 24x0"):
        draw(1, 0, 24)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"n": 0}, "n must be"), ({"hour": float("nan")}, "hour must"), ({"hour": 30}, "hour must")]
)
def test_landscapes_of_no_hour_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        rad_core.landscapes(**{"n": 1, "size": 16} | arguments)


def test_a_networks_schedule_has_a_known_name():
    with pytest.raises(ValueError, match="Unknown noise schedule 'quadratic': choose from linear, cosine"):
        rad_core.load_model("landscapes", schedule="quadratic")


@pytest.mark.parametrize("schedule", [RegionSchedule(), rad_core.FlowSchedule()])
def test_noise_maps_can_be_sliced(schedule):
    sigmas = schedule.sigmas(torch.ones(1, 1, 8, 8), 4)
    assert all(torch.equal(a, b) for a, b in zip(sigmas[1:3], (sigmas[1], sigmas[2]), strict=True))


def test_the_level_of_a_noise_is_that_of_its_number():
    schedule = NoiseSchedule("linear")
    assert schedule.level_of_sigma(torch.tensor(3)) == schedule.level_of_sigma(torch.tensor(3.0))
    assert schedule.level_of_sigma(torch.tensor(torch.inf)) == 1000 and schedule.level_of_sigma(torch.tensor(-1.0)) == 0


def test_a_denoiser_takes_numbers(tiny_net):
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    denoise = ADMDenoiser(tiny_net)
    assert torch.equal(denoise(x, 5.0), denoise(x, torch.tensor(5.0)))


def test_tiles_are_weighed_alike_under_masks_of_any_dtype():
    for dtype in (torch.bool, torch.uint8, torch.float16, torch.float32):
        tiled = TiledDenoiser(lambda x, sigma: x, 32, torch.ones(1, 1, 48, 48).to(dtype))
        assert (tiled(torch.ones(1, 3, 48, 48), torch.tensor(1.0)) - 1).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: TiledDenoiser(lambda x, s: x, 32, torch.ones(1, 1, 48, 48))(x, torch.tensor(1.0)), "one picture at a time, got 2"),
        (lambda x: ExemplarDenoiser(noise_picture(), MASK)(x, torch.tensor(1.0)), "state must be"),
        (lambda x: SAMPLERS["ddim"](lambda x, s: x[:1], x, torch.tensor([1.0, 0.0]), None), "must return x0 of its state's shape"),
        (lambda x: sdm_inpaint(OneShot(lambda p, h, z: p[:1, :, :1, :1], 48), x.sigmoid(), MASK), "fill must return pictures"),
        (lambda x: KnownPixels(x, torch.ones(1, 1, 4, 4)), "mask must be"),
    ],
)
def test_a_batch_or_a_result_of_another_shape_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (noise_picture(3), r"one picture, .* got \(3, 3, 48, 48\)"),
        (noise_picture()[0], r"one picture, .* got \(3, 48, 48\)"),
        (noise_picture().movedim(1, -1), r"one picture, .* got \(1, 48, 48, 3\)"),
        (noise_picture() * 255, "divide by 255"),
        ((noise_picture() * 255).byte(), "one picture, .* torch.uint8"),
        (noise_picture() * torch.nan, "NaN"),
    ],
)
def test_a_file_is_written_of_one_picture_alone(picture, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_photo(tmp_path / "out.png", Photo(picture))
    assert not list(tmp_path.iterdir())


def test_guidance_serves_one_run_and_takes_levels_as_numbers():
    picture, mask = noise_picture() * 2 - 1, MASK[None, None]
    combine = lambda x, sigma, mask: torch.where(mask < 1, picture, x)
    guided = GradPaint(lambda x, sigma: x / (1 + sigma**2), KnownPixels(picture, mask, combine=combine), [5.0, 1.0, 0.0], Guidance())
    assert torch.equal(guided(picture, 5.0)[:, :, MASK == 0], picture[:, :, MASK == 0]) and len(guided.losses) == 1
