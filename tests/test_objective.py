import math

import numpy as np
import torch

from rad_core import RegionSchedule
from rad_core.training.objective import (
    discretised_gaussian_log_likelihood,
    losses,
    masked_mean,
    objective,
    region_levels,
    rim_weights,
    variational_bound,
)


def recorded(oracle, k):
    """A network with the recorded output of the authors' network for training batch k, and the batch."""
    schedule = RegionSchedule()
    output, mask, t = torch.tensor(oracle["whole_tr_out"][k]), torch.tensor(oracle["whole_in_mask"]), torch.tensor(oracle["tr_t"][k])
    x0, noise = torch.tensor(oracle["whole_in_image"]), torch.tensor(oracle["whole_tr_noise"])
    return (lambda x, t: output), x0, noise, schedule, mask, t


def test_the_authors_losses(oracle):
    """Theirs is a plain mean over all pixels. Batch 1 (t = 0 and t = T1) has a bound of 0 because of a bug of theirs."""
    for k in range(4):
        net, x0, noise, schedule, mask, t = recorded(oracle, k)
        squared, bound = losses(net, x0, noise, region_levels(mask, t, schedule))
        np.testing.assert_allclose(squared.mean(), oracle["tr_mse"][k], rtol=1e-5)
        if k == 1:
            assert oracle["tr_vlb"][k] == 0 and bound.mean() > 0.1  # ours trains the decoder's term
        else:
            np.testing.assert_allclose(bound.mean(), oracle["tr_vlb"][k], rtol=1e-3)  # their betas are float32
            exact = losses(net, x0.double(), noise.double(), region_levels(mask, t, schedule))[1]
            np.testing.assert_allclose(bound.mean(), exact.mean(), rtol=1e-4)  # ours are not


def test_without_the_spatial_embedding_the_noise_is_the_same_and_the_step_is_told():
    """RAD, Table 3, Cfg. 2. In phase 1 the hole's own level is the step's, so training and inpainting pass the same timesteps."""
    schedule, t = RegionSchedule(), torch.tensor([0, 700, 1500])
    mask = torch.zeros(3, 1, 4, 4)
    mask[..., :2] = 1
    spatial, plain = (region_levels(mask, t, schedule, spatial=which) for which in (True, False))
    assert torch.equal(spatial.beta_bar, plain.beta_bar) and torch.equal(spatial.previous, plain.previous)
    assert plain.timesteps.tolist() == [1, 701, 1501]
    torch.testing.assert_close(spatial.timesteps.flatten(1).amax(1)[:2], plain.timesteps[:2])


def test_pixels_without_noise_are_left_out(oracle):
    net, x0, noise, schedule, mask, t = recorded(oracle, 0)
    squared, _ = losses(net, x0, noise, region_levels(mask, t, schedule))
    hole = (schedule.beta_bar(mask, t) > 0).expand_as(squared)
    expected = squared[hole].mean()
    torch.testing.assert_close(objective(net, x0, noise, region_levels(mask, t, schedule), vlb_weight=0)[0], expected)
    assert masked_mean(squared, torch.zeros(2, 1, 64, 64, dtype=torch.bool)) == 0


def test_everything_is_finite_at_every_singularity():
    """Soft, known and full pixels at the first, last and turning steps, values and gradients (RAD 3.4)."""
    schedule, stream = RegionSchedule(), torch.Generator().manual_seed(0)
    mask = torch.tensor([0.0, 1e-6, 0.5, 1 - 1e-6, 1.0]).view(1, 1, 1, 5)
    x0 = torch.tensor([-1.0, 1.0, 0.3]).view(1, 3, 1, 1).expand(1, 3, 1, 5)
    for t in (0, 1, 500, 999, 1000, 1001, 1998, 1999):
        out = torch.randn(1, 6, 1, 5, generator=stream).requires_grad_()
        noise = torch.randn(1, 3, 1, 5, generator=stream)
        loss, _ = objective(lambda x, t, out=out: out, x0, noise, region_levels(mask, torch.tensor([t]), schedule), vlb_weight=1.0)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(out.grad).all(), t


