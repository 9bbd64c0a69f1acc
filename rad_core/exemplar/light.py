"""Light that changes smoothly around a hole, on a sky or a wall: taken off before the hole is filled, and put on again.

Patches of a gradient fit nowhere but at their own height of it. Where a polynomial of second degree explains the colours around the
hole but for noise, what is left is the same everywhere, and so any patch fits.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..depth import depth_of
from ..losses import dilate
from .scene import Scene

LONGEST = 128  # pixels of the context's longer side at which the light is measured
SMOOTH, CLEAR = 0.03, 6.0  # deviation of the colours from the light, at most; variance of the light as a multiple of theirs, at least


def without_light(scene: Scene) -> tuple[Scene, Tensor | None]:
    """The scene with the light taken off, and the light (3, h, w) in [-1, 1]; the scene itself and None where it is not so simple."""
    factors = _light_of(scene)
    if factors is None:
        return scene, None
    light = _sum(factors, _powers(scene.size, len(factors), scene.hole.device))
    source = scene.sources[0]
    own = replace(source, colour=(source.colour - light).masked_fill_(~source.known, 0), half=None)
    content = None if scene.content is None else scene.content - light
    return replace(scene, sources=[own], content=content), light


def _light_of(scene: Scene) -> Tensor | None:
    """Factors of the powers of y and x, (n, 3), by least squares in a ring around the hole as wide as the hole is deep; or None.

    Where only some pixels may be copied, they must have that light too: elsewhere the polynomial means nothing.
    """
    size = scene.scaled(max(1.0, max(scene.size) / LONGEST))
    colour, share = scene.sources[0].at(size)
    hole = scene.holes_at(size)[0]
    if not hole.any():
        return None
    width = max(3, int(depth_of(hole, LONGEST).max()))
    ring = (dilate(hole[None].float(), width)[0] > 0) & (share > 0.99)
    border = hole.clone()
    border[1:-1, 1:-1] = False
    powers = _powers(size, 3 if border.any() else 6, hole.device)[:, ring].cpu().double()
    if powers.shape[1] < 60:
        return None
    colours = colour[:, ring].cpu().double()
    copied = None if scene.sources[0].copyable is None else (share > 0.99) & scene.sources[0].copyable_at(size)
    if copied is not None and not copied.any():
        return None
    products = lambda other: (powers[:, None] * other).sum(2)  # not lstsq, which rounds otherwise each time
    squares = products(powers) + 1e-9 * powers.shape[1] * torch.eye(len(powers))
    factors = torch.linalg.solve(squares, products(colours))
    fit = _sum(factors, powers)
    rest, light = (colours - fit).square().mean(), (fit - fit.mean(1, keepdim=True)).square().mean()
    if copied is not None:
        elsewhere = _sum(factors, _powers(size, len(factors), hole.device)[:, copied].cpu().double())
        rest = rest.maximum((colour[:, copied].cpu() - elsewhere).square().mean())
    return factors.float().to(hole.device) if rest < SMOOTH**2 and light > CLEAR * rest else None


def _sum(factors: Tensor, powers: Tensor) -> Tensor:
    """sum_n factors_nc powers_n, (n, 3) and (n, ...) -> (3, ...)."""
    light = 0
    for factor, power in zip(factors, powers, strict=True):
        light = light + factor.view(-1, *[1] * power.ndim) * power
    return light


def _powers(size: tuple[int, int], count: int, device: torch.device) -> Tensor:
    """1, y, x, y^2, yx, x^2 at pixels' centres, y and x from -1 to 1: the first `count` of them, (count, h, w)."""
    y, x = ((2 * torch.arange(side, device=device) + 1.0) / side - 1 for side in size)
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([torch.ones_like(y), y, x, y * y, y * x, x * x][:count])
