"""MODELs that take a noise level per pixel, whatever their network: a U-Net or a transformer."""

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ...rad_core.notes import note
from .adm import ADMModel
from .spatial_embedding import has_spatial_embedding, with_spatial_embedding
from .token_levels import has_token_levels, learnt_levels, with_token_levels


def make_region_aware(model):
    """Clone a latent MODEL and give it the noise level of every pixel, or token, when its latents have a noise mask.

    Raises:
        ValueError: it cannot be given one, in one sentence that says why.
    """
    unet = is_unet(model) or isinstance(model.model, ADMModel)
    return (with_spatial_embedding if unet else with_token_levels)(model)


def with_levels_alone(model):
    """`make_region_aware` without an adapter, and a note where the MODEL may do without one."""
    patched = make_region_aware(model)
    if patched is not model and not is_unet(model) and (where := learnt_levels(model)):
        note(
            f"This model has learnt different noise levels {where}, so RAD may work without an adapter: compare with and without this node."
        )
    return patched


def is_unet(model) -> bool:
    """Whether a MODEL's network is a U-Net of the host."""
    return isinstance(model.get_model_object("diffusion_model"), UNetModel)


def is_region_aware(model) -> bool:
    """Whether a MODEL is one of `make_region_aware`, or a pixel-space network that is so by itself."""
    return isinstance(model.model, ADMModel) or has_spatial_embedding(model) or has_token_levels(model)
