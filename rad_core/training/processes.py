"""Data-parallel training with several processes on one machine or more, started by `accelerate launch`."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """This process's rank among those that train together. The defaults describe a process that trains alone."""

    rank: int = 0
    count: int = 1
    device: torch.device | None = None  # this process's own, if there are several

    @classmethod
    def launched(cls, cpu: bool) -> "Processes":
        """The processes that `accelerate launch` started; this one alone if it did not. `cpu`: use no GPU."""
        from accelerate import PartialState  # slow to import

        state = PartialState(cpu=cpu)
        return cls(state.process_index, state.num_processes, state.device if state.num_processes > 1 else None)

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def all_reduce(self, parameters: Iterable[nn.Parameter], values: Tensor | None = None) -> Tensor | None:
        """Sum the parameters' gradients and a vector of values over all processes, in place and in one message.

        Sums, not means: the losses already weigh each process's share of the batch. (DistributedDataParallel would reduce in every
        backward pass, of which a step of SDM has several.)
        """
        if self.count == 1:
            return values
        from accelerate.utils import reduce

        local = [p.grad for p in parameters if p.grad is not None] + ([] if values is None else [values])
        total = reduce(torch.cat([tensor.flatten().float() for tensor in local]), "sum").split([tensor.numel() for tensor in local])
        for tensor, summed in zip(local, total, strict=True):
            tensor.copy_(summed.view_as(tensor))
        return values
