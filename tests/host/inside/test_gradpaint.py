"""GradPaint in the host: on tiny random models of each kind, and on the bundled network."""

import pytest
import torch
from families import build, in_host, prompts
from helpers import defaults, flow_model, tiny_model

KINDS = {"SD15": (4, 0), "v": (4, 0), "SDXL": (4, 1280), "flow": (16, 2048)}  # latent channels, size of the pooled text


@pytest.fixture(scope="module", params=list(KINDS))
def scene(host, request):
    """MODEL, conditioning, LATENT with a noise mask in pixels."""
    torch.manual_seed(1)
    channels, pooled = KINDS[request.param]
    kind = {"v": "SD15"}.get(request.param, request.param)
    model = flow_model() if kind == "flow" else tiny_model(host, kind, v_prediction=request.param == "v")
    extra = {"pooled_output": torch.randn(1, pooled)} if pooled else {}
    prompts = [[[torch.randn(1, 7, 64), dict(extra)]] for _ in range(2)]
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 24:40, 24:44] = 1
    coarse = torch.randn(2, channels, 4, 4)
    return model, prompts, {"samples": torch.nn.functional.interpolate(coarse, (8, 8), mode="bicubic"), "noise_mask": mask}


def sample(host, scene, sampler="euler", preset="plus", steps=4, latent=None, **change):
    model, (positive, negative), own = scene
    options = {"seed": 5, "steps": steps, "cfg": 3.0, "sampler_name": sampler, "scheduler": "normal", "denoise": 1.0} | change
    (out,) = host.call(
        "RAI_GradPaintSampler", model=model, positive=positive, negative=negative, latent_image=latent or own, preset=preset, **options
    )
    return out["samples"]


def ksample(host, scene, sampler="euler"):
    model, (positive, negative), latent = scene
    return host.nodes.common_ksampler(model, 5, 4, 3.0, sampler, "normal", positive, negative, latent)[0]["samples"]


@pytest.fixture()
def guidances(host, monkeypatch):
    """The `GradPaint` objects of the runs that follow."""
    guided, made = host.module("nodes.host.guided_model"), []
    make = guided.GradPaint
    monkeypatch.setattr(guided, "GradPaint", lambda *a, **k: made.append(make(*a, **k)) or made[-1])
    return made


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "uni_pc", "ddim", "dpmpp_2m_sde", "dpm_fast"])
def test_samplers_run_the_loss_falls_and_the_model_is_left_alone(host, scene, guidances, sampler):
    if sampler in ("dpmpp_2m_sde", "dpm_fast") and scene[2]["samples"].shape[1] == 16:
        pytest.skip("one family is enough for these two")
    before = ksample(host, scene, "euler")
    patches = dict(scene[0].model_options)
    out = sample(host, scene, sampler)
    losses = torch.stack(guidances[0].losses)
    assert torch.isfinite(out).all() and len(losses) >= 3
    if scene[0].model.model_type.name == "V_PREDICTION":  # the first estimate of a random v network is nearly 0, which is good by chance
        assert not torch.equal(out, sample(host, scene, sampler, preset="combine"))
    else:
        assert (losses[-1] < losses[0]).all(), losses
    kept = host.module("nodes.host.holes").hole_in_latents(scene[2]["noise_mask"], out.shape) == 0
    assert kept.any() and (out - scene[2]["samples"])[kept.expand_as(out)].abs().max() < 1e-5
    assert torch.equal(ksample(host, scene, "euler"), before), "the next KSampler must be bit-identical"
    assert scene[0].model_options == patches


