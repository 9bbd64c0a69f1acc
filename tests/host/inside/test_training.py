"""Train RAD Adapter in the host: on the bundled pixel network, and on latent models."""

import gc
import warnings
import weakref

import numpy as np
import pytest
import torch
from helpers import Blocks, apply, inputs, ksample_latents, prompt, tiny_model, train
from PIL import Image


@pytest.fixture(scope="module")
def network(adm):
    """MODEL."""
    return adm[0]


@pytest.fixture(scope="module")
def pictures(host):
    """IMAGE (4, 64, 64, 3), nights."""
    return host.call("RAI_DrawLandscape", size=64, batch_size=4, seed=7, time_of_day="night")[0]


@pytest.fixture()
def adapters(host):
    """The adapters' folder, empty again after the test."""
    folder = host.base / "models" / "rad_adapters"
    yield folder
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


def weights(model):
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def test_a_trained_adapter_is_found_by_the_loader_and_does_what_the_nodes_model_does(host, network, pictures, adapters):
    before, seen = weights(network), []
    import comfy.utils

    hook = comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(lambda value, total, preview, **rest: seen.append((value, total, preview[1].size)))
    try:
        model, curve, samples = train(host, network, images=pictures, steps=3)
    finally:
        comfy.utils.set_progress_bar_global_hook(hook)
    assert [entry[:2] for entry in seen if entry[1] == 3] == [(1, 3), (2, 3), (3, 3)], "a preview after each step"
    assert curve.shape == (1, 400, 640, 3) and samples.ndim == 4 and samples.std() > 0.1
    assert "test.safetensors" in host.info("RAI_LoadRADAdapter")["input"]["required"]["adapter_name"][1]["options"]
    loaded = host.call("RAI_LoadRADAdapter", model=network, adapter_name="test.safetensors", strength=1.0)[0]
    image, mask = pictures[:1], torch.zeros(1, 64, 64)
    mask[:, 20:40, 20:40] = 1
    fill = lambda net: host.call(
        "RAI_RADInpaint", model=net, image=image, mask=mask, seed=1, steps=3, sampler="ddim", view="whole picture", context=1.0, eta=0.0
    )[0]
    assert torch.equal(fill(model), fill(loaded))
    core = host.module("rad_core")
    about = core.read_adapter(adapters / "test.safetensors").metadata
    assert about.steps == 3 and about.data == "4 pictures"
    assert about.base == core.adapter_files.fingerprint(dict(core.load_model("landscapes").named_parameters()))
    import comfy.model_management

    comfy.model_management.unload_all_models()  # takes the adapter off again
    after = weights(network)
    assert all(torch.equal(before[name], after[name]) for name in before), "the host's own network is only read"


