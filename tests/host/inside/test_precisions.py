"""Every node with networks, pictures and masks of half precision, on the CPU."""

import numpy as np
import pytest
import torch
from graphs import TRANSFORMERS, UNETS, latents, pictures
from helpers import INPAINT_NODES, defaults


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


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["rad sampler", "rad sampler select", "gradpaint sampler", "gradpaint guider"])
def test_samplers_with_a_network_of_half_precision(host, name, precision):
    exact, half = pictures(host, name)[-1], pictures(host, name, precision)[-1]
    assert not np.array_equal(half, exact) and np.abs(half - exact).mean() < 0.05 * 255


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", [*UNETS, *TRANSFORMERS])
def test_latent_models_of_half_precision(host, name, dtype):
    for exact, half in zip(latents(host, name), latents(host, name, dtype), strict=True):
        assert torch.isfinite(half).all() and not torch.equal(half, exact)
        assert (half - exact).abs().mean() < 0.1 * exact.std()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_pictures_and_masks_of_half_precision_in_every_other_node(host, landscape, dtype):
    picture, mask = landscape[:1].to(dtype), torch.zeros(1, 64, 64, dtype=dtype)
    mask[:, 20:40, 20:40] = 1
    filled, known = (picture + 0.1 * mask[..., None]).clamp(0, 1), mask[0] == 0
    call = lambda node, **inputs: host.call(node, **defaults(host, node) | inputs)
    out = call("RAI_MatchFill", filled=filled, original=picture, mask=mask)[0]
    assert torch.equal(out[:, known], picture[:, known]) and not torch.equal(out, picture)
    larger, new = call("RAI_ExtendPicture", image=picture, right=16, preset="fast")
    assert torch.equal(larger[:, :, :64], picture) and torch.isfinite(larger).all() and new[:, :, 64:].min() == 1
    ready = call("RAI_PrepareHole", mask=mask, image=picture, grow=2, feather=3)[0]
    assert ready.sum() > mask.sum() and ready.max() == 1
    shown = call("RAI_UncertaintyHeatMap", image=picture, uncertainty=mask / 2)[0]
    assert shown.shape == (1, 64, 64, 3) and torch.isfinite(shown).all()
    sheet, table = call("RAI_InpaintCompare", original=picture, mask=mask, result_1=filled)
    assert torch.isfinite(sheet).all() and "result 1" in table
    node = host.nodes.NODE_CLASS_MAPPINGS["RAI_BeforeAfter"].EXECUTE_NORMALIZED(before=picture, after=filled)
    assert len(node.ui["images"]) == 2
    size = {"width": 8, "height": 8, "image": picture}
    for node in ("RAI_PerlinMask", "RAI_PerlinMaskAnimation", "RAI_InpaintMaskShapes"):
        assert call(node, **size)[0].shape[1:] == (64, 64)
