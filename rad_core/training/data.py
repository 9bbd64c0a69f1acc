"""Where training pictures come from.

A source is a function (n, size, seed) -> (n, 3, size, size) in [0, 1]; the same seed gives the same pictures.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import picture_files, read_photo
from ..masks import perlin_masks, scratch_masks
from ..noise import generators
from .landscapes import landscapes

Source = Callable[[int, int, int], Tensor]


class FolderCrops:
    """Random crops of a folder's pictures: at full or reduced scale, flipped, turned, a little brighter or darker.

    Raises:
        ValueError: no readable picture in the folder.
    """

    def __init__(self, folder: str | Path):
        self.pictures = [read_photo(path).rgb[0] for path in picture_files(folder)]
        if not self.pictures:
            raise ValueError(f"No picture was found in {folder}.")

    def __call__(self, n: int, size: int, seed: int) -> Tensor:
        return torch.stack([self._crop(g, size) for g in generators(seed, n, "crop")])

    def _crop(self, stream: torch.Generator, size: int) -> Tensor:
        # A picture's chance is its number of pixels, so that every patch of the folder is as likely as every other.
        weights = torch.tensor([float(p.shape[1] * p.shape[2]) for p in self.pictures])
        picture = self.pictures[int(torch.multinomial(weights, 1, generator=stream))]
        u = torch.rand(6, generator=stream).tolist()
        side = min(round(size * 2 ** u[0]), *picture.shape[1:])  # up to half scale
        top, left = (round(f * (length - side)) for f, length in zip(u[1:3], picture.shape[1:], strict=True))
        crop = picture[:, top : top + side, left : left + side]
        if side != size:
            crop = F.interpolate(crop[None], (size, size), mode="bicubic", antialias=True)[0]
        if u[3] < 0.5:
            crop = crop.flip(2)
        if u[4] < 0.25:
            crop = crop.transpose(1, 2)
        return (crop * (0.85 + 0.3 * u[5])).clamp(0, 1)


def landscape_source(hour: float | None = None) -> Source:
    return lambda n, size, seed: landscapes(n, size, seed, hour)


def training_masks(kind: str, n: int, size: int, seed: int) -> Tensor:
    """Training masks (n, 1, size, size): "perlin" as in the paper; "repair" has many thin scratches in seven of eight instead."""
    masks = perlin_masks(n, size, size, seed)
    if kind == "repair":
        thin = scratch_masks(n, size, size, seed, strokes=(2, 10))
        pick = torch.tensor([torch.rand((), generator=g).item() < 7 / 8 for g in generators(seed, n, "kind of mask")])
        masks = torch.where(pick.view(-1, 1, 1, 1), thin, masks)
    return masks
