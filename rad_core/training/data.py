"""Training data: sources of pictures and of masks.

A source is a function (n, size, seed) -> (n, 3, size, size) in [0, 1]; a mask source is a function (n, height, width, seed, device)
-> (n, 1, height, width) with 1 = hole. Both are deterministic: picture k depends on seed + k alone.
"""

import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import resize_mask
from ..mask_files import read_mask
from ..masks import SHAPES, perlin_masks, scratch_masks
from ..noise import generators
from ..notes import note
from ..photo_files import check_readable, picture_files, read_photo
from ..synthetic import landscapes

Source = Callable[[int, int, int], Tensor]
MaskSource = Callable[..., Tensor]
AUGMENTATIONS = ("flip", "crop", "transpose", "brightness")
CACHE_BYTES = 2**30
MASK_SIDE = 1024


class Folder(Sequence):
    """A folder's pictures, (3, H, W) uint8 each, read lazily and cached up to `CACHE_BYTES`.

    Broken and truncated files are skipped, with a note that names them: every file is decoded once at the start.

    Args:
        callback: takes how many files were decoded, and of how many.

    Raises:
        ValueError: the folder cannot be read, or contains no readable picture.
    """

    def __init__(self, folder: str | Path, callback: Callable[[int, int], None] | None = None):
        self.folder = Path(folder)
        try:
            paths = picture_files(self.folder)
        except OSError as error:
            raise ValueError(f"The folder {folder} cannot be read: {error.strerror or error}.") from None
        self.paths, broken = [], []
        for k, path in enumerate(paths):
            if callback:
                callback(k, len(paths))
            try:
                check_readable(path)
                self.paths.append(path)
            except ValueError as error:
                broken.append(str(error).removesuffix("."))
        if not self.paths:
            found = f"none of its {len(paths)} pictures can be read" if paths else "it contains no pictures"
            raise ValueError(f"There is nothing to train on in {folder}: {found}.")
        if broken:
            more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
            note(f"{len(broken)} of {len(paths)} pictures cannot be read and are skipped: {', '.join(broken[:5])}{more}.")
        self._cache: OrderedDict[int, Tensor] = OrderedDict()
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, k: int) -> Tensor:
        if k not in self._cache:
            picture = (read_photo(self.paths[k]).rgb[0] * 255).round().byte()
            self._cache[k] = picture
            self._cached_bytes += picture.numel()
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].numel()
        self._cache.move_to_end(k)
        return self._cache[k]

    def caption(self, k: int) -> str:
        """The text of the .txt file with the picture's name beside it, or an empty string."""
        text = self.paths[k].with_suffix(".txt")
        return text.read_text("utf-8-sig", errors="replace").strip() if text.is_file() else ""


class Crops:
    """A source of random square crops of pictures.

    Args:
        pictures: (3, H, W) each, uint8 or in [0, 1].
        augmentations: of "flip" (horizontally), "crop" (a random square whose side is at least four fifths of the shorter side; without
            it, the largest square in the middle), "transpose" (swap rows and columns), "brightness" (by up to 15 %).
        tiles: crop at the pictures' own scale or down to half of it, for networks that work in tiles.

    Raises:
        ValueError: an unknown augmentation.
    """

    def __init__(self, pictures: Sequence[Tensor], augmentations: Sequence[str] = ("flip", "crop"), tiles: bool = False):
        if unknown := [name for name in augmentations if name not in AUGMENTATIONS]:
            raise ValueError(f"Unknown augmentation '{unknown[0]}': choose from {', '.join(AUGMENTATIONS)}.")
        self.pictures, self.augmentations, self.tiles = pictures, augmentations, tiles

    def __call__(self, n: int, size: int, seed: int) -> Tensor:
        return torch.stack([self._crop(g, size) for g in generators(seed, n, "crop")])

    def _crop(self, stream: torch.Generator, size: int) -> Tensor:
        picture = self.pictures[int(torch.randint(len(self.pictures), (), generator=stream))]
        u = torch.rand(6, generator=stream).tolist()
        short = min(picture.shape[1:])
        if self.tiles:
            side = min(round(size * 2 ** u[0]), short)
        else:
            side = max(1, round(short * (1 - 0.2 * u[0]))) if "crop" in self.augmentations else short
        position = u[1:3] if "crop" in self.augmentations or self.tiles else (0.5, 0.5)
        top, left = (round(f * (length - side)) for f, length in zip(position, picture.shape[1:], strict=True))
        crop = _resize(picture[:, top : top + side, left : left + side], size, size)
        if "flip" in self.augmentations and u[3] < 0.5:
            crop = crop.flip(2)
        if "transpose" in self.augmentations and u[4] < 0.25:
            crop = crop.transpose(1, 2)
        if "brightness" in self.augmentations:
            crop = crop * (0.85 + 0.3 * u[5])
        return crop.clamp(0, 1)