def test_a_picture_does_not_depend_on_its_batch(host, scene):
    _, _, latent = scene
    import comfy.sample

    in_batch = sample(host, scene)
    assert in_batch.shape[0] == 2 and not torch.equal(in_batch[0], in_batch[1])
    assert torch.equal(in_batch, sample(host, scene))
    # the host draws a batch's noise in one go, so only the first picture has the same start alone
    alone = sample(host, scene, latent={**latent, "samples": latent["samples"][:1]})
    torch.testing.assert_close(alone[0], in_batch[0], rtol=0, atol=0.02)  # random weights amplify rounding
    assert comfy.sample.prepare_noise(latent["samples"][:1], 5).equal(comfy.sample.prepare_noise(latent["samples"], 5)[:1])


def test_conditional_only_saves_calls_and_restores_cfg(host, scene, monkeypatch):
    model = scene[0].model
    rows, apply = [], model.apply_model
    monkeypatch.setattr(model, "apply_model", lambda x, *a, **k: rows.append(x.shape[0]) or apply(x, *a, **k))
    counts = {}
    for only in (False, True):
        rows.clear()
        settings = host.module("nodes.host.gradpaint").HostSettings(conditional_only=only)
        assert torch.isfinite(sample(host, scene, settings=settings)).all()
        counts[only] = sum(rows)
    assert counts[True] == 0.75 * counts[False]


def test_cancelled_and_failed_runs_leave_nothing(host, scene, monkeypatch):
    import comfy.model_management

    before = ksample(host, scene)
    guided = host.module("nodes.host.gradpaint")
    for error in (comfy.model_management.InterruptProcessingException(), RuntimeError("broke")):

        def fail(self, x, dx, sigma, x0, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(host.module("nodes.host.guided_model").GuidedModel, "_difference", fail)
            with pytest.raises(type(error)):
                sample(host, scene, settings=guided.HostSettings(conditional_only=True))
        assert torch.equal(ksample(host, scene), before)


def test_a_lora_is_guided_too_and_comes_off(host, scene):
    """A patch on the weights, as the host's LoRA loader puts it there: GradPaint samples with it, and the plain MODEL is as before."""
    model, prompts, latent = scene
    before = sample(host, scene)
    name = next(k for k in model.model.state_dict() if k.startswith("diffusion_model") and model.model.state_dict()[k].ndim == 2)
    patched, change = model.clone(), 0.2 * torch.randn(model.model.state_dict()[name].shape)
    assert patched.add_patches({name: ("diff", (change,))})
    assert not torch.equal(sample(host, (patched, prompts, latent)), before)
    assert torch.equal(sample(host, scene), before)


def test_a_controlnet_is_guided_too_and_leaves_nothing(host, scene):
    """A control that shifts the middle of the U-Net, attached to the prompt as by the host's Apply ControlNet."""
    import comfy.controlnet

    if scene[2]["samples"].shape[1] == 16:
        pytest.skip("this control is for U-Nets")

    class Shift(comfy.controlnet.ControlBase):
        calls = 0

        def get_control(self, *args):
            type(self).calls += 1
            return {"input": [], "middle": [torch.tensor(3.0)], "output": []}

    model, (positive, negative), latent = scene
    before = sample(host, scene)
    controlled = [[positive[0][0], positive[0][1] | {"control": Shift(), "control_apply_to_uncond": False}]]
    assert not torch.equal(sample(host, (model, (controlled, negative), latent)), before) and Shift.calls
    assert torch.equal(sample(host, scene), before)


def test_the_guider_keeps_its_picture(host, scene):
    """SamplerCustomAdvanced with an empty latent: what is known still comes from the guider's picture; connecting the picture itself is
    what GradPaint Sampler does."""
    import comfy.samplers
    import comfy_extras.nodes_custom_sampler as custom

    model, (positive, negative), latent = scene
    picture, mask = {"samples": latent["samples"]}, latent["noise_mask"][:, 0]
    (guider,) = host.call(
        "RAI_GradPaintGuider", model=model, cfg=3.0, positive=positive, negative=negative, picture=picture, mask=mask, preset="plus"
    )
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 4)
    inputs = custom.Noise_RandomNoise(5), guider, comfy.samplers.sampler_object("euler"), sigmas
    node = host.nodes.NODE_CLASS_MAPPINGS["SamplerCustomAdvanced"]

    def run(samples):
        with torch.inference_mode():
            return getattr(node(), node.FUNCTION)(*inputs, {"samples": samples})[0]

    torch.testing.assert_close(run(latent["samples"])["samples"], sample(host, scene))
    out = run(torch.zeros_like(latent["samples"]))["samples"]
    kept = host.module("nodes.host.holes").hole_in_latents(latent["noise_mask"], out.shape) == 0
    assert (out - latent["samples"])[kept.expand_as(out)].abs().max() < 1e-5
    with pytest.raises(ValueError, match="differ in size"):
        run(torch.zeros(1, latent["samples"].shape[1], 4, 4))


