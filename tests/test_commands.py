"""The command line as a user sees it: in this process, on tiny files."""

import os
import re
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rad_core
from rad_core import (
    Photo,
    UNet,
    UNetConfig,
    checkpoints,
    exemplar_inpaint,
    landscapes,
    load_adapter,
    load_model,
    rad_inpaint,
    read_adapter,
    read_mask,
    read_photo,
    save_model,
    write_photo,
)
from rad_core.__main__ import build_parser, main
from rad_core.commands.inpaint import with_method
from rad_core.commands.inpaint_methods import METHODS, _load_rad, split_strength
from rad_core.commands.paths import check_outputs
from rad_core.commands.photos import find_jobs, in_order
from rad_core.sdm import Generator, SDMConfig, save_sdm


@pytest.fixture()
def place(tmp_path, monkeypatch):
    """The current folder: with a network, a photo and its mask."""
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16, tiles=True))
    net.region_aware = True
    save_model(net, tmp_path / "net.safetensors")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    mask = np.zeros((30, 40), np.uint8)
    mask[5:9, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
FILES = ["photo.png", "--mask", "mask.png", "-o", "out.png", "--device", "cpu"]
FILL = [*FILES, "--model", "net.safetensors", "--steps", "2"]


def fill(*more):
    return main(["inpaint", *FILL, *more])


def pixels(path):
    with Image.open(path) as picture:
        return np.array(picture)


def assert_only_the_hole_changed(path):
    changed = (pixels(path) != pixels("photo.png")).any(-1)
    assert changed.any() and not changed[pixels("mask.png") == 0].any()


def test_photo(place):
    assert fill("--compare", "sheet.png") == 0
    assert_only_the_hole_changed("out.png")
    assert pixels("sheet.png").shape[1] > 3 * 40


def test_same_seed_same_file(place):
    assert fill() == 0
    first = pixels("out.png")
    assert fill() == 0
    np.testing.assert_array_equal(first, pixels("out.png"))
    assert fill("--seed", "1") == 0
    assert (first != pixels("out.png")).any()


def test_the_command_fills_as_the_library_does(place):
    """With the defaults of both: the same picture."""
    assert main(["inpaint", *FILES, "--model", "net.safetensors", "--seed", "3"]) == 0
    filled = rad_inpaint(load_model("net.safetensors"), read_photo("photo.png").rgb, read_mask("mask.png"), seed=3)
    np.testing.assert_array_equal(pixels("out.png"), (filled[0] * 255).round().byte().permute(1, 2, 0).numpy())
    assert_only_the_hole_changed("out.png")


def test_the_method_is_a_sub_command_or_an_option_or_the_default(place):
    assert with_method(FILES) == with_method(["--method", "exemplar", *FILES]) == with_method(["exemplar", *FILES]) == ["exemplar", *FILES]
    assert with_method(FILL) == with_method(["--method", "rad", *FILL]) == ["rad", *FILL]
    assert with_method([*FILES, "--model=net.safetensors"]) == ["rad", *FILES, "--model=net.safetensors"]
    assert with_method([*FILES, "--method=sdm"]) == with_method([*FILES[:3], "--method", "sdm", *FILES[3:]]) == ["sdm", *FILES]
    assert with_method(["--help"]) == ["--help"]
    assert fill() == 0
    plain = pixels("out.png")
    for arguments in (["rad", *FILL], [*FILL, "--method", "rad"]):
        (place / "out.png").unlink()
        assert main(["inpaint", *arguments]) == 0
        np.testing.assert_array_equal(pixels("out.png"), plain)


@pytest.mark.parametrize(
    ("method", "option"),
    [
        *[("rad", option) for option in ("--iterations=2", "--uncertainty=u.png", "--method=sdm", "--preset=combine", "--view=all")],
        *[("gradpaint", option) for option in ("--align=0", "--order=mask.png", "--alpha=1")],
        *[("sdm", option) for option in ("--steps=3", "--adapter=none", "--label=1")],
        *[("exemplar", option) for option in ("--steps=3", "--model=photos", "--view=whole", "--dtype=float16")],
    ],
)
def test_a_method_has_its_own_options_alone(place, capsys, method, option):
    with pytest.raises(SystemExit) as exit:
        main(["inpaint", method, *FILES, option])
    assert exit.value.code == 2 and option.split("=")[0] in capsys.readouterr().err
    assert not (place / "out.png").exists()


@pytest.mark.parametrize("name", METHODS)
def test_options_take_their_defaults_from_the_settings(name):
    options = build_parser().parse_args(["inpaint", name, *FILES])
    for preset, settings in METHODS[name].presets.items():
        options.preset = preset
        assert METHODS[name].settings(options) == settings


def test_settings_options_change_the_preset(place):
    parse = lambda *more: METHODS[more[0]].settings(build_parser().parse_args(["inpaint", more[0], *FILES, *more[1:]]))
    rad = parse("rad", "--preset", "paper", "--steps", "7", "--view", "hole", "--context", "0.5")
    assert (rad.sampler, rad.align, rad.steps, rad.view, rad.context) == ("ddpm", 0.0, 7, "hole", 0.5)
    assert parse("sdm", "--preset", "paper", "--no-refresh").refresh is False and parse("sdm", "--preset", "paper").refresh is True
    assert fill() == 0
    default = pixels("out.png")
    assert fill("--preset", "paper", "--steps", "2") == 0
    assert (pixels("out.png") != default).any()
    assert_only_the_hole_changed("out.png")


def test_sdm_writes_its_uncertainty(place):
    torch.manual_seed(0)
    save_sdm(Generator(SDMConfig((8, 16), (1,), 1, 8, 8, 2, image_size=16)), "net.sdm.safetensors")
    run = ["inpaint", "sdm", *FILES, "--model", "net.sdm.safetensors", "--uncertainty", "uncertainty.png", "--compare", "sheet.png"]
    assert main([*run, "--iterations", "2"]) == 0
    assert_only_the_hole_changed("out.png")
    uncertainty, hole = pixels("uncertainty.png"), pixels("mask.png") > 0
    assert uncertainty[hole].any() and not uncertainty[~hole].any()
    assert pixels("sheet.png").shape[1] > 4 * 40


PLAIN = ["inpaint", *FILES, "--preset", "fast"]


def test_without_a_model_the_picture_s_own_patches_fill_the_hole(place, capsys):
    assert main(["inpaint", *FILES, "--seed", "3", "--uncertainty", "u.png", "--compare", "sheet.png"]) == 0
    assert "Wrote out.png, sheet.png, u.png." in capsys.readouterr().out
    assert_only_the_hole_changed("out.png")
    filled, uncertainty = exemplar_inpaint(read_photo("photo.png").rgb, read_mask("mask.png"), seed=3)
    np.testing.assert_array_equal(pixels("out.png"), (filled[0] * 255).round().byte().permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(pixels("u.png")[..., 0], (uncertainty[0, 0] * 255).round().byte().numpy())
    assert pixels("u.png").any() and not pixels("u.png")[pixels("mask.png") == 0].any()
    assert pixels("sheet.png").shape[1] > 4 * 40


def test_presets_and_settings_of_the_exemplar_method_change_the_fill(place):
    found = []
    for more in ((), ("--preset", "best"), ("--patch", "3"), ("--near", "1"), ("--reach", "0")):
        assert main([*PLAIN, *more]) == 0
        assert_only_the_hole_changed("out.png")
        found.append(pixels("out.png"))
    assert sum((found[0] != other).any() for other in found[1:]) >= 3


def test_several_exemplar_fills_are_several_files(place, capsys):
    """Fill 2 is what the next seed gives; nothing is averaged. On a piece of a real photograph: in noise all seeds find the same."""
    box = (180, 200, 276, 296)
    Image.open(PHOTOS / "waves.jpg").crop(box).save("photo.png")
    Image.open(PHOTOS / "waves.mask.png").crop(box).save("mask.png")
    assert main([*PLAIN, "--fills", "2", "--uncertainty", "u.png", "--compare", "sheet.png"]) == 0
    assert "out_1.png" in (text := capsys.readouterr().out) and "u_2.png" in text
    assert not (place / "out.png").exists() and not (place / "u.png").exists() and pixels("sheet.png").shape[1] > 6 * 40
    for seed in (0, 1):
        assert main([*PLAIN, "--seed", str(seed), "--uncertainty", "u.png"]) == 0
        np.testing.assert_array_equal(pixels("out.png"), pixels(f"out_{seed + 1}.png"))
        assert (pixels("u.png") != pixels(f"u_{seed + 1}.png")).any(), "of several fills it tells how much they differ, too"
        assert_only_the_hole_changed(f"out_{seed + 1}.png")
    assert (pixels("out_1.png") != pixels("out_2.png")).any()


def test_references_lend_their_patches_where_their_masks_allow(place):
    """The photo's whole picture stands in a reference, so the fill is the truth; under a mask over all of the reference it is not."""
    Image.fromarray(pixels("photo.png")).save("whole.png")
    broken = pixels("photo.png")
    broken[pixels("mask.png") > 0] = 0
    Image.fromarray(broken).save("photo.png")
    hole = pixels("mask.png") > 0
    error = lambda: np.abs(pixels("out.png").astype(int) - pixels("whole.png"))[hole].mean()
    assert main([*PLAIN, "--reference", "whole.png"]) == 0
    with_reference = error()
    Image.fromarray(np.full((30, 40), 255, np.uint8)).save("none.png")
    assert main([*PLAIN, "--reference", "whole.png", "--reference-mask", "none.png"]) == 0
    assert with_reference < 0.2 * error()


def test_exemplar_takes_an_order_and_refines_a_fill(place):
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    Image.fromarray(ramp).save("order.png")
    assert main(PLAIN) == 0
    plain, hole = pixels("out.png"), pixels("mask.png") > 0
    assert main([*PLAIN, "--order", "order.png"]) == 0
    assert (pixels("out.png") != plain).any()
    assert_only_the_hole_changed("out.png")
    half = np.where(np.arange(40) < 20, 0, 255).astype(np.uint8)[None].repeat(30, 0)
    Image.fromarray(half).save("half.png")
    assert main([*PLAIN, "--refine", "half.png", "--seed", "5"]) == 0
    changed = (pixels("out.png") != pixels("photo.png")).any(-1)
    assert changed[hole & (half > 0)].any() and not changed[half == 0].any()


def test_a_folder_is_filled_with_exemplars_as_pictures_or_as_frames(place):
    for folder in ("in", "masks"):
        (place / folder).mkdir()
    for k, name in enumerate(("a", "b")):
        Image.fromarray(pixels("photo.png")).save(f"in/{name}.png")
        Image.fromarray(np.roll(pixels("mask.png"), 8 * k, 0)).save(f"masks/{name}.png")
    run = ["inpaint", "in", "--mask", "masks", "--device", "cpu", "--preset", "fast"]
    assert main([*run, "-o", "out", "--uncertainty", "u", "--fills", "2"]) == 0
    names = ["a_1.png", "a_2.png", "b_1.png", "b_2.png"]
    assert sorted(p.name for p in (place / "out").iterdir()) == sorted(p.name for p in (place / "u").iterdir()) == names
    assert main([*run, "-o", "video", "--frames", "--compare", "sheets"]) == 0
    assert sorted(p.name for p in (place / "video").iterdir()) == sorted(p.name for p in (place / "sheets").iterdir()) == ["a.png", "b.png"]
    truth = pixels("photo.png").astype(int)
    for name in ("a", "b"):
        changed, hole = np.abs(pixels(f"video/{name}.png") - truth), pixels(f"masks/{name}.png") > 0
        assert not changed[~hole].any() and changed[hole].mean() < 20, "what the other frame shows is found"
    Image.fromarray(pixels("photo.png")[:20]).save("in/b.png")
    assert main([*run, "-o", "other", "--frames"]) == 1 and not (place / "other").exists()


def test_frames_are_in_the_order_of_their_numbers():
    names = ["frame1", "frame2", "frame10", "shot1_09", "shot1_010", "shot02_1"]
    assert [path.stem for path in sorted((Path(f"{name}.png") for name in sorted(names)), key=in_order)] == names


def test_drives_without_file_numbers_do_not_make_one_file_of_all(place, monkeypatch, capsys):
    stat = os.stat
    numberless = lambda status: os.stat_result([*status[:1], 0, *status[2:10]])
    monkeypatch.setattr(os, "stat", lambda *args, **options: numberless(stat(*args, **options)))
    assert fill() == 0 and fill() == 0, "out.png is there the second time"
    assert main(["inpaint", "photo.png", "--mask", "mask.png", "-o", "mask.png"]) == 1
    assert "would overwrite" in capsys.readouterr().err


def test_a_name_that_the_code_page_lacks_is_no_failure(place):
    Image.fromarray(pixels("photo.png")).save("写真.png")
    command = [sys.executable, "-m", "rad_core", "inpaint", "写真.png", "--mask", "mask.png", "-o", "結果.png", "--preset", "fast"]
    root = str(Path(rad_core.__file__).parents[1])
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": root}, capture_output=True, check=False)
    assert done.returncode == 0 and b"Wrote" in done.stdout and Path("結果.png").is_file()


def test_warnings_are_notes_and_go_back_to_how_they_were(place, capsys):
    before = warnings.showwarning
    assert main(["inpaint", *FILL[:4], "out.jpg", *FILL[5:]]) == 0
    assert "Note: out.jpg is a JPEG" in capsys.readouterr().err
    assert warnings.showwarning is before


def test_transparency_and_grey_are_kept(place):
    photo = pixels("photo.png")
    Image.fromarray(np.dstack([photo, photo[..., 0]])).save("photo.png")
    assert fill() == 0
    out, hole = pixels("out.png"), pixels("mask.png") > 0
    assert out.shape[2] == 4 and (out[..., 3] == np.maximum(photo[..., 0], pixels("mask.png"))).all()
    assert (out[..., :3] != photo)[hole].any() and (out[..., :3] == photo)[~hole].all()
    Image.fromarray(photo[..., 0]).save("photo.png")
    assert fill("--fills", "2") == 0
    assert pixels("out.png").shape == (30, 40)
    assert (pixels("out.png") == photo[..., 0])[~hole].all() and (pixels("out.png") != photo[..., 0])[hole].any()


def test_folders(place):
    (place / "in").mkdir()
    (place / "masks").mkdir()
    for name in ("a", "b"):
        Image.open("photo.png").save(f"in/{name}.png")
        Image.open("mask.png").save(f"masks/{name}.png")
    arguments = ["inpaint", "in", "-o", "out", "--model", "net.safetensors", "--steps", "1", "--device", "cpu", "--compare", "sheets"]
    assert main([*arguments, "--mask", "masks"]) == 0
    assert sorted(p.name for p in (place / "out").iterdir()) == sorted(p.name for p in (place / "sheets").iterdir()) == ["a.png", "b.png"]
    first = {name: pixels(f"out/{name}.png") for name in "ab"}
    for name in first:
        assert_only_the_hole_changed(f"out/{name}.png")
    assert main([*arguments, "--mask", "masks"]) == 1, "files whose names are not the user's choice are not replaced"
    for path in [*place.glob("out/*"), *place.glob("sheets/*")]:
        path.unlink()
    assert main([*arguments, "--mask", "mask.png"]) == 0
    for name, picture in first.items():
        np.testing.assert_array_equal(pixels(f"out/{name}.png"), picture)
        (place / "out" / f"{name}.png").unlink()
    (place / "masks" / "b.png").unlink()
    assert main([*arguments, "--mask", "masks"]) == 1
    assert not list((place / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inpaint", "none.png", "--mask", "mask.png", "-o", "x.png"], "no file none.png"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.jp2"], "Cannot write x.jp2"),
        (["inpaint", "net.safetensors", "--mask", "mask.png", "-o", "x.png"], "not a picture"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--model", "photo.png"], "not a weights file"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--model", "nobody"], "no bundled network"),
        (
            ["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--model", "net.safetensors", "--adapter", "nobody:0.5"],
            "no adapter file nobody",
        ),
        (
            ["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--model", "net.safetensors", "--steps", "0"],
            "between 1 and",
        ),
        (
            ["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.nonsense", "--model", "net.safetensors", "--steps", "1"],
            "Cannot write x.nonsense",
        ),
        (["masks", "-o", "m", "--size", "big"], "WIDTHxHEIGHT"),
        (["masks", "-o", "m", "--area", "130"], "from 0 to 100"),
        (["masks", "-o", "m", "--size", "0"], "at least 1x1"),
        (["masks", "-o", "m", "--size", "-4", "--kind", "box"], "at least 1x1"),
        (["masks", "-o", "m", "--size", "999999x999999", "--kind", "scratch"], "at most 179 million pixels"),
        (["masks", "-o", "m.png", "-n", "2"], "need a folder"),
        (["masks", "-o", "m", "--kind", "box", "--area", "5"], "Perlin masks alone"),
        (["masks", "-o", "m", "--kind", "box", "--animate", "1"], "Perlin masks alone"),
        (["masks", "-o", "m", "--animate", "1", "--octaves", "3"], "for still masks"),
        (["masks", "-o", "m", "--animate", "1e18", "-n", "2"], "does not fit into memory"),
        (["convert", "landscapes", "-o", "x.safetensors", "--base", "net.safetensors"], "--base is for adapters"),
        (["convert", "landscapes", "-o", "x.safetensors", "--rank", "8"], "Leave out --rank"),
        (["convert", "landscapes", "-o", "x.safetensors", "--extract", "net.safetensors"], "these two have other shapes"),
        (["inpaint", "rad", "photo.png", "--mask", "mask.png", "-o", "x.png", "--overlap", "0.5"], "--order"),
        (["inpaint", "gradpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--eta", "0.5"], "or choose ddim"),
        (["inpaint", "sdm", "photo.png", "--mask", "mask.png", "-o", "x.png", "--context", "2", "--view", "whole"], "Leave out --context"),
        (["inpaint", "rad", "photo.png", "--mask", "mask.png", "-o", "x.png", "--detail-adapter", "a", "--preset", "paper"], "--detail"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--reference", "none.png"], "no file none.png"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--reference-mask", "mask.png"], "pass one mask for each"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--patch", "4"], "patch must be odd"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--frames", "--fills", "2"], "--frames makes one fill"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "x.png", "--uncertainty", "x.nothing"], "Cannot write x.nothing"),
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
        (["train", "rad", "-o", "x.safetensors", "--base", "landscapes", "--widths", "64,64"], "Leave out --widths:"),
        (["train", "rad", "-o", "x.safetensors", "--base", "landscapes", "--prediction", "v"], "predicts what its base does"),
        (["train", "rad", "-o", "x.safetensors", "--rank", "4", "--alpha", "8"], "Leave out --rank and --alpha:"),
        (["train", "base", "-o", "x.safetensors", "--data", ".", "--hour", "6"], "Leave out --hour:"),
        (["train", "sdm", "-o", "x.safetensors", "--data", ".", "--hour", "6"], "Leave out --hour:"),
        (["train", "base", "-o", "x.safetensors", "--augment", "flip"], "Leave out --augment:"),
        (["train", "rad", "-o", "x.safetensors", "--base", "landscapes", "--init", "a.safetensors", "--rank", "4"], "Leave out --rank:"),
        (["train", "rad", "-o", "x.safetensors", "--base", "landscapes", "--data", "."], "another folder than the pictures"),
        (["train", "rad", "-o", "x.safetensors", "--base", "landscapes", "--masks", "."], "another folder than the pictures"),
        (["inpaint", "photo.png", "--mask", "mask.png", "-o", "net.safetensors/x.png"], "Cannot write to"),
        (["inpaint", "exmplar", "photo.png", "--mask", "mask.png", "-o", "x.png"], "neither a file nor a method"),
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
    out, hole = pixels("out.png"), photo[..., 3] == 0
    assert (out[..., 3] == 255).all() and (out[..., :3] != photo[..., :3])[hole].any() and (out[..., :3] == photo[..., :3])[~hole].all()


