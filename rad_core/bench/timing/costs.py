"""What GradPaint's guidance, an SDM pass and a RAD training step cost, each beside the plain computation that it contains."""

from dataclasses import replace
from statistics import median

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ...adapters import add_adapter
from ...checkpoints import load_model
from ...gradpaint import PRESETS, gradpaint_inpaint
from ...masks import box_masks
from ...schedule import RegionSchedule
from ...sdm import Generator, SDMConfig
from ...synthetic import landscapes
from ...training.data import mask_source
from ...training.diffusion import DiffusionTraining, TrainingPlan, pictures_of
from ...training.loop import TRAINING_SEEDS, BatchSlice, Stage
from ...training.processes import Processes
from ...unet import UNet
from .speed import alternate, cost_row, median_ratio, wait_for

GUIDANCES = {name: PRESETS[name] for name in ("plus", "paper", "combine")}
GUIDANCES["vjp"] = replace(PRESETS["plus"], guidance=replace(PRESETS["plus"].guidance, gradient="vjp"))


def gradpaint_cost(net: UNet, steps: int, batch: int, rounds: int) -> dict[str, float]:
    """Time of each kind of guidance as a multiple of plain "combine" sampling: the medians of the rounds' ratios."""
    size = net.config.image_size
    picture, mask = landscapes(batch, size, seed=1).to(net.device), box_masks(batch, size, size, seed=1).to(net.device)
    fill = lambda settings: lambda: gradpaint_inpaint(net, picture, mask, settings, steps=steps)
    seconds = alternate({name: fill(settings) for name, settings in GUIDANCES.items()}, rounds, wait_for(net.device))
    return {name: median_ratio(seconds, name, "combine") for name in seconds}


aten = torch.ops.aten


class Products(TorchDispatchMode):
    """Collects the convolutions and matrix products that run inside it, as functions to call again; depthwise blurs apart."""

    def __init__(self):
        super().__init__()
        self.calls, self.blurs = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (aten.convolution.default, aten.mm.default, aten.addmm.default, aten.bmm.default):
            grouped = function is aten.convolution.default and args[8] > 1
            (self.blurs if grouped else self.calls).append(lambda: function(*args))
        if "scaled_dot_product" in function.name():
            q, k, v = args[:3]
            weights = torch.rand(*q.shape[:3], k.shape[2], device=q.device)
            self.calls += [lambda: q @ k.transpose(2, 3), lambda: weights @ v]
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def sdm_cost(size: int, rounds: int, device: torch.device | str = "cpu") -> dict[str, dict[str, float]]:
    """Seconds of a pass of the full-width SDM network on a square picture, of its products and its blurs alone, and their ratios."""
    torch.manual_seed(0)
    with torch.device(device):
        net = Generator(SDMConfig()).eval().requires_grad_(False).to(memory_format=torch.channels_last)
        inputs = torch.randn(1, 7, size, size), torch.rand(1, 1, size, size), torch.randn(1, 512)
    with Products() as products:
        net(*inputs)
    run_products = lambda: [call() for call in products.calls]
    runs = {"iteration": lambda: net(*inputs), "products": run_products, "blurs": lambda: [call() for call in products.blurs]}
    seconds = alternate(runs, rounds, wait_for(device))
    by_round = list(zip(*seconds.values(), strict=True))
    return {
        f"{size}x{size}": {
            "iteration, s": median(seconds["iteration"]),
            "convolutions and products, s": median(seconds["products"]),
            "blurs, s": median(seconds["blurs"]),
            "ratio to all these": median(a / (b + c) for a, b, c in by_round),
            "ratio without the blurs": median(a / b for a, b, _ in by_round),
        }
    }


def training_step_cost(batch: int, size: int, rounds: int, device: str, precision: str) -> dict[str, float]:
    """Seconds of a training step of a LoRA on the bundled network, plain and RAD, and their ratio (median of the rounds' ratios)."""
    part, steps = BatchSlice(size, TRAINING_SEEDS, 0, batch, batch), {}
    for name, region in (("plain", False), ("RAD", True)):
        net = load_model("landscapes").to(device)
        plan = TrainingPlan([Stage(size, 1, batch)], precision=precision, prediction=net.config.prediction, region=region)
        schedule = RegionSchedule(net.config.schedule)
        method = DiffusionTraining(add_adapter(net).to(device), pictures_of(landscapes), plan, schedule, mask_source("perlin"))
        data = [(part, method.load_batch(part))]
        steps[name] = lambda method=method, data=data: method.step(1, data, 1e-4, Processes())
    seconds = alternate(steps, rounds, wait_for(device))
    return cost_row(seconds)
