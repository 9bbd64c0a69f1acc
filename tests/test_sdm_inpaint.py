"""SDM from picture to picture: known pixels, seeds, sizes, files, the loop around another inpainter, the command."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import rad_core
from rad_core.__main__ import main
from rad_core.checkpoints import CheckpointError
from rad_core.masks import box_masks, brush_masks, scratch_masks
from rad_core.sdm import SCHEDULES, Generator, OneShot, SDMConfig, load_sdm, save_sdm, sdm_inpaint

SMALL = SDMConfig((16, 16, 32), (1, 2), global_convs=1, latent=32, code=32, heads=2, image_size=32)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Generator(SMALL).requires_grad_(False).eval()


@pytest.mark.parametrize("size", [(32, 32), (70, 91), (20, 9), (40, 33)])
@pytest.mark.parametrize("context", [0.5, float("inf"), "own"])
def test_known_pixels_are_bit_exact_at_any_size_and_two_seeds_differ_in_the_hole_alone(net, size, context):
    picture, mask = rad_core.landscapes(1, 128)[..., : size[0], : size[1]], brush_masks(1, *size, seed=4)
    a, u = sdm_inpaint(net, picture, mask, context=context)
    b, _ = sdm_inpaint(net, picture, mask, seed=9, context=context)
    known = (mask == 0).expand_as(picture)
    assert a.shape == picture.shape and u.shape == mask.shape
    assert torch.equal(a[known], picture[known]) and torch.equal(b[known], picture[known])
    assert not torch.equal(a, b) and not torch.equal(a, picture)
    assert (u[mask == 0] == 0).all() and u.max() <= 1 and (u[mask > 0] > 0).float().mean() > 0.9


def test_a_fill_does_not_depend_on_its_batch_nor_on_what_stands_in_the_hole(net):
    picture, mask = rad_core.landscapes(3, 48), brush_masks(3, 48, 48, seed=1)
    together, u = sdm_inpaint(net, picture, mask, seed=5)
    alone, alone_u = sdm_inpaint(net, torch.where(mask[1:2] > 0, torch.nan, picture[1:2]), mask[1:2], seed=6)
    torch.testing.assert_close(alone, together[1:2], rtol=0, atol=1e-4)
    torch.testing.assert_close(alone_u, u[1:2], rtol=0, atol=1e-4)


def test_several_fills_history_and_callback(net):
    picture, mask = rad_core.landscapes(2, 32), box_masks(2, 32, 32)
    seen = []
    out, u, history = sdm_inpaint(
        net, picture, mask, 3, fills=2, return_history=True, callback=lambda *args: seen.append((args[0], args[1], args[2].shape))
    )
    assert out.shape == (4, 3, 32, 32) and u.shape == (4, 1, 32, 32) and not torch.equal(out[0], out[1])
    torch.testing.assert_close(out[2:], sdm_inpaint(net, picture[1].expand(2, -1, -1, -1), mask[1:], 3, seed=2)[0], rtol=0, atol=1e-4)
    assert seen == [(t, 3, (4, 3, 32, 32)) for t in (1, 2, 3)]
    areas = [hole.mean() for _, hole in history]
    assert mask.mean() > areas[0] > areas[1] > areas[2] == 0 and torch.equal(history[-1][0], out)
    first, hole = history[0]
    assert (first[(hole > 0).expand_as(first)] == 0.5).all() and torch.equal(
        first[:2][..., :1, :], picture[:1].expand(2, -1, -1, -1)[..., :1, :]
    )


def test_holes_that_are_none_all_tiny_or_soft(net):
    picture, none = rad_core.landscapes(1, 32), torch.zeros(1, 1, 32, 32)
    out, u = sdm_inpaint(net, picture, none)
    assert torch.equal(out, picture) and not u.any()
    out, _ = sdm_inpaint(net, picture, 1 - none)
    assert torch.isfinite(out).all()
    dot = none.clone()
    dot[..., 5, 5] = 1
    out, _ = sdm_inpaint(net, picture, dot, iterations=7)  # more iterations than pixels
    assert ((out != picture).any(1, keepdim=True) == (dot > 0)).all()
    full, half = (sdm_inpaint(net, picture, share * dot)[0] for share in (1.0, 0.5))
    torch.testing.assert_close(half, (full + picture) / 2)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"iterations": 0}, "iterations"),
        ({"alpha": 2.0}, "alpha"),
        ({"schedule": "steep"}, "linear"),
        ({"context": -1.0}, "context"),
        ({"fills": 0}, "fills"),
        ({"seed": [1, 2]}, "seeds"),
    ],
)
def test_wrong_arguments_are_told(net, wrong, told):
    with pytest.raises(ValueError, match=told):
        sdm_inpaint(net, rad_core.landscapes(1, 32), box_masks(1, 32, 32), **wrong)


def test_half_precision_stays_near(net):
    half = Generator(SMALL)
    half.load_state_dict(net.state_dict())
    picture, mask = rad_core.landscapes(1, 32), box_masks(1, 32, 32)
    out, _ = sdm_inpaint(half.to(torch.bfloat16), picture, mask, 1)
    torch.testing.assert_close(out, sdm_inpaint(net, picture, mask, 1)[0], rtol=0, atol=0.1)


def test_files(net, tmp_path):
    path = tmp_path / "a.safetensors"
    save_sdm(net, path, note="seed 0")
    again = load_sdm(path)
    assert again.config == SMALL and all(torch.equal(a, b) for a, b in zip(again.parameters(), net.parameters(), strict=True))
    tensors = load_file(path)
    with pytest.raises(CheckpointError, match="not an ADM network"):
        rad_core.load_model(path)
    for name, change, told in (
        ("missing", lambda t: t.pop("stem.0.weight"), "missing"),
        ("shape", lambda t: t.update({"stem.0.weight": torch.zeros(8, 7, 3, 3)}), "expected"),
        ("nan", lambda t: t["stem.0.weight"].fill_(torch.nan), "NaN"),
    ):
        changed = {k: v.clone() for k, v in tensors.items()}
        change(changed)
        other = Generator(SMALL)
        other.state_dict = lambda changed=changed: changed
        save_sdm(other, tmp_path / f"{name}.safetensors")
        with pytest.raises(CheckpointError, match=told):
            load_sdm(tmp_path / f"{name}.safetensors")
    save_file(tensors, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="not an SDM network"):
        load_sdm(tmp_path / "plain.safetensors")
    save_file(tensors, tmp_path / "odd.safetensors", {"rad_core": '{"sdm": {"widths": [16, "a"], "attention": [0]}}'})
    with pytest.raises(CheckpointError, match="description"):
        load_sdm(tmp_path / "odd.safetensors")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cut short"):
        load_sdm(path)
    with pytest.raises(FileNotFoundError, match="no SDM file"):
        load_sdm("nowhere")


def mean_fill(picture, hole, z):
    """Each row's mean of what is known, tinted by z: the same mirrored, another from top to bottom."""
    known = 1 - hole
    rows = (picture * known).sum(3, keepdim=True) / known.sum(3, keepdim=True).clamp(min=1)
    ramp = torch.linspace(-0.2, 0.2, hole.shape[2]).view(1, 1, -1, 1)
    return (rows + ramp).expand_as(picture)


