"""The training loop: slicing a batch changes nothing, a killed run resumes, a failed run leaves the last good checkpoint."""

import io
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from rad_core import RegionSchedule, UNet, UNetConfig, landscapes, load_model, read_adapter, save_model
from rad_core.__main__ import main
from rad_core.adapters import add_adapter
from rad_core.noise import generators, normal
from rad_core.training.buckets import bucket_of, split
from rad_core.training.data import Crops, Folder, mask_source, middle, own_masks
from rad_core.training.diffusion import DiffusionTraining, OneLevel, TrainingPlan, make_optimiser, pictures_of
from rad_core.training.log import Log, loss_curve
from rad_core.training.loop import EMA, TRAINING_SEEDS, BatchSlice, Stage, _steps, learning_rate, train
from rad_core.training.processes import Processes
from rad_core.training.samples import holes
from rad_core.training.store import TensorStore

ROOT = Path(__file__).parents[1]
SMALL = ["--threads", "1", "--device", "cpu", "--rank", "4", "--base", "net.safetensors"]


def start(arguments, place):
    """Run this Python in a process of its own, in a folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=place, env=environment, capture_output=True, text=True)


@pytest.fixture()
def place(tmp_path, monkeypatch):
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32, 32), 1, (1,), 32, image_size=16))
    save_model(net, tmp_path / "net.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rad_core.training.samples.STEPS", 2)  # the sample sheets' quality does not matter here
    return tmp_path


def method(accumulate=1, precision="float32", checkpointing=False, adapter=True):
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32, 32), 1, (1,), 32, image_size=16))
    net.checkpointing = checkpointing
    model = add_adapter(net, 4) if adapter else net
    for p in model.parameters():  # a LoRA starts with B = 0, where A has no gradient
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.1)
    plan = TrainingPlan([Stage(16, 1, 7)], accumulate=accumulate, precision=precision)
    return DiffusionTraining(
        model, pictures_of(lambda n, size, seed: landscapes(n, size, seed)), plan, RegionSchedule(), mask_source("perlin")
    )


def gradients(trained, bounds, processes=None):
    """Loss and gradient of a batch of 7, sliced at `bounds`."""
    parts = [BatchSlice(16, TRAINING_SEEDS, a, b - a, 7) for a, b in pairwise(bounds)]
    loss = trained.gradients([(part, trained.load_batch(part)) for part in parts], processes or Processes())["loss"]
    return loss, torch.cat([p.grad.flatten() for p in trained.parameters])


def test_accumulation_drops_nothing():
    """Slices of 7 = 3 + 3 + 1 pictures, whose masks have holes of all sizes, add up to the gradient of the whole batch."""
    loss, whole = gradients(method(), [0, 7])
    for bounds in ([0, 3, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]):
        other, parts = gradients(method(), bounds)
        assert abs(other - loss) < 1e-5 * loss
        assert (parts - whole).norm() < 1e-5 * whole.norm()


WORKER = """
import sys; sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads(1)
from test_training import gradients, method
from rad_core.training.processes import Processes
here = Processes.launched(cpu=True)
bounds = [0, 3] if here.rank == 0 else [3, 5, 7]
loss, found = gradients(method(adapter=False), bounds, here)
torch.save((here.count, loss, found), f"gradient{{here.rank}}.pt")
"""


def test_two_processes_have_the_gradient_of_one(place):
    """Started by `torchrun` (as by `accelerate launch` on GPUs), over gloo; one of them splits its share into two slices."""
    (place / "worker.py").write_text(WORKER.format(tests=str(ROOT / "tests")))
    loss, whole = gradients(method(adapter=False), [0, 7])  # no adapter: the workers would import PEFT, which is slow
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "worker.py"]
    done = start(launch, place)
    assert done.returncode == 0, done.stderr[-2000:]
    for rank in range(2):
        count, other, found = torch.load(place / f"gradient{rank}.pt", weights_only=True)
        assert count == 2 and abs(other - loss) < 1e-5 * loss
        assert (found - whole).norm() < 1e-5 * whole.norm()


def test_data_loaded_ahead_by_processes_is_the_same(tmp_path):
    """With workers and without, the weights are bit-identical after steps of two stages."""
    trained = {}
    for workers in (0, 2):
        run = method()
        plan = replace(run.plan, stages=[Stage(16, 3, 4), Stage(32, 2, 2)])
        train(run, plan, Log(), lambda: None, workers=workers)
        trained[workers] = torch.cat([p.detach().flatten() for p in run.parameters])
    assert torch.equal(trained[0], trained[2])


def test_the_log_has_the_loss_of_each_part_of_the_schedule():
    """A network that is wrong by k in part k, told apart by its noise: the parts are k, in slices and with a part left out."""
    schedule = RegionSchedule()

    class Wrong(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x, t, truth):
            hole, rest = t.flatten(1).amax(1), t.flatten(1).amin(1)
            part = torch.where(rest > 0, 5, ((hole - 1) / 250).long() + 1)
            return torch.cat([truth + part.view(-1, 1, 1, 1).float(), torch.zeros_like(x)], 1) + self.weight

    half = torch.zeros(1, 1, 16, 16)
    half[..., :8] = 1
    plan = TrainingPlan([Stage(16, 1, 8)], vlb_weight=0)
    noise = lambda part: normal(generators(part.seeds, part.count, "training noise"), (3, 16, 16))
    data = lambda part: (torch.zeros(part.count, 3, 16, 16), (noise(part),))
    trained = DiffusionTraining(Wrong(), data, plan, schedule, lambda n, *size, **_: half.expand(n, -1, -1, -1))
    for bounds in ([0, 8], [0, 3, 8], [3, 8]):
        parts = [BatchSlice(16, TRAINING_SEEDS, a, b - a, 8) for a, b in pairwise(bounds)]
        found = trained.gradients([(part, trained.load_batch(part)) for part in parts], Processes())
        names = [f"loss_{k}" for k in (1, 2, 3, 4)] + ["loss_phase_2"]
        expected = {name: pytest.approx((k + 1) ** 2) for k, name in enumerate(names) if bounds[0] == 0 or k >= 3}
        assert {name: value for name, value in found.items() if name != "loss"} == expected


def test_a_row_of_the_log_may_lack_a_part(tmp_path):
    log = Log(tmp_path / "a.csv")
    for step, losses in enumerate([{"loss": 1.0, "loss_2": 4.0}, {"loss": 3.0}, {"loss": 5.0, "loss_1": 7.0}], 1):
        log.add(step, 16, 2, losses)
        if step > 1:
            assert list(log.write()) == ["loss", "img_s"]
    head, *rows = [line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines()]
    rows = [dict(zip(head, row, strict=True)) for row in rows]
    assert [(row["loss"], row["loss_1"], row["loss_2"]) for row in rows] == [("2.0", "", "4.0"), ("5.0", "7.0", "")]


def test_the_optimiser_is_a_choice():
    """bitsandbytes' own is used where it is installed; else a sentence says what to do."""
    plan = TrainingPlan([Stage(16, 1, 1)], optimiser="adamw8bit")
    weights = [torch.nn.Parameter(torch.zeros(3))]
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        with pytest.raises(ValueError, match="needs bitsandbytes, which is not installed: choose adamw"):
            make_optimiser(weights, plan)
    else:
        assert isinstance(make_optimiser(weights, plan), AdamW8bit)
    with pytest.raises(ValueError, match="Unknown optimiser 'sgd': choose from adamw, adamw8bit"):
        make_optimiser(weights, replace(plan, optimiser="sgd"))
    assert isinstance(make_optimiser(weights, replace(plan, optimiser="adamw")), torch.optim.AdamW)


