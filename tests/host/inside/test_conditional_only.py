"""GradPaint Settings' *conditional only* beside what makes the positive prompt's prediction depend on the negative prompt."""

import pytest
import torch
from families import build, prompts, scene
from helpers import defaults


@pytest.fixture()
def differences(host, monkeypatch):
    """differences(MODEL, positive, negative, only): D(x + dx) - D(x) of each step."""
    guided, seen = host.module("nodes.host.guided_model").GuidedModel, []
    difference = guided._difference
    monkeypatch.setattr(guided, "_difference", lambda self, *a: seen.append(difference(self, *a)) or seen[-1])

    def run(model, positive, negative, only):
        seen.clear()
        (settings,) = host.call("RAI_GradPaintSettings", **defaults(host, "RAI_GradPaintSettings") | {"conditional_only": only})
        options = {"model": model, "seed": 1, "steps": 2, "cfg": 3.0, "positive": positive, "negative": negative, "settings": settings}
        host.call("RAI_GradPaintSampler", **defaults(host, "RAI_GradPaintSampler") | options | {"latent_image": scene("SD1.5", batch=2)})
        return torch.stack(seen)

    return run


def test_nodes_that_change_the_prompts_predictions_before_cfg(host, differences):
    """As APG and FreSca do: with the negative prompt, the positive one's prediction is another."""
    model, (positive, negative) = build("SD1.5"), prompts("SD1.5")
    plain = [differences(model, positive, negative, only) for only in (False, True)]
    assert not torch.equal(*plain)
    model = model.clone()
    model.set_model_sampler_pre_cfg_function(lambda args: args["conds_out"])
    assert torch.equal(*(differences(model, positive, negative, only) for only in (False, True)))


def test_t2i_adapters_whose_hint_is_made_for_both_prompts(host, differences):
    import comfy.controlnet
    import comfy.t2i_adapter.adapter

    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapter = comfy.t2i_adapter.adapter.Adapter(channels=[64, 128], nums_rb=2, cin=192, ksize=1, sk=True, use_conv=False, xl=False)
    control = comfy.controlnet.T2IAdapter(adapter, adapter.input_channels, 8, "nearest-exact")
    control.set_cond_hint(torch.rand(2, 3, 64, 64))
    words = [[[text, {"control": control, "control_apply_to_uncond": True}] for text, _ in each] for each in prompts("SD1.5")]
    assert torch.equal(*(differences(build("SD1.5"), *words, only) for only in (False, True)))
