"""GradPaint: on a Gaussian, whose denoiser and posterior are known, and what it promises for every picture."""

from functools import partial

import pytest
import torch
from conftest import hole_changed
from hypothesis import given, settings
from hypothesis import strategies as st

from rad_core import SAMPLERS, FlowDenoiser, GradPaint, Guidance, gradpaint_inpaint, perlin_masks
from rad_core.bench.baselines import baseline_inpaint
from rad_core.gradpaint import PRESETS
from rad_core.guidance import KnownPixels
from rad_core.losses import Colours, alignment, masked_mse, natural_jump, rim_jump
from rad_core.samplers import RESPONSE, SPACING
from rad_core.schedule import RegionSchedule
from rad_core.unet import UNet, UNetConfig

SIDE = 12


class Smooth:
    """Pictures of one channel that are Gaussian with covariance exp(-distance / 3), and their exact denoiser."""

    def __init__(self):
        places = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"), -1).reshape(-1, 2).double()
        self.covariance = torch.exp(-torch.cdist(places, places) / 3)
        self.values, self.vectors = torch.linalg.eigh(self.covariance)

    def __call__(self, x, sigma):
        """E[x0 | x] = C (C + sigma^2)^-1 x."""
        gain = self.values / (self.values + float(sigma.max()) ** 2)
        flat = x.flatten(1).double() @ self.vectors * gain @ self.vectors.T
        return flat.view_as(x).to(x.dtype)

    def sample(self, n, stream):
        z = torch.randn(n, SIDE * SIDE, generator=stream, dtype=torch.float64)
        return (z * self.values.clamp(min=0).sqrt() @ self.vectors.T).view(n, 1, SIDE, SIDE).float()

    def posterior_mean(self, picture, mask):
        """E[x0 | known pixels], (n, 1, S, S)."""
        known = (mask[0, 0] == 0).flatten()
        gain = self.covariance[:, known] @ torch.linalg.inv(self.covariance[known][:, known])
        return (picture.flatten(1)[:, known].double() @ gain.T).view_as(picture).float()


GAUSSIAN = Smooth()
MASK = torch.zeros(1, 1, SIDE, SIDE)
MASK[..., 3:9, 4:10] = 1


def guide(picture, sigmas, guidance, combine=lambda x, sigma, mask: x, **options):
    return GradPaint(GAUSSIAN, KnownPixels(picture, MASK, combine=combine), sigmas, guidance, **options)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_finite_difference_is_the_vjp(sigma):
    stream = torch.Generator().manual_seed(0)
    picture = GAUSSIAN.sample(4, stream)
    x, sigma = picture + sigma * torch.randn(picture.shape, generator=stream), torch.tensor(sigma)
    moves = []
    for gradient in ("finite_difference", "vjp"):
        denoise = guide(picture, [sigma, 0.0], Guidance(gradient=gradient, align_until=1.0))
        x0, _, vjp = denoise._estimate_and_vjp(x, sigma)
        moves.append(vjp(denoise.loss(x0, 1.0)[1]))
    torch.testing.assert_close(*moves, rtol=0.01, atol=0.01 * float(moves[1].abs().max()))


def test_losses_have_the_gradients_they_say():
    stream = torch.Generator().manual_seed(1)
    error, known = torch.randn(2, 3, 7, 5, generator=stream).double(), torch.rand(2, 1, 7, 5, generator=stream).double()
    for loss in (masked_mse, alignment):
        assert torch.autograd.gradcheck(lambda e, loss=loss: loss(e, known)[0], error.clone().requires_grad_())
        values = error.clone().requires_grad_()
        (expected,) = torch.autograd.grad(loss(values, known)[0].sum(), values)
        torch.testing.assert_close(loss(error, known)[1], expected)


def test_losses_by_hand():
    known = torch.tensor([[[[1.0, 1, 0, 0]]]])
    picture = torch.tensor([[[[0.0, 2, 5, 9]]]])
    assert masked_mse(picture, known)[0].item() == pytest.approx((0 + 4) / 2)
    assert alignment(picture, known)[0].item() == pytest.approx(9.0)  # one pair: 2 and 5
    assert alignment(picture, torch.ones_like(known))[0].item() == 0


