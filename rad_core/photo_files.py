"""Picture files in and out without loss. What a format cannot hold is named in one note, before the work."""

import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from .atomic import atomic_write, check_unprotected
from .images import check_range
from .notes import Note, note

LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as Pillow's "L"
EXTENSIONS = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".tga", ".jp2", ".j2k"}
EXTENSIONS |= {".ppm", ".pgm", ".pbm", ".pnm"}
# pictures that Pillow does not read
FOREIGN = {".heic", ".heif", ".jxl", ".psd", ".svg", ".pdf", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
_WRITE_OPTIONS = {".webp": {"lossless": True, "exact": True}, ".jpg": {"quality": 95}, ".jpeg": {"quality": 95}, ".png": {}, ".bmp": {}}
_WRITE_OPTIONS |= {".tif": {}, ".tiff": {}}
# EXIF's tags that describe a picture, not how its pixels are stored: all that a TIFF takes, whose own tags the others would be
DESCRIBING = {0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298, 0x8769, 0x8825}
DESCRIBING |= set(range(0x9C9B, 0x9CA0))
# of a TIFF: caption, maker, model, date, artist, copyright, and the tables of the exposure and the place
CAPTIONS = {0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298, 0x8769, 0x8825}
XMP, IPTC = 700, 33723  # a TIFF's tags for them
EXIF_HEAD = b"Exif\0\0"
_OPTIONS = {"EXIF": "exif", "dpi": "dpi", "text": "pnginfo"}  # of Pillow's writers
_LONGEST = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}  # pixels of a side
_KEEPS = {".png": {"EXIF", "dpi", "text"}, ".jpg": {"EXIF", "dpi"}, ".webp": {"EXIF"}, ".tif": {"EXIF", "dpi"}, ".bmp": {"dpi"}}
_KEEPS |= {".jpeg": _KEEPS[".jpg"], ".tiff": _KEEPS[".tif"]}
_TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")  # EXIF's 2 to 8


@dataclass(eq=False)
class Photo:
    """A picture file in memory: rgb (1, 3, H, W) in [0, 1], and what is needed to write it back unchanged."""

    rgb: Tensor
    alpha: Tensor | None = None  # (H, W) uint8
    grey: bool = False
    deep: bool = False  # 16 bits (grey only: Pillow has no 16-bit colour)
    profile: bytes | None = None  # ICC colour profile
    orientation: int = 1  # EXIF's, of the file: `rgb` is upright
    metadata: dict = field(default_factory=dict)  # "EXIF" bytes, "dpi", "text" by keyword; True: what no file keeps


def picture_files(folder: str | Path) -> list[Path]:
    """The folder's pictures by extension, sorted by name; hidden files are none. Pictures of kinds that cannot be read are noted."""
    files = sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))
    if foreign := [path.name for path in files if path.suffix.lower() in FOREIGN]:
        note(f"{len(foreign)} pictures in {folder} are of kinds that cannot be read and are skipped, such as {foreign[0]}.")
    return [path for path in files if path.suffix.lower() in EXTENSIONS and path.is_file()]


