"""Lines that a hole interrupts: horizons, roads, planks, cables, the edge of a table.

An edge that runs into the hole ends at its rim. Two ends are one line where the colours across them are alike and a parabola leads
from one to the other along the directions of both. A patch on the line is then copied from the line's visible part, from as far beside
it: `LineGuide`. (Sun et al. 2005 and Barnes et al. 2009 let the user draw such lines.)
"""

from dataclasses import dataclass
from math import hypot, pi

import torch
import torch.nn.functional as F
from torch import Tensor

from ..depth import depth_of
from .level import Level
from .scene import KNOWN, Scene

LONGEST = 480  # pixels of the context's longer side where lines are looked for
WINDOW, HALF = 14, 3  # pixels along an edge and to either side of it whose colours are compared
RIM, AHEAD = 6, 24  # pixels from the hole within which ends are found, and within which an end must meet it
ENDS = 64  # at most
CONTRAST, CLEAR = 0.002, 2.0  # variance of the colours across an edge, and that as a multiple of the variance along it, at least
LIKE, DIFFER, UNEVEN = 0.85, 1.0, 10.0  # correlation, squared difference as a multiple of the contrast, degrees: see `_join`
THIN = 3  # pixels of depth: a hole that is nowhere as deep needs no lines
STRAIGHT = 1.0  # pixels: a line that rises by less is straight, so that the two edges of a stripe stay parallel
HIDDEN = 0.35  # share of a line that lies in the hole, at least
BAND, WEIGHT, FAR = 0.8, 0.1, 1000.0  # see `LineGuide`


