"""The command line as a user meets it: in this process, on tiny files."""

import numpy as np
import pytest
import torch
from PIL import Image

from rad_core import UNet, UNetConfig, load_model, rad_inpaint, read_adapter, save_model
from rad_core.__main__ import main


@pytest.fixture()
def place(tmp_path, monkeypatch):
    """A folder with a network, a photo and its mask, and the shell standing in it."""
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16, context=None))
    net.region_aware = True
    save_model(net, tmp_path / "net.safetensors")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    mask = np.zeros((30, 40), np.uint8)
    mask[5:9, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fill(*more):
    return main(
        [
            "inpaint",
            "photo.png",
            "--mask",
            "mask.png",
            "-o",
            "out.png",
            "--model",
            "net.safetensors",
            "--steps",
            "2",
            "--device",
            "cpu",
            *more,
        ]
    )


def pixels(path):
    with Image.open(path) as picture:
        return np.array(picture)


def test_photo(place):
    assert fill("--compare", "sheet.png") == 0
    changed = (pixels("out.png") != pixels("photo.png")).any(-1)
    assert changed.any() and not changed[pixels("mask.png") == 0].any()
    assert pixels("sheet.png").shape[1] > 3 * 40


def test_same_seed_same_file(place):
    fill()
    first = pixels("out.png")
    fill()
    np.testing.assert_array_equal(first, pixels("out.png"))
    fill("--seed", "1")
    assert (first != pixels("out.png")).any()


def test_transparency_and_grey_are_kept(place):
    photo = pixels("photo.png")
    Image.fromarray(np.dstack([photo, photo[..., 0]])).save("photo.png")
    assert fill() == 0
    assert pixels("out.png").shape[2] == 4 and (pixels("out.png")[..., 3] == np.maximum(photo[..., 0], pixels("mask.png"))).all()
    Image.fromarray(photo[..., 0]).save("photo.png")
    assert fill("--fills", "2") == 0
    assert pixels("out.png").shape == (30, 40)
    assert (pixels("out.png") == photo[..., 0])[pixels("mask.png") == 0].all()


def test_folders(place):
    (place / "in").mkdir()
    (place / "masks").mkdir()
    for name in ("a", "b"):
        Image.open("photo.png").save(f"in/{name}.png")
        Image.open("mask.png").save(f"masks/{name}.png")
    arguments = ["inpaint", "in", "-o", "out", "--model", "net.safetensors", "--steps", "1", "--device", "cpu", "--compare", "sheets"]
    assert main([*arguments, "--mask", "masks"]) == 0
    assert sorted(p.name for p in (place / "out").iterdir()) == sorted(p.name for p in (place / "sheets").iterdir()) == ["a.png", "b.png"]
    assert main([*arguments, "--mask", "mask.png"]) == 0
    (place / "masks" / "b.png").unlink()
    assert main([*arguments, "--mask", "masks"]) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inpaint", "none.png", "--mask", "mask.png", "-o", "x.png"], "no file none.png"),
        (["inpaint", "net.safetensors", "--mask", "mask.png", "-o", "x.png"], "not a picture"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--model", "photo.png"], "not a weights file"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--model", "nobody"], "no bundled network"),
        (
            ["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--model", "net.safetensors", "--adapter", "nobody:0.5"],
            "no adapter nobody",
        ),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--model", "net.safetensors", "--steps", "0"], "steps must lie"),
        (
            ["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.nonsense", "--model", "net.safetensors", "--steps", "1"],
            "Cannot write x.nonsense",
        ),
        (["masks", "-o", "m", "--size", "big"], "WIDTHxHEIGHT"),
        (["masks", "-o", "m", "--area", "130"], "from 0 to 100"),
        (["masks", "-o", "m", "--size", "0"], "at least 1x1"),
        (["masks", "-o", "m", "--size", "-4", "--kind", "box"], "at least 1x1"),
        (["masks", "-o", "m.png", "-n", "2"], "need a folder"),
        (["masks", "-o", "m", "--kind", "box", "--area", "5"], "Perlin masks alone"),
        (["train", "base", "-o", "x.safetensors", "--stages", "16:0:2"], "SIZE:STEPS:BATCH"),
        (["train", "base", "-o", "x.safetensors", "--save-every", "0"], "at least 1"),
        (["train", "base", "-o", "x.safetensors", "--widths", "a"], "whole numbers"),
        (["train", "base", "-o", "x.safetensors", "--widths", "40"], "multiples of 32"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--model", "net.safetensors", "--device", "gpu"], "device 'gpu'"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--compare", "x.nothing"], "Cannot write x.nothing"),
        (["inpaint", ".", "--mask", "mask.png", "-o", "."], "output folder is the input folder"),
        (["info", "photo.png"], "not a weights file"),
        (["convert", "net.safetensors", "-o", "x.pt"], "must end in .safetensors"),
        (["train", "rad", "-o", "x.safetensors", "--stages", "many"], "SIZE:STEPS:BATCH"),
        (["train", "base", "--base", "x", "-o", "x.safetensors"], "from scratch"),
    ],
)
def test_errors_are_one_sentence_and_leave_nothing(place, capsys, arguments, sentence):
    before = sorted(p.name for p in place.iterdir())
    assert main(arguments) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("Error: ") and sentence in error
    assert sorted(p.name for p in place.iterdir()) == before