def test_networks_that_break_down_write_nothing(place, capsys):
    net = load_model("net.safetensors")
    net.conv_out.bias[:] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
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
    assert "same name" in capsys.readouterr().err and not (place / "out").exists()


def test_stopping_leaves_nothing(place, monkeypatch, capsys):
    monkeypatch.setattr("rad_core.commands.inpaint_methods.rad_inpaint", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    assert fill() == 130
    assert "Interrupted" in capsys.readouterr().err and not (place / "out.png").exists()


def test_masks(place):
    assert main(["masks", "-o", "m", "-n", "3", "--size", "20x10", "--area", "25", "--seed", "4"]) == 0
    assert [(pixels(f"m/mask_00{k}.png") == 255).sum() for k in range(3)] == [50, 50, 50]
    assert main(["masks", "-o", "one.png", "--kind", "box", "--size", "16"]) == 0
    assert (pixels("one.png") == 255).sum() == 64
    assert main(["masks", "-o", "clip", "-n", "4", "--size", "16", "--animate", "0.2", "--scale", "8"]) == 0
    frames = [pixels(f"clip/mask_00{k}.png") for k in range(4)]
    assert all((a != b).any() and (a == b).mean() > 0.5 for a, b in pairwise(frames)), "the mask moves a little"
    assert main(["masks", "-o", "rest.png", "--kind", "box", "--size", "16", "--invert"]) == 0
    assert (pixels("rest.png") == 255 - pixels("one.png")).all()
    assert main(["masks", "-o", "moving", "-n", "2", "--size", "20x10", "--animate", "0.2", "--area", "25"]) == 0
    assert [(pixels(f"moving/mask_00{k}.png") == 255).sum() for k in range(2)] == [50, 50]


def test_convert_and_info(place, capsys):
    assert main(["convert", "net.safetensors", "-o", "half.safetensors", "--dtype", "float16"]) == 0
    assert main(["info", "half.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "trained for RAD  True" in out and "(32, 32)" in out
    for name, weight in load_model("net.safetensors").state_dict().items():
        assert torch.equal(load_model("half.safetensors").state_dict()[name], weight.half().float())
    assert (place / "half.safetensors").stat().st_size < 0.6 * (place / "net.safetensors").stat().st_size
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "Bundled networks: landscapes\n" in out and "Bundled adapters: landscapes" in out


def test_a_network_is_built_once_to_be_converted(place, monkeypatch):
    built, build = [], checkpoints._build
    monkeypatch.setattr(checkpoints, "_build", lambda *args: built.append(args) or build(*args))
    assert main(["convert", "net.safetensors", "-o", "again.safetensors"]) == 0 and len(built) == 1


def test_a_file_is_described_as_one_kind(capsys):
    with pytest.raises(SystemExit):
        main(["info", "landscapes", "--adapter", "--sdm"])
    assert "not allowed with" in capsys.readouterr().err


def test_train_base_then_adapter_then_fill(place):
    """An adapter from training to a fill, a few steps long: its files load, its log counts the steps."""
    small = ["--stages", "16:2:2,32:1:2", "--save-every", "1", "--device", "cpu"]
    assert main(["train", "base", "-o", "base.safetensors", "--widths", "32,32", "--attention", "1", *small]) == 0
    assert main(["train", "rad", "--base", "base.safetensors", "-o", "night.safetensors", "--hour", "0", *small]) == 0
    log = (place / "night.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["step", "1", "2", "3"]
    assert main(["info", "night.safetensors"]) == 0
    assert fill("--model", "base.safetensors", "--adapter", "night.safetensors:0.5", "--view", "hole") == 0
    net = load_adapter(load_model("base.safetensors"), "night.safetensors", 0.5)
    filled = rad_inpaint(net, read_photo("photo.png").rgb, read_mask("mask.png"), steps=2, view="hole")
    assert np.abs(pixels("out.png") - (filled[0] * 255).round().permute(1, 2, 0).numpy()).max() <= 1  # merging rounds differently
    assert_only_the_hole_changed("out.png")
    assert main(["convert", "night.safetensors", "-o", "two.safetensors", "--adapter", "night.safetensors"]) == 1
    assert not (place / "two.safetensors").exists(), "an adapter takes no adapter"


def test_the_bundled_adapters_fill_and_redraw(place):
    """Without an --adapter both are used; with one, or with none to redraw, the network that fills redraws."""
    photo, mask = landscapes(1, 96, seed=7), torch.zeros(1, 1, 96, 96)
    mask[..., 30:60, 20:70] = 1
    write_photo("large.png", Photo(photo))
    Image.fromarray((mask[0, 0] * 255).byte().numpy()).save("hole.png")
    net, detail_net = (load_adapter(load_model("landscapes"), name) for name in ("landscapes", "landscapes-detail"))
    cases = (([], detail_net), (["--detail-adapter", "none"], None), (["--adapter", "landscapes"], None), (["--detail", "0"], None))
    shared = ["large.png", "--mask", "hole.png", "-o", "out.png", "--model", "landscapes", "--steps", "2", "--device", "cpu"]
    for options, other in cases:
        assert main(["inpaint", "rad", *shared, *options]) == 0
        detail = 0.0 if "--detail" in options else 1.0
        filled = rad_inpaint(net, read_photo("large.png").rgb, mask, steps=2, detail=detail, detail_net=other)
        assert np.abs(pixels("out.png") - (filled[0] * 255).round().permute(1, 2, 0).numpy()).max() <= 2  # merging rounds differently
    assert _load_rad(build_parser().parse_args(["inpaint", "rad", *shared, "--preset", "paper"]), None).detail_net is None


def test_an_adapters_name_may_be_a_number():
    assert split_strength("5000") == ("5000", 1.0) and split_strength("5000:0.5") == ("5000", 0.5)
    assert split_strength("C:/a.safetensors") == ("C:/a.safetensors", 1.0)


def test_an_order_map_changes_the_fill_and_nothing_else(place):
    assert fill() == 0
    plain = pixels("out.png")
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    Image.fromarray(ramp).save("order.png")
    assert fill("--order", "order.png") == 0
    hole = pixels("mask.png") > 0
    assert (pixels("out.png") != plain)[hole].any() and (pixels("out.png") == pixels("photo.png"))[~hole].all()
    assert fill("--order", "order.png", "--overlap", "1") == 0
    np.testing.assert_array_equal(pixels("out.png"), plain)
    assert fill("--order", "order.png", "--overlap", "3") == 1


def test_masks_of_what_is_seen_pasted_and_copied(place):
    """White columns 0 to 19 alone: what the network may see; where the fill is pasted; where patches come from."""
    half = np.where(np.arange(40) < 20, 255, 0).astype(np.uint8)[None].repeat(30, 0)
    Image.fromarray(half).save("half.png")
    hole, photo = pixels("mask.png") > 0, pixels("photo.png")
    assert fill() == 0
    plain = pixels("out.png")
    assert fill("--context-mask", "half.png") == 0
    assert (pixels("out.png") != plain)[hole].any()
    assert_only_the_hole_changed("out.png")
    assert fill("--stitch-mask", "half.png") == 0
    pasted = pixels("out.png")
    assert (pasted != photo)[half > 0].any() and not (pasted != photo)[half == 0].any()
    whole = photo.copy()
    whole[hole] = 128
    whole[:, 20:] = (255, 0, 0)
    Image.fromarray(whole).save("photo.png")
    assert main([*PLAIN, "--source-mask", "half.png"]) == 0
    assert not (pixels("out.png")[hole] == (255, 0, 0)).all(-1).any(), "nothing red may be copied"
    assert fill("--stitch-mask", "half.png", "-o", "half.png") == 1, "a mask is never overwritten"
    np.testing.assert_array_equal(pixels("half.png"), half)


def test_all_masks_and_maps_are_turned_as_the_photo_is(place, capsys):
    """A telephone's portrait: the file's pixels lie, and every mask that was drawn on them is turned with them."""
    turned, half = Image.Exif(), np.where(np.arange(40) < 20, 255, 0).astype(np.uint8)[None].repeat(30, 0)
    turned[0x0112] = 6
    with Image.open("photo.png") as photo:
        upright = {"photo": photo.rotate(-90, expand=True), "mask": Image.open("mask.png").rotate(-90, expand=True)}
        photo.save("stored.png", exif=turned)
    Image.fromarray(half).save("half.png")
    upright["half"] = Image.fromarray(half).rotate(-90, expand=True)
    for name, picture in upright.items():
        picture.save(f"upright_{name}.png")
    options = ["--stitch-mask", "--context-mask", "--order"]
    run = lambda photo, mask, half, out: main(
        ["inpaint", "rad", photo, "--mask", mask, *(word for option in options for word in (option, half)), "-o", out, *FILL[5:]]
    )
    assert run("stored.png", "mask.png", "half.png", "out.png") == 0
    notes = capsys.readouterr().err
    assert "mask half.png was drawn on the photo's unturned pixels" in notes and "map half.png was drawn" in notes
    assert run("upright_photo.png", "upright_mask.png", "upright_half.png", "upright.png") == 0
    np.testing.assert_array_equal(pixels("out.png"), pixels("upright.png"))
    Image.fromarray(half).resize((20, 15)).save("half.png")
    assert fill("--context-mask", "half.png") == 0 and "half.png (20x15) was resized to the photo's size (40x30)" in capsys.readouterr().err


def test_a_stitch_mask_makes_opaque_what_was_filled_alone(place):
    with Image.open("photo.png") as photo:
        photo.putalpha(0)
        photo.save("photo.png")
    Image.new("L", (40, 30), 255).save("white.png")
    assert fill("--stitch-mask", "white.png", "--view", "hole", "--context", "0") == 0
    alpha, hole = pixels("out.png")[..., 3], pixels("mask.png") > 0
    assert (alpha[hole] == 255).all() and (alpha == 0).any(), "beyond the crop nothing was filled"


def test_several_fills_have_the_uncertainty_of_the_library(place):
    run = ["inpaint", *FILES, "--preset", "fast", "--fills", "3", "--uncertainty", "doubt.png"]
    assert main(run) == 0
    photo, mask = read_photo("photo.png"), read_mask("mask.png")
    fills, uncertainty = exemplar_inpaint(photo.rgb, mask, "fast", seed=0, fills=3)
    for k in range(3):
        assert torch.equal((read_photo(f"out_{k + 1}.png").rgb * 255).round()[0], (fills[k] * 255).round())
        np.testing.assert_array_equal(pixels(f"doubt_{k + 1}.png")[..., 0], (uncertainty[k, 0] * 255).round().numpy())


def test_a_photo_that_does_not_fit_into_memory_does_not_end_the_folder(place, monkeypatch, capsys):
    (place / "photos").mkdir()
    for name in ("a", "b"):
        Image.open("photo.png").save(f"photos/{name}.png")
    calls = []

    def once(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return exemplar_inpaint(*arguments, **options)

    monkeypatch.setattr("rad_core.commands.inpaint_methods.exemplar_inpaint", once)
    assert main(["inpaint", "photos", "--mask", "mask.png", "-o", "filled", "--preset", "fast", "--device", "cpu"]) == 1
    assert "1 of 2 photos could not be filled: a.png: out of memory." in capsys.readouterr().err
    assert not (place / "filled" / "a.png").exists() and (place / "filled" / "b.png").exists()


def test_gradpaint_on_a_plain_network(place, capsys):
    net = UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16))
    save_model(net, "plain.safetensors")
    pictures = []
    for preset in ("plus", "turbo", "paper", "combine"):
        assert fill("--method", "gradpaint", "--model", "plain.safetensors", "--preset", preset) == 0
        pictures.append(pixels("out.png"))
        assert_only_the_hole_changed("out.png")
    assert (pictures[0] != pictures[1]).any() and (pictures[0] != pictures[2]).any()
    assert fill("--align", "3") == 1 and "align must" in capsys.readouterr().err


def test_training_in_bfloat16_and_on_from_an_adapter(place):
    small = ["--base", "net.safetensors", "--stages", "16:1:2", "--device", "cpu", "--precision", "bfloat16"]
    assert main(["train", "rad", *small, "-o", "a.safetensors"]) == 0
    assert main(["train", "rad", *small, "--init", "a.safetensors", "-o", "b.safetensors"]) == 0
    assert read_adapter("b.safetensors").time["time_embedding.linear_1.weight"].dtype == torch.float32
    assert read_adapter("b.safetensors").metadata.steps == 2, "of both runs"


def test_no_input_is_ever_an_output(tmp_path, capsys):
    """Photo, mask, sheet and uncertainty map in each other's place, under other names of the same file too; nothing is changed."""
    photo, mask, link = tmp_path / "photo.png", tmp_path / "mask.png", tmp_path / "link.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)).save(photo)
    Image.fromarray(np.pad(np.full((4, 4), 255, np.uint8), 10)).save(mask)
    link.symlink_to(photo)
    before = {path: path.read_bytes() for path in (photo, mask)}
    out, other = tmp_path / "out.png", tmp_path / "out.v2" / ".." / "photo.png"
    for arguments in (
        ["-o", photo],
        ["-o", mask],
        ["-o", link],
        ["-o", other],
        ["-o", out, "--compare", photo],
        ["-o", out, "--compare", mask],
        ["-o", out, "--compare", out],
        ["-o", out, "--uncertainty", mask],
        ["-o", out, "--uncertainty", out],
        ["-o", out, "--reference", photo, "--compare", link],
    ):
        assert main(["inpaint", str(photo), "--mask", str(mask), *map(str, arguments)]) == 1
        assert re.search("would overwrite|are one file", capsys.readouterr().err)
    assert not out.exists() and all(path.read_bytes() == content for path, content in before.items())


def test_training_and_conversion_do_not_replace_their_networks(tmp_path, capsys):
    net = tmp_path / "net.safetensors"
    assert main(["convert", "landscapes", "-o", str(net)]) == 0
    before = net.read_bytes()
    assert main(["train", "rad", "--base", str(net), "-o", str(tmp_path), "--stages", "16:1:1", "--device", "cpu"]) == 1
    assert "is a folder: give the output a file's name" in capsys.readouterr().err
    assert main(["convert", str(net), "-o", str(net)]) == 1
    assert main(["train", "rad", "--base", str(net), "-o", str(net), "--stages", "16:1:1", "--device", "cpu"]) == 1
    assert capsys.readouterr().err.count("would overwrite") == 2 and net.read_bytes() == before


def test_masks_and_conversion_replace_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "net.safetensors"):
        Path(name).write_bytes(b"of an artist")
    (tmp_path / "m").mkdir()
    Path("m/mask_001.png").write_bytes(b"of an artist")
    for words in (["masks", "-o", "a.png"], ["masks", "-o", "m", "-n", "2"], ["convert", "landscapes", "-o", "net.safetensors"]):
        assert main(words) == 1
    assert capsys.readouterr().err.count("exists already and is not replaced") == 3 and not Path("m/mask_000.png").exists()
    assert {path.read_bytes() for path in tmp_path.rglob("*.*")} == {b"of an artist"}
    assert main(["masks", "-o", "masks.v2/", "--size", "16"]) == 0 and Path("masks.v2/mask_000.png").exists()


def test_a_folder_for_the_output_hides_no_file(tmp_path, monkeypatch, capsys):
    """The name in it is the photo's with .png, which may be another picture's."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    Image.fromarray(np.pad(np.full((4, 4), 255, np.uint8), 10)).save("mask.png")
    Path("photo.png").write_bytes(b"of an artist")
    Path("out").mkdir()
    run = ["inpaint", "photo.jpg", "--mask", "mask.png", "-o"]
    assert main([*run, "."]) == 1 and Path("photo.png").read_bytes() == b"of an artist"
    assert "photo.png exists already and is not replaced" in capsys.readouterr().err
    assert main([*run, "out"]) == 0 and main([*run, "out/photo.png"]) == 0, "a file that is named is replaced"


def test_a_mask_among_the_photos_is_not_filled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Image.new("RGB", (24, 24), "teal").save("in/a.png")
    Image.fromarray(np.pad(np.full((4, 4), 255, np.uint8), 10)).save("in/hole.png")
    assert main(["inpaint", "in", "--mask", "in/hole.png", "-o", "out"]) == 0
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]


def test_training_replaces_no_file_but_its_own(place, capsys):
    run = ["train", "rad", "--device", "cpu", "--threads", "1", "--rank", "4", "--base", "net.safetensors", "--stages", "16:1:2", "-o"]
    for name in ("look.safetensors", "look.csv", "look.samples.png"):
        Path(name).write_bytes(b"of an artist")
        assert main([*run, "look.safetensors"]) == 1 and Path(name).read_bytes() == b"of an artist"
        Path(name).unlink()
    assert capsys.readouterr().err.count("exists already and is not replaced") == 3
    assert main([*run, "look.v2"]) == 0 and Path("look.v2.state").exists()
    assert main([*run, "look.v3"]) == 0 and read_adapter("look.v3").metadata.steps == 1
    Path("net.safetensors").unlink()
    torch.manual_seed(1)
    save_model(UNet(UNetConfig(32, (32, 32), 1, (1,), 32, image_size=16)), "net.safetensors")
    assert main([*run[:-2], "16:2:2", "-o", "look.v3"]) == 1, "the base is another network now"
    assert "belongs to a run with weights of the base" in capsys.readouterr().err


def test_masks_beside_their_photos_and_a_grown_hole(tmp_path):
    """A folder of NAME.png and NAME.mask.png is filled as it is; --grow widens the hole, and nothing beyond it changes."""
    photos, out, wide = tmp_path / "photos", tmp_path / "out", tmp_path / "wide"
    photos.mkdir()
    pixels, hole = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8), np.pad(np.full((4, 4), 255, np.uint8), 10)
    for name in ("a", "b"):
        Image.fromarray(pixels).save(photos / f"{name}.png")
        Image.fromarray(hole).save(photos / f"{name}.mask.png")
    assert main(["inpaint", str(photos), "--mask", str(photos), "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]
    assert main(["inpaint", str(photos), "--mask", str(photos), "-o", str(wide), "--grow", "2"]) == 0
    changed = [(np.array(Image.open(folder / "a.png")) != pixels).any(2) for folder in (out, wide)]
    assert changed[0].any() and not changed[0][hole == 0].any()
    assert changed[1].sum() > changed[0].sum() and not changed[1][:8].any() and not changed[1][:, :8].any()


def test_of_two_masks_the_one_that_says_so_is_taken_and_links_and_letter_case_hide_no_input(tmp_path):
    for name in ("photos/a.png", "masks/a.png", "masks/a.mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (job,) = find_jobs(tmp_path / "photos", tmp_path / "masks", tmp_path / "out")
    assert job.mask.name == "a.mask.png"
    os.link(tmp_path / "photos/a.png", tmp_path / "link.png")
    for output in ("link.png", "photos/A.PNG"):
        with pytest.raises(ValueError, match="would overwrite"):
            check_outputs([tmp_path / output], [job.photo])
