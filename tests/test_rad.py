"""`rad_inpaint`: what it promises for every picture, mask, size and dtype."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import hole_changed
from hypothesis import given, settings
from hypothesis import strategies as st

from rad_core import ADMDenoiser, TiledDenoiser, UNet, UNetConfig, perlin_masks, rad_inpaint
from rad_core.crops import CropSpec, crop_holes
from rad_core.masks import scratch_masks
from rad_core.metrics import rim_jump
from rad_core.rad import RADSettings, deepen
from rad_core.schedule import RegionSchedule


def make_net(tiles: bool = False) -> UNet:
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16, tiles=tiles)).eval().requires_grad_(False)
    net.region_aware = True
    return net


NETS = {"fit": make_net(), "tiles": make_net(True)}


def picture(n, height, width, dtype=torch.float32, seed=0):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    n=st.integers(1, 3),
    area=st.floats(0, 1),
    softness=st.sampled_from([0.0, 0.3]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    kind=st.sampled_from(["fit", "tiles"]),
    sampler=st.sampled_from(["ddpm", "ddim", "dpmpp_2m"]),
    seed=st.integers(0, 1000),
)
def test_known_pixels_are_bit_exact(height, width, n, area, softness, dtype, kind, sampler, seed):
    image, mask = picture(n, height, width, dtype, seed), perlin_masks(n, height, width, seed, area=area, softness=softness)
    before = image.clone()
    out = rad_inpaint(NETS[kind], image, mask, steps=2, sampler=sampler, seed=seed)
    known = (mask == 0).expand_as(image)
    assert torch.equal(image, before)  # the input is left alone
    assert out.shape == image.shape and out.dtype == dtype
    assert torch.equal(out[known], image[known])
    assert torch.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
    assert hole_changed(out, image, mask)


@pytest.mark.parametrize("kind", list(NETS))
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m"])
def test_same_seed_same_picture_alone_or_in_a_batch(kind, sampler):
    image, mask = picture(8, 16, 24), perlin_masks(8, 16, 24, area=0.4)
    in_batch = rad_inpaint(NETS[kind], image, mask, steps=4, sampler=sampler, seed=5)
    assert hole_changed(in_batch, image, mask)
    for k in (0, 3, 7):
        alone = rad_inpaint(NETS[kind], image[k], mask[k], steps=4, sampler=sampler, seed=5 + k)
        torch.testing.assert_close(alone[0], in_batch[k], rtol=0, atol=2e-4)
    assert torch.equal(in_batch, rad_inpaint(NETS[kind], image, mask, steps=4, sampler=sampler, seed=5))
    listed = rad_inpaint(NETS[kind], image[:2], mask[:2], steps=4, sampler=sampler, seed=[6, 5])
    torch.testing.assert_close(
        listed[0], rad_inpaint(NETS[kind], image[0], mask[0], steps=4, sampler=sampler, seed=6)[0], rtol=0, atol=2e-4
    )


def test_one_mask_for_many_pictures_and_the_reverse():
    image, mask = picture(3, 16, 16), perlin_masks(3, 16, 16, area=0.5)
    shared = rad_inpaint(NETS["fit"], image, mask[:1], steps=2)
    assert hole_changed(shared, image, mask[:1].expand(3, -1, -1, -1))
    for k in range(3):
        torch.testing.assert_close(shared[k], rad_inpaint(NETS["fit"], image[k], mask[0, 0], steps=2, seed=k)[0], rtol=0, atol=2e-4)
    assert rad_inpaint(NETS["fit"], image[:1], mask, steps=2).shape == (3, 3, 16, 16)
    with pytest.raises(ValueError, match="3 pictures and 2 masks"):
        rad_inpaint(NETS["fit"], image, mask[:2])


def test_what_stands_in_the_hole_is_not_looked_at():
    image, mask = picture(1, 40, 30), perlin_masks(1, 40, 30, seed=4, area=0.3)
    for kind, net in NETS.items():
        expected = rad_inpaint(net, image, mask, steps=3)
        assert hole_changed(expected, image, mask)
        for junk in (0.0, 1.0, float("nan"), float("inf"), -50.0):
            spoiled = torch.where(mask == 1, junk, image)
            torch.testing.assert_close(rad_inpaint(net, spoiled, mask, steps=3), expected, rtol=0, atol=1e-6, msg=f"{kind} {junk}")


def test_empty_and_full_masks():
    image = picture(2, 20, 20)
    assert torch.equal(rad_inpaint(NETS["fit"], image, torch.zeros(20, 20), steps=2), image)
    full = rad_inpaint(NETS["fit"], image, torch.ones(20, 20), steps=2)
    assert torch.isfinite(full).all() and hole_changed(full, image, torch.ones(2, 1, 20, 20)) and not torch.equal(full[0], full[1])


def test_large_picture_small_hole():
    image, mask = picture(1, 1000, 8000), torch.zeros(1, 1, 1000, 8000)
    mask[..., 995:, 7990:] = 1
    for net in NETS.values():
        out = rad_inpaint(net, image, mask, steps=2)
        assert torch.equal(out[..., :990, :], image[..., :990, :]) and hole_changed(out, image, mask)


def test_tiles_blend_to_the_network_itself_where_one_covers_all():
    denoise = ADMDenoiser(NETS["tiles"])
    x, sigma = picture(1, 16, 16), torch.full((1, 1, 16, 16), 0.7)
    for tiled, plain in zip(TiledDenoiser(denoise, 16, torch.ones_like(sigma)).predict(x, sigma), denoise.predict(x, sigma), strict=True):
        torch.testing.assert_close(tiled, plain)


def test_tiles_skip_what_is_known():
    calls = []

    class Counting(ADMDenoiser):
        def predict(self, x, sigma):
            calls.append(len(x))
            return super().predict(x, sigma)

    mask = scratch_masks(1, 200, 200, seed=0)
    TiledDenoiser(Counting(NETS["tiles"]), 16, mask)(picture(1, 200, 200), mask * 2)
    assert 0 < sum(calls) < 25**2 * 0.6


def test_callback_sees_every_step_and_can_cancel():
    image, mask = picture(1, 16, 16), perlin_masks(1, 16, 16, area=0.5)
    seen = []
    rad_inpaint(NETS["fit"], image, mask, steps=5, callback=lambda step, steps, x0: seen.append((step, steps, x0.shape)))
    assert seen == [(k, 5, (1, 3, 16, 16)) for k in range(1, 6)]

    def cancel(step, steps, x0):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        rad_inpaint(NETS["fit"], image, mask, steps=5, callback=cancel)


@pytest.mark.parametrize(("changes", "calls"), [({}, 20), ({"sampler": "dpmpp_2m"}, 20), ({"sampler": "ddpm"}, 100), ({"steps": 3}, 3)])
def test_steps_suit_the_sampler_unless_given(changes, calls):
    seen = []
    rad_inpaint(NETS["fit"], picture(1, 16, 16), torch.ones(16, 16), callback=lambda step, steps, x0: seen.append((step, steps)), **changes)
    assert seen == [(step, calls) for step in range(1, calls + 1)]


def test_plain_network_warns_and_wrong_mask_size_is_noted():
    net = make_net()
    net.region_aware = False
    with pytest.warns(UserWarning, match="RAD adapter"):
        rad_inpaint(net, picture(1, 16, 16), torch.ones(16, 16), steps=1)
    with pytest.warns(UserWarning, match="8x4.*16x16"):
        rad_inpaint(NETS["fit"], picture(1, 16, 16), torch.ones(4, 8), steps=1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": 0}, "between 1 and 1000"),
        ({"steps": 2000}, "between 1 and 1000"),
        ({"sampler": "euler"}, "ddpm, ddim, dpmpp_2m"),
        ({"eta": 2.0}, "eta"),
        ({"overlap": 0.5}, "pass an order, or leave overlap at 0"),
        ({"context": -1.0}, "context"),
        ({"image": torch.full((1, 3, 8, 8), float("nan"))}, "NaN"),
        ({"image": torch.full((1, 3, 8, 8), 200.0)}, r"\[0, 1\]"),
        ({"image": torch.zeros(1, 4, 8, 8)}, r"\(1, 4, 8, 8\)"),
        ({"image": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, "uint8"),
        ({"mask": torch.full((8, 8), 2.0)}, "between 0"),
        ({"mask": torch.full((8, 8), float("nan"))}, "NaN"),
        ({"mask": torch.zeros(1, 2, 8, 8)}, r"\(1, 2, 8, 8\)"),
        ({"seed": [1, 2]}, "1 pictures need 1 seeds"),
    ],
)
def test_bad_arguments_are_told(change, sentence):
    mask = torch.zeros(8, 8)
    mask[2:4] = 1
    with pytest.raises(ValueError, match=sentence):
        rad_inpaint(NETS["fit"], **({"image": torch.zeros(1, 3, 8, 8), "mask": mask} | change))


@pytest.mark.parametrize("tiles", [False, True])
def test_class_labels_reach_the_network(tiles):
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16, num_classes=3, tiles=tiles)).eval().requires_grad_(False)
    net.region_aware = True
    image, mask = picture(2, 16, 30), perlin_masks(2, 16, 30, area=0.5)
    first, second = (rad_inpaint(net, image, mask, steps=2, labels=torch.tensor(labels)) for labels in ([0, 1], [0, 2]))
    assert torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])
    with pytest.raises(ValueError, match="0 to 2"):
        rad_inpaint(net, image, mask, steps=2)


def test_order_map_finishes_one_part_before_the_next():
    """Two halves, two steps each: the first is clean, and so a part of the picture, before the second begins."""
    image, mask = picture(1, 16, 16), torch.ones(1, 1, 16, 16)
    order = torch.zeros(16, 16)
    order[:, 8:] = 0.3  # stretched to 1
    levels = []

    class Watched(UNet):
        def forward(self, x, t, y=None):
            levels.append(t.expand(1, 1, 16, 16))
            return super().forward(x, t, y)

    net = Watched(NETS["fit"].config).eval().requires_grad_(False)
    net.load_state_dict(NETS["fit"].state_dict())
    net.region_aware = True
    rad_inpaint(net, image, mask, steps=4, view="whole", order=order)
    first, second = ([float(t[..., x].max()) for t in levels] for x in (0, 15))
    assert first[0] == second[0] == second[1] == second[2] > first[1] > first[2] == first[3] == 0
    assert 0 < second[3] < second[2]
    levels.clear()
    rad_inpaint(net, image, mask, steps=4, view="whole", order=order, overlap=1.0)
    assert all(t.unique().numel() == 1 for t in levels)


def test_a_shrunk_order_keeps_its_last_part_and_what_is_hidden_is_last():
    """The mask takes the strongest value under a pixel, and so does the order: the rim of the last part is not of the first."""
    image, mask, order = picture(1, 60, 60), torch.zeros(1, 1, 60, 60), torch.zeros(1, 1, 60, 60)
    mask[..., 11:49, 11:49] = 1
    order[..., 11:49, 30:49] = 1
    crop = crop_holes(image, mask, CropSpec(16, 2, torch.device("cpu"), "whole"), order)[0]
    assert (crop.mask[0, 0, 4:12, 8:13] == 1).all() and (crop.order[0, 0, 4:12, 8:13] == 1).all()
    thin = torch.zeros(1, 1, 60, 60)
    thin[..., 20, 20] = 1
    assert crop_holes(image, mask, CropSpec(16, 2, torch.device("cpu"), "whole"), thin)[0].order.max() == 1
    context = torch.zeros(1, 1, 60, 60)
    context[..., :, :50] = 1
    crop = crop_holes(image, mask, CropSpec(16, 2, torch.device("cpu"), "native"), order, context)[0]
    assert (crop.order[..., 50:] == 1).all() and (crop.order[..., :11] == 0).all()


def test_a_picture_at_its_own_size_is_padded_to_the_networks_stride():
    image, mask = picture(1, 17, 21), perlin_masks(1, 17, 21, area=0.5)
    pad = lambda maps: F.pad(maps, (0, -21 % stride, 0, -17 % stride), mode="replicate")
    stride = NETS["fit"].config.stride
    out = rad_inpaint(NETS["fit"], image, mask, steps=3, view="native")
    assert stride > 1 and torch.equal(out, rad_inpaint(NETS["fit"], pad(image), pad(mask), steps=3, view="native")[..., :17, :21])


def test_flat_order_map_changes_nothing_and_bad_ones_are_told():
    image, mask = picture(2, 16, 16), perlin_masks(2, 16, 16, area=0.5)
    plain = rad_inpaint(NETS["fit"], image, mask, steps=4)
    for overlap in (0.0, 1.0):
        assert torch.equal(rad_inpaint(NETS["fit"], image, mask, steps=4, order=torch.full((5, 5), 0.7), overlap=overlap), plain)
    for order, sentence in ((torch.zeros(3, 16, 16), "order map"), (torch.full((16, 16), float("nan")), "NaN")):
        with pytest.raises(ValueError, match=sentence):
            rad_inpaint(NETS["fit"], image, mask, steps=1, order=order)
    with pytest.raises(ValueError, match="overlap"):
        rad_inpaint(NETS["fit"], image, mask, steps=1, overlap=2.0)


@pytest.mark.parametrize("kind", list(NETS))
def test_alignment_smooths_the_rim_and_touches_no_known_pixel(kind):
    """The last quarter of the steps asks the network once more, and the jump across the rim becomes smaller."""
    image, mask, calls = picture(2, 16, 16), torch.zeros(2, 1, 16, 16), []
    mask[..., 4:12, 5:11] = 1
    net = NETS[kind]
    hook = net.register_forward_hook(lambda *_: calls.append(1))
    fills, counts = {}, {}
    for align in (0.0, 0.5, 1.0):
        fills[align] = rad_inpaint(net, image, mask, steps=8, align=align, sampler="ddim")
        counts[align] = len(calls)
        calls.clear()
    hook.remove()
    assert counts[1.0] == counts[0.5] == 1.25 * counts[0.0]
    jumps = [rim_jump(fills[align], mask).mean() for align in (0.0, 0.5, 1.0)]
    assert jumps[2] < jumps[1] < jumps[0]
    known = (mask == 0).expand_as(image)
    assert torch.equal(fills[1.0][known], image[known])
    with pytest.raises(ValueError, match="align must lie"):
        rad_inpaint(net, image, mask, align=2)


def test_what_is_refined_is_not_aligned():
    image, mask = picture(1, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., 4:12, 5:11] = 1
    fills = [rad_inpaint(NETS["fit"], image, mask, steps=4, align=align, uncertainty=0.3 * mask) for align in (0.0, 1.0)]
    assert torch.equal(*fills), "its steps of uncertainty are no rims"


def test_what_is_uncertain_gets_more_noise_the_deeper_it_lies():
    """sigma (d / 3)^1.5 at d pixels, as a share of nu, its root rounded to fifteenths."""
    schedule, sigma = RegionSchedule(), torch.zeros(2, 1, 15, 15)
    sigma[0, :, 1:14, 1:14], sigma[1, :, 1:4, 1:4] = 0.2, 5.0
    deep = deepen(schedule.mask_of_sigma(sigma) * (sigma > 0), schedule)
    for d in range(1, 8):
        variance = (0.2 * (d / 3) ** 1.5) ** 2
        share = variance / (1 + variance) / schedule.nu
        assert abs(deep[0, 0, d, 7].sqrt() - share**0.5) <= 0.5 / 15 + 1e-6 or deep[0, 0, d, 7].sqrt() == pytest.approx(1 / 15)
    assert (deep[0, 0, 1:7, 7].diff() > 0).all() and torch.equal(deep > 0, sigma > 0)
    assert torch.equal(deep[1:], deepen(schedule.mask_of_sigma(sigma[1:]) * (sigma[1:] > 0), schedule)), "of its own picture alone"
    assert deepen(torch.ones(1, 1, 4, 4), schedule).isfinite().all()


def test_a_soft_mask_limits_what_refining_changes():
    image, hole = picture(1, 16, 16), torch.zeros(1, 1, 16, 16)
    hole[..., 1:15, 1:15] = 1
    change = lambda m: (rad_inpaint(NETS["fit"], image, m * hole, steps=4, uncertainty=0.5 * hole) - image).abs().amax()
    assert 0 < change(0.1) < 0.2 * change(1.0)


def test_uncertainty_of_another_picture_changes_nothing():
    image, mask = picture(2, 16, 16), torch.zeros(2, 1, 16, 16)
    mask[..., 4:12, 5:11] = 1
    uncertainty = torch.tensor([0.05, 0.9]).view(2, 1, 1, 1) * mask
    both = rad_inpaint(NETS["fit"], image, mask, steps=8, uncertainty=uncertainty)
    for k in range(2):
        alone = rad_inpaint(NETS["fit"], image[k : k + 1], mask[k : k + 1], steps=8, uncertainty=uncertainty[k : k + 1], seed=k)
        torch.testing.assert_close(alone[0], both[k], rtol=0, atol=2e-3)


def test_tiles_go_on_with_a_hole_at_the_border():
    """Where a picture is smaller than the network, what is beyond a hole at its border is hole too, not known grey."""
    image, mask = picture(1, 12, 9), torch.zeros(1, 1, 12, 9)
    mask[..., 4:] = 1
    (batch,) = crop_holes(image, mask, CropSpec.of(NETS["tiles"], RADSettings()))
    assert batch.mask.shape == (1, 1, 16, 16) and (batch.mask[..., 4:] == 1).all() and (batch.mask[..., :4] == 0).all()


def large_holes():
    """Holes that a network of 16 pixels sees at their own size, at half, at a third; and one whose side is odd."""
    sides = ((16, 16), (30, 30), (48, 48), (20, 33))
    image, mask = picture(4, 48, 48), torch.zeros(4, 1, 48, 48)
    for one, (height, width) in zip(mask, sides, strict=True):
        one[:, : height // 3, : width // 3] = 1
    return image, mask


def test_detail_redraws_a_fill_that_was_enlarged_and_no_other():
    image, mask = large_holes()
    soft, sharp = (rad_inpaint(NETS["fit"], image, mask, steps=4, detail=detail) for detail in (0.0, 1.0))
    assert [torch.equal(a, b) for a, b in zip(soft, sharp, strict=True)] == [True, False, False, False]
    assert torch.equal(sharp[(mask == 0).expand_as(image)], image[(mask == 0).expand_as(image)])
    hole, difference = mask[1:].expand(-1, 3, -1, -1) > 0, (sharp - soft)[1:].abs()
    assert 0 < difference[hole].mean() < 0.35, "by no more than its noise"
    tiles = [rad_inpaint(NETS["tiles"], image, mask, steps=4, detail=detail) for detail in (0.0, 1.0)]
    assert torch.equal(*tiles), "nothing was enlarged"
    native = [rad_inpaint(NETS["fit"], image, mask, steps=4, detail=detail, view="native") for detail in (0.0, 1.0)]
    assert torch.equal(*native)


def test_detail_draws_the_same_picture_in_any_batch():
    image, mask = large_holes()
    image, mask = image.repeat(2, 1, 1, 1), mask.repeat(2, 1, 1, 1)  # two crops of each size at once
    batch = rad_inpaint(NETS["fit"], image, mask, steps=3, sampler="ddpm", seed=5)
    for k in range(8):
        alone = rad_inpaint(NETS["fit"], image[k : k + 1], mask[k : k + 1], steps=3, sampler="ddpm", seed=5 + k)
        torch.testing.assert_close(alone[0], batch[k], rtol=0, atol=2e-4)


def test_detail_counts_its_steps_and_can_be_cancelled():
    image, mask = large_holes()
    seen = []
    rad_inpaint(NETS["fit"], image, mask, steps=4, callback=lambda step, steps, x0: seen.append((step, steps, x0.shape[-1])))
    assert [step for step, *_ in seen] == list(range(1, seen[0][1] + 1)) and len({steps for _, steps, _ in seen}) == 1
    assert {side for *_, side in seen} == {16, 30, 32, 34}, "33 and what fills up its stride"

    def cancel(step, steps, x0):
        if x0.shape[-1] > 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rad_inpaint(NETS["fit"], image, mask, steps=4, callback=cancel)


def test_detail_sees_nothing_of_what_is_hidden():
    """Neither the hole's old content nor what lies outside the context mask shapes the fill that is redrawn."""
    image, mask = large_holes()
    image, mask = image[1:3], mask[1:3]
    context = torch.zeros_like(mask)
    context[..., :40, :24] = 1
    other = torch.where((mask > 0) | (context == 0), picture(2, 48, 48, seed=9), image)
    stitch = (mask > 0).float()
    fills = [rad_inpaint(NETS["fit"], each, mask, steps=3, context_mask=context, stitch_mask=stitch) for each in (image, other)]
    hole = mask.expand_as(image) > 0
    assert torch.equal(fills[0][hole], fills[1][hole])
    assert not torch.allclose(fills[0][hole], rad_inpaint(NETS["fit"], image, mask, steps=3)[hole], atol=1e-3), "it was used otherwise"


