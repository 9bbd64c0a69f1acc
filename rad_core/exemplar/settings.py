"""Every parameter of the exemplar method, with its defaults."""

from dataclasses import dataclass
from math import isfinite
from numbers import Integral

from ..settings import check_whole


@dataclass(frozen=True)
class ExemplarSettings:
    """How to fill a hole with the picture's own patches. The defaults are the preset `default`.

    Args:
        patch: side of a patch in pixels, odd. Where no patch of that side is known, 3 is used.
        steps: denoising steps per level, from the coarsest; the last number serves all finer levels.
        sigma_max, sigma_min: noise at the first and last step of the coarsest level, in units of [-1, 1].
        sigma: noise at the start of every finer level; it falls linearly to 0.
        tau: how far true patches are from the picture's own ones: the blur of the prior.
        falloff: confidence of a hole pixel is falloff^-depth, depth being its distance from the known pixels.
        texture: weight of the two texture channels (mean |dx| and |dy| around a pixel) beside the colours; 0 for none.
        near: cost of a source far away: added to d (a mean squared difference of colours) per height of the hole's context; 0 for none.
        factor: scale between levels, above 1.
        quantile: which share of the patches over a pixel counts as well fitting in the vote.
        random: random candidates per step, besides those of the neighbours.
        common: candidates per step among the offsets that most patches agree on.
        coarsest: depth of the hole, in pixels, at which the pyramid starts.
        lines: most lines that are continued through a hole; 0 for none, and where there are references or frames.
        limit: pairs of patches up to which all are compared in one search.
        reach: context around a hole, in multiples of the hole's thickness (32 pixels are added).
        context: most pixels of that context (or 8 for each pixel of the hole, if that is more).
        tile: longer holes that are thin are filled in tiles of about this many pixels.
        coherence: weight of visible seams when each pixel chooses its source on the finest level; 0 for the most certain vote alone.
        sweeps: rounds of that choice.
        poisson: steps of conjugate gradients that hide seams; 0 for none.
        eps: how strongly colours are held to their sources' in that blend.
        rho: jumps of colour above this are real edges, which the blend leaves alone.
        order_depth: how many pixels deeper in the hole the last part of an order map counts.
        frames_near: for video, how many frames before and after each frame may serve as its references.

    Raises:
        ValueError: a value out of its range.
    """

    patch: int = 5
    steps: tuple[int, ...] = (12, 8, 6, 5, 4, 3, 3, 2)
    sigma_max: float = 3.0
    sigma_min: float = 0.02
    sigma: float = 0.3
    tau: float = 0.05
    falloff: float = 1.3
    texture: float = 3.0
    near: float = 0.03
    factor: float = 1.5
    quantile: float = 0.33
    random: int = 1
    common: int = 1
    coarsest: float = 2.5
    lines: int = 12
    limit: float = 3e7
    reach: float = 2.0
    context: float = 3e6
    tile: int = 256
    coherence: float = 1.0
    sweeps: int = 4
    poisson: int = 120
    eps: float = 0.001
    rho: float = 0.7
    order_depth: float = 12.0
    frames_near: int = 32

    def __post_init__(self):
        if not isinstance(self.steps, tuple | list):
            raise ValueError(f"steps has a number for each level, such as (12, 8, 6), got {self.steps!r}.")
        check_whole(self, patch=3, random=0, common=0, lines=0, tile=1, sweeps=0, poisson=0, frames_near=0)
        for name, value in vars(self).items():
            if name not in ("steps", "limit", "context") and not isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value}.")
        if self.patch % 2 == 0:
            raise ValueError(f"patch must be odd, got {self.patch}.")
        if not self.steps or not all(isinstance(count, Integral) and count >= 1 for count in self.steps):
            raise ValueError(f"steps needs at least one number, each whole and 1 or more, got {self.steps}.")
        for name in ("sigma_max", "sigma_min", "tau", "limit", "context", "coarsest", "rho"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")
        for name, least in (("falloff", 1), ("factor", 1.1)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        if not 0 <= self.quantile < 1:
            raise ValueError(f"quantile must be at least 0 and below 1, got {self.quantile}.")
        for name in ("sigma", "texture", "near", "reach", "coherence", "eps", "order_depth"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}.")

    def steps_of(self, level: int) -> int:
        """Steps of a level, counted from the coarsest."""
        return self.steps[min(level, len(self.steps) - 1)]


PRESETS = {
    "default": ExemplarSettings(),
    "fast": ExemplarSettings(steps=(10, 4, 3, 2, 2, 2, 2, 1), factor=2.0, limit=1e7),
    "best": ExemplarSettings(steps=(12, 8, 6, 5, 4, 4, 3), limit=1e8, random=2),
}
