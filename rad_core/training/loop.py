"""The training loop, shared by all methods: stages, seeds, learning rate, EMA, log, checkpoints, cancelling.

All random numbers of a run depend on its seed and the picture's number alone, never on what was sampled before. So there is no random
state to save, a resumed run is bit-identical to one that was never interrupted, and any number of processes sees the same pictures.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from .log import Log
from .processes import Processes
from .state import Stateful, load_state, save_state

TRAINING_SEEDS = 2**40  # training uses picture seeds from here up, so tests and benchmarks below it see unseen pictures


@dataclass(frozen=True)
class Stage:
    """Part of a run at one picture size: coarse structure is learned at a fraction of the cost at half size."""

    size: int
    steps: int
    batch: int  # pictures per step, over all processes

    @classmethod
    def parse(cls, text: str) -> "list[Stage]":
        """Parse stages such as "32:3000:16,64:1500:8". Raises ValueError on anything else."""
        try:
            stages = [cls(*map(int, part.split(":"))) for part in text.split(",")]
        except (TypeError, ValueError):
            stages = []
        if not stages or any(min(stage.size - 7, stage.steps, stage.batch) < 1 for stage in stages):
            raise ValueError(f"stages are SIZE:STEPS:BATCH, comma-separated, such as 32:3000:16,64:1500:8, sizes from 8 up; got '{text}'.")
        return stages


@dataclass(frozen=True)
class Plan:
    """Hyperparameters that every run has.

    Args:
        stages: picture sizes, steps and batch sizes.
        learning_rate: times a linear rise over the first `warmup` steps, times a cosine that falls from 1 to 0.05 over the whole run.
        accumulate: number of slices in which each process handles its share of a batch, to save memory. The gradient is the same.
        precision: "float32", "bfloat16" or "float16": of convolutions and matrix products; weights and losses are float32.
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
        """The plan as JSON, for a file's metadata."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class BatchSlice:
    """Pictures `first` to `first + count` of a step's batch of `total`; picture k has the seed `seed + k`."""

    size: int
    seed: int
    first: int
    count: int
    total: int

    @property
    def seeds(self) -> list[int]:
        return [self.seed + k for k in range(self.first, self.first + self.count)]


Entry = tuple[int, Stage, list[BatchSlice]]  # a step's number, its stage, and this process's slices of the batch
LoadedEntry = tuple[int, Stage, list[tuple[BatchSlice, Any]]]  # the slices with their data


class TrainingMethod(Protocol):
    """What a training method provides to the loop."""

    state: dict[str, Stateful]  # everything but the EMA that a run needs to resume
    ema: "EMA"
    changing: bool  # whether the step under way may have changed weights: then it cannot be taken back

    def load_batch(self, part: BatchSlice) -> Any:
        """Load a slice's training data. Called ahead of time, in a thread or process of its own."""

    def step(self, step: int, batch: list[tuple[BatchSlice, Any]], rate: float, processes: Processes) -> dict[str, float]:
        """Take one step on this process's slices and return the losses of the whole batch."""


def train(
    method: TrainingMethod,
    plan: Plan,
    log: Log,
    save: Callable[[], None],
    state: Path | None = None,
    about: Mapping[str, object] | None = None,
    processes: Processes | None = None,
    callback: Callable[[int, int, dict[str, float]], None] | None = None,
    workers: int = 0,
) -> None:
    """Train a network, saving it every `plan.save_every` steps and at the end.

    The averaged weights are in place only while `save` runs. Afterwards the network holds the last step's weights; to use the averaged
    ones, enter `method.ema.applied()`.

    Args:
        save: writes the network.
        state: file of everything the run needs to resume; if it exists, the run resumes from it. The plan may have more steps than the
            run that wrote it.
        about: identifies the run beyond its plan: its data and networks.
        callback: called with (step, steps, losses) after each step; raise from it to cancel, which saves that step first. So does an
            error inside a step, where the method says that the step has changed nothing yet.
        workers: processes that load and draw the data ahead, forked from this one; 0: a thread. The result is the same.

    Raises:
        FloatingPointError: a loss or a gradient became infinite or NaN. The files saved last are left unchanged.
        ValueError: `state` belongs to a run with other settings or more steps, or a batch has fewer pictures than there are processes.
    """
    processes = processes or Processes()
    if any(stage.batch < processes.count for stage in plan.stages):
        raise ValueError(f"{processes.count} processes cannot share a batch of fewer pictures: use a larger batch.")
    objects = method.state | {"ema": method.ema, "log": log}
    run = {"method": type(plan).__name__} | asdict(plan) | (about or {})
    del run["save_every"]
    done = saved = load_state(state, objects, run) if state and state.is_file() else 0

    def checkpoint(step: int) -> None:
        nonlocal saved
        try:  # the state first: whatever becomes of the network's file and its samples, the run can go on
            if state:
                save_state(state, step, objects, run)
            saved = step
        finally:
            with method.ema.applied():
                save()

    progress = tqdm(total=plan.steps, initial=done, unit="step", dynamic_ncols=True, mininterval=5, disable=not processes.first)
    left = list(islice(_steps(plan, processes), done, None))
    with progress, closing(_loaded(left, method.load_batch, workers)) as loaded:
        for step, stage, batch in loaded:
            rate = learning_rate(plan.learning_rate, step - 1, plan.steps, plan.warmup)
            try:
                losses = method.step(step, batch, rate, processes)
            except FloatingPointError:  # the weights may be no good either
                raise
            except BaseException:  # cancelled, or out of memory, while the gradients were computed
                if processes.count == 1 and saved < step - 1 and not method.changing:
                    checkpoint(step - 1)
                raise
            if not all(map(math.isfinite, losses.values())):
                raise FloatingPointError(
                    f"A loss became {losses} at step {step}; the weights saved last are kept. Try a lower learning rate, or float32."
                )
            method.ema.update()
            progress.update()
            log.add(step, stage.size, stage.batch, losses)
            due = processes.first and (step % plan.save_every == 0 or step == plan.steps)
            if due:
                progress.set_postfix(log.write())
                checkpoint(step)
            try:
                if callback:
                    callback(step, plan.steps, losses)
            except BaseException:  # cancelled: a host's interrupt need not be an Exception
                if not due:
                    checkpoint(step)
                raise
    if done == plan.steps and processes.first:  # nothing was left to do: write the network's file again
        with method.ema.applied():
            save()


