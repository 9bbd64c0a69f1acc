"""A hole painted in pixels, as latents see it: which of them are made anew.

The others are known and trusted. Those next to the hole depend a little on its pixels too, but leaving them out of GradPaint's losses
costs more than it saves, however far a VAE's latents see (measurements/latent_rim.py).
"""

import torch
from torch import Tensor

from ...rad_core.images import max_pool

NO_HOLE = (
    "The mask has no hole, so the picture comes back as it was. Paint one (right-click 'Load Image', 'Open in MaskEditor'), or connect a "
    "mask node."
)


def hole_in_latents(mask: Tensor, shape) -> Tensor:
    """Latents whose block of pixels has some of the hole. A latent takes the strongest value under it.

    Args:
        mask: (H, W), (n, H, W), (n, 1, H, W) or (B or 1, 1, n, H, W), 1 = hole, of the pixels' size or the latents'. For latents with a
            time axis, n masks are one for every frame: of the latents, or of the pixels, of which latent frame 0 is the first and every
            other one several (as causal VAEs have it). Only where there is a single latent frame, or n is the number of pictures and
            not of frames, every picture has its own mask.
        shape: of the latents, (B, C, h, w) or (B, C, T, h, w).

    Returns:
        (B or 1, 1, h, w) or (B or 1, 1, T, h, w).
    """
    mask = mask.reshape(-1, 1, *mask.shape[-2:]) if mask.ndim < 5 or len(shape) == 4 else mask[:, :1]
    mask = _as_encoded(mask, shape[-2:])
    small = max_pool(mask.float().flatten(0, -3)[:, None], shape[-2:]).view(*mask.shape[:-2], *shape[-2:])
    if len(shape) == 4:
        return small
    if small.ndim == 4:
        small = small[:, :, None] if one_mask_a_picture(len(small), shape) else small.movedim(0, 1)[None]
    return _latent_frames(small, shape[2])


def _as_encoded(mask: Tensor, size) -> Tensor:
    """A mask (..., H, W) without the pixels that VAE Encode leaves out where a side is no multiple of a latent's: half at each end."""
    spacing = mask.shape[-2] // size[0]
    if spacing < 4 or spacing != mask.shape[-1] // size[1]:
        return mask
    for axis in (-2, -1):
        rest = mask.shape[axis] % spacing
        if mask.shape[axis] - rest == spacing * size[axis]:
            mask = mask.narrow(axis, rest // 2, mask.shape[axis] - rest)
    return mask


def one_mask_a_picture(masks: int, shape) -> bool:
    """Whether so many masks are one for every picture of latents (B, C, T, h, w), not for every frame."""
    return shape[2] == 1 or (masks == shape[0] and masks != shape[2])


def _latent_frames(hole: Tensor, frames: int) -> Tensor:
    """(n, 1, F, h, w) with one frame, the latents' frames, or the pixels' -> (n, 1, T, h, w)."""
    if hole.shape[2] == 1 or frames == 1:
        return hole.amax(2, keepdim=True).expand(-1, -1, frames, -1, -1)
    if hole.shape[2] == frames:
        return hole
    later = max_pool(hole[:, :, 1:], (frames - 1, *hole.shape[3:]))
    return torch.cat([hole[:, :, :1], later], 2)
