"""SDM, the spatial diffusion model: fills holes in a few passes, the most certain pixels first, and returns how uncertain each one is."""

from .files import bundled_sdms, inspect_sdm, load_sdm, save_sdm
from .inpaint import OneShot, sdm_inpaint
from .iterate import Iteration, iterate
from .network import Discriminator, Generator, SDMConfig
from .settings import PRESETS, SCHEDULES, SDMSettings

__all__ = [
    "PRESETS",
    "SCHEDULES",
    "Discriminator",
    "Generator",
    "Iteration",
    "OneShot",
    "SDMConfig",
    "SDMSettings",
    "bundled_sdms",
    "inspect_sdm",
    "iterate",
    "load_sdm",
    "save_sdm",
    "sdm_inpaint",
]