def test_a_detail_net_redraws_when_all_is_filled():
    """A host may have to take the first network's adapter off before the second's is on."""
    calls = []

    class Recorded:
        region_aware, device, dtype = True, torch.device("cpu"), torch.float32

        def __init__(self, name):
            self.name, self.net, self.config = name, NETS["fit"], NETS["fit"].config

        def __call__(self, x, t):
            calls.append((self.name, x.shape[-1] > 16))
            return self.net(x, t)

    image, mask = large_holes()
    out = rad_inpaint(Recorded("net"), image, mask, steps=3, detail_net=Recorded("detail"))
    fills, redraws = calls.count(("net", False)), calls.count(("detail", True))
    assert fills >= 3 and redraws >= 3 * 48 and calls == [("net", False)] * fills + [("detail", True)] * redraws
    assert torch.equal(out[0], rad_inpaint(NETS["fit"], image, mask, steps=3)[0]) and not torch.isnan(out).any()


def test_a_detail_net_that_does_not_fit_is_named():
    class Other:
        region_aware, device, dtype, config = False, torch.device("cpu"), torch.float32, replace(NETS["fit"].config, num_classes=3)

    image, mask = large_holes()
    with (
        pytest.raises(ValueError, match="must draw by the same classes"),
        pytest.warns(UserWarning, match="The network that redraws was not"),
    ):
        rad_inpaint(NETS["fit"], image, mask, steps=1, detail_net=Other())


