"""The training loop, the same for every method: stages, seeds, learning rate, average, log, checkpoints, cancelling.

What a run draws depends on its seed and the picture's number alone, never on what was drawn before. So there is no random state to keep, a
run that was stopped goes on with the very numbers it would have seen, and any number of processes sees the same pictures as one.
"""

import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from .log import Log
from .processes import Processes
from .state import Stateful, load_state, save_state

TRAINING_SEEDS = 2**40  # pictures below this seed are never trained on, so tests and benchmarks draw theirs from there


@dataclass(frozen=True)
class Stage:
    """Part of a run at one picture size: coarse structure is learned at a fraction of the cost at half size."""

    size: int
    steps: int
    batch: int  # pictures of a step, of all processes together

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


@dataclass(frozen=True)
class Plan:
    """What every run has.

    Args:
        stages: picture sizes, steps and batches.
        learning_rate: at its height: it rises over `warmup` steps and falls by a cosine to 5 %.
        accumulate: in how many parts each process takes its share of a batch, where memory is short. The gradients are those of the whole.
        precision: "float32", "bfloat16" or "float16": what convolutions and matrix products are done in; weights and losses are float32.
        save_every: steps between checkpoints.
    """

    stages: list[Stage]
    learning_rate: float = 5e-4
    warmup: int = 100
    accumulate: int = 1
    precision: str = "float32"
    seed: int = 0
    save_every: int = 250

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def describe(self) -> str:
        """As JSON, for a file's metadata."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Part:
    """Pictures `first` to `first + count` of a step's `total`; picture k is drawn from `seed + k`."""

    size: int
    seed: int
    first: int
    count: int
    total: int

    @property
    def seeds(self) -> list[int]:
        return [self.seed + k for k in range(self.first, self.first + self.count)]


class Method(Protocol):
    """What a method brings to the loop."""

    parts: dict[str, Stateful]  # all that a run needs to go on
    average: "Average"

    def draw(self, part: Part) -> Any:
        """The pictures of a part. Called in a thread of its own, ahead of time."""

    def step(self, step: int, drawn: list[tuple[Part, Any]], rate: float, processes: Processes) -> dict[str, float]:
        """Take one step with this process's parts, and give the losses of the whole batch."""


def train(
    method: Method,
    plan: Plan,
    log: Log,
    save: Callable[[], None],
    state: Path | None = None,
    note: str = "",
    processes: Processes | None = None,
    report: Callable[[int, int, dict[str, float]], None] | None = None,
) -> None:
    """Train. `save` is called with the averaged weights in place, every `plan.save_every` steps and at the end.

    Args:
        save: writes the network.
        state: everything the run needs to go on is kept in this file; if it is there, the run goes on from it.
        note: what else than the plan makes it this run: its data and networks.
        report: called with (step, steps, losses) after each step; raise from it to cancel: the step is kept then.

    Raises:
        FloatingPointError: a loss became infinite or NaN. The last saved files are left as they were.
        ValueError: `state` belongs to a run with other settings, or a batch is smaller than the number of processes.
    """
    processes = processes or Processes()
    if any(stage.batch < processes.count for stage in plan.stages):
        raise ValueError(f"{processes.count} processes cannot share a batch of fewer pictures: take a larger batch.")
    parts = method.parts | {"average": method.average, "log": log}
    run = json.dumps([type(plan).__name__, asdict(plan) | {"save_every": None}, note])
    done = load_state(state, parts, run) if state and state.is_file() else 0
    progress = tqdm(total=plan.steps, initial=done, unit="step", dynamic_ncols=True, mininterval=5, disable=not processes.first)

    def checkpoint(step: int) -> None:
        method.average.swap()
        try:
            save()
        finally:
            method.average.swap()
        if state:
            save_state(state, step, parts, run)

    with ThreadPoolExecutor(1) as pool:
        for step, stage, drawn in _drawn(islice(_steps(plan, processes), done, None), method.draw, pool):
            losses = method.step(step, drawn, learning_rate(plan.learning_rate, step - 1, plan.steps, plan.warmup), processes)
            if not all(map(math.isfinite, losses.values())):
                raise FloatingPointError(
                    f"A loss became {losses} at step {step}; the last saved weights are kept. Try a lower learning rate."
                )
            method.average.update()
            progress.update()
            log.add(step, stage.size, stage.batch, losses)
            due = processes.first and (step % plan.save_every == 0 or step == plan.steps)
            if due:
                progress.set_postfix(log.write())
                checkpoint(step)
            try:
                if report:
                    report(step, plan.steps, losses)
            except BaseException:  # cancelled: so does the host tell it
                if not due:
                    checkpoint(step)
                raise
    progress.close()
    method.average.swap()
    if done == plan.steps and processes.first:
        save()


def _steps(plan: Plan, processes: Processes) -> Iterator[tuple[int, Stage, list[Part]]]:
    """Every step with its stage and this process's parts."""
    step, seed = 0, TRAINING_SEEDS + plan.seed * 2**32
    for stage in plan.stages:
        for _ in range(stage.steps):
            step += 1
            pieces = processes.count * plan.accumulate
            bounds = [stage.batch * k // pieces for k in range(pieces + 1)]
            mine = range(processes.rank * plan.accumulate, (processes.rank + 1) * plan.accumulate)
            parts = [Part(stage.size, seed, bounds[k], bounds[k + 1] - bounds[k], stage.batch) for k in mine]
            yield step, stage, [part for part in parts if part.count]
            seed += stage.batch


def _drawn(steps: Iterator[tuple[int, Stage, list[Part]]], draw: Callable[[Part], Any], pool: Executor) -> Iterator[tuple]:
    """The steps with the pictures of their parts, which are drawn while the step before is taken."""
    current = None
    for entry in chain(steps, [None]):
        following = entry and (*entry[:2], [(part, pool.submit(draw, part)) for part in entry[2]])
        if current:
            step, stage, parts = current
            yield step, stage, [(part, future.result()) for part, future in parts]
        current = following


def learning_rate(base: float, step: int, steps: int, warmup: int = 100) -> float:
    """Of a step, counted from 0: linear warm-up, cosine decay to 5 %."""
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


def memory_format(device: torch.device | str, precision: str) -> torch.memory_format:
    """The faster layout: on a CPU, oneDNN's bfloat16 convolutions run at half speed channels-last (measured on AMX)."""
    slow = precision != "float32" and torch.device(device).type == "cpu"
    return torch.contiguous_format if slow else torch.channels_last


def autocast(device: torch.device, precision: str) -> torch.autocast:
    low = precision != "float32"
    return torch.autocast(device.type, getattr(torch, precision) if low else torch.bfloat16, enabled=low)
