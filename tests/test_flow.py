"""RAD for flow matching, on a Gaussian whose exact velocity, conditional mean and covariance are known; and its closed forms."""

import pytest
import torch
from test_samplers import PIXELS, Gaussian

from rad_core import FlowDenoiser, FlowSchedule
from rad_core.flow import flow_start, shifted
from rad_core.guidance import GradPaint, Guidance, KnownPixels
from rad_core.samplers import SAMPLERS
from rad_core.training.objective import FlowTarget, flow_levels, losses, objective

COUNT = 6000
KNOWN = torch.linspace(0.7, -0.6, PIXELS).double().view(1, 1, 3, 3)


def velocity(x, sigma):
    """v = n - x0 in expectation: (x - E[x0 | x]) / s, with E[x0 | x] = mean + cov A (A cov A + S^2)^-1 (x - A mean), A = 1 - s."""
    gaussian, s = Gaussian(), sigma.double().expand(len(sigma) if sigma.ndim else 1, 1, 3, 3)[0].flatten()
    scaled = gaussian.cov * (1 - s)  # cov A
    gain = torch.linalg.solve((1 - s)[:, None] * scaled + torch.diag(s.square()) + 1e-12 * torch.eye(PIXELS), scaled.T).T
    x0 = (gaussian.mean + (x.flatten(1) - (1 - s) * gaussian.mean) @ gain.T).view_as(x)
    return torch.where(sigma > 0, (x - x0) / torch.where(sigma > 0, sigma, 1), 0)


def run(name, mask, steps, order=None, x0=KNOWN, wrap=lambda denoise, sigmas: denoise, **options):
    stream = torch.Generator().manual_seed(0)
    noise = lambda: torch.randn(COUNT, 1, 3, 3, generator=stream, dtype=torch.float64)
    sigmas = [s.double() for s in FlowSchedule(shift=2.0).sigmas(mask, steps, order)]
    start = flow_start(x0.expand(COUNT, 1, 3, 3), noise(), sigmas[0])
    return SAMPLERS[name](wrap(FlowDenoiser(velocity), sigmas), start, sigmas, noise, **options)


def assert_law(out, mask, mean, cov):
    hidden = mask.flatten() > 0
    found = out.flatten(1)[:, hidden]
    assert torch.equal(out.flatten(1)[:, ~hidden], KNOWN.flatten()[~hidden].expand(COUNT, -1))  # known pixels bit-exact
    assert (found.mean(0) - mean).abs().max() < 0.03
    assert (torch.cov(found.T) - cov).abs().max() < 0.03


def conditional(mask):
    """Exact mean and covariance of the mask's pixels under the known ones."""
    return Gaussian().posterior(KNOWN.flatten(), torch.zeros(PIXELS), mask.flatten() > 0)


HARD = torch.zeros(1, 1, 3, 3)
HARD.view(-1)[[0, 1, 3, 4, 8]] = 1
SOFT = torch.zeros(1, 1, 3, 3)
SOFT.view(-1)[[0, 4]], SOFT.view(-1)[5] = 1, 0.4
ENOUGH = {"ddpm": 200, "ddim": 120, "dpmpp_2m": 40}  # steps
RUNS = [*((name, ENOUGH[name], {}) for name in SAMPLERS), ("ddim", 200, {"eta": 1.0})]


@pytest.mark.parametrize(("name", "steps", "options"), RUNS)
def test_the_fill_is_the_conditional_distribution(name, steps, options):
    assert_law(run(name, HARD, steps, **options), HARD, *conditional(HARD))


@pytest.mark.parametrize(("name", "steps", "options"), RUNS)
def test_a_guidance_that_guides_no_step_changes_nothing(name, steps, options):
    def wrap(denoise, sigmas):
        return GradPaint(denoise, KnownPixels(KNOWN, HARD), sigmas, Guidance(until=0.0), flow=True)

    assert torch.equal(run(name, HARD, steps, wrap=wrap, **options), run(name, HARD, steps, **options))