def test_the_node_trains_what_the_command_line_trains(host, network, adapters, tmp_path):
    """From the same folder: the same weights."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(3):
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    train(host, network, folder=str(folder))
    command = host.module("rad_core.__main__")
    out = tmp_path / "a.safetensors"
    arguments = [
        "--base",
        "landscapes",
        "--data",
        str(folder),
        "--rank",
        "4",
        "--stages",
        "64:2:2",
        "--learning-rate",
        "1e-3",
        "--device",
        "cpu",
    ]
    assert command.main(["train", "rad", *arguments, "--device", "cpu", "-o", str(out)]) == 0
    from safetensors.torch import load_file

    node, shell = load_file(adapters / "test.safetensors"), load_file(out)
    assert node.keys() == shell.keys()
    for name in node:
        torch.testing.assert_close(node[name], shell[name], rtol=1e-4, atol=1e-6)


def test_cancel_keeps_the_checkpoint_and_the_same_settings_go_on(host, network, pictures, adapters, monkeypatch):
    import comfy.model_management
    import comfy.utils

    def cancel(value, total, preview, **rest):
        if value == 2 and total == 4:
            comfy.model_management.interrupt_current_processing()

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", cancel)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(host, network, images=pictures, steps=4, adapter_name="stopped")
    monkeypatch.undo()
    read = host.module("rad_core").read_adapter
    within = comfy.model_management.get_torch_device().type == "cpu"  # the third step, else at its end
    assert read(adapters / "stopped.safetensors").metadata.steps == (2 if within else 3)
    train(host, network, images=pictures, steps=4, adapter_name="stopped")
    train(host, network, images=pictures, steps=4, adapter_name="whole")
    stopped, whole = (read(adapters / f"{name}.safetensors") for name in ("stopped", "whole"))
    assert all(torch.equal(stopped.time[name], whole.time[name]) for name in whole.time)
    others = {"images": 1 - pictures}, "run with pictures of fingerprint"
    for change, sentence in (
        ({"rank": 2}, r"run with rank 4 \(now 2\)"),
        ({"steps": 3}, "has taken 4 steps: plan at least as many"),
        others,
    ):
        with pytest.raises(ValueError, match=sentence):
            train(host, network, **{"images": pictures, "steps": 5, "adapter_name": "whole"} | change)
    train(host, network, images=pictures, steps=5, adapter_name="stopped")  # one more step on a run that had ended
    assert read(adapters / "stopped.safetensors").metadata.steps == 5
    before = (adapters / "whole.safetensors").read_bytes()
    with pytest.raises(ValueError, match="already an adapter named 'whole'"):
        train(host, network, images=pictures, steps=5, adapter_name="whole", resume=False)
    assert (adapters / "whole.safetensors").read_bytes() == before
    train(host, network, images=pictures, steps=5, adapter_name="anew", resume=False)
    assert read(adapters / "anew.safetensors").metadata.steps == 5


def test_a_changed_folder_runs_the_node_again(host, tmp_path):
    fingerprint = host.nodes.NODE_CLASS_MAPPINGS["RAI_TrainRADAdapter"].fingerprint_inputs
    (tmp_path / "a.txt").write_text("a field")
    before = fingerprint(folder=str(tmp_path), steps=5)
    assert fingerprint(folder=str(tmp_path), steps=5) == before
    (tmp_path / "b.txt").write_text("a lake")
    assert fingerprint(folder=str(tmp_path), steps=5) != before
    assert fingerprint(folder="") == fingerprint() and fingerprint(folder="nowhere")


def test_what_is_missing_is_told_in_a_sentence(host, network, pictures, adapters, tmp_path):
    for change, sentence in (
        ({}, "one of the two"),
        ({"images": pictures, "folder": "x"}, "one of the two"),
        ({"folder": "nowhere"}, "cannot be read"),
        ({"folder": str(tmp_path)}, "no pictures"),
        ({"images": pictures, "adapter_name": "../x"}, "cannot be a file's name"),
        ({"images": pictures, "learning_rate": 1e30}, "loss became"),
    ):
        with pytest.raises((ValueError, FloatingPointError), match=sentence):
            train(host, network, **{"steps": 5} | change)
    latent = tiny_model(host, "SD15")
    with pytest.raises(ValueError, match="connect its VAE"):
        train(host, latent, images=pictures)
    with pytest.raises(ValueError, match="connect 'positive'"):
        train(host, latent, images=pictures, vae=Blocks())


@pytest.mark.parametrize("kind", ["SD15", "SDXL"])
def test_a_latent_adapter_in_our_loader_and_in_the_hosts_lora_loader(host, kind, adapters, pictures):
    """Ours: LoRA, time layers and the noise level per pixel. The host's: bit-identical weights."""
    base, vae = tiny_model(host, kind), Blocks()
    big = torch.nn.functional.interpolate(pictures.movedim(-1, 1), (128, 128)).movedim(1, -1)
    before = weights(base)
    words = [[context, about | {"width": 96, "height": 80}] for context, about in prompt(kind)]  # as CLIPTextEncodeSDXL says it
    settings = {"images": big, "vae": vae, "positive": words, "size": 128, "adapter_name": "sea", "learning_rate": 1e-2}
    model, _, samples = train(host, base, **settings)
    after = weights(base)
    assert all(torch.equal(before[name], after[name]) for name in before) and samples.shape[3] == 3
    name = next(n for n in host.info("RAI_LoadRADAdapter")["input"]["required"]["adapter_name"][1]["options"] if "sea" in n)
    ours = host.call("RAI_LoadRADAdapter", model=base, adapter_name=name, strength=1.0)[0]
    assert "sea.safetensors" in host.folder_paths.get_filename_list("loras")
    (theirs,) = host.nodes.LoraLoaderModelOnly().load_lora_model_only(base, "sea.safetensors", 1.0)
    import comfy.lora

    for key, (first, *patches) in ours.get_key_patches().items():
        others = theirs.get_key_patches()[key][1:]
        assert len(patches) == len(others)
        merge = lambda some, first=first, key=key: comfy.lora.calculate_weight(some, first[0].clone().float(), key)
        assert torch.equal(merge(patches), merge(others))
    trained = sum(len(parts) > 1 for parts in ours.get_key_patches().values())
    assert trained > 30
    latents = vae.encode(big)
    mask = torch.zeros(4, 1, 16, 16)
    mask[:, :, 4:12, 4:12] = 1
    out = ksample_latents(host, ours, kind, latents, mask)
    known = (mask == 0).expand_as(out)
    assert (out - latents)[known].abs().max() <= 1e-6, "known latents stay, but for the rounding of the VAE's scale"
    assert not torch.equal(out, ksample_latents(host, base, kind, latents, mask))
    assert torch.equal(out, ksample_latents(host, model, kind, latents, mask))
    off = host.call("RAI_LoadRADAdapter", model=base, adapter_name=name, strength=0.0)[0]
    assert torch.equal(ksample_latents(host, off, kind, latents, mask), ksample_latents(host, base, kind, latents, mask))
    from safetensors.torch import load_file, save_file

    tensors = load_file(adapters / "latent" / "sea.safetensors")
    save_file({key.replace("out.2.", "out.9."): value for key, value in tensors.items()}, adapters / "latent" / "wrong.safetensors")
    with pytest.raises(ValueError, match=r"made for another network: out.9 does not fit"):
        host.call("RAI_LoadRADAdapter", model=base, adapter_name=name.replace("sea", "wrong"), strength=1.0)
    with pytest.raises(ValueError, match="not a RAD adapter for a latent model"):
        host.call("RAI_LoadRADAdapter", model=base, adapter_name="landscapes (bundled)", strength=1.0)


