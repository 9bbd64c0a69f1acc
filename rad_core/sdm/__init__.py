"""SDM, the spatial diffusion model: a network that fills a hole in a few passes, the most certain pixels first, and says how sure it is."""

from .iterate import SCHEDULES, Iteration, iterate
from .network import Discriminator, Generator, SDMConfig

__all__ = ["SCHEDULES", "Discriminator", "Generator", "Iteration", "SDMConfig", "iterate"]
