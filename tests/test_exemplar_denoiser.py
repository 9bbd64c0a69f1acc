"""The picture's own patches as a denoiser: exact cases, and RAD's contract."""

import pytest
import torch

from rad_core import ExemplarDenoiser, ExemplarSettings
from rad_core.exemplar import patch_posterior
from rad_core.exemplar.coherence import choose_sources
from rad_core.exemplar.poisson import blend
from rad_core.exemplar.votes import vote, votes_of
from rad_core.samplers import sample_ddim


def closed_form(x, sigma, prior, tau):
    """Mean and variance of the posterior, one number after the other: x (C, n), sigma (n,), prior (K, C, n)."""
    x, sigma, prior = x.double(), sigma.double(), prior.double()
    logs = torch.stack([(-((x - p) ** 2) / (2 * (sigma**2 + tau**2))).sum() for p in prior])
    weights = (logs - logs.max()).exp()
    weights = weights / weights.sum()
    share = sigma**2 / (sigma**2 + tau**2)
    means = [(1 - share) * x + share * p for p in prior]
    mean = sum(w * m for w, m in zip(weights, means, strict=True))
    second = sum(w * (m**2 + share * tau**2) for w, m in zip(weights, means, strict=True))
    return mean, second - mean**2


@pytest.mark.parametrize("seed", range(4))
def test_one_patch_has_the_exact_posterior(seed):
    g = torch.Generator().manual_seed(seed)
    patches = torch.rand(7, 3, 5, 5, generator=g)
    settings = ExemplarSettings(tau=0.3)
    truth = torch.rand(1, 3, 5, 5, generator=g)
    denoiser = ExemplarDenoiser(truth, torch.ones(5, 5), references=patches, settings=settings, exact=True)
    sigma = torch.rand(1, 1, 5, 5, generator=g) * 2
    sigma[0, 0, 0, :3] = 0
    x = truth * 2 - 1 + sigma * torch.randn(1, 3, 5, 5, generator=g)
    mean, variance = denoiser.estimate(x, sigma)
    wanted = closed_form(x[0].flatten(1), sigma.flatten(), (patches * 2 - 1).flatten(2), 0.3)
    assert (mean[0].flatten(1) - wanted[0]).abs().max() < 1e-5
    assert (variance[0].flatten(1) - wanted[1]).abs().max() < 1e-5
    assert torch.equal(mean[..., 0, :3], x[..., 0, :3]) and not variance[..., 0, :3].any()
    assert variance.max() > 0.05


def test_the_formula_is_the_average_over_many_draws():
    g = torch.Generator().manual_seed(0)
    prior, sigma, tau = torch.randn(3, 4, 1, generator=g), torch.tensor([0.5, 1.0, 0.0, 2.0]), 0.4
    x0 = prior[torch.randint(3, (400_000,), generator=g)] + tau * torch.randn(400_000, 4, 1, generator=g)
    x = x0[0] + sigma[:, None] * torch.randn(4, 1, generator=g)
    mean, variance, _ = patch_posterior(x[None], sigma[None], prior, tau)
    # self-normalised importance sampling; the clean pixel is matched by a narrow window
    width = torch.where(sigma > 0, sigma, 0.05)[:, None]
    w = torch.softmax((-((x - x0) ** 2) / (2 * width**2)).sum((1, 2)), 0)
    estimate = (w[:, None, None] * x0).sum(0)
    assert (estimate - mean[0]).abs().max() < 0.05
    assert ((w[:, None, None] * (x0 - estimate) ** 2).sum(0) - variance[0]).abs().max() < 0.05


def test_the_fast_path_finds_the_largest_term():
    g = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, 24, 24, generator=g)
    image[..., 12:] = image[..., :12]  # everything is there twice
    mask = torch.zeros(24, 24)
    mask[8:13, 3:8] = 1
    settings = ExemplarSettings(near=0, texture=0)
    sigma = 0.05 * mask[None, None]
    x = image * 2 - 1 + sigma * torch.randn(1, 3, 24, 24, generator=g)
    mean, variance = ExemplarDenoiser(image, mask, settings=settings).estimate(x, sigma)
    exact, _ = ExemplarDenoiser(image, mask, settings=settings, exact=True).estimate(x, sigma)
    truth = image * 2 - 1
    assert (mean - exact).abs().max() < 0.02
    assert (mean - truth)[..., mask > 0].abs().mean() < 0.7 * (x - truth)[..., mask > 0].abs().mean()
    assert (variance >= 0).all()