def test_odd_masks(host, scene, caplog):
    _, _, latent = scene
    for name, mask in (("no", None), ("full", torch.ones(1, 1, 64, 64))):
        masked = {"samples": latent["samples"]} | ({} if mask is None else {"noise_mask": mask})
        out = sample(host, scene, latent=masked)
        assert torch.isfinite(out).all() and "without guidance" in caplog.text, name
        assert not torch.equal(out, latent["samples"]), name
        caplog.clear()
    empty = {"samples": latent["samples"], "noise_mask": torch.zeros(1, 1, 64, 64)}
    assert torch.equal(sample(host, scene, latent=empty), latent["samples"]) and "no hole" in caplog.text
    dot = torch.zeros(1, 1, 64, 64)
    dot[..., 32, 32] = 1
    for mask in (dot, torch.linspace(0, 1, 64).expand(1, 1, 64, 64)):
        out = sample(host, scene, latent={"samples": latent["samples"], "noise_mask": mask})
        assert torch.isfinite(out).all() and not torch.equal(out, latent["samples"])


def test_a_scratch_thinner_than_a_latent_is_filled(host, scene):
    """The host itself samples two pixels of every eight; a latent that shows some of the hole must not be kept."""
    _, _, latent = scene
    scratch = torch.zeros(1, 1, 64, 64)
    scratch[..., :, 32] = 1
    out = sample(host, scene, latent={"samples": latent["samples"], "noise_mask": scratch})
    changed = (out - latent["samples"]).abs().amax(1) > 1e-3
    assert changed[:, :, 4].all() and not changed[:, :, :4].any() and not changed[:, :, 5:].any()


@pytest.mark.parametrize("only", [False, True])
def test_the_second_move_of_a_step_is_measured_from_the_same_place(host, scene, monkeypatch, only):
    """With moves that change nothing, every difference of a step must be the same."""
    guided, seen = host.module("nodes.host.gradpaint"), []
    model = host.module("nodes.host.guided_model").GuidedModel
    difference = model._difference
    monkeypatch.setattr(model, "_difference", lambda self, *a: seen.append(difference(self, *a)) or seen[-1])
    guidance = host.module("rad_core.guidance").Guidance(inner_steps=2, eta=0.0)
    sample(host, scene, steps=2, settings=guided.HostSettings(guidance, conditional_only=only))
    assert len(seen) == 4 and torch.equal(seen[0], seen[1]) and torch.equal(seen[2], seen[3])


def test_the_presets_are_the_librarys(host):
    for node in ("RAI_GradPaintInpaint", "RAI_GradPaintSampler", "RAI_GradPaintGuider"):
        assert host.info(node)["input"]["required"]["preset"][1]["options"] == ["plus", "turbo", "paper", "combine"]


