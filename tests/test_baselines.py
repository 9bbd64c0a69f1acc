"""Rival methods on a Gaussian, whose denoiser and posterior are known, and what is promised for every picture."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from test_samplers import PIXELS, Gaussian

from rad_core import GradPaint, RegionSchedule, perlin_masks
from rad_core.bench.baselines import RIVALS, rival_inpaint
from rad_core.bench.baselines.langevin import _transition
from rad_core.bench.baselines.travel import visits, walk
from rad_core.gradpaint import PRESETS
from rad_core.samplers import sample_ddpm
from rad_core.unet import UNet, UNetConfig

COUNT = 1000
MASK = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
MASK.view(-1)[[0, 1, 3, 4, 8]] = 1
KNOWN = torch.linspace(0.7, -0.6, PIXELS).double().view(1, 1, 3, 3)
HIDDEN = MASK.flatten() == 1


class Counted(Gaussian):
    """The exact denoiser where all pixels have one noise level, and how often it was called."""

    calls = 0

    def gain(self, sigma):
        return torch.linalg.solve(self.cov + float(sigma.max()) ** 2 * torch.eye(PIXELS, dtype=torch.float64), self.cov).T

    def __call__(self, x, sigma):
        self.calls += 1
        return (self.mean + (x.flatten(1) - self.mean) @ self.gain(sigma).T).view_as(x)


def combine(denoise, x, sigmas, noise, callback=None, *, picture, mask):
    """Combine-image: known pixels are noised afresh at every level, and that is all."""
    noised = lambda x, sigma: torch.lerp(picture + sigma * noise(), x, mask)
    return sample_ddpm(GradPaint(denoise, picture, mask, sigmas, PRESETS["combine"], noised), x, sigmas, noise)


def run(sample, steps, count=COUNT):
    stream, denoise = torch.Generator().manual_seed(0), Counted()
    sigmas = [s.double() for s in RegionSchedule().sigmas(torch.ones(1, 1, 1, 1), steps)]
    noise = lambda: torch.randn(count, 1, 3, 3, generator=stream, dtype=torch.float64)
    out = sample(denoise, sigmas[0] * noise(), sigmas, noise, picture=KNOWN * (1 - MASK), mask=MASK)
    return out, denoise.calls


def rival(name, jump=1, resamplings=1, **options):
    return partial(replace(RIVALS[name], jump=jump, resamplings=resamplings).sample, **options)


def errors(sample, steps):
    """Largest error of the hole's mean, and of its covariance, against the exact posterior's."""
    mean, cov = Gaussian().given(KNOWN.flatten(), torch.zeros(PIXELS), HIDDEN)
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
    """`mean` as a share of combine-image's error; combining ends .17 off where the prior's standard deviation is .55."""
    assert 0.12 < combining < 0.25
    found = errors(rival(name, **options), steps)
    assert found[0] < mean * combining and found[1] < cov


def test_ddnm_alone_is_combining():
    """Its known pixels are rightly noised at every level, as combining has them: without time travel it is off by as much."""
    assert errors(RIVALS["ddnm"].sample, 100)[0] == pytest.approx(errors(combine, 100)[0], rel=0.2)


def test_lanpaint_converges_to_the_exact_posterior():
    coarse, fine = (errors(rival("lanpaint", inner=inner), 20)[0] for inner in (1, 15))
    assert fine < 0.03 and fine < coarse / 2


def test_fast_langevin_dynamics_is_solved_exactly():
    """Two steps are one of twice the length, and the stationary law stays."""
    once, noise = (torch.tensor(part) for part in _transition(0.2, 15.0))
    twice, noise2 = (torch.tensor(part) for part in _transition(0.4, 15.0))
    torch.testing.assert_close(once @ once, twice)
    torch.testing.assert_close(once @ noise @ noise.T @ once.T + noise @ noise.T, noise2 @ noise2.T)
    stationary = torch.diag(torch.tensor([1.0, 15.0]))
    torch.testing.assert_close(once @ stationary @ once.T + noise @ noise.T, stationary)


@pytest.mark.parametrize("name", ["dps", "mcg"])
def test_the_gradient_is_the_closed_form(name):
    """A step from t to s, guided and not: x_s differs by the gradient of |y - x0|, in the papers' units x_t = x / sqrt(1 + t^2)."""
    t, s, scale = torch.tensor(2.0).double(), torch.tensor(0.7).double(), 0.4
    denoise, x = Counted(), torch.randn(5, 1, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    moved = {}
    for given in (0.0, scale):
        stream = torch.Generator().manual_seed(2)
        noise = lambda stream=stream: torch.randn(x.shape, generator=stream).double()
        moved[given] = RIVALS[name].sample(denoise, x, [t, s], noise, picture=KNOWN, mask=MASK, scale=given)
    residual = ((KNOWN - denoise(x, t)) * (1 - MASK)).flatten(1)
    gradient = -(residual / residual.norm(dim=1, keepdim=True)) @ denoise.gain(t) * ((1 + t**2) ** 0.5)  # by the paper's x_t
    papers = (moved[0.0] - moved[scale]).flatten(1) / (1 + s**2) ** 0.5
    where = HIDDEN if name == "mcg" else slice(None)  # MCG puts known pixels back
    torch.testing.assert_close(papers[:, where], (scale * gradient)[:, where])


def test_repaints_walk():
    assert walk(3, 1, 2) == [0, 1, 0, 1, 2, 1, 2, 3]
    assert walk(4, 2, 2) == [0, 1, 2, 3, 1, 2, 3, 4]
    assert visits(250, 10, 10) == 2410  # the paper's
    for steps, jump, resamplings in ((250, 10, 10), (30, 1, 5), (17, 4, 3), (3, 10, 10), (1, 1, 4)):
        path = walk(steps, jump, resamplings)
        assert sum(b > a for a, b in pairwise(path)) == visits(steps, jump, resamplings)


@pytest.mark.parametrize("name", list(RIVALS))
def test_network_calls_are_those_told(name):
    for steps in (1, 12):
        assert run(RIVALS[name].sample, steps, count=2)[1] == RIVALS[name].calls(steps)


def make_net() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16)).eval().requires_grad_(False)


NET = make_net()


@pytest.mark.parametrize("name", list(RIVALS))
def test_known_pixels_and_seeds(name):
    """Known pixels are bit-exact, and a picture is the same alone or in a batch."""
    image = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = perlin_masks(3, 16, 16, area=0.4)
    fill = lambda k: rival_inpaint(NET, image[k], mask[k], 3, name, seed=[5, 6, 7][k])
    together = fill(slice(None))
    known = (mask == 0).expand_as(image)
    assert torch.equal(together[known], image[known]) and torch.isfinite(together).all()
    assert (together - image)[~known].abs().mean() > 0.05
    torch.testing.assert_close(fill(slice(2, 3))[0], together[2], rtol=0, atol=1e-3)
