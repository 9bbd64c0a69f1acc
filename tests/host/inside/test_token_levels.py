"""RAD Spatial Noise Embedding on the host's flow transformers: every family that the running host has, random weights."""

import pytest
import torch
from families import build, in_host, prompts, scene
from family_table import FAMILIES
from helpers import apply, defaults

NAMES = [
    "SD3, 3.5",
    "AuraFlow",
    "Flux.1 dev",
    "Flux.1 Fill",
    "Flux.1 schnell",
    "LongCat-Image",
    "Flux.2, klein",
    "Chroma",
    "Chroma Radiance",
    "Lumina 2",
    "Z-Image",
    "Qwen-Image, -Edit",
    "Mage-Flow",
    "Krea 2",
    "Anima",
    "Cosmos-Predict2",
    "Wan 2.1 (picture)",
    "Wan 2.1, 2.2 14B",
    "Wan 2.1 image to video",
    "Wan 2.2 5B",
    "HunyuanVideo",
    "HunyuanVideo 1.5",
    "HunyuanImage 2.1",
    "Ideogram 4",
]
ODD = {"Chroma Radiance": (80, 48), "HunyuanVideo": (6, 10), "Cosmos-Predict2": (6, 10)}  # latent sizes that the family can have


@pytest.fixture(params=NAMES)
def family(host, request):
    if not in_host(request.param):
        pytest.skip(f"this host has no {request.param}")
    return request.param


def patch(host, model):
    return host.call("RAI_RADSpatialNoiseEmbedding", model=model)[0]


def state(name, model, batch=1, size=None):
    """A state x and what the network gets beside it."""
    shape = FAMILIES[name].shape
    shape = (*shape[:-2], *(size or shape[-2:]))
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(5))
    context, extra = prompts(name)[0][0]
    conds = model.model.extra_conds(**extra, cross_attn=context, noise=x, device=x.device, prompt_type="positive")
    conds = {key: cond.process_cond(batch_size=batch, area=None).cond for key, cond in conds.items()}
    conds.setdefault("c_crossattn", context.expand(batch, -1, -1))
    concat = model.model.concat_cond(noise=x, device=x.device, cross_attn=context, **extra)
    return x, conds if concat is None else conds | {"c_concat": concat.expand(batch, *concat.shape[1:])}


def difference(out, reference, x):
    """Relative to what the network adds, x0 - x."""
    return ((out - reference).abs().max() / (reference - x).abs().max()).item()


def test_a_constant_map_is_the_plain_model_at_that_level(host, family):
    """At level s' under another scalar s; a network that ignores the map would be off by the second figure."""
    base = build(family)
    patched, top = patch(host, base), float(base.model.model_sampling.sigma_max)
    top = min(top, 1.0) if top <= 1 else 5.0
    for size, batch in ((None, 1), (ODD.get(family, (7, 9) if FAMILIES[family].block > 1 else None), 2)):
        x, conds = state(family, base, batch, size)
        for share, scalar in ((0.4, 0.9), (0.9, 0.5), (0.15, 1.0)):
            level, scalar = share * top, scalar * top
            plain = apply(base, x, level, conds)
            ones = torch.ones(batch, 1, *x.shape[2:])
            mapped = apply(patched, x, scalar, conds | {"sigma_map": ones * level})
            at_scalar = apply(base, x * factor(base, scalar, level), scalar, conds)
            ignored = x - velocity(base, x, at_scalar, scalar, level)
            errors = difference(mapped, plain, x), difference(ignored, plain, x)
            print(f"{family} | {size} x {batch} | s' {level:.2f} under {scalar:.2f} | {errors[0]:.1e} | ignored {errors[1]:.2f}")
            assert errors[0] < 1e-5
            assert errors[1] > 1e-2
            assert torch.equal(apply(base, x, level, conds), plain), "unpatched outputs must be bit-equal"
            assert torch.equal(apply(patched, x, level, conds), plain), "without a map the patch does nothing"


