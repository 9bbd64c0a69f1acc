"""Methods without a network on the host's device."""

import comfy.model_management
import torch
from torch import Tensor

SPARE = 2**29  # bytes that a search of patches takes beside the pictures
FLOATS = 32  # numbers for each pixel of a picture that exist at the same time, about


def on_device(picture: Tensor, *others: Tensor | None) -> tuple[Tensor | None, ...]:
    """Move pictures (B, C, H, W) and what belongs to them to the host's device.

    Room is made there for them, for results as large as the pictures, and for the work on one of them.
    """
    device = comfy.model_management.get_torch_device()
    if device.type == "mps":  # untested there, and torch indexes large tensors wrongly on it (pytorch#181867)
        device = torch.device("cpu")
    moved = sum(maps.nbytes for maps in (picture, picture, *others) if maps is not None)
    comfy.model_management.free_memory(SPARE + moved + FLOATS * 4 * picture.shape[-1] * picture.shape[-2], device)
    return tuple(None if maps is None else maps.to(device) for maps in (picture, *others))


def to_host(maps: Tensor) -> Tensor:
    """Move a result to where the host keeps results between nodes."""
    return maps.to(comfy.model_management.intermediate_device())
