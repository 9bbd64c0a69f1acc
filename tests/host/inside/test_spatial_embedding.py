"""RAD Spatial Noise Embedding on the host's own U-Nets: SD1.5- and SDXL-type, noise and v prediction, random weights."""

import pytest
import torch


def tiny_model(host, kind: str, v_prediction: bool = False):
    """A U-Net of the host with 64 channels: with 32, GroupNorm(32) would erase the embedding and nothing would be tested."""
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models

    small = {"model_channels": 64, "channel_mult": [1, 2], "num_res_blocks": [1, 1], "context_dim": 64, "num_heads": 4}
    common = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "use_spatial_transformer": True,
        "legacy": False,
        "num_head_channels": 32,
        "dtype": torch.float32,
        "transformer_depth_middle": 1,
        "transformer_depth": [1, 1],
        "transformer_depth_output": [1, 1, 1, 1],
        "use_linear_in_transformer": kind == "SDXL",
    }
    adm = {"num_classes": "sequential", "adm_in_channels": 2816} if kind == "SDXL" else {}
    config = getattr(comfy.supported_models, kind)({**small, **common, **adm})
    config.unet_config = {**small, **common, **adm}
    config.unet_config.pop("num_heads")
    kind_of = comfy.model_base.ModelType.V_PREDICTION if v_prediction else comfy.model_base.ModelType.EPS
    torch.manual_seed(0)
    model = {"SD15": comfy.model_base.BaseModel, "SDXL": comfy.model_base.SDXL}[kind](config, model_type=kind_of)
    for p in model.diffusion_model.parameters():  # the host leaves weights uninitialised
        torch.nn.init.normal_(p, std=0.08)
    model.diffusion_model.requires_grad_(False).eval()
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def inputs(kind: str, batch: int, size: tuple[int, int]):
    torch.manual_seed(1)
    extra = {"c_crossattn": torch.randn(batch, 7, 64)}
    if kind == "SDXL":
        extra["y"] = torch.randn(batch, 2816)
    return torch.randn(batch, 4, *size) * 5, extra


def apply(patcher, x, sigma, extra, mask=None):
    """The loaded model's x0, as a sampler gets it."""
    import comfy.model_management
    import comfy.model_patcher
    import comfy.patcher_extension

    comfy.model_management.load_models_gpu([patcher])
    options = comfy.model_patcher.create_model_options_clone(patcher.model_options)["transformer_options"]
    comfy.patcher_extension.merge_nested_dicts(options.setdefault("wrappers", {}), patcher.wrappers, copy_dict1=False)
    given = {} if mask is None else {"denoise_mask": mask}
    with torch.inference_mode():
        return patcher.model.apply_model(x, torch.full((x.shape[0],), sigma), transformer_options=options, **extra, **given)


@pytest.mark.parametrize("v_prediction", [False, True], ids=["eps", "v"])
@pytest.mark.parametrize("kind", ["SD15", "SDXL"])
def test_constant_map_equals_the_scalar_path_and_unpatching_is_exact(host, kind, v_prediction):
    base = tiny_model(host, kind, v_prediction)
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=base)
    for size, batch in (((32, 32), 1), ((17, 23), 2)):
        x, extra = inputs(kind, batch, size)
        for sigma in (14.6, 3.0, 0.5, 0.03):
            plain = apply(base, x, sigma, extra)
            constant = apply(patched, x, sigma, extra, torch.ones(batch, 1, *size))
            # Relative to what the network adds: x0 - x
            assert (constant - plain).abs().max() <= 1e-5 * (plain - x).abs().max() + 1e-6
            assert torch.equal(apply(base, x, sigma, extra), plain), "unpatched outputs must be bit-equal"
            assert torch.equal(apply(patched, x, sigma, extra), plain), "without a mask the patch does nothing"


