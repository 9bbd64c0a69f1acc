"""Network files: every format in and out, and damaged, hostile or foreign ones refused in one sentence."""

import json
import pickle
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rad_core import CheckpointError, UNet, UNetConfig, checkpoints, formats, load_model, load_sdm, save_model
from rad_core.adapter_files import ADAPTER
from rad_core.attention_order import legacy_to_new, new_to_legacy, pick_order
from rad_core.checkpoints import NETWORK, bundled_networks, inspect, resolve_file
from rad_core.sdm.files import SDM_NETWORK, save_sdm

GUIDED = "tests/data/gd_unet_fp16.safetensors"


def guided_state():
    return {k: v.float() for k, v in load_file(GUIDED).items()}


def same(a: UNet, b: UNet) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_every_format_gives_the_same_network(tmp_path):
    """guided-diffusion .pt (new and old zip, wrapped), our safetensors, diffusers' folder with 1x1 convolutions as time layers."""
    net = load_model(GUIDED)
    assert (net.config.attention, net.config.model_channels, net.config.norm_eps) == ((1,), 32, 1e-5)
    torch.save(guided_state(), tmp_path / "a.pt")
    torch.save({"state_dict": guided_state(), "epoch": 3}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    torch.save({"ema": guided_state(), "step": 3}, tmp_path / "d.pt")
    save_model(net, tmp_path / "c.safetensors")
    folder = tmp_path / "diffusers"
    folder.mkdir()
    state = {k: v[..., None, None] if "time" in k and k.endswith("weight") else v for k, v in net.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps({"attention_head_dim": 32, "norm_eps": 2e-5, "sample_size": 48}))
    for path in (tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.safetensors", tmp_path / "d.pt"):
        assert same(load_model(path), net), path
    again = load_model(folder, attention_order="new", schedule="cosine")
    assert same(again, net) and (again.config.image_size, again.config.norm_eps, again.config.schedule) == (48, 2e-5, "cosine")


def test_peft_named_checkpoint_is_merged(tmp_path):
    """The layout of the authors' release: base_layer and lora tensors of a whole network in one file."""
    net = load_model(GUIDED)
    state, expected = {}, {}
    for k, v in net.state_dict().items():
        if k.endswith("conv1.weight"):
            stem = k.removesuffix(".weight")
            a, b = torch.randn(4, *v.shape[1:]), torch.randn(v.shape[0], 4, 1, 1)
            state |= {f"{stem}.base_layer.weight": v, f"{stem}.lora_A.default.weight": a, f"{stem}.lora_B.default.weight": b}
            expected[k] = v + torch.einsum("or,rijk->oijk", b[..., 0, 0], a)
        elif k.endswith("conv1.bias"):
            state[k.replace("conv1.bias", "conv1.base_layer.bias")] = v
        else:
            state[k] = v
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "one.safetensors")
    merged = load_model(tmp_path / "one.safetensors", attention_order="new")
    assert merged.region_aware
    for k, v in expected.items():
        torch.testing.assert_close(merged.state_dict()[k], v)


@pytest.mark.parametrize("widths", [(64, 64, 128), (32, 64, 64, 128)])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_architecture_is_read_from_guided_diffusions_names(tmp_path, widths, blocks):
    """A network written under guided-diffusion's names comes back whole, whatever its depth and number of blocks."""
    torch.manual_seed(0)
    config = UNetConfig(64, widths, blocks, (1, len(widths) - 1), 32, image_size=32, num_classes=7)
    net = UNet(config)
    torch.save(to_guided(net), tmp_path / "x.pt")
    again = load_model(tmp_path / "x.pt", attention_order="new", num_head_channels=32)
    assert same(again, net) and again.config.num_classes == 7 and again.config.attention == config.attention


@pytest.mark.parametrize("known", formats.KNOWN)
def test_what_shapes_do_not_show_is_known_of_the_released_networks(known):
    channels, widths, blocks = known
    heads, head_channels, schedule, size = formats.KNOWN[known]
    with torch.device("meta"):
        net = UNet(UNetConfig(channels, widths, blocks, (len(widths) - 1,), head_channels, num_heads=heads))
    found = formats.read_architecture(net.state_dict(), True, {})
    assert (found.num_heads, found.num_head_channels, found.schedule, found.image_size) == (heads, head_channels, schedule, size)


def test_a_network_of_an_unknown_prediction_is_named(tmp_path):
    net = load_model(GUIDED)
    net.config = replace(net.config, prediction="x0")
    save_model(net, tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="predicts 'x0'"):
        load_model(tmp_path / "net.safetensors")


def to_guided(net: UNet) -> dict:
    """The inverse of `formats.from_guided_diffusion`, written from guided-diffusion's constructor."""
    top = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2", "class_embedding": "label_emb"}
    names = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2"} | top
    index = 1
    for i, level in enumerate(net.down_blocks):
        for j in range(len(level.resnets)):
            names[f"down_blocks.{i}.resnets.{j}"], names[f"down_blocks.{i}.attentions.{j}"] = (
                f"input_blocks.{index}.0",
                f"input_blocks.{index}.1",
            )
            index += 1
        if hasattr(level, "downsamplers"):
            names[f"down_blocks.{i}.downsamplers.0"] = f"input_blocks.{index}.0"
            index += 1
    for k, name in enumerate(("resnets.0", "attentions.0", "resnets.1")):
        names[f"mid_block.{name}"] = f"middle_block.{k}"
    index = 0
    for i, level in enumerate(net.up_blocks):
        for j in range(len(level.resnets)):
            names[f"up_blocks.{i}.resnets.{j}"], names[f"up_blocks.{i}.attentions.{j}"] = (
                f"output_blocks.{index}.0",
                f"output_blocks.{index}.1",
            )
            if j == len(level.resnets) - 1 and hasattr(level, "upsamplers"):
                names[f"up_blocks.{i}.upsamplers.0"] = f"output_blocks.{index}.{2 if hasattr(level, 'attentions') else 1}"
            index += 1
    inner = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
    }
    inner |= {"conv_shortcut": "skip_connection", "group_norm": "norm", "to_out.0": "proj_out"}
    state, out = net.state_dict(), {}
    for key, tensor in state.items():
        stem, _, leaf = key.rpartition(".")
        if stem in names:
            out[f"{names[stem]}.{leaf}"] = tensor
            continue
        block = max((n for n in names if key.startswith(n + ".")), key=len)
        rest = stem[len(block) + 1 :]
        if rest in ("to_k", "to_v"):
            continue
        if rest == "to_q":
            tensor = torch.cat([state[f"{block}.to_{c}.{leaf}"] for c in "qkv"])
            rest = "qkv"
        else:
            rest = inner[rest]
        if rest in ("qkv", "proj_out") and leaf == "weight":
            tensor = tensor[..., None]
        out[f"{names[block]}.{rest}.{leaf}"] = tensor
    return out


