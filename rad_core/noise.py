"""Seeded random numbers and Perlin gradient noise.

One rule for the whole library: picture k of a batch gets its own generator, seeded with `seed + k`. A picture therefore does
not depend on the batch it was in, and because the generators live on the CPU it does not depend on the device either. Numbers
drawn for different purposes from the same seed are independent.

Source of the gradient noise: Ken Perlin, "An image synthesizer" (1985), with the quintic fade of "Improving noise" (2002).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import index

import numpy as np
import torch
from torch import Tensor


def seed_list(seed: int | Sequence[int], count: int) -> list[int]:
    """The seed of each of `count` pictures: seed, seed + 1, ... or the given list.

    Raises:
        ValueError: the list does not have `count` entries, or something is not a whole number.
    """
    seed = seed.tolist() if isinstance(seed, Tensor | np.ndarray) else seed
    try:
        seeds = [index(one) for one in seed] if isinstance(seed, Sequence) else [index(seed) + k for k in range(count)]
    except TypeError:
        raise ValueError(f"seed must be a whole number, or a list of {count}, got {seed!r}.") from None
    if len(seeds) != count:
        raise ValueError(f"{count} pictures need {count} seeds (or one to count up from), got {len(seeds)}.")
    return seeds


def generators(seed: int | Sequence[int], count: int, purpose: str) -> list[torch.Generator]:
    """One CPU generator per picture.

    Seed and purpose are hashed together: otherwise a mask and a picture of the same seed would use the same random numbers, and
    torch's CPU generator uses only the low 32 bits of a seed, so that two different seeds could give the same stream.

    Args:
        seed: picture k uses `seed + k`, or its entry of a list of `count` seeds (any integers).
        count: how many pictures.
        purpose: what the numbers are for; every purpose has its own stream.

    Raises:
        ValueError: the list does not have `count` entries.
    """
    hashed = (np.random.SeedSequence([s % 2**64, *purpose.encode()]).generate_state(1)[0] for s in seed_list(seed, count))
    return [torch.Generator().manual_seed(int(h)) for h in hashed]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator inside the `with` block (layers draw their initial weights from it), and restore it afterwards."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        yield


def normal(streams: Sequence[torch.Generator], shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers, (len(streams), *shape) float32: row k comes from stream k."""
    return torch.stack([torch.randn(tuple(shape), generator=g, dtype=torch.float32) for g in streams]).to(device)


def uniform(streams: Sequence[torch.Generator], shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Uniform numbers in [0, 1), (len(streams), *shape) float32: row k comes from stream k."""
    return torch.stack([torch.rand(tuple(shape), generator=g, dtype=torch.float32) for g in streams]).to(device)


def fade(t: Tensor) -> Tensor:
    """Perlin's quintic fade, 6 t^5 - 15 t^4 + 10 t^3: first and second derivatives are 0 at both ends."""
    return t * t * t * (t * (t * 6 - 15) + 10)


def _axis(coords: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """The fade weight of every lattice point for every pixel, and weight times offset. Both (B, pixels, points)."""
    offset = coords.unsqueeze(-1) - torch.arange(points, device=coords.device, dtype=coords.dtype)
    weight = fade((1 - offset.abs()).clamp_(min=0))
    return weight, weight * offset


def gradient_noise(gradients: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Perlin noise: the faded sum over the four lattice corners of <gradient, offset from the corner>.

    The sum is separable, so two small matrix products replace the usual gathers: with W the fade weights of an axis and D the
    weights times offsets, noise = W_y (G_x D_x^T) + D_y (G_y W_x^T) [+ W_y (C W_x^T)].

    Args:
        gradients: (B, 2, rows, columns), the x and y components at the lattice points. An optional third channel C holds a value
            that is added at each point (the contribution of a third axis, see `masks.animated_perlin_masks`).
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
    """Random unit vectors on a lattice, (2, rows, columns). With `tile`, the last row and column repeat the first."""
    angle = torch.rand(rows, columns, generator=stream, dtype=torch.float32) * (2 * torch.pi)
    if tile:
        angle[-1] = angle[0]
        angle[:, -1] = angle[:, 0]
    return torch.stack([angle.cos(), angle.sin()])


def fractal_noise(streams: Sequence[torch.Generator], cells: int, octaves: int, y: Tensor, x: Tensor) -> Tensor:
    """Fractal Brownian motion: octaves of gradient noise, each with twice the frequency and half the amplitude of the one before.

    Args:
        streams: one generator per picture.
        cells: lattice cells across the unit interval in the first octave.
        octaves: how many octaves are added up.
        y, x: (B, H) and (B, W) coordinates in [0, 1].

    Returns:
        (B, H, W), within about [-1, 1].
    """
    total, amplitude = torch.zeros(()), 1.0
    for _ in range(octaves):
        angle = uniform(streams, (cells + 1, cells + 1)) * (2 * torch.pi)  # as `unit_gradients`, all at once
        total = total + amplitude * gradient_noise(torch.stack([angle.cos(), angle.sin()], 1), y * cells, x * cells)
        cells, amplitude = cells * 2, amplitude / 2
    return total
