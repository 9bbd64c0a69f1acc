"""`exemplar_inpaint(frames=True)`: what another frame shows is found there, and what none shows goes with the scene."""

import math
from functools import partial

import pytest
import torch
from conftest import box_mask, noise_picture, rmse
from torch import Tensor

from rad_core import ExemplarSettings, exemplar_inpaint
from rad_core.boxes import Box
from rad_core.exemplar.motion import motion
from rad_core.exemplar.scene import Source
from rad_core.exemplar.video import AT_ONCE, following, neighbours

quick = partial(exemplar_inpaint, settings="fast")  # where quality does not matter
SIDE = 64


def camera(k: int, pan: float = 2.6, turn: float = 0.5, zoom: float = 0.7) -> Tensor:
    """Where the places (y, x, 1) of frame k are in the scene: it pans by pixels, turns by degrees and zooms by per cent a frame."""
    scale, angle = 1 - zoom * k / 100, math.radians(turn * k)
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    middle = SIDE / 2
    return torch.tensor([[a, b, -(a + b) * middle], [-b, a, (b - a) * middle + pan * k], [0, 0, 1]], dtype=torch.float64)


def seen(matrix: Tensor) -> Tensor:
    """A scene of waves with no repetition nearby, seen through a camera, exactly: (3, SIDE, SIDE) in [0, 1]."""
    places = torch.arange(SIDE, dtype=torch.float64) + 0.5
    grid = torch.stack([*torch.meshgrid(places, places, indexing="ij"), torch.ones(SIDE, SIDE, dtype=torch.float64)])
    y, x = (matrix[:2] @ grid.flatten(1)).view(2, SIDE, SIDE)
    g = torch.Generator().manual_seed(3)
    length, angle, phase = (torch.rand(3, 12, generator=g, dtype=torch.float64) for _ in range(3))
    wave = 2 * math.pi / (5 + 20 * length)[..., None, None]
    along = (2 * math.pi * angle)[..., None, None]
    waves = torch.sin(wave * (along.cos() * x + along.sin() * y) + 2 * math.pi * phase[..., None, None])
    return (0.5 + 0.04 * waves.sum(1)).clamp(0, 1).float()


def corner_error(found: Tensor, true: Tensor) -> float:
    """Most pixels by which two motions differ at the corners of a frame."""
    corners = torch.tensor([[0, 0, 1], [0, SIDE, 1], [SIDE, 0, 1], [SIDE, SIDE, 1]], dtype=torch.float64).T
    return float(((found - true) @ corners)[:2].abs().max())


FRAME = Box(0, 0, SIDE, SIDE)


@pytest.mark.parametrize("what", ["camera", "light", "something else moves", "hole"])
def test_a_camera_that_turns_and_zooms_is_found_to_a_part_of_a_pixel(what):
    a, b, known = seen(camera(0)), seen(camera(3)), torch.ones(SIDE, SIDE, dtype=torch.bool)
    other = known.clone()
    if what == "light":
        b = 0.8 * b + 0.05
    if what == "something else moves":
        b[:, 8:24, 30:50] = seen(camera(40))[:, 8:24, 30:50]
    if what == "hole":
        known[20:44, 10:40] = False
        other[10:34, 30:50] = False
    found = motion(a, known, b, other, FRAME)
    assert corner_error(found.matrix, torch.linalg.solve(camera(3), camera(0))) < 0.1
    assert found.shift(FRAME) is None


def test_behind_a_moving_hole_a_moving_camera_shows_the_scene():
    frames = torch.stack([seen(camera(k)) for k in range(6)])
    masks = torch.stack([box_mask(SIDE, SIDE, 22, 4 + 9 * k, 20, 10) for k in range(6)])
    filled, _ = quick(frames, masks, frames=True)
    assert max(rmse(filled[k : k + 1], frames[k : k + 1], masks[k]) for k in range(6)) < 1.5 / 255


def test_what_no_frame_shows_stays_in_its_place_in_the_scene():
    """The hole hides a circle of the scene; points of it are looked up in the first and in the last frame's fill."""
    count, middle = 10, camera(5)[:2] @ torch.tensor([SIDE / 2, SIDE / 2, 1], dtype=torch.float64)
    frames = torch.stack([seen(camera(k)) for k in range(count)])
    places = torch.arange(SIDE, dtype=torch.float64) + 0.5
    grid = torch.stack([*torch.meshgrid(places, places, indexing="ij"), torch.ones(SIDE, SIDE, dtype=torch.float64)]).flatten(1)
    away = torch.stack([((camera(k)[:2] @ grid) - middle[:, None]).norm(dim=0).view(SIDE, SIDE) for k in range(count)])
    filled, _ = quick(frames, (away < 8).float(), frames=True)
    inner = away[-1].flatten() < 6
    back = (torch.linalg.solve(camera(0), camera(count - 1)) @ grid[:, inner])[:2].float()
    at = (back / SIDE * 2 - 1).flip(0).T[None, None]
    first = torch.nn.functional.grid_sample(filled[:1], at, "bicubic", align_corners=False)[0, :, 0]
    assert (first - filled[-1].flatten(1)[:, inner]).square().mean().sqrt() < 4 / 255


