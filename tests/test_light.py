"""Light that changes smoothly around a hole goes on through it."""

import torch
import torch.nn.functional as F

from rad_core.exemplar import exemplar_inpaint
from rad_core.exemplar.light import without_light
from rad_core.exemplar.scene import Scene

SIDE = 160
Y, X = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
HOLE = Y.square() + X.square() < 0.15
EVENING = torch.stack([0.4 + 0.3 * Y, 0.5 + 0.1 * Y + 0.15 * X, 0.6 + 0.2 * Y * Y])


def grain(amount: float) -> torch.Tensor:
    return amount * torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def test_a_polynomial_is_found_exactly():
    scene, light = without_light(Scene.of(EVENING, HOLE))
    truth = EVENING * 2 - 1
    assert (light - truth).abs().max() < 2e-3
    assert scene.sources[0].colour.abs().max() < 2e-3 and (scene.sources[0].colour[:, HOLE] == 0).all()


def test_a_hole_at_the_border_gets_a_plane():
    hole = X > 0.6
    tilted = torch.stack([0.4 + 0.3 * Y, 0.5 + 0.1 * Y + 0.15 * X, 0.6 + 0.2 * X])
    _, light = without_light(Scene.of(tilted + grain(0.01), hole))
    flat = light.double().diff(n=2, dim=2)
    assert flat.abs().max() < 1e-5, "it is extrapolated, so it must not curve"


def test_a_sky_is_filled_with_its_own_light():
    picture = EVENING + grain(0.01)
    out, _ = exemplar_inpaint(picture[None], HOLE[None, None].float())
    smooth = F.avg_pool2d(((out[0] - picture) * HOLE)[None], 9, 1, 4)[0]
    assert smooth[:, HOLE].square().mean() ** 0.5 < 1 / 255, "no lighter or darker spot (grain alone leaves .4 of 255)"
    assert torch.equal(out[0][:, ~HOLE], picture[:, ~HOLE])


def test_a_picture_alone_is_filled_as_in_its_batch():
    picture = (EVENING + grain(0.01))[None]
    alone, _ = exemplar_inpaint(picture, HOLE[None, None].float())
    for _ in range(4):
        assert torch.equal(exemplar_inpaint(picture.repeat(2, 1, 1, 1), HOLE)[0][:1], alone)


def test_a_row_is_no_light():
    """Nothing is said about other rows: no error, and no wild light."""
    hole = torch.ones(SIDE, SIDE, dtype=torch.bool)
    hole[80] = False
    _, light = without_light(Scene.of(EVENING, hole))
    assert light is None or light.abs().max() < 1


def test_other_pictures_are_left_as_they_are():
    checks = ((X * 8).long() + (Y * 8).long()) % 2 * 0.5 + 0.2
    flat = torch.full((3, SIDE, SIDE), 0.5) + grain(0.02)
    for picture in (checks.expand(3, -1, -1), flat, EVENING + grain(0.1)):
        scene = Scene.of(picture.clamp(0, 1), HOLE)
        assert without_light(scene) == (scene, None)


def test_previews_show_the_light():
    seen = []
    exemplar_inpaint(EVENING[None], HOLE[None, None].float(), callback=lambda step, steps, preview: seen.append(preview))
    late = seen[-2]
    assert (late - F.interpolate(EVENING[None], late.shape[2:], mode="area")).abs().max() < 0.1
