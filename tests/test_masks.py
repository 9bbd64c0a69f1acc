"""Masks: Perlin's noise, RAD's distribution, exact areas, one seed per mask."""

import numpy as np
import pytest
import torch

from rad_core.masks import SHAPES, _grow, animated_perlin_masks, grow_masks, perlin_masks
from rad_core.noise import gradient_noise, unit_gradients


def textbook_perlin(gradients: np.ndarray, y: float, x: float) -> float:
    """Perlin 2002 at one point: the faded mix of <gradient, offset> at the four corners."""
    fade = lambda t: 6 * t**5 - 15 * t**4 + 10 * t**3
    i, j = int(y), int(x)
    fy, fx = y - i, x - j
    dot = lambda a, b: gradients[0, i + a, j + b] * (fx - b) + gradients[1, i + a, j + b] * (fy - a)
    top, bottom = (dot(a, 0) * (1 - fade(fx)) + dot(a, 1) * fade(fx) for a in (0, 1))
    return top * (1 - fade(fy)) + bottom * fade(fy)


def test_noise_is_perlins():
    gradients = unit_gradients(torch.Generator().manual_seed(1), 5, 7)
    y, x = torch.tensor([[0.0, 0.3, 1.0, 2.77, 3.999]]), torch.tensor([[0.1, 0.5, 2.0, 4.4, 5.9, 5.999]])
    noise = gradient_noise(gradients[None], y, x)[0]
    expected = [[textbook_perlin(gradients.numpy(), float(a), float(b)) for b in x[0]] for a in y[0]]
    np.testing.assert_allclose(noise, expected, atol=1e-5)


def test_training_distribution():
    """Hole area uniform on [0, 1] (RAD 3.2): mean 0.50, deciles 0.1, 0.5, 0.9."""
    area = perlin_masks(3000, 16, 16).mean((1, 2, 3))
    assert area.mean().item() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(np.quantile(area, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)
    assert area.min() == 0 and area.max() > 0.99


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (33, 20), (64, 64)])
@pytest.mark.parametrize("options", [{}, {"octaves": 4, "scale": 9.5}, {"tile": True, "scale": 8}, {"invert": True}, {"scale": 1.0}])
def test_area_is_met_to_the_pixel(size, options):
    for area in (0.0, 0.3, 1.0):
        masks = perlin_masks(3, *size, seed=5, area=area, **options)
        assert ((masks == 0) | (masks == 1)).all()
        assert (masks.sum((1, 2, 3)) == round(area * size[0] * size[1])).all()


@pytest.mark.parametrize("kind", list(SHAPES))
def test_a_mask_depends_on_its_seed_alone(kind):
    batch = SHAPES[kind](6, 40, 56, seed=10)
    assert batch.shape == (6, 1, 40, 56) and batch.min() >= 0 and batch.max() <= 1
    for k in (0, 3, 5):
        assert torch.equal(batch[k], SHAPES[kind](1, 40, 56, seed=10 + k)[0])
    assert not torch.equal(batch[0], batch[1])


def test_box_and_extreme():
    box, extreme = SHAPES["box"](20, 256, 256, seed=1), SHAPES["extreme"](20, 256, 256, seed=1)
    assert (box.sum((1, 2, 3)) == 128**2).all() and torch.equal(extreme, 1 - box)
    assert len({tuple(m.nonzero()[0].tolist()) for m in box}) > 10  # its place is random


@pytest.mark.parametrize("pixels", [0, 1, 2, 5, 30])
def test_grown_masks_hold_every_pixel_within_the_distance(pixels):
    mask = torch.zeros(2, 1, 12, 15)
    mask[0, 0, 5, 6], mask[0, 0, 0, 0] = 1, 0.5
    y, x = torch.meshgrid(torch.arange(12), torch.arange(15), indexing="ij")
    expected = torch.maximum(((y - 5) ** 2 + (x - 6) ** 2 <= pixels**2).float(), 0.5 * (y**2 + x**2 <= pixels**2).float())
    grown = grow_masks(mask, pixels)
    assert torch.equal(grown[0, 0], expected) and not grown[1].any() and mask.sum() == 1.5
    with pytest.raises(ValueError, match="0 pixels or more"):
        grow_masks(mask, -1)