def test_a_batch_that_leaves_a_process_without_pictures_is_refused():
    with pytest.raises(ValueError, match="2 processes cannot share a batch of fewer pictures"):
        train(method(), TrainingPlan([Stage(16, 1, 4), Stage(16, 1, 1)]), Log(), lambda: None, processes=Processes(0, 2))


def test_checkpointing_gives_the_same_gradient():
    (loss, kept), (other, again) = gradients(method(), [0, 7]), gradients(method(checkpointing=True), [0, 7])
    assert loss == other and kept.norm() > 0
    torch.testing.assert_close(again, kept)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_the_same(precision):
    """Weights and losses stay float32; the gradient has the direction of the float32 one."""
    trained = method(precision=precision)
    loss, exact = gradients(method(), [0, 7])
    other, found = gradients(trained, [0, 7])
    assert abs(other - loss) < 0.02 * loss and torch.cosine_similarity(found, exact, dim=0) > 0.99
    assert all(p.dtype == torch.float32 for p in trained.parameters)
    part = BatchSlice(16, TRAINING_SEEDS, 0, 7, 7)
    before = [p.detach().clone() for p in trained.parameters]
    trained.step(1, [(part, trained.load_batch(part))], 1e-3, Processes())
    moves = [float((p - b).detach().abs().max()) for p, b in zip(trained.parameters, before, strict=True)]
    assert 0 < max(moves) < 0.01, "the step follows the learning rate, not the scaler"


