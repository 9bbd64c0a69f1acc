"""Filling pictures for the benchmark, in pieces that are kept on disk: an interrupted run resumes, and processes share the work.

A piece is one method's fills of some pictures under one kind of mask: a file with the fills in 8 bits, as a picture file has them, and a
record of the seconds and the memory they took, and on which machine.
"""

import json
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import safe_open, save_file
from torch import Tensor

from ..atomic import atomic_write
from ..masks import box_masks, extreme_masks, perlin_masks, wide_masks
from ..photo_files import picture_files, read_photo
from ..synthetic import UNSEEN, Scene, landscapes
from ..training.data import middle
from .methods import METHODS, Networks

PAPER_MASKS = {"box": box_masks, "extreme": extreme_masks, "wide": wide_masks}  # of RAD's tables
MASKS = PAPER_MASKS | {"perlin": perlin_masks}
SECOND_FILL = 2**20  # added to the seeds of second fills, which diversity needs


@dataclass(frozen=True)
class Piece:
    """Fills of the pictures `start` to `start + count` by a method under a kind of mask. `repeat` is 1 for the second fill of each."""

    method: str
    mask: str
    start: int
    count: int
    repeat: int = 0

    def path(self, folder: Path) -> Path:
        """Its file in the benchmark's folder."""
        return folder / "fills" / self.method / self.mask / f"{self.start}+{self.count}{'-again' * self.repeat}.safetensors"


def plan(methods: list[str], masks: list[str], count: int, few: int, again: int, batch: int) -> list[Piece]:
    """All pieces of a benchmark, the slow methods' last.

    Args:
        count: pictures under each kind of mask. few: those that slow methods fill.
        again: pictures that the other methods fill twice. batch: pictures of a piece.
    """
    fast, slow = ([method for method in methods if METHODS[method].slow == which] for which in (False, True))
    pieces = lambda some, total, repeat: [
        Piece(method, mask, start, min(batch, total - start), repeat)
        for start in range(0, total, batch)
        for method in some
        for mask in masks
    ]
    return [*pieces(fast, count, 0), *pieces(fast, min(again, count), 1), *pieces(slow, min(few, count), 0)]


@dataclass(frozen=True)
class Pictures:
    """The pictures to fill.

    Args:
        truth: (N, 3, size, size), whole multiples of 1/255. scene: what was drawn, for landscapes.
    """

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
                raise ValueError(f"--count is {count}, but {folder} has only {len(files)} pictures.")
            truth = torch.stack([middle(read_photo(path).rgb[0], size, size) for path in files])
        return cls((truth * 255).round() / 255, scene)

    def first_scenes(self, count: int) -> Scene:
        """The scenes of the first pictures."""
        return Scene(**{name: values[:count] for name, values in vars(self.scene).items()})


def holes(kind: str, count: int, size: int) -> Tensor:
    """Binary masks of a kind, the same for every method: (count, 1, size, size)."""
    return MASKS[kind](count, size, size, seed=UNSEEN).gt(0.5).float()


def fill(piece: Piece, nets: Networks, pictures: Pictures, folder: Path) -> None:
    """Fill a piece's pictures and write its file."""
    part = slice(piece.start, piece.start + piece.count)
    truth = pictures.truth[part].to(nets.device)
    mask = holes(piece.mask, part.stop, truth.shape[2])[part].to(nets.device)
    seeds = [UNSEEN + k + SECOND_FILL * piece.repeat for k in range(part.start, part.stop)]
    on_gpu = torch.device(nets.device).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(nets.device)
        before = torch.cuda.memory_allocated(nets.device)
    began = time.perf_counter()
    out = METHODS[piece.method].fill(nets, truth, mask, seeds).cpu()
    record = {"seconds": time.perf_counter() - began, "peak": None, "machine": machine(nets.device)}
    if on_gpu:  # a CPU process keeps memory of earlier pieces, see `measurements.gradpaint_cost`
        record["peak"] = (torch.cuda.max_memory_allocated(nets.device) - before) / 2**20
    data = {"fills": (out * 255).round().to(torch.uint8)}
    atomic_write(piece.path(folder), lambda path: save_file(data, path, {"record": json.dumps(record)}))


def machine(device: torch.device | str) -> str:
    """What fills: the GPU, or the processor and its threads, and the versions of Python and torch."""
    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.is_file() else []
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
        name = f"{cpu}, {torch.get_num_threads()} threads a process"
    return f"{name}, Python {platform.python_version()}, torch {torch.__version__}"


def read(piece: Piece, folder: Path) -> tuple[Tensor, dict]:
    """A piece's fills (n, 3, H, W) in [0, 1], and their record: seconds, peak memory in MiB or None, and the machine."""
    with safe_open(piece.path(folder), "pt") as file:
        return file.get_tensor("fills").float() / 255, json.loads(file.metadata()["record"])


def missing(pieces: list[Piece], folder: Path) -> Iterator[Piece]:
    """The pieces that have no file yet."""
    return (piece for piece in pieces if not piece.path(folder).is_file())


def present(pieces: list[Piece], folder: Path) -> list[Piece]:
    """The pieces that have a file: for each method and mask without a gap from the first picture on."""
    found, reached = [], {}
    for piece in sorted(pieces, key=lambda piece: piece.start):
        series = piece.method, piece.mask, piece.repeat
        if reached.get(series, 0) == piece.start and piece.path(folder).is_file():
            reached[series] = piece.start + piece.count
            found.append(piece)
    return found


def check_settings(settings: dict, folder: Path) -> None:
    """Record a run's settings in its folder, or compare them with those recorded.

    Raises:
        ValueError: the fills in the folder were made with other settings.
    """
    path = folder / "fills" / "settings.json"
    if path.is_file():
        before = json.loads(path.read_text("utf-8"))
        if other := [name for name in settings if before.get(name) != settings[name]]:
            raise ValueError(f"{folder} has fills made with another {' and '.join(other)}: choose another --output.")
    atomic_write(path, lambda temporary: Path(temporary).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8"))
