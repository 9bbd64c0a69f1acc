"""SDM's training: it learns, an interrupted run resumes, ablations give other weights, augmentation transforms the right maps."""

import math

import pytest
import torch
from safetensors.torch import load_file

from rad_core import landscapes
from rad_core.__main__ import main
from rad_core.sdm import load_sdm
from rad_core.training.augment import Augment
from rad_core.training.loop import TRAINING_SEEDS, BatchSlice, Stage
from rad_core.training.perceptual import DilatedResNet50, feature_distance, load_perceptual
from rad_core.training.processes import Processes
from rad_core.training.sdm import SDMPlan, SDMTraining

COMMAND = ["train", "sdm", "--widths", "8,16", "--attention", "1", "--latent", "8", "--code", "8", "--heads", "2", "--global-convs", "1"]
COMMAND += ["--threads", "1", "--save-every", "2"]


@pytest.fixture()
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(path):
    head, *lines = path.read_text().splitlines()
    return [dict(zip(head.split(","), map(float, line.split(",")), strict=True)) for line in lines]


def test_it_learns_the_colours_of_a_hole(place):
    assert (
        main([*COMMAND, "--anchor", "0", "--learning-rate", "1e-2", "--stages", "16:30:8", "--save-every", "10", "-o", "a.safetensors"])
        == 0
    )
    log = rows(place / "a.csv")
    assert log[-1]["colours"] < 0.8 * log[0]["colours"] and log[-1]["likelihood"] < log[0]["likelihood"]
    assert load_sdm("a.safetensors").config.widths == (8, 16)


def test_a_stopped_run_goes_on_as_if_it_had_not_been(place, monkeypatch, capsys):
    run = [*COMMAND, "--stages", "16:4:4,24:2:4"]
    assert main([*run, "-o", "whole.safetensors"]) == 0
    go = SDMTraining.step

    def stop(self, step, *inputs):
        if step == 5:
            raise KeyboardInterrupt
        return go(self, step, *inputs)

    monkeypatch.setattr(SDMTraining, "step", stop)
    assert main([*run, "-o", "halves.safetensors"]) == 130
    monkeypatch.setattr(SDMTraining, "step", go)
    assert main([*run, "-o", "halves.safetensors"]) == 0
    whole, halves = load_file("whole.safetensors"), load_file("halves.safetensors")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    assert main([*run, "--learning-rate", "0", "-o", "untrained.safetensors"]) == 0
    assert any(not torch.equal(tensor, whole[name]) for name, tensor in load_file("untrained.safetensors").items())
    assert [row["step"] for row in rows(place / "halves.csv")] == [2, 4, 6]
    assert main([*run, "--seed", "1", "-o", "halves.safetensors"]) == 1 and "belongs to a run with" in capsys.readouterr().err


@pytest.mark.parametrize(
    "ablation", [["--no-dpm"], ["--alpha", "0"], ["--no-guided-attention"], ["--schedule", "cosine"], ["--iterations", "3"]]
)
def test_ablations_are_other_runs(place, ablation):
    """With noise and decoupling the first step's mean is the same, so the weights are compared after a few steps."""
    run = [*COMMAND, "--stages", "16:4:4"]
    for name, extra in (("full", []), ("less", ablation)):
        assert main([*run, *(["--iterations", "2"] if "--iterations" not in extra else []), *extra, "-o", f"{name}.safetensors"]) == 0
    full, less = load_file("full.safetensors"), load_file("less.safetensors")
    assert any(not torch.equal(full[name], less[name]) for name in full)
    assert all(torch.isfinite(tensor).all() for tensor in less.values())


def test_a_loss_that_is_no_number_ends_the_run_and_writes_nothing(place, capsys):
    assert main([*COMMAND, "--stages", "16:40:4", "--learning-rate", "1e30", "--save-every", "40", "-o", "a.safetensors"]) == 1
    assert "A loss became" in capsys.readouterr().err and not list(place.glob("a.*"))


def test_it_starts_from_a_network_of_its_shape(place, capsys):
    assert main([*COMMAND, "--stages", "16:2:4", "-o", "a.safetensors"]) == 0
    assert main([*COMMAND, "--stages", "24:2:4", "--learning-rate", "1e-12", "--init", "a.safetensors", "-o", "b.safetensors"]) == 0
    a, b = load_sdm("a.safetensors"), load_sdm("b.safetensors")
    for ours, theirs in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)
    assert b.config.image_size == 24
    assert main([*COMMAND, "--stages", "16:2:4", "--heads", "4", "--init", "a.safetensors", "-o", "c.safetensors"]) == 1
    assert "another architecture" in capsys.readouterr().err