def test_a_killed_run_goes_on_bit_equal(place):
    """kill -9 while it trains, then the same command again."""
    run = ["train", "rad", *SMALL, "--stages", "16:12:4", "--save-every", "2"]
    assert main([*run, "-o", "whole.safetensors"]) == 0
    command = [sys.executable, "-m", "rad_core", *run, "-o", "killed.safetensors"]
    process = subprocess.Popen(command, cwd=place, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    end = time.time() + 120
    while not (place / "killed.state").exists() and time.time() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run must not have finished before"
    assert main([*run, "-o", "killed.safetensors"]) == 0
    whole, killed = load_file("whole.safetensors"), load_file("killed.safetensors")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert any(tensor.any() for name, tensor in whole.items() if ".lora_B." in name), "a LoRA starts with B = 0: it was trained"
    steps = [line.split(",")[0] for line in (place / "killed.csv").read_text().splitlines()[1:]]
    assert steps == ["2", "4", "6", "8", "10", "12"], "the log resumes too"
    (place / "killed.safetensors").unlink()
    assert main([*run, "-o", "killed.safetensors"]) == 0
    assert read_adapter("killed.safetensors").metadata.steps == 12, "a finished run writes its file again"


def test_cancelling_keeps_the_step_it_was_at(place):
    def cancel(step, steps, losses):
        if step == 3:
            raise InterruptedError

    saved, plan = [], TrainingPlan([Stage(16, 5, 2)])
    fresh = lambda: DiffusionTraining(method().net, pictures_of(landscapes), plan, RegionSchedule(), mask_source("perlin"))
    first = fresh()
    with pytest.raises(InterruptedError):
        train(first, plan, Log(), lambda: saved.append(1), place / "a.state", callback=cancel)
    assert saved == [1] and (place / "a.state").is_file()
    seen, again, whole = [], fresh(), fresh()
    train(again, plan, Log(), lambda: None, place / "a.state", callback=lambda step, steps, losses: seen.append(step))
    assert seen == [4, 5]
    train(whole, plan, Log(), lambda: None)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters, whole.parameters, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(again.ema.values, whole.ema.values, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(again.parameters, fresh().parameters, strict=True)), "the weights were trained"


def test_a_run_goes_on_whatever_became_of_its_files(place):
    """Its network's file cannot be written, or its log is open elsewhere: the state is there all the same."""
    plan = TrainingPlan([Stage(16, 2, 2)])
    fresh = lambda: DiffusionTraining(method().net, pictures_of(landscapes), plan, RegionSchedule(), mask_source("perlin"))

    def no_room():
        raise ValueError("Cannot write a.safetensors.")

    (place / "a.csv").mkdir()
    with pytest.raises(ValueError, match="Cannot write"), pytest.warns(UserWarning, match="log is not up to date"):
        train(fresh(), plan, Log(place / "a.csv"), no_room, place / "a.state")
    saved, steps = [], []
    train(fresh(), plan, Log(), lambda: saved.append(1), place / "a.state", callback=lambda *step: steps.append(step))
    assert saved == [1] and not steps, "nothing was left to do but to write the file"


def test_cancelling_within_a_step_keeps_the_step_before(place):
    plan = TrainingPlan([Stage(16, 5, 2)])
    fresh = lambda: DiffusionTraining(method().net, pictures_of(landscapes), plan, RegionSchedule(), mask_source("perlin"))

    def broken_off(when: str):
        """A run whose third step is broken off while it computes its gradients, or while it changes the weights."""
        saved, run, calls = [], fresh(), []

        def press(*_, **__):
            calls.append(1)
            if len(calls) == 3:
                raise InterruptedError

        target = run.net.register_forward_pre_hook if when == "gradients" else run.optimiser.register_step_pre_hook
        target(press)
        with pytest.raises(InterruptedError):
            train(run, plan, Log(), lambda: saved.append(1), place / f"{when}.state")
        return saved

    assert broken_off("gradients") == [1]
    seen, again, whole = [], fresh(), fresh()
    train(again, plan, Log(), lambda: None, place / "gradients.state", callback=lambda step, steps, losses: seen.append(step))
    train(whole, plan, Log(), lambda: None)
    assert seen == [3, 4, 5] and all(torch.equal(a, b) for a, b in zip(again.parameters, whole.parameters, strict=True))
    assert broken_off("weights") == [] and not (place / "weights.state").exists(), "what may be half changed is not saved"


def test_a_run_that_has_ended_takes_more_steps(place):
    def run(*stages, **change):
        plan = TrainingPlan(list(stages), **change)
        trained = DiffusionTraining(method().net, pictures_of(landscapes), plan, RegionSchedule(), mask_source("perlin"))
        count = lambda step, steps, losses: seen.append(step)
        train(trained, plan, Log(), lambda: None, place / "a.state", {"data": "landscapes"}, callback=count)

    seen = []
    run(Stage(16, 2, 2))
    run(Stage(16, 3, 2), Stage(24, 1, 2))
    assert seen == [1, 2, 3, 4]
    for stages, change, sentence in (
        ([Stage(16, 3, 2)], {}, "taken 4 steps: plan at least as many"),
        ([Stage(16, 5, 2)], {}, "taken 4 steps: repeat the sizes and batches"),
        ([Stage(16, 3, 2), Stage(24, 2, 2)], {"learning_rate": 0.1}, r"run with learning_rate 0.0005 \(now 0.1\): use that"),
    ):
        with pytest.raises(ValueError, match=sentence):
            run(*stages, **change)


def test_averaged_weights_are_in_place_only_while_saving():
    plan, trained, saved = TrainingPlan([Stage(16, 3, 2)], save_every=2), method(adapter=False), []
    copy = lambda: [p.detach().clone() for p in trained.parameters]
    live = []
    train(trained, plan, Log(), lambda: saved.append(copy()), callback=lambda *_: live.append(copy()))
    assert len(saved) == 2 and len(live) == 3
    same = lambda a, b: all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert same(trained.parameters, live[-1]) and not same(saved[-1], live[-1])
    assert same(saved[-1], trained.ema.values)
    with trained.ema.applied():
        assert same(trained.parameters, saved[-1])
    assert same(trained.parameters, live[-1]), "the last step's weights are back"


def test_the_file_tells_how_it_was_made(place, capsys):
    assert main(["train", "rad", *SMALL, "--stages", "16:2:2", "--licence", "CC0", "-o", "a.safetensors"]) == 0
    adapter = read_adapter("a.safetensors")
    assert (adapter.rank, adapter.metadata.steps, adapter.metadata.schedule, adapter.metadata.licence) == (4, 2, "linear", "CC0")
    assert adapter.metadata.data == "drawn landscapes" and len(adapter.metadata.base) > 5
    with safe_open("a.safetensors", "pt") as file:
        assert '"vlb_weight"' in file.metadata()["note"]
    for beside in ("a.csv", "a.curve.png", "a.samples.png", "a.state"):
        assert (place / beside).stat().st_size > 0
    torch.manual_seed(5)
    save_model(UNet(UNetConfig(32, (32, 32), 1, (1,), 32, image_size=16)), "other.safetensors")
    capsys.readouterr()
    import rad_core

    rad_core.load_adapter(load_model("net.safetensors", dtype=torch.bfloat16), "a.safetensors")  # its own base, rounded: no warning
    with pytest.warns(UserWarning, match="trained on another network"):
        rad_core.load_adapter(load_model("other.safetensors"), "a.safetensors")


def test_a_peft_folder_resumes_and_no_other_folder_is_written_to(place, capsys):
    run = ["train", "rad", *SMALL, "-o", "folder", "--stages"]
    assert main([*run, "16:1:2"]) == 0 and main([*run, "16:2:2"]) == 0, "it goes on"
    assert read_adapter("folder").metadata.steps == 2
    (place / "theirs").mkdir()
    assert main(["train", "rad", *SMALL, "--stages", "16:1:2", "-o", "theirs"]) == 1
    assert "theirs is a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "name"), [("base", "a.pt"), ("base", "folder"), ("sdm", "a.pt"), ("rad", "a.pt"), ("rad", "a.CKPT"), ("rad", "a.Safetensors")]
)
def test_names_of_other_files_are_refused_before_training(place, capsys, kind, name):
    base = ["--base", "net.safetensors"] if kind == "rad" else []
    assert main(["train", kind, *base, "--device", "cpu", "--stages", "16:1:2", "-o", name]) == 1
    assert "must end in .safetensors" in capsys.readouterr().err and not list(place.glob("a.*")) + list(place.glob("folder*"))


