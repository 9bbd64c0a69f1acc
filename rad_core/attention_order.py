"""The two orders in which guided-diffusion stores an attention's q, k and v channels.

"legacy" interleaves them by head: (heads, 3, channels per head). "new" stores all q, then all k, then all v. Mistaking one for the
other costs 44 % relative error, and nothing in the file says which one it has. The network itself runs on the new order.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .denoisers import ADMDenoiser
from .noise import generators, normal
from .schedule import NoiseSchedule
from .unet import Attention, UNet

STEP = 300  # of noise, at which the two orders are compared


def rows_in_other_order(parts: Sequence[Tensor], heads: int, to_new: bool) -> tuple[Tensor, ...]:
    """Reorder the rows of the q, k and v parts of a tensor, (C, ...) each, from "legacy" to "new" or back."""
    stacked = torch.cat(list(parts))
    shape = (heads, 3, -1) if to_new else (3, heads, -1)
    return stacked.view(*shape, *stacked.shape[1:]).transpose(0, 1).reshape(stacked.shape).chunk(3)


@torch.no_grad()
def _regroup(net: UNet, to_new: bool) -> None:
    for block in net.modules():
        if isinstance(block, Attention):
            layers = block.to_q, block.to_k, block.to_v
            for name in ("weight", "bias"):
                reordered = rows_in_other_order([getattr(layer, name) for layer in layers], block.heads, to_new)
                for layer, part in zip(layers, reordered, strict=True):
                    setattr(layer, name, nn.Parameter(part.clone(), requires_grad=False))


def legacy_to_new(net: UNet) -> None:
    """Reorder q, k and v in place, for a network whose file was in the legacy order."""
    _regroup(net, to_new=True)


def new_to_legacy(net: UNet) -> None:
    """The inverse of `legacy_to_new`."""
    _regroup(net, to_new=False)


@torch.no_grad()
def noise_error(net: UNet, image: Tensor) -> float:
    """Mean squared error of the network's x0 for a picture (1, 3, H, W) in [0, 1] that is noised to step `STEP`."""
    schedule = NoiseSchedule(net.config.schedule)
    sigma = schedule.level_sigma[STEP + 1].float().to(image.device)
    noise = normal(generators(0, 1, "attention order"), image.shape[1:], image.device)
    x = image * 2 - 1 + sigma * noise
    labels = torch.zeros(1, dtype=torch.long, device=image.device) if net.config.num_classes else None
    x0 = ADMDenoiser(net, region_aware=False, labels=labels, schedule=schedule)(x, sigma)
    return float((x0 - (image * 2 - 1)).square().mean())


def pick_order(net: UNet, image: Tensor | None) -> str:
    """Find the attention order of a network's file: the one that denoises better. The network is not changed.

    Args:
        net: the network, loaded as if its file were in the new order.
        image: (1, 3, H, W) in [0, 1], a picture of the network's domain; None for a synthetic landscape.

    Returns:
        "legacy" or "new"; "new" if there is no clear difference.
    """
    from .synthetic import landscapes

    size, stride = net.config.image_size, net.config.stride
    if image is None:
        image = landscapes(1, size)
    side = max(stride, size // stride * stride)
    image = F.interpolate(image.to(net.device).float(), (side, side), mode="bilinear", antialias=True)
    new = noise_error(net, image)
    legacy_to_new(net)
    legacy = noise_error(net, image)
    new_to_legacy(net)
    return "legacy" if legacy < 0.98 * new else "new"
