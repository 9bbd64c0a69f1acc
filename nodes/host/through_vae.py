"""A picture of any size through a VAE and a sampler of latents: cut out, encode, sample, decode, match the colours, put back."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...rad_core.crops import Box, fit_size, hole_box, shrink_known, stitch
from ...rad_core.images import check_image_and_mask
from .adm import ADMModel

RIM = 16  # pixels around the hole in which colours are compared
STRIDE = 16  # transformers on latents of 8 pixels take them two by two


def working_size(model, vae, size: int) -> tuple[int, int]:
    """Longest side and stride of what the network sees: an ADM network's own, else `size` (0: 512)."""
    if isinstance(model.model, ADMModel):
        config = model.model.diffusion_model.config
        return size or config.image_size, config.stride
    return size or 512, max(STRIDE, vae.spacial_compression_encode())


def fill_through_vae(
    vae, image: Tensor, mask: Tensor, size: int, stride: int, context: float, keep: bool, sample: Callable[[Tensor, Tensor, int], Tensor]
) -> Tensor:
    """
    Args:
        image: (B, 3, H, W) in [0, 1]. mask: (B, 1, H, W).
        size, stride: longest side at which the network works, and what its sides are multiples of.
        context: what is seen around the hole, as a share of its size.
        keep: what stands in the hole is a start (denoise below 1); otherwise it is replaced by the known pixels' mean.
        sample: (latents, mask in pixels, number of the first picture) -> latents, for pictures of equal size.

    Returns:
        (B, 3, H, W); pixels where the mask is 0 are bit-equal to `image`.
    """
    image, mask = check_image_and_mask(image, mask)
    out, cuts = image.clone(), {}
    for k in range(len(image)):
        if mask[k].any():
            box = hole_box(mask[k], context, min(size, *image.shape[2:]))
            cuts[k] = box, *_cut(image[k], mask[k], box, fit_size(box, size, stride), keep)
    together = len({picture.shape for _, picture, _ in cuts.values()}) == 1 and list(cuts) == list(range(len(cuts)))
    for group in [list(cuts)] if together else [[k] for k in cuts]:
        pictures, holes = (torch.cat([cuts[k][part] for k in group]) for part in (1, 2))
        decoded = _decode(vae, sample(vae.encode(pictures.movedim(1, -1)), (holes > 0).float(), group[0]))
        decoded = match_colours(decoded.to(pictures), pictures, holes)
        for k, fill in zip(group, decoded, strict=True):
            out[k] = stitch(image[k], mask[k], cuts[k][0], fill.to(image.device), mix=True)
    return out


def _cut(picture: Tensor, mask: Tensor, box: Box, size: tuple[int, int], keep: bool) -> tuple[Tensor, Tensor]:
    """(1, 3, h, w) and (1, 1, h, w) at the network's size; what stands in the hole does not bleed into what is known."""
    whole, hole = box.cut(picture)[None].float(), box.cut(mask)[None].float()
    known, small = shrink_known(whole, hole, size)
    share = (small < 1).to(known)
    inside = (known * share).sum((2, 3), keepdim=True) / share.sum((2, 3), keepdim=True).clamp(min=1)
    if keep:
        inside = F.interpolate(whole.nan_to_num(), size, mode="bilinear", antialias=True)
    return torch.where(small < 1, known, inside).clamp(0, 1), small


def _decode(vae, latents: Tensor) -> Tensor:
    """(B, 3, h, w) in [0, 1]."""
    return vae.decode(latents).movedim(-1, 1)[:, :3].clamp(0, 1)


def match_colours(decoded: Tensor, picture: Tensor, hole: Tensor) -> Tensor:
    """Take out what the VAE did to the colours, as the known pixels around the hole show it.

    Args:
        decoded, picture: (B, 3, h, w). hole: (B, 1, h, w).

    Returns:
        `decoded` moved by the mean difference on the rim, per channel; as it is where nothing is known.
    """
    reach = 2 * RIM + 1
    rim = (F.max_pool2d((hole > 0).to(picture), reach, 1, RIM) > 0) & (hole == 0)
    count = rim.sum((2, 3), keepdim=True).clamp(min=1)
    return (decoded + ((picture - decoded) * rim).sum((2, 3), keepdim=True) / count).clamp(0, 1)
