"""Filling pictures for the benchmark, in pieces that are kept: a run that was stopped goes on, and processes share the work.

A piece is a method's fills of some pictures under one kind of mask: a file with the fills in 8 bits, as a picture file has them, and the
seconds, calls and memory they took.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import safe_open, save_file
from torch import Tensor

from measurements.landscapes import MASKS as PAPER_MASKS

from ..atomic import write_whole
from ..images import picture_files, read_photo
from ..masks import perlin_masks
from ..synthetic import UNSEEN, Scene, landscapes
from ..training.data import middle
from .methods import METHODS, Networks

MASKS = PAPER_MASKS | {"perlin": perlin_masks}
AGAIN = 2**20  # second fills, for the diversity, are drawn from seeds so much further


@dataclass(frozen=True)
class Piece:
    """Pictures `start` to `start + count` by a method under a kind of mask; `turn` 1 for a second fill of each."""

    method: str
    mask: str
    start: int
    count: int
    turn: int = 0

    def path(self, folder: Path) -> Path:
        return folder / "fills" / self.method / self.mask / f"{self.start}+{self.count}{'-again' * self.turn}.safetensors"


def plan(methods: list[str], masks: list[str], count: int, few: int, again: int, batch: int) -> list[Piece]:
    """All pieces: the first `again` pictures are filled twice, but by dear methods only the first `few`, once. What takes long is last."""
    cheap, dear = ([method for method in methods if METHODS[method].dear == which] for which in (False, True))
    of = lambda some, total, turn: [
        Piece(method, mask, start, min(batch, total - start), turn) for start in range(0, total, batch) for method in some for mask in masks
    ]
    return [*of(cheap, count, 0), *of(cheap, min(again, count), 1), *of(dear, min(few, count), 0)]


@dataclass(frozen=True)
class Pictures:
    """What is filled: (N, 3, size, size) in whole 255ths, and the scenes where they are drawn landscapes."""

    truth: Tensor
    scene: Scene | None

    @classmethod
    def load(cls, folder: Path | None, count: int, size: int) -> "Pictures":
        """Unseen landscapes, or the first pictures of a folder, their middle squares resized.

        Raises:
            ValueError: the folder has fewer pictures.
        """
        if folder is None:
            truth, scene = landscapes(count, size, UNSEEN, return_scene=True)
        else:
            files, scene = picture_files(folder)[:count], None
            if len(files) < count:
                raise ValueError(f"There are {len(files)} pictures in {folder}, fewer than the {count} asked for.")
            truth = torch.stack([middle(read_photo(path).rgb[0], size) for path in files])
        return cls((truth * 255).round() / 255, scene)

    def first_scenes(self, count: int) -> Scene:
        return Scene(**{name: values[:count] for name, values in vars(self.scene).items()})


def holes(kind: str, count: int, size: int) -> Tensor:
    """The masks of a kind, binary: (count, 1, size, size)."""
    return MASKS[kind](count, size, size, seed=UNSEEN).gt(0.5).float()


def fill(piece: Piece, nets: Networks, pictures: Pictures, folder: Path) -> None:
    """Fill a piece's pictures and keep them."""
    part = slice(piece.start, piece.start + piece.count)
    truth = pictures.truth[part].to(nets.device)
    mask = holes(piece.mask, part.stop, truth.shape[2])[part].to(nets.device)
    seeds = [UNSEEN + k + AGAIN * piece.turn for k in range(part.start, part.stop)]
    on_gpu = torch.device(nets.device).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(nets.device)
        before = torch.cuda.memory_allocated(nets.device)
    began = time.perf_counter()
    out = METHODS[piece.method].fill(nets, truth, mask, seeds).cpu()
    told = {"seconds": time.perf_counter() - began, "peak": None}
    if on_gpu:  # on a CPU the memory that a process once had tells nothing of what it needs: see `gradpaint_cost`
        told["peak"] = (torch.cuda.max_memory_allocated(nets.device) - before) / 2**20
    data = {"fills": (out * 255).round().to(torch.uint8)}
    write_whole(piece.path(folder), lambda path: save_file(data, path, {"told": json.dumps(told)}))


def read(piece: Piece, folder: Path) -> tuple[Tensor, dict]:
    """A piece's fills (n, 3, H, W) in [0, 1], and what was told of it."""
    with safe_open(piece.path(folder), "pt") as file:
        return file.get_tensor("fills").float() / 255, json.loads(file.metadata()["told"])


def missing(pieces: list[Piece], folder: Path) -> Iterator[Piece]:
    return (piece for piece in pieces if not piece.path(folder).is_file())


def present(pieces: list[Piece], folder: Path) -> list[Piece]:
    """Those pieces that are there, of each method and mask as far as they follow on from the first picture."""
    found, reached = [], {}
    for piece in sorted(pieces, key=lambda piece: piece.start):
        place = piece.method, piece.mask, piece.turn
        if reached.get(place, 0) == piece.start and piece.path(folder).is_file():
            reached[place] = piece.start + piece.count
            found.append(piece)
    return found


def check_settings(settings: dict, folder: Path) -> None:
    """Keep what a run was started with, or compare it.

    Raises:
        ValueError: what is in the folder was made with something else.
    """
    path = folder / "fills" / "settings.json"
    if path.is_file():
        before = json.loads(path.read_text())
        if other := [name for name in settings if before.get(name) != settings[name]]:
            raise ValueError(f"{folder} holds fills of another {' and '.join(other)}: give another --output.")
    write_whole(path, lambda temporary: Path(temporary).write_text(json.dumps(settings, indent=1) + "\n"))
