"""Baseline methods on a Gaussian, whose denoiser and posterior are known, and on pictures."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from test_samplers import PIXELS, Gaussian

from rad_core import RegionSchedule, perlin_masks
from rad_core.bench.baselines import BASELINES, baseline_inpaint
from rad_core.bench.baselines.langevin import _transition
from rad_core.bench.baselines.travel import visits, walk
from rad_core.guidance import GradPaint, Guidance, KnownPixels
from rad_core.samplers import sample_ddpm
from rad_core.unet import UNet, UNetConfig

COUNT = 1000
MASK = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
MASK.view(-1)[[0, 1, 3, 4, 8]] = 1
KNOWN = torch.linspace(0.7, -0.6, PIXELS).double().view(1, 1, 3, 3)
HIDDEN = MASK.flatten() == 1


class Counted(Gaussian):
    """The exact denoiser where all pixels have one noise level; counts its calls."""

    calls = 0

    def gain(self, sigma):
        return torch.linalg.solve(self.cov + float(sigma.max()) ** 2 * torch.eye(PIXELS, dtype=torch.float64), self.cov).T

    def __call__(self, x, sigma):
        self.calls += 1
        return (self.mean + (x.flatten(1) - self.mean) @ self.gain(sigma).T).view_as(x)


def combine(denoise, x, sigmas, noise, callback=None, *, picture, mask):
    """Combine-image: known pixels are noised afresh at every level, without guidance."""
    known = KnownPixels(picture, mask, combine=lambda x, sigma, mask: torch.lerp(picture + sigma * noise(), x, mask))
    return sample_ddpm(GradPaint(denoise, known, sigmas, Guidance(until=0.0)), x, sigmas, noise)


def run(sample, steps, count=COUNT):
    stream, denoise = torch.Generator().manual_seed(0), Counted()
    sigmas = [sigma.double() for sigma in RegionSchedule().sigmas(torch.ones(1, 1, 1, 1), steps)]
    noise = lambda: torch.randn(count, 1, 3, 3, generator=stream, dtype=torch.float64)
    out = sample(denoise, sigmas[0] * noise(), sigmas, noise, picture=KNOWN * (1 - MASK), mask=MASK)
    return out, denoise.calls


def baseline(name, jump=1, resamplings=1, **options):
    return partial(replace(BASELINES[name], jump=jump, resamplings=resamplings).sample, **options)


def errors(sample, steps):
    """Largest error of the hole's mean, and of its covariance, against the exact posterior's."""
    mean, cov = Gaussian().posterior(KNOWN.flatten(), torch.zeros(PIXELS), HIDDEN)
    found = run(sample, steps)[0].flatten(1)[:, HIDDEN]
    return float((found.mean(0) - mean).abs().max()), float((torch.cov(found.T) - cov).abs().max())


@pytest.fixture(scope="module")
def combining():
    return errors(combine, 100)[0]


@pytest.mark.parametrize(
    ("name", "steps", "options", "mean", "cov"),
    [
        ("repaint", 100, {"jump": 10, "resamplings": 5}, 0.4, 0.06),
        ("ddrm", 100, {}, 0.75, 0.08),
        ("ddnm", 100, {"jump": 10, "resamplings": 5}, 0.6, 0.06),
        ("ding", 100, {}, 0.4, 0.03),
        ("lanpaint", 30, {"inner": 10}, 0.15, 0.06),
        ("dps", 100, {"scale": 0.3}, 0.5, 0.06),
        ("mcg", 100, {"scale": 0.3}, 0.7, 0.06),
    ],
)
def test_nearer_to_the_exact_posterior_than_combining(name, steps, options, mean, cov, combining):
    """`mean` is a share of combine-image's error, which is .17 where the prior's standard deviation is .55."""
    assert 0.12 < combining < 0.25
    found = errors(baseline(name, **options), steps)
    assert found[0] < mean * combining and found[1] < cov


def test_ddnm_alone_is_combining():
    """Its known pixels are noised correctly at every level, as in combining: without time travel it has the same error."""
    assert errors(BASELINES["ddnm"].sample, 100)[0] == pytest.approx(errors(combine, 100)[0], rel=0.2)


def test_lanpaint_converges_to_the_exact_posterior():
    coarse, fine = (errors(baseline("lanpaint", inner=inner), 20)[0] for inner in (1, 15))
    assert fine < 0.03 and fine < coarse / 2


def test_fast_langevin_dynamics_is_solved_exactly():
    """Two steps equal one of twice the length, and the stationary distribution is preserved."""
    once, noise = (torch.tensor(part) for part in _transition(0.2, 15.0))
    twice, noise2 = (torch.tensor(part) for part in _transition(0.4, 15.0))
    torch.testing.assert_close(once @ once, twice)
    torch.testing.assert_close(once @ noise @ noise.T @ once.T + noise @ noise.T, noise2 @ noise2.T)
    stationary = torch.diag(torch.tensor([1.0, 15.0]))
    torch.testing.assert_close(once @ stationary @ once.T + noise @ noise.T, stationary)


@pytest.mark.parametrize("name", ["dps", "mcg"])
def test_the_gradient_is_the_closed_form(name):
    """A step with and without guidance differs by the gradient of |y - x0|, in the paper's units x_t = x / sqrt(1 + sigma^2)."""
    sigma, sigma_next, scale = torch.tensor(2.0).double(), torch.tensor(0.7).double(), 0.4
    denoise, x = Counted(), torch.randn(5, 1, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    moved = {}
    for value in (0.0, scale):
        stream = torch.Generator().manual_seed(2)
        noise = lambda stream=stream: torch.randn(x.shape, generator=stream).double()
        moved[value] = BASELINES[name].sample(denoise, x, [sigma, sigma_next], noise, picture=KNOWN, mask=MASK, scale=value)
    residual = ((KNOWN - denoise(x, sigma)) * (1 - MASK)).flatten(1)
    gradient = -(residual / residual.norm(dim=1, keepdim=True)) @ denoise.gain(sigma) * ((1 + sigma**2) ** 0.5)  # by the paper's x_t
    difference = (moved[0.0] - moved[scale]).flatten(1) / (1 + sigma_next**2) ** 0.5
    where = HIDDEN if name == "mcg" else slice(None)  # MCG puts known pixels back
    torch.testing.assert_close(difference[:, where], (scale * gradient)[:, where])
    assert difference[:, HIDDEN].abs().mean() > 0.01


def test_repaints_walk():
    assert walk(3, 1, 2) == [0, 1, 0, 1, 2, 1, 2, 3]
    assert walk(4, 2, 2) == [0, 1, 2, 3, 1, 2, 3, 4]
    assert visits(250, 10, 10) == 2410  # the paper's
    for steps, jump, resamplings in ((250, 10, 10), (30, 1, 5), (17, 4, 3), (3, 10, 10), (1, 1, 4)):
        path = walk(steps, jump, resamplings)
        assert sum(b > a for a, b in pairwise(path)) == visits(steps, jump, resamplings)


@pytest.mark.parametrize("name", list(BASELINES))
def test_network_calls_are_those_told(name):
    for steps in (1, 12):
        assert run(BASELINES[name].sample, steps, count=2)[1] == BASELINES[name].calls(steps)


def make_net() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16)).eval().requires_grad_(False)


NET = make_net()


@pytest.mark.parametrize("name", list(BASELINES))
def test_known_pixels_and_seeds(name):
    """Known pixels are bit-identical, the hole is filled, and a picture is the same alone or in a batch."""
    image = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = perlin_masks(3, 16, 16, area=0.4)
    fill = lambda k: baseline_inpaint(NET, image[k], mask[k], 3, name, seed=[5, 6, 7][k])
    filled = fill(slice(None))
    known = (mask == 0).expand_as(image)
    assert torch.equal(filled[known], image[known]) and torch.isfinite(filled).all()
    assert (filled - image)[~known].abs().mean() > 0.05
    torch.testing.assert_close(fill(slice(2, 3))[0], filled[2], rtol=0, atol=1e-3)
