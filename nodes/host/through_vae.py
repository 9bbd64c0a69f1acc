"""A picture of any size through a VAE and a sampler of latents: crop, encode, sample, decode, match the colours, stitch."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...rad_core.crops import Crop, collate, fit_size, hole_box, note_size, shrink_known
from ...rad_core.images import check_image_and_mask
from ...rad_core.losses import dilate
from .adm import ADMModel

RIM = 16  # pixels around the hole in which colours are compared
STRIDE = 16  # transformers on latents of 8 pixels take them two by two


def working_size(model, vae, size: int) -> tuple[int, int]:
    """Longer side and stride of the crops that a MODEL samples: an ADM network's own, else `size` (0: 512)."""
    if isinstance(model.model, ADMModel):
        config = model.model.diffusion_model.config
        return size or config.image_size, config.stride
    return size or 512, max(STRIDE, vae.spacial_compression_encode())


def fill_through_vae(
    vae, image: Tensor, mask: Tensor, size: int, stride: int, context: float, keep: bool, sample: Callable[[Tensor, Tensor, int], Tensor]
) -> Tensor:
    """Fill the hole of each picture with a sampler of latents.

    Args:
        image: (B, 3, H, W) in [0, 1]. mask: (B, 1, H, W).
        size, stride: longer side of the crops, and what both sides are multiples of.
        context: what is seen on each side of the hole, as a multiple of its size.
        keep: the fill starts from the content of the hole (denoise below 1), not from the mean of the known pixels.
        sample: (latents, mask in pixels, number of the first picture) -> latents, for consecutive pictures with crops of equal size.

    Returns:
        (B, 3, H, W); pixels where the mask is 0 are bit-identical to `image`.
    """
    image, mask = check_image_and_mask(image, mask)
    out = image.clone()
    crops = {k: _crop(image[k], mask[k], size, stride, context, keep) for k in range(len(image)) if mask[k].any()}
    for crop in crops.values():
        note_size(crop, size)
    one_batch = len(crops) == len(image) and len({crop.picture.shape for crop in crops.values()}) == 1
    for batch in [collate(crops)] if one_batch else [collate({k: crop}) for k, crop in crops.items()]:
        pictures = torch.cat([crop.picture for crop in batch.crops.values()])
        latents = sample(vae.encode(pictures.movedim(1, -1)), (batch.mask > 0).float(), min(batch.crops))
        decoded = vae.decode(latents).movedim(-1, 1)[:, :3].clamp(0, 1)
        batch.stitch(image, mask, match_colours(decoded.to(pictures), pictures, batch.mask), out, mix=True)
    return out


def _crop(image: Tensor, mask: Tensor, size: int, stride: int, context: float, keep: bool) -> Crop:
    """The hole of image (3, H, W) and its surroundings, resized. The hole's content does not bleed into known pixels."""
    box = hole_box(mask, context, min(size, *image.shape[1:]))
    picture, hole = box.cut(image)[None].float(), box.cut(mask)[None].float()
    resized = fit_size(box, size, stride)
    known, small = shrink_known(torch.where(hole < 1, picture, 0), hole, resized)  # the hole may hold NaN
    share = (small < 1).to(known)
    inside = (known * share).sum((2, 3), keepdim=True) / share.sum((2, 3), keepdim=True).clamp(min=1)
    if keep:
        inside = F.interpolate(picture.nan_to_num(), resized, mode="bilinear", antialias=True)
    return Crop(torch.where(small < 1, known, inside).clamp(0, 1), small, None, box, resized=True)


def match_colours(decoded: Tensor, picture: Tensor, hole: Tensor) -> Tensor:
    """Remove the colour shift of the VAE, as measured on the known pixels around the hole.

    Args:
        decoded, picture: (B, 3, h, w). hole: (B, 1, h, w).

    Returns:
        `decoded` shifted by the mean difference on the rim, per channel; unchanged where nothing is known.
    """
    rim = (dilate(hole.to(picture), RIM) > 0) & (hole == 0)
    count = rim.sum((2, 3), keepdim=True).clamp(min=1)
    return (decoded + ((picture - decoded) * rim).sum((2, 3), keepdim=True) / count).clamp(0, 1)
