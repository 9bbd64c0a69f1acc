"""The library on a pretended GPU (`pretend_gpu`): no tensor is on the wrong device, and the pictures are those of the CPU."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pretend_gpu import CUDA, MPS, PretendTensor, pretend_gpu

import rad_core
from rad_core import RegionSchedule, fills, landscapes
from rad_core.__main__ import build_parser, main
from rad_core.adapters import add_adapter
from rad_core.attention_order import pick_order
from rad_core.commands.inpaint_methods import _load_rad
from rad_core.compare import compare
from rad_core.masks import SHAPES, box_masks
from rad_core.prepare import extend
from rad_core.sdm import Generator, SDMConfig
from rad_core.sdm.network import Discriminator
from rad_core.sheets import mark_hole
from rad_core.training.data import mask_source
from rad_core.training.diffusion import DiffusionTraining, TrainingPlan, check_device, pictures_of
from rad_core.training.log import Log
from rad_core.training.loop import Stage, train
from rad_core.training.samples import holes, sample_columns
from rad_core.training.sdm import SDMPlan, SDMTraining

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
PICTURE, MASK = landscapes(1, 24, seed=3), box_masks(1, 24, 24, seed=1)
SMALL_SDM = SDMConfig((16, 16), (1,), global_convs=1, latent=16, code=16, heads=2, image_size=16)


def small_sdm():
    torch.manual_seed(0)
    return Generator(SMALL_SDM).requires_grad_(False).eval()


METHODS = {
    "rad": lambda net, picture, mask: rad_core.rad_inpaint(net, picture, mask, steps=2, sampler="ddpm", order=mask),
    "gradpaint": lambda net, picture, mask: rad_core.gradpaint_inpaint(net, picture, mask, steps=2, detail=0.0),  # rad has the redraw
    "sdm": lambda net, picture, mask: rad_core.sdm_inpaint(net, picture, mask, iterations=2)[0],
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore::rad_core.notes.Note")
def test_methods_give_the_cpus_pictures(tiny_net, method, dtype):
    net = (small_sdm() if method == "sdm" else copy.deepcopy(tiny_net)).to(dtype)
    expected = METHODS[method](net, PICTURE, MASK)
    with pretend_gpu():
        net = net.to("cuda")
        assert net.device == CUDA
        out = METHODS[method](net, PICTURE, MASK)  # a host's pictures are on the CPU
        there = METHODS[method](net, PICTURE.to("cuda"), MASK.to("cuda"))
    assert type(out) is torch.Tensor and isinstance(there, PretendTensor)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(there.inner, expected)


UNEVEN = (slice(None), slice(None), slice(21), slice(23))  # sides that do not halve evenly


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore::rad_core.notes.Note")
def test_methods_run_on_apples_gpus(tiny_net, method):
    net, picture, mask = small_sdm() if method == "sdm" else copy.deepcopy(tiny_net), PICTURE[UNEVEN], MASK[UNEVEN]
    expected = METHODS[method](net, picture, mask)
    with pretend_gpu(MPS):
        out = METHODS[method](net.to("mps"), picture, mask)
        there = METHODS[method](net, picture.to("mps"), mask.to("mps"))
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(there.inner, expected)


def test_networks_for_apples_gpus_are_not_channels_last():
    with pretend_gpu(MPS):
        for net in (rad_core.load_model("landscapes", device="mps"), rad_core.load_sdm("landscapes", device="mps")):
            assert all(weight.is_contiguous() for weight in net.parameters())
        files = ["inpaint", "rad", "photo.png", "--mask", "mask.png", "-o", "out.png"]
        net, _ = _load_rad(build_parser().parse_args([*files, "--device", "mps"]), None)
        assert all(weight.is_contiguous() for weight in net.parameters())


def test_training_on_apples_gpus_is_refused():
    with pretend_gpu(MPS), pytest.raises(ValueError, match="float64"):
        check_device(MPS)


RAMP = torch.linspace(0.2, 0.8, 100).view(1, 1, 1, 100).expand(1, 3, 100, 100)
STRIPED = torch.full((1, 3, 100, 100), 0.4)
STRIPED[:, :, 48:52] = 1
MIDDLE = F.pad(torch.ones(1, 1, 30, 30), (35,) * 4)


@pytest.mark.parametrize("device", [CUDA, MPS], ids=str)
@pytest.mark.parametrize("case", [(PICTURE, MASK), (RAMP, MIDDLE), (STRIPED, MIDDLE)], ids=["landscape", "light", "a line"])
def test_the_picture_as_its_own_model(case, device):
    picture, mask = case
    expected, deviation = rad_core.exemplar_inpaint(picture, mask, "fast")
    with pretend_gpu(device):
        out, uncertainty = rad_core.exemplar_inpaint(picture.to(device), mask.to(device), "fast")
    torch.testing.assert_close(out.inner, expected)
    torch.testing.assert_close(uncertainty.inner, deviation)


def test_masks_and_measures():
    expected = {name: draw(2, 20, 24, 1) for name, draw in SHAPES.items()}
    numbers = compare(PICTURE, MASK, {"flipped": PICTURE.flip(3)})
    with pretend_gpu():
        for name, draw in SHAPES.items():
            assert torch.equal(draw(2, 20, 24, 1, device="cuda").inner, expected[name]), name
        picture = PICTURE.to("cuda")
        there = compare(picture, MASK.to("cuda"), {"flipped": picture.flip(3)})
    assert there["flipped"] == pytest.approx(numbers["flipped"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_an_adapter_is_trained_and_resumed(tiny_net, tmp_path, precision):
    """In float32 to the CPU's weights; the file of the run's state has no device."""
    plan, saved = TrainingPlan([Stage(16, 1, 2)], precision=precision), []

    def run(device, state=None):
        net = copy.deepcopy(tiny_net).to(device)
        torch.manual_seed(0)
        method = DiffusionTraining(add_adapter(net, 4).to(device), pictures_of(landscapes), plan, RegionSchedule(), mask_source("perlin"))
        train(method, plan, Log(), lambda: saved.append(1), state)
        return net, [p.detach().cpu() for p in method.parameters]

    with pretend_gpu():
        net, there = run("cuda", tmp_path / "a.state")
        _, again = run("cuda", tmp_path / "a.state")  # nothing is left to do
        if precision == "bfloat16":  # what auto is on a GPU
            samples = sample_columns(net, landscapes(1, 16), holes(mask_source("perlin"), 16, 16)[:1], None)[-1][1]
            assert torch.isfinite(samples.cpu()).all()
    assert len(saved) == 2 and all(torch.equal(a, b) for a, b in zip(there, again, strict=True))
    assert any(weight.abs().sum() > 0 for weight in there)
    if precision == "float32":
        for a, b in zip(there, run("cpu")[1], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_adapters_are_stacked_after_the_network_was_moved():
    expected, net = (rad_core.load_adapter(rad_core.load_model("landscapes"), "landscapes") for _ in range(2))
    rad_core.load_adapter(expected, "night", 0.5)
    with pretend_gpu():
        net = rad_core.load_adapter(net.to("cuda"), "night", 0.5)
        weights = {name: p.detach().cpu() for name, p in net.named_parameters()}
    for name, p in expected.named_parameters():
        torch.testing.assert_close(weights[name], p.detach())


def test_an_sdm_network_is_trained():
    plan = SDMPlan([Stage(16, 1, 2)], iterations=(2,))
    with pretend_gpu():
        nets = [kind(SMALL_SDM).to("cuda") for kind in (Generator, Discriminator)]
        before = [p.detach().cpu().clone() for p in nets[0].parameters()]
        train(SDMTraining(*nets, landscapes, plan), plan, Log(), lambda: None)
        after = [p.detach().cpu() for p in nets[0].parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("method", [[], ["rad", "--model", "landscapes", "--steps", "1"], ["sdm", "--iterations", "1"]], ids=str)
def test_the_command(tmp_path, monkeypatch, method):
    monkeypatch.chdir(tmp_path)
    pixels = (PICTURE[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save("photo.png")
    Image.fromarray((MASK[0, 0] * 255).byte().numpy()).save("mask.png")
    with pretend_gpu():
        assert main(["inpaint", *method, "photo.png", "--mask", "mask.png", "-o", "out.png", "--compare", "s.png", "--device", "cuda"]) == 0
    out, known = np.array(Image.open("out.png")), MASK[0, 0].numpy() == 0
    assert (out == pixels)[known].all() and (out != pixels)[~known].any()


# Mistakes that a real GPU refuses: a on the GPU, b on the CPU.
MISTAKES = {
    "sum": lambda a, b: a + b,
    "in place": lambda a, b: b.add_(a),
    "lerp": lambda a, b: torch.lerp(a, b, 0.5),
    "where": lambda a, b: torch.where(a > 0, a, b),
    "masked_fill": lambda a, b: a.masked_fill(b > 0, 0),
    "cat": lambda a, b: torch.cat([a, b]),
    "convolution": lambda a, b: F.conv2d(a[None, None], b[None, None]),
    "gather": lambda a, b: a.gather(0, (b > 0).long()),
    "index of a CPU tensor": lambda a, b: b[(a > 0).long()],
    "normal numbers": lambda a, b: torch.randn(3, device="cuda", generator=torch.Generator()),
    "numpy": lambda a, b: a.numpy(),
    "array": lambda a, b: np.asarray(a),
    "layer": lambda a, b: torch.nn.Linear(4, 4)(a),
    "gradient": lambda a, b: (a * b.requires_grad_()).sum().backward(),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_of_device_are_caught(mistake):
    with pretend_gpu():
        a, b = torch.ones(4, 4, device="cuda"), torch.ones(4, 4)
        with pytest.raises((RuntimeError, TypeError), match=r"same device|cuda"):
            MISTAKES[mistake](a, b)


CPU_NOISE = lambda streams, shape, device, normal=fills.normal: normal(streams, shape)
CPU_NETWORK = lambda net, *rest, denoiser=fills.ADMDenoiser: denoiser(net.cpu(), *rest)


@pytest.mark.parametrize("name, wrong", [("normal", CPU_NOISE), ("ADMDenoiser", CPU_NETWORK)])
@pytest.mark.filterwarnings("ignore::rad_core.notes.Note")
def test_mistakes_in_the_library_would_be_caught(tiny_net, monkeypatch, name, wrong):
    monkeypatch.setattr(fills, name, wrong)
    with pretend_gpu():
        net = copy.deepcopy(tiny_net).to("cuda")
        with pytest.raises(RuntimeError, match="same device"):
            METHODS["rad"](net, PICTURE, MASK)


def test_helpers_take_pictures_on_the_gpu(tiny_net):
    with pretend_gpu():
        larger, mask = extend(PICTURE.to("cuda"), right=4)
        assert larger.device == mask.device == CUDA
        assert mark_hole(PICTURE.to("cuda"), MASK).device == CUDA
        assert pick_order(copy.deepcopy(tiny_net), PICTURE.to("cuda")) == pick_order(copy.deepcopy(tiny_net), PICTURE)
