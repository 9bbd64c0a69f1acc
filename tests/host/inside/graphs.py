"""Every node in a small prompt or call, for tests that run them all under some condition: on a pretended GPU, in half precision."""

import numpy as np
import torch
from families import build, prompts, scene
from helpers import Blocks, defaults, prompt, tiny_model, train
from PIL import Image
from test_flow_training import Blocks as FlowBlocks

UNETS, TRANSFORMERS = ["SD15", "SDXL"], ["Flux.1 dev", "Qwen-Image, -Edit"]
LANDSCAPE = {"image": ("picture", 0), "mask": ("mask", 0), "seed": 1}
WORDS = {"positive": ("words", 0), "negative": ("words", 0)}
SHARED = {
    "picture": ("RAI_DrawLandscape", {"size": 64, "seed": 7}),
    "mask": ("RAI_InpaintMaskShapes", {"width": 64, "height": 64, "seed": 3}),
    "adm": ("RAI_LoadADMModel", {"model_name": "landscapes (bundled)"}),
    "rad": ("RAI_LoadRADAdapter", {"model": ("adm", 0), "adapter_name": "landscapes (bundled)"}),
    "sdm": ("RAI_LoadSDMModel", {"sdm_name": "landscapes (bundled)"}),
    "words": ("RAI_ADMConditioning", {}),
    "latent": ("VAEEncode", {"pixels": ("picture", 0), "vae": ("adm", 1)}),
    "hole": ("SetLatentNoiseMask", {"samples": ("latent", 0), "mask": ("mask", 0)}),
    "noise": ("RandomNoise", {"noise_seed": 4}),
    "sigmas": ("BasicScheduler", {"model": ("rad", 0), "scheduler": "normal", "steps": 2, "denoise": 1.0}),
}
DECODE = {"result": ("VAEDecode", {"samples": ("work", 0), "vae": ("adm", 1)})}
CUSTOM = {"noise": ("noise", 0), "sigmas": ("sigmas", 0), "latent_image": ("hole", 0)}
GRAPHS = {
    "photo": {"result": ("RAI_ExamplePhoto", {})},
    "perlin": {"work": ("RAI_PerlinMask", {"width": 40, "height": 30}), "result": ("MaskToImage", {"mask": ("work", 0)})},
    "animation": {
        "work": ("RAI_PerlinMaskAnimation", {"width": 40, "height": 30, "frames": 3}),
        "result": ("MaskToImage", {"mask": ("work", 0)}),
    },
    "prepare": {
        "work": ("RAI_PrepareHole", {"mask": ("mask", 0), "image": ("picture", 0), "model": ("adm", 0), "grow": 2, "feather": 3}),
        "result": ("MaskToImage", {"mask": ("work", 0)}),
    },
    "extend": {"result": ("RAI_ExtendPicture", {"image": ("picture", 0), "right": 16, "preset": "fast"})},
    "exemplar": {
        "work": ("RAI_FillFromPicture", LANDSCAPE | {"preset": "fast"}),
        "matched": ("RAI_MatchFill", {"filled": ("work", 0), "original": ("picture", 0), "mask": ("mask", 0)}),
        "result": ("RAI_UncertaintyHeatMap", {"image": ("matched", 0), "uncertainty": ("work", 1)}),
    },
    "rad": {
        "result": ("RAI_RADInpaint", LANDSCAPE | {"model": ("rad", 0), "steps": 2, "order": ("mask", 0)}),
        "seen": ("RAI_InpaintCompare", {"original": ("picture", 0), "mask": ("mask", 0), "result_1": ("result", 0)}),
    },
    "rad, redrawn by another adapter": {
        "night": ("RAI_LoadRADAdapter", {"model": ("adm", 0), "adapter_name": "night (bundled)"}),
        "large": ("RAI_DrawLandscape", {"size": 96, "seed": 7}),
        "result": (
            "RAI_RADInpaint",
            LANDSCAPE | {"image": ("large", 0), "model": ("rad", 0), "detail_model": ("night", 0), "steps": 2},
        ),
    },
    "sdm": {
        "work": ("RAI_SDMInpaint", LANDSCAPE | {"sdm": ("sdm", 0), "iterations": 2}),
        "result": (
            "RAI_RefineWithRAD",
            LANDSCAPE | {"model": ("rad", 0), "image": ("work", 0), "uncertainty": ("work", 1), "steps": 2},
        ),
        "seen": ("RAI_BeforeAfter", {"before": ("picture", 0), "after": ("result", 0)}),
    },
    "rad sampler": {"work": ("RAI_RADSampler", WORDS | {"model": ("rad", 0), "latent_image": ("hole", 0), "steps": 2})} | DECODE,
    "rad sampler select": {
        "sampler": ("RAI_RADSamplerSelect", {}),
        "guider": ("CFGGuider", WORDS | {"model": ("rad", 0), "cfg": 1.0}),
        "work": ("SamplerCustomAdvanced", CUSTOM | {"guider": ("guider", 0), "sampler": ("sampler", 0)}),
    }
    | DECODE,
    "gradpaint": {"result": ("RAI_GradPaintInpaint", LANDSCAPE | WORDS | {"model": ("adm", 0), "vae": ("adm", 1), "steps": 2, "cfg": 1.0})},
    "gradpaint sampler": {
        "settings": ("RAI_GradPaintSettings", {}),
        "work": (
            "RAI_GradPaintSampler",
            WORDS | {"model": ("adm", 0), "latent_image": ("hole", 0), "steps": 2, "cfg": 1.0, "settings": ("settings", 0)},
        ),
    }
    | DECODE,
    "gradpaint guider": {
        "sampler": ("KSamplerSelect", {"sampler_name": "euler"}),
        "guider": ("RAI_GradPaintGuider", WORDS | {"model": ("adm", 0), "picture": ("hole", 0), "mask": ("mask", 0), "cfg": 1.0}),
        "work": ("SamplerCustomAdvanced", CUSTOM | {"guider": ("guider", 0), "sampler": ("sampler", 0)}),
    }
    | DECODE,
}


