"""Random pictures, masks, files and command lines against the library and the command: python tools/fuzz.py [--count N] [--seconds S]

What must hold: an input is either used or refused by a ValueError of one sentence; known pixels come back bit-identical; the hole is
finite; no input file changes. A failure is printed with the seed that makes it again (--kind KIND --seed SEED --count 1).
"""

import argparse
import contextlib
import hashlib
import io
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import rad_core  # noqa: E402
from rad_core import UNet, UNetConfig  # noqa: E402
from rad_core.__main__ import main as command  # noqa: E402
from rad_core.compare import comparison  # noqa: E402
from rad_core.mask_files import read_mask  # noqa: E402
from rad_core.masks import SHAPES  # noqa: E402
from rad_core.photo_files import check_readable, read_photo, write_photo  # noqa: E402
from rad_core.sdm import Generator, SDMConfig  # noqa: E402

FORMATS = ["png", "jpg", "webp", "bmp", "tif", "gif", "tga", "ppm", "jp2", "avif"]
MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F"]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
SENTENCE = 400  # letters


def networks() -> tuple[UNet, Generator]:
    """Small random networks."""
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32,), 1, (), 32, image_size=16)).eval().requires_grad_(False)
    net.region_aware = True
    return net, Generator(SDMConfig((8, 8), (), 1, 8, 8, 2, True, 16)).eval().requires_grad_(False)


NET, SDM = networks()
FILLS: dict[str, Callable] = {
    "rad": lambda picture, mask, seed: rad_core.rad_inpaint(NET, picture, mask, steps=1, sampler="ddim", seed=seed),
    "gradpaint": lambda picture, mask, seed: rad_core.gradpaint_inpaint(NET, picture, mask, steps=1, sampler="ddim", seed=seed),
    "sdm": lambda picture, mask, seed: rad_core.sdm_inpaint(SDM, picture, mask, iterations=1, seed=seed)[0],
    "exemplar": lambda picture, mask, seed: rad_core.exemplar_inpaint(picture, mask, "fast", seed=seed)[0],
}


def refused(work: Callable) -> str | None:
    """The sentence by which an input is refused, None if it is used. Any other error, or a longer text, is raised."""
    try:
        work()
    except (ValueError, OSError) as error:
        text = str(error)
        assert 0 < len(text) < SENTENCE and "\n" not in text, f"not a sentence: {text[:1000]}"
        return text
    return None


def side(rng: random.Random) -> int:
    return rng.choice([1, 2, 3, rng.randint(1, 40), rng.randint(1, 300)])


