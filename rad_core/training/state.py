"""The state of a training run in one file, from which an interrupted run resumes."""

import json
from collections.abc import Iterator, Mapping
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Protocol

import torch

from ..atomic import atomic_write
from ..memory import out_of_memory


class Stateful(Protocol):
    """Anything that saves and restores its state as a dictionary, as PyTorch's modules and optimisers do."""

    def state_dict(self) -> dict: ...
    def load_state_dict(self, state: dict) -> object: ...


def save_state(path: Path, step: int, objects: dict[str, Stateful], run: Mapping[str, object]) -> None:
    """Write the state of networks, optimisers and so on, by name.

    Args:
        step: steps taken so far.
        run: the run's settings by name, the stages of its plan among them; values as JSON has them.

    Raises:
        ValueError: the file cannot be written; the previous one, if any, is still there.
    """
    state = {"step": step, "run": json.dumps(run)} | {name: one.state_dict() for name, one in objects.items()}
    atomic_write(path, lambda temporary: torch.save(state, temporary))


def load_state(path: Path, objects: dict[str, Stateful], run: Mapping[str, object]) -> int:
    """Restore the state of the same objects, and return the step the run had reached.

    The run may go on for more steps than was planned, in stages that are the same up to that step.

    Raises:
        ValueError: the file is damaged, or belongs to a run with other settings or more steps.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        step, before = state["step"], json.loads(state["run"])
    except Exception as error:  # torch.load raises anything on bad bytes
        if isinstance(error, PermissionError) or out_of_memory(error):
            raise
        raise ValueError(f"{path.name} is cut short or damaged: remove it to start again.") from error
    now = json.loads(json.dumps(run))
    stages = [settings.pop("stages") for settings in (before, now)]
    if other := [name for name in before if before[name] != now.get(name)]:  # a setting that came later had no other value
        values = " and ".join(f"{name} {before.get(name)} (now {now.get(name)})" for name in other[:3])
        raise ValueError(f"{path.name} belongs to a run with {values}: use that run's settings, or another output name.")
    taken, planned = (list(islice(_steps(each), step)) for each in stages)
    if taken != planned:
        advice = "plan at least as many" if len(planned) < step else "repeat the sizes and batches of its stages"
        raise ValueError(f"{path.name} belongs to a run that has taken {step} steps: {advice}, or use another output name.")
    for name, one in objects.items():
        one.load_state_dict(state[name])
    return step


def _steps(stages: list[dict]) -> Iterator[tuple[int, int]]:
    """Size and batch of every step."""
    return chain.from_iterable(repeat((stage["size"], stage["batch"]), stage["steps"]) for stage in stages)
