"""Synthetic landscapes made of Perlin noise: an endless supply of pictures, each from a seed and with its scene known.

Sky by time of day, sun or moon with glow, fBm clouds, three ridges with aerial perspective, trees or snow, and water that
mirrors everything above it. Distant parts of such a picture depend on each other (the sun and its reflection, the light and every
colour), so a method that continues only what is at the hole's rim does badly on them.
"""

from dataclasses import dataclass
from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from .noise import fractal_noise, generators, uniform

_CHUNK = 16  # pictures drawn at once: more no longer fit the processor's cache
UNSEEN = 10_000  # first seed of the test pictures; training pictures have seeds of 2 ** 40 and above

# Colours through the day, at 0 h, 5 h, 6.5 h, 12 h, 17.5 h, 19 h and again 24 h. Rows: RGB in [0, 1].
_HOURS = torch.tensor([0.0, 5.0, 6.5, 12.0, 17.5, 19.0, 24.0])
_ZENITH = torch.tensor(
    [
        [0.03, 0.04, 0.12],
        [0.12, 0.15, 0.35],
        [0.35, 0.45, 0.70],
        [0.15, 0.38, 0.78],
        [0.32, 0.35, 0.62],
        [0.14, 0.13, 0.32],
        [0.03, 0.04, 0.12],
    ]
)
_HAZE = torch.tensor(
    [
        [0.08, 0.10, 0.20],
        [0.55, 0.35, 0.40],
        [0.95, 0.70, 0.50],
        [0.70, 0.84, 0.94],
        [0.98, 0.62, 0.36],
        [0.60, 0.28, 0.32],
        [0.08, 0.10, 0.20],
    ]
)
_LIGHT = torch.tensor(
    [[0.30, 0.34, 0.48], [0.55, 0.48, 0.55], [1.0, 0.82, 0.66], [1.0, 1.0, 0.96], [1.0, 0.74, 0.52], [0.58, 0.44, 0.52], [0.30, 0.34, 0.48]]
)
_DISC = torch.tensor(
    [
        [0.92, 0.93, 0.88],
        [0.95, 0.85, 0.75],
        [1.0, 0.88, 0.62],
        [1.0, 0.98, 0.88],
        [1.0, 0.80, 0.48],
        [0.96, 0.74, 0.60],
        [0.92, 0.93, 0.88],
    ]
)

_GROUNDS = torch.tensor(
    [[0.26, 0.40, 0.18], [0.42, 0.38, 0.20], [0.46, 0.32, 0.22], [0.30, 0.32, 0.36], [0.40, 0.26, 0.34], [0.20, 0.36, 0.32]]
)


@dataclass
class Scene:
    """What a batch of landscapes shows. All (n,) float tensors; positions and sizes are fractions of the picture's side."""

    hour: Tensor  # time of day in [0, 24)
    horizon: Tensor  # row of the far shore, or of the foot of the hills
    disc_x: Tensor  # centre of the sun or moon
    disc_y: Tensor
    disc_radius: Tensor
    cloud_cover: Tensor  # 0 clear to 1 overcast
    water: Tensor  # 1 where there is water below the horizon, else 0
    snow: Tensor  # 1 where the far ridge carries snow
    trees: Tensor  # 1 where the near ridge carries trees
    ground: Tensor  # index of the ground's palette


def _by_hour(table: Tensor, hour: Tensor) -> Tensor:
    """Colour at an hour, interpolated linearly between the table's rows. (n,) -> (n, 3, 1, 1)."""
    k = (torch.searchsorted(_HOURS, hour, right=True) - 1).clamp(0, len(_HOURS) - 2)
    fraction = ((hour - _HOURS[k]) / (_HOURS[k + 1] - _HOURS[k])).unsqueeze(1)
    return torch.lerp(table[k], table[k + 1], fraction)[:, :, None, None]


def _draw_scene(streams: list[torch.Generator], hour: float | None) -> Scene:
    u = uniform(streams, (10,))
    horizon = 0.48 + 0.2 * u[:, 1]
    return Scene(
        hour=u[:, 0] * 24 if hour is None else torch.full_like(u[:, 0], hour % 24),
        horizon=horizon,
        disc_x=0.1 + 0.8 * u[:, 2],
        disc_y=0.08 + (horizon - 0.22) * u[:, 3],
        disc_radius=0.035 + 0.03 * u[:, 4],
        cloud_cover=u[:, 5],
        water=(u[:, 6] < 0.65).float(),
        snow=(u[:, 7] < 0.4).float(),
        trees=(u[:, 8] < 0.6).float(),
        ground=(u[:, 9] * len(_GROUNDS)).floor(),
    )


