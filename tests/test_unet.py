"""The network: the authors' and guided-diffusion's outputs, the shortcut against the dense path, sizes and precisions."""

import numpy as np
import pytest
import torch

from rad_core import UNet, UNetConfig, load_model
from rad_core.timestep_embedding import MAX_LEVELS, TimestepMap


def noise(*shape):
    """Seeded standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_guided_diffusions_outputs(oracle):
    net = load_model("tests/data/gd_unet_fp16.safetensors")
    with torch.no_grad():
        out = net(torch.tensor(oracle["gd_x"]), torch.tensor(oracle["gd_t"]))
    np.testing.assert_allclose(out, oracle["gd_out"], rtol=1e-5, atol=1e-5 * np.abs(oracle["gd_out"]).max())


def test_the_authors_outputs(full_oracle):
    with np.load(full_oracle / "oracle.npz") as z, np.load(full_oracle / "extra.npz") as e:
        x, t = torch.tensor(z["tr_xt"][0]), torch.tensor(z["tr_tmap"][0])
        cases = [
            ("base", "new", e["plain_out_tr0"]),
            ("base", "legacy", e["legacy_attn_out_tr0"]),
            ("full_checkpoint", "new", z["lora_out_tr0"]),
        ]
        for folder, order, expected in cases:
            with torch.no_grad():
                out = load_model(full_oracle / folder, attention_order=order)(x, t)
            assert np.abs(out.numpy() - expected).max() < 1e-5 * np.abs(expected).max(), folder
        net = load_model(full_oracle / "base", attention_order="new")
        for k in range(len(z["r100_keep"])):
            with torch.no_grad():
                out = net(torch.tensor(z["r100_x"][k]), torch.tensor(z["r100_tmap"][k]))
            assert np.abs(out.numpy() - z["r100_out"][k]).max() < 1e-5 * np.abs(z["r100_out"][k]).max()


def dense(net, x, t):
    """The output of the paper's own way: every pixel embedded and projected."""
    original, TimestepMap.of = TimestepMap.of, classmethod(lambda cls, t: None)
    try:
        return net(x, t)
    finally:
        TimestepMap.of = original


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("levels", [1, 2, 5])
def test_the_shortcut_is_exact(tiny_net, layout, levels):
    x = noise(2, 3, 16, 24).to(memory_format=layout)
    values = torch.linspace(0, 700.5, levels)
    t = values[torch.randint(levels, (2, 1, 16, 24), generator=torch.Generator().manual_seed(1))]
    assert TimestepMap.of(t) is not None
    torch.testing.assert_close(tiny_net.to(memory_format=layout)(x, t), dense(tiny_net, x, t), rtol=1e-5, atol=1e-5)


def test_many_levels_take_the_dense_path(tiny_net):
    t = torch.linspace(0, 999, 256).view(1, 1, 16, 16)
    assert TimestepMap.of(t) is None and len(torch.unique(t)) > MAX_LEVELS
    torch.testing.assert_close(tiny_net(noise(1, 3, 16, 16), t), dense(tiny_net, noise(1, 3, 16, 16), t))


def test_a_constant_map_equals_a_scalar(tiny_net):
    x, t = noise(3, 3, 16, 16), torch.tensor([0.0, 37.25, 999.0])
    torch.testing.assert_close(tiny_net(x, t.view(3, 1, 1, 1).expand(3, 1, 16, 16)), tiny_net(x, t), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig(32, (32, 32, 64), 2, (1, 2), 32, num_classes=5),
        UNetConfig(64, (32, 64), 1, (0, 1), None, num_heads=4, out_channels=3),  # first width below model_channels, as in the 512 network
        UNetConfig(32, (32,), 3, (0,), 32),
    ],
)
def test_variants_run_at_any_multiple_of_the_stride(config):
    torch.manual_seed(0)
    net = UNet(config).eval()
    y = torch.tensor([1, 4]) if config.num_classes else None
    for height, width in [(config.stride * 3, config.stride * 4), (config.stride * 8, config.stride * 2)]:
        assert net(noise(2, 3, height, width), torch.tensor([3.0, 500.0]), y).shape == (2, config.out_channels, height, width)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_follows_float32(tiny_net, dtype):
    x, t = noise(1, 3, 16, 16), torch.tensor([300.0])
    exact = tiny_net(x, t)
    out = tiny_net.to(dtype)(x, t)
    assert out.dtype == torch.float32
    assert (out - exact).norm() < 0.03 * exact.norm()


def test_misuse_is_told(tiny_net):
    with pytest.raises(ValueError, match="multiples of 2, got 16x15"):
        tiny_net(noise(1, 3, 15, 16), torch.tensor([1.0]))
    with pytest.raises(ValueError, match="takes no class labels"):
        tiny_net(noise(1, 3, 16, 16), torch.tensor([1.0]), torch.tensor([1]))