def test_each_picture_and_each_token_gets_its_own_level(host, family):
    """A level for each picture of a batch is the plain model on each; a token's level changes that token's answer most."""
    base = build(family)
    patched, top = patch(host, base), min(float(base.model.model_sampling.sigma_max), 5.0)
    x, conds = state(family, base, 2, ODD.get(family, (7, 9) if FAMILIES[family].block > 1 else None))
    levels = torch.tensor([0.3, 0.8]).view(2, 1, *[1] * (x.ndim - 2)).expand(2, 1, *x.shape[2:]) * top
    both = apply(patched, x, 0.9 * top, conds | {"sigma_map": levels})
    for k, level in enumerate((0.3, 0.8)):
        alone = apply(base, x, level * top, conds)
        assert difference(both[k], alone[k], x[k]) < 1e-5
    _, high, wide = sides = _wrappers(patched)[0].family.patch
    place = (..., *(slice(k * side, (k + 1) * side) for k, side in zip((1, 2), sides[1:], strict=True)))
    low = torch.full((1, 1, *x.shape[2:]), 0.6 * top)
    changed = low.clone()
    changed[place] = 0.3 * top
    answers = [(x[:1] - apply(patched, x[:1], 0.9 * top, _first(conds) | {"sigma_map": m})) / m for m in (low, changed)]
    if ratio_flow(base):
        return
    effect = (answers[1] - answers[0]).square().flatten(0, -3).sum(0)[None, None]
    effect = torch.nn.functional.avg_pool2d(effect, (high, wide), ceil_mode=True)[0, 0]
    assert effect.argmax() == 1 * effect.shape[1] + 2


def _first(conds):
    return {key: value[:1] if torch.is_tensor(value) and value.shape[:1] == (2,) else value for key, value in conds.items()}


def ratio_flow(model):
    import comfy.model_sampling

    return isinstance(model.model.model_sampling, comfy.model_sampling.COSMOS_RFLOW)


def factor(model, scalar, level):
    return (1 + scalar) / (1 + level) if ratio_flow(model) else 1


def velocity(model, x, x0, scalar, level):
    """What is to be subtracted from x, by a network that got `scalar` instead of `level`."""
    if not ratio_flow(model):
        return (x - x0) / scalar * level
    v = (x / (1 + level) - x0) * (1 + scalar) / scalar
    return x - (x / (1 + level) - v * level / (1 + level))


def test_a_map_of_two_levels_has_its_effect_where_it_holds(host, family):
    """Known latents come back as they are; the hole's answer depends on what the rest of the map says, and nothing stays behind."""
    base = build(family)
    patched = patch(host, base)
    x, conds = state(family, base)
    if "c_concat" in conds:
        conds["c_concat"] = conds["c_concat"].clone()
    scalar, half = 0.8 * min(float(base.model.model_sampling.sigma_max), 5.0), x.shape[-1] // 2
    mask = torch.zeros(1, 1, *x.shape[2:])
    mask[..., half:] = 1
    out = apply(patched, x, scalar, conds, mask)
    torch.testing.assert_close(out[..., :half], x[..., :half], rtol=0, atol=1e-5)
    if ratio_flow(base):
        return
    # against the plain model, which believes that the known latents are as noisy as the hole
    plain = apply(base, x, scalar, conds)
    assert difference(out[..., half:], plain[..., half:], x[..., half:]) > 1e-3
    assert not next(wrapper for wrapper in _wrappers(patched)).levels.active
    assert set(patched.model_state_dict()) == set(base.model_state_dict()), "the weights' names stay, so LoRA applies"


def _wrappers(model):
    import comfy.patcher_extension

    return model.get_wrappers(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "rad_token_levels")


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "res_multistep"])
def test_known_latents_are_exact_through_ksampler(host, family, sampler):
    patched = patch(host, build(family))
    latent = scene(family)
    positive, negative = prompts(family)
    for cfg in (1.0, 3.0) if FAMILIES[family].cfg else (1.0,):
        scheduler = FAMILIES[family].scheduler
        (out,) = host.nodes.common_ksampler(patched, 0, 3, cfg, sampler, scheduler, positive, negative, latent)
        samples, before = out["samples"], latent["samples"]
        mask = latent_mask(latent["noise_mask"], before)
        assert torch.isfinite(samples).all()
        assert_known(samples, before, mask)


def assert_known(samples, before, mask):
    """Known latents stay, but for the rounding of the host's own scale of latents; the hole does not."""
    change = (samples - before).abs()
    assert (change * (mask == 0)).max() <= 1e-6 * before.abs().max() + 1e-6
    assert (change * (mask > 0)).max() > 1e-2


def latent_mask(mask, latents):
    """As the host resizes it."""
    import comfy.sampler_helpers

    return comfy.sampler_helpers.prepare_mask(mask, latents.shape, torch.device("cpu"))