def test_a_moving_hole_in_a_video_is_filled_from_other_frames():
    scene = noise_picture(1, 48, 120, seed=9)[0]
    frames = torch.stack([scene[:, :, 5 * k : 5 * k + 64] for k in range(4)])
    masks = torch.stack([box_mask(48, 64, 14, 8 + 6 * k, 18, 14) for k in range(4)])
    filled, _ = exemplar_inpaint(frames, masks, frames=True)
    hidden = torch.zeros(48, 120)
    for k in range(4):  # of the scene, what some frame shows
        hidden[:, 5 * k : 5 * k + 64] += 1 - masks[k]
    seen = torch.stack([masks[k] * (hidden[:, 5 * k : 5 * k + 64] > 0) for k in range(4)])[:, None]
    assert seen.sum() > 0.5 * masks.sum()
    assert rmse(filled, frames, seen) < 3 / 255


def test_a_static_camera_shows_behind_a_moving_hole():
    scene = noise_picture(1, 48, 64, seed=4)
    masks = torch.stack([box_mask(48, 64, 14, 6 + 16 * k, 18, 14) for k in range(3)])
    frames = scene.expand(3, -1, -1, -1)
    filled, _ = exemplar_inpaint(frames, masks, frames=True)
    assert rmse(filled, frames, masks[:, None]) < 1e-3


def test_what_no_frame_shows_does_not_flicker():
    scene = noise_picture(1, 48, 90, seed=6)[0]
    frames = torch.stack([scene[:, :, 3 * k : 3 * k + 64] for k in range(3)])
    masks = torch.stack([box_mask(48, 64, 16, 30 - 3 * k, 14, 14) for k in range(3)])  # stands still in the scene
    filled, _ = quick(frames, masks, frames=True)
    for k in (1, 2):
        moved = filled[k][:, 16:30, 30 - 3 * k : 44 - 3 * k]
        assert (moved - filled[0][:, 16:30, 30:44]).abs().mean() < 2 / 255


@pytest.mark.parametrize(("width", "by", "count"), [(24, 6, 6), (12, 1, 16)], ids=["several frames show parts", "frames far away do"])
def test_what_other_frames_show_between_them_is_found_exactly(width, by, count):
    """The rims of what single frames show run through the hole: patches across them are in others alone."""
    still = noise_picture(1, 40, 72, seed=6).expand(count, -1, -1, -1)
    masks = torch.stack([box_mask(40, 72, 12, 8 + by * k, 14, width) for k in range(count)])
    filled, _ = quick(still, masks, frames=True)
    assert (filled - still).abs().max() < 1e-5


def test_a_hole_that_stands_still_is_not_looked_for_in_every_frame():
    frame, asked = noise_picture(1, 40, 72, seed=6)[0], []
    hole = box_mask(40, 72, 12, 30, 12, 12) > 0
    frames = (asked.append(k) or (k + 1, Source(frame, ~hole)) for k in range(64))
    following(frame, ~hole, Box(0, 0, 40, 72), hole, 5, frames)
    assert len(asked) == AT_ONCE


def test_motion_is_found_and_unlike_pictures_have_none():
    scene, other = noise_picture(1, 60, 90, seed=1)[0], noise_picture(1, 60, 90, seed=2)[0]
    known = torch.ones(50, 64, dtype=torch.bool)
    known[10:30, 20:40] = False
    for dy, dx in ((0, 0), (3, -5), (-4, 11)):
        a, b = scene[:, 5:55, 12:76], scene[:, 5 - dy : 55 - dy, 12 - dx : 76 - dx]
        assert motion(a, known, 0.8 * b + 0.1, known, Box(0, 0, 50, 64)).shift(Box(0, 0, 50, 64)) == (dy, dx)
    assert motion(scene[:, :50, :64], known, other[:, :50, :64], known, Box(0, 0, 50, 64)) is None


@pytest.mark.parametrize("near", [0, 2])
def test_frames_that_show_nothing_go_on_as_a_still(near):
    still = noise_picture(1, 48, 48, seed=9)
    masks = torch.cat([torch.zeros(1, 48, 48), torch.ones(5, 48, 48)])
    filled, _ = quick(still.expand(6, -1, -1, -1), masks, frames=True, frames_near=near)
    assert (filled - still).abs().max() < 1e-5


def test_a_video_whose_first_frames_are_hidden_takes_what_later_ones_show():
    still = noise_picture(1, 48, 48, seed=9)
    masks = torch.cat([torch.ones(4, 48, 48), box_mask(48, 48, 20, 20, 8, 8)[None]])
    filled, _ = quick(still.expand(5, -1, -1, -1), masks, frames=True, frames_near=1)
    assert all(picture.std() > 0.5 * still.std() for picture in filled)  # not grey


def test_a_frame_that_fits_comes_before_a_nearer_one_that_does_not():
    scene, hole = noise_picture(1, 48, 64, seed=4)[0] * 2 - 1, box_mask(48, 64, 16, 20, 14, 14) > 0
    noisy = scene + 0.03 * torch.randn(scene.shape, generator=torch.Generator().manual_seed(0))
    everything = torch.ones(48, 64, dtype=torch.bool)
    frames = [(-1, Source(noisy, everything)), (1, Source(scene, everything))]
    (first, *others), more = following(scene, ~hole, Box(0, 0, 48, 64), hole, 5, frames)
    assert torch.equal(first.colour, scene) and not others and not more, "all is seen in it"


def test_so_many_frames_before_and_after_serve_a_frame():
    frames, hole = torch.rand(9, 3, 12, 12), torch.zeros(9, 12, 12, dtype=torch.bool)
    others, before = neighbours(frames, hole, None, frames[3], 4, ExemplarSettings(frames_near=2))
    found = [(number, [torch.equal(other.colour, frame * 2 - 1) for frame in frames].index(True)) for number, other in others]
    assert found == [(-1, 3), (1, 5), (-2, 2), (2, 6)]
    assert torch.equal(before.source.colour, frames[3] * 2 - 1)