@contextmanager
def any_size(allowed: bool = True) -> Iterator[None]:
    """Read pictures of more than 179 megapixels in a `with` block, which are refused elsewhere: a small file may claim to be so large."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None if allowed else limit
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read_photo(path: str | Path) -> Photo:
    """Read any picture that Pillow reads, upright (EXIF), palettes resolved, first frame of an animation.

    What is lost in reading is noted: 16-bit colour is read with 8 bits (Pillow has no more), CMYK and Lab become RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a picture, a broken one, a larger one than `any_size` allows, or one with values that 16 bits cannot hold.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    with _readable(path), Image.open(path) as opened:
        raw_mode = str(opened.tile[0][3]) if opened.tile else ""
        tags = dict(opened.tag_v2) if opened.format == "TIFF" else {}
        codec, bits = opened.tile[0][0] if opened.tile else "", tags.get(258, ())
        if codec == "raw" and tags.get(284) == 2 and len(bits) > 1 and max(bits) > 8:  # Pillow would take their bytes for pixels
            raise ValueError("its colours are in separate planes of 16 bits; save it with interleaved colours")
        frames = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)  # a telephone's JPEG has a second picture
        orientation = opened.getexif().get(0x0112, 1) if opened.format == "TIFF" else 1  # loading a TIFF turns it and drops this
        opened.load()
        orientation = opened.getexif().get(0x0112, orientation)
        picture, text = _upright(opened, orientation), getattr(opened, "text", {})
        unkept = _unkept(opened.info, tags, text)
    mode, info = picture.mode, picture.info
    if mode == "F":
        raise ValueError(f"{path.name} is in floating point; save it with 8 or 16 bits first.")
    metadata = _metadata(picture, text) | unkept
    deep = mode.startswith("I")  # 16-bit grey comes as I;16 or I
    lost = {
        "its 16-bit values are read with 8 bits": ";16" in raw_mode and not deep,
        "its colours are converted to RGB, without their profile": mode in ("CMYK", "LAB"),
        f"only the first of its {frames} frames is read": frames > 1,
        "its transparent value is not kept": deep and "transparency" in info,
        "its EXIF is damaged and not kept": bool(opened.info.get("exif")) and "EXIF" not in metadata,
    }
    if any(lost.values()):
        note(f"{path.name}: {', '.join(text for text, happens in lost.items() if happens)}.")
    shared = {
        "profile": None if mode in ("CMYK", "LAB") else info.get("icc_profile"),
        "orientation": orientation if orientation in range(1, 9) else 1,
        "metadata": metadata,
    }
    if deep:
        return _read_deep(picture, path.name, shared, negative=tags.get(262) == 0)
    transparent = mode.lower().endswith("a") or "transparency" in info  # LAB has a band "A" that is none
    alpha = torch.from_numpy(np.array(picture.convert("RGBA").getchannel("A"))) if transparent else None
    rgb = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].float() / 255
    return Photo(rgb.contiguous(), alpha, grey=mode in ("1", "L", "LA"), **shared)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in one sentence why a file cannot be read."""
    try:
        yield
    except UnidentifiedImageError:
        raise ValueError(f"{path.name} is not a picture that can be read.") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path.name} has more than 179 megapixels; the command reads such files with --any-size.") from None
    except MemoryError:
        raise ValueError(f"{path.name} does not fit into memory.") from None
    except Exception as error:  # Pillow raises anything on bad bytes
        raise ValueError(f"{path.name} is broken or unreadable: {error}.") from None


def _upright(opened: Image.Image, orientation: int) -> Image.Image:
    """The picture turned as its EXIF says, which then says so no more. EXIF that Pillow cannot write again is dropped."""
    try:
        return ImageOps.exif_transpose(opened)
    except Exception:  # Pillow raises anything on odd tags
        turned = orientation in range(2, 9)
        picture = opened.transpose(Image.Transpose[_TURNS[orientation - 2]]) if turned else opened.copy()
        picture.info.pop("exif", None)
        return picture


def check_readable(path: str | Path) -> None:
    """Decode a picture file once; a JPEG at an eighth of its size, which is quick. Raises ValueError as `read_photo`."""
    path = Path(path)
    with _readable(path), Image.open(path) as opened:
        jpeg = opened.format == "JPEG"
        if jpeg:
            opened.draft(None, (1, 1))
            opened.load()
    if not jpeg:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)
            read_photo(path)


def _read_deep(picture: Image.Image, name: str, shared: dict, negative: bool) -> Photo:
    """A grey picture of more than 8 bits. negative: 0 is white, which Pillow minds with up to 8 bits alone."""
    values = np.array(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{name} has values from {values.min()} to {values.max()}; save it with 8 or 16 bits first.")
    deep = picture.mode.startswith("I;16") or values.max() > 255
    values = 65535 - values if negative else values
    grey = torch.from_numpy(values.astype(np.float32)) / (65535 if deep else 255)
    return Photo(grey.expand(1, 3, -1, -1).clone(), grey=True, deep=bool(deep), **shared)


def _metadata(picture: Image.Image, text: dict) -> dict:
    """What a file says of its picture, by the names of `_KEEPS`. `picture` is upright, and so is the EXIF it has."""
    drop = ("XML:", "Raw profile type exif", "Raw profile type APP1")  # with the orientation of the stored pixels
    exif = picture.info.get("exif") or ("Raw profile type exif" in text and picture.getexif().tobytes())
    text = {key: value for key, value in text.items() if isinstance(value, str) and not key.startswith(drop)}
    dpi = picture.info.get("dpi")
    dpi = dpi if dpi and all(1 < value <= 65535 for value in dpi) else None  # broken files have 0 or NaN; 1 is Pillow's for none
    found = {"EXIF": exif and _without_thumbnail(exif), "dpi": dpi, "text": text}
    return {name: value for name, value in found.items() if value}


def _unkept(info: dict, tags: dict, text: dict) -> dict:
    """What a file says of its picture and no file that is written keeps, by name. tags: a TIFF's. text: a PNG's."""
    found = {
        "TIFF tags": not CAPTIONS.isdisjoint(tags),
        "XMP": "xmp" in info or XMP in tags or any(key.startswith("XML:") for key in text),
        "IPTC": 0x0404 in info.get("photoshop", {}) or IPTC in tags,
        "gamma": "icc_profile" not in info and "srgb" not in info and abs(info.get("gamma", 0.45455) - 0.45455) > 0.01,
    }
    return {name: True for name, there in found.items() if there}


def _without_thumbnail(exif: bytes) -> bytes | None:
    """EXIF without the small picture in its second directory, which shows what the hole's fill replaces. None if it cannot be read."""
    exif = exif if exif.startswith(EXIF_HEAD) else EXIF_HEAD + exif  # a WebP has none, a JPEG needs it
    head, data = len(EXIF_HEAD), bytearray(exif)
    order = "<" if exif[head : head + 2] == b"II" else ">"
    number = lambda kind, at: struct.unpack_from(order + kind, data, head + at)[0]
    try:
        first = number("I", 4)
        link = first + 2 + 12 * number("H", first)  # from the first directory to the second
        second = number("I", link)
        if not second:
            return exif
        places = {}
        for at in (second + 2 + 12 * k for k in range(number("H", second))):
            tag, kind = number("H", at), number("H", at + 2)
            if tag in (0x0201, 0x0202, 0x0111, 0x0117):  # where a JPEG, or the one strip of pixels, begins, and its length
                if kind not in (3, 4) or number("I", at + 4) != 1:
                    return None
                places[tag] = number("H" if kind == 3 else "I", at + 8)
        for start, length in ((0x0201, 0x0202), (0x0111, 0x0117)):
            if start in places and length in places:
                part = slice(head + places[start], head + places[start] + places[length])
                data[part] = bytes(len(data[part]))
        data[head + link : head + link + 4] = bytes(4)
    except struct.error:
        return None
    return bytes(data)


