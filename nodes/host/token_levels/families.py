"""Which network takes which way in, and the patch itself."""

import comfy.patcher_extension
from torch import nn

from ..clones import on_another_network
from .chroma import Chroma
from .cosmos import Cosmos
from .family import Family
from .flux import Flux, Hunyuan
from .krea import Krea2
from .levels import TokenLevels
from .lumina import Lumina
from .per_token import KeepKnown, PerToken, predicts_velocity
from .qwen import MageFlow, Qwen
from .sd3 import SD3, AuraFlow
from .wan import Ideogram4, Wan

WRAPPER = "rad_token_levels"
FAMILIES: dict[str, type[Family]] = {  # by module and class of the host's network, under comfy.ldm
    "flux.model.Flux": Flux,
    "hunyuan_video.model.HunyuanVideo": Hunyuan,
    "chroma.model.Chroma": Chroma,
    "chroma_radiance.model.ChromaRadiance": Chroma,
    "qwen_image.model.QwenImageTransformer2DModel": Qwen,
    "mage_flow.model.MageFlowTransformer2DModel": MageFlow,
    "lumina.model.NextDiT": Lumina,
    "krea2.model.SingleStreamDiT": Krea2,
    "modules.diffusionmodules.mmdit.OpenAISignatureMMDITWrapper": SD3,
    "aura.mmdit.MMDiT": AuraFlow,
    "cosmos.predict2.MiniTrainDIT": Cosmos,
    "anima.model.Anima": Cosmos,
    "wan.model.WanModel": Wan,
    "ideogram4.model.Ideogram4Transformer2DModel": Ideogram4,
}
NATIVE = {
    "lightricks.model.LTXVModel": "LTX-Video",
    "lightricks.av_model.LTXAVModel": "LTX-2",
    "minimax.model.MiniMaxH3Model": "MiniMax H3",
}
WHY_NOT = {"hidream_o1.model.HiDreamO1Transformer": "its noise level is one token of the sequence, so all others share it"}
WORKS_ON = (
    "SD1.5, SD2, SDXL, SD3, Flux.1, Flux.2, Chroma, Qwen-Image, Z-Image, Lumina 2, Krea 2, Anima, Cosmos-Predict2, Wan, HunyuanVideo, "
    "HunyuanImage, Ideogram 4, AuraFlow and Mage-Flow"
)


def family_name(net: nn.Module) -> str:
    """A network's module and class under comfy.ldm, such as "flux.model.Flux"."""
    return f"{type(net).__module__}.{type(net).__qualname__}".removeprefix("comfy.ldm.")


def learnt_levels(model) -> str:
    """Where a MODEL has learnt different noise levels side by side, so that RAD may do without an adapter; "" where it has not."""
    net = model.get_model_object("diffusion_model")
    if type(model.model).__name__ == "WAN22":
        return "between the frames of a video"
    clean = family_name(net) == "krea2.model.SingleStreamDiT" or getattr(net, "default_ref_method", None) == "index_timestep_zero"
    return "beside clean reference pictures" if clean else ""


def has_token_levels(model) -> bool:
    """Whether a MODEL is one of `with_token_levels`."""
    return bool(model.get_wrappers(comfy.patcher_extension.WrappersMP.APPLY_MODEL, WRAPPER))


def token_patch(model) -> tuple[int, int, int]:
    """Frames, rows and columns of latents in a token of a MODEL with token levels."""
    return model.get_wrappers(comfy.patcher_extension.WrappersMP.APPLY_MODEL, WRAPPER)[0].family.patch


def native_levels(model) -> str:
    """What a MODEL is called whose network gives every token its own noise level by itself; "" for any other."""
    return NATIVE.get(family_name(model.get_model_object("diffusion_model")), "")


def with_token_levels(model, node: str):
    """Clone a MODEL and give it the noise level of every token when its latents have a noise mask; those of `NATIVE` need nothing.

    Args:
        node: the name of the node that needs it, for errors.

    Raises:
        ValueError: a network without a way in, or one whose class is not the one that this pack knows.
    """
    net, sampling = model.get_model_object("diffusion_model"), model.get_model_object("model_sampling")
    name = family_name(net)
    if has_token_levels(model) or name in NATIVE:
        return model
    if name not in FAMILIES or not predicts_velocity(sampling):
        reason = WHY_NOT.get(name, f"there is no way in for a network of type {type(net).__name__} yet")
        if name in FAMILIES:
            reason = "a node before this one, such as ModelSamplingDiscrete, has changed what it predicts"
        raise ValueError(f"'{node}' cannot give this MODEL a noise level per token: {reason}. It works on {WORKS_ON}.")
    patched = model.clone()
    try:
        _patch(patched)
    except AttributeError as error:
        raise ValueError(
            f"This version of ComfyUI has another {type(net).__name__} than '{node}' knows ({error}). Update the pack "
            "Region-aware Inpainting, or remove the node."
        ) from None
    on_another_network(patched, WRAPPER, _patch)
    return patched


def _patch(model) -> None:
    """Give a MODEL's network its stand-ins, and the MODEL their wrappers."""
    net, levels = model.get_model_object("diffusion_model"), TokenLevels()
    family = FAMILIES[family_name(net)](net, levels)
    for layer, stand_in in family.patches():
        model.add_object_patch(layer, stand_in(model.get_model_object(layer)))
    model.add_object_patch("scale_latent_inpaint", lambda latent_image, **kwargs: latent_image)
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, WRAPPER, PerToken(family, levels))
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.SAMPLER_SAMPLE, WRAPPER, KeepKnown(family.patch))