@pytest.mark.parametrize(("name", "steps", "options"), RUNS)
def test_soft_pixels_that_follow_the_law_stay_in_it(name, steps, options):
    """Soft pixels drawn from the exact conditional distribution: what comes out follows that of all of them together."""
    mean, cov = conditional(SOFT)
    drawn = mean[2] + cov[2, 2].sqrt() * torch.randn(COUNT, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x0 = KNOWN.expand(COUNT, 1, 3, 3).clone()
    x0[:, 0, 1, 2] = drawn
    assert_law(run(name, SOFT, steps, x0=x0, **options), SOFT, mean, cov)


@pytest.mark.parametrize(("name", "options"), [("ddpm", {}), ("ddim", {"eta": 1.0})])
def test_soft_pixels_are_noisy_observations(name, options):
    """A soft pixel starts from (1 - s) x0 + s n; the stochastic samplers give the posterior under that observation, widened by its n."""
    mean, cov = conditional(SOFT)
    variance = torch.tensor((0.4 / 0.6) ** 2).double()
    gain = cov[:, 2] / (cov[2, 2] + variance)
    mean = mean + gain * (KNOWN.flatten()[5] - mean[2])
    cov = cov - gain[:, None] * cov[2] + gain[:, None] * gain * variance
    assert_law(run(name, SOFT, 200, **options), SOFT, mean, cov)


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
def test_an_order_changes_the_way_not_the_distribution(name):
    order = torch.linspace(0, 1, PIXELS).view(1, 1, 3, 3)
    assert_law(run(name, HARD, 300, order), HARD, *conditional(HARD))


def test_an_order_is_the_same_with_a_time_axis():
    mask, order = torch.ones(1, 1, 4, 6), torch.linspace(0, 1, 6).expand(1, 1, 4, 6)
    flat, frames = ([*FlowSchedule().maps(m, [1.0, 0.6, 0.3, 0.0], o)] for m, o in ((mask, order), (mask[:, :, None], order[:, :, None])))
    assert all(torch.equal(a, b[:, :, 0]) for a, b in zip(flat, frames, strict=True))


def test_a_constant_map_is_the_scalar_path():
    x = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    levels = [torch.tensor(s).double() for s in (1.0, 0.7, 0.4, 0.1, 0.0)]
    for name, sample in SAMPLERS.items():
        streams = [torch.Generator().manual_seed(1) for _ in range(2)]
        noise = [lambda g=g: torch.randn(x.shape, generator=g).double() for g in streams]
        scalar = sample(FlowDenoiser(velocity), x, levels, noise[0])
        maps = sample(FlowDenoiser(velocity), x, [s.expand(2, 1, 3, 3) for s in levels], noise[1])
        torch.testing.assert_close(maps, scalar, rtol=0, atol=1e-12, msg=name)


def test_euler_is_ddim_without_noise():
    x, s, s_next = torch.randn(1, 1, 3, 3).double(), torch.tensor(0.8).double(), torch.tensor(0.5).double()
    stepped = SAMPLERS["ddim"](FlowDenoiser(velocity), x, [s, s_next], None)
    torch.testing.assert_close(stepped, x + (s_next - s) * velocity(x, s))


def test_both_phases_end_at_pure_noise_and_meet():
    mask, schedule = torch.tensor([0.0, 0.3, 1.0]).view(1, 1, 1, 3), FlowSchedule(shift=3.0)
    at = lambda t: schedule.levels(mask, torch.tensor([t])).flatten().tolist()
    assert at(0.0) == [0, 0, 0]
    assert at(1.0) == pytest.approx([0, 0.3, 1])
    assert at(2.0) == pytest.approx([1, 1, 1])
    half = float(shifted(torch.tensor(0.5), 3.0))
    assert half == 0.75 and at(0.5) == pytest.approx([0, 0.3 * half, half]) and at(1.5) == pytest.approx([half, 0.3 + 0.7 * half, 1])
    frames = schedule.levels(mask[:, :, None].expand(1, 1, 2, 1, 3), torch.tensor([0.5]))
    assert frames.shape == (1, 1, 2, 1, 3) and torch.equal(frames[0, 0, 1, 0], schedule.levels(mask, torch.tensor([0.5]))[0, 0, 0])


def test_a_table_is_the_models_own_levels():
    table = shifted(torch.linspace(0, 1, 1001)[1:].double(), 3.0)
    u = torch.rand(50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(FlowSchedule(table=table).level(u), FlowSchedule(3.0).level(u), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="shift"):
        FlowSchedule(0.0)
    with pytest.raises(ValueError, match="rise"):
        FlowSchedule(table=torch.tensor([0.5, 0.1]))
    with pytest.raises(ValueError, match="must rise within"):
        FlowSchedule(table=torch.tensor([0.5, 1.2]))
    with pytest.raises(ValueError, match="steps"):
        FlowSchedule().sigmas(HARD, 0)


def test_the_objective_is_the_velocitys_error_over_noised_pixels_alone():
    stream = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 4, 3, 3, generator=stream), torch.randn(2, 4, 3, 3, generator=stream)
    levels = flow_levels(HARD.expand(2, 1, 3, 3), torch.tensor([0.4, 0.9]), FlowSchedule())
    seen = {}

    def net(x, s):
        seen["x"], seen["s"] = x, s
        return torch.where(s > 0, noise - x0 + 0.5, 100.0)  # an error where there is no noise must not count

    assert objective(net, x0, noise, levels, prediction="flow")[0].item() == pytest.approx(0.25)
    torch.testing.assert_close(seen["s"], HARD * torch.tensor([0.4, 0.9]).view(2, 1, 1, 1))
    torch.testing.assert_close(seen["x"], (1 - seen["s"]) * x0 + seen["s"] * noise)
    assert losses(net, x0, noise, levels, "flow")[1] is None
    halves = [FlowTarget(levels.timesteps[k : k + 1]) for k in (0, 1)]
    counts = halves[0].counts() + halves[1].counts()
    parts = [
        objective(
            lambda x, s, k=k: (noise - x0 + 0.5)[k : k + 1], x0[k : k + 1], noise[k : k + 1], halves[k], prediction="flow", counts=counts
        )[0]
        for k in (0, 1)
    ]
    assert sum(parts).item() == pytest.approx(0.25)
