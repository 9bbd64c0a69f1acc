import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rad_core import UNet, UNetConfig

torch.set_num_threads(2)
DATA = Path(__file__).parent / "data"
FULL_ORACLE = Path(os.environ.get("RAD_ORACLE", Path(__file__).parents[2] / "shared" / "oracle"))


@pytest.fixture(scope="session")
def oracle() -> dict[str, np.ndarray]:
    """Numbers printed by the RAD authors' program, trimmed (see tests/data/README.md)."""
    with np.load(DATA / "oracle.npz") as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture(scope="session")
def full_oracle() -> Path:
    """Folder with the authors' random weights: too large for the repository, so found beside it or at RAD_ORACLE."""
    if not (FULL_ORACLE / "base").is_dir():
        pytest.skip("SKIPPED: the authors' random weights (12 MB) are not here; set RAD_ORACLE to their folder to compare whole networks")
    return FULL_ORACLE


@pytest.fixture()
def tiny_net() -> UNet:
    """A random network small enough for property tests: 32 channels, two levels, attention at the lower."""
    torch.manual_seed(0)
    net = UNet(UNetConfig(32, (32, 64), 1, (1,), 32, image_size=16)).eval().requires_grad_(False)
    net.region_aware = True
    return net