@pytest.mark.parametrize("name", ["SD15", "Flux.1 dev"])
def test_the_trained_copy_is_gone_when_the_node_is_done(host, name, monkeypatch):
    from graphs import trained

    run, copies = host.module("nodes.host.train_adapter"), []

    def spy(*args, copy_of=run.copy_of):
        net, base = copy_of(*args)
        copies.append(weakref.ref(net))
        return net, base

    monkeypatch.setattr(run, "copy_of", spy)
    gc.disable()
    try:
        trained(host, name)
        assert [copy() for copy in copies] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", ["SD15", "SDXL"])
def test_pictures_of_two_shapes_train_in_buckets_and_some_are_held_back(host, kind, adapters, monkeypatch):
    """24 wide and 12 tall ones: one shape in each step, SDXL is told it, and two of the wide are kept for the samples alone."""
    latent, tensors = host.module("nodes.host.latent_training"), host.module("rad_core.training.store")
    batches, load_batch = [], latent.LatentPictures.load_batch
    monkeypatch.setattr(
        latent.LatentPictures, "load_batch", lambda self, part: batches.append((self, load_batch(self, part))) or batches[-1][1]
    )
    monkeypatch.setattr(
        tensors.TensorStore, "__init__", lambda self, limit, folder, init=tensors.TensorStore.__init__: init(self, 0, folder)
    )
    grey = lambda k, height, width: torch.full((3, height, width), (k + 1) / 40)
    pictures = [grey(k, 90, 160) for k in range(24)] + [grey(k, 160, 90) for k in range(24, 36)]
    run = host.module("nodes.host.train_adapter")
    settings = run.TrainingSettings(12, 3, 4, 1e-3, 64, "box", True, "float32", False, 100, 0, buckets=True)
    base = tiny_model(host, kind)
    run.train_adapter(base, pictures, settings, adapters / "latent" / "shapes.safetensors", False, Blocks(), [prompt(kind)])
    assert {tuple(x0.shape[2:]) for _, (x0, _) in batches} == {(8, 8)}, "at 64 pixels every bucket is the square"
    for path in adapters.rglob("shapes*"):
        path.unlink()
    batches.clear()
    settings = run.TrainingSettings(12, 3, 4, 1e-3, 96, "box", True, "float32", False, 100, 0, buckets=True)
    run.train_adapter(base, pictures, settings, adapters / "latent" / "shapes.safetensors", False, Blocks(), [prompt(kind)])
    shapes = {tuple(x0.shape[2:]) for _, (x0, _) in batches}
    assert shapes == {(8, 16), (16, 8)} and all(len(x0) == 3 for _, (x0, _) in batches)
    greys = {round(float(base.model.process_latent_out(x)[0, 0].mean() + 1) * 20) - 1 for x in batches[0][0].latents}
    assert greys == set(range(36)) - {6, 18}
    if kind == "SDXL":
        told = [y[:, 1280:].view(len(y), 6, -1) for _, (_, (_, y)) in batches]
        assert all(bool((sizes[:, 0] == sizes[:, 1]).all()) is False for sizes in told), "height and width differ"
    assert not list((host.base / "temp").glob("tensors*"))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["SD15", "SDXL"])
