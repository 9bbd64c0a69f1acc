"""Tiny MODELs with random weights of every family that the host knows, built from its own classes.

Random weights show crashes, exactness and algebra, not how a fill looks. All of this runs inside a booted host (see host.py).
"""

import json
import math
import re

import torch
from family_table import FAMILIES
from helpers import devices
from torch.nn.functional import interpolate


def in_host(name: str) -> bool:
    """Whether the running host knows the family."""
    import comfy.supported_models

    return hasattr(comfy.supported_models, FAMILIES[name].cls)


def build(name: str, dtype: torch.dtype = torch.float32, seed: int = 0):
    """A MODEL of the family, where the host leaves one that it has not loaded."""
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models

    family = FAMILIES[name]
    settings = family.config | {"dtype": dtype}
    config = getattr(comfy.supported_models, family.cls)(dict(settings))
    config.unet_config.update(settings)
    config.manual_cast_dtype, config.optimizations = None, getattr(config, "optimizations", {}) or {"fp8": False}
    if family.prediction:
        config.model_type = lambda *_, **__: getattr(comfy.model_base.ModelType, family.prediction)
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(seed)
        model = _get_model(config, dict(family.state))
    model.requires_grad_(False).eval()
    if family.inpaint:
        model.set_inpaint()
    _draw_weights(model.diffusion_model, seed)
    return comfy.model_patcher.ModelPatcher(model, *devices())


def quantise(name: str, kind: str):
    """The family's MODEL with weights quantised as in ComfyUI's own files, and the plain MODEL of the same numbers.

    kind: of the host's formats, such as float8_e4m3fn or int8_tensorwise.
    """
    import comfy.model_patcher
    import comfy.supported_models
    from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor

    plain, family, layout = build(name), FAMILIES[name], QUANT_ALGOS[kind]["comfy_tensor_layout"]
    settings = family.config | {"dtype": torch.float32}
    config = getattr(comfy.supported_models, family.cls)(dict(settings))
    config.unet_config.update(settings)
    config.manual_cast_dtype, config.optimizations, config.quant_config = torch.float32, {"fp8": False}, {"mixed_ops": True}
    model = _get_model(config, dict(family.state))
    weights = plain.model.diffusion_model.state_dict()
    for layer, module in plain.model.diffusion_model.named_modules():
        if isinstance(module, torch.nn.Linear) and not any(side % 16 for side in module.weight.shape):
            quantised = QuantizedTensor.from_float(module.weight.data, layout, **({"scale": "recalculate"} if "float8" in kind else {}))
            module.weight.data.copy_(quantised.dequantize())
            about = torch.tensor(list(json.dumps({"format": kind}).encode()), dtype=torch.uint8)
            weights |= {f"{layer}.{key}": value for key, value in quantised.state_dict("weight").items()} | {f"{layer}.comfy_quant": about}
    model.diffusion_model.load_state_dict(weights)
    model.requires_grad_(False).eval()
    return comfy.model_patcher.ModelPatcher(model, *devices()), plain


def _get_model(config, state: dict):
    """The host's model, without the settings that an older host does not know yet."""
    while True:
        try:
            return config.get_model(state, "")
        except TypeError as error:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if not unknown:
                raise
            config.unet_config.pop(unknown.group(1))


def _draw_weights(net: torch.nn.Module, seed: int) -> None:
    """Random weights that keep the size of what goes through: the host leaves them empty, or 0 where training begins at 0."""
    stream = torch.Generator().manual_seed(seed)
    for name, values in net.named_parameters():
        noise = torch.randn(values.shape, generator=stream)
        if values.ndim >= 2 and "norm" not in name.split(".")[-2:][0]:
            table = name.endswith("scale_shift_table") or ("modulation" in name and values.ndim == 3)
            noise = noise / math.sqrt(16 if table else max(values[0].numel(), 1))
        else:
            noise = 0.1 * noise + (values.ndim == 1 and name.endswith(("weight", "scale", "gamma")))
        values.data = noise.to(values.dtype)
    for name, values in net.named_buffers():
        if name == "rope.inv_freq":
            values.copy_(1 / 10000 ** torch.linspace(0, 1, len(values)))
        if values.is_floating_point() and name.endswith("pos_embed"):
            values.copy_(0.1 * torch.randn(values.shape, generator=stream))


def prompts(name: str, seed: int = 1) -> list:
    """Positive and negative CONDITIONING of random numbers."""
    family, stream = FAMILIES[name], torch.Generator().manual_seed(seed)
    draw = lambda value: torch.randn(1, *value, generator=stream) if isinstance(value, tuple) else value
    return [[[draw(family.text), {key: draw(value) for key, value in family.extra.items()}]] for _ in range(2)]


def smooth_latents(shape: tuple[int, ...], batch: int = 1, seed: int = 3) -> torch.Tensor:
    """Latents (B, *shape) that change slowly over the picture."""
    coarse = torch.randn(batch, math.prod(shape[:-2]), 4, 4, generator=torch.Generator().manual_seed(seed))
    return interpolate(coarse, shape[-2:], mode="bicubic").reshape(batch, *shape)


def scene(name: str, batch: int = 1, seed: int = 3, shape: tuple[int, ...] | None = None) -> dict:
    """A LATENT with a noise mask in pixels: a hole in the middle, not aligned with the latents' blocks."""
    family = FAMILIES[name]
    shape = shape or family.shape
    (h, w), r = shape[-2:], family.block
    mask = torch.zeros(1, 1, h * r, w * r)
    mask[..., 3 * h // 8 * r : 5 * h // 8 * r, 3 * w // 8 * r : 5 * w // 8 * r + r // 2] = 1
    samples = smooth_latents(shape, batch, seed)
    if family.sound:
        import comfy.nested_tensor

        samples = comfy.nested_tensor.NestedTensor([samples, smooth_latents(family.sound, batch, seed + 1)])
    return {"samples": samples, "noise_mask": mask}
