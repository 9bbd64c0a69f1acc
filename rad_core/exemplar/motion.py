"""Where a frame's pixels are in another frame of a video: an affine motion of what is around the hole, to a fraction of a pixel.

First one translation s, that of least mean squared difference of gradients (light may change) over the pixels known in both, at a
small size: sum_x m_a(x) m_b(x + s) |a(x) - b(x + s)|^2, for all s at once by Fourier transforms. From there, coarse to fine, Gauss-Newton
steps on the motion M (Lucas and Kanade 1981), by the mean of both pictures' gradients (Benhimane and Malis 2004), with a gain g and a
bias c for light that changes:

    min over D, g, c of sum_x w(x) |b(M x) - a(x) + grad(x) D x + g b(M x) + c|^2,    M <- M (1 + D),

where w is small at pixels that differ much (Geman and McClure 1987): something else moves there.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..boxes import Box
from ..depth import touches

SIDE, COARSE, FINE = 384, 96, 256  # longest side of a frame and of a box where all translations are compared; of a box in the last steps
STEPS = 6  # at each size
SMALL = 0.01  # pixels that a step moves the box's border by when they end
OVERLAP = 0.3  # least share of the known pixels around the hole that must be seen in both
NOISE = 1e-5  # a difference that means nothing
AGREE = 0.4  # of the difference of two frames that have nothing in common: less is the same scene
WHOLE = 0.1  # pixels by which a motion may differ from a whole translation and pass for one
USUAL = (2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.3, 0.1)  # D at the box's border in pixels, g and c: what the noise of 100 pixels weighs against
LEAST, MOST = 32, 4096  # pixels to find a motion from; to find its noise from
MARGIN = 8  # pixels around the moved box


@dataclass(frozen=True)
class Motion:
    """matrix: (3, 3) float64 on the CPU, from places (y, x, 1) in a frame to those in another, in pixels from its corner: the middle of
    the first pixel is (.5, .5). difference: mean squared difference of the gradients that remains."""

    matrix: Tensor
    difference: float = 0.0

    def shift(self, box: Box) -> tuple[int, int] | None:
        """The whole numbers of pixels (dy, dx) by which a box moves, or None if they are not whole."""
        corners = _corners(box)
        by = (self.matrix @ corners - corners)[:2]
        whole = by.mean(1, keepdim=True).round()
        return tuple(int(v) for v in whole[:, 0]) if bool(((by - whole).abs() < WHOLE).all()) else None


STILL = Motion(torch.eye(3, dtype=torch.float64))


def motion(a: Tensor, a_known: Tensor, b: Tensor, b_known: Tensor, box: Box, start: Motion = STILL) -> Motion | None:
    """The motion that takes pixels of a (3, H, W) to b's, by the known ones in a box, or None where the two show different things.

    Args:
        start: about the motion, up to a translation: that of a frame between them.
    """
    level, picture = 0, Box(0, 0, *a_known.shape)
    while picture.longer > SIDE << level or box.longer > COARSE << level:
        level += 1
    around = torch.zeros_like(a_known)
    box.cut(around)[:] = box.cut(a_known)
    first, second = _Part.of(a, around, picture, level), _Part.of(b, b_known, Box(0, 0, *b_known.shape), level)
    matrix = second.inside(start.matrix, first)
    shift = _translation(first, second.moved(matrix, first))
    if shift is None:
        return None
    matrix, same = second.outside(matrix @ _translate(*shift), first), False
    while True:
        first, second = _Part.of(a, a_known, box, level), _Part.of(b, b_known, _moved_box(matrix, box, b_known), level)
        before = second.inside(matrix, first)
        after = _gauss_newton(before, first, second)
        (difference, apart), (kept, _) = (_difference(first, second.moved(inside, first)) for inside in (after, before))
        if difference < kept:
            matrix = second.outside(after, first)
        difference = min(difference, kept)
        if not same and not difference <= AGREE * apart + NOISE:
            return None
        if level == 0 or box.longer > FINE << (level - 1):
            return Motion(matrix, difference)
        level, same = level - 1, True


def places(matrix: Tensor, height: int, width: int, device: torch.device) -> Tensor:
    """Where the pixels of a map go, (2, h, w): y and x."""
    y, x = ((torch.arange(side, device=device) + 0.5) for side in (height, width))
    (a, b, c), (d, e, f) = matrix[:2].tolist()
    y, x = y[:, None], x[None]
    return torch.stack([a * y + b * x + c, d * y + e * x + f])


def sample(maps: Tensor, where: Tensor, mode: str = "bilinear") -> Tensor:
    """Maps (C, h, w) at places (2, h', w'), (C, h', w'); 0 outside."""
    size = torch.tensor(maps.shape[1:], device=maps.device)[:, None, None]
    grid = (where / size * 2 - 1).flip(0).movedim(0, -1)
    return F.grid_sample(maps[None], grid[None], mode, "zeros", align_corners=False)[0]


@dataclass(frozen=True)
class _Part:
    """A part of a picture at a size. grey: (h, w), 0 where not known. known: (h, w) bool. frame: (3, 3), from its places to the
    picture's."""

    grey: Tensor
    known: Tensor
    frame: Tensor

    @classmethod
    def of(cls, colour: Tensor, known: Tensor, box: Box, level: int) -> "_Part":
        """A box of a picture, halved `level` times."""
        grey, share, by = box.cut(colour).mean(0), box.cut(known).float(), 2**level
        if level:
            grey, share = F.avg_pool2d(torch.stack([grey * share, share]), by, ceil_mode=True)
        known = share > 0.99
        frame = torch.tensor([[by, 0, box.top], [0, by, box.left], [0, 0, 1]], dtype=torch.float64)
        return cls(grey * known, known, frame)

    def inside(self, matrix: Tensor, first: "_Part") -> Tensor:
        """A motion between two pictures as one from a part of the first to this part of the second."""
        return torch.linalg.solve(self.frame, matrix @ first.frame)

    def outside(self, matrix: Tensor, first: "_Part") -> Tensor:
        """The reverse of `inside`."""
        return self.frame @ matrix @ torch.linalg.inv(first.frame)

    def moved(self, matrix: Tensor, first: "_Part") -> "_Part":
        """This part where the pixels of the first go."""
        maps = sample(torch.stack([self.grey, self.known.to(self.grey.dtype)]), places(matrix, *first.known.shape, self.grey.device))
        known = maps[1] > 0.999
        return _Part(maps[0] * known, known, first.frame)

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Differences (2, h, w) to the next pixel below and right, 0 where not known, and where they are (h, w)."""
        grey, known = self.grey, self.known
        good = torch.zeros_like(known)
        good[:-1, :-1] = known[:-1, :-1] & known[:-1, 1:] & known[1:, :-1]
        out = torch.zeros(2, *grey.shape, device=grey.device)
        out[0, :-1], out[1, :, :-1] = grey[1:] - grey[:-1], grey[:, 1:] - grey[:, :-1]
        return out * good, good


def _gauss_newton(matrix: Tensor, first: _Part, second: _Part) -> Tensor:
    """Improve a motion between two parts."""
    a, (height, width) = first.grey, first.grey.shape
    if min(height, width) < 3:
        return matrix
    radius, centre = max(height, width) / 2, _translate(height / 2, width / 2)
    y, x = ((torch.arange(1, side - 1, device=a.device) + 0.5 - side / 2) / radius for side in (height, width))
    y, x, usual = y[:, None], x[None], torch.tensor(USUAL, device=a.device)
    for _ in range(STEPS):
        moved = second.moved(matrix, first)
        good = ~touches(~(moved.known & first.known), 3)  # with both neighbours of each pixel
        mean, b = (a + moved.grey) / 2, moved.grey[1:-1, 1:-1]
        down, right = (mean[2:, 1:-1] - mean[:-2, 1:-1]) / 2, (mean[1:-1, 2:] - mean[1:-1, :-2]) / 2
        residual = b - a[1:-1, 1:-1]
        errors = residual[good].abs()
        if len(errors) < LEAST:
            return matrix
        noise = 1.48 * errors[:: 1 + len(errors) // MOST].median() + 1e-3
        weight = (1 + (residual / (3 * noise)).square()).reciprocal().square() * good
        j = torch.stack([down * y, down * x, down, right * y, right * x, right, b, torch.ones_like(b)]).flatten(1)
        weighted = j * weight.flatten()
        h, g = weighted @ j.T + torch.diag(100 * (noise / usual).square()), weighted @ residual.flatten()
        d = -torch.linalg.solve(h.double().cpu(), g.double().cpu())[:6].view(2, 3)
        step = torch.eye(3, dtype=torch.float64)
        step[:2] += d / torch.tensor([radius, radius, 1])
        matrix = matrix @ centre @ step @ torch.linalg.inv(centre)
        if float(d.abs().max()) < SMALL:
            break
    return matrix


def _translation(first: _Part, second: _Part) -> tuple[int, int] | None:
    """The best of all translations; None if the two overlap too little in each."""
    (a, a_known), (b, b_known) = first.gradients(), second.gradients()
    height, width = a_known.shape
    padded = (2 * height, 2 * width)
    to = lambda g, known: torch.fft.rfft2(torch.cat([g, known[None], g.square().sum(0, keepdim=True)]), s=padded)
    back = lambda spectrum: torch.fft.irfft2(spectrum, s=padded)
    at, bt = to(a, a_known).conj(), to(b, b_known)
    count = back(at[2] * bt[2])
    apart = back(at[3] * bt[2] + at[2] * bt[3])  # of two pictures that have nothing in common
    error = (apart - 2 * back((at[:2] * bt[:2]).sum(0))).clamp(min=0)
    few = count < max(1.0, OVERLAP * float(a_known.sum()))
    y, x = (torch.fft.fftfreq(n, 1 / n, device=a.device) for n in padded)
    length = torch.hypot(y[:, None], x) / max(height, width)
    share = (error + NOISE * count) / (apart + NOISE * count).clamp(min=NOISE)
    cost = (share + 1e-3 * length).masked_fill_(few, torch.inf)
    best = int(cost.argmin())
    if not bool(cost.flatten()[best].isfinite()):
        return None
    return round(float(y[best // padded[1]])), round(float(x[best % padded[1]]))


def _difference(first: _Part, second: _Part) -> tuple[float, float]:
    """Mean squared difference of the gradients, and what it would be if they had nothing in common."""
    (a, a_known), (b, b_known) = first.gradients(), second.gradients()
    both = a_known & b_known
    count = float(both.sum())
    if not count:
        return float("inf"), 0.0
    mean = lambda errors: float((errors.square().sum(0) * both).sum()) / count
    return mean(a - b), mean(a) + mean(b)


def _moved_box(matrix: Tensor, box: Box, known: Tensor) -> Box:
    """The part of the other picture that holds a moved box and some pixels around it; at least one pixel."""
    corners = (matrix @ _corners(box))[:2]
    spans = []
    for low, high, side in zip(corners.amin(1).tolist(), corners.amax(1).tolist(), known.shape, strict=True):
        start = min(max(0, int(low) - MARGIN), side - 1)
        spans.append((start, max(1, min(side, int(high) + MARGIN) - start)))
    (top, height), (left, width) = spans
    return Box(top, left, height, width)


def _corners(box: Box) -> Tensor:
    """The corners of a box, (3, 4): y, x and 1."""
    places = [(y, x, 1) for y in (box.top, box.top + box.height) for x in (box.left, box.left + box.width)]
    return torch.tensor(places, dtype=torch.float64).T


def _translate(dy: float, dx: float) -> Tensor:
    return torch.tensor([[1, 0, dy], [0, 1, dx], [0, 0, 1]], dtype=torch.float64)
