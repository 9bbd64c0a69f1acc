"""The benchmark's command on a tiny network: it goes on where it was stopped, and its report says what was measured."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from rad_core import UNet, UNetConfig, load_sdm, save_model
from rad_core.__main__ import main
from rad_core.bench.methods import METHODS, Networks
from rad_core.bench.report import exceptions, few_steps
from rad_core.bench.runs import Piece, fill, plan
from rad_core.bench.scores import Measured, fewest, ratios
from rad_core.bench.timing import other_program, side_by_side
from rad_core.commands import bench
from rad_core.training.diffusion import OneLevel


def make_net() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16)).eval().requires_grad_(False)


@pytest.fixture()
def place(tmp_path, monkeypatch):
    save_model(make_net(), tmp_path / "net.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*more, methods="ddrm"):
    words = ["bench", "-o", "out", "--model", "net.safetensors", "--device", "cpu", "--methods", methods, "--masks", "box,perlin"]
    return main([*words, "-n", "3", "--batch", "2", "--rounds", "0", *more])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}


def test_a_run_that_was_stopped_goes_on(place, monkeypatch):
    done = []

    def stop_after_three(piece, *rest):
        if len(done) == 3:
            raise KeyboardInterrupt
        fill(piece, *rest)
        done.append(piece)

    monkeypatch.setattr(bench, "fill", stop_after_three)
    assert run() == 130
    before = files(place / "out")
    assert len(before) == 3 and not (place / "out" / "benchmarks.md").exists()
    assert run("--report", methods="ddrm,ddnm") == 0 and len(done) == 3  # box and perlin of two pictures, and box of the third
    found = json.loads((place / "out" / "bench.json").read_text())["rows"]
    assert [found[mask]["ddrm"]["pictures"] for mask in ("all", "box", "perlin")] == [2, 3, 2]
    monkeypatch.setattr(bench, "fill", lambda piece, *rest: (done.append(piece), fill(piece, *rest)))
    assert run() == 0
    after = files(place / "out")
    assert len(done) == len(after) == 2 * 3 and len(set(done)) == len(done)  # masks; two pieces and a second fill
    assert all(after[name] == data for name, data in before.items())
    assert run() == 0 and len(done) == 6  # nothing is left to do


def test_the_report_says_what_was_measured(place):
    assert run("--again", "2") == 0
    found = json.loads((place / "out" / "bench.json").read_text())
    row = found["rows"]["all"]["ddrm"]
    assert row["calls"] == 20 and row["pictures"] == 3 and row["diversity"] > 0
    value, low, high = row["hole RMSE"]
    assert low < value < high and found["rows"]["box"]["ddrm"]["Fréchet"] is None  # three fills are too few
    text = (place / "out" / "benchmarks.md").read_text()
    assert "DDRM" in text and f"{value:.3g} [{low:.3g}, {high:.3g}]" in text and str(place) not in text
    for name in ("bench.jpg", "bench.png"):
        with Image.open(place / "out" / name) as picture:
            assert min(picture.size) > 200


def test_speed_is_measured_once_and_told(place, monkeypatch):
    asked = []
    tables = {"Steps": {"batch 1": {"ratio": 1.25}}}
    monkeypatch.setattr(side_by_side, "speed_tables", lambda nets, rounds, other: asked.append(rounds) or tables)
    assert run("--rounds", "2") == 0 and run("--rounds", "2") == 0 and asked == [2]
    text = (place / "out" / "benchmarks.md").read_text()
    assert "### Steps" in text and "| batch 1 | 1.25 |" in text


def test_scaling_changes_one_thing_at_a_time(monkeypatch):
    monkeypatch.setenv("CXX", "no such compiler")
    rows = side_by_side.scaling(make_net(), 1)
    assert {"32x32", "batch 1", "batch 16", "contiguous, not channels-last", "bfloat16"} <= set(rows) and "compiled" not in rows
    assert all(row["plain, s"] > 0 and row["RAD, s"] > 0 for row in rows.values())


OTHER = """
from rad_core import load_model
def network():
    net = load_model("net.safetensors").eval()
    return lambda x, t: net(x, t.flatten(1).amax(1) if t.ndim > 1 else t) * {}