def check_writable(path: str | Path, photo: Photo | None = None) -> None:
    """Raise before the work is done if a picture cannot be written, and note what its format loses.

    Raises:
        ValueError: a folder or an extension that cannot be written, a write-protected file, 16 bits where the format has 8, or a picture
            larger than its format holds.
    """
    name, extension = Path(path).name, _extension(path, photo)
    folder = next(parent for parent in Path(path).absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"Cannot write to {folder}: choose another folder for the output.")
    check_unprotected(path)
    if photo is None:
        return
    if extension in (".jpg", ".jpeg"):
        note(f"{name} is a JPEG, which changes known pixels a little; PNG keeps them.")
    if photo.alpha is not None and extension in (".jpg", ".jpeg", ".bmp"):
        note(f"{name} cannot hold the photo's transparency; PNG can.")
    written = _written_metadata(photo.metadata, extension)
    lost = [kind for kind in photo.metadata if _OPTIONS.get(kind) not in written]
    lost += ["colour profile"] if photo.profile and extension == ".bmp" else []
    if lost:
        note(f"{name} does not keep the photo's {' and '.join(lost)}.")


def _extension(path: str | Path, photo: Photo | None) -> str:
    """The extension of a file that can be written. Raises as `check_writable`."""
    name, extension = Path(path).name, Path(path).suffix.lower()
    if extension not in _WRITE_OPTIONS:
        raise ValueError(f"Cannot write {name}: choose one of {', '.join(_WRITE_OPTIONS)}.")
    if photo is None:
        return extension
    rgb = photo.rgb
    if rgb.ndim != 4 or rgb.shape[:2] != (1, 3) or not rgb.is_floating_point():
        raise ValueError(f"A photo is one picture, a float tensor (1, 3, H, W) in [0, 1], got {tuple(rgb.shape)} {rgb.dtype}.")
    if photo.deep and extension not in (".png", ".tif", ".tiff"):
        raise ValueError(f"{name} would lose the photo's 16 bits: write a .png or .tif.")
    height, width = rgb.shape[2:]
    if max(height, width) > _LONGEST.get(extension, height + width):
        raise ValueError(f"{name} can have {_LONGEST[extension]} pixels a side, but the photo has {width}x{height}: write a .png or .tif.")
    return extension


