"""Masks. One meaning everywhere: 1 = hole, 0 = keep, values between = how strongly a pixel may change.

Every function returns (n, 1, H, W) float32 in [0, 1]; mask k depends on `seed + k` alone, not on n nor on the device
(up to rounding: soft masks, and single pixels at the edge of a Perlin mask's blobs).
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from .boxes import tile_box
from .noise import fade, generators, gradient_noise, unit_gradients

MOST_NODES = 2**27  # of the lattice of moving noise


def perlin_masks(
    n: int,
    height: int,
    width: int,
    seed: int = 0,
    scale: float | None = None,
    area: float | None = None,
    octaves: int = 1,
    softness: float = 0.0,
    tile: bool = False,
    invert: bool = False,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Thresholded Perlin noise: the masks RAD is trained with (RAD 3.2, Fig. 3).

    Where `scale` or `area` is None, it is drawn as in training: the lattice period uniformly from [1, height] pixels, the number of
    hole pixels uniformly from {0, ..., HW}.

    Args:
        n, height, width: how many masks, and their size in pixels.
        seed: mask k uses seed + k.
        scale: lattice period in pixels, at least 1: the size of the blobs.
        area: share of the picture that is hole, in [0, 1]; exact to the pixel with a softness of 0.
        octaves: 1 for smooth blobs; each further octave adds detail of half the size and half the weight.
        softness: width of the soft rim in [0, 1], as a share of the noise's range; 0 gives a binary mask.
        tile: make the mask seamless: left continues right and top continues bottom (the period is rounded to divide the side).
        invert: make the hole of the noise's other end. `area` is still the area of the hole.
        device: where the noise is computed and the masks are returned.

    Returns:
        (n, 1, height, width); binary unless `softness` is above 0.

    Raises:
        ValueError: an argument is out of its range.
    """
    _check(scale=scale, area=area, octaves=octaves, softness=softness, height=height, width=width)
    streams = generators(seed, n, "perlin")
    periods = [_real(g, 1, height) if scale is None else scale for g in streams]
    holes = [_integer(g, 0, height * width) if area is None else round(area * height * width) for g in streams]
    masks = torch.empty(n, 1, height, width, device=device, dtype=torch.float32)
    # In small chunks, so that they fit the processor's cache; the finest lattices cost most and go first, in the smallest chunks.
    order = sorted(range(n), key=lambda k: periods[k])
    while order:
        size = min(8, max(1, n - len(order)))  # 1, 1, 2, 4, 8, 8, ...
        chunk, order = order[:size], order[size:]
        octave = lambda i, chunk=chunk: [(streams[k], max(periods[k] / 2**i, 1.0)) for k in chunk]
        noise = _perlin(octave(0), height, width, tile, device)
        for i in range(1, octaves):
            noise += _perlin(octave(i), height, width, tile, device) / 2**i
        for k, values in zip(chunk, -noise if invert else noise, strict=True):
            _threshold(values, holes[k], softness, out=masks[k, 0])
    return masks


def animated_perlin_masks(
    frames: int,
    height: int,
    width: int,
    seed: int = 0,
    scale: float = 64.0,
    area: float = 0.4,
    speed: float = 0.1,
    softness: float = 0.0,
    loop: bool = False,
    invert: bool = False,
    device: torch.device | str = "cpu",
) -> Tensor:
    """A moving mask: slices through three-dimensional Perlin noise, one per frame.

    Args:
        frames, height, width: number of frames and their size in pixels.
        seed: one seed for the whole clip.
        scale: lattice period in pixels, at least 1.
        area: share of every frame that is hole, in [0, 1]; exact to the pixel with a softness of 0.
        speed: lattice cells per frame along the time axis; after 1 / speed frames the mask is a new one.
        softness, invert, device: as in `perlin_masks`.
        loop: end where the clip began (the speed is rounded so that a whole number of cells fits).

    Returns:
        (frames, 1, height, width).

    Raises:
        ValueError: an argument is out of its range.
    """
    _check(scale=scale, area=area, softness=softness, height=height, width=width)
    if not 0 < speed * max(1, frames) < math.inf:
        raise ValueError(f"speed must be above 0 and finite, got {speed}.")
    stream = generators(seed, 1, "animated perlin")[0]
    depth = max(1, round(frames * speed)) if loop else math.ceil(frames * speed) + 1
    rows, columns = (math.floor((side - 1) / scale) + 2 for side in (height, width))
    if depth * rows * columns > MOST_NODES:
        raise ValueError(
            f"So fast a mask of so small blobs does not fit into memory: lower the speed of {speed} or raise the scale of {scale}."
        )
    azimuth = torch.rand(depth + 1, rows, columns, generator=stream, dtype=torch.float32) * (2 * math.pi)
    g_z = torch.rand(depth + 1, rows, columns, generator=stream, dtype=torch.float32) * 2 - 1
    radius = (1 - g_z**2).sqrt()  # Archimedes: a uniform z component gives a uniform direction
    lattice = torch.stack([radius * azimuth.cos(), radius * azimuth.sin(), g_z])
    if loop:
        lattice[:, -1] = lattice[:, 0]
    z = torch.arange(frames) * (depth / frames if loop else speed)
    slices = _slice_in_time(lattice, z).to(device)
    y, x = (torch.arange(side, device=device) / scale for side in (height, width))
    noise = gradient_noise(slices, y.expand(frames, -1), x.expand(frames, -1))
    masks = torch.empty(frames, 1, height, width, device=device, dtype=torch.float32)
    for mask, values in zip(masks, -noise if invert else noise, strict=True):
        _threshold(values, round(area * height * width), softness, out=mask[0])
    return masks