def test_what_cannot_be_guided_is_told(host, scene):
    import comfy.model_sampling

    model, (positive, negative), latent = scene
    guided = host.module("nodes.host.gradpaint")
    strange = model.clone()
    strange.add_object_patch("model_sampling", type("Strange", (comfy.model_sampling.ModelSamplingDiscrete,), {})())
    with pytest.raises(ValueError, match="prediction type"):
        guided.GradPaintGuider(strange, positive, negative, 1.0, guided.HostSettings())
    guider = guided.GradPaintGuider(model, positive, negative, 1.0, guided.HostSettings())
    (rad,) = host.call("RAI_RADSamplerSelect", sampler="ddpm", eta=0.0)
    with pytest.raises(ValueError, match="cannot guide the sampler HostSampler"):
        guider.sample(latent["samples"], latent["samples"], rad, torch.tensor([1.0, 0.0]), latent["noise_mask"])


def test_the_hole_in_latents_by_hand(host):
    hole_in_latents = host.module("nodes.host.holes").hole_in_latents
    hole = torch.zeros(1, 1, 64, 64)
    hole[..., 31, 40] = 0.5  # in block row 3, column 5
    expected = torch.zeros(8, 8)
    expected[3, 5] = 0.5
    assert torch.equal(hole_in_latents(hole, (2, 4, 8, 8)), expected[None, None])
    assert torch.equal(hole_in_latents(expected[None], (2, 4, 8, 8)), expected[None, None])  # a mask of the latents' size
    odd = torch.zeros(1, 70, 71)  # VAE Encode takes 64x64 of it, from row 3 and column 3 on
    odd[:, 3 + 16, 3 + 23], odd[:, 2, 2] = 1, 1
    assert hole_in_latents(odd, (1, 4, 8, 8)).nonzero().tolist() == [[0, 0, 2, 2]]


def test_the_rim_is_looked_at_through_taesd(host, scene):
    """With a TAESD of random weights: vjp and jvp agree, and a missing file raises an error."""
    import comfy.taesd.taesd

    model, (_, _), latent = scene
    form, guided = model.model.latent_format, host.module("nodes.host.gradpaint")
    folder = host.base / "models" / "vae_approx"
    folder.mkdir(exist_ok=True)
    host.folder_paths.add_model_folder_path("vae_approx", str(folder))
    settings = guided.HostSettings(align_in="TAESD")
    with pytest.raises(ValueError, match="not in models/vae_approx"):
        sample(host, scene, settings=settings)
    torch.manual_seed(2)
    channels = latent["samples"].shape[1]
    taesd = comfy.taesd.taesd.TAESD(None, None, latent_channels=channels).taesd_decoder
    weights = {k: torch.randn_like(v) * 0.05 for k, v in taesd.state_dict().items()}
    path = folder / f"{form.taesd_decoder_name}.pth"
    try:
        torch.save(weights, path)
        host.folder_paths.filename_list_cache.clear()
        assert torch.isfinite(sample(host, scene, settings=settings, steps=2)).all()
        with torch.inference_mode():
            taesd = host.module("nodes.host.taesd").TAESDColours(form, latent["samples"])
            with torch.inference_mode(False):
                taesd.taesd.double()  # a difference across a rectifier's kink is no derivative, so it must be a small one
            values, move = latent["samples"][:1].double(), torch.randn(1, channels, 8, 8).double()
            colours = taesd.to_colours(values)
            weight = torch.randn_like(colours)
            along = (weight * taesd.jvp(values, move, step=1e-7)).sum()
            assert colours.shape == (1, 3, 64, 64)
            torch.testing.assert_close((taesd.vjp(values, weight) * move).sum(), along, rtol=1e-4, atol=0)
    finally:
        path.unlink()
        host.folder_paths.filename_list_cache.clear()


def test_the_latents_of_a_videos_vae_have_no_taesd(host):
    """Newer hosts name a file for them, which is of another kind."""
    from families import scene as latents_of

    name = "Qwen-Image, -Edit"
    if not in_host(name):
        pytest.skip(f"this host has no {name}")
    (settings,) = host.call("RAI_GradPaintSettings", **defaults(host, "RAI_GradPaintSettings") | {"align_in": "TAESD"})
    positive, negative = prompts(name)
    shared = {"model": build(name), "latent_image": latents_of(name), "positive": positive, "negative": negative, "steps": 2, "cfg": 1.0}
    with pytest.raises(ValueError, match="There is no TAESD for this MODEL's latents: set 'align in' to 'colours'"):
        host.call("RAI_GradPaintSampler", **defaults(host, "RAI_GradPaintSampler") | shared | {"settings": settings})