def test_a_video_of_one_frame_is_a_picture():
    """To the last bit, whatever the sampler."""
    picture, as_video = GAUSSIAN.sample(2, torch.Generator().manual_seed(0)), lambda x: x[:, :, None]
    for sampler in SAMPLERS:
        outs = []
        for shape in (lambda x: x, as_video):
            stream = torch.Generator().manual_seed(1)
            sigmas = [shape(sigma) for sigma in RegionSchedule().sigmas(torch.ones(1, 1, 1, 1), 6)]
            noise = lambda shape=shape, stream=stream: shape(torch.randn(picture.shape, generator=stream))
            combine = lambda x, sigma, mask, shape=shape, noise=noise: torch.lerp(shape(picture) + sigma * noise(), x, mask)
            known = KnownPixels(shape(picture), shape(MASK), combine=combine)
            guided = GradPaint(GAUSSIAN, known, sigmas, PRESETS["plus"].guidance)
            outs.append(SAMPLERS[sampler](guided, sigmas[0] * noise(), sigmas, noise).view_as(picture))
        assert torch.equal(*outs), sampler


def test_the_rim_of_a_video_lies_between_frames_too():
    """By hand: two frames of two pixels; a pair within frame 0, and the pair over time of the pixel that is known in one frame alone."""
    picture = torch.tensor([[0.0, 3.0], [1.0, 7.0]]).view(1, 1, 2, 1, 2)
    known = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).view(1, 1, 2, 1, 2)
    loss, gradient = alignment(picture, known)
    assert loss.item() == ((3 - 0) ** 2 + (7 - 3) ** 2) / 2
    assert gradient.flatten().tolist() == [-3.0, 3.0 - 4.0, 0.0, 4.0]


def test_the_papers_step_is_bounded_where_noise_is_huge():
    """SDXL models with zero terminal SNR begin at a sigma of 4518; a step of that size would throw the picture away."""
    picture, g = torch.zeros(1, 1, 4, 4), torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    lengths = [
        GradPaint(GAUSSIAN, KnownPixels(picture, torch.ones_like(picture)), [t, t / 2, 0.0], PRESETS["paper"].guidance)._length(
            picture, picture, g, g, 0.0, 0
        )
        for t in (4518.0, 45.0, 14.6)
    ]
    assert lengths[0] == lengths[1] > lengths[2]


@pytest.mark.parametrize("align", [0.0, 1.0])
def test_line_search_finds_the_lowest_loss_along_the_gradient(align):
    stream = torch.Generator().manual_seed(2)
    picture, sigma = GAUSSIAN.sample(3, stream), torch.tensor(1.0)
    x = picture + torch.randn(picture.shape, generator=stream)
    colours = Colours(torch.tensor([[0.5], [2.0]]))
    denoise = guide(picture, [sigma, 0.0], Guidance(eta=1.0), colours=colours)
    x0, _, vjp = denoise._estimate_and_vjp(x, sigma)
    loss, v = denoise.loss(x0, align)
    g = vjp(v)
    length = denoise._length(x0, loss, v, g, align, 0).view(-1, 1, 1, 1)
    at = lambda share: denoise.loss(x0 - share * length * g, align)[0]
    assert (at(1.0) < loss).all() and (at(1.0) < at(0.98)).all() and (at(1.0) < at(1.02)).all()


def fills(sampler, guidance, steps=30, n=100):
    stream = torch.Generator().manual_seed(3)
    picture = GAUSSIAN.sample(n, stream)
    sigmas = RegionSchedule().sigmas(torch.ones(1, 1, 1, 1), steps, SPACING[sampler])
    noise = lambda: torch.randn(picture.shape, generator=stream)
    combine = lambda x, sigma, mask: torch.lerp(picture + sigma * noise(), x, mask)
    denoise = guide(picture, sigmas, guidance, combine=combine, response=RESPONSE[sampler])
    out = SAMPLERS[sampler](denoise, sigmas[0] * noise(), sigmas, noise)
    return torch.where(MASK > 0, out, picture), picture, denoise


