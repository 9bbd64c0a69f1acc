"""Running a method of `rad_core` inside the host: memory, progress, previews, cancelling."""

import logging
from collections.abc import Callable

import comfy.model_management
import comfy.utils
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .adm import need_adm


class HostNetwork:
    """An ADM MODEL that the host has loaded, as a network for `rad_core`."""

    def __init__(self, model, node: str):
        self.inner = need_adm(model, node)
        self.config, self.region_aware, self.device = self.inner.diffusion_model.config, self.inner.region_aware, model.load_device
        self.dtype = self.inner.manual_cast_dtype or self.inner.get_dtype()  # that it computes in

    def __call__(self, x: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        return self.inner.diffusion_model(x, t, *labels)


def loaded(model, node: str, pictures: int) -> HostNetwork:
    """Bring a MODEL onto the host's device with its patches, making room for a batch of so many pictures."""
    inner = need_adm(model, node)
    size = inner.diffusion_model.config.image_size
    comfy.model_management.load_models_gpu([model], memory_required=inner.memory_required((pictures, 3, size, size)))
    return HostNetwork(model, node)


def is_oom(error: Exception) -> bool:
    """Newer hosts know more kinds of it."""
    return getattr(comfy.model_management, "is_oom", lambda e: isinstance(e, comfy.model_management.OOM_EXCEPTION))(error)


ADVICE = "Choose a smaller context or picture, or float16 in 'Load ADM Model'."


def in_batches(work: Callable[[int, int], Tensor | tuple], count: int, advice: str = ADVICE) -> Tensor | tuple:
    """work(start, stop) -> a batch of results or several, for all `count` pictures; where memory runs out, in halves.

    Raises:
        MemoryError: a single picture does not fit.
    """
    parts, start, size = [], 0, count
    while start < count:
        try:
            parts.append(work(start, min(start + size, count)))
            start += size
        except Exception as error:
            if not is_oom(error):
                raise
            if size == 1:
                raise MemoryError(f"Not even one picture fits into the GPU's memory. {advice}") from None
            size = (size + 1) // 2
            logging.warning(f"Out of GPU memory: going on with {size} pictures at a time.")
        if start < count:
            comfy.model_management.soft_empty_cache()
    return tuple(map(torch.cat, zip(*parts, strict=True))) if isinstance(parts[0], tuple) else torch.cat(parts)


def progress(steps: int) -> Callable[[int, int, Tensor], None]:
    """A callback for `rad_core`: the node's progress bar with a preview of x0, and the host's cancel button."""
    bar = comfy.utils.ProgressBar(steps)

    def report(step: int, total: int, x0: Tensor) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        pixels = (x0[0].clamp(0, 1).movedim(0, 2) * 255).round().to("cpu", torch.uint8).numpy()
        bar.update_absolute(step, total, ("JPEG", Image.fromarray(np.ascontiguousarray(pixels)), 512))

    return report
