"""What the methods' settings have in common: presets by name, and how a diffusion run samples."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import TypeVar

from .samplers import STEPS, choose_sampler

VIEWS = ("auto", "hole", "whole", "native")
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Redraw:
    """How an enlarged fill is redrawn: from noise `sigma`, in so many steps."""

    sigma: float
    steps: int


OWN_REDRAW = Redraw(0.35, 8)  # by the network that filled, at a size that it was not trained for: it may change the finest shapes alone
TRAINED_REDRAW = Redraw(3.0, 48)  # by a network that was trained for it


def resolve_settings(settings: Settings | str, presets: Mapping[str, Settings], changes: Mapping[str, object]) -> Settings:
    """Settings by a preset's name or as they are, with some fields replaced.

    Raises:
        ValueError: an unknown preset or field, or a value out of its range.
    """
    if isinstance(settings, str):
        if settings not in presets:
            raise ValueError(f"Unknown preset '{settings}': choose from {', '.join(presets)}.")
        settings = presets[settings]
    expected = type(presets["default"])
    if not isinstance(settings, expected):
        raise ValueError(f"settings must be a preset's name or {expected.__name__}, got {type(settings).__name__}.")
    known = [field.name for field in fields(settings)]
    if unknown := [name for name in changes if name not in known]:
        raise ValueError(f"{expected.__name__} has no field '{unknown[0]}': it has {', '.join(known)}.")
    return replace(settings, **changes)


def check_whole(settings: object, **least: int) -> None:
    """Raise ValueError for fields of settings that are no whole numbers of at least so much."""
    for name, low in least.items():
        value = getattr(settings, name)
        if not isinstance(value, Integral) or value < low:
            raise ValueError(f"{name} must be a whole number of at least {low}, got {value!r}.")


def check_view(view: str, context: float) -> None:
    """Raise ValueError for an unknown view, or a context out of its range."""
    if view not in VIEWS:
        raise ValueError(f"Unknown view '{view}': choose from {', '.join(VIEWS)}.")
    if not 0 <= context <= 1000:
        raise ValueError(f"context must lie between 0 and 1000, got {context}.")


@dataclass(frozen=True)
class SamplingSettings:
    """How a diffusion network samples, and what it sees of a picture.

    Args:
        steps: steps of the sampler, 1 to 1000, the length of networks' schedules; None for what suits the sampler (`samplers.STEPS`).
        sampler: "ddim", "dpmpp_2m", or "ddpm", which is the papers'.
        eta: noise of "ddim", 0 (none) to 1 (as much as ddpm).
        view: what the network sees. "hole": the hole and `context` around it, resized to the network's size; "whole": the whole picture,
            resized; "native": the whole picture at its own size; "auto": the network's own way, tiles at the picture's own scale for
            networks trained on tiles (`UNetConfig.tiles`), "hole" for all others.
        context: what the view "hole" shows on each side of the hole, as a multiple of the hole's longer side, 0 to 1000.
        detail: where the network does not see hole and surroundings at their own size, the enlarged fill is redrawn at twice the network's
            size, in 8 steps of about four times the cost from a noise of sigma 0.35 (`OWN_REDRAW`), or in 48 from 3 if a network that was
            trained for it redraws (`TRAINED_REDRAW`). More, up to 10 times the noise, changes the fill more, and less changes it less;
            0: it is only enlarged, and looks soft. Not from the papers.

    Raises:
        ValueError: a value out of its range.
    """

    steps: int | None = None
    sampler: str = "ddim"
    eta: float = 0.0
    view: str = "auto"
    context: float = 1.0
    detail: float = 1.0

    def __post_init__(self):
        if not 0 <= self.detail <= 10:
            raise ValueError(f"detail must lie between 0 and 10, got {self.detail}.")
        if self.steps is not None and not (isinstance(self.steps, Integral) and 1 <= self.steps <= 1000):
            raise ValueError(f"steps must be a whole number between 1 and 1000, got {self.steps!r}.")
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta is the noise of ddim, not of {self.sampler}: leave it at 0, or choose ddim.")
        choose_sampler(self.sampler, self.eta)
        check_view(self.view, self.context)

    @property
    def step_count(self) -> int:
        """Steps of the run: `steps`, or what suits the sampler."""
        return STEPS[self.sampler] if self.steps is None else self.steps