def test_bound_is_the_gaussian_divergence():
    """Against torch.distributions, at a step in the middle."""
    stream = torch.Generator().manual_seed(0)
    x0, x0_hat, x, v = (torch.rand(1, 3, 4, 4, generator=stream).double() * 2 - 1 for _ in range(4))
    bar, previous = torch.full((1, 1, 4, 4), 0.6).double(), torch.full((1, 1, 4, 4), 0.55).double()
    beta = 1 - (1 - bar) / (1 - previous)
    tilde = beta * previous / bar
    mean = lambda clean: (1 - previous).sqrt() * beta / bar * clean + (1 - beta).sqrt() * previous / bar * x
    deviation = (((v + 1) / 2) * beta.log() + (1 - (v + 1) / 2) * tilde.log()).exp().sqrt()
    q, p = torch.distributions.Normal(mean(x0), tilde.sqrt()), torch.distributions.Normal(mean(x0_hat), deviation)
    torch.testing.assert_close(variational_bound(x0, x0_hat, v, x, bar, previous), torch.distributions.kl_divergence(q, p) / math.log(2))


def test_discretised_likelihood_sums_to_one():
    values = torch.arange(256).double() / 127.5 - 1
    for mean, std in [(0.2, 0.3), (-0.99, 0.01), (3.0, 0.5), (0.5, 0.002)]:
        log = discretised_gaussian_log_likelihood(values, torch.tensor(mean).double(), torch.tensor(std).double().log())
        assert abs(log.exp().sum().item() - 1) < 1e-4
    assert torch.isfinite(discretised_gaussian_log_likelihood(values.float(), torch.tensor(-1.0), torch.tensor(-5.0))).all()


def test_pixels_beside_known_ones_count_more_where_asked():
    """A hole of 9 columns beside 2 known ones: weights 1 + 6 / d for d = 1, 2, 3, and the objective is the mean under them."""
    mask = torch.zeros(1, 1, 11, 11)
    mask[..., 2:] = 1
    weights = rim_weights(mask.bool(), 6.0)
    assert torch.equal(weights[0, 0, 5, 2:], torch.tensor([7.0, 4, 3, 1, 1, 1, 1, 1, 1]))
    assert torch.equal(rim_weights(torch.ones(2, 1, 3, 8, 8).bool(), 6.0), torch.ones(2, 1, 3, 8, 8)), "no pixel is known"
    generator = torch.Generator().manual_seed(0)
    x0, noise, out = (torch.randn(1, 3, 11, 11, generator=generator) for _ in range(3))
    levels = region_levels(mask, torch.tensor([400]), RegionSchedule())
    found, errors = objective(lambda x, t: out, x0, noise, levels, rim_weight=6.0)
    hole = (mask > 0).expand(1, 3, -1, -1)
    torch.testing.assert_close(found, ((out - noise).square() * weights)[hole].mean())
    torch.testing.assert_close(errors, (out - noise).square()[hole].mean()[None])  # the log's parts are without them


def test_the_bound_of_a_network_that_predicts_v_is_that_of_its_noise():
    schedule, stream, t = RegionSchedule(), torch.Generator().manual_seed(0), torch.tensor([400])
    x0, noise, eps, values = (torch.randn(1, 3, 4, 4, generator=stream).double().clamp(-1, 1) for _ in range(4))
    levels = region_levels(torch.ones(1, 1, 4, 4), t, schedule)
    alpha, std = levels.scales()
    v = alpha * eps - std * (alpha * x0 + std * noise - std * eps) / alpha
    bounds = [
        losses(lambda x, t, out=out: torch.cat([out, values], 1), x0, noise, levels, kind)[1] for out, kind in ((eps, "eps"), (v, "v"))
    ]
    torch.testing.assert_close(*bounds)
