import sys
from pathlib import Path

import pytest

INSIDE = Path(__file__).parent
sys.path[:0] = [str(INSIDE), str(INSIDE.parents[1]), str(INSIDE.parents[2] / "tools")]


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


@pytest.fixture(scope="module")
def fill(host, adm, rad, landscape):
    """fill(node, ...) runs an inpaint node as the executor would, with defaults, in two steps; -> its IMAGE and the text on the node."""
    import torch
    from comfy_execution.utils import CurrentNodeContext
    from helpers import defaults

    mask = torch.zeros(1, 64, 64)
    mask[:, 20:40, 20:40] = 1
    cond = host.call("RAI_ADMConditioning", class_label=0)[0]
    sdm = host.call("RAI_LoadSDMModel", sdm_name="landscapes (bundled)", precision="float32")[0]
    shared = {"image": landscape[:1], "mask": mask, "seed": 1}
    own = {
        "RAI_RADInpaint": {"model": rad, "steps": 2},
        "RAI_GradPaintInpaint": {"model": adm[0], "vae": adm[1], "positive": cond, "negative": cond, "steps": 2, "cfg": 1.0},
        "RAI_SDMInpaint": {"sdm": sdm, "iterations": 2},
        "RAI_RefineWithRAD": {"model": rad, "steps": 2, "uncertainty": mask / 2},
        "RAI_FillFromPicture": {"preset": "fast"},
    }

    def run(node, **change):
        host.server.messages.clear()
        with CurrentNodeContext("prompt", "7"):
            out = host.call(node, **defaults(host, node) | shared | own[node] | change)
        return out[0], "\n".join(text for text, node_id in host.server.messages if node_id == "7")

    return run
