"""The colours that latents stand for, as the host's previews show them: where GradPaint compares the two sides of the hole's rim."""

import logging

import torch
import torch.nn.functional as F
from torch import Tensor

from ...rad_core.losses import Colours
from .taesd import TAESDColours


class UnpackedColours(Colours):
    """Colours of latents whose channels are 2x2 places of one twice as large (Flux.2): (B, 4 c, h, w) -> (B, k, 2 h, 2 w)."""

    def to_colours(self, values: Tensor) -> Tensor:
        return super().to_colours(F.pixel_shuffle(values, 2))

    def vjp(self, values: Tensor, gradient: Tensor) -> Tensor:
        return F.pixel_unshuffle(super().vjp(values, gradient), 2)


def colours_of(align_in: str, latent_format, picture: Tensor) -> Colours:
    """What the alignment loss compares: colours, a picture decoded by TAESD, or the values where the host has no colours for them."""
    if align_in == "TAESD":
        return TAESDColours(latent_format, picture)
    factors, channels = latent_format.latent_rgb_factors, picture.shape[1]
    if align_in == "latent":
        return Colours()
    matrix = None if factors is None else torch.tensor(factors, device=picture.device, dtype=picture.dtype).T
    if matrix is not None and matrix.shape[1] == channels:
        return Colours(matrix)
    if matrix is not None and getattr(latent_format, "latent_rgb_factors_reshape", None) and 4 * matrix.shape[1] == channels:
        return UnpackedColours(matrix)
    logging.info("GradPaint: the host has no colours for these latents, so their own values are compared across the rim.")
    return Colours()
