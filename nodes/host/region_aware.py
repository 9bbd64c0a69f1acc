"""MODELs that take a noise level per pixel, whatever their network: a U-Net or a transformer."""

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ...rad_core.notes import note
from .adm import REGION_AWARE, ADMModel
from .spatial_embedding import has_spatial_embedding, with_spatial_embedding
from .token_levels import has_token_levels, learnt_levels, native_levels, with_token_levels

EMBEDDING = "RAD Spatial Noise Embedding"


def make_region_aware(model, node: str):
    """Clone a latent MODEL and give it the noise level of every pixel, or token, when its latents have a noise mask.

    Args:
        node: the name of the node that needs it, for errors.

    Raises:
        ValueError: it cannot be given one, in one sentence that says why.
    """
    unet = is_unet(model) or isinstance(model.model, ADMModel)
    return (with_spatial_embedding if unet else with_token_levels)(model, node)


def with_levels_alone(model):
    """`make_region_aware` without an adapter, and a note where the MODEL needs nothing, or may do without an adapter."""
    patched = make_region_aware(model, EMBEDDING)
    if native := native_levels(model):
        note(f"{native} gives every token its own noise level by itself, so '{EMBEDDING}' changed nothing.")
    elif patched is not model and not is_unet(model) and (where := learnt_levels(model)):
        note(
            f"This model has learnt different noise levels {where}, so RAD may work without an adapter: compare with and without this node."
        )
    return patched


def is_unet(model) -> bool:
    """Whether a MODEL's network is a U-Net of the host."""
    return isinstance(model.get_model_object("diffusion_model"), UNetModel)


def is_region_aware(model) -> bool:
    """Whether a MODEL takes a noise level per pixel: one of `make_region_aware`, or a pixel-space network, trained for it or not."""
    return isinstance(model.model, ADMModel) or has_spatial_embedding(model) or has_token_levels(model)


def is_untrained(model) -> bool:
    """Whether a MODEL is a pixel-space network that was not trained on a noise level per pixel, and has no adapter that was."""
    return isinstance(model.model, ADMModel) and not model.get_model_object(REGION_AWARE)
