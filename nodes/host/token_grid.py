"""How large a MODEL works: what of a picture it decides at once, and the size of what it samples."""

from .adm import ADMModel
from .token_levels.families import FAMILIES, family_name
from .token_levels.levels import TokenLevels

SIDE = 512  # longer side of a crop where nobody says it
STRIDE = 16  # at least: U-Nets halve latents of 8 pixels, transformers take them two by two
OLDER = {3: 1, 48: 16, 64: 32, 128: 32}  # latent channels: pixels per latent pixel, where a host (0.3.64) does not say it and it is not 8


def token_size(model) -> int:
    """Pixels on a side of one latent pixel of a U-Net, of one token of a transformer; 1 for a network that works in pixels."""
    if isinstance(model.model, ADMModel):
        return 1
    latents = model.model.latent_format
    spacing = getattr(latents, "spacial_downscale_ratio", None) or OLDER.get(latents.latent_channels, 8)
    net = model.model.diffusion_model
    if family_name(net) in FAMILIES:
        return spacing * FAMILIES[family_name(net)](net, TokenLevels()).patch[-1]
    patch = getattr(net, "patch_size", None) or 1
    return spacing * (patch if isinstance(patch, int) else patch[-1])


def working_size(model, size: int) -> tuple[int, int]:
    """Longer side of the crops that a MODEL samples, and what both sides are multiples of.

    Args:
        size: what the artist asks for; 0 for an ADM network's own, else 512.
    """
    if isinstance(model.model, ADMModel):
        config = model.model.diffusion_model.config
        return size or config.image_size, config.stride
    return size or SIDE, max(STRIDE, token_size(model))
