"""Bring the colours of a fill to the picture around it, after any sampler: VAEs and edit models shift them everywhere."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .images import check_image_and_mask
from .losses import dilate
from .sdm.membrane import membrane


def match_fill(filled: Tensor, image: Tensor, mask: Tensor, ring: int = 24, strength: float = 1.0) -> Tensor:
    """Put a fill into its picture, without the drift of colours that the known pixels around the hole show.

    The drift is picture - fill on the known pixels within `ring` of the hole, smoothed, because edges that a VAE moved are not drift. A
    membrane carries it over the hole, where it is added to the fill. It changes slowly, so the fill's own detail stays.

    Args:
        filled: (B, 3, h, w) in [0, 1], the whole picture as it came back; another size than `image` is resized.
        image: (B, 3, H, W) in [0, 1]. mask: (B, 1, H, W), 1 = hole, grey mixes. A single fill, picture or mask serves all others.
        ring: width in pixels of what is compared.
        strength: 0 adds no correction, 1 all of it.

    Returns:
        (B, 3, H, W), the dtype of `image`. Pixels where the mask is 0 are bit-identical to `image`.

    Raises:
        ValueError: pictures and masks that do not fit, a ring below 1, a strength outside [0, 1], or NaN in the fill of a hole.
    """
    if ring < 1 or not 0 <= strength <= 1:
        raise ValueError(f"ring must be at least 1 and strength between 0 and 1, got {ring} and {strength}.")
    image, mask = check_image_and_mask(image, mask)
    if 1 not in (len(filled), len(image)) and len(filled) != len(image):
        raise ValueError(f"{len(filled)} fills and {len(image)} pictures do not fit: give equally many, or one of either.")
    if len(image) == 1:
        image, mask = (maps.expand(len(filled), -1, -1, -1) for maps in (image, mask))
    filled = filled.to(image.device, torch.float32)
    if filled.shape[2:] != image.shape[2:]:
        filled = F.interpolate(filled, image.shape[2:], mode="bicubic", antialias=True)
    finite = filled.isfinite().all(1, keepdim=True)
    if bool((~finite & (mask > 0)).any()):
        raise ValueError(
            "The fill has NaN or infinite values in the hole: look at what made it; a VAE in half precision is often the cause."
        )
    filled = filled.masked_fill(~finite, 0)
    known = (mask == 0).float() * dilate(mask, ring) * finite
    drift = _smooth((image.float().nan_to_num() - filled) * known, ring) / _smooth(known, ring).clamp(min=1e-6)
    matched = (filled + strength * membrane(drift, known)).clamp(0, 1)
    mixed = torch.lerp(torch.where(mask < 1, image.float(), matched), matched, mask)
    return torch.where(mask > 0, mixed.to(image.dtype), image)


def _smooth(maps: Tensor, ring: int) -> Tensor:
    """A tent of half width `ring`: two box filters, each along the columns, then the rows."""
    radius = min(max(ring // 2, 1), min(maps.shape[2:]) // 2)
    along = lambda x, size, pad: F.avg_pool2d(x, size, 1, pad, count_include_pad=True)
    box = lambda x: along(along(x, (2 * radius + 1, 1), (radius, 0)), (1, 2 * radius + 1), (0, radius))
    return box(box(maps))