def _slice_in_time(lattice: Tensor, z: Tensor) -> Tensor:
    """Slice a 3-D gradient lattice (3, depth, rows, columns) at times z (frames,): the three channels of `gradient_noise`."""
    below = z.floor().long().clamp(max=lattice.shape[1] - 2)
    fraction = (z - below).view(-1, 1, 1)
    weight_above, weight_below = fade(fraction), 1 - fade(fraction)
    lower, upper = lattice[:, below], lattice[:, below + 1]
    g_x, g_y, _ = weight_below * lower + weight_above * upper
    value = weight_below * fraction * lower[2] + weight_above * (fraction - 1) * upper[2]
    return torch.stack([g_x, g_y, value], 1)


def box_masks(n: int, height: int, width: int, seed: int = 0, share: float = 0.5, device: torch.device | str = "cpu") -> Tensor:
    """A square hole at a random place; its side is `share`, 0 to 1, of the shorter picture side (128 of 256 in RAD 4.2).

    Raises:
        ValueError: a share or a size out of its range.
    """
    _check(height=height, width=width)
    if not 0 <= share <= 1:
        raise ValueError(f"share is a share of the picture's shorter side, 0 to 1, got {share}.")
    side = max(1, round(share * min(height, width)))
    masks = torch.zeros(n, 1, height, width, dtype=torch.float32)
    for mask, stream in zip(masks, generators(seed, n, "box"), strict=True):
        top, left = _integer(stream, 0, height - side), _integer(stream, 0, width - side)
        mask[:, top : top + side, left : left + side] = 1
    return masks.to(device)


def extreme_masks(n: int, height: int, width: int, seed: int = 0, share: float = 0.5, device: torch.device | str = "cpu") -> Tensor:
    """The inverse of `box_masks`: everything is hole except one square (RAD 4.2)."""
    return 1 - box_masks(n, height, width, seed, share, device)


def wide_masks(n: int, height: int, width: int, seed: int = 0, device: torch.device | str = "cpu") -> Tensor:
    """A few broad irregular strokes: 1 to 4, as wide as 8 to 25 % of the shorter side (the LaMa paper's "wide" masks)."""

    def draw_strokes(draw: ImageDraw.ImageDraw, stream: torch.Generator) -> None:
        for _ in range(_integer(stream, 1, 4)):
            _stroke(draw, stream, height, width, turns=(1, 5), breadth=(0.08, 0.25), reach=(0.15, 0.5))

    return _drawn(n, height, width, seed, draw_strokes).to(device)


def brush_masks(n: int, height: int, width: int, seed: int = 0, device: torch.device | str = "cpu") -> Tensor:
    """SDM's free-form training masks: up to 9 brush strokes and up to 5 rectangles (the scheme of Co-Mod-GAN)."""

    def draw_strokes(draw: ImageDraw.ImageDraw, stream: torch.Generator) -> None:
        for _ in range(_integer(stream, 0, 9)):
            _stroke(draw, stream, height, width, turns=(4, 18), breadth=(0.03, 0.1), reach=(0.03, 0.2))
        for _ in range(_integer(stream, 0, 5)):
            _rectangle(draw, stream, height, width, largest=0.5)

    return _drawn(n, height, width, seed, draw_strokes).to(device)