def test_a_run_does_not_resume_on_other_pictures(place, capsys):
    (place / "some").mkdir()
    for name in "abc":
        Image.new("RGB", (20, 20), "red").save(place / "some" / f"{name}.png")
    run = ["train", "rad", *SMALL, "--data", "some", "-o", "a.safetensors", "--stages"]
    assert main([*run, "16:1:2"]) == 0
    (place / "some" / "b.png").rename(place / "some" / "d.png")
    assert main([*run, "16:2:2"]) == 1
    assert "a.state belongs to a run with files in some 3 (" in capsys.readouterr().err


def test_a_network_trained_on_at_another_size_works_at_it(place):
    assert main(["train", "base", "--init", "net.safetensors", "--device", "cpu", "--stages", "32:1:1", "-o", "large.safetensors"]) == 0
    assert load_model("large.safetensors").config.image_size == 32


def test_an_adapter_without_the_spatial_embedding(place):
    """The ablation's network never gets a map of timesteps, in training or for its samples, and its file records that."""
    dimensions, run = [], ["train", "rad", *SMALL, "--one-level", "--stages", "16:2:3", "-o", "a.safetensors"]
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: dimensions.append(inputs[1].ndim) if isinstance(module, UNet) else None
    )
    try:
        assert main(run) == 0
    finally:
        hook.remove()
    assert set(dimensions) == {1} and len(dimensions) > 2
    with safe_open("a.safetensors", "pt") as file:
        assert '"spatial": false' in file.metadata()["note"]