def fuzz_library(rng: random.Random) -> str:
    """One method on one random batch."""
    height, width, count = side(rng), side(rng), rng.choice([1, 1, 1, 2, 3])
    while height * width > 20_000:  # a minute must be enough for many
        height, width = max(1, height // 2), max(1, width // 2)
    numbers = torch.Generator().manual_seed(rng.getrandbits(32))
    picture = torch.rand(count, 3, height, width, generator=numbers).to(rng.choice(DTYPES))
    kind = rng.choice([*SHAPES, "empty", "full", "pixel", "grey", "noise", "faint"])
    mask = {
        "empty": lambda: torch.zeros(1, 1, height, width),
        "full": lambda: torch.ones(1, 1, height, width),
        "pixel": lambda: (torch.arange(height * width) == rng.randrange(height * width)).float().view(1, 1, height, width),
        "grey": lambda: torch.rand(count, 1, height, width, generator=numbers),
        "noise": lambda: torch.rand(count, 1, height, width, generator=numbers).gt(0.5).float(),
        "faint": lambda: torch.rand(1, 1, height, width, generator=numbers) / 300,
    }.get(kind, lambda: SHAPES[kind](count, height, width, rng.getrandbits(40)))()
    if rng.random() < 0.2:
        picture = torch.where((mask == 1).expand(len(picture), 3, -1, -1), torch.nan, picture)
    if rng.random() < 0.1:
        picture = picture * 1.02 - 0.01
    if rng.random() < 0.1:
        mask = mask * (1 + 1e-6)
    method, seed, before = rng.choice(list(FILLS)), rng.choice([0, rng.getrandbits(64), 2**64 - 1]), picture.clone()
    found = {}

    def fill():
        found["out"] = FILLS[method](picture, mask, seed)

    sentence = refused(fill)
    assert torch.equal(picture.nan_to_num(), before.nan_to_num()), "the caller's picture changed"
    if sentence:
        return f"{method}: refused"
    out, hole = found["out"], (mask > 0).expand(len(found["out"]), 3, -1, -1)
    assert out.shape == (max(count, len(mask)), 3, height, width) and out.dtype == picture.dtype, (out.shape, out.dtype)
    assert torch.equal(out[~hole], picture.expand_as(out)[~hole]), "known pixels changed"
    assert torch.isfinite(out).all(), "the fill is not finite"
    if rng.random() < 0.1:
        comparison(picture.nan_to_num(), mask.clamp(0, 1).expand(count, -1, -1, -1)[:count], {"fill": out[:count]})
    return method


def draw_file(rng: random.Random, folder: Path, stem: str) -> Path:
    """A picture of some mode and format, perhaps cut off or with another's extension."""
    height, width = rng.randint(1, 40), rng.randint(1, 40)
    pixels = np.frombuffer(rng.randbytes(height * width * 4), np.uint8).reshape(height, width, 4)
    mode, kind = rng.choice(MODES), rng.choice(FORMATS)
    if rng.random() < 0.5:
        pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    if mode in ("I", "I;16"):
        image = Image.fromarray(pixels[..., 0].astype(np.uint16 if mode == "I;16" else np.int32) * rng.choice([1, 200, 257]))
    else:
        image = Image.fromarray(pixels).convert("L" if mode == "F" else "RGB" if mode == "LAB" else "RGBA")
        with contextlib.suppress(ValueError):
            image = image.convert(mode)
    data = io.BytesIO()
    try:
        image.save(data, {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(kind, kind.upper()))
    except (OSError, ValueError, KeyError):  # this format has no such mode
        image.convert("RGB").save(data, "PNG")
    data = data.getvalue()
    if rng.random() < 0.3:
        data = data[: len(data) * rng.randint(0, 10) // 10]
    if rng.random() < 0.1:
        data = data[: len(data) // 2] + rng.randbytes(8) + data[len(data) // 2 + 8 :]
    path = folder / f"{stem}.{kind if rng.random() < 0.8 else rng.choice(FORMATS)}"
    path.write_bytes(data)
    return path


def fuzz_files(rng: random.Random) -> str:
    """One file as a photo and as a mask; a photo that was read is written, and comes back as it was."""
    with tempfile.TemporaryDirectory() as name:
        path, found = draw_file(rng, Path(name), "photo"), {}
        sentence = refused(lambda: found.update(photo=read_photo(path)))
        assert (refused(lambda: read_mask(path)) is None) == (sentence is None)
        refused(lambda: check_readable(path))
        if sentence:
            return "refused"
        target = Path(name) / f"out{rng.choice(['.png', '.tif', '.webp'])}"
        if refused(lambda: write_photo(target, found["photo"])) is None and not (found["photo"].deep and target.suffix == ".webp"):
            again = read_photo(target)
            assert torch.equal(again.rgb, found["photo"].rgb), "written and read again, the photo is another"
        return "read"


def fuzz_commands(rng: random.Random) -> str:
    """One command line on random files, with outputs that may be its inputs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [draw_file(rng, folder, "photo"), draw_file(rng, folder, "mask")]
        if rng.random() < 0.7:  # one that fits
            with contextlib.suppress(ValueError):
                height, width = read_photo(files[0]).rgb.shape[2:]
                hole = np.zeros((height, width), np.uint8)
                hole[height // 3 : height // 2 + 1, width // 3 : width // 2 + 1] = 255
                Image.fromarray(hole).save(files[1], "PNG")
        if rng.random() < 0.3:
            for path in files:
                path.with_suffix("").mkdir()
                path.rename(path.with_suffix("") / f"a{path.suffix}")
        photo, mask = (path if path.exists() else path.with_suffix("") for path in files)
        digest = lambda path: hashlib.sha256(path.read_bytes()).digest() if path.is_file() else None
        inputs = {path: digest(path) for path in folder.rglob("*") if path.is_file()}
        outputs = [*[folder / "out.png", folder / "out", folder / "out.v2", folder / "o.jpg"] * 3, *inputs, photo, mask]
        place, device = lambda: str(rng.choice(outputs)), rng.choice(["cpu"] * 8 + ["meta", "x"])
        words = ["inpaint", str(photo), "--mask", str(mask), "-o", place(), "--preset", "fast", "--device", device]
        for option, value in (("--compare", place), ("--uncertainty", place), ("--reference", lambda: str(rng.choice(list(inputs))))):
            words += [option, value()] if rng.random() < 0.2 else []
        words += rng.choice([[], [], ["--grow", "2"], ["--fills", "2"], ["--fills", "0"], ["--seed", str(2**64 - 1)], ["--nonsense"]])
        text = io.StringIO()
        with contextlib.redirect_stderr(text), contextlib.redirect_stdout(text):
            try:
                status = command(words)
            except SystemExit as end:  # argparse's
                status = end.code
        assert status in (0, 1, 2), status
        assert "Traceback" not in text.getvalue(), text.getvalue()[-1000:]
        changed = [path.name for path, before in inputs.items() if digest(path) != before]
        assert not changed, f"{words} changed its inputs {changed}"
        return f"status {status}"


def fuzz_networks(rng: random.Random) -> str:
    """A network's file that is hostile or broken is refused in a sentence."""
    whole = (ROOT / "rad_core" / "weights" / "night.adapter.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    swap = lambda old, new: whole[:8] + whole[8 : 8 + length].replace(old, new.ljust(len(old))[: len(old)]) + whole[8 + length :]
    data = rng.choice(
        [
            lambda: b"",
            lambda: rng.randbytes(rng.randint(1, 2000)),
            lambda: whole[: rng.randrange(len(whole))],
            lambda: (2**62).to_bytes(8, "little") + whole[8:],
            lambda: whole[:8] + rng.randbytes(length) + whole[8 + length :],
            lambda: swap(b"lora_A", b"lora_X"),
            lambda: swap(b'"F16"', b'"I64"'),
            lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
            lambda: b"PK\x03\x04" + rng.randbytes(500),
        ]
    )()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"net{rng.choice(['.safetensors', '.pt', '.bin'])}"
        path.write_bytes(data)
        for load in (rad_core.load_model, rad_core.load_sdm, rad_core.read_adapter):
            assert refused(lambda load=load: load(path)), f"{load.__name__} took it"
    return "refused"


KINDS = {"library": fuzz_library, "files": fuzz_files, "commands": fuzz_commands, "networks": fuzz_networks}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=list(KINDS), action="append", help="default: all")
    parser.add_argument("--count", type=int, default=10_000, help="inputs of each kind, at most (default: 10000)")
    parser.add_argument("--seconds", type=float, default=600, help="for all kinds together, at most (default: 600)")
    parser.add_argument("--seed", type=int, default=0, help="of the first input; input k has the seed + k (default: 0)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    kinds, failures = options.kind or list(KINDS), 0
    for kind in kinds:
        end, results = time.monotonic() + options.seconds / len(kinds), Counter()
        for seed in range(options.seed, options.seed + options.count):
            if time.monotonic() > end:
                break
            try:
                results[KINDS[kind](random.Random(f"{kind} {seed}"))] += 1
            except Exception:
                failures += 1
                print(f"--kind {kind} --seed {seed} --count 1\n{traceback.format_exc(limit=-3)}", flush=True)
        print(f"{kind}: {sum(results.values())} held: {', '.join(f'{n} {name}' for name, n in sorted(results.items()))}", flush=True)
    print(f"{failures} failed.")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
