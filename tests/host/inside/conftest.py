import sys
from pathlib import Path

import pytest

INSIDE = Path(__file__).parent
sys.path[:0] = [str(INSIDE), str(INSIDE.parents[2] / "tools")]


@pytest.fixture(scope="session")
def host():
    from host import Host

    return Host()


@pytest.fixture(scope="module")
def adm(host):
    """MODEL, VAE of the landscapes network."""
    return host.call("RAI_LoadADMModel", model_name="landscapes (bundled)", attention_order="auto", precision="float32")


@pytest.fixture(scope="module")
def rad(host, adm):
    """MODEL with the RAD adapter."""
    return host.call("RAI_LoadRADAdapter", model=adm[0], adapter_name="landscapes (bundled)", strength=1.0)[0]


@pytest.fixture(scope="module")
def landscape(host):
    """IMAGE (2, 64, 64, 3)."""
    return host.call("RAI_DrawLandscape", size=64, batch_size=2, seed=7, time_of_day="any")[0]
