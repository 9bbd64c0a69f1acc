"""Random numbers: one stream per picture and purpose."""

import numpy as np
import pytest
import torch

from rad_core import landscapes, perlin_masks
from rad_core.masks import SHAPES
from rad_core.noise import fractal_noise, generators, normal, uniform


def first(seed, purpose):
    return torch.rand(4, generator=generators(seed, 1, purpose)[0]).tolist()


def test_every_bit_of_a_seed_counts():
    """torch's own CPU generator uses only the low 32 bits."""
    seeds = [0, 1, 2**32, 2**40, 2**63, 2**64 - 1, -2]
    assert len({tuple(first(seed, "a")) for seed in seeds}) == len(seeds)
    assert first(-1, "a") == first(2**64 - 1, "a")


def test_purposes_have_nothing_in_common():
    """A mask must not be correlated with the picture of the same seed, or training would exploit it."""
    hour = landscapes(300, 8, seed=0, return_scene=True)[1].hour
    edges = perlin_masks(300, 16, 16, seed=0, area=0.5).diff(dim=3).abs().mean((1, 2, 3))  # many for a fine lattice
    draws = torch.tensor([[first(seed, "a")[0], first(seed, "b")[0], first(seed + 1, "a")[0]] for seed in range(400)])
    correlation = torch.corrcoef(draws.T) - torch.eye(3)
    assert correlation.abs().max() < 0.15
    assert torch.corrcoef(torch.stack([hour, edges]))[0, 1].abs() < 0.15


def test_rows_come_from_their_streams():
    for distribution in (normal, uniform):
        batch = distribution(generators(3, 4, "x"), (2, 5))
        assert torch.equal(batch[2], distribution(generators(5, 1, "x"), (2, 5))[0])
    with pytest.raises(ValueError, match="2 pictures need 2 seeds"):
        generators([1], 2, "x")


def test_seeds_may_be_numpys():
    assert [g.initial_seed() for g in generators(list(np.arange(3)), 3, "a")] == [g.initial_seed() for g in generators(0, 3, "a")]


def test_an_octave_has_half_the_amplitude_of_the_one_before():
    y = torch.linspace(0, 1, 400)[None]
    one, two, three = (fractal_noise(generators(0, 1, "a"), 8, octaves, y, y) for octaves in (1, 2, 3))
    second, third = (two - one).std() / one.std(), (three - two).std() / one.std()
    assert second == pytest.approx(0.5, abs=0.1) and third == pytest.approx(0.25, abs=0.06)


def test_another_default_dtype_changes_no_draw():
    def draws():
        masks = [draw(2, 24, 24, seed=3) for draw in SHAPES.values()]
        return [*masks, normal(generators(0, 2, "x"), (3,)), uniform(generators(0, 2, "x"), (3,)), landscapes(1, 16, seed=3)]

    expected = draws()
    torch.set_default_dtype(torch.float64)
    try:
        found = draws()
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32 and torch.equal(a, b)
