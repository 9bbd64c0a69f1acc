"""Every sampler on a Gaussian, whose exact denoiser, mean and covariance are known in closed form; and the authors' run, step by step."""

import numpy as np
import pytest
import torch

from rad_core import ADMDenoiser, Denoiser, NoiseSchedule, RegionSchedule, UNetConfig
from rad_core.samplers import RESPONSE, SAMPLERS, SPACING, STEPS, sample_ddim, sample_ddpm
from rad_core.training.objective import losses, region_levels

PIXELS = 9  # 3x3, one channel
COUNT = 20000


class Gaussian:
    """x0 ~ N(mean, cov); E[x0 | x0 + sigma n] = mean + cov (cov + diag(sigma^2))^-1 (x - mean)."""

    def __init__(self):
        place = torch.stack(torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij"), -1).view(-1, 2).double()
        self.cov = 0.3 * torch.exp(-torch.cdist(place, place) / 2)
        self.mean = torch.linspace(-0.4, 0.4, PIXELS).double()

    def __call__(self, x, sigma):
        noise = torch.diag(sigma.double().flatten().square())
        gain = torch.linalg.solve(self.cov + noise, self.cov).T
        return (self.mean + (x.flatten(1).double() - self.mean) @ gain.T).view_as(x).to(x)

    def posterior(self, x, sigma, hidden):
        """Exact posterior mean and covariance of the pixels `hidden`, the rest being observed through noise of `sigma`."""
        seen = ~hidden
        inner = self.cov[seen][:, seen] + torch.diag(sigma[seen].double().square())
        gain = torch.linalg.solve(inner, self.cov[seen][:, hidden]).T
        return self.mean[hidden] + gain @ (x[seen].double() - self.mean[seen]), self.cov[hidden][:, hidden] - gain @ self.cov[seen][
            :, hidden
        ]


class FixedOutput:
    """A network that gives the same output for every input, and records its timesteps."""

    def __init__(self, output, prediction="eps"):
        self.output, self.config, self.timesteps = output, UNetConfig(prediction=prediction), []

    def __call__(self, x, t):
        self.timesteps.append(t)
        return self.output


def run(name, mask, steps, known, **options):
    schedule, stream = RegionSchedule(), torch.Generator().manual_seed(0)
    sigmas = [s.double() for s in schedule.sigmas(mask, steps, SPACING[name])]
    noise = lambda: torch.randn(COUNT, 1, 3, 3, generator=stream, dtype=torch.float64)
    soft = (mask > 0) & (mask < 1)
    start = torch.where(mask < 1, known, 0).expand(COUNT, 1, 3, 3) + torch.where(soft, 0, sigmas[0]) * noise()
    return sigmas[0], SAMPLERS[name](Gaussian(), start, sigmas, noise, **options)


ENOUGH = {"ddpm": 400, "ddim": 250, "dpmpp_2m": 60}  # steps


def test_every_table_has_every_sampler():
    assert SAMPLERS.keys() == STEPS.keys() == SPACING.keys() == RESPONSE.keys() == ENOUGH.keys()


@pytest.mark.parametrize(("name", "steps", "options"), [*((name, ENOUGH[name], {}) for name in SAMPLERS), ("ddim", 400, {"eta": 1.0})])
def test_converges_to_the_exact_posterior(name, steps, options):
    mask = torch.zeros(1, 1, 3, 3)
    mask.view(-1)[[0, 1, 3, 4, 8]] = 1
    known = torch.linspace(0.7, -0.6, PIXELS).double().view(1, 1, 3, 3)
    _, out = run(name, mask, steps, known, **options)
    hidden = mask.flatten() == 1
    mean, cov = Gaussian().posterior(known.flatten(), torch.zeros(PIXELS), hidden)
    found = out.flatten(1)[:, hidden]
    assert (out.flatten(1)[:, ~hidden] == known.flatten()[~hidden]).all()  # known pixels bit-exact
    assert (found.mean(0) - mean).abs().max() < 0.02
    assert (torch.cov(found.T) - cov).abs().max() < 0.015


def test_order_of_convergence():
    """The deterministic samplers' error against their own limit: DDIM halves, 2M falls faster, when the steps double."""
    mask, known = torch.ones(1, 1, 3, 3), torch.zeros(1, 1, 3, 3).double()
    limit = run("ddim", mask, 1000, known)[1].flatten(1).var(0)
    error = {
        (name, n): (run(name, mask, n, known)[1].flatten(1).var(0) - limit).abs().max().item()
        for name in ("ddim", "dpmpp_2m")
        for n in (25, 50)
    }
    assert error["ddim", 50] < 0.65 * error["ddim", 25]
    assert error["dpmpp_2m", 50] < 0.5 * error["dpmpp_2m", 25]
    assert error["dpmpp_2m", 25] < error["ddim", 25]


def test_soft_pixels_are_noisy_observations():
    """A soft pixel starts from the picture plus its share of noise; what comes out is the posterior under that observation."""
    mask = torch.zeros(1, 1, 3, 3)
    mask.view(-1)[[0, 4]], mask.view(-1)[5] = 1, 0.4
    known = torch.linspace(0.5, -0.5, PIXELS).double().view(1, 1, 3, 3)
    sigma, out = run("ddpm", mask, 400, known)
    hidden = mask.flatten() > 0
    # the posterior of all three, pixel 5 being also observed through its starting noise
    gaussian = Gaussian()
    mean, cov = gaussian.posterior(known.flatten(), torch.zeros(PIXELS), hidden)
    k, s = 2, sigma.flatten()[5].square()
    gain = cov[:, k] / (cov[k, k] + s)
    mean, cov = mean + gain * (known.flatten()[5] - mean[k]), cov - gain[:, None] * cov[k]
    found = out.flatten(1)[:, hidden]
    assert (found.mean(0) - mean).abs().max() < 0.02
    assert (torch.cov(found.T) - cov).abs().max() < 0.015


def test_the_authors_run_step_by_step(oracle):
    """Their network outputs in, their next states out: the reverse step, the learned variance, the clipping."""
    schedule, mask, keep = RegionSchedule(), torch.tensor(oracle["in_mask"]), oracle["r100_keep"].tolist()
    sigmas = schedule.sigmas(mask, 100)
    assert schedule.phase1.timesteps(100).tolist() == oracle["r100_t"].tolist()
    for k, i in enumerate(keep):
        answer = torch.tensor(oracle["r100_out"][k])
        denoise = ADMDenoiser(FixedOutput(answer))
        x = torch.tensor(oracle["r100_x"][k]) * (1 + sigmas[i].square()).sqrt()
        tolerance = 1e-5 * (1 + float(sigmas[i].max())) * 10  # x0 = x - sigma eps: their float32 alpha_bar is off by 1e-3 at the noisy end
        np.testing.assert_allclose(denoise(x, sigmas[i]), oracle["r100_x0"][k], atol=max(tolerance, 2e-4))
        if i + 1 in keep:
            noise = iter([torch.tensor(oracle[f"noise_{i}"]), torch.zeros_like(x)])
            states = []
            sample_ddpm(Recorder(denoise, states), x, [sigmas[i], sigmas[i + 1], sigmas[i + 1] * 0], lambda noise=noise: next(noise))
            state = states[1] / (1 + sigmas[i + 1].square()).sqrt()
            np.testing.assert_allclose(state, oracle["r100_x"][k + 1], atol=3e-4)
        if i == 99:
            final = sample_ddpm(denoise, x, [sigmas[99], sigmas[100]], lambda: 0)
            np.testing.assert_allclose(((final + 1) / 2).clamp(0, 1), oracle["r100_final"], atol=1e-4)


class Recorder(Denoiser):
    def __init__(self, denoise, states):
        self.denoise, self.states = denoise, states

    def predict(self, x, sigma):
        self.states.append(x)
        return self.denoise.predict(x, sigma)


def test_plain_networks_are_told_one_step_number():
    net, schedule = FixedOutput(torch.zeros(2, 6, 4, 4)), NoiseSchedule()
    denoise = ADMDenoiser(net, region_aware=False)
    denoise(torch.zeros(2, 3, 4, 4), schedule.level_sigma[301].float())
    denoise(torch.zeros(2, 3, 4, 4), schedule.level_sigma[301].float().expand(2, 1, 4, 4))
    for t in net.timesteps:
        torch.testing.assert_close(t, torch.full((2,), 300.0), rtol=0, atol=1e-2)


def test_cancelling_stops_at_once():
    calls = []

    def denoise(x, sigma):
        calls.append(1)
        return x

    def callback(step, steps, x0):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_ddim(denoise, torch.zeros(1, 1, 2, 2), [torch.tensor(float(s)) for s in range(10, -1, -1)], lambda: 0, callback)
    assert len(calls) == 3


def test_networks_that_predict_v_are_read_as_such():
    """A network that answers with the true v gives back the true picture, per pixel, and has no loss."""
    stream = torch.Generator().manual_seed(0)
    x0, noise = torch.rand(2, 3, 4, 4, generator=stream) * 2 - 1, torch.randn(2, 3, 4, 4, generator=stream)
    mask = torch.rand(2, 1, 4, 4, generator=stream)
    schedule, t = RegionSchedule(), torch.tensor([300, 900])
    sigma = schedule.sigma(mask, t).float()
    alpha, std = 1 / (1 + sigma.square()).sqrt(), sigma / (1 + sigma.square()).sqrt()
    answer = torch.cat([alpha * noise - std * x0, torch.zeros_like(x0)], 1)
    denoise = ADMDenoiser(FixedOutput(answer, "v"))
    torch.testing.assert_close(denoise(x0 + sigma * noise, sigma), x0, rtol=1e-4, atol=1e-3)
    assert losses(lambda x, level: answer, x0, noise, region_levels(mask, t, schedule), prediction="v")[0].max() < 1e-10


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
def test_a_run_in_two_parts_is_the_run(name):
    """As with SplitSigmas: the first part ends at its own noise level, not too clean."""
    sigmas = [torch.tensor(s) for s in (5.0, 3.0, 1.0, 0.3, 0.0)]
    denoise, start = lambda x, sigma: x / (1 + sigma**2), torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 5
    options = {"eta": 0.7} if name == "ddim" else {}

    def run(x, part, stream):
        return SAMPLERS[name](denoise, x, part, lambda: torch.randn(x.shape, generator=stream), **options)

    whole, stream = run(start, sigmas, torch.Generator().manual_seed(1)), torch.Generator().manual_seed(1)
    assert torch.equal(run(run(start, sigmas[:3], stream), sigmas[2:], stream), whole)


def test_a_pixel_that_was_held_goes_on_by_a_first_order_step():
    estimates = iter([torch.tensor(5.0), torch.tensor(1.0)])  # the first is of a step in which it is held
    sigmas = [torch.tensor(sigma) for sigma in (2.0, 2.0, 1.0)]
    out = SAMPLERS["dpmpp_2m"](lambda x, sigma: next(estimates), torch.tensor(3.0), sigmas, None)
    assert out == (1.0 + 3.0) / 2


def test_a_plain_network_is_told_step_0_where_all_is_nearly_clean():
    net = FixedOutput(torch.zeros(1, 6, 4, 4))
    ADMDenoiser(net, region_aware=False)(torch.zeros(1, 3, 4, 4), torch.tensor(1e-4))
    assert net.timesteps[0].tolist() == [0]
