"""Adapters: saved, merged, stacked, taken off, converted; read by PEFT; refused where they do not fit."""

import copy
import warnings

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from rad_core import (
    CheckpointError,
    UNet,
    UNetConfig,
    load_adapter,
    load_model,
    merge_adapters,
    read_adapter,
    save_adapter,
    save_model,
    unload_adapters,
)
from rad_core.__main__ import main
from rad_core.adapter_files import AdapterMetadata, fingerprint, is_adapter, same_network, write_adapter
from rad_core.adapters import add_adapter, extract_adapter
from rad_core.attention_order import legacy_to_new


def test_a_network_is_known_in_8_bits_and_another_is_not():
    def weights(seed):
        g = torch.Generator().manual_seed(seed)
        layers = {f"layer {k}.weight": 0.02 * torch.randn(32, 32, generator=g) for k in range(70)}
        return layers | {f"norm {k}.weight": 1 + 0.01 * torch.randn(32, generator=g) for k in range(30)}

    own = weights(0)
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        assert same_network(fingerprint(own), fingerprint({name: value.to(dtype).float() for name, value in own.items()}))
    assert not same_network(fingerprint(own), fingerprint(weights(1)))
    assert not same_network(fingerprint(own), fingerprint(own)[:-1])


def clone(net: UNet) -> UNet:
    return copy.deepcopy(net)


def bits(net: UNet) -> dict:
    return {k: v.clone() for k, v in net.state_dict().items()}


@pytest.fixture()
def trained(tiny_net):
    """A network, and an adapter on it with random values in every tensor, as after training."""
    tiny_net.region_aware = False
    model = add_adapter(clone(tiny_net), rank=4, alpha=8)
    torch.manual_seed(1)
    for p in model.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.1)
    return tiny_net, model


@pytest.fixture()
def picture():
    stream = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, 16, 16, generator=stream), (torch.rand(1, 1, 16, 16, generator=stream) > 0.5) * 300.0


@pytest.mark.parametrize("target", ["folder", "file.safetensors"])
def test_saved_adapters_load_as_trained(tmp_path, trained, picture, target):
    net, model = trained
    expected = model(*picture)
    save_adapter(model, tmp_path / target)
    before = bits(net)
    load_adapter(net, tmp_path / target)
    assert net.region_aware
    torch.testing.assert_close(net(*picture), expected, rtol=1e-4, atol=1e-4)
    assert not any("lora" in name for name, _ in net.named_modules())  # merged, so sampling is no slower
    assert any(not torch.equal(before[k], v) for k, v in net.state_dict().items()) and net.adapter_backup is not None
    unload_adapters(net)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items()) and not net.region_aware and net.adapter_backup is None


def test_peft_reads_the_folder(tmp_path, trained, picture):
    net, model = trained
    save_adapter(model, tmp_path / "a")
    theirs = PeftModel.from_pretrained(clone(net), tmp_path / "a")
    torch.testing.assert_close(theirs(*picture), model(*picture))


def test_strength_and_stacking(tmp_path, trained):
    net, model = trained
    save_adapter(model, tmp_path / "a")
    base = bits(net)
    load_adapter(net, tmp_path / "a")
    once = bits(net)
    assert any(not torch.equal(base[k], v) for k, v in once.items())
    unload_adapters(net)
    load_adapter(net, tmp_path / "a", 0.0)
    assert all(torch.allclose(base[k], v, atol=1e-6) for k, v in net.state_dict().items()) and not net.region_aware
    unload_adapters(net)
    for strength in (0.25, 0.5, 0.25):
        load_adapter(net, tmp_path / "a", strength)
    for k, v in net.state_dict().items():
        torch.testing.assert_close(v, once[k], rtol=1e-4, atol=1e-5)
    unload_adapters(net)
    assert all(torch.equal(base[k], v) for k, v in net.state_dict().items())
    merge_adapters(load_adapter(net, tmp_path / "a"))
    unload_adapters(net)
    assert all(torch.equal(once[k], v) for k, v in net.state_dict().items())  # merged for good


def test_wrong_base_is_told_and_left_alone(tmp_path, trained):
    _, model = trained
    save_adapter(model, tmp_path / "a")
    other = UNet(UNetConfig(32, (32, 96), 1, (1,), 32))
    before = bits(other)
    with pytest.raises(
        CheckpointError, match=r"another network: '.+' is \(.+\) in the network but \(.+\) in the adapter \(\d+ of \d+ tensors fit\)"
    ):
        load_adapter(other, tmp_path / "a")
    assert all(torch.equal(before[k], v) for k, v in other.state_dict().items())


