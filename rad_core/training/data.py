"""Where training pictures and masks come from.

A source is a function (n, size, seed) -> (n, 3, size, size) in [0, 1], a mask source (n, height, width, seed, device) -> (n, 1, height,
width), 1 = hole. The same seed gives the same; picture k is drawn from seed + k.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..images import picture_files, read_mask, read_photo
from ..masks import SHAPES, perlin_masks, scratch_masks
from ..noise import generators
from ..synthetic import landscapes

Source = Callable[[int, int, int], Tensor]
MaskSource = Callable[..., Tensor]
CHANGES = ("flip", "crop", "turn", "light")
KEPT = 2**30  # bytes of pictures that are held in memory


class Folder(Sequence):
    """A folder's pictures, (3, H, W) uint8 each, read when asked for; some are kept in memory.

    Broken ones are left out, and named in a warning.

    Raises:
        ValueError: the folder cannot be read, or has no picture that can.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            paths = picture_files(self.folder)
        except OSError as error:
            raise ValueError(f"The folder {folder} cannot be read: {error.strerror or error}.") from None
        self.paths, broken = [], []
        for path in paths:
            try:
                with Image.open(path) as picture:
                    picture.verify()
                self.paths.append(path)
            except Exception as error:  # Pillow raises anything on bad bytes
                broken.append(f"{path.name} ({error})")
        if not self.paths:
            found = f"none of its {len(paths)} pictures can be read" if paths else "it has no pictures"
            raise ValueError(f"There is nothing to train on in {folder}: {found}.")
        if broken:
            more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
            warnings.warn(
                f"{len(broken)} of {len(paths)} pictures cannot be read and are left out: {', '.join(broken[:5])}{more}.", stacklevel=2
            )
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, k: int) -> Tensor:
        if k not in self._kept:
            picture = (read_photo(self.paths[k]).rgb[0] * 255).round().byte()
            self._kept[k] = picture
            self._bytes += picture.numel()
            while self._bytes > KEPT and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].numel()
        self._kept.move_to_end(k)
        return self._kept[k]

    def caption(self, k: int) -> str:
        """The text in the file beside a picture that has its name and ends in .txt; empty where there is none."""
        text = self.paths[k].with_suffix(".txt")
        return text.read_text(errors="replace").strip() if text.is_file() else ""


class Crops:
    """A source of square pieces of pictures.

    Args:
        pictures: (3, H, W) each, uint8 or in [0, 1].
        changes: of "flip" (left and right), "crop" (a piece of four fifths of the shorter side or more; otherwise its middle, in full),
            "turn" (rows and columns change places), "light" (a little brighter or darker).
        tiles: pieces at the pictures' own scale or down to half of it, for networks that work in tiles.

    Raises:
        ValueError: an unknown change.
    """

    def __init__(self, pictures: Sequence[Tensor], changes: Sequence[str] = ("flip", "crop"), tiles: bool = False):
        if unknown := [change for change in changes if change not in CHANGES]:
            raise ValueError(f"Unknown change '{unknown[0]}': choose from {', '.join(CHANGES)}.")
        self.pictures, self.changes, self.tiles = pictures, changes, tiles

    def __call__(self, n: int, size: int, seed: int) -> Tensor:
        return torch.stack([self._piece(g, size) for g in generators(seed, n, "crop")])

    def pick(self, stream: torch.Generator) -> int:
        """Any picture is as likely as any other."""
        return int(torch.randint(len(self.pictures), (), generator=stream))

    def _piece(self, stream: torch.Generator, size: int) -> Tensor:
        picture = self.pictures[self.pick(stream)]
        u = torch.rand(6, generator=stream).tolist()
        short = min(picture.shape[1:])
        if self.tiles:
            side = min(round(size * 2 ** u[0]), short)
        else:
            side = max(1, round(short * (1 - 0.2 * u[0]))) if "crop" in self.changes else short
        place = u[1:3] if "crop" in self.changes or self.tiles else (0.5, 0.5)
        top, left = (round(f * (length - side)) for f, length in zip(place, picture.shape[1:], strict=True))
        piece = _resized(picture[:, top : top + side, left : left + side], size)
        if "flip" in self.changes and u[3] < 0.5:
            piece = piece.flip(2)
        if "turn" in self.changes and u[4] < 0.25:
            piece = piece.transpose(1, 2)
        if "light" in self.changes:
            piece = piece * (0.85 + 0.3 * u[5])
        return piece.clamp(0, 1)


def middle(picture: Tensor, size: int) -> Tensor:
    """The square in the middle of a picture (3, H, W), uint8 or in [0, 1], resized: (3, size, size) in [0, 1]."""
    side = min(picture.shape[1:])
    top, left = ((length - side) // 2 for length in picture.shape[1:])
    return _resized(picture[:, top : top + side, left : left + side], size).clamp(0, 1)


def _resized(square: Tensor, size: int) -> Tensor:
    square = square.float() / 255 if square.dtype == torch.uint8 else square.float()
    return square if square.shape[1] == size else F.interpolate(square[None], (size, size), mode="bicubic", antialias=True)[0]


def landscape_source(hour: float | None = None) -> Source:
    return lambda n, size, seed: landscapes(n, size, seed, hour)


def mask_source(kind: str) -> MaskSource:
    """Training masks: "perlin" (the paper's), "repair" (thin scratches in seven of eight), a shape of `masks.SHAPES`, or a folder of masks.

    Raises:
        ValueError: no such kind or folder, or nothing in it can be read.
    """
    if kind in MASKS:
        return MASKS[kind]
    if not Path(kind).is_dir():
        raise ValueError(f"There are no training masks '{kind}': choose from {', '.join(MASKS)}, or give a folder of masks.")
    return own_masks([read_mask(path)[0] for path in Folder(kind).paths])


def own_masks(masks: Sequence[Tensor]) -> MaskSource:
    """Masks (1, H, W) that are drawn at random, flipped or not, and resized; grey is rounded to hole or not."""

    def draw(n: int, height: int, width: int, seed: int, device="cpu") -> Tensor:
        drawn = []
        for stream in generators(seed, n, "own masks"):
            k, flip = (int(torch.randint(limit, (), generator=stream)) for limit in (len(masks), 2))
            resized = F.interpolate(masks[k][None].float(), (height, width), mode="nearest-exact")[0]
            drawn.append(resized.flip(2) if flip else resized)
        return torch.stack(drawn).gt(0.5).float().to(device)

    return draw


def _repair(n: int, height: int, width: int, seed: int, device="cpu") -> Tensor:
    thin = scratch_masks(n, height, width, seed, strokes=(2, 10), device=device)
    pick = torch.tensor([torch.rand((), generator=g).item() < 7 / 8 for g in generators(seed, n, "kind of mask")], device=device)
    return torch.where(pick.view(-1, 1, 1, 1), thin, perlin_masks(n, height, width, seed, device=device))


MASKS: dict[str, MaskSource] = {"perlin": perlin_masks, "repair": _repair, **SHAPES}