"""


def test_another_program_is_put_beside(place, capsys):
    """Our own network as one that knows one level alone: the same output when told one, another when told one per pixel."""
    (place / "theirs.py").write_text(OTHER.format(1))
    rows = other_program.beside(make_net(), other_program.load_other(place / "theirs.py"), torch.ones(1, 1, 16, 16).triu(), 2)
    one, each = rows["told one level"], rows["told a level per pixel"]
    assert one["difference"] < 1e-5 < 1e-3 < each["difference"] and one["ours, s"] > 0 and one["times ours"] > 0
    (place / "theirs.py").write_text(OTHER.format(1.5))
    rows = other_program.beside(make_net(), other_program.load_other(place / "theirs.py"), torch.ones(1, 1, 16, 16), 1)
    assert rows["told one level"]["difference"] == pytest.approx(0.5, rel=1e-4)
    (place / "theirs.py").write_text("net = 1")
    for name, sentence in (("theirs.py", "must have a function network"), ("nowhere.py", "There is no file nowhere.py")):
        assert run("--other", name) == 1 and sentence in capsys.readouterr().err and not (place / "out").exists()


def test_a_folder_of_pictures(place):
    (place / "photos").mkdir()
    for k in range(3):
        Image.new("RGB", (30, 20), (40 * k, 100, 50)).save(place / "photos" / f"{k}.png")
    assert run("--data", "photos") == 0
    assert "scene error" not in (place / "out" / "benchmarks.md").read_text()
    assert run("--data", "photos", "-n", "4") == 1  # too few pictures


def test_what_does_not_fit_is_told(place, capsys):
    assert run(methods="one-level") == 1 and "give them as --ablation" in capsys.readouterr().err
    assert run(methods="ddrm,magic") == 1 and "no methods named magic" in capsys.readouterr().err
    assert run("-n", "0") == 1 and "--count must be at least 1" in capsys.readouterr().err
    assert run("--again", "0") == 0
    Image.new("RGB", (20, 20)).save(place / "photo.png")
    assert run("--again", "0", "--data", ".", "-n", "1") == 1
    assert "holds fills of another data" in capsys.readouterr().err


def test_what_the_report_needs_is_told_before_the_work(place, capsys, monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None if name == "sklearn" else object())
    assert run() == 1 and "pip install scikit-learn" in capsys.readouterr().err and not (place / "out").exists()


def test_dear_methods_come_last_and_for_few():
    pieces = plan(["repaint-2410", "ddrm"], ["box"], 5, 2, 2, 3)
    assert pieces == [
        Piece("ddrm", "box", 0, 3),
        Piece("ddrm", "box", 3, 2),
        Piece("ddrm", "box", 0, 2, 1),
        Piece("repaint-2410", "box", 0, 2),
    ]
    assert len(plan(["repaint-2410", "ddrm"], ["box"], 5, 0, 0, 3)) == 2


class Still(torch.nn.Module):
    """A network that says nothing, at once: no noise and the middle variance."""

    config, device, dtype = UNetConfig(32, (32, 32), 1, (), 32, image_size=16), torch.device("cpu"), torch.float32

    def __init__(self, region_aware):
        super().__init__()
        self.region_aware = region_aware

    def forward(self, x, t):
        return torch.cat([0 * x, 0 * x], 1)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.dear])
@pytest.mark.filterwarnings("ignore:This network was")
def test_every_method_makes_the_calls_it_is_listed_with(name):
    calls, nets = [], Networks()
    vars(nets).update(plain=Still(False), rad=Still(True), sdm=load_sdm("landscapes"))  # instead of the bundled ones
    vars(nets).update(spatial=nets.rad, one_level=OneLevel(nets.rad))
    for net in (nets.plain, nets.rad, nets.sdm):
        net.register_forward_hook(lambda *_: calls.append(1))
    size = 64 if "sdm" in METHODS[name].needs else 16
    image, mask = torch.rand(1, 3, size, size), torch.zeros(1, 1, size, size)
    mask[..., 4:9, 3:12] = 1
    out = METHODS[name].fill(nets, image, mask, [7])
    assert len(calls) == METHODS[name].calls
    assert torch.isfinite(out).all() and torch.equal(out[mask.expand_as(out) == 0], image[mask.expand_as(out) == 0])


def test_ratios_take_the_pictures_both_filled():
    """A method that is twice as far off on every picture: 2, with no doubt. With few pictures no Fréchet distance."""
    values = torch.rand(1, 6, generator=torch.Generator().manual_seed(0)).double() + 1
    make = lambda scale, count: Measured(
        {"perceptual": scale * values[:, :count]}, torch.randn(1, count, 3), torch.randn(count, 3), None, 1.0, None
    )
    found = ratios(make(2, 6), make(1, 4))
    assert found["perceptual"] == pytest.approx((2, 2, 2)) and found["Fréchet"] is None and found["scene error"] is None
    near, far = {"perceptual": (1.04, 1, 1.1), "Fréchet": None}, {"perceptual": (1.06, 1, 1.1), "Fréchet": None}
    assert fewest({"rad-ddim-10": far, "rad-ddim-20": near, "rad-ddim-50": near}) == "rad-ddim-20"
    assert fewest({"rad-ddim-10": far}) is None


def test_the_report_says_where_a_claim_does_not_hold():
    same = lambda value: dict.fromkeys(("Fréchet", "perceptual", "scene error"), value)
    claims = {
        "RAD against RePaint": {"repaint-146": {"box": same((0.8, 0.7, 0.9)), "wide": same((0.8, 0.7, 1.1))}},
        "fewer steps": {"rad-ddim-20": {"box": same((1.1, 1.0, 1.2))}, "rad-ddim-10": {"box": same((9, 8, 10))}},
        "ablation": {"plain-base": {"box": same((3, 2, 4))}, "one-level": {"box": same((2, 1.5, 3))}},
    }
    wide, short = exceptions(claims)
    assert wide.startswith("RAD with 100 calls is not surely better than RePaint, 146: wide (Fréchet 0.8 [0.7, 1.1], perceptual")
    assert short.startswith("RAD, DDIM 20 is more than 5 % off RAD's 100: box (Fréchet 1.1 [1, 1.2]") and "box" not in wide
    claims["RAD against RePaint"]["repaint-146"]["box"] = same((1.3, 1.1, 1.5))
    assert exceptions(claims)[0].startswith("RAD with 100 calls is worse than RePaint, 146: box")
    claims["ablation"]["one-level"]["box"]["scene error"] = (0.9, 0.8, 1.0)
    assert "not in the paper's order" in exceptions(claims)[-1] and len(exceptions(claims)) == 4


def test_the_report_names_the_fewest_steps_or_the_nearest():
    found = lambda *values: {"all": {name: (v, v - 0.1, v + 0.1) for name, v in zip(("Fréchet", "perceptual"), values, strict=True)}}
    few = {"rad-ddpm-50": found(1.2, 1.0), "rad-ddim-20": found(1.06, 1.07), "rad-ddim-10": {"all": {"Fréchet": None}}}
    told = few_steps({"fewer steps": few, "fewest": None})
    assert "No run of fewer calls" in told and "**RAD, DDIM 20** (Fréchet 1.06 [0.96, 1.16], perceptual 1.07 [0.97, 1.17])" in told
    assert "within 5 % of RAD's 100, over all masks: **RAD, DDPM 50**" in few_steps({"fewer steps": few, "fewest": "rad-ddpm-50"})
    assert "has filled enough" in few_steps({"fewer steps": {"rad-ddim-10": few["rad-ddim-10"]}, "fewest": None})