def test_any_noise_map_is_taken_and_clean_pixels_stay():
    g = torch.Generator().manual_seed(2)
    image, mask = torch.rand(1, 3, 30, 26, generator=g), torch.zeros(30, 26)
    mask[10:18, 8:16] = 1
    denoiser = ExemplarDenoiser(image, mask)
    for sigma in (torch.rand(1, 1, 30, 26, generator=g), mask[None, None] * 0.5, torch.tensor(0.3), 0.0):
        sigma = torch.as_tensor(sigma)
        x = image * 2 - 1 + sigma * torch.randn(1, 3, 30, 26, generator=g)
        mean, variance = denoiser.estimate(x, sigma)
        clean = (sigma.expand(1, 1, 30, 26) == 0).expand_as(x)
        assert mean.shape == variance.shape == x.shape and torch.isfinite(mean).all()
        assert torch.equal(mean[clean], x[clean]) and not variance[clean].any()
        if (sigma > 0).any():
            assert (mean - x)[~clean].abs().max() > 0.01


def test_a_sampler_runs_on_it():
    image = (0.2 + 0.6 * (torch.arange(40) // 4 % 2)).expand(1, 3, 40, 40)
    mask = torch.zeros(40, 40)
    mask[14:24, 14:24] = 1
    g = torch.Generator().manual_seed(0)
    sigmas = [s * mask[None, None] for s in torch.cat([torch.logspace(0.3, -2, 10), torch.zeros(1)])]
    start = image * 2 - 1 + sigmas[0] * torch.randn(1, 3, 40, 40, generator=g)
    filled = sample_ddim(ExemplarDenoiser(image, mask), start, sigmas, lambda: torch.randn(1, 3, 40, 40, generator=g))
    assert (filled - (image * 2 - 1)).abs()[..., mask > 0].mean() < 0.1


def test_no_whole_patch_is_refused():
    with pytest.raises(ValueError, match="wholly known"):
        ExemplarDenoiser(torch.rand(1, 3, 8, 8), torch.ones(8, 8))
    with pytest.raises(ValueError, match="wholly known"):  # a reference has some, but the picture is narrower than a patch
        ExemplarDenoiser(torch.rand(1, 3, 4, 32), torch.ones(4, 32), references=torch.rand(1, 3, 32, 32))


def energy(level, sources, u, eps, rho):
    """The blend's energy, one pair of pixels after the other: u (P, 3) of the level's pixels."""
    colour, height, width = level.state[:, :3].double(), level.height, level.picture_width
    place = {int(pixel): k for k, pixel in enumerate(level.pixels)}
    total = eps * (u - colour[sources]).square().sum()

    def own(pixel, row, column):
        """The difference to a neighbour that a hole pixel's source has."""
        if pixel not in place:
            return None
        source = int(sources[place[pixel]])
        r, c = source // level.width + row, source % level.width + column
        beside = r * level.width + c
        return colour[source] - colour[beside] if 0 <= r < height and 0 <= c < width and level.known[beside] else None

    for r in range(height):
        for c in range(width):
            for row, column in ((0, 1), (1, 0)):
                a, b = r * level.width + c, (r + row) * level.width + c + column
                if r + row >= height or c + column >= width or (a not in place and b not in place):
                    continue
                value = lambda pixel: u[place[pixel]] if pixel in place else colour[pixel]
                copied = lambda pixel: colour[sources[place[pixel]]] if pixel in place else colour[pixel]
                ours, theirs = own(a, row, column), own(b, -row, -column)
                choices = [g for g in (ours, None if theirs is None else -theirs) if g is not None]
                wanted = max(choices, key=lambda g: float(g.square().sum()), default=copied(a) - copied(b))
                weight = 1 / (1 + (copied(a) - copied(b) - wanted).square().sum() / rho**2)
                total = total + weight * (value(a) - value(b) - wanted).square().sum()
    return total


def test_blended_colours_have_the_least_energy():
    g = torch.Generator().manual_seed(3)
    mask = torch.rand(11, 13, generator=g) < 0.2
    mask[3:7, :5] = True  # at the border too
    level = ExemplarDenoiser(torch.rand(1, 3, 11, 13, generator=g), mask.float(), settings=ExemplarSettings(patch=3)).level
    copyable = level.known.nonzero()[:, 0]
    sources = copyable[torch.randint(len(copyable), (len(level.pixels),), generator=g)]
    u = blend(level, sources, 200, 0.1, 0.5).double().requires_grad_(True)
    copied = level.state[sources, :3].double().requires_grad_(True)
    (slope,), (before,) = (torch.autograd.grad(energy(level, sources, colours, 0.1, 0.5), colours) for colours in (u, copied))
    assert slope.abs().max() < 5e-3 * before.abs().max()


def test_a_batch_is_refused():
    with pytest.raises(ValueError, match="one picture, got 2"):
        ExemplarDenoiser(torch.rand(2, 3, 11, 13), torch.zeros(11, 13))


def test_confidence_falls_with_the_depth():
    mask = torch.zeros(20, 20)
    mask[4:13, 5:14] = 1
    level = ExemplarDenoiser(torch.rand(1, 3, 20, 20), mask, settings=ExemplarSettings(falloff=1.5)).level
    row = level.confidence.view(20, level.width)[8, 3:11]
    torch.testing.assert_close(row, 1.5 ** -torch.tensor([0.0, 0, 1, 2, 3, 4, 5, 4]))


def test_the_vote_has_the_mean_and_the_variance_of_what_its_patches_show():
    """In units of [-1, 1]; with matches at random."""
    g = torch.Generator().manual_seed(4)
    image, mask = torch.rand(1, 3, 20, 20, generator=g), torch.zeros(20, 20)
    mask[6:12, 7:13] = 1
    level = ExemplarDenoiser(image, mask).level
    level.match[:] = level.keys[torch.randint(len(level.keys), (len(level.queries),), generator=g)]
    level.distance[:] = torch.rand(len(level.queries), generator=g)
    mean, variance = vote(level)
    v, sources = votes_of(level, level.pixels)
    shown = (image[0] * 2 - 1).permute(1, 2, 0).reshape(-1, 3)[sources]  # (P, 25, 3)
    expected = (v[..., None] * shown).sum(1)
    torch.testing.assert_close(mean[:, :3] * 3**0.5, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance, (v[..., None] * (shown - expected[:, None]).square()).sum(1), rtol=1e-3, atol=1e-5)


def test_where_all_patches_agree_the_blur_of_the_prior_is_the_variance():
    """s tau^2, s = sigma^2 / (sigma^2 + tau^2), on a flat picture, by the fast path and the exact one."""
    image, mask, tau, sigma = torch.full((1, 3, 16, 16), 0.4), torch.zeros(16, 16), 0.2, 0.3
    mask[5:9, 5:9] = 1
    for exact in (False, True):
        denoiser = ExemplarDenoiser(image, mask, settings=ExemplarSettings(tau=tau), exact=exact)
        _, variance = denoiser.estimate(image * 2 - 1, sigma * mask[None, None])
        torch.testing.assert_close(variance[0, 0], mask * sigma**2 / (sigma**2 + tau**2) * tau**2, rtol=1e-3, atol=1e-6)


def test_sources_are_chosen_until_no_neighbours_offset_is_better():
    """The cost of the module's equations, pixel by pixel: after many rounds no pixel of a seam lowers it by a neighbour's offset."""
    g = torch.Generator().manual_seed(5)
    mask = torch.zeros(12, 13)
    mask[3:9, 4:10] = 1
    level = ExemplarDenoiser(torch.rand(1, 3, 12, 13, generator=g), mask, settings=ExemplarSettings(patch=3)).level
    copyable = level.known.nonzero()[:, 0]
    sources = copyable[torch.randint(len(copyable), (len(level.pixels),), generator=g)]
    level.state[level.pixels, :3] = level.state[sources, :3].mean(0)
    chosen = choose_sources(level, sources, 1.0, 50)
    colour, width = level.state[:, :3].double(), level.width
    known, at = set(copyable.tolist()), torch.arange(12 * width)
    at[level.pixels] = chosen
    apart = lambda a, b: float((colour[a] - colour[b]).square().sum())

    def cost(pixel: int, source: int) -> float:
        total = apart(source, pixel)
        for shift in (1, -1, width, -width):
            beside, theirs = pixel + shift, int(at[pixel + shift])
            onward = min(max(source + shift, 0), len(level.known) - 1)
            if onward in known:
                total += apart(onward, theirs)
            if level.hole[beside] and theirs - shift in known:
                total += apart(source, theirs - shift)
        return total

    moved = 0
    for pixel, source in zip(level.pixels.tolist(), chosen.tolist(), strict=True):
        for shift in (1, -1, width, -width):
            other = int(at[pixel + shift]) - shift
            if level.hole[pixel + shift] and other in known:
                assert cost(pixel, source) <= cost(pixel, other) + 1e-5
                moved += 1
    assert moved > 20 and not torch.equal(chosen, sources)