def inpaint(host, adm, image, mask, **change):
    (words,) = host.call("RAI_ADMConditioning", class_label=0)
    options = {"seed": 5, "steps": 10, "cfg": 1.0, "sampler_name": "ddim", "scheduler": "normal", "denoise": 1.0}
    options |= {"size": 0, "context": 10.0, "preset": "plus"} | change
    return host.call("RAI_GradPaintInpaint", model=adm[0], vae=adm[1], image=image, mask=mask, positive=words, negative=words, **options)[0]


def test_gradpaint_inpaint_on_the_bundled_network(host, adm):
    """Pixels outside the mask are bit-exact at any size, and the hole is nearer the truth than with combining alone."""
    (image,) = host.call("RAI_DrawLandscape", size=64, batch_size=6, seed=100, time_of_day="any")
    (mask,) = host.call(
        "RAI_InpaintMaskShapes", width=64, height=64, batch_size=1, seed=3, shape="box", share=40.0, invert=False, image=image
    )
    rmse = {}
    for preset in ("plus", "combine"):
        out = inpaint(host, adm, image, mask, preset=preset, steps=20)
        known = (mask == 0)[..., None].expand_as(out)
        assert torch.equal(out[known], image[known])
        rmse[preset] = ((out - image) ** 2)[~known].mean().sqrt().item()
        if preset == "plus":  # picture 1 has seed 5 + 1, alone too
            alone = inpaint(host, adm, image[1:2], mask, preset=preset, steps=20, seed=6)
            torch.testing.assert_close(alone[0], out[1], rtol=0, atol=1e-3)
    print("hole RMSE", rmse)
    assert rmse["plus"] < 0.9 * rmse["combine"]


def test_gradpaint_inpaint_takes_any_picture(host, adm):
    for shape in ((1, 100, 70, 3), (2, 37, 150, 4), (1, 20, 20, 1)):
        image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        mask = torch.zeros(1, *shape[1:3])
        mask[:, 5:15, 6:14] = 1
        out = inpaint(host, adm, image, mask, steps=2, context=0.5)
        known = (mask == 0)[..., None].expand(*shape[:3], 3)
        before = image[..., :3].expand(*shape[:3], 3)
        assert out.shape[:3] == shape[:3] and torch.equal(out[..., :3][known], before[known])
        assert not torch.equal(out[..., :3][~known], before[~known])
    assert torch.equal(inpaint(host, adm, image, torch.zeros(1, 20, 20)), image.expand(1, 20, 20, 3))
    image[0, 6:10, 7:9] = float("nan")  # what the hole holds is ignored
    for size in (0, 20):
        assert torch.isfinite(inpaint(host, adm, image, mask, steps=2, size=size)).all()


def test_colours_are_matched_on_the_rim(host):
    match = host.module("nodes.host.through_vae").match_colours
    picture = torch.rand(1, 3, 32, 32) * 0.5 + 0.2
    hole = torch.zeros(1, 1, 32, 32)
    hole[..., 10:20, 10:20] = 1
    shift = torch.tensor([0.1, -0.05, 0.02]).view(1, 3, 1, 1)
    torch.testing.assert_close(match(picture + shift, picture, hole), picture)
    assert torch.equal(match(picture, torch.zeros_like(picture), torch.ones_like(hole)), picture)  # nothing is known


