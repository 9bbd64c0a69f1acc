"""Many processes, on one machine or several, that train together: started by `accelerate launch`."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many. Alone unless `Processes.launched` found others."""

    rank: int = 0
    count: int = 1
    device: torch.device | None = None  # of this process, where there are others

    @classmethod
    def launched(cls, cpu: bool) -> "Processes":
        """As `accelerate launch` started this one. With `cpu` GPUs are left alone."""
        from accelerate import PartialState  # slow to import

        state = PartialState(cpu=cpu)
        return cls(state.process_index, state.num_processes, state.device if state.num_processes > 1 else None)

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def sum_up(self, gradients: Iterable[nn.Parameter], values: Tensor | None = None) -> Tensor | None:
        """Add up the gradients of all processes in place, and a vector of values with them, in one message.

        Sums, not means: each process weighs its own share of the batch. (Wrapping networks for it would hook into every backward pass,
        of which SDM has several in a step.)
        """
        if self.count == 1:
            return values
        from accelerate.utils import reduce

        parts = [p.grad for p in gradients if p.grad is not None] + ([] if values is None else [values])
        total = reduce(torch.cat([part.flatten().float() for part in parts]), "sum").split([part.numel() for part in parts])
        for part, summed in zip(parts, total, strict=True):
            part.copy_(summed.view_as(part))
        return values
