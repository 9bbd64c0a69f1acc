"""What it costs to use a source that serves a place nearby already.

A denoiser decides patch by patch, so the same wave, blade or head may come several times in a row: each time it is the best, and the
eye sees a pattern at once. So of all the queries that share a source one uses it for nothing, and the others nearby pay a share of the
median distance d: little enough that a line or a lattice, which nothing else continues, goes on.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NEARBY = 30  # pixels of a level within which a repeat is seen
SAME = 2  # pixels: a copy that is stretched a little uses a source twice as well


@dataclass(frozen=True)
class Repeats:
    """Who uses which source.

    user: (N,) int32, the query that uses a source for nothing, -1 where none does. cost: what the others pay. width: of the canvas.
    """

    user: Tensor
    cost: float
    width: int

    @classmethod
    def of(cls, match: Tensor, queries: Tensor, count: int, cost: float, width: int) -> "Repeats":
        """From the queries' present sources, match (Q,) of `count`."""
        user = torch.full((count,), -1, dtype=torch.int32, device=match.device)
        return cls(user.scatter_reduce_(0, match, queries.int(), "amax"), cost, width)

    def __call__(self, queries: Tensor, sources: Tensor) -> Tensor:
        """What sources cost, by the query that would use them; any shapes that go together."""
        user, queries = self.user[sources], queries.int()
        rows, columns = user // self.width - queries // self.width, user % self.width - queries % self.width
        away = torch.maximum(rows.abs_(), columns.abs_())
        return self.cost * ((user >= 0) & (away > SAME) & (away <= NEARBY))

    def add_to(self, d: Tensor, queries: Tensor, keys: Tensor) -> None:
        """Add what all keys (K,) cost all queries (n,) to distances (n, K)."""
        used = (self.user[keys] >= 0).nonzero()[:, 0]
        d[:, used] += self(queries[:, None], keys[used])
