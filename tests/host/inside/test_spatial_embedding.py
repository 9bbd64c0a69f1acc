"""RAD Spatial Noise Embedding on the host's own U-Nets: SD1.5- and SDXL-type, noise and v prediction, random weights."""

import pytest
import torch
from families import build, in_host, prompts, scene
from helpers import apply, inputs, tiny_model


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
    """Known pixels come back as they are. In the hole the network gets the known pixels' level too, and its prediction differs."""
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
    plain, mapped = (
        apply(patched, x, 3.0, extra | {"control": {"output": [], "middle": [], "input": []}} | maps)
        for maps in ({}, {"sigma_map": levels})
    )
    assert not torch.equal(plain, mapped)


def test_every_block_gets_maps_of_its_own_size(host):
    """Odd sizes, up and down: blocks read the weights at the size of their features, or the addition would fail."""
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=tiny_model(host, "SD15"))
    for size in ((8, 8), (9, 31), (64, 40)):
        x, extra = inputs("SD15", 2, size)
        soft = torch.rand(2, 1, *size)
        out = apply(patched, x, 2.0, extra, soft)
        assert torch.isfinite(out).all() and not torch.equal(out, apply(patched, x, 2.0, extra))


def test_features_may_be_shrunk_on_the_way(host):
    """As Kohya's Deep Shrink does: under it too a constant map is the plain model at that level."""
    from torch.nn.functional import interpolate

    def shrink(h, options):
        return interpolate(h, scale_factor=0.5) if options["block"][1] == 1 else h

    def enlarge(h, skip, options):
        return (h if h.shape == skip.shape else interpolate(h, skip.shape[2:])), skip

    model = tiny_model(host, "SD15")
    model.set_model_input_block_patch_after_skip(shrink)
    model.set_model_output_block_patch(enlarge)
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=model)
    x, extra = inputs("SD15", 1, (16, 16))
    plain = apply(model, x, 2.0, extra)
    assert not torch.equal(plain, apply(tiny_model(host, "SD15"), x, 2.0, extra)), "the patch has an effect"
    torch.testing.assert_close(apply(patched, x, 2.0, extra, torch.ones(1, 1, 16, 16)), plain, rtol=1e-4, atol=1e-4)


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


@pytest.mark.parametrize("order", [None, torch.linspace(0, 1, 16).expand(1, 16, 16)], ids=["at once", "in an order"])
def test_the_host_is_told_the_runs_level_whatever_the_masks(host, order):
    """Prompts and ControlNets have ranges of levels, which the host compares with the first picture's."""
    (model,) = host.call("RAI_RADSpatialNoiseEmbedding", model=tiny_model(host, "SD15"))
    told = []
    wrapper = lambda apply, args: told.append(args["timestep"]) or apply(args["input"], args["timestep"], **args["c"])
    model.set_model_unet_function_wrapper(wrapper)
    positive, masks = [[torch.randn(1, 7, 64), {}]], torch.zeros(2, 1, 16, 16)
    masks[1, :, 4:12, 4:12] = 0.5  # grey, and the first picture has no hole
    for mask in (torch.ones_like(masks), masks):
        latent = {"samples": torch.randn(2, 4, 16, 16), "noise_mask": mask}
        options = {"seed": 0, "steps": 4, "cfg": 1.0, "sampler": "ddim", "scheduler": "normal", "eta": 0.0, "order": order, "overlap": 0.0}
        host.call("RAI_RADSampler", model=model, positive=positive, negative=positive, latent_image=latent, **options)
    whole, grey = (torch.stack([level.flatten()[[0, -1]] for level in told[start : start + 4]]) for start in (0, 4))
    torch.testing.assert_close(grey, whole)
    assert (whole[:, 0] == whole[:, 1]).all()
    if order is None:
        sampling = model.get_model_object("model_sampling")
        sigmas = host.module("nodes.host.sampler").comfy.samplers.calculate_sigmas(sampling, "normal", 4)[:4]
        torch.testing.assert_close(whole[:, 0], sigmas, rtol=1e-4, atol=0)


def test_other_models_are_refused_in_one_sentence(host, adm):
    with pytest.raises(ValueError, match=r"^'RAD Spatial Noise Embedding' works on U-Nets that predict noise or v.* do not need it"):
        host.call("RAI_RADSpatialNoiseEmbedding", model=adm[0])
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


@pytest.mark.parametrize("name", ["SD1.5", "Flux.1 dev"])
def test_a_guider_with_a_model_for_each_prompt_gives_both_the_map(host, name):
    nodes = host.nodes.NODE_CLASS_MAPPINGS
    if "DualModelGuider" not in nodes:
        pytest.skip("this host has no guider with two MODELs")
    base, (positive, negative), latent = build(name), prompts(name), scene(name)
    negative = [[-negative[0][0], negative[0][1]]]
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=base)
    (sigmas,) = host.call("BasicScheduler", model=base, scheduler="simple", steps=3, denoise=1.0)
    ours = host.call("RAI_RADSamplerSelect", sampler="ddim", eta=0.0, overlap=0.0)[0]

    def sample(guider, sampler, **models):
        guider = host.call(guider, positive=positive, negative=negative, cfg=3.0, **models)[0]
        noise = host.call("RandomNoise", noise_seed=3)[0]
        out = host.call("SamplerCustomAdvanced", noise=noise, guider=guider, sampler=sampler, sigmas=sigmas, latent_image=latent)
        return out[0]["samples"]

    for sampler in (host.call("KSamplerSelect", sampler_name="euler")[0], ours):
        once, each = sample("CFGGuider", sampler, model=patched), {"model": patched, "model_negative": patched}
        torch.testing.assert_close(sample("DualModelGuider", sampler, **each), once, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="connect the same MODEL to model and model_negative"):
        sample("DualModelGuider", ours, model=patched, model_negative=build(name))


@pytest.mark.parametrize("name, prediction", [("SD1.5", "x0"), ("Flux.1 dev", "eps")])
def test_a_prediction_that_another_node_changes_afterwards_is_refused(host, name, prediction):
    """The same nodes the other way round are refused by RAD's own; here its map would contradict what the MODEL predicts."""
    discrete = host.nodes.NODE_CLASS_MAPPINGS["ModelSamplingDiscrete"]
    model, words, latent = build(name), prompts(name)[0], scene(name)
    (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=model)
    (changed,) = discrete().patch(patched, prediction, False)
    with pytest.raises(ValueError, match="ModelSamplingDiscrete has changed what this MODEL predicts, after RAD"):
        host.nodes.common_ksampler(changed, 3, 1, 1.0, "euler", "normal", words, words, latent)
    with pytest.raises(ValueError, match=r"works on U-Nets that predict noise|has changed what it predicts"):
        host.call("RAI_RADSpatialNoiseEmbedding", model=discrete().patch(model, prediction, False)[0])


@pytest.mark.parametrize(
    "name, sentence", [("SVD (video)", "works on U-Nets that predict noise or v"), ("HiDream", "cannot give this MODEL")]
)
def test_errors_name_the_node_that_is_in_the_graph(host, name, sentence):
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    for node, own in (
        ("Load RAD Adapter", {"adapter_name": "landscapes (bundled)", "strength": 1.0}),
        ("RAD Spatial Noise Embedding", {}),
    ):
        with pytest.raises(ValueError, match=f"^'{node}' {sentence}") as error:
            host.call(f"RAI_{node.replace(' ', '')}", model=build(name), **own)
        assert "do not need it" not in str(error.value), "that is for networks from Load ADM Model"
