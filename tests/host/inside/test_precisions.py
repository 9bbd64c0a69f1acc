"""Every inpaint node with networks and pictures of half precision, on the CPU."""

import pytest
import torch
from helpers import INPAINT_NODES


@pytest.fixture(scope="module", params=["bfloat16", "float16"])
def half(request, host):
    """What loaders give in half precision, by the nodes' inputs."""
    model, vae = host.call("RAI_LoadADMModel", model_name="landscapes (bundled)", attention_order="auto", precision=request.param)
    rad = host.call("RAI_LoadRADAdapter", model=model, adapter_name="landscapes (bundled)", strength=1.0)[0]
    sdm = host.call("RAI_LoadSDMModel", sdm_name="landscapes (bundled)", precision=request.param)[0]
    return {
        "RAI_RADInpaint": {"model": rad},
        "RAI_RefineWithRAD": {"model": rad},
        "RAI_GradPaintInpaint": {"model": model, "vae": vae},
        "RAI_SDMInpaint": {"sdm": sdm},
        "RAI_FillFromPicture": {},
    }


@pytest.mark.parametrize("node", INPAINT_NODES)
def test_half_precision_fills_as_float32_does(fill, half, landscape, node):
    image, known = landscape[:1], torch.ones(64, 64, dtype=torch.bool)
    known[20:40, 20:40] = False
    exact, _ = fill(node)
    out, _ = fill(node, **half[node])
    assert torch.equal(out[:, known], image[:, known]) and torch.isfinite(out).all()
    assert (out - exact).abs().mean() < 0.05
    for dtype in (torch.float16, torch.bfloat16):
        picture = image.to(dtype)
        out, _ = fill(node, image=picture)
        assert (
            torch.equal(out[:, known], picture[:, known])
            and not torch.equal(out[:, ~known], picture[:, ~known])
            and torch.isfinite(out).all()
        )