@dataclass(frozen=True)
class Line:
    """A parabola from `start` to `end`, (y, x) in pixels of a picture of `height` rows, that rises by `rise` over their chord."""

    start: tuple[float, float]
    end: tuple[float, float]
    rise: float
    height: int

    def at(self, height: int, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor, float]:
        """Where pixels of a level of some height are: how far beside the line, and how far along it, in that level's pixels.

        Returns:
            aside: signed. along: 0 at its start. length: of the chord.
        """
        scale = self.height / height
        dy, dx = self.end[0] - self.start[0], self.end[1] - self.start[1]
        length = hypot(dy, dx)
        y, x = (y + 0.5) * scale - 0.5 - self.start[0], (x + 0.5) * scale - 0.5 - self.start[1]
        share = (y * dy + x * dx) / length**2
        aside = (y * dx - x * dy) / length - 4 * self.rise * share * (1 - share)
        return aside / scale, share * length / scale, length / scale

    def points(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        """y and x of points of the line, 0 being its start and 1 its end."""
        dy, dx = self.end[0] - self.start[0], self.end[1] - self.start[1]
        height = 4 * self.rise / hypot(dy, dx) * shares * (1 - shares)
        return self.start[0] + shares * dy + height * dx, self.start[1] + shares * dx - height * dy


@dataclass(frozen=True)
class Ends:
    """Edges that run into the hole.

    point: (n, 2), y and x. angle: (n,), the way into the hole is (sin, cos). profile: (n, 3, 7), mean colours across the edge.
    contrast: (n,), their variance. clear: (n,), the contrast as a multiple of the variance along the edge.
    """

    point: Tensor
    angle: Tensor
    profile: Tensor
    contrast: Tensor
    clear: Tensor

    def take(self, index: Tensor) -> "Ends":
        return Ends(*(values[index] for values in vars(self).values()))

    def cpu(self) -> "Ends":
        return Ends(*(values.cpu() for values in vars(self).values()))


def find_lines(scene: Scene, most: int) -> list[Line]:
    """The lines, `most` at most, that the hole of a scene interrupts."""
    size = scene.scaled(max(1.0, max(scene.size) / LONGEST))
    colour, share = scene.sources[0].at(size)
    hole, excluded = scene.holes_at(size)
    if min(size) < 2 * WINDOW or depth_of(hole, THIN).max() < THIN:
        return []
    ends = _ends(colour, (share >= KNOWN) & ~excluded, hole)
    return _join(ends, hole.cpu(), most) if len(ends.angle) else []


def _ends(colour: Tensor, known: Tensor, hole: Tensor) -> Ends:
    """Ends of edges of a picture (3, h, w) at its hole (h, w), the sharpest first, on the CPU: they are few and compared one by one."""
    point, angle = _edge_points(colour, known, hole)
    ends, edge = _refined(point, angle, torch.cat([colour * known, known[None].to(colour)]))
    ends, edge, chosen = ends.cpu(), edge.cpu(), []
    for k in edge.argsort(descending=True, stable=True).tolist():  # an edge is seen at several pixels: its strongest one counts
        apart = (ends.point[chosen] - ends.point[k]).norm(dim=1) > 3
        apart |= (ends.angle[chosen] - ends.angle[k]).cos() < 0.5
        if bool(apart.all()):
            chosen.append(k)
    return ends.take(torch.tensor(chosen[:ENDS], dtype=torch.long))


def _edge_points(colour: Tensor, known: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """Strongest pixels of edges near the hole that run into it: (n, 2) and the angles of their ways in (n,), by the structure tensor."""
    blurred = F.avg_pool2d(F.pad(colour[None], (1,) * 4, mode="replicate"), 3, 1)[0]
    gy, gx = F.pad(blurred[:, 2:] - blurred[:, :-2], (0, 0, 1, 1)), F.pad(blurred[..., 2:] - blurred[..., :-2], (1, 1))
    grown = lambda map_, by: F.max_pool2d(map_[None].to(colour), 2 * by + 1, 1, by)[0] > 0
    clean = F.pad(~grown(~known, 2)[2:-2, 2:-2], (2,) * 4)
    products = torch.stack([(gy * gy).sum(0), (gy * gx).sum(0), (gx * gx).sum(0)]) * clean
    yy, yx, xx = F.avg_pool2d(F.pad(products[None], (1,) * 4), 3, 1)[0]
    coherent = torch.hypot(yy - xx, 2 * yx) > 0.3 * (yy + xx)
    strength = (yy + xx) * (grown(hole, RIM) & clean & coherent)
    y, x = ((strength > 1e-3) & (strength == F.max_pool2d(strength[None], 3, 1, 1)[0])).nonzero().unbind(1)
    strongest = strength[y, x].argsort(descending=True, stable=True)[: 4 * ENDS]
    y, x = y[strongest], x[strongest]
    angle = torch.atan2(2 * yx[y, x], (xx - yy)[y, x]) / 2 + pi / 2  # across the gradient
    steps = torch.arange(1, AHEAD, device=hole.device)
    ahead = lambda s: _looked_up(hole, y[:, None] + s * angle.sin()[:, None], x[:, None] + s * angle.cos()[:, None])
    forward, back = ahead(steps), ahead(-steps)
    meets = (forward | back).any(1)
    return torch.stack([y, x], 1)[meets].to(colour), torch.where(forward.sum(1) >= back.sum(1), angle, angle + pi)[meets]


def _refined(point: Tensor, angle: Tensor, maps: Tensor) -> tuple[Ends, Tensor]:
    """Ends at the places and angles nearby where the edge is sharpest, those of them that are clear, and their sharpness.

    maps: (4, h, w), colours and 1 where they are known.
    """
    device, (h, w) = maps.device, maps.shape[1:]
    turn = torch.arange(-3, 4, device=device).repeat_interleave(5) * (3 * pi / 180)
    shift = torch.arange(-2, 3, device=device).repeat(7) * 0.5
    angle = angle[:, None] + turn  # (n, 35)
    way = torch.stack([angle.sin(), angle.cos()], -1)
    across = torch.stack([angle.cos(), -angle.sin()], -1)
    point = point[:, None] + shift[:, None] * across
    back, aside = torch.arange(WINDOW, device=device)[:, None, None], torch.arange(-HALF, HALF + 1, device=device)[:, None]
    places = point[..., None, None, :] - back * way[..., None, None, :] + aside * across[..., None, None, :]  # (n, 35, 14, 7, 2)
    grid = torch.stack([(2 * places[..., 1] + 1) / w - 1, (2 * places[..., 0] + 1) / h - 1], -1)
    seen = F.grid_sample(maps[None], grid.view(1, 1, -1, 2), align_corners=False)[0].view(4, *grid.shape[:-1])
    valid = (seen[3] > 0.99).to(maps)
    profile = (seen[:3] * valid).sum(3) / valid.sum(2).clamp(min=1)  # (3, n, 35, 7)
    along = ((seen[:3] - profile[:, :, :, None]).square() * valid).sum((0, 3, 4)) / valid.sum((2, 3)).clamp(min=1)
    contrast = (profile - profile.mean(3, keepdim=True)).square().sum(0).mean(2)
    enough = valid.mean((2, 3)) > 0.6
    sharp = (profile[..., HALF + 1] - profile[..., HALF - 1]).square().sum(0) * enough
    best = (torch.arange(len(angle), device=device), sharp.argmax(1))
    clear = contrast / along.clamp(min=1e-9)
    ends = Ends(*(values[best] for values in (point, angle, profile.permute(1, 2, 0, 3), contrast, clear)))
    good = (enough[best] & (ends.contrast > CONTRAST) & (ends.clear > CLEAR)).nonzero()[:, 0]
    return ends.take(good), sharp[best][good]


def _join(ends: Ends, hole: Tensor, most: int) -> list[Line]:
    """Pairs of ends that make a line, the best first, each end in one of them.

    A parabola leaves its chord at opposite angles at both ends. Their sum may be UNEVEN degrees, and neither more degrees than its end
    is clear: the more a line bends, the less it must be mistaken.
    """
    chord = ends.point[None] - ends.point[:, None]  # from the row's end to the column's
    course = torch.atan2(chord[..., 0], chord[..., 1])
    turned = lambda angle: (torch.remainder(angle + pi, 2 * pi) - pi) * (180 / pi)
    leaving, arriving = turned(ends.angle[:, None] - course), turned(ends.angle[None] + pi - course)
    both = lambda values, least: least(values[:, None], values[None])
    bend, clear = torch.maximum(leaving.abs(), arriving.abs()), both(ends.clear, torch.minimum)
    ours, theirs = ends.profile[:, None], ends.profile[None].flip(3)
    centred = lambda profile: profile - profile.mean(3, keepdim=True)
    like = (centred(ours) * centred(theirs)).sum(2).mean(2) / both(ends.contrast, torch.mul).sqrt()
    differ = (ours - theirs).square().sum(2).mean(2) / both(ends.contrast, torch.minimum)
    uneven = (leaving + arriving).abs()
    good = (like > LIKE) & (differ < DIFFER) & (bend < clear.clamp(max=30)) & (uneven < UNEVEN) & (chord.norm(dim=2) > 4)
    score = like - differ / 2 - bend / 60 - uneven / (2 * UNEVEN)
    score = score.masked_fill(~good.triu(1), -torch.inf)
    lines = []
    while len(lines) < most and score.max() > -torch.inf:
        i, j = divmod(int(score.argmax()), len(score))
        score[[i, j]] = score[:, [i, j]] = -torch.inf
        slope = float(leaving[i, j] - arriving[i, j]) / 2 * pi / 180  # of a parabola at its ends: 4 rise / length
        rise = float(chord[i, j].norm()) * slope / 4
        line = Line(*(tuple(ends.point[k].tolist()) for k in (i, j)), rise if abs(rise) > STRAIGHT else 0.0, len(hole))
        if _looked_up(hole, *line.points(torch.linspace(0, 1, 32))).float().mean() > HIDDEN:
            lines.append(line)
    return lines


def _looked_up(map_: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """A map's values (h, w) at the nearest pixels."""
    nearest = lambda at, side: at.round().long().clamp(0, side - 1)
    return map_[nearest(y, map_.shape[0]), nearest(x, map_.shape[1])]


class LineGuide:
    """What lines ask of the matches of a level, if that is not so small that they vanish, nor so large that their place is not exact.

    A query belongs to a line where its middle is within BAND patches of it, up to a patch beyond its ends. A source that is farther
    from the query's place beside the line than half a pixel costs WEIGHT times the square of the rest. The line's visible parts reach
    2 WINDOW beyond its ends; all other sources are FAR beside it.

    Args:
        level: of the picture alone, without references. lines: of the scene.

    Attributes:
        own: (Q,) the line of each query, -1 for none. keys: the sources on each line's visible parts.
        aside, place: (lines, h * width), how far beside the line a query and a source are, by the pixel in their middle.
    """

    def __init__(self, level: Level, lines: list[Line]):
        h, width, self.level = level.height, level.width, level
        self.middle = (level.patch // 2) * (width + 1)
        device = level.state.device
        pixel = torch.arange(h * width, device=device)
        queries, band = level.queries + self.middle, BAND * level.patch
        self.own = torch.full((len(queries),), -1, dtype=torch.long, device=device)
        nearest = torch.full((len(queries),), band, device=device)
        asides, places, self.keys = [], [], []
        for line in lines:
            aside, along, length = line.at(h, pixel // width, pixel % width)
            beyond = torch.maximum(-along, along - length)  # how far from its ends
            seen = (beyond >= 0) & (beyond <= 2 * WINDOW * h / line.height) & (aside.abs() <= band + 2)
            place = torch.where(seen, aside, FAR)
            keys = level.keys[place[level.keys + self.middle] < FAR]
            if len(keys):
                mine = (beyond[queries] < level.patch) & (aside[queries].abs() < nearest)
                self.own[mine], nearest[mine] = len(self.keys), aside[queries][mine].abs()
                asides.append(aside)
                places.append(place)
                self.keys.append(keys)
        self.aside, self.place = (torch.stack(maps) if maps else torch.zeros(0, h * width, device=device) for maps in (asides, places))

    def cost(self, own: Tensor, queries: Tensor, sources: Tensor) -> Tensor:
        """Cost of sources for queries on their `own` lines; shapes that broadcast."""
        total = self.place.shape[1]
        place = self.place.flatten()[own * total + sources + self.middle]
        off = (self.aside.flatten()[own * total + queries + self.middle] - place).abs()
        return WEIGHT * (off - 0.5).clamp_(min=0).square_()

    def add_cost(self, distance: Tensor, queries: Tensor, sources: Tensor) -> None:
        """Add the cost of one source for each of some queries to their distances (n,)."""
        own = self.own[self.level.slot[queries + self.level.slot_offset].long()]
        on = (own >= 0).nonzero()[:, 0]
        distance[on] += self.cost(own[on], queries[on], sources[on])