def test_any_inpainter_can_be_iterated():
    picture, mask = torch.full((1, 3, 16, 16), 0.5), torch.zeros(1, 1, 16, 16)
    mask[..., 2:14, 4:12] = 1
    out, u, history = sdm_inpaint(OneShot(mean_fill, size=16), picture, mask, 2, alpha=0.0, return_history=True)
    assert torch.equal(out[:, :, :2], picture[:, :, :2]) and torch.isfinite(out).all()
    # fills differ from top to bottom, most at the edges: the middle rows are decided first
    assert (history[0][1] > 0)[..., [2, 3, 12, 13], 4:12].all() and not history[0][1][..., 6:10, 4:12].any()
    row = torch.linspace(-0.2, 0.2, 16)[3]
    expected = torch.stack([row, row, -row, -row]).std()
    assert u[0, 0, 3, 5] == pytest.approx(float(expected), rel=1e-3)
    ramp = torch.linspace(-0.2, 0.2, 16)[5:11]  # decided in the first pass, and as uncertain as it was then
    spread = torch.stack([ramp, ramp, -ramp, -ramp]).std(0).clamp(min=0.0111)
    torch.testing.assert_close(u[0, 0, 5:11, 5], spread, rtol=1e-2, atol=1e-4)
    with pytest.raises(ValueError, match="samples"):
        OneShot(mean_fill, 16, samples=1)


def test_rad_in_one_shot_is_iterated():
    rad = rad_core.load_adapter(rad_core.load_model("landscapes"), "landscapes")
    unit = lambda x: (x + 1) / 2

    def fill(picture, hole, z):
        return rad_core.rad_inpaint(rad, unit(picture), hole, steps=2, sampler="dpmpp_2m", seed=int(z[0, 0] * 1e6)) * 2 - 1

    picture, mask = rad_core.landscapes(1, 64, seed=10_001), scratch_masks(1, 64, 64, seed=3)
    out, u = sdm_inpaint(OneShot(fill, 64, samples=2), picture, mask, 2)
    assert torch.equal(out[(mask == 0).expand_as(out)], picture[(mask == 0).expand_as(out)]) and u[mask > 0].max() > 0


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_the_command(net, tmp_path, monkeypatch, schedule, capsys):
    monkeypatch.chdir(tmp_path)
    save_sdm(net, "net.safetensors")
    picture, mask = rad_core.landscapes(1, 40), brush_masks(1, 40, 40, seed=2)
    rad_core.write_photo("a.png", rad_core.Photo(picture))
    rad_core.write_photo("m.png", rad_core.Photo(mask.expand(-1, 3, -1, -1)))
    command = ["inpaint", "a.png", "--mask", "m.png", "-o", "b.png", "--method", "sdm", "--model", "net.safetensors"]
    assert main([*command, "--schedule", schedule, "--uncertainty", "u.png", "--compare", "s.png", "--context", "own", "--fills", "2"]) == 0
    before, after, doubt = (rad_core.read_photo(name).rgb for name in ("a.png", "b.png", "u.png"))
    known = (mask == 0).expand_as(before)
    assert torch.equal(after[known], before[known]) and not doubt[known].any() and doubt.any() and (tmp_path / "s.png").is_file()
    for wrong in (["--steps", "5"], ["--sampler", "ddim"], ["--preset", "plus"], ["--align", "1"], ["--iterations", "0"]):
        assert main([*command, *wrong]) == 1
        assert wrong[0].lstrip("-") in capsys.readouterr().err
    assert main(["inpaint", "a.png", "--mask", "m.png", "-o", "b.png", "--iterations", "2"]) == 1
    assert main(["info", "net.safetensors"]) == 0 and "SDM" in capsys.readouterr().out
