"""SDM networks in the host's care: it moves them to its device and back, and makes room."""

import comfy.model_management
import comfy.model_patcher
import torch
from torch import nn

from ...rad_core import load_sdm
from ...rad_core.sdm import Generator


class SDMModel(nn.Module):
    """What the host holds. (A `Generator` tells its device itself; the host wants to write it down.)"""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator


def load_sdm_model(path: str, dtype: torch.dtype) -> comfy.model_patcher.ModelPatcher:
    """Load a file that `rad_core.load_sdm` reads. Raises as it does."""
    devices = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    return comfy.model_patcher.ModelPatcher(SDMModel(load_sdm(path, dtype)), *devices)


def loaded_sdm(model: comfy.model_patcher.ModelPatcher, shape: tuple[int, int, int]) -> Generator:
    """Bring a network onto the host's device, making room for (count, height, width) of pictures."""
    generator = model.model.generator
    size = torch.finfo(generator.code.weight.dtype).bits // 8
    needed = 16 * size * generator.config.widths[0] * torch.Size(shape).numel()  # about that many maps at full size live at once
    # layers of equalised learning rate scale their weights when used, so the host cannot stream them piece by piece
    comfy.model_management.load_models_gpu([model], memory_required=needed, force_full_load=True)
    return generator
