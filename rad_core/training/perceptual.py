"""High receptive field perceptual loss: features of a dilated ResNet50 (SDM 3.3; Suvorov et al. 2022).

The user supplies the weights: the paper's ADE20K segmentation encoder (whose stem has three small convolutions), or any ResNet50 under
torchvision's names.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints import CheckpointError, read_tensors

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLOCKS = ((3, 64, 1, 1), (4, 128, 2, 1), (6, 256, 1, 2), (3, 512, 1, 4))  # blocks, width, stride, dilation of each layer


class Bottleneck(nn.Module):
    """ResNet's bottleneck block: 1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int, project: bool):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        shortcut = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
        self.downsample = shortcut if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class DilatedResNet50(nn.Module):
    """The feature maps of ResNet50's four layers, at 1/4, 1/8, 1/8 and 1/8 of the size: the last two are dilated instead of strided.

    Args:
        deep: the stem has three 3x3 convolutions instead of a 7x7 one.
    """

    def __init__(self, deep: bool):
        super().__init__()
        stem = ((3, 64, 3, 2), (64, 64, 3, 1), (64, 128, 3, 1)) if deep else ((3, 64, 7, 2),)
        for k, (inputs, outputs, kernel, stride) in enumerate(stem, 1):
            setattr(self, f"conv{k}", nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False))
            setattr(self, f"bn{k}", nn.BatchNorm2d(outputs))
        self.stem, channels = len(stem), stem[-1][1]
        for k, (count, width, stride, dilation) in enumerate(BLOCKS, 1):
            # the first block of a dilated layer, which would have had the stride, has half the dilation
            first = Bottleneck(channels, width, stride, max(1, dilation // 2), True)
            rest = (Bottleneck(4 * width, width, 1, dilation, False) for _ in range(count - 1))
            setattr(self, f"layer{k}", nn.Sequential(first, *rest))
            channels = 4 * width

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Pictures (B, 3, H, W) in [-1, 1] -> four feature maps."""
        mean, std = (torch.tensor(values, device=pictures.device).view(3, 1, 1) for values in (MEAN, STD))
        x, maps = (pictures / 2 + 0.5 - mean) / std, []
        for k in range(1, self.stem + 1):
            x = F.relu(getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(x)))
        x = F.max_pool2d(x, 3, 2, 1)
        for k in range(1, len(BLOCKS) + 1):
            x = getattr(self, f"layer{k}")(x)
            maps.append(x)
        return maps


def load_perceptual(path: str | Path) -> DilatedResNet50:
    """Load a ResNet50's weights, frozen and in eval mode; its classifier, if present, is ignored.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file does not hold the weights of a ResNet50.
    """
    tensors, _ = read_tensors(path := Path(path))
    tensors = {name.removeprefix("module.").removeprefix("encoder."): tensor for name, tensor in tensors.items()}
    if "conv1.weight" not in tensors:
        raise CheckpointError(f"{path.name} is not a ResNet50: 'conv1.weight' is missing.")
    net = DilatedResNet50(deep=tensors["conv1.weight"].shape[-1] == 3)
    for name, expected in net.state_dict().items():
        if name not in tensors and name.endswith("num_batches_tracked"):
            tensors[name] = expected  # missing in older files, and unused in eval mode
        if name not in tensors or tensors[name].shape != expected.shape:
            found = "missing" if name not in tensors else f"of shape {tuple(tensors[name].shape)}, expected {tuple(expected.shape)}"
            raise CheckpointError(f"{path.name} is not a ResNet50: '{name}' is {found}.")
    net.load_state_dict({name: tensors[name] for name in net.state_dict()})
    return net.eval().requires_grad_(False)


def feature_distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Mean squared difference of two lists of feature maps, summed over the layers."""
    return sum(F.mse_loss(x, y) for x, y in zip(a, b, strict=True))
