"""Tensors that may be more than fit into memory."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor


class TensorStore:
    """Keeps copies of tensors: in memory up to a limit, beyond it in files that the system maps into memory as they are read.

    A context manager: the files are gone after its block, and the tensors with them.

    Args:
        limit: bytes of memory.
        folder: where its own folder of files is made; None for the system's.
    """

    def __init__(self, limit: int, folder: Path | None = None):
        self.left = limit
        self._files = TemporaryDirectory(prefix="tensors", dir=folder, ignore_cleanup_errors=True)
        self._count = 0

    def __enter__(self) -> "TensorStore":
        return self

    def __exit__(self, *_) -> None:
        self._files.cleanup()

    @torch.no_grad()
    def keep(self, value: Tensor) -> Tensor:
        """A copy on the CPU, never one of PyTorch's inference mode, which autograd refuses."""
        with torch.inference_mode(False):
            self.left -= value.nbytes
            if self.left >= 0 or not value.numel():
                return torch.empty(value.shape, dtype=value.dtype).copy_(value)
            self._count += 1
            path = Path(self._files.name) / f"{self._count}.bin"
            mapped = torch.from_file(str(path), shared=True, size=value.numel(), dtype=value.dtype)
            return mapped.view(value.shape).copy_(value)
