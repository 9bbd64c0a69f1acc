"""What an estimate's error on the known pixels says about its error in the hole, without asking the network.

A GAUSSIAN MARKOV FIELD (Rue and Held 2005) stands for pictures: jumps between neighbours are independent with variance a, so that
log p(u) = -sum_axis |D u|^2 / 2 a. Seen through noise of sigma, the error u of the estimate of least squared error has that prior's
posterior covariance, whose inverse is sum_axis D^T D / a + 1 / sigma^2. On known pixels u is known, and the mean of the rest is where

    (sum_axis D^T D / a + 1 / sigma^2) u = 0  in the hole:

a membrane fixed at the known pixels, drawn back to 0 over a distance of about sigma / sqrt(a) pixels. Where the noise is strong it
reaches far, and it fades as the network sees more.
"""

import torch
from torch import Tensor

from .losses import add_transposed_diff, append_dims

ITERATIONS = 64  # of conjugate gradients; a fixed number, so that a picture's result does not depend on its batch


class ErrorField:
    """The field of a batch of pictures: how smooth they are, measured on their known pixels.

    Channels are first turned so that their jumps are uncorrelated: a VAE's channels mix brightness, colour and detail.

    Args:
        picture: (B, C, ...), any values in the hole. known: (B, 1, ...), 1 = known; other values count as hole.
    """

    def __init__(self, picture: Tensor, known: Tensor):
        self.known = known == 1
        jumps = [self._known_jumps(picture.float(), axis) for axis in range(2, picture.ndim)]
        # (B, C, C), a channel in each column; by the CPU, as not every device can
        self.basis = torch.linalg.eigh(sum(jumps).cpu())[1].to(picture.device)
        variances = [torch.einsum("bck,bcd,bdk->bk", self.basis, jump, self.basis) for jump in jumps]
        self.unit = torch.stack(variances).amax(0).clamp(min=1e-8)
        # a still video's jumps in time are 0; a hundredth of the others is stiff enough
        self.stiffness = [self.unit / torch.maximum(variance, self.unit / 100) for variance in variances]

    def mean(self, error: Tensor, sigma: float) -> Tensor:
        """The error (B, C, ...), and in the hole its mean given the known pixels: a membrane in units of `unit`, see above.

        Args:
            error: its values in the hole are ignored.
            sigma: noise beside a signal of 1; sigma / (1 - sigma) in a flow.
        """
        fixed = torch.where(self.known, self._turn("bck,bc...->bk...", error.float()), 0)
        screen = _per_channel(self.unit / sigma**2, error)
        apply = lambda u: torch.where(self.known, 0, self._stretched(u) + screen * u)
        total = lambda a, b: _per_channel((a * b).flatten(2).sum(2), error)
        hole, rest = torch.zeros_like(fixed), -apply(fixed)
        step, size = rest, total(rest, rest)
        for _ in range(ITERATIONS):
            applied = apply(step)
            length = size / total(step, applied).clamp(min=1e-30)
            hole, rest = hole + length * step, rest - length * applied
            before, size = size, total(rest, rest)
            step = rest + size / before.clamp(min=1e-30) * step
        return self._turn("bck,bk...->bc...", fixed + hole).to(error)

    def _turn(self, rule: str, values: Tensor) -> Tensor:
        return torch.einsum(rule, self.basis, values)

    def _stretched(self, u: Tensor) -> Tensor:
        """sum_axis D^T D u / a, in units of 1 / `unit`."""
        out = torch.zeros_like(u)
        for axis, stiffness in enumerate(self.stiffness, 2):
            add_transposed_diff(_per_channel(stiffness, u) * u.diff(dim=axis), axis, out)
        return out

    def _known_jumps(self, picture: Tensor, axis: int) -> Tensor:
        """Mean of j j^T over the jumps j between known neighbours: (B, C, C)."""
        length = picture.shape[axis] - 1
        both = self.known.narrow(axis, 1, length) & self.known.narrow(axis, 0, length)
        jump = torch.where(both, picture.diff(dim=axis), 0).flatten(2)
        count = both.flatten(1).sum(1).clamp(min=1).expand(len(picture))
        return jump @ jump.mT / append_dims(count, jump)


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    """(B, C) as (B, C, 1, ...), with as many axes as `like`."""
    return values.view(*values.shape, *[1] * (like.ndim - 2))