def test_train_base_has_no_options_of_adapters(place, capsys):
    for option in (["--one-level"], ["--base", "net.safetensors"], ["--rank", "4"], ["--phases", "1"], ["--redraw-noise", "1"]):
        with pytest.raises(SystemExit):
            main(["train", "base", *option, "--stages", "16:1:2", "-o", "b.safetensors"])
        assert "unrecognized arguments" in capsys.readouterr().err and not (place / "b.safetensors").exists()


def test_rank_alpha_targets_and_own_masks(place):
    (place / "masks").mkdir()
    Image.fromarray(np.repeat(np.uint8([[0, 255]]), 8, 0)).save(place / "masks" / "half.png")
    more = ["--alpha", "8", "--rim-weight", "2", "--targets", "to_q,conv1", "--masks", "masks", "--accumulate", "2", "--checkpointing"]
    assert main(["train", "rad", *SMALL, *more, "--stages", "16:2:3", "-o", "a.safetensors"]) == 0
    adapter = read_adapter("a.safetensors")
    assert adapter.config["lora_alpha"] == 8 and {name.split(".")[-2] for name in adapter.lora} == {"to_q", "conv1"}
    masks = mask_source("masks")(20, 4, 6, 0)
    assert masks.shape == (20, 1, 4, 6) and {tuple(mask[0, 0].tolist()) for mask in masks} == {(0, 0, 0, 1, 1, 1), (1, 1, 1, 0, 0, 0)}
    for mask in (torch.ones(1, 2, 2), torch.full((1, 2, 2), 255, dtype=torch.uint8)):
        assert torch.equal(own_masks([mask])(1, 3, 3, 0), torch.ones(1, 1, 3, 3))


def test_larger_pictures_train_the_redraw_alone():
    """Above the network's size a hole gets noise from almost none to `redraw_noise`."""
    trained = method()
    sigmas = {}
    for noise in (None, 0.5):
        trained.plan = replace(trained.plan, redraw_noise=noise)
        for size in (16, 32):
            part = BatchSlice(size, TRAINING_SEEDS, 0, 64, 64)
            drawn = trained.load_batch(part)
            beta_bar = trained._levels(part, drawn).beta_bar * (drawn.mask == 1)
            sigmas[noise, size] = (beta_bar / (1 - beta_bar)).sqrt().amax((1, 2, 3))
    assert torch.equal(sigmas[None, 16], sigmas[0.5, 16]), "the network's own size is as before"
    assert sigmas[None, 32].max() > 50
    redrawn = sigmas[0.5, 32]
    assert 0.48 < redrawn.max() < 0.51 and 0 < redrawn.min() < 0.03 and 0.15 < redrawn.median() < 0.35


def test_the_redraw_noise_is_refused_at_0(place, capsys):
    assert main(["train", "rad", *SMALL, "--redraw-noise", "0", "--stages", "16:1:2", "-o", "a.safetensors"]) == 1
    assert "--redraw-noise must be above 0" in capsys.readouterr().err
    assert main(["train", "rad", *SMALL, "--redraw-noise", "2", "--stages", "16:1:2", "-o", "a.safetensors"]) == 1
    assert "stages larger than the network's 16 pixels" in capsys.readouterr().err
    assert main(["train", "rad", *SMALL, "--redraw-noise", "2", "--stages", "16:1:2,32:1:2", "-o", "a.safetensors"]) == 0


def test_a_network_that_is_trained_to_redraw_keeps_its_size(place):
    options = ["--init", "net.safetensors", "--redraw-noise", "2", "--stages", "32:1:2", "--threads", "1", "--device", "cpu"]
    assert main(["train", "rad", *options, "-o", "all.safetensors"]) == 0
    assert load_model("all.safetensors").config.image_size == 16


def test_a_compiled_network_trains_the_same(place, monkeypatch, capsys):
    compiled, compile_ = [], torch.compile

    def traced(net, **how):
        compiled.append(net)
        return compile_(net, backend="aot_eager", **how)  # all but the code generation, which takes minutes

    monkeypatch.setattr(torch, "compile", traced)
    monkeypatch.setenv("CXX", sys.executable)  # it is not called
    run = ["train", "rad", *SMALL, "--stages", "16:2:2"]
    assert main([*run, "-o", "plain.safetensors"]) == 0 and not compiled
    assert main([*run, "--compile", "-o", "compiled.safetensors"]) == 0 and len(compiled) == 1
    plain, other = (load_file(name) for name in ("plain.safetensors", "compiled.safetensors"))
    assert plain.keys() == other.keys() and all(torch.allclose(value, other[name], atol=1e-5) for name, value in plain.items())
    assert main(["train", "rad", *SMALL, "--stages", "16:3:2", "-o", "compiled.safetensors"]) == 0, "it goes on without"
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert main([*run, "--compile", "-o", "none.safetensors"]) == 1
    assert "--compile needs the C++ compiler no-such-compiler" in capsys.readouterr().err and not (place / "none.safetensors").exists()