@pytest.mark.parametrize(("preset", "sampler"), [("paper", "ddpm"), *(("plus", sampler) for sampler in SAMPLERS)])
def test_the_rim_moves_toward_the_posterior(preset, sampler):
    """Over 100 pictures: squared distance to the posterior's mean, on the hole's pixels that touch the rim, against no guidance."""
    rim = MASK * torch.nn.functional.max_pool2d(1 - MASK, 3, 1, 1)
    distance = {}
    for name in ("combine", preset):
        out, picture, _ = fills(sampler, PRESETS[name].guidance)
        distance[name] = ((out - GAUSSIAN.posterior_mean(picture, MASK)).square() * rim).sum().item()
    assert distance[preset] < (0.95 if preset == "paper" else 0.8) * distance["combine"]


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("steps", [2, 4, 8])
def test_few_guided_steps_are_better_than_twice_as_many_plain_ones(sampler, steps):
    """Squared distance to the posterior's mean over the whole hole, at equal network calls."""
    distance = {}
    for name, count in (("plus", steps), ("combine", 2 * steps)):
        out, picture, _ = fills(sampler, PRESETS[name].guidance, count)
        distance[name] = ((out - GAUSSIAN.posterior_mean(picture, MASK)).square() * MASK).sum().item()
    assert distance["plus"] < 0.8 * distance["combine"]


def test_the_loss_falls_along_the_run():
    _, _, denoise = fills("ddpm", PRESETS["plus"].guidance)
    losses = torch.stack(denoise.losses).mean(1)
    assert len(losses) == 30 and losses[-1] < 0.1 * losses[0]


def test_settings_save_calls(monkeypatch):
    """Of the network, in 30 steps."""
    called, network = [], Smooth.__call__
    monkeypatch.setattr(Smooth, "__call__", lambda *args: called.append(1) or network(*args))
    for chosen, calls in (
        (Guidance(), 60),
        (Guidance(every=3), 40),
        (Guidance(until=0.5), 45),
        (Guidance(inner_steps=2), 90),
        (Guidance(step="none"), 30),
    ):
        called.clear()
        fills("ddim", chosen, n=2)
        assert len(called) == chosen.calls(30) == calls


def test_patience_ends_the_guidance_of_one_picture_and_not_of_another():
    """Invented losses: the first picture's falls for two steps, then stays, and falls again too late; the second's always falls."""
    picture, losses = torch.zeros(2, 1, SIDE, SIDE), iter([(3.0, 9.0), (2.0, 8.0), (2.0, 7.0), (2.5, 6.0), (1.0, 5.0)])
    denoise = guide(picture, [5.0, 4.0, 3.0, 2.0, 1.0, 0.0], Guidance(patience=2))
    ends = []
    for values in losses:
        denoise._record(torch.tensor(values))
        ends.append(denoise._finished().tolist())
    assert ends[:3] == [[False, False]] * 3 and ends[3:] == [[True, False]] * 2


def test_moving_x0_alone_is_moving_the_state():
    """The paper moves x_t; returning x0 + d / (1 - (s/t)^p) must give a sampler the same next state, in flow matching's terms too."""
    picture, (t, s), guidance = torch.zeros(1, 1, 4, 4), (0.8, 0.5), PRESETS["paper"].guidance
    g = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for flow, response in ((False, 1.0), (False, 2.0), (True, 1.0)):
        denoise = GradPaint(GAUSSIAN, KnownPixels(picture, torch.ones_like(picture)), [t, s, 0.0], guidance, response=response, flow=flow)
        alpha = 1 - t if flow else 1.0
        x, x0 = torch.full_like(g, 0.3), torch.full_like(g, 0.1)
        direction = g / g.square().mean().sqrt()
        d = -guidance.eta / len(denoise.guided) * (alpha**2 + t**2) ** 0.5 * direction
        step = lambda x, x0, kept=(s / t) ** response: kept * x + (1 - kept) * x0
        moved = x0 - denoise._length(x0, x0, g, g, 0.0, 0).view(-1, 1, 1, 1) * g
        torch.testing.assert_close(step(x, moved), step(x + d, x0 + d / alpha))


