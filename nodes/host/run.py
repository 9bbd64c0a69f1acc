"""Running a method of `rad_core` inside the host: its network, and its memory."""

from collections.abc import Callable

import comfy.model_management
import torch
from torch import Tensor

from ...rad_core.memory import out_of_memory
from ...rad_core.notes import note
from .adm import REGION_AWARE, ADMModel, need_adm


class HostNetwork:
    """An ADM MODEL as a `rad_core.denoisers.Network`. The host loads it, with its patches, when it is first called.

    Of two MODELs that share a network, such as one with two adapters, only the one that was loaded last has its patches in place:
    use one of these to its end before the next is called, and make a new one to come back to it.

    Args:
        node: the name of the node that needs it.
        pictures: the batch, in pictures of the network's size, that there must be room for.

    Raises:
        ValueError: another kind of MODEL than the node needs.
    """

    def __init__(self, model, node: str, pictures: int):
        inner: ADMModel = need_adm(model, node)
        self.model, self.net, self.pictures, self.loaded = model, model.get_model_object("diffusion_model"), pictures, False
        self.config, self.region_aware, self.device = inner.diffusion_model.config, model.get_model_object(REGION_AWARE), model.load_device
        self.dtype = model.get_model_object("manual_cast_dtype") or inner.get_dtype()

    def __call__(self, x: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        if not self.loaded:
            size = self.config.image_size
            required = self.model.model.memory_required((self.pictures, 3, size, size))
            comfy.model_management.load_models_gpu([self.model], memory_required=required)
            self.loaded = True
        return self.net(x, t, *labels)


REDRAWN = 6  # pictures of the network's size have as many pixels as one at about twice that size


def rad_networks(model, detail_model, node: str, count: int, detail: float) -> tuple[HostNetwork, HostNetwork | None]:
    """The networks of one call of `rad_inpaint`, with its number of pictures and its `detail`: net and detail_net."""
    pictures = max(count, REDRAWN if detail else 1)
    return HostNetwork(model, node, pictures), None if detail_model is None else HostNetwork(detail_model, node, pictures)


def class_labels(model, node: str, count: int, label: int) -> Tensor | None:
    """The class label of each picture, (count,), where the ADM MODEL draws by class. Raises ValueError for another kind of MODEL."""
    return torch.full((count,), label) if need_adm(model, node).diffusion_model.config.num_classes else None


def is_oom(error: Exception) -> bool:
    """Whether memory ran out. Newer hosts know more kinds of such errors than older ones, and neither those of Macs and DirectML."""
    known = getattr(comfy.model_management, "is_oom", lambda e: isinstance(e, comfy.model_management.OOM_EXCEPTION))
    return known(error) or out_of_memory(error)


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
