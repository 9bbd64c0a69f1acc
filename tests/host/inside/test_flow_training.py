"""Train RAD Adapter on the host's flow transformers: the network that is trained, its gradients, and the file it leaves."""

import csv
import re
from pathlib import Path

import pytest
import torch
from families import build, in_host, prompts
from family_table import FAMILIES
from helpers import apply, train
from test_token_levels import NAMES, difference, ratio_flow, state

FEW = ["SD3, 3.5", "Flux.1 dev", "Flux.2, klein", "Chroma", "Qwen-Image, -Edit", "Z-Image", "Krea 2", "Anima", "Wan 2.1 (picture)"]
REFUSED = {"LongCat-Image": "cannot train on it yet", "Flux.1 Fill": "train on the plain model instead"}


@pytest.fixture(params=NAMES)
def family(host, request):
    if not in_host(request.param):
        pytest.skip(f"this host has no {request.param}")
    return request.param


class Blocks:
    """A VAE without weights: the family's channels of blocks' colours, with a time axis where it has one."""

    def __init__(self, name):
        self.block, self.shape = FAMILIES[name].block, FAMILIES[name].shape

    def encode(self, image):
        small = torch.nn.functional.avg_pool2d(image.movedim(-1, 1), self.block) * 2 - 1
        small = small.repeat(1, -(-self.shape[0] // 3), 1, 1)[:, : self.shape[0]]
        return small if len(self.shape) == 3 else small[:, :, None]

    def decode(self, latents):
        pictures = latents[:, :3].flatten(0, -4 if latents.ndim == 4 else -5) if latents.ndim == 4 else latents[:, :3, 0]
        return torch.nn.functional.interpolate(pictures / 2 + 0.5, scale_factor=self.block).movedim(1, -1)


def trainable(host, base):
    """The network as it is trained, with a level map, a state and its conditioning."""
    training = host.module("nodes.host.flow_training")
    with torch.inference_mode(False), torch.enable_grad():
        return training.FlowNetwork.of(base), training


def test_the_training_network_is_the_hosts_and_its_gradient_is_right(host, family):
    """v per token as the patched MODEL gives it; the gradient against a finite difference, with and without checkpointing."""
    base = build(family)
    if family in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[family]):
            trainable(host, base)
        return
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=base)
    x, conds = state(family, base)
    s = torch.full((1, 1, *x.shape[2:]), 0.7)
    s[..., : x.shape[-1] // 2] = 0.2
    net, training = trainable(host, base)
    assert next(net.net.parameters()).data_ptr() == next(base.model.diffusion_model.parameters()).data_ptr(), "the weights are shared"
    if not ratio_flow(base):
        expected = (x - apply(patched, x, 0.7, conds | {"sigma_map": s})) / s
        with torch.no_grad():
            v = net(x, s, [conds])
        assert difference(v, expected, 0 * x) < 1e-5
    names = net.targets()
    layers = dict(net.named_modules())
    assert len(names) >= 8 and any(part in name.lower() for part in ("mod", "adaln", "time", "tproj", "guidance") for name in names)
    with torch.inference_mode(False), torch.enable_grad(), training.in_training():
        x, s = x.clone(), s.clone()
        conds = [{name: training._map(torch.clone, value) for name, value in conds.items()}]
        weight = layers[names[0]].weight
        weight.requires_grad_(True)
        direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * weight.detach().std()
        found = []
        for net.checkpointing in (False, True):
            weight.grad = None
            net(x, s, conds).square().mean().backward()
            found.append((weight.grad * direction).sum().item())
        with torch.no_grad():
            step, losses = 1e-2, []
            for sign in (1, -1):
                weight.add_(sign * step * direction)
                losses.append(net(x, s, conds).double().square().mean().item())
                weight.sub_(sign * step * direction)
    numeric = (losses[0] - losses[1]) / (2 * step)
    assert numeric == pytest.approx(found[0], rel=0.05, abs=1e-4)
    assert found[1] == pytest.approx(found[0], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", FEW)
def test_an_adapter_is_trained_saved_loaded_and_refused_elsewhere(host, name, tmp_path):
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    base, vae = build(name), Blocks(name)
    before = {key: value.clone() for key, value in base.model.state_dict().items()}
    side = 8 * FAMILIES[name].block
    pictures = torch.rand(3, side, side, 3, generator=torch.Generator().manual_seed(0))
    adapters = host.base / "models" / "rad_adapters"
    settings = {"images": pictures, "vae": vae, "positive": prompts(name)[0], "size": side, "adapter_name": "tokens", "learning_rate": 1e-2}
    try:
        model, _, _ = train(host, base, steps=3, gradient_checkpointing=True, **settings)
        after = base.model.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before), "the host's network is only read"
        option = next(n for n in host.info("RAI_LoadRADAdapter")["input"]["required"]["adapter_name"][1]["options"] if "tokens" in n)
        ours = host.call("RAI_LoadRADAdapter", model=base, adapter_name=option, strength=1.0)[0]
        (theirs,) = host.nodes.LoraLoaderModelOnly().load_lora_model_only(base, "tokens.safetensors", 1.0)
        patches = {key: parts for key, parts in ours.get_key_patches().items() if len(parts) > 1}
        assert len(patches) >= 8 and set(patches) == {k for k, parts in theirs.get_key_patches().items() if len(parts) > 1}
        x, conds = state(name, base)
        level = torch.full((1, 1, *x.shape[2:]), 0.7)
        level[..., : x.shape[-1] // 2] = 0
        outs = [apply(m, x, 0.7, conds | {"sigma_map": level}) for m in (model, ours)]
        assert torch.equal(*outs) and not torch.equal(outs[0], x)
        (plain,) = host.call("RAI_RADSpatialNoiseEmbedding", model=base)
        assert difference(outs[0], apply(plain, x, 0.7, conds | {"sigma_map": level}), x) > 1e-5
        other = build("Wan 2.2 5B" if name != "Wan 2.1 (picture)" else "SD3, 3.5")
        with pytest.raises(ValueError, match="of another family"):
            host.call("RAI_LoadRADAdapter", model=other, adapter_name=option, strength=1.0)
    finally:
        for path in adapters.rglob("*"):
            if path.is_file():
                path.unlink()


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("SVD (video)", "'Train RAD Adapter' works on U-Nets that predict noise or v"),
        ("SD1.5 inpainting", "takes 9 channels"),
        ("Flux.1 Fill", "train on the plain model instead"),
        ("LTX-Video", "works on networks from 'Load ADM Model' and on SD1.5, .* Mage-Flow; this MODEL is of type LTXV"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_read(host, name, sentence):
    if not in_host(name):
        pytest.skip(f"this host has no {name}")

    class Unread:
        def encode(self, image):
            raise AssertionError("no picture may be encoded")

        def tokenize(self, text):
            raise AssertionError("no caption may be read")

    for source in ({"images": torch.rand(1, 64, 64, 3)}, {"folder": "a folder that is not there"}):
        with pytest.raises(ValueError, match=sentence):
            train(host, build(name), vae=Unread(), clip=Unread(), **source)


def test_pictures_with_references_make_a_batch(host):
    training = host.module("nodes.host.flow_training")
    conds = [{"c_crossattn": torch.full((1, 3, 4), k), "ref_latents": [torch.full((1, 2, 5, 6), k)], "method": "index"} for k in (1.0, 2.0)]
    batch = training._batch(conds, torch.device("cpu"), torch.float32)
    assert batch["c_crossattn"].shape == (2, 3, 4) and batch["method"] == "index"
    assert torch.equal(batch["ref_latents"][0], torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 2, 5, 6))


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
@pytest.mark.parametrize("name", ["Flux.1 dev", "Qwen-Image, -Edit"])
def test_a_base_in_its_own_precision_is_trained_on_and_stays_in_it(host, name, dtype):
    """fp8 as the host runs it: stored in fp8, cast layer by layer."""
    base, side, dtype = build(name), 64, getattr(torch, dtype)
    net = base.model.diffusion_model
    net.to(torch.bfloat16)
    base.model.manual_cast_dtype = torch.bfloat16
    for layer in net.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.to(dtype)
            layer.comfy_cast_weights = True
    adapters = host.base / "models" / "rad_adapters"
    settings = {"images": torch.rand(1, side, side, 3), "vae": Blocks(name), "positive": prompts(name)[0], "size": side}
    try:
        model, _, samples = train(host, base, steps=2, learning_rate=1e-2, adapter_name="low", gradient_checkpointing=True, **settings)
        assert torch.isfinite(samples).all()
        assert sum(len(parts) > 1 for parts in model.get_key_patches().values()) >= 8
        assert {layer.weight.dtype for layer in net.modules() if isinstance(layer, torch.nn.Linear)} == {dtype}
    finally:
        for path in adapters.rglob("*"):
            if path.is_file():
                path.unlink()


def test_a_lora_that_the_host_keeps_beside_the_weights_counts_once(host):
    """As it does for a MODEL that is loaded in part."""
    import comfy.utils

    base, name = build("Flux.1 dev"), "double_blocks.0.img_attn.qkv"
    model, layer = base.clone(), comfy.utils.get_attr(base.model.diffusion_model, name)
    change = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
    model.add_patches({f"diffusion_model.{name}.weight": ("diff", (change,))})
    layer.comfy_cast_weights, layer.weight_function = True, [lambda weight: weight + change]
    ours = comfy.utils.get_attr(host.module("nodes.host.shared_copy").shared_copy(model), name)
    x = torch.randn(3, layer.in_features)
    torch.testing.assert_close(ours(x), torch.nn.functional.linear(x, layer.weight + change, layer.bias))
    assert len(layer.weight_function) == 1, "the host's layer stays as it is"


class _Owner:
    """Stands for the host's hold on its memory: a copy of it would free that memory twice."""

    def __deepcopy__(self, memo):
        raise AssertionError("the copy must not own the host's memory")


def test_what_the_host_keeps_on_its_layers_is_not_copied(host):
    module, base = host.module("nodes.host.shared_copy"), build("Flux.1 dev")
    layers = [layer for layer in base.model.diffusion_model.modules() if hasattr(layer, "weight")]
    states = [{name: (_Owner(), 0) for name in ("_v", "_pin_state", "_prefetch", "_v_weight")} for _ in layers]
    for layer, kept in zip(layers, states, strict=True):
        vars(layer).update(kept)
    ours = module.shared_copy(base)
    assert not any(vars(layer).keys() & set(module.HOST_STATE) for layer in ours.modules())
    for layer, kept in zip(layers, states, strict=True):
        assert {name: vars(layer).pop(name) for name in kept} == kept, "the host's layers keep theirs"


def test_the_host_keeps_nothing_else_on_its_layers(host):
    """Every name that begins with an underscore and that the host's code sets on a layer of a loaded network."""
    import comfy.model_patcher
    import comfy.ops

    source = "".join(Path(module.__file__).read_text() for module in (comfy.model_patcher, comfy.ops))
    found = set(re.findall(r"\b(?:m|s|item|module)\.(_[a-z]\w*) = ", source))
    settings = {name for name in found if name.startswith("_full_precision_mm")}  # of quantised layers: truth values
    assert found - settings <= set(host.module("nodes.host.shared_copy").HOST_STATE), found


def test_training_lowers_the_loss(host):
    """Sixty steps on one picture's latents."""
    name = "Flux.1 dev"
    base, side = build(name), 64
    picture = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)), (side, side))
    settings = {"images": picture.movedim(1, -1), "vae": Blocks(name), "positive": prompts(name)[0], "size": side, "flip": False}
    settings |= {"learning_rate": 5e-3, "batch_size": 4, "save_every": 30}
    adapters = host.base / "models" / "rad_adapters"
    try:
        train(host, base, steps=60, adapter_name="whole", **settings)
        with open(next(adapters.rglob("whole.csv"))) as file:
            rows = list(csv.DictReader(file))
        assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    finally:
        for path in adapters.rglob("*"):
            if path.is_file():
                path.unlink()
