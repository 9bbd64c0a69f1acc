"""SDM from picture to picture: known pixels, seeds, sizes, files, the loop around another inpainter, the command."""

from dataclasses import replace

import pytest
import torch
from conftest import hole_changed
from safetensors.torch import load_file, save_file

import rad_core
from rad_core.__main__ import main
from rad_core.checkpoints import CheckpointError
from rad_core.masks import box_masks, brush_masks, scratch_masks
from rad_core.sdm import PRESETS, SCHEDULES, Generator, OneShot, SDMConfig, SDMSettings, load_sdm, save_sdm, sdm_inpaint

SMALL = SDMConfig((16, 16, 32), (1, 2), global_convs=1, latent=32, code=32, heads=2, image_size=32)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Generator(SMALL).requires_grad_(False).eval()


@pytest.mark.parametrize("size", [(32, 32), (70, 91), (20, 9), (40, 33)])
@pytest.mark.parametrize("view", ["hole", "whole", "native"])
def test_known_pixels_are_bit_exact_at_any_size_and_two_seeds_differ_in_the_hole_alone(net, size, view):
    picture, mask = rad_core.landscapes(1, 128)[..., : size[0], : size[1]], brush_masks(1, *size, seed=4)
    a, u = sdm_inpaint(net, picture, mask, view=view, context=0.5)
    b, _ = sdm_inpaint(net, picture, mask, seed=9, view=view, context=0.5)
    known = (mask == 0).expand_as(picture)
    assert a.shape == picture.shape and u.shape == mask.shape
    assert torch.equal(a[known], picture[known]) and torch.equal(b[known], picture[known])
    assert hole_changed(a, picture, mask) and hole_changed(b, picture, mask) and not torch.equal(a, b)
    assert (u[mask == 0] == 0).all() and u.max() <= 1 and (u[mask > 0] > 0).float().mean() > 0.9


def test_a_fill_does_not_depend_on_its_batch_nor_on_what_stands_in_the_hole(net):
    picture, mask = rad_core.landscapes(3, 48), brush_masks(3, 48, 48, seed=1)
    batch, u = sdm_inpaint(net, picture, mask, seed=5)
    assert hole_changed(batch, picture, mask)
    alone, alone_u = sdm_inpaint(net, torch.where(mask[1:2] > 0, torch.nan, picture[1:2]), mask[1:2], seed=6)
    torch.testing.assert_close(alone, batch[1:2], rtol=0, atol=1e-4)
    torch.testing.assert_close(alone_u, u[1:2], rtol=0, atol=1e-4)


def test_several_fills_history_and_callback(net):
    picture, mask = rad_core.landscapes(2, 32), box_masks(2, 32, 32)
    calls = []
    out, u, history = sdm_inpaint(
        net, picture, mask, iterations=3, fills=2, return_history=True, callback=lambda t, total, now: calls.append((t, total, now))
    )
    assert out.shape == (4, 3, 32, 32) and u.shape == (4, 1, 32, 32) and not torch.equal(out[0], out[1])
    alone, _ = sdm_inpaint(net, picture[1].expand(2, -1, -1, -1), mask[1:], iterations=3, seed=2)
    torch.testing.assert_close(out[2:], alone, rtol=0, atol=1e-4)
    assert [(t, total, now.shape) for t, total, now in calls] == [(t, 3, (4, 3, 32, 32)) for t in (1, 2, 3)]
    torch.testing.assert_close(calls[-1][2], out, rtol=0, atol=1e-6)  # nothing is resized here
    areas = [hole.mean() for _, hole in history]
    assert mask.mean() > areas[0] > areas[1] > areas[2] == 0 and torch.equal(history[-1][0], out)
    first, hole = history[0]
    assert (first[(hole > 0).expand_as(first)] == 0.5).all() and not torch.equal(first, out)
    known = (mask == 0).repeat_interleave(2, 0).expand_as(first)
    assert torch.equal(first[known], picture.repeat_interleave(2, 0)[known])


def test_holes_that_are_none_all_tiny_or_soft(net):
    picture, none = rad_core.landscapes(1, 32), torch.zeros(1, 1, 32, 32)
    out, u = sdm_inpaint(net, picture, none)
    assert torch.equal(out, picture) and not u.any()
    out, _ = sdm_inpaint(net, picture, 1 - none)
    assert torch.isfinite(out).all() and hole_changed(out, picture, 1 - none)
    dot = none.clone()
    dot[..., 5, 5] = 1
    out, _ = sdm_inpaint(net, picture, dot, iterations=7)  # more iterations than pixels
    assert ((out != picture).any(1, keepdim=True) == (dot > 0)).all()
    full, half = (sdm_inpaint(net, picture, value * dot)[0] for value in (1.0, 0.5))
    torch.testing.assert_close(half, (full + picture) / 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"iterations": 0}, "iterations"),
        ({"alpha": 2.0}, "alpha"),
        ({"schedule": "steep"}, "linear"),
        ({"context": -1.0}, "context"),
        ({"view": "near"}, "native"),
        ({"fills": 0}, "fills"),
        ({"seed": [1, 2]}, "seeds"),
        ({"settings": "best"}, "default, paper"),
        ({"steps": 3}, "no field 'steps'"),
    ],
)
def test_wrong_arguments_are_told(net, wrong, message):
    with pytest.raises(ValueError, match=message):
        sdm_inpaint(net, rad_core.landscapes(1, 32), box_masks(1, 32, 32), **wrong)