def scratch_masks(
    n: int, height: int, width: int, seed: int = 0, strokes: tuple[int, int] = (1, 4), device: torch.device | str = "cpu"
) -> Tensor:
    """Damage of old photographs: long thin scratches, wires and hairs, 1 to 6 pixels wide, and specks of 2 to 8, at any picture size.

    Args:
        strokes: the smallest and the largest number of scratches.
    """
    _check(height=height, width=width)
    pixel = 1 / min(height, width)

    def draw_strokes(draw: ImageDraw.ImageDraw, stream: torch.Generator) -> None:
        for _ in range(_integer(stream, *strokes)):
            _stroke(draw, stream, height, width, turns=(1, 4), breadth=(pixel, 6 * pixel), reach=(0.2, 0.8))
        for _ in range(_integer(stream, 0, 3)):
            _stroke(draw, stream, height, width, turns=(1, 2), breadth=(2 * pixel, 8 * pixel), reach=(0.0, 4 * pixel))

    return _drawn(n, height, width, seed, draw_strokes).to(device)


def grow_masks(masks: Tensor, pixels: int) -> Tensor:
    """Grow holes by a number of pixels in all directions: each pixel takes the largest value within that distance.

    Args:
        masks: (n, 1, H, W) in [0, 1].
        pixels: 0 changes nothing.

    Raises:
        ValueError: a negative number.
    """
    if pixels < 0:
        raise ValueError(f"A hole grows by 0 pixels or more, got {pixels}.")
    grown = masks.clone()
    for mask, out in zip(masks, grown, strict=True):
        if pixels and mask.any():
            box = tile_box(mask, 2 * pixels)
            hole = box.cut(mask)[None]
            levels = (hole * 255).round().byte()
            lossless = torch.equal(levels.to(hole) / 255, hole)  # hard, or from a file: bytes take a quarter of the time
            box.cut(out)[:] = _grow(levels, pixels)[0].to(out) / 255 if lossless else _grow(hole, pixels)[0]
    return grown


def _grow(masks: Tensor, pixels: int) -> Tensor:
    """`grow_masks` of any dtype."""
    height, width = masks.shape[2:]
    windows = [F.pad(masks, (pixels,) * 4)]  # windows[k]: the largest of the 2^k values from each place to the right
    while 2 ** len(windows) <= 2 * pixels + 1:
        half, step = windows[-1], 2 ** (len(windows) - 1)
        windows.append(torch.maximum(half[..., :-step], half[..., step:]))
    grown = masks.clone()
    for y in range(-pixels, pixels + 1):  # a disc, row by row: two windows cover each
        reach = math.isqrt(pixels**2 - y**2)
        k = (2 * reach + 1).bit_length() - 1
        rows = windows[k][..., pixels + y : pixels + y + height, :]
        for start in (pixels - reach, pixels + reach + 1 - 2**k):
            torch.maximum(grown, rows[..., start : start + width], out=grown)
    return grown


SHAPES: dict[str, Callable[..., Tensor]] = {
    "perlin": perlin_masks,
    "box": box_masks,
    "extreme": extreme_masks,
    "wide": wide_masks,
    "brush": brush_masks,
    "scratch": scratch_masks,
}


def _check(scale=None, area=None, octaves=1, softness=0.0, height=1, width=1) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"A mask needs a size of at least 1x1 pixels, got {width}x{height}.")
    if scale is not None and not scale >= 1:
        raise ValueError(f"scale is the size of the blobs in pixels, at least 1; got {scale}.")
    if area is not None and not 0 <= area <= 1:
        raise ValueError(f"area is a share between 0 and 1 (0.4 for 40 %), got {area}.")
    if octaves not in range(1, 11):
        raise ValueError(f"octaves must be a whole number from 1 to 10, got {octaves}.")
    if not 0 <= softness <= 1:
        raise ValueError(f"softness must lie between 0 and 1, got {softness}.")


def _integer(stream: torch.Generator, low: int, high: int) -> int:
    """A uniform whole number from {low, ..., high}."""
    return int(torch.randint(low, high + 1, (), generator=stream))


