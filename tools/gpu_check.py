"""Everything that only a GPU runs, in about five minutes, and what fell short: python tools/gpu_check.py [--comfyui FOLDER]

Each method, in each precision, must fill a picture as it does on the CPU in float32, with known pixels bit-identical; each training must
end, with an adapter and a sheet of samples; and with a ComfyUI, its nodes must run with the host's own memory management. Networks are
small and random: this finds wrong devices and precisions, not wrong pictures. See docs/models.md. What it prints fits one screen; the
whole errors go into a file, gpu_check.log.
"""

import argparse
import contextlib
import copy
import io
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["TQDM_DISABLE"] = "1"  # the bars of training
import rad_core  # noqa: E402
from rad_core import RegionSchedule, UNet, UNetConfig, landscapes  # noqa: E402
from rad_core.__main__ import main as command  # noqa: E402
from rad_core.adapters import add_adapter  # noqa: E402
from rad_core.compare import compare  # noqa: E402
from rad_core.masks import SHAPES, box_masks  # noqa: E402
from rad_core.notes import Note  # noqa: E402
from rad_core.sdm import Generator, SDMConfig  # noqa: E402
from rad_core.training.data import mask_source  # noqa: E402
from rad_core.training.diffusion import DiffusionTraining, TrainingPlan, pictures_of  # noqa: E402
from rad_core.training.log import Log  # noqa: E402
from rad_core.training.loop import Stage, train  # noqa: E402
from rad_core.training.samples import holes, sample_columns  # noqa: E402

PICTURE, MASK = landscapes(2, 64, seed=3), box_masks(2, 64, 64, seed=1)
FARTHEST = {"float32": 2e-3, "bfloat16": 0.2, "float16": 0.05}  # mean difference from the CPU's float32 fill in the hole
HOST_TESTS = ["test_notes.py", "test_nodes.py", "test_sdm.py", "test_training.py", "test_precisions.py"]
FILLS = {
    "rad": lambda net, picture: rad_core.rad_inpaint(net, picture, MASK, steps=5, sampler="ddim", align=1.0),
    "gradpaint": lambda net, picture: rad_core.gradpaint_inpaint(net, picture, MASK, steps=5),
    "sdm": lambda net, picture: rad_core.sdm_inpaint(net, picture, MASK, iterations=3)[0],
    "exemplar": lambda net, picture: rad_core.exemplar_inpaint(picture, MASK.to(picture.device), "fast")[0],
}


def network(method: str) -> torch.nn.Module | None:
    """A small random network, the same in every call."""
    torch.manual_seed(0)
    if method == "exemplar":
        return None
    if method == "sdm":
        return Generator(SDMConfig((16, 16), (1,), 1, 16, 16, 2, True, 64)).requires_grad_(False).eval()
    net = UNet(UNetConfig(32, (32, 64), 1, (1,), 32, image_size=64)).requires_grad_(False).eval()
    net.region_aware = method == "rad"
    return net


def check_fill(method: str, precision: str, device: str) -> str:
    """The mean difference from the CPU in the hole.

    Raises:
        AssertionError: it is too large, or a known pixel changed.
    """
    expected, net = FILLS[method](network(method), PICTURE), network(method)
    picture = PICTURE.to(device) if method == "exemplar" else PICTURE
    out = FILLS[method](net and net.to(device, getattr(torch, precision)), picture).cpu()
    known = (MASK == 0).expand_as(out)
    assert torch.equal(out[known], PICTURE[known]), "known pixels changed"
    difference = float((out - expected)[~known].abs().mean())
    assert difference <= FARTHEST[precision], f"the fill is {difference:.4f} from the CPU's"
    return f"{difference:.5f} from the CPU"


def check_training(precision: str, device: str) -> str:
    """An adapter is trained, stopped and resumed, and its network fills a sheet of samples."""
    net, plan = copy.deepcopy(network("rad")).to(device), TrainingPlan([Stage(64, 4, 4)], precision=precision)
    trained = add_adapter(net, 4).to(device)
    with tempfile.TemporaryDirectory() as folder:
        for steps in (2, 4):
            part = replace(plan, stages=[Stage(64, steps, 4)])
            method = DiffusionTraining(trained, pictures_of(landscapes), part, RegionSchedule(), mask_source("perlin"))
            train(method, part, Log(), lambda: None, Path(folder) / "a.state")
    columns = sample_columns(net, landscapes(2, 64), holes(mask_source("perlin"), 64, 64)[:2], None)
    assert torch.isfinite(columns[-1][1]).all(), "the samples have NaN"
    moved = sum(float(p.detach().abs().sum()) for name, p in trained.named_parameters() if ".lora_B." in name)
    assert moved > 0, "the adapter was not trained"
    return "an adapter and samples"


