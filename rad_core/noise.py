"""Seeded random numbers and Perlin gradient noise.

One rule for the whole library: picture k of a batch that was asked for with `seed` is drawn from its own generator, for
`seed + k`. So a picture does not depend on the batch it was in, and because the generators live on the CPU it does not
depend on the device either. What is drawn for different purposes from one seed has nothing in common.

Source of the noise: Ken Perlin, "An image synthesizer" (1985), with the quintic fade of "Improving noise" (2002).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def generators(seed: int | Sequence[int], count: int, purpose: str) -> list[torch.Generator]:
    """One CPU generator per picture, for seeds `seed, seed + 1, ...` or the given list of `count` seeds (any integers).

    Seed and purpose are hashed together. Without that, a mask and a picture of the same seed would be drawn from the same
    numbers; and torch's CPU generator heeds only the low 32 bits of a seed, so distant seeds could be the same one.

    Raises:
        ValueError: a list of another length.
    """
    seeds = [int(seed) + k for k in range(count)] if not isinstance(seed, Sequence) else list(seed)
    if len(seeds) != count:
        raise ValueError(f"{count} pictures need {count} seeds (or one to count up from), got {len(seeds)}.")
    hashed = (np.random.SeedSequence([s % 2**64, *purpose.encode()]).generate_state(1)[0] for s in seeds)
    return [torch.Generator().manual_seed(int(h)) for h in hashed]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What torch's layers draw for their first weights is drawn from a seed here; torch's own stream is left as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        yield


def normal(streams: Sequence[torch.Generator], shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers, (len(streams), *shape) float32: row k comes from stream k."""
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in streams]).to(device)


def uniform(streams: Sequence[torch.Generator], shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Uniform numbers in [0, 1), (len(streams), *shape) float32: row k comes from stream k."""
    return torch.stack([torch.rand(tuple(shape), generator=g) for g in streams]).to(device)


def fade(t: Tensor) -> Tensor:
    """6 t^5 - 15 t^4 + 10 t^3: the S-curve between two lattice points, flat to second order at both."""
    return t * t * t * (t * (t * 6 - 15) + 10)


def _axis(coords: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Weight of every lattice point for every pixel, and weight times offset. Both (B, pixels, points)."""
    offset = coords.unsqueeze(-1) - torch.arange(points, device=coords.device, dtype=coords.dtype)
    weight = fade((1 - offset.abs()).clamp_(min=0))
    return weight, weight * offset


def gradient_noise(gradients: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Perlin noise: the faded sum over the four lattice corners of <gradient, offset from the corner>.

    The sum is separable, so it is two small matrix products instead of gathers: with W the fade weights of an axis and D the
    weights times offsets, noise = W_y (G_x D_x^T) + D_y (G_y W_x^T) [+ W_y (C W_x^T)].

    Args:
        gradients: (B, 2, rows, columns) x and y components at the lattice points; a third channel C, if there, is a value
            added at the points (the contribution of a further axis, see `slice_in_time`).
        y: (B, H) row coordinates in lattice units, within [0, rows - 1].
        x: (B, W) column coordinates in lattice units, within [0, columns - 1].

    Returns:
        (B, H, W), within about [-1, 1] for unit gradients.
    """
    weight_y, offset_y = _axis(y, gradients.shape[2])
    weight_x, offset_x = (a.transpose(1, 2) for a in _axis(x, gradients.shape[3]))
    across = gradients[:, 0] @ offset_x
    if gradients.shape[1] == 3:
        across = across + gradients[:, 2] @ weight_x
    return torch.cat([weight_y, offset_y], 2) @ torch.cat([across, gradients[:, 1] @ weight_x], 1)


def unit_gradients(stream: torch.Generator, rows: int, columns: int, tile: bool = False) -> Tensor:
    """Random unit vectors on a lattice, (2, rows, columns). With `tile` the last row and column repeat the first."""
    angle = torch.rand(rows, columns, generator=stream) * (2 * torch.pi)
    if tile:
        angle[-1] = angle[0]
        angle[:, -1] = angle[:, 0]
    return torch.stack([angle.cos(), angle.sin()])


def fractal_noise(streams: Sequence[torch.Generator], cells: int, octaves: int, y: Tensor, x: Tensor) -> Tensor:
    """Fractal Brownian motion: `octaves` of gradient noise, each of twice the frequency and half the height.

    Args:
        cells: lattice cells across the unit interval in the first octave.
        y, x: (B, H) and (B, W) coordinates in [0, 1].

    Returns:
        (B, H, W), within about [-1, 1].
    """
    total, height = torch.zeros(()), 1.0
    for _ in range(octaves):
        gradients = torch.stack([unit_gradients(g, cells + 1, cells + 1) for g in streams])
        total = total + height * gradient_noise(gradients, y * cells, x * cells)
        cells, height = cells * 2, height / 2
    return total
