"""SDM networks under the host's memory management."""

from collections.abc import Sequence

import comfy.model_management
import comfy.model_patcher
import torch
from torch import nn

from ...rad_core import load_sdm
from ...rad_core.memory import weights_layout
from ...rad_core.sdm import Generator


class SDMModel(nn.Module):
    """Holds a `Generator` for the host, which sets a device attribute that a `Generator` computes itself."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator


def load_sdm_model(path: str, dtype: torch.dtype) -> comfy.model_patcher.ModelPatcher:
    """Load a file that `rad_core.load_sdm` reads. Raises as it does."""
    device = comfy.model_management.get_torch_device()
    net = load_sdm(path, dtype).to(memory_format=weights_layout(device))
    return comfy.model_patcher.ModelPatcher(SDMModel(net), device, comfy.model_management.unet_offload_device())


def load_sdm_network(model: comfy.model_patcher.ModelPatcher, pictures: int, size: Sequence[int] | None = None) -> Generator:
    """Load a network onto the host's device, with room for this many pictures of `size` (height, width), or of its own size."""
    generator = model.model.generator
    height, width = size or (generator.size, generator.size)
    bytes_each = torch.finfo(generator.code.weight.dtype).bits // 8
    needed = 16 * bytes_each * generator.config.widths[0] * pictures * height * width  # about 16 full-size maps exist at the same time
    # layers of equalised learning rate scale their weights when used, so the host cannot stream them piece by piece
    comfy.model_management.load_models_gpu([model], memory_required=needed, force_full_load=True)
    return generator
