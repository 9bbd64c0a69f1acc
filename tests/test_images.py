import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from rad_core import Photo, exemplar_inpaint, read_mask, read_photo, write_photo
from rad_core.boxes import Box, hole_box, tile_box
from rad_core.crops import Crop, CropSpec, crop_holes, shrink_known
from rad_core.images import check_image_and_mask, check_order, clamp_mask, pasted, resize_mask
from rad_core.photo_files import check_writable

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 13), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (9, 13, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(GREY),
        Image.fromarray(RGBA[..., :3]),
        Image.fromarray(RGBA),
        Image.fromarray(GREY).convert("LA"),
        Image.fromarray(RNG.integers(0, 65536, (9, 13), dtype=np.uint16)),
        Image.fromarray(GREY > 128),
    ],
    ids=["grey", "colour", "transparent", "grey transparent", "16-bit grey", "1-bit"],
)
def test_png_comes_back_bit_exact(tmp_path, picture):
    picture.save(tmp_path / "in.png")
    write_photo(tmp_path / "out.png", read_photo(tmp_path / "in.png"))
    with Image.open(tmp_path / "in.png") as a, Image.open(tmp_path / "out.png") as b:
        first, second = (np.array(p.convert("L") if p.mode == "1" else p) for p in (a, b))
        np.testing.assert_array_equal(first, second)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "out.png"]


def test_palette_becomes_colour(tmp_path):
    picture = Image.fromarray(RGBA[..., :3]).quantize(16)
    picture.save(tmp_path / "in.png")
    np.testing.assert_array_equal((read_photo(tmp_path / "in.png").rgb[0] * 255).round().permute(1, 2, 0), np.array(picture.convert("RGB")))


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees
    Image.fromarray(RGBA[..., :3]).save(tmp_path / "in.png", exif=exif)
    photo = read_photo(tmp_path / "in.png")
    assert photo.rgb.shape == (1, 3, 13, 9)
    np.testing.assert_array_equal((photo.rgb[0] * 255).round().permute(1, 2, 0), np.rot90(RGBA[..., :3], -1))


