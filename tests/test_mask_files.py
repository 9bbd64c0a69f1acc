"""Masks as they come from people: each rule of `mask_files` on files of its own kind."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from rad_core import read_mask, read_photo
from rad_core.__main__ import main
from rad_core.mask_files import read_map, upright
from rad_core.notes import Note

HOLE = np.zeros((24, 32), np.uint8)
HOLE[8:14, 10:20] = 255
PHOTO = np.random.default_rng(2).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def read(path, photo=None):
    """The mask (H, W), and its notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mask = read_mask(path, photo)
    assert all(issubclass(each.category, Note) for each in caught)
    return mask[0, 0].numpy(), " ".join(str(each.message) for each in caught)


def layer(colour, alpha=HOLE):
    """Paint of one colour on a transparent ground, or a picture, with this alpha."""
    return Image.fromarray(np.dstack([np.broadcast_to(np.array(colour, np.uint8), (24, 32, 3)), alpha]))


def test_the_noise_of_a_jpeg_is_no_mask(tmp_path):
    Image.fromarray(np.where(HOLE > 0, 250, 3).astype(np.uint8)).save(tmp_path / "noisy.png")
    mask, note = read(tmp_path / "noisy.png")
    assert (mask == HOLE / 255).all() and "708 pixels that are nearly black" in note
    large = HOLE.repeat(8, 0).repeat(8, 1)
    Image.fromarray(large).save(tmp_path / "mask.jpg", quality=75)
    mask, _ = read(tmp_path / "mask.jpg")
    far = np.ones_like(large, bool)
    far[48:128, 64:176] = False
    assert not mask[far].any() and (mask[72:104, 88:152] == 1).all()


def test_a_mask_in_colour_is_noted(tmp_path):
    """Such as the photo itself, by mistake."""
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    mask, note = read(tmp_path / "photo.png")
    assert "is in colour: its brightness was taken" in note and 0.3 < mask.mean() < 0.7
    Image.fromarray(np.dstack([HOLE, HOLE * 0, HOLE * 0])).save(tmp_path / "red.png")
    assert "is in colour" in read(tmp_path / "red.png")[1]


def test_classes_of_0_and_1_are_a_mask_and_faint_noise_is_none(tmp_path):
    Image.fromarray(HOLE // 255).save(tmp_path / "classes.png")
    mask, note = read(tmp_path / "classes.png")
    assert (mask == HOLE / 255).all() and "map of classes" in note
    Image.fromarray(HOLE // 60).save(tmp_path / "faint.png")
    assert not read(tmp_path / "faint.png")[0].any()
    Image.fromarray(HOLE > 0).save(tmp_path / "bits.png")
    mask, note = read(tmp_path / "bits.png")
    assert (mask == HOLE / 255).all() and note == ""


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 0), (255, 255, 255), (40, 90, 160)])
def test_paint_on_a_transparent_ground_is_the_hole_whatever_its_colour(tmp_path, colour):
    layer(colour).save(tmp_path / "paint.png")
    mask, note = read(tmp_path / "paint.png")
    assert (mask == HOLE / 255).all() and ("has transparency" in note or "paint of one colour" in note)


def test_what_was_erased_from_a_picture_is_the_hole(tmp_path):
    with_white = PHOTO.copy()
    with_white[0, 0] = 255
    for picture in (PHOTO, with_white, PHOTO[..., :1].repeat(3, 2)):
        layer(picture, 255 - HOLE).save(tmp_path / "erased.png")
        mask, note = read(tmp_path / "erased.png")
        assert (mask == HOLE / 255).all() and "what was erased is the hole" in note


def test_black_and_white_with_transparency_is_a_drawn_mask(tmp_path):
    drawn = np.dstack([HOLE, HOLE, HOLE])
    alpha = np.full_like(HOLE, 255)
    alpha[:, :14] = 0  # half of the white cannot be seen
    layer(drawn, alpha).save(tmp_path / "drawn.png")
    mask, note = read(tmp_path / "drawn.png")
    assert (mask == np.where(alpha > 0, HOLE / 255, 0)).all() and "its white is the hole" in note
    layer(drawn, 0 * alpha).save(tmp_path / "nothing.png")
    mask, note = read(tmp_path / "nothing.png")
    assert not mask.any() and "wholly transparent" in note


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_of_the_unturned_pixels_is_turned_with_the_photo(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.dstack([HOLE, HOLE, HOLE]))
    stored.save(tmp_path / "photo.png", exif=exif)
    stored.convert("L").save(tmp_path / "mask.png")
    photo = read_photo(tmp_path / "photo.png")
    expected = upright(torch.from_numpy(HOLE / 255)[None, None], orientation)
    assert torch.equal(expected.float(), photo.rgb[:, :1]), "turned as Pillow turns it"
    mask, note = read(tmp_path / "mask.png", photo)
    if orientation >= 5:
        assert (mask == photo.rgb[0, 0].numpy()).all() and "it was turned with them" in note
    else:
        assert (mask == HOLE / 255).all() and ("turned picture" in note) == (orientation > 1)


def test_classes_of_0_and_1_may_have_16_bits(tmp_path):
    Image.fromarray((HOLE > 0).astype(np.uint16)).save(tmp_path / "classes.png")
    mask, note = read(tmp_path / "classes.png")
    assert (mask == HOLE / 255).all() and "map of classes" in note


def test_a_map_is_read_as_it_is(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(8, 32)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert torch.equal((read_map(tmp_path / "ramp.png")[0, 0] * 255).round(), torch.from_numpy(ramp).float())


def test_the_command_says_which_rule_was_used(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("photo.png")
    layer((255, 0, 0)).save("paint.png")
    run = ["inpaint", "photo.png", "--mask", "paint.png", "-o", "out.png", "--preset", "fast", "--device", "cpu"]
    assert main(run) == 0 and "Note: The mask paint.png is paint of one colour" in capsys.readouterr().err
    with Image.open("out.png") as out:
        same = (np.array(out) == PHOTO).all(-1)
    assert same[HOLE == 0].all() and not same[HOLE > 0].all()


def test_a_picture_of_dark_and_light_colours_is_no_drawn_mask(tmp_path):
    colours = np.where(np.arange(32)[None, :, None] < 16, (40, 0, 0), (255, 255, 190)).astype(np.uint8).repeat(24, 0)
    Image.fromarray(np.dstack([colours, 255 - HOLE])).save(tmp_path / "erased.png")
    mask, note = read(tmp_path / "erased.png")
    assert (mask == HOLE / 255).all() and "what was erased is the hole" in note


def test_what_is_transparent_in_a_map_is_black(tmp_path):
    layer((255, 255, 255)).save(tmp_path / "map.png")
    assert torch.equal(read_map(tmp_path / "map.png")[0, 0], torch.from_numpy(HOLE / 255).float())