def names_of(paths: Sequence[Path]) -> str:
    """What a run remembers of a folder, so that it does not resume on other pictures: their number, and a checksum of their names."""
    return f"{len(paths)} ({zlib.crc32(chr(10).join(path.name for path in paths).encode()):08x})"


def middle(picture: Tensor, height: int, width: int) -> Tensor:
    """Center crop: the most of a picture (3, H, W), uint8 or in [0, 1], that has this shape, resized to (3, height, width) in [0, 1]."""
    scale = min(picture.shape[1] / height, picture.shape[2] / width)
    sides = [max(1, round(length * scale)) for length in (height, width)]
    top, left = ((length - side) // 2 for length, side in zip(picture.shape[1:], sides, strict=True))
    return _resize(picture[:, top : top + sides[0], left : left + sides[1]], height, width).clamp(0, 1)


def _resize(crop: Tensor, height: int, width: int) -> Tensor:
    crop = crop.float() / 255 if crop.dtype == torch.uint8 else crop.float()
    return crop if crop.shape[1:] == (height, width) else F.interpolate(crop[None], (height, width), mode="bicubic", antialias=True)[0]


def landscape_source(hour: float | None = None) -> Source:
    """Drawn landscapes (`synthetic`), at one time of day (0 to 24) or at all."""
    return lambda n, size, seed: landscapes(n, size, seed, hour)


def mask_source(kind: str) -> MaskSource:
    """Training masks by name: "perlin" (the paper's), "repair" (seven of eight are thin scratches), a name in `masks.SHAPES`, or a folder.

    Raises:
        ValueError: there is no such kind or folder, or the folder contains no readable mask.
    """
    if kind in MASKS:
        return MASKS[kind]
    if not Path(kind).is_dir():
        raise ValueError(f"There are no training masks '{kind}': choose from {', '.join(MASKS)}, or pass a folder of masks.")
    return own_masks([_small(read_mask(path)) for path in Folder(kind).paths])


def _small(mask: Tensor) -> Tensor:
    """A mask (1, 1, H, W) as uint8 (1, h, w) of at most `MASK_SIDE` pixels a side: a folder's are all in memory."""
    longest = max(mask.shape[2:])
    if longest > MASK_SIDE:
        mask = resize_mask(mask, [max(1, round(side * MASK_SIDE / longest)) for side in mask.shape[2:]])
    return (mask[0] * 255).round().byte()


def own_masks(masks: Sequence[Tensor]) -> MaskSource:
    """Masks (1, H, W), uint8 or in [0, 1], picked and flipped at random, resized and thresholded at 0.5."""

    def sample(n: int, height: int, width: int, seed: int, device="cpu") -> Tensor:
        sampled = []
        for stream in generators(seed, n, "own masks"):
            k, flip = (int(torch.randint(limit, (), generator=stream)) for limit in (len(masks), 2))
            mask = masks[k].float() / (255 if masks[k].dtype == torch.uint8 else 1)
            resized = resize_mask(mask[None], (height, width))[0]
            sampled.append(resized.flip(2) if flip else resized)
        return torch.stack(sampled).gt(0.5).float().to(device)

    return sample


def _repair(n: int, height: int, width: int, seed: int, device="cpu") -> Tensor:
    thin = scratch_masks(n, height, width, seed, strokes=(2, 10), device=device)
    pick = torch.tensor([torch.rand((), generator=g).item() < 7 / 8 for g in generators(seed, n, "kind of mask")], device=device)
    return torch.where(pick.view(-1, 1, 1, 1), thin, perlin_masks(n, height, width, seed, device=device))


MASKS: dict[str, MaskSource] = {"perlin": perlin_masks, "repair": _repair, **SHAPES}