def test_settings_come_by_name_as_an_object_or_field_by_field(net):
    picture, mask = rad_core.landscapes(1, 32), box_masks(1, 32, 32)
    paper, _ = sdm_inpaint(net, picture, mask, "paper")
    assert hole_changed(paper, picture, mask) and not torch.equal(paper, sdm_inpaint(net, picture, mask)[0])
    assert PRESETS["default"] == SDMSettings()
    for settings, changes in ((PRESETS["paper"], {}), ("default", {"anchor": 0.0, "memory": 0.0, "refresh": True})):
        assert torch.equal(sdm_inpaint(net, picture, mask, settings, **changes)[0], paper)
    two = sdm_inpaint(net, picture, mask, replace(PRESETS["paper"], iterations=2))[0]
    assert torch.equal(sdm_inpaint(net, picture, mask, "paper", iterations=2)[0], two) and not torch.equal(two, paper)


def test_half_precision_stays_near(net):
    half = Generator(SMALL)
    half.load_state_dict(net.state_dict())
    picture, mask = rad_core.landscapes(1, 32), box_masks(1, 32, 32)
    out, _ = sdm_inpaint(half.to(torch.bfloat16), picture, mask, iterations=1)
    exact, _ = sdm_inpaint(net, picture, mask, iterations=1)
    assert hole_changed(out, picture, mask) and not torch.equal(out, exact)
    torch.testing.assert_close(out, exact, rtol=0, atol=0.1)


def test_files(net, tmp_path):
    path = tmp_path / "a.safetensors"
    save_sdm(net, path, note="seed 0")
    again = load_sdm(path)
    assert again.config == SMALL and all(torch.equal(a, b) for a, b in zip(again.parameters(), net.parameters(), strict=True))
    tensors = load_file(path)
    with pytest.raises(CheckpointError, match="not an ADM network"):
        rad_core.load_model(path)
    for name, change, message in (
        ("missing", lambda t: t.pop("stem.0.weight"), "missing"),
        ("shape", lambda t: t.update({"stem.0.weight": torch.zeros(8, 7, 3, 3)}), "expected"),
        ("nan", lambda t: t["stem.0.weight"].fill_(torch.nan), "NaN"),
    ):
        changed = {k: v.clone() for k, v in tensors.items()}
        change(changed)
        other = Generator(SMALL)
        other.state_dict = lambda changed=changed: changed
        save_sdm(other, tmp_path / f"{name}.safetensors")
        with pytest.raises(CheckpointError, match=message):
            load_sdm(tmp_path / f"{name}.safetensors")
    save_file(tensors, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="not an SDM network"):
        load_sdm(tmp_path / "plain.safetensors")
    save_file(tensors, tmp_path / "odd.safetensors", {"rad_core": '{"sdm": {"widths": [16, "a"], "attention": [0]}}'})
    with pytest.raises(CheckpointError, match="architecture"):
        load_sdm(tmp_path / "odd.safetensors")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cut short"):
        load_sdm(path)
    with pytest.raises(FileNotFoundError, match="no bundled SDM network"):
        load_sdm("nowhere")


def mean_fill(picture, hole, z):
    """Each row's mean of the known pixels plus a ramp from top to bottom: the same mirrored, another upside down."""
    known = 1 - hole
    rows = (picture * known).sum(3, keepdim=True) / known.sum(3, keepdim=True).clamp(min=1)
    ramp = torch.linspace(-0.2, 0.2, hole.shape[2]).view(1, 1, -1, 1)
    return (rows + ramp).expand_as(picture)


def test_any_inpainter_can_be_iterated():
    picture, mask = torch.full((1, 3, 16, 16), 0.5), torch.zeros(1, 1, 16, 16)
    mask[..., 2:14, 4:12] = 1
    out, u, history = sdm_inpaint(OneShot(mean_fill, size=16), picture, mask, iterations=2, alpha=0.0, return_history=True)
    assert torch.equal(out[:, :, :2], picture[:, :, :2]) and torch.isfinite(out).all() and hole_changed(out, picture, mask)
    # fills differ most at the top and at the bottom: the middle rows are decided first
    assert (history[0][1] > 0)[..., [2, 3, 12, 13], 4:12].all() and not history[0][1][..., 6:10, 4:12].any()
    row = torch.linspace(-0.2, 0.2, 16)[3]
    expected = torch.stack([row, row, -row, -row]).std()
    assert u[0, 0, 3, 5] == pytest.approx(float(expected), rel=1e-3)
    ramp = torch.linspace(-0.2, 0.2, 16)[5:11]  # decided in the first pass; these keep the uncertainty of that pass
    deviation = torch.stack([ramp, ramp, -ramp, -ramp]).std(0).clamp(min=0.0111)
    torch.testing.assert_close(u[0, 0, 5:11, 5], deviation, rtol=1e-2, atol=1e-4)
    with pytest.raises(ValueError, match="samples"):
        OneShot(mean_fill, 16, samples=1)


