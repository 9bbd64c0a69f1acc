"""The field that carries an estimate's error from the known pixels into the hole."""

import pytest
import torch
from test_gradpaint import GAUSSIAN, MASK, SIDE, fills

from rad_core import SAMPLERS
from rad_core.carry import ErrorField
from rad_core.gradpaint import PRESETS
from rad_core.guidance import GradPaint, KnownPixels

KNOWN = 1 - MASK


def pictures(count=3, channels=1):
    return GAUSSIAN.sample(count * channels, torch.Generator().manual_seed(0)).view(count, channels, SIDE, SIDE)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 30.0])
def test_it_is_the_mean_of_a_gaussian_with_that_precision(sigma):
    """Against the dense matrices, built from the definition."""
    picture, error = pictures(), pictures(6)[3:]
    pixels = torch.arange(SIDE * SIDE).view(SIDE, SIDE)
    known = (KNOWN[0, 0] == 1).flatten()
    out = ErrorField(picture, KNOWN).mean(error, sigma)
    for k in range(len(picture)):
        precision = torch.eye(SIDE * SIDE, dtype=torch.float64) / sigma**2
        for p, q in ((pixels[:, :-1], pixels[:, 1:]), (pixels[:-1], pixels[1:])):
            p, q = p.flatten(), q.flatten()
            flat, both = picture[k].flatten().double(), known[p] & known[q]
            a = (flat[q] - flat[p])[both].square().mean()
            jump = torch.zeros(len(p), SIDE * SIDE, dtype=torch.float64)
            jump[range(len(p)), p], jump[range(len(p)), q] = -1, 1
            precision += jump.T @ jump / a
        mean = torch.linalg.solve(precision[~known][:, ~known], -precision[~known][:, known] @ error[k].flatten()[known].double())
        torch.testing.assert_close(out[k].flatten()[~known].double(), mean, rtol=1e-4, atol=1e-4)
        assert torch.allclose(out[k].flatten()[known], error[k].flatten()[known], atol=1e-5)


def test_channels_that_are_turned_give_the_same_turned():
    """As a VAE's channels mix what a picture's separate."""
    picture, error = pictures(2, 4), pictures(4, 4)[2:]
    picture = picture * torch.tensor([3.0, 1.0, 0.3, 0.1]).view(4, 1, 1)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    turned = lambda values: torch.einsum("kc,bchw->bkhw", turn, values)
    expected = turned(ErrorField(picture, KNOWN).mean(error, 0.7))
    torch.testing.assert_close(ErrorField(turned(picture), KNOWN).mean(turned(error), 0.7), expected, rtol=1e-3, atol=1e-4)


def test_a_still_video_carries_what_its_picture_does_and_fills_a_frame_without_known_pixels():
    picture, error = pictures(1), pictures(2)[1:]
    frames = lambda values: values[:, :, None].expand(-1, -1, 4, -1, -1)
    known = frames(KNOWN).clone()
    out = ErrorField(frames(picture), known).mean(frames(error), 1.0)
    torch.testing.assert_close(out, frames(ErrorField(picture, KNOWN).mean(error, 1.0)), rtol=1e-3, atol=1e-3)
    known[:, :, 2] = 0
    hidden = ErrorField(frames(picture), known).mean(frames(error), 1.0)[:, :, 2]
    assert (hidden - out[:, :, 2]).square().mean() < 0.2 * out[:, :, 2].square().mean()


def test_a_flat_picture_and_one_without_known_neighbours_are_carried_finitely():
    for picture, known in ((torch.zeros(1, 3, SIDE, SIDE), KNOWN), (pictures(1, 3), (torch.rand(1, 1, SIDE, SIDE) > 1).float())):
        assert torch.isfinite(ErrorField(picture, known).mean(torch.ones_like(picture), 100.0)).all()


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("steps", [2, 8])
def test_turbo_is_better_than_as_many_plain_steps(sampler, steps):
    """Squared distance to the posterior's mean over the whole hole, one network call a step for both."""
    distance = {}
    for name in ("turbo", "combine"):
        assert PRESETS[name].guidance.calls(steps) == steps
        out, picture, _ = fills(sampler, PRESETS[name].guidance, steps)
        distance[name] = ((out - GAUSSIAN.posterior_mean(picture, MASK)).square() * MASK).sum().item()
    assert distance["turbo"] < 0.85 * distance["combine"]


@pytest.mark.parametrize(
    "preset, steps, carries", [("plus", 10, True), ("plus", 11, False), ("turbo", 50, True), ("combine", 4, False), ("paper", 4, False)]
)
def test_carrying_follows_a_move_only_in_short_runs(preset, steps, carries):
    known = KnownPixels(pictures(), MASK)
    guided = GradPaint(GAUSSIAN, known, torch.linspace(3, 0, steps + 1), PRESETS[preset].guidance)
    assert (guided.field is not None) == carries