def _real(stream: torch.Generator, low: float, high: float) -> float:
    """A uniform number from [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=stream, dtype=torch.float32))


def _perlin(octave: list[tuple[torch.Generator, float]], height: int, width: int, tile: bool, device: torch.device | str) -> Tensor:
    """One octave of noise for several masks, each with its (stream, period): (len(octave), height, width)."""
    sides = (height, width)
    if tile:
        cells = [[max(1, round(side / period)) for side in sides] for _, period in octave]
        lattices = [
            unit_gradients(stream, rows + 1, columns + 1, tile=True) for (stream, _), (rows, columns) in zip(octave, cells, strict=True)
        ]
        steps = torch.tensor(cells) / torch.tensor(sides)
    else:
        lattices = [unit_gradients(stream, *(math.floor((side - 1) / period) + 2 for side in sides)) for stream, period in octave]
        steps = torch.tensor([[1 / period] * 2 for _, period in octave])
    rows, columns = (max(lattice.shape[axis] for lattice in lattices) for axis in (1, 2))
    padded = torch.zeros(len(octave), 2, rows, columns, dtype=torch.float32)
    for place, lattice in zip(padded, lattices, strict=True):
        place[:, : lattice.shape[1], : lattice.shape[2]] = lattice
    y, x = (torch.arange(side) * steps.float()[:, axis, None] for axis, side in enumerate(sides))
    return gradient_noise(padded.to(device), y.to(device), x.to(device))


def _threshold(noise: Tensor, hole: int, softness: float, out: Tensor) -> None:
    """Threshold noise (H, W) into a mask `out` (H, W): the `hole` smallest values become the hole."""
    if hole in (0, noise.numel()):
        out.fill_(float(hole > 0))
        return
    ordered = _partition(noise.flatten(), hole)
    limit = ordered[hole - 1]
    if softness > 0:
        rim = softness * float(noise.max() - noise.min()) or 1.0
        torch.clamp((limit - noise) / rim + 0.5, 0, 1, out=out)
        return
    torch.le(noise, limit, out=out)
    if ordered[hole:].min() == limit:  # several pixels equal the limit: leave the last of them out, to keep the area exact
        out.view(-1)[(noise.flatten() == limit).nonzero().flatten()[hole - int(out.sum()) :]] = 0


def _partition(values: Tensor, k: int) -> Tensor:
    """The values with the k smallest first, the largest of these at k - 1. On the CPU NumPy's selection is 6 times as fast as torch's."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.partition(values.numpy(), k - 1))
    return values.sort().values


def _drawn(n: int, height: int, width: int, seed: int, draw_strokes: Callable) -> Tensor:
    """Masks drawn with Pillow, each with its own stream."""
    _check(height=height, width=width)
    masks = torch.empty(n, 1, height, width, dtype=torch.float32)
    for mask, stream in zip(masks, generators(seed, n, "strokes"), strict=True):
        canvas = Image.new("L", (width, height))
        draw_strokes(ImageDraw.Draw(canvas), stream)
        mask[0] = torch.from_numpy(np.array(canvas))
    return masks / 255


def _stroke(draw, stream, height: int, width: int, turns: tuple, breadth: tuple, reach: tuple) -> None:
    """Draw a random walk with a round brush. Its breadth and the reach of one leg are shares of the shorter side."""
    side = min(height, width)
    brush = max(1, round(_real(stream, *breadth) * side))
    points = [(_real(stream, 0, width), _real(stream, 0, height))]
    angle = _real(stream, 0, 2 * math.pi)
    for _ in range(_integer(stream, *turns)):
        angle += _real(stream, -1.2, 1.2)
        leg = _real(stream, *reach) * side
        points.append((points[-1][0] + leg * math.cos(angle), points[-1][1] + leg * math.sin(angle)))
    draw.line(points, fill=255, width=brush, joint="curve")
    for x, y in points if brush > 2 else ():
        draw.ellipse([x - brush / 2, y - brush / 2, x + brush / 2, y + brush / 2], fill=255)


def _rectangle(draw, stream, height: int, width: int, largest: float) -> None:
    h, w = (max(1, round(_real(stream, 0.05, largest) * side)) for side in (height, width))
    top, left = _integer(stream, 0, height - h), _integer(stream, 0, width - w)
    draw.rectangle([left, top, left + w - 1, top + h - 1], fill=255)