def test_pictures_that_cannot_be_read_are_named_and_left_out(place):
    folder = place / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (40, 30)), ("small.png", (5, 9))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "a.txt").write_bytes("\ufeff un pré \n".encode())  # as Windows' editor writes it
    big = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (80, 60, 3), dtype=np.uint8)).save(big, "JPEG")
    for name, kind in (("cut.jpg", "JPEG"), ("cut.bmp", "BMP"), ("cut.gif", "GIF"), ("cut.webp", "WEBP"), ("cut.tif", "TIFF")):
        whole = io.BytesIO()
        Image.open(big).save(whole, kind)
        (folder / name).write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    Image.fromarray(rng.random((8, 8), dtype=np.float32)).save(folder / "float.tif")
    (folder / "._a.png").write_bytes(b"of a file system")
    with pytest.warns(UserWarning, match=r"7 of 9 pictures cannot be read and are skipped: broken.png"):
        pictures = Folder(folder)
    assert [path.name for path in pictures.paths] == ["a.png", "small.png"]
    assert len(pictures) == 2 and pictures.caption(0) == "un pré" and pictures.caption(1) == ""
    crops = Crops(pictures)(6, 16, 3)
    assert crops.shape == (6, 3, 16, 16) and crops.min() >= 0 and crops.max() <= 1
    assert torch.equal(Crops(pictures)(2, 16, 5), crops[2:4]), "picture k depends on seed + k alone"
    middles = [middle(picture, 30, 30) for picture in pictures]
    assert torch.equal(middles[0], pictures[0][:, 5:35].float() / 255)
    found = {next(k for k, one in enumerate(middles) if torch.equal(one, crop)) for crop in Crops(pictures, ())(8, 30, TRAINING_SEEDS)}
    assert found == {0, 1}, "without augmentations a crop is the middle of one of the pictures"
    with pytest.raises(ValueError, match="Unknown augmentation 'spin'"):
        Crops(pictures, ["spin"])
    assert main(["train", "rad", *SMALL, "--data", "pictures", "--stages", "16:2:2", "-o", "a.safetensors"]) == 0
    assert read_adapter("a.safetensors").metadata.data == "2 pictures"


def test_bad_ends_are_clear_and_leave_the_last_good_file(place, capsys, monkeypatch):
    run = ["train", "rad", *SMALL, "--stages", "16:4:2", "--save-every", "2", "-o", "a.safetensors"]
    (place / "empty").mkdir()
    (place / "one").mkdir()
    Image.new("RGB", (3, 5)).save(place / "one" / "tiny.png")
    assert main([*run, "--data", "one", "-o", "one.safetensors"]) == 0, "one picture, smaller than the network, is enough"
    assert read_adapter("one.safetensors").metadata.data == "1 pictures"
    for data, sentence in (("empty", "it contains no pictures"), ("nowhere", "cannot be read")):
        assert main([*run, "--data", data]) == 1 and sentence in capsys.readouterr().err
    assert main([*run[:-4], "--save-every", "2", "--masks", "nothing", "-o", "a.safetensors"]) == 1
    assert "no training masks 'nothing'" in capsys.readouterr().err
    for option, sentence in (("--rank=0", "rank"), ("--targets=to_x", "Unknown target"), ("--label=3", "not class-conditional")):
        assert main([*run, option]) == 1 and sentence in capsys.readouterr().err
    assert not list(place.glob("a.*")), "nothing is written before training begins"
    assert main(run) == 0
    before = {path: path.read_bytes() for path in (place / "a.safetensors", place / "a.state")}
    gradients = DiffusionTraining.gradients

    def with_bad_loss(trained, *args):
        return gradients(trained, *args) | {"loss": math.nan}

    def with_bad_gradient(trained, *args):
        losses = gradients(trained, *args)
        trained.parameters[0].grad.fill_(math.nan)
        return losses

    for broken, words in ((with_bad_loss, "A loss became"), (with_bad_gradient, "The gradients became nan at step 5")):
        with monkeypatch.context() as patch:
            patch.setattr(DiffusionTraining, "gradients", broken)
            assert main([*run[:-4], "--save-every", "1", "-o", "a.safetensors", "--stages", "16:8:2"]) == 1
        assert words in capsys.readouterr().err and {path: path.read_bytes() for path in before} == before
    import rad_core.training.state as state

    def full(*args):
        raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")  # torch's message on a full disk

    monkeypatch.setattr(state.torch, "save", full)
    assert main([*run[:-1], "full.safetensors"]) == 1 and "Cannot write full.state" in capsys.readouterr().err
    assert read_adapter("full.safetensors").metadata.steps == 2, "the weights are written all the same, and complete"


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
from rad_core.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_ends_the_run_and_keeps_the_checkpoint(place):
    """As real as a process can have it: no file may grow beyond what the last checkpoint needed."""
    run = ["train", "base", *SMALL[:4], "--widths", "32,32", "--save-every", "2", "-o", "a.safetensors", "--stages"]
    assert main([*run, "16:2:2"]) == 0
    before = {path: path.read_bytes() for path in (place / "a.safetensors", place / "a.state")}
    done = start(["-c", FULL, *run, "16:4:2"], place)
    assert done.returncode == 1 and "Cannot write a.safetensors" in done.stderr, done.stderr[-1500:]
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(p.name for p in place.iterdir() if p.name.startswith("tmp")) == []