def test_augmentation_turns_mask_and_picture_together_and_tints_the_picture_alone():
    augment, streams = Augment(), [torch.Generator().manual_seed(k) for k in range(64)]
    picture = torch.rand(64, 3, 16, 16)
    mask = (picture[:, :1] > 0.5).float()
    same, still = augment(picture, mask, streams)
    assert torch.equal(same, picture) and torch.equal(still, mask)
    augment.probability = 0.8
    quarter = (torch.arange(16 * 16).view(1, 1, 16, 16) % 97 / 97).expand(64, 3, 16, 16).clone().requires_grad_()
    changed, moved = augment(quarter, (quarter[:, :1] > 0.5).float().detach(), streams)
    assert not torch.equal(changed, quarter) and set(moved.unique().tolist()) <= {0.0, 1.0}
    changed.sum().backward()
    assert quarter.grad.abs().sum() > 0
    # the mask still covers the bright pixels, so both were transformed alike
    agree = [
        torch.corrcoef(torch.stack([c.mean(0).flatten(), m.flatten()]))[0, 1]
        for c, m in zip(changed.detach(), moved, strict=True)
        if m.std() > 0
    ]
    assert torch.stack(agree).median() > 0.6


def test_augmentation_grows_while_the_judge_is_too_sure():
    augment = Augment(pictures=10)
    for _ in range(5):
        augment.adapt(1.0, 4)
    assert augment.probability == 0.8
    for _ in range(9):
        augment.adapt(-1.0, 4)
    assert augment.probability == 0.0


@pytest.mark.parametrize("deep", [False, True])
def test_the_perceptual_loss_takes_a_users_resnet(place, deep):
    torch.manual_seed(0)
    net = DilatedResNet50(deep).eval()
    state = net.state_dict() | {"fc.weight": torch.zeros(2, 2)}
    torch.save({f"module.{name}": tensor for name, tensor in state.items() if "num_batches" not in name}, "resnet.pth")
    loaded = load_perceptual("resnet.pth")
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    maps = loaded(picture)
    assert [tuple(m.shape[1:]) for m in maps] == [(256, 16, 16), (512, 8, 8), (1024, 8, 8), (2048, 8, 8)]
    for ours, theirs in zip(maps, net(picture), strict=True):
        torch.testing.assert_close(ours, theirs)
    other = (picture + 0.1 * torch.randn_like(picture)).requires_grad_()
    assert feature_distance(maps, loaded(picture)) == 0
    distance = feature_distance(loaded(other), maps)
    distance.backward()
    assert distance > 0 and other.grad.abs().sum() > 0
    assert sum(p.numel() for p in net.parameters()) == (
        23_508_032 if not deep else 23_508_032 - 9408 - 128 + 1728 + 36864 + 73728 + 512 + 4096 + 16384
    )


def test_training_with_a_perceptual_loss_and_a_wrong_file(place, capsys):
    torch.save(DilatedResNet50(False).state_dict(), "resnet.pth")
    assert main([*COMMAND, "--stages", "16:2:2", "--perceptual", "resnet.pth", "-o", "a.safetensors"]) == 0
    assert rows(place / "a.csv")[-1]["features"] > 0
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "half.pth")
    assert main([*COMMAND, "--stages", "16:2:2", "--perceptual", "half.pth", "-o", "b.safetensors"]) == 1
    assert "not a ResNet50" in capsys.readouterr().err


def test_the_judge_tells_pictures_from_fills_and_its_slopes_stay_small():
    """The discriminator alone learns, despite the augmentation and a penalty in every step."""
    from rad_core.sdm import Discriminator, Generator, SDMConfig

    torch.manual_seed(0)
    config = SDMConfig((8, 16), (1,), 1, 8, 8, 2, image_size=16)
    plan = SDMPlan([Stage(16, 40, 8)], iterations=(1,), anchor=0.0, masks="box", r1_every=1)
    method = SDMTraining(Generator(config), Discriminator(config), lambda n, size, seed: landscapes(n, size, seed=seed), plan)
    method.opt_g = torch.optim.Adam(method.net.parameters(), 0.0)
    method.opt_d = torch.optim.Adam(method.discriminator.parameters(), 3e-3)
    scores = []
    for step in range(1, 31):
        method.augment.probability = 0.5
        part = BatchSlice(16, TRAINING_SEEDS + 8 * step, 0, 8, 8)
        slices = [method._prepare(part, *method.load_batch(part))]
        losses = method._update_generator(slices, Processes())
        score = method._update_discriminator(slices, step, Processes())
        scores.append(score + math.log(math.expm1(losses["adversary"])))  # real minus fake: adversary is log(1 + exp(-fake))
    assert sum(scores[-10:]) / 10 > sum(scores[:10]) / 10 + 0.5, scores