def test_half_precision_ends_with_an_adapter_and_samples(host, kind, precision, adapters, pictures):
    """As on a GPU, where auto is bfloat16."""
    settings = {"images": pictures, "vae": Blocks(), "positive": prompt(kind), "size": 64, "precision": precision}
    for name, change in ((precision, {}), ("exact", {"precision": "float32"})):
        _, _, samples = train(host, tiny_model(host, kind), **settings | {"adapter_name": f"{kind} {name}"} | change)
        assert torch.isfinite(samples).all() and samples.std() > 0.1
    from safetensors.torch import load_file

    half, exact = (load_file(adapters / "latent" / f"{kind} {name}.safetensors") for name in (precision, "exact"))
    assert half.keys() == exact.keys() and all(torch.isfinite(value).all() for value in half.values())
    moved = [name for name in half if ".lora_B." in name and half[name].any()]
    assert len(moved) > 10, "a LoRA starts with B = 0: it was trained"


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_what_is_frozen_has_the_precision_that_was_chosen(host, precision):
    with torch.inference_mode(False):
        net, _ = host.module("nodes.host.trainable").copy_of(tiny_model(host, "SD15"), precision)
    assert net.unet.input_blocks[0][0].weight.dtype == getattr(torch, precision)
    assert net.unet.out[0].weight.dtype == torch.float32, "norms stay exact"


def test_the_training_network_is_the_hosts(host):
    """The copy that is trained predicts what the host's patched MODEL predicts, per pixel; LoRA on the MODEL are in the copy."""
    training, embedding = host.module("nodes.host.train_adapter"), host.module("nodes.host.spatial_embedding")
    for kind, v in (("SD15", False), ("SDXL", True)):
        base = tiny_model(host, kind, v)
        patched = base.clone()
        patched.add_patches(
            {"diffusion_model.out.2.weight": ("diff", (torch.full_like(base.model.diffusion_model.out[2].weight, 0.01),))}, 1.0
        )
        x0, extra = inputs(kind, 2, (16, 16))
        with torch.inference_mode(False):
            net, plain = training.copy_of(patched, "float32")
        assert torch.equal(plain["out.2.weight"], base.model.diffusion_model.out[2].weight)
        schedule, prediction = training.schedule_of(base), training.prediction_of(base)
        assert prediction == ("v" if v else "eps")
        mask = torch.zeros(2, 1, 16, 16)
        mask[:, :, 3:9, 2:12] = 1
        sigma = float(base.model.model_sampling.sigmas[400])
        expected = apply(embedding.with_spatial_embedding(patched, "a node"), x0, sigma, extra, mask)
        levels = schedule.phase1.level_of_sigma(sigma * mask)
        cond = (extra["c_crossattn"], extra.get("y"))
        with torch.no_grad():
            scale = (1 + (sigma * mask).square()).sqrt()
            out = net(x0 / scale, levels, *cond)
            x_hat = (x0 / scale - sigma * mask * out) / scale if v else x0 - sigma * mask * out
        assert (x_hat - expected).abs().max() <= 1e-3 * (expected - x0).abs().max()


def test_checkpointing_in_a_latent_network_gives_the_same_gradient(host):
    training = host.module("nodes.host.train_adapter")
    base, found = tiny_model(host, "SD15"), []
    x0, extra = inputs("SD15", 2, (16, 16))
    with torch.inference_mode(False), torch.enable_grad():
        x0, context = x0.clone(), extra["c_crossattn"].clone()
        t = torch.zeros(2, 1, 16, 16)
        t[:, :, :8] = 300.0
        for keep in (False, True):
            net = training.copy_of(base, "float32")[0]
            net.requires_grad_(True).checkpointing = keep
            net(x0, t, context).square().mean().backward()
            found.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    assert found[0].abs().max() > 0
    torch.testing.assert_close(found[0], found[1])