def _steps(plan: Plan, processes: Processes) -> Iterator[Entry]:
    """Every step with its stage and this process's slices of the batch."""
    step, seed = 0, TRAINING_SEEDS + plan.seed * 2**32
    for stage in plan.stages:
        for _ in range(stage.steps):
            step += 1
            pieces = processes.count * plan.accumulate
            bounds = [stage.batch * k // pieces for k in range(pieces + 1)]
            mine = range(processes.rank * plan.accumulate, (processes.rank + 1) * plan.accumulate)
            parts = [BatchSlice(stage.size, seed, bounds[k], bounds[k + 1] - bounds[k], stage.batch) for k in mine]
            yield step, stage, [part for part in parts if part.count]
            seed += stage.batch


def _loaded(entries: list[Entry], load_batch: Callable[[BatchSlice], Any], workers: int) -> Iterator[LoadedEntry]:
    """The steps with their data, loaded ahead: the next step's in a thread, or several steps' in processes."""
    load = lambda parts: [(part, load_batch(part)) for part in parts]
    if workers:
        ahead = DataLoader(_StepData(entries, load), batch_size=None, num_workers=workers, multiprocessing_context="fork", collate_fn=list)
        yield from ((step, stage, data) for (step, stage, _), data in zip(entries, ahead, strict=True))
        return
    with ThreadPoolExecutor(1) as pool:
        futures = (pool.submit(load, parts) for _, _, parts in entries)
        following = next(futures, None)
        for step, stage, _ in entries:
            current, following = following, next(futures, None)  # the next step's data load while this one runs
            yield step, stage, current.result()


class _StepData(Dataset):
    """Every step's data, for a `DataLoader`."""

    def __init__(self, entries: list[Entry], load: Callable[[list[BatchSlice]], list]):
        self.entries, self.load = entries, load

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, k: int) -> list[tuple[BatchSlice, Any]]:
        return self.load(self.entries[k][2])


def learning_rate(base: float, step: int, steps: int, warmup: int = 100) -> float:
    """The learning rate at a step, counted from 0: linear warm-up, cosine decay to 5 %."""
    progress = min(1.0, step / max(1, steps))
    return base * min(1.0, (step + 1) / max(1, warmup)) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


class EMA:
    """Exponential moving average of the trained tensors. Its decay rises from 0, so that the initial weights are soon forgotten."""

    def __init__(self, parameters: list[Tensor], decay: float):
        self.parameters, self.decay, self.count = parameters, decay, 0
        self.values = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Add the tensors' current values to the average."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.values, self.parameters, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages into the tensors within a `with` block; afterwards the tensors are bit-identical to before."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
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


@torch.no_grad()
def zero_gradients(parameters: Iterable[Tensor]) -> None:
    """Set gradients to 0, not None: all processes must reduce the same tensors."""
    parameters = list(parameters)
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    torch._foreach_zero_([p.grad for p in parameters])


def memory_format(device: torch.device | str, precision: str, compiled: bool = False) -> torch.memory_format:
    """The faster memory layout: on a CPU, oneDNN's bfloat16 convolutions run at half speed channels-last (measured on AMX).

    `compiled`: their kernels are trained, compiled: contiguous ones then get NaN for gradients (torch 2.13 on AMX), others do not.
    """
    slow = precision != "float32" and torch.device(device).type == "cpu" and not compiled
    return torch.contiguous_format if slow else torch.channels_last


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Autocast to a precision; does nothing for "float32"."""
    low = precision != "float32"
    return torch.autocast(device.type, getattr(torch, precision) if low else torch.bfloat16, enabled=low)