def test_networks_that_draw_by_class(place, capsys):
    torch.manual_seed(0)
    save_model(UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16, num_classes=3)), "classes.safetensors")
    run = ["train", "rad", *SMALL[:-1], "classes.safetensors", "--stages", "16:1:2", "-o", "a.safetensors"]
    assert main([*run, "--label", "2"]) == 0 and read_adapter("a.safetensors").metadata.steps == 1
    (place / "a.safetensors").unlink()
    assert main(run) == 1 and not (place / "a.safetensors").exists()
    assert "pass the label of the pictures' class, 0 to 2" in capsys.readouterr().err


def test_the_loss_curve_goes_down_where_the_loss_does():
    rows = [{"step": k, "size": 16, "loss": 10.0 ** (-k / 10), "pictures_per_second": 1.0} for k in range(1, 30)]
    picture = torch.from_numpy(np.array(loss_curve(rows))).int()
    line = ((picture - torch.tensor([31, 119, 180])).abs().sum(2) < 10)[40:, :]
    heights = [line[:, x].nonzero().float().mean().item() for x in (100, 300, 500, 620)]
    assert heights == sorted(heights) and heights[-1] - heights[0] > 200
    assert loss_curve([]).size == loss_curve(rows).size


def test_tensorboard_is_written_or_asked_for(place, capsys, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = ["train", "rad", *SMALL, "--stages", "16:2:2", "--tensorboard", "board", "-o", "a.safetensors"]
    assert main(run) == 0
    events = EventAccumulator(str(place / "board")).Reload()
    assert "loss" in events.Tags()["scalars"] and "filled" in events.Tags()["images"]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert main(run) == 1 and "pip install tensorboard" in capsys.readouterr().err


@pytest.mark.parametrize("size", [512, 1024])
def test_a_bucket_has_the_pictures_shape_and_the_sizes_area(size):
    for height, width in [(100, 100), (3000, 4000), (4000, 3000), (900, 1600), (500, 2000), (700, 701)]:
        high, wide = bucket_of(height, width, size)
        assert high % math.gcd(size, 64) == wide % math.gcd(size, 64) == 0
        assert abs(high * wide / size**2 - 1) < 0.2
        assert abs(math.log(high * width / (wide * height))) < 0.15
    assert bucket_of(7, 7, size) == (size, size)


def test_middle_keeps_all_of_a_picture_of_the_same_shape():
    picture = torch.arange(3 * 20 * 30, dtype=torch.float32).view(3, 20, 30) / 1800
    assert torch.equal(middle(picture, 20, 30), picture)
    assert torch.equal(middle(picture, 20, 20), picture[:, :, 5:25])
    assert middle(picture, 40, 10).shape == (3, 40, 10)


def test_samples_are_held_back_where_pictures_suffice():
    wide, tall = (4, 48, 80), (4, 80, 48)
    trained, shown = split([wide, tall] * 15)
    assert shown == [14] and trained == [k for k in range(30) if k != 14]
    trained, shown = split([wide] * 100)
    assert len(shown) == 4 and len(trained) == 96 and not set(trained) & set(shown)
    trained, shown = split([wide, tall, wide])
    assert trained == [0, 1, 2] and shown == [0, 2], "too few: of the commonest shape, trained on"


def test_a_store_keeps_what_does_not_fit_in_files(tmp_path):
    values = [torch.randn(5, 7), torch.arange(6), torch.randn(3, dtype=torch.bfloat16)]
    with TensorStore(limit=5 * 7 * 4, folder=tmp_path) as store:
        with torch.inference_mode():
            kept = [store.keep(value * 1) for value in values]
        files = list(tmp_path.rglob("*.bin"))
        assert sorted(file.stat().st_size for file in files) == [3 * 2, 6 * 8]
        for value, copy in zip(values, kept, strict=True):
            assert torch.equal(value, copy) and not copy.is_inference()
    assert not list(tmp_path.iterdir())


def test_the_command_shows_pictures_it_does_not_train_on(place, monkeypatch):
    """Of 20 grey pictures two are held back: the sample sheet shows their greys alone, training all the others."""
    (place / "pictures").mkdir()
    for k in range(20):
        Image.fromarray(np.full((16, 16, 3), 10 * k, np.uint8)).save(place / "pictures" / f"{k:02}.png")
    seen = {}
    columns = lambda net, pictures, *_: seen.setdefault("samples", [("picture", pictures)])
    monkeypatch.setattr("rad_core.commands.train.sample_columns", columns)
    monkeypatch.setattr("rad_core.commands.train.train", lambda method, plan, log, save, *_, **__: (save(), seen.update(method=method)))
    assert main(["train", "rad", "--data", "pictures", "--stages", "16:1:1", "-o", "a.safetensors", *SMALL]) == 0
    greys = lambda pictures: {round(float(grey) * 25.5) for grey in pictures.mean((1, 2, 3))}
    drawn = seen["method"].load_batch(BatchSlice(16, TRAINING_SEEDS, 0, 200, 200))[0] / 2 + 0.5
    assert greys(seen["samples"][0][1]) == {5, 15} and greys(drawn) == set(range(20)) - {5, 15}


def test_the_learning_rate_rises_and_falls():
    assert learning_rate(2.0, 0, 1000, warmup=0) == 2, "none is allowed"
    rates = [learning_rate(2.0, step, 1000, warmup=10) for step in range(1000)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == pytest.approx(2.0, rel=1e-3) and rates[-1] == pytest.approx(0.1, rel=1e-3)
    assert rates[500] == pytest.approx(2 * 0.525) and all(a >= b for a, b in pairwise(rates[10:]))


def test_augmentations_are_as_strong_and_as_frequent_as_they_say():
    """On a picture that rises from 0 at the left to 1 at the right."""
    ramp = torch.linspace(0, 1, 101).expand(3, 101, 101)
    draw = lambda *names, **options: Crops([ramp], names, **options)(400, 16, 0)[:, 0]
    across, down = (lambda crops: crops[:, 8, 15] - crops[:, 8, 0]), (lambda crops: crops[:, 15, 8] - crops[:, 0, 8])
    plain = draw()
    assert torch.equal(plain, plain[:1].expand_as(plain))
    side = 101 * across(draw("crop")) / across(plain)
    assert 80 < side.min() < 82 and 99 < side.max() < 101.5
    assert (across(draw("flip")) < 0).float().mean() == pytest.approx(0.5, abs=0.08)
    assert (down(draw("transpose")) > 0.5).float().mean() == pytest.approx(0.25, abs=0.08)
    factor = draw("brightness")[:, 8, 8] / plain[:, 8, 8]
    assert 0.85 < factor.min() < 0.86 and 1.14 < factor.max() < 1.15
    side = 101 * across(draw(tiles=True)) / across(plain)
    assert 15 < side.min() < 17 and 30 < side.max() < 33


def test_samples_have_a_hole_and_known_pixels():
    masks = lambda n, height, width, seed: torch.stack([torch.full((1, height, width), k / 3).round() for k in (0, 3, 0, 3)])
    rectangle = torch.zeros(1, 16, 24)
    rectangle[:, 4:12, 6:18] = 1
    assert torch.equal(holes(masks, 16, 24), rectangle.expand(4, 1, 16, 24))
    drawn = lambda n, height, width, seed: rectangle.flip(2).roll(3, 2).expand(4, 1, 16, 24)
    assert torch.equal(holes(drawn, 16, 24), drawn(4, 16, 24, 0))


def test_widths_that_cannot_be_normalised_are_refused(place, capsys):
    for widths in ("40,64", "32,0"):
        assert main(["train", "base", "--widths", widths, "--stages", "16:1:2", "-o", "b.safetensors"]) == 1
        assert f"--widths must be multiples of 32, got {widths}" in capsys.readouterr().err


def test_runs_of_other_seeds_see_other_pictures():
    seeds = [
        {s for *_, parts in _steps(TrainingPlan([Stage(16, 50, 4)], seed=k), Processes()) for p in parts for s in p.seeds} for k in (0, 1)
    ]
    assert len(seeds[0]) == len(seeds[1]) == 200 and not seeds[0] & seeds[1] and min(seeds[0]) >= TRAINING_SEEDS


def test_the_average_soon_forgets_the_initial_weights():
    weight = torch.zeros(1)
    ema, expected = EMA([weight], 0.999), 0.0
    for n in range(1, 5):
        weight.fill_(n)
        ema.update()
        decay = (1 + n) / (10 + n)
        expected = decay * expected + (1 - decay) * n
    assert ema.values[0].item() == pytest.approx(expected)


def test_own_masks_are_cut_in_the_middle_and_one_level_is_the_holes():
    greys = own_masks([torch.full((1, 4, 4), 0.45), torch.full((1, 4, 4), 140, dtype=torch.uint8)])(40, 8, 8, 0)
    assert {float(mask.mean()) for mask in greys} == {0.0, 1.0}
    seen = []
    net = UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16))
    net.forward = lambda x, t: seen.append(t)
    OneLevel(net)(torch.zeros(2, 3, 4, 4), torch.arange(32.0).view(2, 1, 4, 4))
    assert seen[0].tolist() == [15, 31]
