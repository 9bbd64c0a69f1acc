"""GradPaint on every family of MODELs that the host knows, on tiny ones with random weights."""

import pytest
from families import FAMILIES, in_host
from matrix import REFUSED, check


@pytest.fixture()
def guidances(host, monkeypatch):
    """The `GradPaint` objects of the runs that follow."""
    guided, made = host.module("nodes.host.guided_model"), []
    make = guided.GradPaint
    monkeypatch.setattr(guided, "GradPaint", lambda *a, **k: made.append(make(*a, **k)) or made[-1])
    return made


@pytest.mark.parametrize("name", list(FAMILIES))
def test_known_latents_stay_and_the_loss_falls(host, guidances, name):
    if not in_host(name):
        pytest.skip(f"this host does not know {name}")
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            check(host, name, guidances)
        return
    result = check(host, name, guidances)
    print(name, result)
    assert result.known <= 1e-6 and result.changed > 0.99
    assert result.guidance > 0.01 and result.guider < 1e-5
    # random weights may say anything about the rim of a picture whose known part they do not see noised
    assert result.clean or result.loss[1] < result.loss[0]
    assert result.alone is None or result.alone < 0.02  # random weights amplify rounding
