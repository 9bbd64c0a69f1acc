"""How large in the picture is what a MODEL decides at once."""

from .adm import ADMModel

OLDER = {3: 1, 48: 16, 64: 32, 128: 32}  # latent channels: pixels per latent pixel, where a host (0.3.64) does not say it and it is not 8


def token_size(model) -> int:
    """Pixels on a side of one latent pixel of a U-Net, of one token of a transformer; 1 for a network that works in pixels."""
    if isinstance(model.model, ADMModel):
        return 1
    latents = model.model.latent_format
    spacing = getattr(latents, "spacial_downscale_ratio", None) or OLDER.get(latents.latent_channels, 8)
    patch = getattr(model.model.diffusion_model, "patch_size", None) or 1
    return spacing * (patch if isinstance(patch, int) else patch[-1])