def test_masks_from_white_or_transparency(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "white.png")
    clear = np.where(GREY <= 16, 0, np.where(GREY >= 239, 255, GREY))
    np.testing.assert_allclose(read_mask(tmp_path / "white.png")[0, 0], clear / 255, atol=1e-5)
    erased = np.dstack([RGBA[..., :3] // 2, RGBA[..., 3]])
    Image.fromarray(erased).save(tmp_path / "erased.png")
    np.testing.assert_allclose(read_mask(tmp_path / "erased.png")[0, 0], 1 - RGBA[..., 3] / 255, atol=1e-6)
    layer = np.full((9, 13, 4), 255, np.uint8)
    layer[..., 3] = GREY > 128  # white strokes of a paint program on a transparent layer
    layer[..., 3] *= 255
    Image.fromarray(layer).save(tmp_path / "layer.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "layer.png")[0, 0], GREY > 128)
    Image.fromarray(np.uint8([[0, 255]])).save(tmp_path / "exact.png")
    assert read_mask(tmp_path / "exact.png").flatten().tolist() == [0, 1]


def test_unreadable_files(tmp_path):
    (tmp_path / "a.png").write_text("not a picture")
    Image.fromarray(RGBA).save(tmp_path / "whole.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "whole.png").read_bytes()[:120])
    for name in ("a.png", "b.png"):
        with pytest.raises(ValueError, match=name):
            read_photo(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"c\.png"):
        read_photo(tmp_path / "c.png")
    with pytest.raises(ValueError, match="Cannot write"):
        write_photo(tmp_path / "out.nonsense", read_photo(tmp_path / "whole.png"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "whole.png"]


def test_webp_keeps_what_is_under_transparency_and_colour_profiles_stay(tmp_path):
    Image.fromarray(RGBA).save(tmp_path / "in.png", icc_profile=b"a profile")
    for name in ("out.webp", "out.png", "out.tif"):
        write_photo(tmp_path / name, read_photo(tmp_path / "in.png"))
        with Image.open(tmp_path / name) as written:
            np.testing.assert_array_equal(np.array(written.convert("RGBA")), RGBA)
            assert written.info["icc_profile"] == b"a profile"


def test_what_a_format_cannot_hold_is_told(tmp_path):
    deep = Photo(torch.zeros(1, 3, 4, 4), grey=True, deep=True)
    with pytest.raises(ValueError, match="16 bits"):
        check_writable("a.webp", deep)
    with pytest.raises(ValueError, match="choose one of"):
        check_writable("a.gif")
    with pytest.warns(UserWarning, match="JPEG"):
        check_writable("a.jpg", Photo(torch.zeros(1, 3, 4, 4)))
    with pytest.warns(UserWarning, match="transparency"):
        check_writable("a.bmp", Photo(torch.zeros(1, 3, 4, 4), alpha=torch.zeros(4, 4, dtype=torch.uint8)))
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match="floating point"):
        read_photo(tmp_path / "float.tif")


def test_boxes_hold_the_hole_and_stay_inside():
    stream = torch.Generator().manual_seed(0)
    for _ in range(50):
        height, width = torch.randint(1, 200, (2,), generator=stream).tolist()
        mask = (torch.rand(1, height, width, generator=stream) > 0.999).float()
        mask[0, torch.randint(height, (), generator=stream), torch.randint(width, (), generator=stream)] = 1
        for box in (hole_box(mask, 0.5, 64), hole_box(mask, 10.0, 64), tile_box(mask, 64)):
            assert box.cut(mask).sum() == mask.sum()
            assert min(box.top, box.left) >= 0 and box.top + box.height <= height and box.left + box.width <= width
            assert box.height >= min(64, height) and box.width >= min(64, width)


def test_shrinking_keeps_the_hole_out_of_the_known_pixels():
    image, mask = torch.full((1, 3, 64, 64), 0.25), torch.zeros(1, 1, 64, 64)
    mask[..., 20:31, 7:50] = 1
    image[mask.expand_as(image) == 1] = 100.0  # the content of the hole must be ignored
    small, small_mask = shrink_known(image, mask, (16, 16))
    torch.testing.assert_close(small[(small_mask == 0).expand_as(small)], torch.full(((small_mask == 0).sum() * 3,), 0.25))
    enlarged, big_mask = shrink_known(image[..., 18:24, 5:11], mask[..., 18:24, 5:11], (16, 16))
    assert enlarged[(big_mask == 0).expand_as(enlarged)].max() < 0.2501


def test_values_a_little_outside_are_clamped_inside_and_known_pixels_come_back():
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1  # as sharp resizing leaves them
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., 10:20, 10:20] = 1 + 1e-7
    with pytest.warns(UserWarning, match="clamped"):
        same, clean = check_image_and_mask(image, mask)
    assert torch.equal(same, image) and clean.max() == 1
    with pytest.warns(UserWarning, match="clamped"):
        out, _ = exemplar_inpaint(image, mask)
    known = (mask == 0).expand_as(image)
    assert torch.equal(out[known], image[known]) and out[~known].min() >= 0 and out[~known].max() <= 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # rounding is not worth a note
        assert torch.equal(clamp_mask(torch.tensor([-1e-7, 0.5, 1 + 1e-7])), torch.tensor([0.0, 0.5, 1.0]))


@pytest.mark.parametrize(("mask", "sentence"), [(torch.full((8, 8), 255.0), "divide by 255"), (torch.full((8, 8), float("nan")), "NaN")])
def test_a_mask_of_another_scale_is_named(mask, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_image_and_mask(torch.zeros(1, 3, 8, 8), mask)


def test_a_thin_line_stays_when_its_mask_shrinks():
    mask = torch.zeros(1, 1, 300, 200)
    mask[..., 150, :] = 1
    small = resize_mask(mask, (70, 90))
    assert small.shape == (1, 1, 70, 90) and (small[0, 0].amax(0) == 1).all() and small.mean() < 0.03
    assert torch.equal(resize_mask(small, (140, 180))[0, 0, ::2, ::2], small[0, 0])


def test_the_detail_that_is_put_back_is_the_share_that_a_noisy_pixel_keeps():
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    small = F.interpolate(image[None], (16, 16), mode="area")
    for share in (0.0, 0.25, 1.0):
        crop = Crop(small, torch.full((1, 1, 16, 16), share), None, Box(0, 0, 32, 32), True)
        torch.testing.assert_close(crop.with_detail_of(image, crop.mask[0], small[0]), torch.lerp(image, crop.enlarge(small[0]), share))


def test_of_a_stitch_mask_counts_what_lies_in_the_rectangle_that_was_filled():
    picture, hole = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 1, 12, 12)
    hole[..., 3:5, 2:9] = 1
    filled = picture.clone()
    filled[..., 7, 4] += 0.1
    rectangle = torch.zeros_like(hole)
    rectangle[..., 3:8, 2:9] = 1
    paste = torch.rand(1, 1, 12, 12)
    assert torch.equal(pasted(filled, picture, hole, paste), paste * rectangle), "a hole that came back as it was, too"
    assert torch.equal(pasted(filled, picture, hole, None), hole)


def test_a_box_shows_as_much_on_each_side_as_asked():
    mask = torch.zeros(1, 200, 200)
    mask[:, 90:110, 95:105] = 1
    assert hole_box(mask, 1.0, 8) == Box(70, 70, 60, 60) and hole_box(mask, 0.5, 8) == Box(80, 80, 40, 40)
    assert tile_box(mask, 16) == Box(82, 87, 36, 26)


def test_an_order_has_so_few_values_that_the_network_has_a_shortcut():
    order = check_order(torch.rand(1, 1, 40, 40) * 7 - 3, torch.ones(1, 1, 40, 40))
    assert order.unique().numel() == 15 and order.min() == 0 and order.max() == 1


def test_holes_that_are_too_large_for_a_network_are_noted():
    image, mask = torch.rand(1, 3, 80, 80), torch.zeros(1, 1, 80, 80)
    mask[..., 8:72, 8:72] = 1
    for view, note in (("whole", "the fill is enlarged and looks soft"), ("native", "it may be filled with mere texture")):
        with pytest.warns(UserWarning, match=note):
            crop_holes(image, mask, CropSpec(16, 2, torch.device("cpu"), view))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            crop_holes(image, mask, CropSpec(80, 2, torch.device("cpu"), view))


def test_a_picture_in_range_is_checked_without_a_copy(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "masked_fill", lambda *_: pytest.fail("copied"))
    check_image_and_mask(torch.rand(1, 3, 8, 8), torch.ones(8, 8))