def _over(below: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    """Alpha compositing."""
    return torch.lerp(below, colour, alpha)


def _sky(scene: Scene, streams: list[torch.Generator], y: Tensor, x: Tensor, light: Tensor) -> Tensor:
    size = y.shape[1]
    yy, xx = y[:, None, :, None], x[:, None, None, :]
    column = lambda v: v[:, None, None, None]
    haze, disc = _by_hour(_HAZE, scene.hour), _by_hour(_DISC, scene.hour)
    sky = _over(_by_hour(_ZENITH, scene.hour), haze, (yy / column(scene.horizon)).clamp(0, 1) ** 1.6)
    distance = ((yy - column(scene.disc_y)) ** 2 + (xx - column(scene.disc_x)) ** 2).sqrt()
    sky = _over(sky, disc, 0.55 * torch.exp(-((distance / 0.16) ** 2)))
    sky = _over(sky, disc, ((column(scene.disc_radius) - distance) * size + 0.5).clamp(0, 1))
    # Clouds are wider than high and thin out towards the haze.
    puffs = fractal_noise(streams, 4, 4, (y * 1.6).clamp(max=1), x * 0.8)[:, None]
    cover = ((puffs - 0.45 + 0.75 * column(scene.cloud_cover)) * 2.2).clamp(0, 1) * (1 - (yy / column(scene.horizon)).clamp(0, 1) ** 3)
    return _over(sky, 0.82 * light + 0.18 * haze, 0.85 * cover)


def _ridges(scene: Scene, streams: list[torch.Generator], y: Tensor, x: Tensor, sky: Tensor, light: Tensor) -> Tensor:
    size = y.shape[1]
    picture, yy = sky, y[:, None, :, None]
    haze, ground = _by_hour(_HAZE, scene.hour), _GROUNDS[scene.ground.long()][:, :, None, None]
    flag = lambda v: v[:, None, None, None]
    texture = fractal_noise(streams, 8, 3, y, x)[:, None]
    middle = torch.full_like(y[:, :1], 0.5)
    for rank, (height, cells, aerial) in enumerate([(0.30, 3, 0.62), (0.19, 4, 0.34), (0.10, 5, 0.06)]):
        line = fractal_noise(streams, cells, 4, middle, x)[:, None]  # (n, 1, 1, W)
        crest = height * (0.5 + 0.9 * line).clamp(min=0.03)
        if rank == 2:
            spikes = fractal_noise(streams, 24, 1, middle, x)[:, None].abs()
            crest = crest + 0.07 * spikes * flag(scene.trees)
        top = flag(scene.horizon) - crest
        colour = ground * (0.95 - 0.18 * rank) * (1 + 0.35 * texture)
        if rank == 0:
            white = ((flag(scene.horizon) - yy - 0.55 * height + 0.08 * texture) * 24).clamp(0, 1) * flag(scene.snow)
            colour = _over(colour, torch.ones_like(colour) * 0.95, white)
        colour = _over(colour * light, haze, light.new_tensor(aerial))
        picture = _over(picture, colour, ((yy - top) * size + 0.5).clamp(0, 1))
    return picture


def _foreground(scene: Scene, streams: list[torch.Generator], y: Tensor, x: Tensor, above: Tensor, light: Tensor) -> Tensor:
    size = y.shape[1]
    yy, horizon = y[:, None, :, None], scene.horizon[:, None, None, None]
    depth = ((yy - horizon) / (1 - horizon)).clamp(0, 1)
    ripple = fractal_noise(streams, 16, 2, y, x * 0.35)[:, None]
    # Water mirrors the row that is as far above the horizon as it is below; ripples shift the mirror image, more so in front.
    mirror_y = (2 * horizon - yy).expand_as(ripple) + 0.03 * ripple * depth
    mirror_x = x[:, None, None, :].expand_as(ripple) + 0.05 * ripple * depth
    grid = torch.stack([mirror_x[:, 0], mirror_y[:, 0]], -1) * 2 - 1
    mirror = F.grid_sample(above, grid, padding_mode="border", align_corners=False)
    lake = _over(mirror * 0.86, light.new_tensor([0.10, 0.22, 0.30])[:, None, None] * light, 0.12 + 0.25 * depth)
    grass = fractal_noise(streams, 12, 3, y, x)[:, None]
    meadow = _GROUNDS[scene.ground.long()][:, :, None, None] * light * (1.05 - 0.45 * depth) * (1 + 0.4 * grass)
    below = _over(meadow, lake, scene.water[:, None, None, None])
    return _over(above, below, ((yy - horizon) * size + 0.5).clamp(0, 1))


@overload
def landscapes(n: int, size: int, seed: int = 0, hour: float | None = None, return_scene: Literal[False] = False) -> Tensor: ...


@overload
def landscapes(n: int, size: int, seed: int = 0, hour: float | None = None, *, return_scene: Literal[True]) -> tuple[Tensor, Scene]: ...


def landscapes(n: int, size: int, seed: int = 0, hour: float | None = None, return_scene: bool = False) -> Tensor | tuple[Tensor, Scene]:
    """Draw synthetic landscapes. Picture k depends on `seed + k` alone, and shows the same scene at every size.

    Args:
        n: how many.
        size: side in pixels, at least 8.
        seed: picture k uses seed + k.
        hour: time of day in [0, 24], both midnight, of all pictures; None draws one for each.
        return_scene: return the `Scene` as well.

    Returns:
        (n, 3, size, size) float32 in [0, 1]; with `return_scene`, the pair of it and the scene.

    Raises:
        ValueError: `size` is below 8, `n` below 1, or `hour` out of its range.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    if hour is not None and not 0 <= hour <= 24:
        raise ValueError(f"hour must lie between 0 and 24, got {hour}.")
    if size < 8:
        raise ValueError(f"A landscape needs a size of at least 8 pixels, got {size}.")
    streams = generators(seed, n, "landscape")
    parts = [_draw(streams[first : first + _CHUNK], size, hour) for first in range(0, n, _CHUNK)]
    pictures = torch.cat([pictures for pictures, _ in parts])
    if not return_scene:
        return pictures
    return pictures, Scene(**{name: torch.cat([vars(scene)[name] for _, scene in parts]) for name in vars(parts[0][1])})


def _draw(streams: list[torch.Generator], size: int, hour: float | None) -> tuple[Tensor, Scene]:
    """One picture per stream, and what they show."""
    scene = _draw_scene(streams, hour)
    y = x = ((torch.arange(size, dtype=torch.float32) + 0.5) / size).expand(len(streams), size)
    light = _by_hour(_LIGHT, scene.hour)
    above = _ridges(scene, streams, y, x, _sky(scene, streams, y, x, light), light)
    return _foreground(scene, streams, y, x, above, light).clamp(0, 1), scene