@pytest.mark.parametrize("preset", ["plus", "turbo"])
def test_a_picture_taken_out_of_a_batch_is_filled_as_in_it(host, scene, preset):
    latent = scene[2]
    alone = {"samples": latent["samples"][1:], "noise_mask": latent["noise_mask"], "batch_index": [1]}
    together = sample(host, scene, preset=preset)[1:]
    assert (sample(host, scene, preset=preset, latent=alone) - together).abs().max() < 1e-3 * together.std()


@pytest.mark.parametrize("kind", ["noise", "flow"])
def test_a_cache_between_steps_is_off_while_the_model_is_probed(host, kind):
    from gaussian import errors

    if "LazyCache" not in host.nodes.NODE_CLASS_MAPPINGS:
        pytest.skip("this host has no LazyCache")
    plain, cached = (
        errors(host, kind, "euler", 8, ["plus"], change)[0]
        for change in (lambda m: m, lambda m: host.call("LazyCache", model=m, **defaults(host, "LazyCache"))[0])
    )
    assert cached == pytest.approx(plain, rel=1e-6)


def test_a_model_with_random_choices_makes_the_same_in_both_calls_of_a_step(host):
    """As ToMe, which merges tokens that torch's own generator chooses."""
    from gaussian import errors

    def with_noise(model):
        apply = model.model.apply_model
        model.model.apply_model = lambda x, *a, **k: (drawn := apply(x, *a, **k)) + 0.02 * torch.randn(drawn.shape)
        return model

    plain, noisy = (errors(host, "noise", "euler", 8, ["plus"], change)[0] for change in (lambda model: model, with_noise))
    assert noisy < 1.03 * plain, (noisy, plain)


def test_the_guider_refuses_latents_of_another_vae_in_a_sentence(host, scene):
    import comfy.samplers

    model, (positive, negative), _ = scene
    wrong = torch.zeros(1, 3, 8, 8)
    guider = host.call(
        "RAI_GradPaintGuider",
        model=model,
        cfg=3.0,
        positive=positive,
        negative=negative,
        picture={"samples": wrong},
        mask=torch.ones(1, 64, 64),
        preset="plus",
    )[0]
    with pytest.raises(ValueError, match="These latents have 3 channels"):
        guider.sample(wrong, wrong, comfy.samplers.sampler_object("euler"), torch.tensor([10.0, 1.0, 0.0]), seed=1)


def test_latents_of_a_vae_with_another_time_axis_are_refused(host):
    """Flux.1 and Qwen-Image have as many channels, and the host would put a time axis to the latents of Flux' VAE."""
    from test_family_templates import TinyVAE

    flux, qwen = "Flux.1 dev", "Qwen-Image, -Edit"
    options = defaults(host, "RAI_GradPaintInpaint") | {"image": torch.rand(1, 64, 64, 3), "mask": torch.ones(1, 64, 64), "steps": 1}
    for name, other, sentence in ((flux, qwen, "have a time axis, but"), (qwen, flux, "have no time axis, but")):
        positive, negative = prompts(name)
        with pytest.raises(ValueError, match=f"{sentence} .* VAE that belongs to the MODEL"):
            host.call(
                "RAI_GradPaintInpaint",
                **options | {"model": build(name), "vae": TinyVAE(other), "positive": positive, "negative": negative},
            )


def test_levels_that_do_not_fall_are_not_guided(host):
    import comfy.samplers

    model, words = tiny_model(host, "SD15"), [[torch.zeros(1, 7, 64), {}]]
    picture = {"samples": torch.ones(1, 4, 8, 8)}
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:40, 16:40] = 1
    guider = host.call(
        "RAI_GradPaintGuider", model=model, cfg=1.0, positive=words, negative=words, picture=picture, mask=mask, preset="plus"
    )[0]
    for levels in ([10.0, 5.0, 5.0], [1.0, 0.0, 0.0]):
        out = guider.sample(
            torch.ones(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), comfy.samplers.sampler_object("euler"), torch.tensor(levels), seed=1
        )
        assert out.isfinite().all() or levels[1] == 0  # where the host's euler divides by 0 itself