def test_damaged_and_foreign_adapters(tmp_path, trained):
    net, model = trained
    save_adapter(model, tmp_path / "a.safetensors")
    tensors = load_file(tmp_path / "a.safetensors")
    save_file({k: v for k, v in tensors.items() if "lora_B" not in k}, tmp_path / "half.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    save_file({k: v * torch.nan if "lora_A" in k else v for k, v in tensors.items()}, tmp_path / "nan.safetensors")
    (tmp_path / "text.safetensors").write_text("no adapter, but long enough to look like a header")
    for name, sentence in (("half", "is missing"), ("foreign", "not an adapter"), ("nan", "has NaN"), ("text", "text.safetensors")):
        with pytest.raises(CheckpointError, match=sentence):
            load_adapter(net, tmp_path / f"{name}.safetensors")
    with pytest.raises(FileNotFoundError, match="no bundled adapter"):
        load_adapter(net, "nobody")


@pytest.mark.parametrize("key", ["use_rslora", "use_dora", "alpha_pattern"])
def test_unsupported_kinds_are_refused(tmp_path, trained, key):
    net, model = trained
    setattr(model.peft_config["default"], key, True)
    save_adapter(model, tmp_path / "a")
    with pytest.raises(CheckpointError, match=key):
        load_adapter(net, tmp_path / "a")


def test_the_authors_adapter_lacks_time_layers(full_oracle):
    adapter = read_adapter(full_oracle / "lora")
    assert len(adapter.lora) == 60 and not adapter.time


def test_adapters_are_converted(tmp_path, trained):
    """A converted adapter has the same effect, whatever its format was; PEFT reads the result."""
    net, model = trained
    save_adapter(model, tmp_path / "a", note="a night")
    assert is_adapter(tmp_path / "a") and not is_adapter("landscapes")
    write_adapter(read_adapter(tmp_path / "a"), tmp_path / "b.safetensors", torch.float16)
    write_adapter(read_adapter(tmp_path / "b.safetensors"), tmp_path / "c")
    assert is_adapter(tmp_path / "b.safetensors") and read_adapter(tmp_path / "c").note == "a night"
    expected, found = clone(net), clone(net)
    load_adapter(expected, tmp_path / "a")
    load_adapter(found, tmp_path / "c")
    assert any(not torch.equal(a, b) for a, b in zip(expected.parameters(), net.parameters(), strict=True))
    for a, b in zip(expected.parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2)
    PeftModel.from_pretrained(clone(net), tmp_path / "c")


def test_training_goes_on_from_a_saved_adapter(tmp_path, trained, picture):
    net, model = trained
    save_adapter(model, tmp_path / "a.safetensors")
    again = add_adapter(clone(net), start=read_adapter(tmp_path / "a.safetensors"))
    torch.testing.assert_close(again(*picture), model(*picture))
    names = lambda peft: {name for name, p in peft.named_parameters() if p.requires_grad}
    assert names(again) == names(model)
    other = UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16))
    with pytest.raises(CheckpointError, match="made for another network"):
        add_adapter(other, start=read_adapter(tmp_path / "a.safetensors"))


def test_an_adapter_of_a_scrambled_base_is_set_right(tmp_path, picture):
    """The authors' program took the legacy attention order for the new one. Converted, their adapter has its effect on the right base."""
    torch.manual_seed(0)
    scrambled = UNet(UNetConfig(32, (32, 64), 1, (1,), 32, image_size=16))  # a legacy file, read in the wrong order
    model = add_adapter(clone(scrambled), rank=4, alpha=8)
    for p in model.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.1)
    save_adapter(model, tmp_path / "theirs.safetensors")
    expected = clone(scrambled)
    load_adapter(expected, tmp_path / "theirs.safetensors")
    legacy_to_new(expected)  # a network with its adapter merged only needs reordering
    base = clone(scrambled)
    legacy_to_new(base)
    save_model(base, tmp_path / "base.safetensors")
    arguments = ["convert", str(tmp_path / "theirs.safetensors"), "--base", str(tmp_path / "base.safetensors")]
    assert main([*arguments, "-o", str(tmp_path / "ours.safetensors")]) == 0
    theirs, ours = clone(base), clone(base)
    load_adapter(theirs, tmp_path / "theirs.safetensors")
    load_adapter(ours, tmp_path / "ours.safetensors")
    torch.testing.assert_close(ours(*picture), expected(*picture), rtol=1e-4, atol=1e-4)
    assert (theirs(*picture) - expected(*picture)).abs().max() > 1e-2, "unconverted it has another effect"
    again = add_adapter(clone(base), start=read_adapter(tmp_path / "ours.safetensors"))  # its layers have several ranks
    torch.testing.assert_close(again(*picture), expected(*picture), rtol=1e-4, atol=1e-4)
    write_adapter(read_adapter(tmp_path / "ours.safetensors"), tmp_path / "folder")
    torch.testing.assert_close(
        PeftModel.from_pretrained(clone(base), tmp_path / "folder")(*picture), expected(*picture), rtol=1e-4, atol=1e-4
    )


