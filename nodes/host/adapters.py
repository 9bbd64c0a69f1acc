"""RAD adapters as patches of a host MODEL: nothing is reloaded, and the host merges and unmerges the weights."""

import logging

import comfy.weight_adapter

from ...rad_core import read_adapter
from ...rad_core.adapters import check_fit
from .adm import REGION_AWARE, need_adm

PREFIX = "diffusion_model."


def with_adapter(model, path: str, strength: float):
    """A clone of a MODEL with an adapter on it, W + strength (alpha / rank) B A and T + strength (T_adapter - T_base).

    Raises:
        FileNotFoundError, CheckpointError: as `rad_core.read_adapter`, or it does not fit the network.
        ValueError: not an ADM MODEL.
    """
    net = need_adm(model, "Load RAD Adapter").diffusion_model
    adapter = read_adapter(path)
    check_fit(adapter, dict(net.named_parameters()))
    if not adapter.time:
        logging.warning(f"RAD adapter {adapter.name} lacks the time layers; its fills will not be as good as trained.")
    patches, base = {}, model.get_key_patches(PREFIX)  # of each weight, the value before any patch comes first
    for name, (a, b) in adapter.lora.items():
        alpha = adapter.config.get("lora_alpha", a.shape[0])
        patches[PREFIX + name] = comfy.weight_adapter.LoRAAdapter(set(), (b, a, alpha, None, None, None))
    for name, tensor in adapter.time.items():
        original = base[PREFIX + name][0][0].float().cpu()
        patches[PREFIX + name] = ("diff", (tensor.float().view(original.shape) - original,))
    patched = model.clone()
    patched.add_patches(patches, strength)
    if strength != 0 and adapter.time:
        patched.add_object_patch(REGION_AWARE, True)
    return patched
