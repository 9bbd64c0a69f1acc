"""Adaptive discriminator augmentation (Karras et al. 2020, "Training GANs with limited data").

The discriminator sees pictures that are rotated, shifted and recoloured, with a probability that rises while it overfits.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..noise import normal, uniform

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (picture, known) -> both transformed; differentiable
MAX_PROBABILITY = 0.8


class Augment:
    """Random transforms, each applied with a probability that adapts to the discriminator.

    Args:
        target: the mean sign of the discriminator's scores of real pictures to aim for.
        pictures: how many pictures it takes for the probability to go from 0 to 1.
    """

    def __init__(self, target: float = 0.6, pictures: float = 100_000):
        self.target, self.pictures, self.probability = target, pictures, 0.0

    def adapt(self, sign: float, pictures: int) -> None:
        """Adapt the probability after a step.

        Args:
            sign: the mean sign of the scores of the step's real pictures.
            pictures: how many there were.
        """
        change = math.copysign(pictures / self.pictures, sign - self.target)
        self.probability = min(MAX_PROBABILITY, max(0.0, self.probability + change))

    def __call__(self, picture: Tensor, known: Tensor, streams: list[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Transform a batch: geometry applies to picture (B, 3, H, W) and known (B, 1, H, W), colour to the picture alone."""
        return self.sample(picture.shape[-1], streams)(picture, known)

    def sample(self, size: int, streams: list[torch.Generator]) -> Transform:
        """Sample one random transform per stream, for use on several batches of as many pictures."""
        if self.probability == 0:
            return lambda picture, known: (picture, known)
        u, z = uniform(streams, (12,)), normal(streams, (5,))
        geometry, colour = self._geometry(u, z, size), self._colour(u, z)

        def transform(picture: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
            both = torch.cat([picture, known], 1)
            grid = F.affine_grid(geometry.to(both), both.shape, align_corners=False)
            both = F.grid_sample(both, grid, padding_mode="reflection", align_corners=False)
            matrix = colour.to(both)
            picture = torch.einsum("bij,bjhw->bihw", matrix[:, :, :3], both[:, :3]) + matrix[:, :, 3, None, None]
            return picture, both[:, 3:].round()

        return transform

    def _geometry(self, u: Tensor, z: Tensor, size: int) -> Tensor:
        """Sampling matrices (B, 2, 3): flip, quarter turns, whole-pixel shifts, scale and rotation."""
        enabled = lambda k: (u[:, k] < self.probability).float()
        flip = 1 - 2 * enabled(0) * (u[:, 1] < 0.5)
        angle = enabled(2) * (u[:, 3] * 4).floor() * (math.pi / 2) + enabled(4) * (u[:, 5] * 2 - 1) * math.pi
        scale = 2 ** (0.2 * z[:, 0] * enabled(6))
        shift = enabled(7)[:, None] * ((u[:, 8:10] - 0.5) * size / 4).round() * (2 / size)
        cos, sin = angle.cos() * scale, angle.sin() * scale
        return torch.stack([torch.stack([flip * cos, -sin, shift[:, 0]], 1), torch.stack([flip * sin, cos, shift[:, 1]], 1)], 1)

    def _colour(self, u: Tensor, z: Tensor) -> Tensor:
        """Colour matrices (B, 3, 4): brightness, contrast and saturation."""
        if_enabled = lambda values: torch.where(u[:, 10] < self.probability, values, 0)
        grey = torch.full((3, 3), 1 / 3)
        saturation = 2 ** if_enabled(z[:, 1])[:, None, None]
        matrix = 2 ** if_enabled(0.5 * z[:, 2])[:, None, None] * (grey + saturation * (torch.eye(3) - grey))
        return torch.cat([matrix, if_enabled(0.2 * z[:, 3])[:, None, None].expand(-1, 3, 1)], 2)

    def state_dict(self) -> dict:
        return {"probability": self.probability}

    def load_state_dict(self, state: dict) -> None:
        self.probability = state["probability"]
