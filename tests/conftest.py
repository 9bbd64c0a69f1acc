"""Fixtures and helpers that several test files share."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rad_core import UNet, UNetConfig

torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, torch.get_num_threads()))
DATA = Path(__file__).parent / "data"
FULL_ORACLE = Path(os.environ.get("RAD_ORACLE", Path(__file__).parents[2] / "shared" / "oracle"))


@pytest.fixture(scope="session")
def oracle() -> dict[str, np.ndarray]:
    """Numbers printed by the RAD authors' program, trimmed (see tests/data/README.md)."""
    with np.load(DATA / "oracle.npz") as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture(scope="session")
def full_oracle() -> Path:
    """Folder with the authors' random weights. Too large for the repository: it is beside it, or where RAD_ORACLE points."""
    if not (FULL_ORACLE / "base").is_dir():
        pytest.skip("SKIPPED: the authors' random weights (12 MB) are missing; set RAD_ORACLE to their folder to compare whole networks")
    return FULL_ORACLE


@pytest.fixture()
def tiny_net() -> UNet:
    """A random network small enough for property tests: 32 channels, two levels, attention at the lower one."""
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32, 64), 1, (1,), 32, image_size=16)).eval().requires_grad_(False)
    net.region_aware = True
    return net


def hole_changed(out: Tensor, image: Tensor, mask: Tensor) -> bool:
    """Whether every picture with a hole has new values in it. Pictures (B, 3, H, W), mask (B, 1, H, W); only pixels of mask 1 count."""
    hole = (mask == 1).expand_as(image)
    changed = ((out != image) & hole).flatten(1).any(1)
    return bool((changed | ~hole.flatten(1).any(1)).all())


def noise_picture(n=1, height=48, width=48, seed=0, dtype=torch.float32):
    """Smooth random pictures with some grain."""
    g = torch.Generator().manual_seed(seed)
    coarse = F.interpolate(torch.rand(n, 3, 6, 6, generator=g), (height, width), mode="bicubic").clamp(0, 1)
    return (0.9 * coarse + 0.1 * torch.rand(n, 3, height, width, generator=g)).to(dtype)


def box_mask(height, width, top, left, h, w):
    mask = torch.zeros(height, width)
    mask[top : top + h, left : left + w] = 1
    return mask


def rmse(a, b, mask):
    return float((a - b).square().mean(1, keepdim=True)[(mask > 0).expand(len(a), 1, *a.shape[2:])].mean().sqrt())