def test_detail_is_checked():
    with pytest.raises(ValueError, match="detail must lie between 0 and 10"):
        RADSettings(detail=-0.1)


def test_detail_leaves_a_picture_that_is_refined_its_own_detail():
    """Resizing for the network takes the fine part of an enlarged picture; nearly certain pixels keep theirs, and get little new noise."""
    image, mask = large_holes()
    image, mask = image[1:3], mask[1:3]
    fill = lambda uncertainty, detail: rad_inpaint(NETS["fit"], image, mask, steps=4, uncertainty=uncertainty * mask, detail=detail)
    change = lambda *settings: float((fill(*settings) - image).square().mean().sqrt())
    for detail in (0.0, 1.0):
        assert 0 < change(1e-4, detail) < 0.15 * change(1.0, detail)


def test_a_detail_net_gets_sides_of_its_own_stride():
    torch.manual_seed(0)
    deep = UNet(UNetConfig(32, (32, 32, 32), 1, (), 32, image_size=16)).eval().requires_grad_(False)
    deep.region_aware = True
    image, mask = large_holes()
    sides = []
    deep.register_forward_pre_hook(lambda net, inputs: sides.append(inputs[0].shape[2:]))
    rad_inpaint(NETS["fit"], image[1:2], mask[1:2], steps=1, detail_net=deep)
    assert {tuple(side) for side in sides} == {(32, 32)}, "the hole's 30 pixels, filled up to multiples of 4"


