"""GradPaint under every sampler of the host, on a MODEL whose answer is known: never worse than plain combining."""

import math

import pytest
from gaussian import KINDS, errors

STEPS, CONVERGED = 8, 1.5  # pictures have a deviation of 1: a sampler that is farther from the mean has not converged in so few steps
SOME = ("euler", "ddim", "dpmpp_2m", "dpmpp_2m_cfg_pp", "uni_pc", "heun", "er_sde", "dpm_adaptive")


@pytest.mark.parametrize("kind", list(KINDS))
def test_guidance_is_never_worse_than_combining(host, kind):
    import comfy.samplers

    found = {}
    for sampler in comfy.samplers.SAMPLER_NAMES if kind in ("noise", "flow") else SOME:
        found[sampler] = combine, plus = errors(host, kind, sampler, STEPS)
        assert math.isfinite(plus), sampler
        assert combine > CONVERGED or plus < combine, (sampler, combine, plus)
    print(kind, found)
    assert sum(combine < CONVERGED for combine, _ in found.values()) >= 0.8 * len(found)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_few_steps(host, steps):
    for kind in ("noise", "flow"):
        for sampler in ("euler", "dpmpp_2m", "res_multistep"):
            combine, plus = errors(host, kind, sampler, steps)
            assert combine > CONVERGED or plus <= combine, (kind, sampler, combine, plus)  # a flow's first estimate knows nothing
