"""`exemplar_inpaint(frames=True)` on a camera's way over a photograph: RMSE in a hole that moves, or how far the fill of one that stands in
the scene wanders, and how much of the fine detail is kept.

python measurements/exemplar_video.py PHOTO
python measurements/exemplar_video.py PHOTO --pan 3.3 --turn .5
python measurements/exemplar_video.py PHOTO --pan 2.37 --standing
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from rad_core import exemplar_inpaint

FINER = 2  # pixels of the photograph along the side of one of a frame
SAMPLES = 3  # along the side of a pixel


def camera(k: float, options: argparse.Namespace, photo: Tensor) -> Tensor:
    """Where the places (y, x, 1) of frame k are in the photograph, (3, 3)."""
    scale, angle = FINER * (1 - options.zoom * k / 100), math.radians(options.turn * k)
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    middle, way = options.size / 2, FINER * options.pan * (k - options.frames / 2)
    top, left = photo.shape[1] / 2 - (a + b) * middle, photo.shape[2] / 2 + (b - a) * middle
    return torch.tensor([[a, b, top], [-b, a, left + way], [0, 0, 1]], dtype=torch.float64)


def grid(size: int, samples: int = 1) -> Tensor:
    """The places of a frame's pixels, (3, n, n)."""
    places = (torch.arange(size * samples, dtype=torch.float64) + 0.5) / samples
    y, x = torch.meshgrid(places, places, indexing="ij")
    return torch.stack([y, x, torch.ones_like(y)])


def look_up(picture: Tensor, places: Tensor, mode: str) -> Tensor:
    """A picture (3, H, W) at places (2 or 3, h, w)."""
    size = torch.tensor(picture.shape[1:], dtype=torch.float64)[:, None, None]
    where = (places[:2] / size * 2 - 1).flip(0).movedim(0, -1).float()
    return F.grid_sample(picture[None], where[None], mode, "reflection", align_corners=False)[0]


def moved(matrix: Tensor, places: Tensor) -> Tensor:
    return (matrix @ places.flatten(1)).view_as(places)


def rmse(a: Tensor, b: Tensor, where: Tensor) -> float:
    return float((a - b).square().mean(0)[where].mean().sqrt() * 255)


def detail(pictures: Tensor, where: Tensor) -> float:
    """RMS of the Laplacian at some pixels of pictures (n, 3, h, w)."""
    laplacian = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(3, 1, 3, 3)
    return float(F.conv2d(F.pad(pictures, (1,) * 4, mode="replicate"), laplacian, groups=3).square().mean(1)[where].mean().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--pan", type=float, default=4, help="pixels a frame, of the picture")
    parser.add_argument("--turn", type=float, default=0, help="degrees a frame")
    parser.add_argument("--zoom", type=float, default=0, help="per cent a frame")
    parser.add_argument("--walk", type=int, default=5, help="pixels a frame, of the hole in the picture")
    parser.add_argument("--standing", action="store_true", help="the hole stands in the scene: no frame shows what is behind it")
    options = parser.parse_args()
    photo = torch.from_numpy(np.array(Image.open(options.photo).convert("RGB"))).permute(2, 0, 1) / 255
    size, cameras = options.size, [camera(k, options, photo) for k in range(options.frames)]
    fine = grid(size, SAMPLES)
    frames = torch.stack([F.avg_pool2d(look_up(photo, moved(matrix, fine), "bilinear"), SAMPLES) for matrix in cameras])
    masks = torch.zeros(options.frames, size, size)
    for k, matrix in enumerate(cameras):
        if options.standing:
            away = moved(matrix, grid(size))[:2] - torch.tensor(photo.shape[1:])[:, None, None] / 2
            masks[k] = (away.abs() < FINER * size / 8).all(0)
        else:
            masks[k, size // 4 : size // 4 + size // 2, 12 + options.walk * k : 12 + options.walk * k + size // 4] = 1
    processor = time.process_time()
    filled, _ = exemplar_inpaint(frames, masks, frames=True)
    processor = time.process_time() - processor
    if options.standing:
        inner = F.max_pool2d(1 - masks[:, None], 5, 1, 2)[:, 0] < 0.5
        numbers = range(1, options.frames)
        back = [look_up(filled[0], moved(torch.linalg.solve(cameras[0], cameras[k]), grid(size)), "bicubic") for k in numbers]
        each = [rmse(filled[k], first, inner[k]) for k, first in zip(numbers, back, strict=True)]
        print(f"difference from the first frame's fill, at the same places of the scene: {sum(each) / len(each):.2f} of 255", end="; ")
    else:
        each = [rmse(filled[k], frames[k], masks[k] > 0) for k in range(options.frames)]
        alone, _ = exemplar_inpaint(frames[:1], masks[:1])
        single = rmse(alone[0], frames[0], masks[0] > 0)
        print(f"RMSE in the hole {math.hypot(*each) / len(each) ** 0.5:.2f} of 255; frame 1 alone {single:.2f}", end="; ")
    first, later = (detail(filled[part], masks[part] > 0) / detail(frames[part], masks[part] > 0) for part in (slice(1), slice(1, None)))
    print(f"fine detail {first:.2f} of the truth's in frame 1, {later:.2f} later; {processor:.1f} s of the processor")
    print("by frame:", " ".join(f"{e:.2f}" for e in each))


if __name__ == "__main__":
    main()
