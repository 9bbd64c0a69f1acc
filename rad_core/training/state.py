"""What a training run needs to go on after it was stopped, in one file."""

from pathlib import Path
from typing import Protocol

import torch

from ..atomic import write_whole


class Stateful(Protocol):
    def state_dict(self) -> dict: ...
    def load_state_dict(self, state: dict) -> object: ...


def save_state(path: Path, step: int, parts: dict[str, Stateful], note: str) -> None:
    """Write networks, optimisers and averages by name. `note` tells which run they belong to.

    Raises:
        ValueError: it cannot be written; what was there before is still there.
    """
    state = {"step": step, "note": note} | {name: part.state_dict() for name, part in parts.items()}
    write_whole(path, lambda temporary: torch.save(state, temporary))


def load_state(path: Path, parts: dict[str, Stateful], note: str) -> int:
    """Put a saved run's values into the same parts, and tell the step it had reached.

    Raises:
        ValueError: the file is damaged, or of a run with other settings.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        belongs = state["note"] == note
    except Exception as error:  # torch.load raises anything on bad bytes
        raise ValueError(f"{path.name} is cut short or damaged: remove it to begin anew.") from error
    if not belongs:
        raise ValueError(f"{path.name} belongs to a run with other settings. Give that run's, or another output name.")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"]
