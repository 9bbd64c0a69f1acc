"""SDM's settings and presets."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..settings import check_view, check_whole

# Share of the hole that is decided after a share r of the iterations (SDM Table 4)
SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda r: r,
    "cosine": lambda r: 1 - math.cos(math.pi * r / 2),
    "cubic": lambda r: r**3,
    "square root": math.sqrt,
}


@dataclass(frozen=True)
class SDMSettings:
    """How SDM fills a hole.

    Args:
        iterations: passes of the network, T. The paper trains with 2 and tests with 4; more are better and slower, up to 9 or 10.
        schedule: share of the hole that is decided after a share of the iterations, a name in `SCHEDULES`; "linear" is the paper's best.
        alpha: noise of pixels that may still change, as a multiple of their predicted deviation, 0 to 1.
        anchor: how far predictions are corrected to meet the known pixels, 0 (the paper) to 1 (ours). The network repaints the known
            pixels too; its error there, extended over the hole by a membrane, is subtracted `anchor` times.
        memory: weight of the earlier passes' predictions in a running average, 0 (the paper) to below 1 (ours).
        refresh: whether pixels that are decided already are predicted anew in every pass (the paper) or stay as they are (ours).
        view: what the network sees. "hole": the hole and `context` around it, resized to the network's size; "whole": the whole picture,
            resized; "native": the whole picture at its own size; "auto" is "hole".
        context: what the view "hole" shows on each side of the hole, as a multiple of the hole's longer side, 0 to 1000.

    Raises:
        ValueError: a value out of its range.
    """

    iterations: int = 4
    schedule: str = "linear"
    alpha: float = 0.01
    anchor: float = 1.0
    memory: float = 0.3  # of `measurements.sdm --memory 0 0.15 0.3 --seed 5000`, the smallest with which the error falls up to pass 4
    refresh: bool = False
    view: str = "hole"
    context: float = 1.0

    def __post_init__(self):
        check_whole(self, iterations=1)
        if self.schedule not in SCHEDULES:
            raise ValueError(f"Unknown schedule '{self.schedule}': choose from {', '.join(SCHEDULES)}.")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must lie between 0 and 1, got {self.alpha}.")
        if not 0 <= self.anchor <= 1:
            raise ValueError(f"anchor must lie between 0 and 1, got {self.anchor}.")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory must be at least 0 and below 1, got {self.memory}.")
        check_view(self.view, self.context)


PRESETS = {"default": SDMSettings(), "paper": SDMSettings(anchor=0.0, memory=0.0, refresh=True)}
