"""The benchmark's command on a tiny network: an interrupted run resumes, and the report holds what was measured."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from rad_core import UNet, UNetConfig, load_sdm, save_model
from rad_core.__main__ import main
from rad_core.bench.claims import compare, exceptions, few_steps
from rad_core.bench.methods import ABLATION, METHODS, Networks
from rad_core.bench.report import claim_paragraphs
from rad_core.bench.runs import Piece, fill, plan
from rad_core.bench.scores import Scores, fewest_calls, pool, ratios
from rad_core.bench.statistics import bootstrap
from rad_core.bench.timing import other_program, side_by_side
from rad_core.commands import bench
from rad_core.noise import generators
from rad_core.training.diffusion import OneLevel


def make_net(seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    return UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16)).eval().requires_grad_(False)


@pytest.fixture()
def place(tmp_path, monkeypatch):
    save_model(make_net(), tmp_path / "net.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*more, methods="ddrm"):
    arguments = ["bench", "-o", "out", "--model", "net.safetensors", "--device", "cpu", "--methods", methods, "--masks", "box,perlin"]
    return main([*arguments, "-n", "3", "--batch", "2", "--rounds", "0", *more])


def results(folder: Path) -> dict:
    return json.loads((folder / "out" / "results" / "bench.json").read_text())


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
    rows = results(place)["rows"]
    assert [rows[mask]["ddrm"]["pictures"] for mask in ("all", "box", "perlin")] == [2, 3, 2]
    monkeypatch.setattr(bench, "fill", lambda piece, *rest: (done.append(piece), fill(piece, *rest)))
    assert run() == 0
    after = files(place / "out")
    assert len(done) == len(after) == 2 * 3 and len(set(done)) == len(done)  # masks; two pieces and a second fill
    assert all(after[name] == data for name, data in before.items())
    assert run() == 0 and len(done) == 6  # nothing was missing


def test_the_report_says_what_was_measured(place):
    assert run("--again", "2") == 0
    rows = results(place)["rows"]
    row = rows["all"]["ddrm"]
    assert row["calls"] == 20 and row["pictures"] == 3 and row["diversity"] > 0
    value, low, high = row["hole RMSE"]
    assert low < value < high and rows["box"]["ddrm"]["Fréchet"] is None  # three fills are too few
    text = (place / "out" / "benchmarks.md").read_text()
    assert "DDRM" in text and f"{value:.3g} [{low:.3g}, {high:.3g}]" in text and str(place) not in text
    for name in ("images/bench.jpg", "images/bench.png"):
        assert f"]({name})" in text
        with Image.open(place / "out" / name) as picture:
            assert min(picture.size) > 200


def test_speed_is_measured_once_and_told(place, monkeypatch):
    measured = []
    tables = {"Steps": {"batch 1": {"ratio": 1.25}}}
    monkeypatch.setattr(side_by_side, "speed_tables", lambda nets, rounds, other: measured.append(rounds) or tables)
    assert run("--rounds", "2") == 0 and run("--rounds", "2") == 0 and measured == [2]
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
    """Our own network, reduced to one timestep per picture: the same output for one timestep, another for one per pixel."""
    (place / "theirs.py").write_text(OTHER.format(1))
    rows = other_program.beside(make_net(), other_program.load_other(place / "theirs.py"), torch.ones(1, 1, 16, 16).triu(), 2)
    one, each = rows["one timestep"], rows["a timestep per pixel"]
    assert one["difference"] < 1e-5 < 1e-3 < each["difference"] and one["ours, s"] > 0 and one["times ours"] > 0
    (place / "theirs.py").write_text(OTHER.format(1.5))
    rows = other_program.beside(make_net(), other_program.load_other(place / "theirs.py"), torch.ones(1, 1, 16, 16), 1)
    assert rows["one timestep"]["difference"] == pytest.approx(0.5, rel=1e-4)
    (place / "theirs.py").write_text("net = 1")
    for name, sentence in (("theirs.py", "must have a function network"), ("nowhere.py", "There is no file nowhere.py")):
        assert run("--other", name) == 1 and sentence in capsys.readouterr().err and not (place / "out").exists()


def test_a_folder_of_pictures(place, capsys):
    (place / "photos").mkdir()
    for k in range(3):
        Image.new("RGB", (30, 20), (40 * k, 100, 50)).save(place / "photos" / f"{k}.png")
    assert run("--data", "photos") == 0
    assert "scene error" not in (place / "out" / "benchmarks.md").read_text()
    assert run("--data", "photos", "-n", "4") == 1 and "photos has only 3 pictures" in capsys.readouterr().err


def test_what_does_not_fit_is_told(place, capsys):
    assert run(methods="one-level") == 1 and "give them as --ablation" in capsys.readouterr().err
    assert run(methods="ddrm,magic") == 1 and "no methods named magic" in capsys.readouterr().err
    assert run("-n", "0") == 1 and "--count must be at least 1" in capsys.readouterr().err
    assert run("--again", "0") == 0
    Image.new("RGB", (20, 20)).save(place / "photo.png")
    assert run("--again", "0", "--data", ".", "-n", "1") == 1
    assert "has fills made with another data" in capsys.readouterr().err


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
    """A network that predicts no noise and the middle variance, in no time."""

    config, device, dtype = UNetConfig(32, (32, 32), 1, (), 32, image_size=16), torch.device("cpu"), torch.float32

    def __init__(self, region_aware):
        super().__init__()
        self.region_aware = region_aware

    def forward(self, x, t):
        return torch.cat([0 * x, 0 * x], 1)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.slow])
@pytest.mark.filterwarnings("ignore:This network was")
def test_every_method_makes_the_calls_it_is_listed_with(name):
    calls, nets = [], Networks()
    vars(nets).update(plain=Still(False), rad=Still(True), sdm=load_sdm("landscapes"))  # replace the bundled ones
    vars(nets).update(spatial=nets.rad, one_level=OneLevel(nets.rad))
    for net in (nets.plain, nets.rad, nets.sdm):
        net.register_forward_hook(lambda *_: calls.append(1))
    size = 64 if "sdm" in METHODS[name].needs else 16
    image, mask = torch.rand(1, 3, size, size), torch.zeros(1, 1, size, size)
    mask[..., 4:9, 3:12] = 1
    out = METHODS[name].fill(nets, image, mask, [7])
    assert len(calls) == METHODS[name].calls
    hole = mask.expand_as(out) > 0
    assert torch.isfinite(out).all() and torch.equal(out[~hole], image[~hole]) and (out - image)[hole].abs().mean() > 0.05


def make_live_net(seed: int, region_aware: bool = False) -> UNet:
    """As `make_net`, but its output, which starts at zero, depends on its input."""
    net, stream = make_net(), torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter += 0.05 * torch.randn(parameter.shape, generator=stream)
    net.region_aware = region_aware
    return net


@pytest.mark.filterwarnings("ignore:This network was")
def test_every_method_fills_in_its_own_way():
    """No two names stand for the same fill, and none for the input."""
    nets, rad = Networks(), make_live_net(1, True)
    vars(nets).update(plain=make_live_net(0), rad=rad, sdm=load_sdm("landscapes"))
    vars(nets).update(one_level=OneLevel(make_live_net(2, True)), spatial=make_live_net(3, True))
    for size, many in ((16, 15), (64, 5)):
        names = [name for name, method in METHODS.items() if method.calls <= 50 and ("sdm" in method.needs) == (size == 64)]
        image, mask = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 1, size, size)
        mask[..., 4:9, 3:12] = 1
        fills = torch.cat([image, *(METHODS[name].fill(nets, image, mask, [7]) for name in names)])
        assert len(names) > many and torch.pdist(fills.flatten(1)).min() > 0.01


def test_the_ablation_is_that_of_the_repository(place, monkeypatch, capsys):
    """Without the source tree's weights the ablation's methods need --ablation; by default they are left out."""
    used = []
    monkeypatch.setattr(bench, "plan", lambda methods, *rest: used.append(methods) or plan(["ddrm"], *rest))
    command = ["bench", "-o", "out", "--device", "cpu", "-n", "1", "--again", "0", "--masks", "box", "--rounds", "0", "--report"]
    assert all(path.is_file() for path in ABLATION)
    main(command)
    monkeypatch.setattr(bench, "ABLATION", (Path("a.safetensors"), Path("b.safetensors")))
    main([*command[:2], "out2", *command[3:]])
    assert set(used[0]) - set(used[1]) == {"spatial", "one-level"} and set(used[0]) == set(METHODS)
    assert main([*command, "--methods", "one-level"]) == 1 and "give them as --ablation" in capsys.readouterr().err


def test_ratios_take_the_pictures_both_filled():
    """A method with twice the error on every picture: a ratio of 2, with an interval of no width. Too few pictures: no Fréchet distance."""
    values = torch.rand(1, 6, generator=torch.Generator().manual_seed(0)).double() + 1
    make = lambda scale, count: Scores(
        {"perceptual": scale * values[:, :count]}, torch.randn(1, count, 3), torch.randn(count, 3), None, 1.0, None
    )
    found = ratios(make(2, 6), make(1, 4))
    assert found["perceptual"] == pytest.approx((2, 2, 2)) and found["Fréchet"] is None and found["scene error"] is None
    near, far = {"perceptual": (1.04, 1, 1.1), "Fréchet": None}, {"perceptual": (1.06, 1, 1.1), "Fréchet": None}
    assert fewest_calls({"rad-ddim-10": far, "rad-ddim-20": near, "rad-ddim-50": near}) == "rad-ddim-20"
    assert fewest_calls({"rad-ddim-10": far}) is None
    assert fewest_calls({"rad-ddim-4": {"perceptual": None, "Fréchet": None}, "rad-ddim-20": near}) == "rad-ddim-20", "not measured"


def test_a_combination_is_compared_with_each_of_its_parts():
    values = torch.rand(1, 6, generator=torch.Generator().manual_seed(0)).double() + 1
    make = lambda scale: {"box": Scores({"perceptual": scale * values}, torch.randn(1, 6, 3), torch.randn(6, 3), None, 1.0, None)}
    claims = compare({"sdm-rad": make(1), "sdm-4": make(2), "rad-ddim-10": make(4), "rad-inwards": make(1)}, ["box"], 10)
    found = {part: masks["box"]["perceptual"] for part, masks in claims["combined"]["sdm-rad"].items()}
    assert found == {"sdm-4": pytest.approx((0.5, 0.5, 0.5)), "rad-ddim-10": pytest.approx((0.25, 0.25, 0.25))}
    assert "rad-inwards" not in claims["combined"]  # its part was not run
    assert any("### SDM 4 + RAD 10, against its parts" in text for text in claim_paragraphs(claims))


def test_the_report_says_where_a_claim_does_not_hold():
    same = lambda value: dict.fromkeys(("Fréchet", "perceptual", "scene error"), value)
    claims = {
        "RAD against RePaint": {"repaint-146": {"box": same((0.8, 0.7, 0.9)), "wide": same((0.8, 0.7, 1.1))}},
        "fewer steps": {"rad-ddim-20": {"box": same((1.1, 1.0, 1.2))}, "rad-ddim-10": {"box": same((9, 8, 10))}},
        "ablation": {"plain-base": {"box": same((3, 2, 4))}, "one-level": {"box": same((2, 1.5, 3))}},
        "first step": {"plain-base": {"box": same((1.5, 1.2, 2))}},
    }
    wide, short = exceptions(claims)
    assert wide.startswith("RAD with 100 calls is not significantly better than RePaint, 146: wide (Fréchet 0.8 [0.7, 1.1], perceptual")
    assert short.startswith("RAD, DDIM 20 is more than 5 % worse than RAD's 100: box (Fréchet 1.1 [1, 1.2]") and "box" not in wide
    claims["RAD against RePaint"]["repaint-146"]["box"] = same((1.3, 1.1, 1.5))
    assert exceptions(claims)[0].startswith("RAD with 100 calls is worse than RePaint, 146: box")
    claims["ablation"]["one-level"]["box"]["scene error"] = (0.9, 0.8, 1.0)
    assert "not in the paper's order" in exceptions(claims)[-1] and len(exceptions(claims)) == 4
    claims["first step"]["plain-base"]["box"]["perceptual"] = (0.9, 0.8, 1.0)  # the plain base is better than one level
    assert sum("not in the paper's order" in line for line in exceptions(claims)) == 2


def test_the_report_names_the_fewest_steps_or_the_nearest():
    found = lambda *values: {"all": {name: (v, v - 0.1, v + 0.1) for name, v in zip(("Fréchet", "perceptual"), values, strict=True)}}
    few = {"rad-ddpm-50": found(1.2, 1.0), "rad-ddim-20": found(1.06, 1.07), "rad-ddim-10": {"all": {"Fréchet": None}}}
    sentence = few_steps({"fewer steps": few, "fewest": None})
    assert "No run of fewer calls" in sentence and "**RAD, DDIM 20** (Fréchet 1.06 [0.96, 1.16], perceptual 1.07 [0.97, 1.17])" in sentence
    assert "within 5 % of RAD's 100 in Fréchet and perceptual, over all masks: **RAD, DDPM 50**" in few_steps(
        {"fewer steps": few, "fewest": "rad-ddpm-50"}
    )
    assert "has filled enough" in few_steps({"fewer steps": {"rad-ddim-10": few["rad-ddim-10"]}, "fewest": None})


def test_second_fills_of_an_interrupted_run_are_pooled_as_far_as_all_have_them():
    make = lambda count, twice: Scores(
        {"perceptual": torch.ones(1, count)}, torch.zeros(1, count, 3), torch.zeros(count, 3), torch.ones(1, twice), 1.0, None
    )
    assert pool([make(6, 5).first(4), make(4, 3)]).spread.shape == (2, 3)
    assert make(6, 5).first(4).spread.shape == (1, 4)


def test_an_interval_is_shifted_by_the_bias_of_resampling():
    """A sample's variance falls by 1/n when it is resampled: unshifted, the interval of so few values lies below it."""
    values = torch.randn(8, generator=torch.Generator().manual_seed(1))
    low, high = bootstrap(lambda picks: float(values[picks].var(correction=0)), 8, draws=4000)
    (stream,) = generators(0, 1, "bootstrap")
    draws = torch.stack([values[torch.randint(8, (8,), generator=stream)].var(correction=0) for _ in range(4000)])
    shift = float(values.var(correction=0) - draws.mean())
    assert shift > 0.05 and (low, high) == pytest.approx(
        (float(draws.quantile(0.025)) + shift, float(draws.quantile(0.975)) + shift), abs=0.02
    )
