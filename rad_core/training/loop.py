"""The training loop: the paper's objective, AdamW, warm-up and cosine decay, an exponential moving average of the weights."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..images import write_whole
from ..noise import generators, normal
from ..schedule import RegionSchedule
from .data import Source, training_masks
from .objective import base_loss, region_loss

TRAINING_SEEDS = 2**40  # pictures below this seed are never trained on, so tests and benchmarks draw theirs from there


@dataclass
class Stage:
    """Part of a run at one picture size: coarse structure is learned at a fraction of the cost at half size."""

    size: int
    steps: int
    batch: int

    @classmethod
    def parse(cls, text: str) -> "list[Stage]":
        """From "32:3000:16,64:1500:8"."""
        try:
            stages = [cls(*map(int, part.split(":"))) for part in text.split(",")]
        except (TypeError, ValueError):
            stages = []
        if not stages or any(min(stage.size - 7, stage.steps, stage.batch) < 1 for stage in stages):
            raise ValueError(f"stages are SIZE:STEPS:BATCH, comma-separated, such as 32:3000:16,64:1500:8, sizes from 8 up; got '{text}'.")
        return stages


@dataclass
class TrainingPlan:
    stages: list[Stage]
    learning_rate: float = 5e-4
    warmup: int = 100
    weight_decay: float = 1e-2
    ema: float = 0.999
    vlb_weight: float = 1e-3
    prediction: str = "eps"  # what the network predicts, see `UNetConfig`
    region: bool = True  # RAD's objective; False: the plain network's
    phases: int = 2  # 1: noise in the hole alone, all that inpainting itself visits; 2: the paper's
    masks: str = "perlin"
    seed: int = 0
    save_every: int = 250
    precision: str = "float32"  # or "bfloat16": convolutions and matrix products in it, weights and losses in float32

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)


def learning_rate(base: float, step: int, steps: int, warmup: int = 100) -> float:
    """Of a step: linear warm-up, cosine decay to 5 %."""
    progress = min(1.0, step / max(1, steps))
    return base * min(1.0, (step + 1) / warmup) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


class Average:
    """Exponential moving average of the trained tensors; its decay rises from 0 so that the start is soon forgotten."""

    def __init__(self, parameters: list[Tensor], decay: float):
        self.parameters, self.decay, self.count = parameters, decay, 0
        self.values = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.values, self.parameters, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange averaged and live weights: once to save the average, again to go on."""
        for p, value in zip(self.parameters, self.values, strict=True):
            live = p.detach().clone()
            p.copy_(value)
            value.copy_(live)

    def state_dict(self) -> dict:
        return {"count": self.count, "values": self.values}

    def load_state_dict(self, state: dict) -> None:
        self.count = state["count"]
        for value, saved in zip(self.values, state["values"], strict=True):
            value.copy_(saved)


class Log:
    """A run's rows, kept in a CSV: step, size, mean of each loss since the row before, pictures per second."""

    def __init__(self, path: Path | None = None):
        self.path, self.rows = path, []
        self._forget()

    def state_dict(self) -> dict:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict) -> None:
        self.rows = state["rows"]

    def _forget(self) -> None:
        self.sums, self.steps, self.pictures, self.began = {}, 0, 0, time.perf_counter()

    def add(self, step: int, stage: Stage, losses: dict[str, float]) -> None:
        self.step, self.size = step, stage.size
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in losses.items()}
        self.steps, self.pictures = self.steps + 1, self.pictures + stage.batch

    def write(self) -> dict[str, str]:
        """End a row, and give it as a line for the progress bar."""
        means = {name: value / self.steps for name, value in self.sums.items()}
        rate = self.pictures / (time.perf_counter() - self.began)
        self.rows.append({"step": self.step, "size": self.size} | means | {"pictures_per_second": round(rate, 2)})
        self._forget()
        if self.path:
            lines = [",".join(self.rows[0]), *(",".join(map(str, row.values())) for row in self.rows)]
            write_whole(self.path, lambda temporary: Path(temporary).write_text("\n".join(lines) + "\n"))
        return {name: f"{value:.4f}" for name, value in means.items()} | {"img_s": f"{rate:.1f}"}


def train(net: nn.Module, source: Source, plan: TrainingPlan, schedule: RegionSchedule, save: Callable[[], None], log: Log) -> None:
    """Train the parameters of `net` that require gradients. `save` is called with the averaged weights in place.

    Args:
        net: an ADM network, or one wrapped by PEFT; called as net(x, t).
        source: training pictures.
        save: writes the network; called every `plan.save_every` steps and at the end.
        log: is given every step's loss.

    Raises:
        FloatingPointError: the loss became infinite or NaN. The last saved file is left as it was.
    """
    net.train()
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay)
    average = Average(parameters, plan.ema)
    step, seed = 0, TRAINING_SEEDS + plan.seed * 2**32
    progress = tqdm(total=plan.steps, unit="step", dynamic_ncols=True, mininterval=5)
    for stage in plan.stages:
        for _ in range(stage.steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(plan.learning_rate, step, plan.steps, plan.warmup)
            loss = _loss(net, source(stage.batch, stage.size, seed), plan, schedule, seed)
            if not math.isfinite(loss.item()):
                raise FloatingPointError(
                    f"The loss became {loss.item()} at step {step}; the last saved weights are kept. Try a lower learning rate."
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            average.update()
            step, seed = step + 1, seed + stage.batch
            log.add(step, stage, {"loss": loss.item()})
            progress.update()
            if step % plan.save_every == 0 or step == plan.steps:
                progress.set_postfix(log.write())
                average.swap()
                save()
                average.swap()
    average.swap()
    net.eval()


def memory_format(device: torch.device | str, precision: str) -> torch.memory_format:
    """The faster layout: on a CPU, oneDNN's bfloat16 convolutions run at half speed channels-last (measured on AMX)."""
    slow = precision == "bfloat16" and torch.device(device).type == "cpu"
    return torch.contiguous_format if slow else torch.channels_last


def autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _loss(net: nn.Module, pictures: Tensor, plan: TrainingPlan, schedule: RegionSchedule, seed: int) -> Tensor:
    n, size = pictures.shape[0], pictures.shape[-1]
    device = next(net.parameters()).device
    streams = generators(seed, n, "training noise")
    x0 = (pictures * 2 - 1).to(device, memory_format=memory_format(device, plan.precision))
    steps = len(schedule) if plan.region and plan.phases == 2 else len(schedule.phase1)
    # One picture in each of n equal slices of time: uniform over all, with less chance in the mean.
    offset = torch.rand((), generator=streams[0])
    t = (((torch.arange(n) + offset) / n) * steps).long().clamp(max=steps - 1)
    noise = normal(streams, x0.shape[1:], device)
    mask = training_masks(plan.masks, n, size, seed).to(device) if plan.region else None
    with autocast(device, plan.precision):
        if mask is None:
            return base_loss(net, x0, noise, t, schedule.phase1, plan.vlb_weight, plan.prediction)
        return region_loss(net, x0, noise, t, mask, schedule, plan.vlb_weight, plan.prediction)


def describe(plan: TrainingPlan) -> str:
    """The plan as JSON, for a file's metadata."""
    return json.dumps({k: v for k, v in vars(plan).items() if k != "stages"} | {"stages": [vars(s) for s in plan.stages]})