def test_captions_are_read_by_the_hosts_clip(host, adapters, tmp_path):
    read = []

    class Clip:
        def tokenize(self, text):
            return text

        def encode_from_tokens_scheduled(self, text):
            read.append(text)
            return prompt("SD15")

    rng = np.random.default_rng(0)
    for k in range(2):
        Image.fromarray(rng.integers(0, 256, (64, 80, 3), dtype=np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / "1.txt").write_text("a red boat")
    train(host, tiny_model(host, "SD15"), folder=str(tmp_path), vae=Blocks(), clip=Clip(), size=64, steps=1)
    assert read == ["", "a red boat"]


def test_a_number_of_prompts_that_does_not_fit_the_pictures_is_noted(host):
    training, words = host.module("nodes.host.latent_training"), prompt("SD15")
    with pytest.warns(host.module("rad_core.notes").Note, match="'positive' has 2 prompts for 3 pictures"):
        assert len(training.prompts_of(words * 2, None, [""] * 3)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(training.prompts_of(words * count, None, [""] * 3)) for count in (1, 3)] == [1, 3]


def test_a_class_conditional_network_says_where_the_class_is_set(host, pictures, adapters, tmp_path):
    core, run = host.module("rad_core"), host.module("nodes.host.train_adapter")
    net = core.UNet(core.UNetConfig(32, (32, 32), 1, (), 32, image_size=16, num_classes=3)).eval().requires_grad_(False)
    core.save_model(net, tmp_path / "classes.safetensors")
    model = host.module("nodes.host.adm").load_adm(str(tmp_path / "classes.safetensors"))
    sentence = "set a class from 0 to 2 in 'ADM Conditioning', and connect it to 'positive'"
    beyond, inside = (host.call("RAI_ADMConditioning", class_label=label)[0] for label in (3, 2))
    for positive in (None, prompt("SD15"), beyond):
        with pytest.raises(ValueError, match=sentence):
            train(host, model, images=pictures, positive=positive)
    assert run._class_label(3, [inside]) == 2 and run._class_label(None, [inside]) is None


@pytest.mark.parametrize("stage", ["reading the pictures", "reading the captions", "encoding the pictures"])
def test_what_is_prepared_shows_its_progress_and_heeds_the_cancel_button(host, stage, tmp_path, monkeypatch):
    """The third of four calls cancels; the host's own networks would hear it on a CPU alone."""
    import comfy.model_management
    import comfy.utils

    seen, worked, data = [], [], host.module("rad_core.training.data")
    bar = type("Bar", (), {"update_absolute": lambda _, value, total, preview: seen.append((value, total))})
    monkeypatch.setattr(comfy.utils, "ProgressBar", lambda total: bar())

    def work(name, result):
        worked.append(name)
        if worked.count(stage) == 3:
            comfy.model_management.interrupt_current_processing()
        return result

    class Clip:
        tokenize = lambda self, text: text
        encode_from_tokens_scheduled = lambda self, text: work("reading the captions", prompt("SD15"))

    class VAE(Blocks):
        encode = lambda self, image: work("encoding the pictures", super().encode(image))

    monkeypatch.setattr(data, "check_readable", lambda path: work("reading the pictures", None))
    for k in range(4):
        Image.new("RGB", (64, 64), (40 * k, 0, 0)).save(tmp_path / f"{k}.png")
    settings = {"vae": VAE(), "clip": Clip(), "size": 64, "steps": 1, "flip": False}
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(host, tiny_model(host, "SD15"), folder=str(tmp_path), **settings)
    assert worked.count(stage) == 3 and worked[-1] == stage
    assert seen[-3:] == [(0, 4), (1, 4), (2, 4)]


@pytest.mark.parametrize("kind", ["ADM", "SD15"])
def test_what_is_trained_on_a_patched_model_adds_to_its_patches(host, network, pictures, adapters, kind):
    """After a step that changes nothing the node's MODEL has the time layers of the MODEL that came in, not its patches twice."""
    weights_of = host.module("nodes.host.weights").weights_of
    if kind == "ADM":
        patched = host.call("RAI_LoadRADAdapter", model=network, adapter_name="night (bundled)", strength=1.0)[0]
        extra = {}
    else:
        patched = tiny_model(host, kind).clone()
        name = next(n for n, _ in patched.model.diffusion_model.named_parameters() if n.endswith("emb_layers.1.weight"))
        shape = dict(patched.model.diffusion_model.named_parameters())[name].shape
        patched.add_patches({f"diffusion_model.{name}": ("diff", (torch.full(shape, 0.3),))})
        extra = {"vae": Blocks(), "positive": prompt(kind)}
    model = train(host, patched, images=pictures, steps=1, learning_rate=1e-7, **extra)[0]
    before, after = weights_of(patched), weights_of(model)
    time = [n for n in before if "emb_layers" in n or "time_emb" in n]
    assert any(before[n].patches for n in time)
    for n in time:
        torch.testing.assert_close(after[n].merged(), before[n].merged(), rtol=0, atol=1e-4)


def test_a_run_resumes_on_the_same_patches_and_captions_alone(host, network, pictures, adapters):
    train(host, network, images=pictures, resume=True)
    other = host.call("RAI_LoadRADAdapter", model=network, adapter_name="night (bundled)", strength=0.5)[0]
    with pytest.raises(ValueError, match=r"belongs to a run with patches of fingerprint [0-9a-f]{8} "):
        train(host, other, images=pictures, resume=True)
    run = host.module("nodes.host.train_adapter")
    settings = run.TrainingSettings(1, 1, 4, 1e-3, 64, "box", True, "float32", False, 100, 0)
    path = adapters / "latent" / "words.safetensors"
    options = (tiny_model(host, "SD15"), [torch.rand(3, 64, 64)], settings, path, True, Blocks(), [prompt("SD15")])
    run.train_adapter(*options, ["a night"])
    with pytest.raises(ValueError, match="belongs to a run with captions of fingerprint"):
        run.train_adapter(*options, ["a day"])


def test_an_adapter_that_was_removed_is_trained_anew(host, network, pictures, adapters):
    times = host.module("nodes.host.folders").times_removed
    before = times("test")
    train(host, network, images=pictures)
    assert times("test") == before == times(None) + before
    (adapters / "test.safetensors").unlink()
    assert times("test") == times("test.safetensors") == before + 1
    (adapters / "test.state").unlink()
    train(host, network, images=pictures)
    assert times("test") == before + 1
    fingerprint = host.nodes.NODE_CLASS_MAPPINGS["RAI_TrainRADAdapter"].fingerprint_inputs
    assert fingerprint(adapter_name="test") != fingerprint(adapter_name="another")


def test_a_folder_that_cannot_be_written_to_is_passed_over(host, tmp_path, monkeypatch):
    folders = host.module("nodes.host.folders")
    monkeypatch.setattr(host.folder_paths, "get_folder_paths", lambda kind: ["/proc/adapters", str(tmp_path)])
    assert folders.adapter_file("mine", latent=True) == tmp_path / "latent" / "mine.safetensors"
    monkeypatch.setattr(host.folder_paths, "get_folder_paths", lambda kind: ["/proc/adapters"])
    with pytest.raises(ValueError, match=r"No adapter can be written to /proc/adapters"):
        folders.adapter_file("mine", latent=False)
    for name in ("con", "NUL.v2", "com1"):
        with pytest.raises(ValueError, match="cannot be a file's name"):
            folders.adapter_file(name, latent=False)


def test_a_folder_in_quotes_is_found(host):
    assert host.module("nodes.host.folders").picture_folder(' "/tmp/my pictures" ') == "/tmp/my pictures"


def test_a_loaders_choice_that_another_node_makes_has_no_fingerprint(host):
    assert host.nodes.NODE_CLASS_MAPPINGS["RAI_LoadRADAdapter"].fingerprint_inputs(adapter_name=None) == ""


def test_a_latent_adapter_with_nan_is_refused(host, adapters):
    from safetensors.torch import load_file, save_file

    train(host, tiny_model(host, "SD15"), images=torch.rand(2, 64, 64, 3), vae=Blocks(), positive=prompt("SD15"))
    path = adapters / "latent" / "test.safetensors"
    tensors = load_file(path)
    tensors[next(iter(tensors))].fill_(torch.nan)
    save_file(tensors, path)
    with pytest.raises(ValueError, match="NaN or infinite"):
        host.call("RAI_LoadRADAdapter", model=tiny_model(host, "SD15"), adapter_name="latent/test.safetensors", strength=1.0)
