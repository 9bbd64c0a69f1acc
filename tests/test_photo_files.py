"""Picture files as they come from people: what is kept, what is noted, what is refused before the work."""

import os
import struct
import warnings
import zlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from rad_core import Photo, read_photo, write_photo
from rad_core.__main__ import main
from rad_core.atomic import atomic_write
from rad_core.commands import photos
from rad_core.photo_files import EXTENSIONS, any_size, check_writable, picture_files
from rad_core.training.data import Folder

RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def notes_of(work):
    """The notes of a call, and its result."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = work()
    return [str(each.message) for each in caught], result


def tiff(path: Path, values: np.ndarray, kind: int = 1, changes: dict[int, int] | None = None) -> None:
    """A TIFF by hand, grey or of three planes, of a kind that Pillow does not write. kind: of numbers, 1 unsigned, 2 signed."""
    *planes, height, width = values.shape
    bits, data = 8 * values.dtype.itemsize, values.tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(data), 339: kind} | (changes or {})
    entries, after, end = b"", b"", 8 + len(data)
    more = {258: [bits] * 3, 273: [8 + k * len(data) // 3 for k in range(3)], 279: [len(data) // 3] * 3, 339: [kind] * 3} if planes else {}
    for tag, value in sorted(tags.items()):
        if tag in more:  # three numbers, between the pixels and the tags
            entries += struct.pack("<HHII", tag, 4, 3, end + len(after))
            after += struct.pack("<3I", *more[tag])
        else:
            entries += struct.pack("<HHII", tag, 4, 1, value)
    path.write_bytes(b"II*\0" + struct.pack("<I", end + len(after)) + data + after + struct.pack("<H", len(tags)) + entries + bytes(4))


def test_values_that_sixteen_bits_cannot_hold_are_refused(tmp_path):
    ramp = np.arange(48).reshape(6, 8)
    for name, values, kind in (("s16.tif", (ramp - 5).astype("<i2"), 2), ("u32.tif", (ramp * 99999).astype("<u4"), 1)):
        tiff(tmp_path / name, values, kind)
        with pytest.raises(ValueError, match=f"{name} has values from {values.min()} to {values.max()}; save it with 8 or 16 bits"):
            read_photo(tmp_path / name)
    tiff(tmp_path / "fits.tif", (ramp * 1000).astype("<u4"), 1)
    photo = read_photo(tmp_path / "fits.tif")
    assert photo.deep and torch.equal((photo.rgb[0, 0] * 65535).round().long(), torch.from_numpy(ramp * 1000))


def test_what_is_lost_in_reading_is_in_one_note(tmp_path):
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + RNG.integers(0, 256, 8 * 4, dtype=np.uint8).tobytes() for _ in range(6))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, 16, 4, 0, 0, 0))  # 16-bit grey with alpha, which Pillow does not write
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + data)
    picture = Image.fromarray(RGB)
    picture.convert("CMYK").save(tmp_path / "cmyk.tif", icc_profile=b"of a press")
    picture.convert("LAB").save(tmp_path / "lab.tif")
    picture.save(tmp_path / "two.tif", save_all=True, append_images=[picture])
    Image.fromarray(RGB[..., 0].astype(np.uint16) * 9).save(tmp_path / "clear.png", transparency=9)
    for name, sentence in (
        ("deep.png", "its 16-bit values are read with 8 bits"),
        ("cmyk.tif", "converted to RGB"),
        ("lab.tif", "converted to RGB"),
        ("two.tif", "only the first of its 2 frames"),
        ("clear.png", "transparent value"),
    ):
        notes, photo = notes_of(lambda name=name: read_photo(tmp_path / name))
        assert len(notes) == 1 and notes[0].startswith(f"{name}: ") and sentence in notes[0]
        assert photo.profile is None or name == "two.tif"
        assert (photo.alpha is not None) == (name == "deep.png")
    picture.save(tmp_path / "plain.png")
    assert notes_of(lambda: read_photo(tmp_path / "plain.png"))[0] == []


def test_what_a_file_says_of_its_picture_is_kept_or_noted(tmp_path):
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x010F], exif[0x0112] = "A maker", 3
    text.add_text("Title", "Waves")
    Image.fromarray(RGB).save(tmp_path / "in.png", exif=exif, dpi=(300, 300), pnginfo=text)
    photo = read_photo(tmp_path / "in.png")
    for name, lost in (("a.png", None), ("a.tif", "text"), ("a.jpg", "text"), ("a.webp", "dpi and text"), ("a.bmp", "EXIF and text")):
        notes, _ = notes_of(lambda name=name: check_writable(name, photo))
        assert [f"{name} does not keep the photo's {lost}." in notes] == [lost is not None]
        write_photo(tmp_path / name, photo)
        with Image.open(tmp_path / name) as written:
            assert (dict(written.getexif()).get(0x010F) == "A maker") == (name != "a.bmp")
            assert written.getexif().get(0x0112, 1) == 1, "the picture was turned, so its file must not say that it is not"
            assert (round(written.info.get("dpi", (0,))[0]) == 300) == (name != "a.webp")
            assert (getattr(written, "text", {}).get("Title") == "Waves") == (name == "a.png")


@pytest.mark.parametrize("name", ["in.tif", "in.png"])
def test_pictures_are_turned_once(tmp_path, name):
    """A TIFF, which Pillow turns as it loads it, and a PNG with its EXIF as text, as older ImageMagick wrote it."""
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112], exif[0x010F] = 6, "A maker"
    data = exif.tobytes()
    text.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n")
    Image.fromarray(RGB).save(tmp_path / name, **({"exif": exif} if name == "in.tif" else {"pnginfo": text}))
    notes, photo = notes_of(lambda: read_photo(tmp_path / name))
    assert photo.orientation == 6 and photo.rgb.shape == (1, 3, 8, 6)
    assert notes == []
    notes, _ = notes_of(lambda: check_writable("out.png", photo))
    assert notes == (["out.png does not keep the photo's TIFF tags."] if name == "in.tif" else [])
    write_photo(tmp_path / "out.png", photo)
    again = read_photo(tmp_path / "out.png")
    assert torch.equal(again.rgb, photo.rgb) and again.orientation == 1, "an upright file that says so"
    with Image.open(tmp_path / "out.png") as written:
        assert written.getexif().get(0x010F) == (None if name == "in.tif" else "A maker")


def test_sixteen_bits_are_never_written_as_eight(tmp_path):
    deep = Photo(torch.full((1, 3, 2, 2), 0.3), grey=True, deep=True)
    with pytest.raises(ValueError, match=r"lose the photo's 16 bits: write a \.png or \.tif"):
        write_photo(tmp_path / "a.webp", deep)
    write_photo(tmp_path / "a.png", deep)
    assert not (tmp_path / "a.webp").exists() and read_photo(tmp_path / "a.png").deep


def test_formats_that_hold_no_such_size_are_refused_before_the_work(tmp_path):
    wide = Photo(torch.zeros(1, 3, 1, 1).expand(1, 3, 1, 70000))
    for name, most in (("a.webp", 16383), ("a.jpg", 65500), ("a.jpeg", 65500)):
        with pytest.raises(ValueError, match=f"{name} can have {most} pixels a side, but the photo has 70000x1"):
            check_writable(name, wide)
    check_writable("a.png", wide)


def test_a_very_large_picture_needs_a_word(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # refused from twice as many on
    Image.fromarray(RGB).save("in.png")
    with pytest.raises(ValueError, match="megapixels; the command reads such files with --any-size"):
        read_photo("in.png")
    with any_size():
        assert read_photo("in.png").rgb.shape == (1, 3, 6, 8)
    assert Image.MAX_IMAGE_PIXELS == 20
    Image.fromarray(np.uint8([[255] + 7 * [0]] + 5 * [8 * [0]])).save("mask.png")
    run = ["inpaint", "in.png", "--mask", "mask.png", "-o", "out.png", "--preset", "fast", "--device", "cpu"]
    assert main(run) == 1 and "megapixels" in capsys.readouterr().err and main([*run, "--any-size"]) == 0


def test_a_folders_pictures_are_all_that_can_be_read(tmp_path):
    Image.init()
    for extension in sorted(EXTENSIONS):
        if Image.registered_extensions().get(extension) in Image.SAVE:
            mode = {".pbm": "1", ".pgm": "L"}.get(extension, "RGB")
            Image.fromarray(RGB).convert(mode).save(tmp_path / f"a{extension}")
    (tmp_path / "._a.png").write_bytes(b"of a file system")
    (tmp_path / "b.heic").write_bytes(b"from a telephone")
    (tmp_path / "c.txt").write_text("a caption")
    (tmp_path / "folder.png").mkdir()
    notes, files = notes_of(lambda: picture_files(tmp_path))
    assert notes == [f"1 pictures in {tmp_path} are of kinds that cannot be read and are skipped, such as b.heic."]
    assert {path.suffix for path in files} >= {".png", ".jfif", ".jpe", ".tga"} and not {"._a.png", "b.heic", "folder.png"} & {
        p.name for p in files
    }
    for path in files:
        assert read_photo(path).rgb.shape == (1, 3, 6, 8), path.name


@pytest.mark.parametrize("device", ["meta", "mps", "hpu", "cuda:99", "toaster"])
def test_a_device_that_does_not_compute_is_refused_before_the_work(device, tmp_path, capsys):
    assert main(["inpaint", "none.png", "--mask", "none.png", "-o", str(tmp_path / "a.png"), "--device", device]) == 1
    assert capsys.readouterr().err == f"Error: This machine has no device '{device}' that can compute: use --device cpu.\n"


def exif(*entries: tuple[int, int, bytes], thumbnail: bytes = b"") -> bytes:
    """EXIF by hand: entries of (tag, kind, value of at most 4 bytes), and a second directory with a small JPEG."""
    first = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHI4s", tag, kind, 4 if kind == 2 else 1, value) for tag, kind, value in entries
    )
    start = 8 + len(first) + 4
    second = struct.pack("<H", 2) + struct.pack("<HHII", 0x0201, 4, 1, start + 30) + struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail))
    link = start if thumbnail else 0
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + struct.pack("<I", link) + (second + bytes(4) + thumbnail if thumbnail else b"")


MAKER = (0x010F, 2, b"abc\0")


@pytest.mark.parametrize("output", ["a.png", "a.jpg", "a.webp", "a.tif"])
@pytest.mark.parametrize("source", ["in.png", "in.jpg", "in.webp"])
def test_the_small_picture_in_exif_is_not_kept(tmp_path, source, output):
    """It shows what was removed. All else is kept."""
    small = b"\xff\xd8 the face that was removed \xff\xd9"
    Image.fromarray(RGB).save(tmp_path / source, exif=exif(MAKER, thumbnail=small))
    assert small in (tmp_path / source).read_bytes()
    write_photo(tmp_path / output, read_photo(tmp_path / source))
    assert b"face" not in (tmp_path / output).read_bytes()
    with Image.open(tmp_path / output) as written:
        assert written.getexif().get(0x010F) == "abc" and not written.getexif().get_ifd(ExifTags.IFD.IFD1)


def test_exif_that_tells_how_pixels_are_stored_does_not_reach_a_tiff(tmp_path):
    short = lambda value: struct.pack("<HH", value, 0)
    stored = [(0x0102, 3, short(1)), (0x0106, 3, short(6)), (0x010A, 3, short(2)), (0x0115, 3, short(4)), (0x011C, 3, short(2))]
    Image.fromarray(RGB).save(tmp_path / "in.png", exif=exif(*stored, MAKER))
    write_photo(tmp_path / "a.tif", read_photo(tmp_path / "in.png"))
    with Image.open(tmp_path / "a.tif") as written:
        np.testing.assert_array_equal(np.array(written), RGB)
        assert written.getexif().get(0x010F) == "abc"


def test_metadata_that_cannot_be_written_is_left_out_with_a_note(tmp_path):
    photo = read_photo_of(tmp_path, exif=exif(MAKER) + bytes(70000))
    notes, _ = notes_of(lambda: check_writable(tmp_path / "a.jpg", photo))
    assert any("does not keep the photo's EXIF" in each for each in notes)
    write_photo(tmp_path / "a.jpg", photo)
    image = Image.fromarray(RGB)
    for resolution in (IFDRational(0, 0), 2.0**31):
        image.save(tmp_path / "in.tif", tiffinfo={282: resolution, 283: resolution, 296: 2})
        photo = read_photo(tmp_path / "in.tif")
        for name in ("b.png", "b.bmp", "b.jpg"):
            write_photo(tmp_path / name, photo)


def read_photo_of(folder: Path, **options) -> Photo:
    Image.fromarray(RGB).save(folder / "in.png", **options)
    return read_photo(folder / "in.png")


def test_exif_whose_small_picture_is_not_found_is_dropped_with_a_note(tmp_path):
    whole = exif(MAKER, thumbnail=b"a face")
    at = whole.index(struct.pack("<HHI", 0x0201, 4, 1))
    Image.fromarray(RGB).save(tmp_path / "in.png", exif=whole[:at] + struct.pack("<HHI", 0x0201, 4, 2) + whole[at + 8 :])
    notes, photo = notes_of(lambda: read_photo(tmp_path / "in.png"))
    assert any("its EXIF is damaged and not kept" in each for each in notes) and "EXIF" not in photo.metadata


def test_a_picture_with_odd_exif_is_turned_and_trained_on(tmp_path):
    """Its maker is stored as a fraction, which Pillow reads but cannot write."""
    turned = exif((0x010F, 5, struct.pack("<I", 8)), (0x0112, 3, struct.pack("<HH", 6, 0)))
    Image.fromarray(RGB).save(tmp_path / "in.png", exif=turned)
    notes, photo = notes_of(lambda: read_photo(tmp_path / "in.png"))
    assert any("its EXIF is damaged and not kept" in each for each in notes)
    np.testing.assert_array_equal((photo.rgb[0].permute(1, 2, 0) * 255).round().byte().numpy(), np.rot90(RGB, -1))
    assert Folder(tmp_path)[0].shape == (3, 8, 6)


def test_a_colour_that_stands_for_transparency_is_transparent(tmp_path):
    palette = Image.fromarray(RGB).quantize(8)
    palette.save(tmp_path / "palette.png", transparency=3)
    expected = np.where(np.array(palette) == 3, 0, 255)
    np.testing.assert_array_equal(read_photo(tmp_path / "palette.png").alpha, expected)
    Image.fromarray(RGB).save(tmp_path / "rgb.png", transparency=tuple(RGB[2, 3].tolist()))
    np.testing.assert_array_equal(read_photo(tmp_path / "rgb.png").alpha, np.where((RGB[2, 3] == RGB).all(-1), 0, 255))


def test_a_dark_picture_of_16_bits_stays_one(tmp_path):
    dark = np.arange(48, dtype=np.uint16).reshape(6, 8)
    Image.fromarray(dark).save(tmp_path / "in.png")
    photo = read_photo(tmp_path / "in.png")
    assert photo.deep and torch.equal((photo.rgb[0, 0] * 65535).round(), torch.from_numpy(dark.astype(np.float32)))


def test_a_drive_without_modes_is_written_to(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    atomic_write(tmp_path / "a.txt", lambda name: Path(name).write_text("all of it"))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["all of it"]


@pytest.mark.parametrize("held", [1, 100])
def test_a_file_that_another_program_holds_for_a_moment_is_replaced(tmp_path, monkeypatch, held):
    replace, tries = os.replace, []

    def locked(*names):
        tries.append(names)
        if len(tries) <= held:
            raise PermissionError(13, "being used by another process")
        replace(*names)

    monkeypatch.setattr(os, "replace", locked)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(ValueError, match=r"Cannot write a\.txt") if held == 100 else nullcontext():
        atomic_write(path, lambda name: Path(name).write_text("after"))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before" if held == 100 else "after"]


@pytest.mark.parametrize("dtype", ["<u1", "<u2"])
def test_a_scan_whose_zero_is_white_is_no_negative(tmp_path, dtype):
    """Pillow minds it with 8 bits alone."""
    values = RNG.integers(0, np.iinfo(dtype).max + 1, (6, 8)).astype(dtype)
    tiff(tmp_path / "in.tif", values, changes={262: 0})
    write_photo(tmp_path / "out.tif", read_photo(tmp_path / "in.tif"))
    with Image.open(tmp_path / "out.tif") as written:
        assert written.tag_v2[262] == 1
        np.testing.assert_array_equal(np.array(written), np.iinfo(dtype).max - values)


def test_separate_planes_of_sixteen_bits_are_refused(tmp_path):
    """Pillow reads their bytes as pixels."""
    planes = {262: 2, 277: 3, 284: 2}
    tiff(tmp_path / "eight.tif", RGB.transpose(2, 0, 1), changes=planes)
    np.testing.assert_array_equal((read_photo(tmp_path / "eight.tif").rgb[0] * 255).round().byte(), RGB.transpose(2, 0, 1))
    tiff(tmp_path / "deep.tif", RGB.transpose(2, 0, 1).astype("<u2"), changes=planes)
    with pytest.raises(ValueError, match=r"deep\.tif .* separate planes of 16 bits; save it with interleaved colours\."):
        read_photo(tmp_path / "deep.tif")


def test_a_scan_without_a_resolution_gets_none(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "in.tif")
    write_photo(tmp_path / "out.png", read_photo(tmp_path / "in.tif"))
    with Image.open(tmp_path / "out.png") as written:
        assert "dpi" not in written.info


def test_captions_that_are_not_kept_are_noted(tmp_path):
    picture, xmp = Image.fromarray(RGB), b"<x:xmpmeta/>"
    picture.save(tmp_path / "xmp.jpg", xmp=xmp)
    picture.save(tmp_path / "xmp.webp", xmp=xmp)
    picture.save(tmp_path / "tags.tif", tiffinfo={315: "An artist", 700: xmp, 33723: b"a caption"})
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    picture.save(tmp_path / "xmp.png", pnginfo=text)
    block = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", 4) + b"abcd"
    data = (tmp_path / "xmp.jpg").read_bytes()
    (tmp_path / "iptc.jpg").write_bytes(data[:2] + b"\xff\xed" + struct.pack(">H", 2 + len(block)) + block + data[2:])
    for gamma, name in ((100000, "linear.png"), (45455, "usual.png")):
        text = PngImagePlugin.PngInfo()
        text.add(b"gAMA", struct.pack(">I", gamma))
        picture.save(tmp_path / name, pnginfo=text)
    lost = {"xmp.jpg": "XMP", "xmp.webp": "XMP", "xmp.png": "XMP", "iptc.jpg": "XMP and IPTC", "tags.tif": "TIFF tags and XMP and IPTC"}
    for name, kinds in (lost | {"linear.png": "gamma"}).items():
        notes, _ = notes_of(lambda name=name: check_writable(tmp_path / "out.png", read_photo(tmp_path / name)))
        assert notes == [f"out.png does not keep the photo's {kinds}."], name
    assert notes_of(lambda: check_writable(tmp_path / "out.png", read_photo(tmp_path / "usual.png")))[0] == []


def test_a_write_protected_file_is_not_replaced(tmp_path, monkeypatch):
    path, access = tmp_path / "a.png", os.access
    path.write_bytes(b"the master")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda name, mode: Path(name) != path and access(name, mode))  # as for those who are not root
    for work in (lambda: check_writable(path), lambda: write_photo(path, Photo(torch.zeros(1, 3, 2, 2)))):
        with pytest.raises(ValueError, match=r"a\.png is write-protected: choose another name"):
            work()
    assert path.read_bytes() == b"the master" and len(list(tmp_path.iterdir())) == 1


def test_nothing_is_drawn_for_a_sheet_that_is_not_asked_for(tmp_path, monkeypatch):
    """At 50 megapixels it took half a gigabyte."""
    monkeypatch.setattr(photos, "mark_hole", lambda *_: pytest.fail("drawn"))
    photo = Photo(torch.zeros(1, 3, 4, 4))
    job = photos.Job(tmp_path / "in.png", tmp_path / "mask.png", tmp_path / "out.png")
    photos.write_result(job, photo, torch.ones(1, 1, 4, 4), torch.ones(1, 3, 4, 4), torch.ones(1, 1, 4, 4))
    assert (read_photo(tmp_path / "out.png").rgb == 1).all()
