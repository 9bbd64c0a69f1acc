"""Aspect-ratio buckets: pictures of about the same shape train together, so that none is cropped to a square."""

import math
from collections import Counter
from collections.abc import Sequence

MULTIPLE = 64  # sides are multiples of it, or of its greatest common divisor with the size


def bucket_of(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width nearest in shape to a picture's, with about size * size pixels and no side more than twice the size.

    A photograph of 600x400 trains at 640x384 at a size of 512. At that size and more, none loses more than a seventh of itself, up to 4:1.
    """
    step = math.gcd(size, MULTIPLE)
    sides = range(step, 2 * size + 1, step)
    shapes = {(max(step, min(2 * size, round(size * size / side / step) * step)), side) for side in sides}
    shapes |= {(wide, high) for high, wide in shapes}
    shapes = {shape for shape in shapes if 0.8 <= shape[0] * shape[1] / size**2 <= 1.25}
    wrong = lambda shape: abs(math.log(shape[0] * width / (shape[1] * height)))
    return min(sorted(shapes), key=lambda shape: (round(wrong(shape), 6), abs(shape[0] * shape[1] - size * size)))


def hold_back(count: int, most: int = 4) -> list[int]:
    """Which of `count` pictures are kept from training, to make samples of: `most`, or a tenth if that is fewer, evenly spread."""
    held = min(most, count // 10)
    return [(2 * k + 1) * count // (2 * held) for k in range(held)]


def split(shapes: Sequence[tuple[int, ...]], most: int = 4) -> tuple[list[int], list[int]]:
    """Which pictures train, and which are for samples: of the commonest shape, held back, or trained on too if there are few.

    Args:
        shapes: of each picture.
    """
    common = Counter(shapes).most_common(1)[0][0]
    bucket = [k for k, shape in enumerate(shapes) if shape == common]
    held = [bucket[k] for k in hold_back(len(bucket), most)]
    count = min(most, len(bucket))
    return [k for k in range(len(shapes)) if k not in held], held or [bucket[k * len(bucket) // count] for k in range(count)]