@pytest.mark.parametrize("name", ["Flux.1 dev", "Z-Image", "Qwen-Image, -Edit", "Wan 2.1, 2.2 14B"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m"])
def test_rad_sampler_fills_in_an_order(host, name, sampler):
    """Known latents exact; what is first in the order is finished when the rest begins, and soft pixels take part."""
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    patched, latent = patch(host, build(name)), scene(name)
    latent["noise_mask"] = latent["noise_mask"].clone()
    latent["noise_mask"][..., : latent["noise_mask"].shape[-1] // 8] = 0.5
    positive, negative = prompts(name)
    mask = latent_mask(latent["noise_mask"], latent["samples"])
    order = torch.linspace(0, 1, 64).expand(1, 64, 64)
    settings = {"seed": 0, "steps": 4, "cfg": 2.0, "sampler": sampler, "scheduler": "simple", "eta": 0.0}
    run = lambda **change: host.call(
        "RAI_RADSampler", model=patched, positive=positive, negative=negative, latent_image=latent, **settings | change
    )[0]["samples"]
    out, ordered = run(), run(order=order)
    for samples in (out, ordered):
        assert torch.isfinite(samples).all()
        assert_known(samples, latent["samples"], mask)
    assert not torch.equal(out, ordered)


def test_every_picture_of_latents_with_frames_has_its_own_mask(host):
    name = "Qwen-Image, -Edit"
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    latent = scene(name, batch=2)
    mask = torch.zeros(2, *latent["noise_mask"].shape[1:])
    mask[0, :, :, : mask.shape[-1] // 2], mask[1, :, : mask.shape[-2] // 2] = 1, 1
    positive, negative = prompts(name)
    words = {"positive": positive, "negative": negative, "seed": 0, "steps": 2, "cfg": 1.0, "sampler": "ddim", "scheduler": "simple"}
    latent["noise_mask"] = mask[:, 0]
    out = host.call("RAI_RADSampler", model=patch(host, build(name)), latent_image=latent, eta=0.0, **words)[0]["samples"]
    for k in range(2):
        hole = latent_mask(mask[k : k + 1], latent["samples"][k : k + 1])
        assert_known(out[k : k + 1], latent["samples"][k : k + 1], hole)
        changed = ((out[k] - latent["samples"][k]).abs() > 1e-3).float()
        assert (changed * (hole[0] > 0)).sum() > 0.95 * (hole[0] > 0).expand_as(changed).sum()


def test_euler_of_ksampler_and_rad_samplers_ddim_agree(host):
    """On a flow model both are Euler's method; they share the noise, the levels and the network."""
    patched, latent = patch(host, build("Flux.1 dev")), scene("Flux.1 dev")
    positive, negative = prompts("Flux.1 dev")
    (ours,) = host.call(
        "RAI_RADSampler",
        model=patched,
        seed=0,
        steps=4,
        cfg=1.0,
        sampler="ddim",
        scheduler="simple",
        positive=positive,
        negative=negative,
        latent_image=latent,
        eta=0.0,
    )
    (theirs,) = host.nodes.common_ksampler(patched, 0, 4, 1.0, "euler", "simple", positive, negative, latent)
    torch.testing.assert_close(ours["samples"], theirs["samples"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["SD3, 3.5", "Qwen-Image, -Edit"])
def test_split_sigmas_give_what_the_whole_run_gives(host, name):
    """As with the host's samplers; soft pixels stop at a level of their own."""
    import comfy.sample
    import comfy.samplers

    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    patched, words, latents = patch(host, build(name)), prompts(name), scene(name)["samples"]
    mask = torch.zeros(1, 1, *latents.shape[-2:])
    mask[..., latents.shape[-2] // 4 * 2 :, :] = 1
    mask[..., -4:, :] = 0.5
    (sampler,) = host.call("RAI_RADSamplerSelect", sampler="ddim", eta=0.0)
    sigmas = comfy.samplers.calculate_sigmas(patched.get_model_object("model_sampling"), "simple", 6)
    noise = comfy.sample.prepare_noise(latents, 3)

    def run(noise, sigmas, latents):
        with torch.inference_mode():
            return comfy.sample.sample_custom(patched, noise, 1.0, sampler, sigmas, *words, latents, noise_mask=mask, seed=3)

    whole, first = run(noise, sigmas, latents), run(noise, sigmas[:4], latents)
    torch.testing.assert_close(run(torch.zeros_like(noise), sigmas[3:], first), whole, rtol=1e-4, atol=1e-4)
    assert not torch.equal(whole, latents)


def test_families_without_a_way_in_are_refused_in_a_sentence(host):
    for name in ("HiDream", "Lens", "Wan VACE"):
        if in_host(name):
            with pytest.raises(ValueError, match="cannot give this MODEL a noise level per token: there is no way in"):
                patch(host, build(name))
    native, note, aware = build("LTX-Video"), host.module("rad_core.notes").Note, host.module("nodes.host.region_aware")
    with pytest.warns(note, match="LTX-Video gives every token its own noise level by itself"):
        assert aware.with_levels_alone(native) is native, "nothing is needed"
    with pytest.warns(note, match="may work without an adapter"):
        aware.with_levels_alone(build("Wan 2.2 5B"))


@pytest.mark.parametrize("name", ["Qwen-Image, -Edit", "Wan 2.1 (picture)", "Krea 2", "Anima"])
def test_rad_sampler_asks_for_the_embedding_where_the_host_gives_latents_a_time_axis(host, name):
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    with pytest.raises(ValueError, match=r"takes one noise level for the whole picture\. Put 'RAD Spatial Noise Embedding' before"):
        rad_sample(host, name, {"samples": torch.ones(1, 16, 8, 8)})


@pytest.mark.parametrize("name", ["LTX-Video", "LTX-2 (video, sound)", "MiniMax H3 (video, sound)"])
def test_rad_sampler_leaves_models_with_levels_of_their_own_to_ksampler(host, name):
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    with pytest.raises(ValueError, match=f"cannot set the noise levels of {name.split(' (')[0]}, which .*: use a KSampler"):
        rad_sample(host, name, scene(name))


def rad_sample(host, name, latent):
    """*RAD Sampler* on the plain MODEL of a family."""
    positive, negative = prompts(name)
    inputs = {"model": build(name), "positive": positive, "negative": negative, "latent_image": latent, "steps": 2}
    return host.call("RAI_RADSampler", **defaults(host, "RAI_RADSampler") | inputs)[0]["samples"]


def test_a_host_whose_network_changed_is_refused(host, monkeypatch):
    """A layer that is gone: at once. A network that no longer asks the stand-ins: at the first step, on a host that was not tested."""
    base = build("SD3, 3.5")
    guard = host.module("nodes.host.token_levels.guard")
    broken = patch(host, base)
    for name in list(broken.object_patches):
        if name.endswith("adaLN_modulation"):
            del broken.object_patches[name]
    x, conds = state("SD3, 3.5", base)
    levels = {"sigma_map": torch.full((1, 1, 8, 8), 0.4)}
    monkeypatch.setattr(guard, "host_version", lambda: "9.9.9")
    apply(patch(host, base), x, 0.9, conds | levels)  # no error
    with pytest.raises(RuntimeError, match="has no effect: update the pack Region-aware Inpainting"):
        apply(broken, x, 0.9, conds | levels)
    del base.model.diffusion_model.final_layer.adaLN_modulation
    with pytest.raises(ValueError, match="another OpenAISignatureMMDITWrapper than"):
        patch(host, base)


@pytest.mark.parametrize("name", ["Flux.1 dev", "Flux.2, klein", "Qwen-Image, -Edit", "Krea 2"])
def test_reference_tokens_get_what_the_models_own_method_gives_them(host, name):
    """With references a constant map is still the plain model, whether their timestep is the picture's or 0."""
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    base = build(name)
    patched = patch(host, base)
    x, conds = state(name, base)
    conds["ref_latents"] = [torch.randn(x.shape), torch.randn(*x.shape[:-1], 4)]
    only = host_is_floor() or name == "Flux.1 dev"  # where the plain model has no other
    methods = ["index"] if only else ["index", "index_timestep_zero"]
    found = []
    for method in methods:
        conds["ref_latents_method"] = method
        found.append(apply(base, x, 0.4, conds))
        mapped = apply(patched, x, 0.9, conds | {"sigma_map": torch.full((1, 1, *x.shape[2:]), 0.4)})
        assert difference(mapped, found[-1], x) < 1e-5
        assert difference(apply(base, x, 0.4, {**conds, "ref_latents": conds["ref_latents"][:1]}), found[-1], x) > 1e-3
    assert len(found) == 1 or difference(found[0], found[1], x) > 1e-3


def test_a_network_that_ran_without_it_and_with_it_can_be_unloaded(host):
    """The host marks the layers whose weights are in place: Krea 2 has a stand-in for one with weights of its own."""
    import comfy.model_management

    if not in_host("Krea 2"):
        pytest.skip("this host has no Krea 2")
    base = build("Krea 2")
    patched = patch(host, base)
    x, conds = state("Krea 2", base)
    before, levels = apply(base, x, 0.4, conds), {"sigma_map": torch.full((1, 1, *x.shape[2:]), 0.4)}
    for model in (patched, base, patched):
        apply(model, x, 0.9, conds | (levels if model is patched else {}))
    comfy.model_management.unload_all_models()
    assert not [name for name, layer in base.model.named_modules() if hasattr(layer, "comfy_patched_weights")]
    assert torch.equal(apply(base, x, 0.4, conds), before)


def host_is_floor():
    from comfyui_version import __version__

    return __version__ == "0.3.64"