def test_erased_pictures_serve_as_their_own_masks_and_the_fill_is_seen(place):
    photo = np.dstack([pixels("photo.png") // 2, 255 - pixels("mask.png")])
    Image.fromarray(photo).save("photo.png")
    Image.fromarray(photo).save("mask.png")
    assert fill() == 0
    assert (pixels("out.png")[..., 3] == 255).all()


def test_networks_that_break_down_write_nothing(place, capsys):
    net = load_model("net.safetensors")
    net.conv_out.bias[:] = float("nan")
    with pytest.raises(ValueError, match="not numbers"):
        rad_inpaint(net, torch.zeros(1, 3, 16, 16), torch.ones(16, 16), steps=2)
    small = ["--stages", "16:1:2", "--device", "cpu"]
    assert main(["train", "rad", "--base", "net.safetensors", "-o", "a.safetensors", *small]) == 0
    assert fill("--adapter", "a.safetensors:nan") == 1
    assert "strength" in capsys.readouterr().err and not (place / "out.png").exists()


def test_same_names_in_a_folder_are_refused(place, capsys):
    (place / "in").mkdir()
    for name in ("a.png", "a.bmp"):
        Image.open("photo.png").save(f"in/{name}")
    assert main(["inpaint", "in", "--mask", "mask.png", "-o", "out", "--model", "net.safetensors"]) == 1
    assert "same name" in capsys.readouterr().err


def test_stopping_leaves_nothing(place, monkeypatch, capsys):
    monkeypatch.setattr("rad_core.commands.inpaint.rad_inpaint", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    assert fill() == 130
    assert "Stopped" in capsys.readouterr().err and not (place / "out.png").exists()


def test_masks(place):
    assert main(["masks", "-o", "m", "-n", "3", "--size", "20x10", "--area", "25", "--seed", "4"]) == 0
    assert [(pixels(f"m/mask_00{k}.png") == 255).sum() for k in range(3)] == [50, 50, 50]
    assert main(["masks", "-o", "one.png", "--kind", "box", "--size", "16"]) == 0
    assert (pixels("one.png") == 255).sum() == 64
    assert main(["masks", "-o", "clip", "-n", "4", "--size", "16", "--animate", "0.2", "--scale", "8"]) == 0


def test_convert_and_info(place, capsys):
    assert main(["convert", "net.safetensors", "-o", "half.safetensors", "--dtype", "float16"]) == 0
    assert main(["info", "half.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "trained for RAD  True" in out and "(32, 32)" in out
    assert main(["info"]) == 0


def test_train_base_then_adapter_then_fill(place):
    """The whole way of an adapter, a few steps long: its files load, its log counts the steps."""
    small = ["--stages", "16:2:2,32:1:2", "--save-every", "1", "--device", "cpu"]
    assert main(["train", "base", "-o", "base.safetensors", "--widths", "32,32", "--attention", "1", *small]) == 0
    assert main(["train", "rad", "--base", "base.safetensors", "-o", "night.safetensors", "--hour", "0", *small]) == 0
    log = (place / "night.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["step", "1", "2", "3"]
    assert main(["info", "night.safetensors"]) == 0
    assert fill("--model", "base.safetensors", "--adapter", "night.safetensors:0.5") == 0


def test_an_order_map_changes_the_fill_and_nothing_else(place):
    fill()
    plain = pixels("out.png")
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    Image.fromarray(ramp).save("order.png")
    assert fill("--order", "order.png") == 0
    hole = pixels("mask.png") > 0
    assert (pixels("out.png") != plain)[hole].any() and (pixels("out.png") == pixels("photo.png"))[~hole].all()
    assert fill("--order", "order.png", "--overlap", "1") == 0
    np.testing.assert_array_equal(pixels("out.png"), plain)
    assert fill("--order", "order.png", "--overlap", "3") == 1


def test_gradpaint_on_a_plain_network(place, capsys):
    net = UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16))
    save_model(net, "plain.safetensors")
    pictures = []
    for preset in ("plus", "paper", "combine"):
        assert fill("--method", "gradpaint", "--model", "plain.safetensors", "--preset", preset) == 0
        pictures.append(pixels("out.png"))
        changed = (pictures[-1] != pixels("photo.png")).any(-1)
        assert changed.any() and not changed[pixels("mask.png") == 0].any()
    assert (pictures[0] != pictures[2]).any()
    for wrong, sentence in (
        (("--method", "gradpaint", "--order", "mask.png"), "--order"),
        (("--preset", "plus"), "--preset"),
        (("--align", "3"), "align must"),
    ):
        assert fill(*wrong) == 1 and sentence in capsys.readouterr().err


def test_training_in_bfloat16_and_on_from_an_adapter(place):
    small = ["--base", "net.safetensors", "--stages", "16:1:2", "--device", "cpu", "--precision", "bfloat16"]
    assert main(["train", "rad", *small, "-o", "a.safetensors"]) == 0
    assert main(["train", "rad", *small, "--init", "a.safetensors", "-o", "b.safetensors"]) == 0
    assert read_adapter("b.safetensors").time["time_embedding.linear_1.weight"].dtype == torch.float32