def test_sigma_scale_is_the_noise_in_units_of_the_uncertainty():
    image, mask, sigmas = picture(1, 16, 16), torch.zeros(1, 1, 16, 16), []
    mask[..., 4:12, 5:11] = 1
    for scale in (1.0, 3.0):
        x = []
        hook = NETS["fit"].register_forward_pre_hook(lambda net, inputs, x=x: x.append(inputs[1]))
        rad_inpaint(NETS["fit"], image, mask, steps=1, uncertainty=0.2 * mask, sigma_scale=scale, view="native")
        hook.remove()
        sigmas.append(float(RegionSchedule().phase1.level_sigma[x[0].amax().round().long()]))
    assert sigmas[1] == pytest.approx(3 * sigmas[0], rel=0.35)  # its root is rounded
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="sigma_scale must be above 0"):
            RADSettings(sigma_scale=wrong)


def test_nearly_certain_pixels_still_get_some_noise():
    schedule, hole = RegionSchedule(), F.pad(torch.ones(1, 1, 3, 3), (1,) * 4)
    torch.testing.assert_close(deepen(hole * schedule.mask_of_sigma(1e-4 * hole), schedule), hole / 15**2)


def test_tiles_blend_the_variance_as_they_blend_the_picture():
    class Local(ADMDenoiser):
        def predict(self, x, sigma):
            both = x + torch.linspace(0, 1, 16)  # not the same in two windows over one pixel
            return both, both

    sigma = torch.ones(1, 1, 20, 45)
    x0, values = TiledDenoiser(Local(NETS["tiles"]), 16, sigma).predict(picture(1, 20, 45), sigma)
    assert torch.equal(x0, values)