def make_net(region_aware=False) -> UNet:
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16)).eval().requires_grad_(False)
    net.region_aware = region_aware
    return net


NET = make_net()


def picture(n, height, width, dtype=torch.float32, seed=0):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    n=st.integers(1, 3),
    area=st.floats(0, 1),
    softness=st.sampled_from([0.0, 0.3]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16]),
    sampler=st.sampled_from(list(SAMPLERS)),
    preset=st.sampled_from(list(PRESETS)),
    view=st.sampled_from(["auto", "hole", "whole"]),
)
def test_known_pixels_are_bit_exact(height, width, n, area, softness, dtype, sampler, preset, view):
    image, mask = picture(n, height, width, dtype), perlin_masks(n, height, width, area=area, softness=softness)
    out = gradpaint_inpaint(NET, image, mask, preset, steps=3, sampler=sampler, view=view, context=0.5)
    known = (mask == 0).expand_as(image)
    assert out.shape == image.shape and out.dtype == dtype and torch.isfinite(out).all()
    assert torch.equal(out[known], image[known])
    assert hole_changed(out, image, mask)


@pytest.mark.parametrize("fill", [gradpaint_inpaint, partial(baseline_inpaint, baseline="repaint")])
def test_same_seed_same_picture_alone_or_in_a_batch(fill):
    image, mask = picture(4, 16, 16), perlin_masks(4, 16, 16, area=0.4)
    in_batch = fill(NET, image, mask, steps=4, seed=5)
    assert hole_changed(in_batch, image, mask)
    for k in (0, 3):
        torch.testing.assert_close(fill(NET, image[k], mask[k], steps=4, seed=5 + k)[0], in_batch[k], rtol=0, atol=1e-3)


def test_a_grey_mask_mixes_once():
    image = picture(1, 16, 16)
    hard = torch.ones(16, 16)
    hard[0] = 0.25
    out = gradpaint_inpaint(NET, image, hard, steps=3)
    assert (out[..., 0, :] - image[..., 0, :]).abs().max() <= 0.25 + 1e-5  # a quarter of the way
    assert (out[..., 0, :] - image[..., 0, :]).abs().max() > 0.25**2  # and not a quarter of a quarter


def test_one_pixel_and_full_holes():
    image, mask = picture(2, 16, 16), torch.zeros(2, 1, 16, 16)
    mask[0, 0, 5, 5], mask[1] = 1, 1
    out = gradpaint_inpaint(NET, image, mask, steps=4)
    assert torch.isfinite(out).all() and not torch.equal(out[0, :, 5, 5], image[0, :, 5, 5])
    assert torch.equal(gradpaint_inpaint(NET, image, torch.zeros(16, 16), steps=4), image)  # no hole


