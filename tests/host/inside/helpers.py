"""Small models and node calls that several test files share."""

import torch
from torch.utils._pytree import tree_map

INPAINT_NODES = ("RAI_RADInpaint", "RAI_GradPaintInpaint", "RAI_SDMInpaint", "RAI_RefineWithRAD", "RAI_FillFromPicture")


def defaults(host, node):
    """The defaults of a node's widgets, as the page sets them."""
    inputs = host.info(node)["input"]
    specs = [spec for group in ("required", "optional") for spec in inputs.get(group, {}).items()]
    return {name: spec[1]["default"] for name, spec in specs if len(spec) > 1 and "default" in spec[1]}


def devices():
    """Where the host loads a MODEL, and where it leaves it."""
    import comfy.model_management as management

    return management.get_torch_device(), management.unet_offload_device()


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
    return comfy.model_patcher.ModelPatcher(model, *devices())


def inputs(kind: str, batch: int, size: tuple[int, int]):
    """Latents and conditioning of random numbers."""
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
    inputs = {"x": x, "t": torch.full((x.shape[0],), sigma)} | extra | ({} if mask is None else {"denoise_mask": mask})
    with torch.inference_mode():
        there = tree_map(lambda value: value.to(patcher.load_device) if torch.is_tensor(value) else value, inputs)
        return patcher.model.apply_model(there.pop("x"), there.pop("t"), transformer_options=options, **there).to(x.device)


def flow_model():
    """A small diffusion transformer of the SD3 kind: flow matching, 16 channels."""
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.SD3(
        {
            "in_channels": 16,
            "patch_size": 2,
            "depth": 4,
            "input_size": None,
            "adm_in_channels": 2048,
            "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 64, "out_features": 256}},
            "num_patches": 1024,
            "pos_embed_max_size": 32,
            "pos_embed_scaling_factor": None,
            "dtype": torch.float32,
        }
    )
    torch.manual_seed(0)
    model = comfy.model_base.SD3(config)
    for p in (*model.diffusion_model.parameters(), *model.diffusion_model.buffers()):
        torch.nn.init.normal_(p, std=0.05)
    model.diffusion_model.requires_grad_(False).eval()
    return comfy.model_patcher.ModelPatcher(model, *devices())


TRAINING = {
    "adapter_name": "test",
    "steps": 2,
    "batch_size": 2,
    "rank": 4,
    "learning_rate": 1e-3,
    "size": 0,
    "masks": "perlin",
    "flip": True,
    "precision": "auto",
    "gradient_checkpointing": False,
    "save_every": 1000,
    "seed": 0,
    "resume": True,
}


def train(host, model, **change):
    """The outputs of *Train RAD Adapter*."""
    return host.call("RAI_TrainRADAdapter", model=model, **TRAINING | change)


class Blocks:
    """A VAE without weights: 4 channels of 8x8 blocks' colours, for tests that need latents alone."""

    def encode(self, image):
        small = torch.nn.functional.avg_pool2d(image.movedim(-1, 1), 8) * 2 - 1
        return torch.cat([small, small.mean(1, keepdim=True)], 1)

    def decode(self, latents):
        return torch.nn.functional.interpolate(latents[:, :3] / 2 + 0.5, scale_factor=8).movedim(1, -1)


def prompt(kind):
    """A CONDITIONING of random numbers."""
    torch.manual_seed(2)
    extra = {"pooled_output": torch.randn(1, 1280)} if kind == "SDXL" else {}
    return [[torch.randn(1, 7, 64), extra]]


def ksample_latents(host, model, kind, latents, mask, seed=3, steps=6):
    """The host's KSampler (euler) on latents with a noise mask."""
    latent = {"samples": latents, "noise_mask": mask}
    return host.nodes.common_ksampler(model, seed, steps, 1.0, "euler", "normal", prompt(kind), prompt(kind), latent)[0]["samples"]