def check_masks(device: str) -> str:
    for name, draw in SHAPES.items():
        drawn, here = draw(2, 96, 80, 5, device=device).cpu(), draw(2, 96, 80, 5)
        assert (drawn != here).float().mean() < 1e-3, f"{name} masks differ from the CPU's"
    numbers = [compare(*(maps.to(place) for maps in (PICTURE, MASK)), {"x": PICTURE.flip(3).to(place)}) for place in (device, "cpu")]
    worst = max(abs(a - b) / max(1e-6, abs(b)) for a, b in zip(*(rows["x"].values() for rows in numbers), strict=True))
    assert worst < 1e-3, f"a measure is off by {worst:.1%}"
    return "masks and measures as on the CPU"


def check_command(device: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        photo, mask, out = (str(Path(folder) / name) for name in ("photo.png", "mask.png", "out.png"))
        rad_core.write_photo(photo, rad_core.Photo(PICTURE[:1]))
        rad_core.write_photo(mask, rad_core.Photo(MASK[:1].expand(-1, 3, -1, -1)))
        for words in ([], ["rad", "--model", "landscapes", "--steps", "4"], ["sdm"]):
            text = io.StringIO()
            with contextlib.redirect_stderr(text), contextlib.redirect_stdout(text):
                status = command(["inpaint", *words, photo, "--mask", mask, "-o", out, "--device", device])
            assert status == 0, f"{' '.join(words) or 'exemplar'} ends with {status}: {text.getvalue().strip()[-200:]}"
    return "photos, by three methods"


def check_host(comfyui: Path, device: str) -> str:
    """The nodes' own tests in a ComfyUI that uses the GPU, unless the device is "cpu"."""
    pythons = [comfyui / ".venv" / "bin" / "python", comfyui / "venv" / "bin" / "python", Path(sys.executable)]
    python = next(path for path in pythons if path.exists())
    words = [python, "-m", "pytest", "-q", "--rootdir", ".", "--confcutdir", ".", "-p", "no:cacheprovider", *HOST_TESTS]
    environment = os.environ | {"COMFYUI_PATH": str(comfyui), "RAD_GPU": "" if device == "cpu" else "1"}
    run = subprocess.run(words, cwd=ROOT / "tests" / "host" / "inside", capture_output=True, text=True, env=environment)
    summary = run.stdout.strip().splitlines()[-1:] or [run.stderr[-200:]]
    assert run.returncode == 0, f"{summary[0]}\n{run.stdout}{run.stderr}"
    return summary[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--comfyui", type=Path, help="also run the nodes in the ComfyUI of this folder")
    parser.add_argument("--log", type=Path, default=Path("gpu_check.log"), help="for whole errors (default: gpu_check.log)")
    options = parser.parse_args()
    device, precisions = options.device, list(FARTHEST)
    checks: dict[str, Callable[[], str]] = {"masks": lambda: check_masks(device), "command": lambda: check_command(device)}
    for method in FILLS:
        for precision in precisions if method != "exemplar" else ["float32"]:
            checks[f"{method}, {precision}"] = lambda m=method, p=precision: check_fill(m, p, device)
    checks |= {f"training, {precision}": lambda p=precision: check_training(p, device) for precision in precisions}
    if options.comfyui:
        checks["nodes in ComfyUI"] = lambda: check_host(options.comfyui, device)
    warnings.simplefilter("ignore", Note)
    failed, log = [], []
    for name, check in checks.items():
        began = time.perf_counter()
        try:
            result = check()
        except Exception as error:  # the next check may say more
            failed.append(name)
            log.append(f"{name}\n{traceback.format_exc()}\n")
            result = f"FELL SHORT: {type(error).__name__}: {error}".splitlines()[0][:200]
        print(f"{name:24}{time.perf_counter() - began:6.1f} s  {result}", flush=True)
    if log:
        options.log.write_text("\n".join(log))
    which = f": {'; '.join(failed)}. The errors are in {options.log}" if failed else ""
    print(f"{len(failed)} of {len(checks)} fell short{which}.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