def test_what_a_run_is_made_of_is_remembered(place, capsys):
    run = [*COMMAND, "--stages", "16:2:4", "-o", "a.safetensors"]
    assert main(run) == 0
    (place / "a.safetensors").unlink()
    assert main(run) == 0 and (place / "a.safetensors").is_file(), "a finished run writes its file again"
    for other in (["--hour", "0"], ["--latent", "16"]):
        assert main([*run, *other]) == 1 and "belongs to a run with" in capsys.readouterr().err
    (place / "a.state").write_bytes((place / "a.state").read_bytes()[:1000])
    assert main(run) == 1 and "damaged" in capsys.readouterr().err
    assert main([*run, "--heads", "3"]) == 1 and "heads" in capsys.readouterr().err


def test_training_in_bfloat16(place):
    assert main([*COMMAND, "--stages", "16:2:4", "--precision", "bfloat16", "-o", "a.safetensors"]) == 0
    assert main([*COMMAND, "--stages", "16:2:4", "-o", "b.safetensors"]) == 0
    low, full = rows(place / "a.csv")[-1], rows(place / "b.csv")[-1]
    for name in ("adversary", "features", "colours", "likelihood"):
        assert low[name] != full[name] and low[name] == pytest.approx(full[name], rel=0.05)
    assert all(torch.isfinite(tensor).all() for tensor in load_file("a.safetensors").values())


def test_saturation_leaves_grey_alone_and_contrast_scales_all():
    augment, u = Augment(), torch.zeros(1, 12)
    augment.probability = 0.5
    matrix = lambda **z: augment._colour(u, torch.tensor([[0, z.get("saturation", 0), z.get("contrast", 0), z.get("brightness", 0), 0.0]]))
    grey, tint = torch.full((3,), 0.3), torch.tensor([0.2, -0.1, -0.1])
    apply = lambda colour, **z: matrix(**z)[0, :, :3] @ colour + matrix(**z)[0, :, 3]
    torch.testing.assert_close(apply(grey + tint, saturation=1.0), grey + 2 * tint)
    torch.testing.assert_close(apply(grey + tint, contrast=2.0), 2 * (grey + tint))
    torch.testing.assert_close(apply(grey + tint, brightness=1.0), grey + tint + 0.2)


def test_the_perceptual_network_normalises_as_imagenets_do_and_dilates_what_it_does_not_stride():
    """As torchvision's resnet50 with replace_stride_with_dilation=[False, True, True]."""
    net, seen = DilatedResNet50(False).eval(), []
    net.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    unit = torch.rand(1, 3, 32, 32)
    net(unit * 2 - 1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(seen[0], (unit - mean) / std)
    dilations = [[block.conv2.dilation[0] for block in layer] for layer in (net.layer2, net.layer3, net.layer4)]
    assert dilations == [[1] * 4, [1] + [2] * 5, [2, 4, 4]]


def test_a_step_of_several_iterations_trains_the_judge_no_more_than_one():
    """The discriminator's loss is the mean over the fills of a step."""
    from rad_core.sdm import Discriminator, Generator, SDMConfig

    torch.manual_seed(0)
    config = SDMConfig((8, 16), (1,), 1, 8, 8, 2, image_size=16)
    plan = SDMPlan([Stage(16, 1, 4)], learning_rate=0.0, r1_every=1000)
    method = SDMTraining(Generator(config), Discriminator(config), lambda n, size, seed: landscapes(n, size, seed=seed), plan)
    batch = method._prepare(part := BatchSlice(16, TRAINING_SEEDS, 0, 4, 4), *method.load_batch(part))
    gradients = []
    for count in (1, 3):
        batch.fills = [batch.real.flip(3)] * count
        method._update_discriminator([batch], 1, Processes())
        gradients.append(torch.cat([p.grad.flatten() for p in method.discriminator.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
    assert gradients[0].abs().max() > 1e-4
