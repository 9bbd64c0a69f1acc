"""The benchmark's speed tables: what the methods cost on this machine, measured in turns."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch

from ...atomic import atomic_write
from ...compiler import has_compiler
from ...masks import perlin_masks, wide_masks
from ...unet import UNet
from ..methods import Networks
from ..runs import machine
from .costs import gradpaint_cost, sdm_cost, training_step_cost
from .other_program import Other, beside
from .speed import ffhq_step_cost, perlin_cost, step_cost

Rows = dict[str, dict[str, float]]
START = "import torch, time; began = time.perf_counter(); import rad_core; print(time.perf_counter() - began)"


def speed_tables(nets: Networks, rounds: int, other: Other | None = None) -> dict[str, Rows]:
    """Measure all tables: rows by title. Every ratio is the median over rounds in which both sides take turns.

    Args:
        other: another program's network, see `other_program`.
    """
    device, size = nets.device, nets.plain.config.image_size
    steps = scaling(nets.plain, rounds) | {"93.6 million parameters, 256x256, batch 1, channels-last": ffhq_step_cost(rounds, device)}
    gradpaint = {name: {"times combine-image": ratio} for name, ratio in gradpaint_cost(nets.plain, 5, 4, rounds).items()}
    training = {"bundled landscapes, 8 pictures of 64x64, LoRA of rank 16": training_step_cost(8, 64, rounds, str(device), "float32")}
    single = {
        "Perlin mask of 256x256 in batches of 64, one CPU thread, ms": {"value": perlin_cost(25)},
        "import of the core where torch is loaded, s": {"value": start_cost(rounds)},
    }
    theirs = beside(nets.rad, other, wide_masks(1, size, size, seed=1), rounds) if other else {}
    tables = {
        "A RAD step against a plain step of the same network": steps,
        "A network call of RAD and of another program": theirs,
        f"Runs of GradPaint of 5 steps against combine-image, {size}x{size}": gradpaint,
        "An iteration of the full-width SDM network against its own convolutions and products": sdm_cost(512, rounds, device),
        "A training step of RAD's objective against one of the plain network's": training,
        "By themselves": single,
    }
    return {name: rows for name, rows in tables.items() if rows}


def kept_speed_tables(nets: Networks, rounds: int, folder: Path, other: Other | None = None) -> dict:
    """`speed_tables` and the machine, measured once and then kept beside the fills. With 0 rounds: what was kept, or nothing."""
    path = folder / "fills" / "speed.json"
    if not path.is_file() and rounds:
        measured = {"machine": machine(nets.device), "tables": speed_tables(nets, rounds, other)}
        atomic_write(path, lambda temporary: Path(temporary).write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8"))
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def scaling(net: UNet, rounds: int) -> Rows:
    """A RAD step against a plain one, changing one thing at a time: size, batch, the hole's area, precision, layout, compilation."""
    size = net.config.image_size
    mask = lambda side=size, batch=4, area=0.25: perlin_masks(batch, side, side, seed=1, area=area)
    plain = f"{size}x{size}, batch 4, a quarter is hole, float32, channels-last"
    rows = {plain: step_cost(net, mask(), rounds)}
    for name, other in {
        f"{2 * size}x{2 * size}": mask(side=2 * size),
        "batch 1": mask(batch=1),
        "batch 16": mask(batch=16),
        "a twentieth is hole": mask(area=0.05),
        "three quarters are hole": mask(area=0.75),
        "a soft mask, another level at every pixel": torch.rand(4, 1, size, size, generator=torch.Generator().manual_seed(1)),
    }.items():
        rows[name] = step_cost(net, other, rounds)
    rows["contiguous, not channels-last"] = step_cost(copy.deepcopy(net).to(memory_format=torch.contiguous_format), mask(), rounds)
    for dtype in (torch.bfloat16, torch.float16) if net.device.type == "cuda" else (torch.bfloat16,):
        rows[str(dtype).removeprefix("torch.")] = step_cost(copy.deepcopy(net).to(dtype), mask(), rounds)
    if has_compiler():
        compiled = copy.deepcopy(net)
        compiled.compile()
        rows["compiled"] = step_cost(compiled, mask(), rounds)
    return rows


def start_cost(rounds: int) -> float:
    """Seconds that a new process takes to import the core."""
    begin = lambda: float(subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True).stdout)
    return median(begin() for _ in range(rounds))
