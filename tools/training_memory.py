"""Memory of *Train RAD Adapter* at true size: computed layer by layer for many models, or measured for one on this machine.

Run with the host's interpreter: python tools/training_memory.py [rank] [side of the pictures in pixels]
                                 python tools/training_memory.py measure SD15|SDXL [side]
"""

import resource
import sys
import threading
import time

import torch
from make_workflows import Host
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

GIB = 2**30
FLUX = {"in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096, "hidden_size": 3072, "mlp_ratio": 4.0}
FLUX |= {"num_heads": 24, "depth": 19, "depth_single_blocks": 38, "axes_dim": [16, 56, 56], "theta": 10000, "patch_size": 2}
FLUX |= {"qkv_bias": True, "guidance_embed": True, "txt_ids_dims": []}
FLUX2 = FLUX | {"in_channels": 128, "out_channels": 128, "vec_in_dim": None, "axes_dim": [32] * 4, "patch_size": 1, "qkv_bias": False}
FLUX2 |= {"ops_bias": False, "global_modulation": True, "mlp_silu_act": True, "mlp_ratio": 3.0, "theta": 2000, "txt_ids_dims": [3]}
KLEIN4 = FLUX2 | {"context_in_dim": 7680, "depth": 5, "depth_single_blocks": 20, "guidance_embed": False}
KLEIN9 = FLUX2 | {
    "context_in_dim": 12288,
    "hidden_size": 4096,
    "num_heads": 32,
    "depth": 8,
    "depth_single_blocks": 24,
    "guidance_embed": False,
}
ZIMAGE = {"patch_size": 2, "in_channels": 16, "dim": 3840, "cap_feat_dim": 2560, "n_layers": 30, "n_refiner_layers": 2, "qk_norm": True}
ZIMAGE |= {"n_heads": 30, "n_kv_heads": 30, "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512], "rope_theta": 256.0}
ZIMAGE |= {"ffn_dim_multiplier": 8 / 3, "multiple_of": 256, "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32}
WAN = {"model_type": "t2v", "dim": 5120, "out_dim": 16, "num_heads": 40, "ffn_dim": 13824, "num_layers": 40, "in_dim": 16, "text_dim": 4096}
# name: network under comfy.ldm, its settings, width, length of a text, latents' pixels in a token
MODELS = {
    "Flux.2 klein 4B": ("flux.model.Flux", KLEIN4, 3072, 512, 16),
    "Flux.2 klein 9B": ("flux.model.Flux", KLEIN9, 4096, 512, 16),
    "Z-Image": ("lumina.model.NextDiT", ZIMAGE, 3840, 256, 16),
    "Flux.1 dev": ("flux.model.Flux", FLUX, 3072, 512, 16),
    "Krea 2": ("krea2.model.SingleStreamDiT", {}, 6144, 512, 16),
    "Qwen-Image": ("qwen_image.model.QwenImageTransformer2DModel", {}, 3072, 512, 16),
    "Wan 2.1, 2.2 14B (one frame)": ("wan.model.WanModel", WAN, 5120, 0, 16),
}


def compute(host: Host, rank: int, side: int) -> None:
    """Print a table; sizes in GiB."""
    import importlib

    import comfy.ops

    families, levels = host.module("nodes.host.token_levels.families"), host.module("nodes.host.token_levels.levels")
    head = "model | parameters, 1e9 | frozen, bf16 | frozen, fp8 | LoRA, 1e6 | LoRA, Adam, mean | kept features | widest block"
    print(f"{head} | all, bf16 | all, fp8")
    for name, (path, settings, width, text, token) in MODELS.items():
        module, kind = path.rsplit(".", 1)
        cls = getattr(importlib.import_module(f"comfy.ldm.{module}"), kind)
        net = cls(**settings, dtype=torch.bfloat16, device="meta", operations=comfy.ops.disable_weight_init)
        family = families.FAMILIES[path](net, levels.TokenLevels())
        targets = _targets(net, family)
        count = sum(p.numel() for p in net.parameters())
        lora = sum(rank * (layer.in_features + layer.out_features) for layer in targets)
        tokens, blocks = (side // token) ** 2 + text, sum(len(getattr(net, part, ())) for part in family.blocks)
        trained = lora * 20  # weight, gradient, Adam's two and the mean, float32
        kept = tokens * width * 2 * blocks  # each block's input, bfloat16
        # the block under work: every linear layer's input and output, and a LoRA's input in float32
        widest = max(_features(block) for part in family.blocks for block in getattr(net, part, ())) * tokens
        parts = [count * 2, count, trained, kept, widest]
        fixed = sum(parts[2:])
        row = [f"{count / 1e9:.1f}", *(f"{part / GIB:.1f}" for part in parts[:2]), f"{lora / 1e6:.0f}"]
        row += [*(f"{part / GIB:.1f}" for part in parts[2:]), f"{(fixed + parts[0]) / GIB:.1f}", f"{(fixed + parts[1]) / GIB:.1f}"]
        print(" | ".join([name, *row]))


def _targets(net, family) -> list:
    import re

    pattern = re.compile(family.targets)
    return [layer for name, layer in net.named_modules() if isinstance(layer, torch.nn.Linear) and pattern.fullmatch(name)]


def _features(block) -> int:
    """Bytes per token of a block's features: bfloat16 for the base's input and output, float32 for the LoRA's."""
    linear = [layer for layer in block.modules() if isinstance(layer, torch.nn.Linear)]
    return sum(2 * (layer.in_features + layer.out_features) + 4 * (layer.in_features + layer.out_features) for layer in linear)


def measure(host: Host, kind: str, side: int) -> None:
    """Train for a step at true size, random weights, batch 1, checkpointing, bfloat16; print the peak of this process, weights included."""
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models
    from helpers import Blocks

    settings = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "use_spatial_transformer": True,
        "legacy": False,
        "model_channels": 320,
    }
    sd15 = {"num_res_blocks": [2] * 4, "channel_mult": [1, 2, 4, 4], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "context_dim": 768}
    sd15 |= {"transformer_depth_output": [1] * 9 + [0] * 3, "transformer_depth_middle": 1, "num_heads": 8, "num_head_channels": -1}
    sdxl = {"num_res_blocks": [2] * 3, "channel_mult": [1, 2, 4], "transformer_depth": [0, 0, 2, 2, 10, 10], "context_dim": 2048}
    sdxl |= {"transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "transformer_depth_middle": 10, "num_head_channels": 64}
    sdxl |= {"num_classes": "sequential", "adm_in_channels": 2816, "num_heads": -1, "use_linear_in_transformer": True}
    config = getattr(comfy.supported_models, kind)({**settings, **(sd15 if kind == "SD15" else sdxl)})
    config.unet_config = {**settings, **(sd15 if kind == "SD15" else sdxl), "dtype": torch.bfloat16}
    config.manual_cast_dtype = None
    model = {"SD15": comfy.model_base.BaseModel, "SDXL": comfy.model_base.SDXL}[kind](config)
    with torch.no_grad():
        for p in model.diffusion_model.parameters():
            p.normal_(std=0.02)
    model.diffusion_model.requires_grad_(False).eval()
    patcher = comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
    count = sum(p.numel() for p in model.diffusion_model.parameters())
    print(f"{kind}: {count / 1e6:.0f} M parameters, {count * 2 / GIB:.1f} GiB in bfloat16; resident {_resident():.2f} GiB before training")
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            if (now := _resident()) > peak[0] + 0.05:
                print(f"{now:.2f} GiB", flush=True)
            peak[0] = max(peak[0], now)

    thread = threading.Thread(target=watch)
    thread.start()
    training, latents = host.module("nodes.host.train_adapter"), host.module("nodes.host.latent_training")
    extra = {"pooled_output": torch.zeros(1, 1280)} if kind == "SDXL" else {}
    prompt = [[torch.zeros(1, 77, config.unet_config["context_dim"]), extra]]
    steps = training.TrainingSettings(1, 1, 16, 1e-4, side, "perlin", False, "bfloat16", True, 1000, 0)
    start = time.time()
    latents.fill_latents = lambda net, schedule, prediction, x0, *rest, **options: x0  # sample pictures take no more than a step
    training.fill_latents = latents.fill_latents
    path = host.base / "models" / "memory.safetensors"
    with _InFloat32():
        training.train_adapter(patcher, [torch.rand(3, side, side)], steps, path, False, Blocks(), [prompt])
    stop.set()
    thread.join()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak {peak[0]:.2f} GiB (the system's own count: {most:.2f}), {time.time() - start:.0f} s")


class _InFloat32(TorchDispatchMode):
    """Products of bfloat16 computed in float32, one at a time: processors without it take hours. The copies add to the peak."""

    ATTENTION = ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward")
    PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward", *ATTENTION)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        low = [value for value in args if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16]
        if name not in self.PRODUCTS or not low:
            return func(*args, **kwargs)
        out = func(*tree_map_only(torch.Tensor, torch.Tensor.float, args), **kwargs)
        if name == self.ATTENTION[0]:
            return out[0].bfloat16(), out[1]  # the second is float32 in any case
        return tree_map_only(torch.Tensor, torch.Tensor.bfloat16, out)


def _resident() -> float:
    """GiB of memory that this process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / GIB


if __name__ == "__main__":
    arguments = sys.argv[1:]  # before the host reads them
    if arguments[:1] == ["measure"]:
        measure(Host(), arguments[1], int((arguments[2:] or [256])[0]))
    else:
        compute(Host(), *map(int, (*arguments, *(16, 1024)[len(arguments) :])))
