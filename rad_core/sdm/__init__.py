"""SDM, the spatial diffusion model: a network that fills a hole in a few passes, the most certain pixels first, and says how sure it is."""

from .files import bundled_sdms, inspect_sdm, load_sdm, save_sdm
from .inpaint import OneShot, sdm_inpaint
from .iterate import MEMORY, SCHEDULES, Iteration, iterate
from .network import Discriminator, Generator, SDMConfig

__all__ = [
    "MEMORY",
    "SCHEDULES",
    "Discriminator",
    "Generator",
    "Iteration",
    "OneShot",
    "SDMConfig",
    "bundled_sdms",
    "inspect_sdm",
    "iterate",
    "load_sdm",
    "save_sdm",
    "sdm_inpaint",
]
