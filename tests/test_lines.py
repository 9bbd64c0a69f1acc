"""Lines that a hole interrupts: found where they are, and continued."""

import pytest
import torch

from rad_core.exemplar import exemplar_inpaint
from rad_core.exemplar.lines import Line, find_lines
from rad_core.exemplar.scene import Scene

SIDE = 160
HOLE = torch.zeros(SIDE, SIDE, dtype=torch.bool)
HOLE[55:105, 60:100] = True
Y, X = torch.meshgrid(torch.arange(SIDE).float(), torch.arange(SIDE).float(), indexing="ij")


def grain(amount: float = 0.05, seed: int = 0) -> torch.Tensor:
    return 0.4 + amount * torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def striped(aside: torch.Tensor) -> torch.Tensor:
    """A white stripe, three pixels wide, on grain; aside: (SIDE, SIDE), distance from its middle."""
    share = (2 - aside.abs()).clamp(0, 1)
    return torch.lerp(grain(), torch.tensor(0.95), share).clamp(0, 1)


STRAIGHT = ((Y - 80) - 0.3 * (X - 80)) / 1.09**0.5
ROUND = 150 - torch.hypot(Y - 225, X - 80)  # a circle's top, at y = 75
CASES = {"straight": (STRAIGHT, lambda y, x: (y - 80) - 0.3 * (x - 80)), "round": (ROUND, lambda y, x: 150 - torch.hypot(y - 225, x - 80))}


@pytest.mark.parametrize("case", CASES)
def test_lines_are_found_where_they_are(case):
    aside, distance = CASES[case]
    lines = find_lines(Scene.of(striped(aside), HOLE), 12)
    assert 1 <= len(lines) <= 2, "one edge of the stripe, or both"
    for line in lines:
        assert (line.rise == 0) == (case == "straight")
        y, x = line.points(torch.linspace(0, 1, 9))
        assert distance(y, x).abs().max() < 3, "an edge is 1.5 pixels from the middle"
        there, along, length = line.at(SIDE, y, x)
        assert there.abs().max() < 1e-3 and torch.allclose(along, torch.linspace(0, length, 9), atol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_lines_go_on_through_the_hole(case):
    truth = striped(CASES[case][0])
    fill = lambda lines: exemplar_inpaint(truth[None], HOLE[None, None].float(), lines=lines)[0][0]
    error = lambda out: float((out - truth)[:, HOLE].square().mean())
    out = fill(12)
    assert torch.equal(out[:, ~HOLE], truth[:, ~HOLE])
    assert error(out) < 0.95 * error(fill(0)), "without, the stripe has a step or a corner"


def test_two_levels_agree_on_a_line():
    line = Line((20.0, 10.0), (30.0, 70.0), 3.0, 100)
    aside, along, length = line.at(100, torch.tensor(40.0), torch.tensor(50.0))
    small = line.at(50, torch.tensor(40.5 / 2 - 0.5), torch.tensor(50.5 / 2 - 0.5))
    assert torch.allclose(torch.stack([aside, along]) / 2, torch.stack(small[:2])) and small[2] == length / 2


def test_nothing_is_seen_in_grain_or_flat_colour_or_at_corners():
    corner = torch.lerp(grain(), torch.tensor(0.9), ((Y > 80) & (X > 80)).float())  # its two edges meet in the hole
    for picture in (grain(0.2), grain(0.05, 1), torch.full((3, SIDE, SIDE), 0.5), corner):
        assert find_lines(Scene.of(picture.clamp(0, 1), HOLE), 12) == []


def test_as_many_lines_as_asked_for(monkeypatch):
    rails = torch.lerp(grain(), torch.tensor(0.95), ((Y % 20) < 4).float())
    assert len(find_lines(Scene.of(rails, HOLE), 12)) >= 4 and len(find_lines(Scene.of(rails, HOLE), 2)) == 2
    monkeypatch.setattr("rad_core.exemplar.pyramid.find_lines", None)  # would fail if called
    exemplar_inpaint(rails[None].clamp(0, 1), HOLE[None, None].float(), lines=0)
    with pytest.raises(ValueError, match="lines must be a whole number of at least 0"):
        exemplar_inpaint(rails[None].clamp(0, 1), HOLE[None, None].float(), lines=-1)
