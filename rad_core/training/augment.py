"""Adaptive discriminator augmentation (Karras et al. 2020, "Training GANs with limited data"): the judge sees pictures turned, moved
and tinted, with a chance that rises while it knows its training pictures by heart."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..noise import normal, uniform

Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (picture, mask) -> the same, changed; differentiable


class Augment:
    """Chance of each change, and how it follows the judge.

    Args:
        target: wanted mean sign of the scores of real pictures. pictures: how many it takes for the chance to go from 0 to 1.
    """

    def __init__(self, target: float = 0.6, pictures: float = 100_000):
        self.target, self.pictures, self.chance = target, pictures, 0.0

    def adapt(self, sign: float, pictures: int) -> None:
        """Move the chance after a step, given the mean sign of the scores of its real pictures."""
        change = math.copysign(pictures / self.pictures, sign - self.target)
        self.chance = min(0.8, max(0.0, self.chance + change))

    def __call__(self, picture: Tensor, mask: Tensor, streams: list[torch.Generator]) -> tuple[Tensor, Tensor]:
        """picture (B, 3, H, W), mask (B, 1, H, W). Geometry goes with both, colour with the picture alone."""
        return self.draw(len(picture), picture.shape[-1], streams)(picture, mask)

    def draw(self, n: int, size: int, streams: list[torch.Generator]) -> Change:
        """One draw, to be used on several batches of n."""
        if self.chance == 0:
            return lambda picture, mask: (picture, mask)
        u, z = uniform(streams, (12,)), normal(streams, (5,))
        geometry, colour = self._geometry(u, z, size), self._colour(u, z)

        def change(picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            both = torch.cat([picture, mask], 1)
            grid = F.affine_grid(geometry.to(both), both.shape, align_corners=False)
            both = F.grid_sample(both, grid, padding_mode="reflection", align_corners=False)
            matrix = colour.to(both)
            picture = torch.einsum("bij,bjhw->bihw", matrix[:, :, :3], both[:, :3]) + matrix[:, :, 3, None, None]
            return picture, both[:, 3:].round()

        return change

    def _geometry(self, u: Tensor, z: Tensor, size: int) -> Tensor:
        """(B, 2, 3): where each pixel comes from. Flip, quarter turns, whole-pixel shifts, scale, turn."""
        yes = lambda k: (u[:, k] < self.chance).float()
        flip = 1 - 2 * yes(0) * (u[:, 1] < 0.5)
        turn = yes(2) * (u[:, 3] * 4).floor() * (math.pi / 2) + yes(4) * (u[:, 5] * 2 - 1) * math.pi
        scale = 2 ** (0.2 * z[:, 0] * yes(6))
        shift = yes(7)[:, None] * ((u[:, 8:10] - 0.5) * size / 4).round() * (2 / size)
        cos, sin = turn.cos() * scale, turn.sin() * scale
        return torch.stack([torch.stack([flip * cos, -sin, shift[:, 0]], 1), torch.stack([flip * sin, cos, shift[:, 1]], 1)], 1)

    def _colour(self, u: Tensor, z: Tensor) -> Tensor:
        """(B, 3, 4): brightness, contrast, saturation."""
        yes = lambda values: torch.where(u[:, 10] < self.chance, values, 0)
        grey = torch.full((3, 3), 1 / 3)
        saturation = 2 ** yes(z[:, 1])[:, None, None]
        matrix = 2 ** yes(0.5 * z[:, 2])[:, None, None] * (grey + saturation * (torch.eye(3) - grey))
        return torch.cat([matrix, yes(0.2 * z[:, 3])[:, None, None].expand(-1, 3, 1)], 2)

    def state_dict(self) -> dict:
        return {"chance": self.chance}

    def load_state_dict(self, state: dict) -> None:
        self.chance = state["chance"]