@pytest.mark.parametrize("v_prediction", [False, True], ids=["eps", "v"])
def test_a_map_of_two_levels_is_felt_inside_and_out(host, v_prediction):
    """Known pixels come back as they are. In the hole the network hears the known pixels' level too, and answers otherwise."""
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=(base := tiny_model(host, "SD15", v_prediction)))
    x, extra = inputs("SD15", 1, (32, 32))
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    out = apply(patched, x, 3.0, extra, mask)
    torch.testing.assert_close(out[..., :16], x[..., :16], rtol=0, atol=1e-5)
    # against a network that sees the same scaled input but one timestep for all
    differences = next(o.differences for k, o in patched.object_patches.items() if k.endswith("emb_layers"))
    x_in = x * ((9 + 1) / ((3 * mask) ** 2 + 1)).sqrt()
    scalar = apply(base, x_in, 3.0, extra)
    assert (out - scalar)[..., 16:].abs().max() > 1e-3
    assert differences.vectors is None, "nothing may be left behind"


def test_a_map_is_found_beside_a_controlnet(host):
    """The host passes the ControlNet's outputs as a dictionary before the options."""
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=tiny_model(host, "SD15"))
    x, extra = inputs("SD15", 1, (16, 16))
    levels = torch.full((1, 1, 16, 16), 1.5)
    plain, told = (
        apply(patched, x, 3.0, extra | {"control": {"output": [], "middle": [], "input": []}} | given)
        for given in ({}, {"sigma_map": levels})
    )
    assert not torch.equal(plain, told)


def test_every_block_gets_maps_of_its_own_size(host):
    """Odd sizes, up and down: blocks read the weights at the size of their features, or the addition would fail."""
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=tiny_model(host, "SD15"))
    for size in ((8, 8), (9, 31), (64, 40)):
        x, extra = inputs("SD15", 2, size)
        soft = torch.rand(2, 1, *size)
        assert torch.isfinite(apply(patched, x, 2.0, extra, soft)).all()


def test_ksampler_keeps_known_latents_and_host_loras_still_apply(host):
    base = tiny_model(host, "SD15")
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=base)
    key = "diffusion_model.input_blocks.1.0.emb_layers.1.weight"
    assert key in patched.model_state_dict()
    tuned = patched.clone()
    assert tuned.add_patches({key: ("diff", (torch.randn(64, 256),))}, 1.0) == [key]
    positive = [[torch.randn(1, 7, 64), {}]]
    latent = {"samples": torch.randn(1, 4, 16, 16), "noise_mask": torch.zeros(1, 1, 16, 16)}
    latent["noise_mask"][..., 8:] = 1
    fills = []
    for model in (patched, tuned):
        for sampler in ("euler", "dpmpp_2m"):
            (out,) = host.nodes.common_ksampler(model, 0, 3, 2.0, sampler, "normal", positive, positive, latent)
            torch.testing.assert_close(out["samples"][..., :8], latent["samples"][..., :8], rtol=0, atol=1e-5)
            fills.append(out["samples"])
    assert not torch.equal(fills[0], fills[2])
    (out,) = host.call(
        "RAI_RADSampler",
        model=patched,
        seed=0,
        steps=3,
        cfg=2.0,
        sampler="ddpm",
        scheduler="normal",
        positive=positive,
        negative=positive,
        latent_image=latent,
        eta=0.0,
        order=torch.linspace(0, 1, 16).expand(1, 16, 16),
    )
    torch.testing.assert_close(out["samples"][..., :8], latent["samples"][..., :8], rtol=0, atol=1e-6)


def test_other_models_are_refused_in_one_sentence(host):
    (adm, _) = host.call("RAI_LoadADMModel", model_name="landscapes (bundled)", attention_order="auto", precision="float32")
    with pytest.raises(ValueError, match="U-Nets that predict noise or v"):
        host.call("RAI_RADSpatialNoiseEmbedding", model=adm)
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    with pytest.raises(ValueError, match="RAD Spatial Noise Embedding"):
        host.call(
            "RAI_RADSampler",
            model=tiny_model(host, "SD15"),
            seed=0,
            steps=1,
            cfg=1.0,
            sampler="ddim",
            scheduler="normal",
            positive=[],
            negative=[],
            latent_image=latent,
            eta=0.0,
        )
    with pytest.raises(ValueError, match="not a RAD adapter for a latent model"):
        host.call("RAI_LoadRADAdapter", model=tiny_model(host, "SD15"), adapter_name="landscapes (bundled)", strength=1.0)