def test_foreign_descriptions_give_one_sentence(tmp_path):
    state = {k: v.contiguous() for k, v in load_model(GUIDED).state_dict().items()}
    for k, text in enumerate(("[]", "{nope", '{"config": []}', '{"config": {"model_channels": "x"}}')):
        save_file(state, tmp_path / f"{k}.safetensors", {"rad_core": text})
        with pytest.raises(CheckpointError, match=f"{k}.safetensors"):
            load_model(tmp_path / f"{k}.safetensors")
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    for text in ("[]", "{nope", '{"attention_head_dim": 0}', '{"attention_head_dim": [1]}', '{"norm_eps": "small"}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError):
            load_model(tmp_path)(torch.zeros(1, 3, 16, 16), torch.zeros(1))


def test_adapters_and_other_channels_are_told(tmp_path):
    save_file({"base_model.model.conv_in.lora_A.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match="is an adapter"):
        load_model(tmp_path / "lora.safetensors")
    torch.manual_seed(0)
    save_model(UNet(UNetConfig(32, (32, 32), 1, (), 32, in_channels=6)), tmp_path / "six.safetensors")
    with pytest.raises(CheckpointError, match="takes 6 channels"):
        load_model(tmp_path / "six.safetensors")


@pytest.mark.parametrize("heads", [{"num_heads": 7}, {"num_heads": -1}, {"num_head_channels": 48}, {"num_head_channels": -8}])
def test_heads_that_do_not_divide_the_channels_are_refused(heads):
    (name, value), *_ = heads.items()
    with pytest.raises(CheckpointError, match=f"channels, .*160.*, are no multiples of {value}; pass another {name}"):
        load_model("landscapes", **heads)


def test_a_folder_of_pictures_does_not_hide_a_bundled_network(tmp_path, monkeypatch):
    name = bundled_networks()[0]
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_file(name, NETWORK).name == f"{name}.safetensors"


def test_one_name_may_stand_for_three_kinds_of_files(tmp_path):
    """A bundled name is looked up per kind; a file's own path and a folder that contains it come first."""
    names = [resolve_file("landscapes", kind).name for kind in (NETWORK, SDM_NETWORK, ADAPTER)]
    assert names == ["landscapes.safetensors", "landscapes.sdm.safetensors", "landscapes.adapter.safetensors"]
    for place, kind in (("unet/diffusion_pytorch_model.safetensors", NETWORK), ("adapter_model.safetensors", ADAPTER)):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
        assert resolve_file(tmp_path, kind) == tmp_path / place and resolve_file(str(tmp_path / place), SDM_NETWORK) == tmp_path / place
    with pytest.raises(FileNotFoundError, match="no bundled SDM network of that name"):
        resolve_file(tmp_path, SDM_NETWORK)


def test_attention_order(tmp_path):
    net = load_model(GUIDED, attention_order="new")
    other = load_model(GUIDED, attention_order="new")
    legacy_to_new(other)
    assert not same(net, other)
    assert same(other, load_model(GUIDED, attention_order="legacy")) and same(other, load_model(GUIDED))
    new_to_legacy(other)
    assert same(net, other)
    assert pick_order(net, None) in ("legacy", "new")
    assert same(net, other), "it is not changed"


def test_hostile_file_runs_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    for name, kind in (("zip.pt", True), ("old.pt", False)):
        torch.save({"weights": Bomb()}, tmp_path / name, _use_new_zipfile_serialization=kind)
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Bomb()))
    for name in ("zip.pt", "old.pt", "raw.pt"):
        with pytest.raises(CheckpointError, match=name):
            load_model(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def broken_files(folder):
    good = Path(GUIDED).read_bytes()
    torch.save(guided_state(), folder / "whole.pt")
    zipped = (folder / "whole.pt").read_bytes()
    files = {"empty.safetensors": b"", "text.pt": b"hello there, this is no network at all", "cut.safetensors": good[: len(good) // 2]}
    files |= {
        "cut.pt": zipped[: len(zipped) // 2],
        "cuthead.safetensors": good[:100],
        "huge.safetensors": b"\xff" * 64,
        "one.safetensors": b"x",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    save_file({"conv_in.weight": torch.zeros(4, 3, 3, 3)}, folder / "part.safetensors")
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(4)}, folder / "foreign.safetensors")
    state = {k: v.contiguous() for k, v in load_model(GUIDED).state_dict().items()}
    save_file({k: v for k, v in state.items() if "mid_block" not in k}, folder / "missing.safetensors")
    save_file({k: v * float("nan") if k == "conv_in.bias" else v for k, v in state.items()}, folder / "nan.safetensors")
    torch.save([1, 2, 3], folder / "list.pt")
    return [*files, "part.safetensors", "foreign.safetensors", "missing.safetensors", "nan.safetensors", "list.pt"]


def test_broken_files_give_one_sentence(tmp_path):
    for name in broken_files(tmp_path):
        with pytest.raises(CheckpointError) as caught:
            load_model(tmp_path / name, attention_order="new")
        assert name in str(caught.value) and "\n" not in str(caught.value), name
    with pytest.raises(FileNotFoundError, match="no bundled network"):
        load_model("nothing-of-that-name")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no network"):
        load_model(tmp_path / "folder")


def test_files_have_the_permissions_of_new_files(tmp_path, tiny_net):
    """Not those of private temporary files. The umask of the process is never changed, since other threads write files too."""
    save_model(tiny_net, tmp_path / "net.safetensors")
    (tmp_path / "new").touch()
    assert (tmp_path / "net.safetensors").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_save_is_whole_or_not_at_all(tmp_path, tiny_net):
    target = tmp_path / "net.safetensors"
    save_model(tiny_net, target, torch.float16, note="hello")
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
    about = inspect(target)
    assert about["note"] == "hello" and about["trained for RAD"] and about["parameters"] == sum(p.numel() for p in tiny_net.parameters())
    with pytest.raises(ValueError, match="Cannot write"):
        save_model(tiny_net, target / "below" / "a.safetensors")


@pytest.mark.parametrize("name", ["net.pt", "net", "net.bin"])
def test_networks_are_written_under_the_name_of_their_format(tmp_path, tiny_net, name):
    generator = load_sdm("landscapes")
    for save in (lambda: save_model(tiny_net, tmp_path / name), lambda: save_sdm(generator, tmp_path / name)):
        with pytest.raises(ValueError, match=f"must end in .safetensors, got {name}"):
            save()
    assert not list(tmp_path.iterdir())


def test_formats_are_told_apart_whatever_the_header_length(tmp_path, tiny_net):
    """The header's length comes first in a safetensors file, and its low byte may be that of a pickle (0x80)."""
    firsts = set()
    for padding in range(0, 256, 8):
        save_model(tiny_net, tmp_path / "net.safetensors", note="n" * padding)
        firsts.add((tmp_path / "net.safetensors").read_bytes()[0])
        assert inspect(tmp_path / "net.safetensors")["note"] == "n" * padding
    assert 0x80 in firsts


def test_networks_loaded_in_inference_mode_can_be_changed_outside_it():
    with torch.inference_mode():
        nets = load_model("landscapes"), load_sdm("landscapes")
    assert not any(weight.is_inference() for net in nets for weight in (*net.parameters(), *net.buffers()))


def test_foreign_extras_are_named(tmp_path):
    state = {k: v.contiguous() for k, v in load_model(GUIDED).state_dict().items()} | {"extra.thing": torch.zeros(1)}
    save_file(state, tmp_path / "x.safetensors")
    shutil.copy("tests/data/README.md", tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_model(tmp_path / "x.safetensors", attention_order="new")
    assert "extra.thing" in str(caught[0].message)


def test_running_out_of_memory_is_not_taken_for_a_foreign_file(tmp_path, tiny_net, monkeypatch):
    save_model(tiny_net, tmp_path / "net.safetensors")

    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(checkpoints, "_build", full)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        load_model(tmp_path / "net.safetensors")