def test_what_all_weights_have_learnt_is_extracted_as_an_adapter(tmp_path, picture, capsys):
    """A difference of the adapter's rank comes back whole, and of a higher rank its largest singular values; norms and biases are left."""
    torch.manual_seed(0)
    base = UNet(UNetConfig(32, (32, 64), 1, (1,), 32, image_size=16))
    tuned = clone(base)
    with torch.no_grad():
        for name, p in tuned.named_parameters():
            if p.ndim > 1 and "time" not in name:
                p += 0.05 * (torch.randn(len(p), 3) @ torch.randn(3, p[0].numel())).view_as(p)
            elif "time_emb" in name:
                p += 0.1 * torch.randn_like(p)
    save_model(base, tmp_path / "base.safetensors")
    save_model(tuned, tmp_path / "tuned.safetensors")
    command = ["convert", str(tmp_path / "tuned.safetensors"), "--extract", str(tmp_path / "base.safetensors")]
    assert main([*command, "--rank", "3", "-o", str(tmp_path / "whole.safetensors")]) == 0
    assert "of rank 3 that holds 100.0%" in capsys.readouterr().out
    found = load_adapter(clone(base), tmp_path / "whole.safetensors")
    torch.testing.assert_close(found(*picture), tuned(*picture), rtol=1e-4, atol=1e-4)
    assert (base(*picture) - tuned(*picture)).abs().max() > 1e-2 and found.region_aware
    again = add_adapter(clone(base), start=read_adapter(tmp_path / "whole.safetensors"))
    torch.testing.assert_close(again(*picture), tuned(*picture), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        tuned.conv_norm_out.weight += 1
    part, share = extract_adapter(tuned, base, 2)
    name = "down_blocks.1.resnets.0.conv_shortcut.weight"
    change = (tuned.get_parameter(name) - base.get_parameter(name)).detach()
    best = torch.linalg.svdvals(change.flatten(1))[2:].square().sum().sqrt()  # Eckart and Young: no matrix of rank 2 is nearer
    torch.testing.assert_close((change - part.delta(name, change.shape)).norm(), best, rtol=1e-3, atol=1e-5)
    assert 0.3 < share < 0.99
    with pytest.raises(ValueError, match="other shapes"):
        extract_adapter(UNet(UNetConfig(32, (32, 32), 1, (), 32, image_size=16)), base)


def test_the_configuration_of_another_adapter_in_the_folder_is_not_taken(tmp_path, trained):
    save_adapter(trained[1], tmp_path / "a.safetensors")
    save_file(load_file(tmp_path / "a.safetensors"), tmp_path / "bare.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 128, "use_rslora": true}')
    assert not read_adapter(tmp_path / "bare.safetensors").config


def test_an_adapter_lives_on_without_its_file(tmp_path, trained):
    """Windows does not replace a file that is mapped into memory, as a training that goes on must."""
    path = tmp_path / "a.safetensors"
    save_adapter(trained[1], path)
    adapter = read_adapter(path)
    before = {name: a.clone() for name, (a, _) in adapter.lora.items()}
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 4)
        file.write(bytes(path.stat().st_size // 2))
    assert all(torch.equal(a, before[name]) for name, (a, _) in adapter.lora.items())


def test_an_adapter_without_time_layers_is_noted_and_makes_no_network_one_of_rad(tmp_path, trained):
    net, model = trained
    save_adapter(model, tmp_path / "a.safetensors")
    lora = {name: tensor for name, tensor in load_file(tmp_path / "a.safetensors").items() if "lora" in name}
    save_file(lora, tmp_path / "bare.safetensors")
    with pytest.warns(UserWarning, match="lacks the time layers"):
        load_adapter(net, tmp_path / "bare.safetensors")
    assert not net.region_aware


def test_another_base_is_noted_and_its_own_base_is_known_below_other_adapters(tmp_path, trained):
    net, model = trained
    base = AdapterMetadata(fingerprint(dict(net.named_parameters())))
    save_adapter(model, tmp_path / "a.safetensors", metadata=base)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # the second finds weights that the first has changed
            load_adapter(net, tmp_path / "a.safetensors", 5.0)
    torch.manual_seed(7)
    other = UNet(net.config)
    with pytest.warns(UserWarning, match="trained on another network"):
        load_adapter(other, tmp_path / "a.safetensors")
    for strength in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            load_adapter(other, tmp_path / "a.safetensors", strength)


def test_a_network_is_converted_with_an_adapter_merged(tmp_path, trained):
    net, model = trained
    save_model(net, tmp_path / "net.safetensors")
    save_adapter(model, tmp_path / "a.safetensors")
    files = [str(tmp_path / name) for name in ("net.safetensors", "a.safetensors", "merged.safetensors")]
    assert main(["convert", files[0], "--adapter", files[1], "-o", files[2]]) == 0
    merged = load_model(files[2])
    load_adapter(net, files[1])
    assert merged.region_aware and all(torch.equal(a, b) for a, b in zip(merged.parameters(), net.parameters(), strict=True))