def test_bad_settings_are_told():
    for wrong in ({"until": 1.2}, {"every": 0}, {"gradient": "magic"}, {"step": "leap"}, {"eta": float("nan")}, {"band": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Guidance(**wrong)
    with pytest.raises(ValueError, match=r"pass guidance=Guidance\(until=0.5\)"):
        gradpaint_inpaint(NET, picture(1, 8, 8), torch.ones(8, 8), until=0.5)
    with pytest.raises(ValueError, match="Unknown preset 'best'"):
        gradpaint_inpaint(NET, picture(1, 8, 8), torch.ones(8, 8), settings="best")
    with pytest.warns(UserWarning, match="trained for RAD"):
        gradpaint_inpaint(make_net(True), picture(1, 16, 16), torch.ones(16, 16), steps=1)


def test_backpropagation_is_refused_in_inference_mode():
    with torch.inference_mode(), pytest.raises(ValueError, match="cannot work inside"):
        gradpaint_inpaint(NET, picture(1, 16, 16), torch.ones(16, 16), steps=1, guidance=Guidance(gradient="vjp"))


def test_the_natural_step_stops_at_the_jumps_beside_the_rim():
    """On white noise of deviation s in a known area the mean jump is 2 s / sqrt(pi), and a step brings the rim's mean jump there."""
    stream = torch.Generator().manual_seed(4)
    noise, known = 0.1 * torch.randn(1, 3, 64, 64, generator=stream), torch.ones(1, 1, 64, 64)
    known[..., 20:44, 20:44] = 0
    assert natural_jump(noise, known).item() == pytest.approx(0.2 / torch.pi**0.5, rel=0.08)
    guidance = Guidance(lambda_mse=0.0, step="natural", eta=1.0, align_until=1.0)
    denoise = GradPaint(GAUSSIAN, KnownPixels(noise, 1 - known), [1.0, 0.0], guidance)
    composite = torch.where(known > 0, noise, noise + 0.5)  # a hole that is too bright
    loss, v = denoise.loss(composite, 1.0)
    length = denoise._length(composite, loss, v, v, 1.0, 0)
    assert rim_jump(composite, known) > 4 * denoise.natural
    torch.testing.assert_close(rim_jump(composite - length * v, known), denoise.natural, rtol=0.25, atol=0)
    calm = torch.where(known > 0, noise, noise.mean())  # already smoother than the picture: nothing is done
    assert rim_jump(calm, known) < denoise.natural
    loss, v = denoise.loss(calm, 1.0)
    assert denoise._length(calm, loss, v, v, 1.0, 0).item() == 0


@pytest.mark.parametrize("step", ["line_search", "none"])
def test_a_picture_that_is_finished_is_moved_no_more(step):
    stream = torch.Generator().manual_seed(5)
    picture, sigma = GAUSSIAN.sample(2, stream), torch.tensor(1.0)
    x = picture + torch.randn(picture.shape, generator=stream)
    denoise = guide(picture, [sigma, 0.5, 0.0], Guidance(patience=3, step=step))
    denoise.waited = torch.tensor([3.0, 0.0])
    moved = ((denoise(x, sigma) - GAUSSIAN(x, sigma)).abs() * MASK).amax((1, 2, 3))
    assert moved[0] < 1e-6 < 0.01 < moved[1]


def test_more_moves_in_a_step_reach_a_lower_loss():
    stream = torch.Generator().manual_seed(6)
    picture, sigma = GAUSSIAN.sample(3, stream), torch.tensor(1.0)
    x, losses = picture + torch.randn(picture.shape, generator=stream), []
    for moves in range(1, 4):
        denoise = GradPaint(GAUSSIAN, KnownPixels(picture, MASK), [sigma, 0.0], Guidance(inner_steps=moves, carry=False, align_until=1.0))
        losses.append(denoise.loss(denoise(x, sigma), 1.0)[0])
    assert (losses[1] < 0.9 * losses[0]).all() and (losses[2] < losses[1]).all()


def test_the_gradient_of_pixels_with_a_noise_level_of_their_own_is_the_posteriors_covariance():
    """Cov(x0 | x) v / max(sigma)^2, and Cov(x0 | x) = C - C (C + S^2)^-1 C."""
    from test_samplers import Gaussian

    stream, gaussian = torch.Generator().manual_seed(0), Gaussian()
    sigma = 0.2 + torch.rand(1, 1, 3, 3, generator=stream).double()
    x, v = (torch.randn(2, 1, 3, 3, generator=stream).double() for _ in range(2))
    inner = gaussian.cov + torch.diag(sigma.flatten().square())
    covariance = gaussian.cov - gaussian.cov @ torch.linalg.solve(inner, gaussian.cov)
    expected = (v.flatten(1) @ covariance / sigma.max().square()).view_as(v)
    for gradient in ("finite_difference", "vjp"):
        known = KnownPixels(torch.zeros_like(x), torch.ones(1, 1, 3, 3))
        vjp = GradPaint(gaussian, known, [sigma, 0 * sigma], Guidance(gradient=gradient, carry=False))._estimate_and_vjp(x, sigma)[2]
        torch.testing.assert_close(vjp(v), expected, rtol=1e-4, atol=1e-6)


def test_steps_are_told_apart_but_for_rounding_and_kept_shares_are_those_of_the_sampler():
    known = KnownPixels(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
    denoise = GradPaint(GAUSSIAN, known, [3.0, 2.0, 1.0, 0.0], Guidance())
    assert [denoise._step(sigma) for sigma in (3.0, 2.5, 2 * (1 + 1e-6), 2.0, 1.5, 1.0, 0.5)] == [0, 0, 1, 1, 1, 2, 2]
    x = torch.full((1, 1, 4, 4), 0.7)
    for sampler, flow in (("ddim", False), ("ddpm", False), ("ddim", True)):
        sigmas = [torch.tensor(0.8), torch.tensor(0.5)]
        clean = FlowDenoiser(lambda x, s: x / s) if flow else (lambda x, sigma: torch.zeros_like(x))  # x0 = 0
        moved = SAMPLERS[sampler](clean, x, sigmas, lambda: torch.zeros_like(x))
        signal = [1 - s if flow else torch.ones(()) for s in sigmas]
        kept = GradPaint(GAUSSIAN, known, sigmas, Guidance(), RESPONSE[sampler], flow)._kept(0)
        torch.testing.assert_close(moved / signal[1], kept * x / signal[0])


def test_where_the_network_sees_known_pixels_clean_only_steps_with_a_rim_are_guided():
    known = KnownPixels(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), clean=True)
    assert GradPaint(GAUSSIAN, known, torch.linspace(5, 0, 21), Guidance(align_until=0.45)).guided == range(9)
    assert not GradPaint(GAUSSIAN, known, torch.linspace(5, 0, 21), Guidance(since=0.5, align_until=0.45)).guided
    assert Guidance(since=0.5, until=0.0).guided(20) == range(10, 0), "none"


def test_a_plain_network_sees_the_known_pixels_through_the_noise_of_the_step():
    image, mask, seen = picture(1, 16, 16), torch.zeros(16, 16), []
    mask[4:12, 4:12] = 1
    hook = NET.register_forward_pre_hook(lambda net, inputs: seen.append(inputs))
    gradpaint_inpaint(NET, image, mask, "combine", steps=10)
    hook.remove()
    assert len(seen) == 10
    for x, t in seen:
        alpha = (1 / (1 + RegionSchedule().phase1.level_sigma[t.round().long() + 1].float().square())).sqrt()
        noise = (x - alpha * (image * 2 - 1))[..., mask == 0] / (1 - alpha.square()).sqrt()
        assert noise.std() == pytest.approx(1, abs=0.12) and abs(noise.mean()) < 0.15


def test_an_enlarged_fill_is_redrawn_by_ddpm_from_as_much_noise_as_asked(monkeypatch):
    image, mask, seen, guided = picture(1, 40, 40), torch.zeros(40, 40), [], []
    mask[4:24, 4:24] = 1
    monkeypatch.setattr("rad_core.gradpaint.GradPaint", lambda *args, **more: guided.append(args[2:5]) or GradPaint(*args, **more))
    hook = NET.register_forward_pre_hook(lambda net, inputs: seen.append(inputs))
    for detail in (0.5, 2.0):
        gradpaint_inpaint(NET, image, mask, "paper", steps=2, sampler="ddim", detail=detail)
        (_, filled, first), (sigmas, redrawn, second) = guided
        start = next(float(t[0]) for x, t in seen if x.shape[-1] > 16)
        assert start == pytest.approx(float(RegionSchedule().phase1.level_of_sigma(torch.tensor(0.35 * detail))) - 1, abs=15)
        assert redrawn.eta == pytest.approx(filled.eta * 0.35 * detail) and (first, second) == (RESPONSE["ddim"], RESPONSE["ddpm"])
        assert len(sigmas) == 9
        seen.clear()
        guided.clear()
    hook.remove()