@pytest.mark.parametrize(("scale", "dtype"), [(1.0, torch.uint8), (51 / 255, torch.uint8), (0.3, torch.float32)])
def test_holes_are_grown_in_bytes_where_these_lose_nothing_and_only_around_the_hole(scale, dtype, monkeypatch):
    seen = []
    monkeypatch.setattr("rad_core.masks._grow", lambda hole, pixels, grow=_grow: seen.append(hole) or grow(hole, pixels))
    mask = torch.zeros(1, 1, 90, 70)
    mask[..., 20:30, 60:70] = scale
    mask[..., 22, 55] = 1.0
    grown = grow_masks(mask, 9)
    offsets = [(y, x) for y in range(-9, 10) for x in range(-9, 10) if y * y + x * x <= 81]
    padded = torch.nn.functional.pad(mask, (9,) * 4)
    expected = torch.stack([padded[..., 9 + y : 99 + y, 9 + x : 79 + x] for y, x in offsets]).amax(0)
    assert torch.equal(grown, expected)
    assert [(hole.dtype, tuple(hole.shape)) for hole in seen] == [(dtype, (1, 1, 28, 33))]


def test_tiles_meet():
    soft = perlin_masks(2, 64, 64, seed=3, scale=16, area=0.5, softness=1.0, tile=True)
    largest_step = soft[..., 10:60].diff(dim=3).abs().amax()
    assert soft[..., [63, 0]].diff(dim=3).abs().amax() <= 1.2 * largest_step
    assert soft[:, :, [63, 0]].diff(dim=2).abs().amax() <= 1.2 * largest_step


def test_softness_and_animation():
    soft = perlin_masks(2, 64, 64, scale=20, area=0.4, softness=0.2)
    assert ((soft > 0) & (soft < 1)).float().mean() > 0.05
    clip = animated_perlin_masks(24, 48, 48, scale=16, area=0.3, speed=0.1, loop=True)
    assert (clip.sum((1, 2, 3)) == round(0.3 * 48 * 48)).all()
    change = (clip - clip.roll(1, 0)).abs().mean((1, 2, 3))
    assert change.max() < 0.15 and change.min() > 0  # a small change in every frame, also from the last to the first
    assert torch.equal(clip[:5], animated_perlin_masks(24, 48, 48, scale=16, area=0.3, speed=0.1, loop=True)[:5])
    with pytest.raises(ValueError, match="speed"):
        animated_perlin_masks(2, 8, 8, scale=4, area=0.3, speed=float("inf"))


@pytest.mark.parametrize(
    "bad", [{"scale": 0.5}, {"area": 30}, {"area": -0.1}, {"octaves": 0}, {"softness": 2.0}, {"area": float("nan")}, {"height": 0}]
)
def test_bad_controls_are_told(bad):
    with pytest.raises(ValueError, match=next(iter(bad)) if "height" not in bad else "at least 1x1"):
        perlin_masks(**({"n": 1, "height": 8, "width": 8} | bad))


def test_a_soft_rim_lies_around_the_edge_of_the_hard_mask_and_is_as_wide_as_asked():
    options = {"seed": 2, "scale": 20, "area": 0.4}
    hard, soft, softer = (perlin_masks(1, 64, 64, softness=softness, **options) for softness in (0.0, 0.2, 0.4))
    assert torch.equal((soft >= 0.5).float(), hard)
    both = (soft > 0) & (soft < 1)
    torch.testing.assert_close((softer - 0.5)[both] * 2, (soft - 0.5)[both], rtol=0, atol=1e-5)
    whole = perlin_masks(1, 64, 64, softness=1.0, **options)
    assert whole.max() - whole.min() < 1, "a rim as wide as the range of the noise has not both ends in it"


def test_an_inverted_mask_is_the_other_end_of_the_same_noise():
    for options in ({"octaves": 3}, {"tile": True}):
        hole, rest = (perlin_masks(2, 40, 56, seed=3, scale=9.0, area=a, invert=a > 0.5, **options) for a in (0.25, 0.75))
        assert torch.equal(rest, 1 - hole)
    still, turned = (animated_perlin_masks(3, 40, 56, scale=9.0, area=a, invert=a > 0.5) for a in (0.25, 0.75))
    assert torch.equal(turned, 1 - still)
