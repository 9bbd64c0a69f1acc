"""Running a method of `rad_core` inside the host: its network, and its memory."""

from collections.abc import Callable

import comfy.model_management
import torch
from torch import Tensor

from ...rad_core.notes import note
from .adm import ADMModel, need_adm


class HostNetwork:
    """An ADM MODEL that the host has loaded, as a `rad_core.denoisers.Network`."""

    def __init__(self, inner: ADMModel, device: torch.device):
        self.net = inner.diffusion_model
        self.config, self.region_aware, self.device = self.net.config, inner.region_aware, device
        self.dtype = inner.manual_cast_dtype or inner.get_dtype()

    def __call__(self, x: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        return self.net(x, t, *labels)


def load_network(model, node: str, pictures: int) -> HostNetwork:
    """Load an ADM MODEL with its patches onto the host's device, with room for a batch of this many pictures of its size.

    Raises:
        ValueError: another kind of MODEL than the node of this name needs.
    """
    inner = need_adm(model, node)
    size = inner.diffusion_model.config.image_size
    comfy.model_management.load_models_gpu([model], memory_required=inner.memory_required((pictures, 3, size, size)))
    return HostNetwork(inner, model.load_device)


def is_oom(error: Exception) -> bool:
    """Whether a GPU's memory ran out. Newer hosts know more kinds of such errors."""
    return getattr(comfy.model_management, "is_oom", lambda e: isinstance(e, comfy.model_management.OOM_EXCEPTION))(error)


REDRAWN = 6  # pictures of the network's size have as many pixels as one at about twice that size
ADVICE = "Choose a smaller context or picture, detail 0, or float16 in 'Load ADM Model'."


def in_batches(work: Callable[[int, int], Tensor | tuple], count: int, advice: str = ADVICE, one: str = "one picture") -> Tensor | tuple:
    """Run work(start, stop), which returns a tensor or several, on `count` pictures; where memory runs out, on half as many at a time.

    Args:
        advice: what to do if a single picture does not fit. one: what that is, where it is something else.

    Returns:
        the results of all pictures, concatenated.

    Raises:
        MemoryError: a single picture does not fit.
    """
    results, start, size = [], 0, count
    while start < count:
        try:
            results.append(work(start, min(start + size, count)))
            start += size
        except Exception as error:
            if not is_oom(error):
                raise
            if size == 1:
                raise MemoryError(f"Not even {one} fits into the GPU's memory. {advice}") from None
            size = (size + 1) // 2
            note(f"Out of GPU memory: continuing with {size} pictures at a time.")
        if start < count:
            comfy.model_management.soft_empty_cache()
    return tuple(map(torch.cat, zip(*results, strict=True))) if isinstance(results[0], tuple) else torch.cat(results)