def test_at_their_own_size_pictures_are_padded_for_those_who_cannot(net):
    picture, mask, seen = torch.full((1, 3, 21, 17), 0.5), torch.zeros(1, 1, 21, 17), []
    mask[..., 4:12, 4:12] = 1

    def fill(known, hole, z):
        seen.append(tuple(known.shape[2:]))
        return mean_fill(known, hole, z)

    out = sdm_inpaint(OneShot(fill, size=16, stride=8), picture, mask, iterations=1, view="native")[0]
    assert out.shape == picture.shape and set(seen) == {(24, 24)}
    shown = []
    sdm_inpaint(net, picture, mask, iterations=1, view="native", callback=lambda step, steps, x0: shown.append(x0.shape[2:]))
    assert {tuple(size) for size in shown} == {(21, 17)}  # a Generator pads by itself


def test_rad_in_one_shot_is_iterated():
    rad = rad_core.load_adapter(rad_core.load_model("landscapes"), "landscapes")
    unit = lambda x: (x + 1) / 2

    def fill(picture, hole, z):
        return rad_core.rad_inpaint(rad, unit(picture), hole, steps=2, sampler="dpmpp_2m", seed=int(z[0, 0] * 1e6)) * 2 - 1

    picture, mask = rad_core.landscapes(1, 64, seed=10_001), scratch_masks(1, 64, 64, seed=3)
    out, u = sdm_inpaint(OneShot(fill, 64, samples=2), picture, mask, iterations=2)
    assert torch.equal(out[(mask == 0).expand_as(out)], picture[(mask == 0).expand_as(out)]) and u[mask > 0].max() > 0
    assert hole_changed(out, picture, mask)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_the_command(net, tmp_path, monkeypatch, schedule, capsys):
    monkeypatch.chdir(tmp_path)
    save_sdm(net, "net.safetensors")
    picture, mask = rad_core.landscapes(1, 40), brush_masks(1, 40, 40, seed=2)
    rad_core.write_photo("a.png", rad_core.Photo(picture))
    rad_core.write_photo("m.png", rad_core.Photo(mask.expand(-1, 3, -1, -1)))
    command = ["inpaint", "a.png", "--mask", "m.png", "-o", "b.png", "--method", "sdm", "--model", "net.safetensors"]
    options = ["--schedule", schedule, "--uncertainty", "u.png", "--compare", "s.png", "--view", "native", "--fills", "2"]
    assert main([*command, *options]) == 0
    before, after, uncertainty = (rad_core.read_photo(name).rgb for name in ("a.png", "b.png", "u.png"))
    known = (mask == 0).expand_as(before)
    assert torch.equal(after[known], before[known]) and hole_changed(after, before, mask)
    assert not uncertainty[known].any() and uncertainty.any() and (tmp_path / "s.png").is_file()
    assert main([*command, "--iterations", "0"]) == 1 and "iterations" in capsys.readouterr().err
    others = [[*command, *wrong] for wrong in (["--steps", "5"], ["--sampler", "ddim"], ["--preset", "plus"], ["--align", "1"])]
    for wrong in (*others, ["inpaint", "a.png", "--mask", "m.png", "-o", "b.png", "--iterations", "2"]):  # options of other methods
        with pytest.raises(SystemExit) as stop:
            main(wrong)
        assert stop.value.code == 2 and wrong[-2].lstrip("-") in capsys.readouterr().err
    assert main(["info", "net.safetensors"]) == 0 and "SDM" in capsys.readouterr().out


def test_iterations_of_crops_of_different_sizes_are_counted_on(net):
    picture, mask, seen = rad_core.landscapes(2, 64)[..., :48, :], torch.zeros(2, 1, 48, 64), []
    mask[0, :, 20:24, 20:24], mask[1, :, 4:44, 2:62] = 1, 1  # a square crop, and all of the picture
    sdm_inpaint(net, picture, mask, iterations=3, callback=lambda t, total, now: seen.append((t, total, tuple(now.shape))))
    assert [(t, total) for t, total, _ in seen] == [(t, 6) for t in range(1, 7)] and len({shape for *_, shape in seen}) == 2


def test_every_mirroring_has_a_z_of_its_own():
    seen, hole = [], torch.ones(1, 1, 8, 8)
    fill = lambda picture, hole, z: seen.append(z) or picture
    sdm_inpaint(OneShot(fill, size=8, latent=4), torch.rand(1, 3, 8, 8), hole, iterations=1)
    assert len({tuple(z[0].tolist()) for z in seen}) == 4
