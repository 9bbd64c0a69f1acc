"""The state of a training run in one file, from which an interrupted run resumes."""

from pathlib import Path
from typing import Protocol

import torch

from ..atomic import atomic_write


class Stateful(Protocol):
    """Anything that saves and restores its state as a dictionary, as PyTorch's modules and optimisers do."""

    def state_dict(self) -> dict: ...
    def load_state_dict(self, state: dict) -> object: ...


def save_state(path: Path, step: int, objects: dict[str, Stateful], note: str) -> None:
    """Write the state of networks, optimisers and so on, by name.

    Args:
        step: steps taken so far.
        note: identifies the run and its settings.

    Raises:
        ValueError: the file cannot be written; the previous one, if any, is still there.
    """
    state = {"step": step, "note": note} | {name: one.state_dict() for name, one in objects.items()}
    atomic_write(path, lambda temporary: torch.save(state, temporary))


def load_state(path: Path, objects: dict[str, Stateful], note: str) -> int:
    """Restore the state of the same objects, and return the step the run had reached.

    Raises:
        ValueError: the file is damaged, or belongs to a run with other settings.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        same_run = state["note"] == note
    except Exception as error:  # torch.load raises anything on bad bytes
        raise ValueError(f"{path.name} is cut short or damaged: remove it to start again.") from error
    if not same_run:
        raise ValueError(f"{path.name} belongs to a run with other settings. Use that run's settings, or another output name.")
    for name, one in objects.items():
        one.load_state_dict(state[name])
    return state["step"]