def write_photo(path: str | Path, photo: Photo) -> None:
    """Write a picture; its pixels come back bit-exact from PNG, TIFF, BMP and WebP (written lossless). JPEG loses some.

    The file appears whole or not at all.

    Raises:
        ValueError: as `check_writable`, the picture is no float tensor (1, 3, H, W) of finite numbers in [0, 1], or the place cannot be
            written.
    """
    extension = _extension(path, photo)
    if not bool(torch.isfinite(torch.stack(photo.rgb.aminmax())).all()):  # without a copy of the whole
        raise ValueError("The photo has NaN or infinite values.")
    check_range(photo.rgb, "A photo must lie in [0, 1]")
    rgb = photo.rgb[0].detach().cpu()
    if photo.grey:
        r, g, b = rgb.float().clamp(0, 1)
        # A pixel that is still grey keeps its exact value; only filled pixels can carry colour.
        value = torch.where((r == g) & (g == b), r, LUMA[0] * r + LUMA[1] * g + LUMA[2] * b)
        whole = (value * (65535 if photo.deep else 255)).round().to(torch.int32).numpy()
        picture = Image.fromarray(whole.astype(np.uint16 if photo.deep else np.uint8))
    else:
        channels = [(channel.float().clamp(0, 1) * 255).round().to(torch.uint8) for channel in rgb]  # one by one, for the memory
        picture = Image.fromarray(torch.stack(channels, 2).numpy())
    if photo.alpha is not None and extension not in (".jpg", ".jpeg", ".bmp"):
        picture.putalpha(Image.fromarray(photo.alpha.numpy()))
    options = _WRITE_OPTIONS[extension] | ({"icc_profile": photo.profile} if photo.profile and extension != ".bmp" else {})
    options |= _written_metadata(photo.metadata, extension)
    atomic_write(path, lambda temporary: picture.save(temporary, **options))


def _written_metadata(metadata: dict, extension: str) -> dict:
    """Metadata as Pillow's writers take it. What they fail on (odd tags, more EXIF than a JPEG holds) is left out."""
    written = {}
    for kind, value in metadata.items():
        if kind not in _KEEPS[extension]:
            continue
        try:
            option = {_OPTIONS[kind]: _option(kind, value, extension)}
            Image.new("L", (1, 1)).save(BytesIO(), Image.registered_extensions()[extension], **option)
        except Exception:  # Pillow raises anything on odd values
            continue
        written |= option
    return written


def _option(kind: str, value, extension: str):
    """Metadata of a kind as Pillow's writer of a format takes it."""
    if kind == "text":
        text = PngImagePlugin.PngInfo()
        for key, entry in value.items():
            text.add_itxt(key, entry)
        return text
    if kind == "EXIF" and extension in (".tif", ".tiff"):
        exif = Image.Exif()
        exif.load(value)
        for tag in set(exif) - DESCRIBING:
            del exif[tag]
        return exif
    return value