def pictures(host, name: str, precision: str = "float32") -> list[np.ndarray]:
    """Run one of `GRAPHS`, with networks of a precision; returns the pictures it shows, 0 to 255."""
    graph = SHARED | GRAPHS[name] | {"show": ("PreviewImage", {"images": ("result", 0)})}
    link = lambda value: list(value) if isinstance(value, tuple) else value
    api = {
        key: {"class_type": kind, "inputs": defaults(host, kind) | {name: link(value) for name, value in values.items()}}
        for key, (kind, values) in graph.items()
    }
    for loader in ("adm", "sdm"):
        api[loader]["inputs"]["precision"] = precision
    ok, messages = host.run(api)
    assert ok, messages[-1][1]
    shown = [data["output"] for event, data in host.server.messages if event == "executed" and data["output"]]
    files = [file["filename"] for output in shown for file in output.get("images", output.get("mask_previews", []))]
    assert files
    return [np.asarray(Image.open(host.base / "temp" / file), np.float32) for file in files]


def on_device(model):
    """A MODEL as the host's loaders give it."""
    import comfy.model_management as management

    model.load_device, model.offload_device = management.get_torch_device(), management.unet_offload_device()
    return model


def latents_of(count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (count, 4, 8, 8) on the CPU, where VAE Encode leaves them, and a mask (count, 1, 8, 8)."""
    mask = torch.zeros(count, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(1)), mask


def latent_model(host, name: str, dtype: torch.dtype = torch.float32):
    """MODEL of a precision, CONDITIONING, and LATENT with a noise mask on the CPU, as VAE Encode leaves it."""
    if name in UNETS:
        mask = torch.zeros(1, 1, 8, 8)
        mask[..., 2:6, 2:6] = 1
        hole = {"samples": torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)), "noise_mask": mask}
        model = tiny_model(host, name)
        model.model.diffusion_model.to(dtype).dtype = dtype
        return on_device(model), prompt(name), hole
    return on_device(build(name, dtype)), prompts(name)[0], scene(name)


def latents(host, name: str, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """The noise level per pixel or token in the pack's own samplers, with guidance, and in the host's sampler."""
    model, words, hole = latent_model(host, name, dtype)
    (model,) = host.call("RAI_RADSpatialNoiseEmbedding", model=model)
    shared = {"model": model, "latent_image": hole, "positive": words, "negative": words, "steps": 2, "seed": 3, "cfg": 1.0}
    out = [host.call(node, **defaults(host, node) | shared)[0] for node in ("RAI_RADSampler", "RAI_GradPaintSampler")]
    out.append(host.nodes.common_ksampler(model, 3, 2, 1.0, "euler", "normal", words, words, hole)[0])
    return [latent["samples"] for latent in out]


def trained(host, name: str, precision: str = "float32") -> tuple:
    """What *Train RAD Adapter* returns after two steps. It leaves no file."""
    pictures = torch.rand(3, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    adapters = host.base / "models" / "rad_adapters"
    model, words, _ = latent_model(host, name)
    settings = {"positive": words, "size": 64, "vae": Blocks() if name in UNETS else FlowBlocks(name)}
    settings["precision"] = precision
    try:
        out = train(host, model, images=pictures, adapter_name="there", learning_rate=1e-2, **settings)
        assert list(adapters.rglob("there.safetensors"))
        return out
    finally:
        for path in adapters.rglob("*"):
            if path.is_file():
                path.unlink()
