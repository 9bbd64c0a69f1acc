"""What it costs to use a source that serves a place nearby already."""

import torch

from rad_core import exemplar_inpaint
from rad_core.exemplar import pyramid
from rad_core.exemplar.repeats import NEARBY, SAME, Repeats

WIDTH = 100


def at(row: int, column: int) -> int:
    return row * WIDTH + column


def test_one_query_uses_a_source_for_nothing_and_others_nearby_pay():
    queries = torch.tensor([at(10, 10), at(10, 10 + SAME + 1), at(10, 10 + NEARBY + 5), at(60, 60)])
    first, second = at(80, 20), at(80, 50)
    repeats = Repeats.of(torch.tensor([first, first, second, second]), queries, 100 * WIDTH, 0.5, WIDTH)
    paid = lambda query, source: float(repeats(torch.tensor([query]), torch.tensor([source])))
    assert paid(at(10, 10 + SAME + 1), first) == 0  # the last of them has it for nothing
    assert paid(at(10, 10), first) == 0.5 and paid(at(10, 12 + SAME), first) == 0  # nearby, and a stretched copy
    assert paid(at(10, 10), second) == 0 and paid(at(11, 11), at(5, 5)) == 0  # used far away, and not in use
    keys = torch.tensor([first, at(5, 5), second])
    d = torch.zeros(len(queries), 3)
    repeats.add_to(d, queries, keys)
    assert torch.equal(d, repeats(queries[:, None], keys))


def test_a_texture_is_repeated_less(monkeypatch):
    """Irregular dots: the share of pixels whose source another pixel within 30 uses too."""
    dots = (torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(2)) > 0.97).float()
    image = torch.nn.functional.avg_pool2d(dots, 3, 1, 1).mul(4).clamp(max=0.9).expand(-1, 3, -1, -1)
    mask = torch.zeros(96, 96)
    mask[28:68, 24:72] = 1
    shares = {}
    for repeat in (0.0, 0.3):
        chosen = []
        finish = pyramid.choose_sources

        def watched(level, *rest, finish=finish, chosen=chosen):
            chosen.append((finish(level, *rest), level.pixels))
            return chosen[0][0]

        monkeypatch.setattr(pyramid, "choose_sources", watched)
        exemplar_inpaint(image, mask, repeat=repeat)
        monkeypatch.setattr(pyramid, "choose_sources", finish)
        shares[repeat] = 1 - len(chosen[0][0].unique()) / len(chosen[0][0])
    assert shares[0.3] < 0.9 * shares[0.0]
