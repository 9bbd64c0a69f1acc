"""What a node shows while it works, by a clock of the test's own."""

import pytest
import torch


@pytest.fixture
def clock(host, monkeypatch):
    """The progress module on a clock that the test sets."""
    module = host.module("nodes.host.progress")
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return module, now


def test_the_time_left_is_said_after_a_while_and_not_more_often_than_each_second(host, clock):
    from comfy_execution.utils import CurrentNodeContext

    module, now = clock
    host.server.messages.clear()
    with CurrentNodeContext("prompt", "7"):
        progress = module.Progress()
        progress.words = "step"
        for step in range(1, 101):
            now[0] += 0.5
            progress.report(step, 100, lambda: None)
    texts = [text for text, node in host.server.messages if node == "7"]
    assert texts[0] == "step, 47 s left" and 40 < len(texts) < 50 and texts[-1] == "step, 1 s left"
    assert [module.duration(seconds) for seconds in (89, 150, 3700)] == ["89 s", "2 min", "1 h 2 min"]


def test_previews_take_no_more_than_a_share_of_the_time(clock):
    module, now = clock
    progress, made = module.Progress(), 0

    def preview():
        nonlocal made
        made, now[0] = made + 1, now[0] + 0.01

    for step in range(1, 101):
        now[0] += 0.05
        progress.report(step, 100, preview)
    assert 4 <= made <= 6 and made * 0.01 <= 0.015 * (now[0] - 100)


def test_a_batch_in_parts_is_one_bar(host, monkeypatch):
    import comfy.utils

    seen, module = [], host.module("nodes.host.progress")
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **rest: seen.append((value, total)))
    picture = torch.zeros(1, 3, 8, 8)
    progress = module.Progress(4)
    for start, stop in ((0, 2), (2, 4)):
        report = progress.part(start, stop)
        for step in (1, 2, 3):
            report(step, 3, picture)
    assert seen[0] == (1, 6) and seen[-1] == (6, 6) and seen == sorted(seen)


def test_training_shows_its_samples_its_curve_its_losses_and_the_time_left(host, clock, monkeypatch):
    import comfy.utils
    from comfy_execution.utils import CurrentNodeContext
    from PIL import Image

    _, now = clock
    diffusion, loop = (host.module(f"rad_core.training.{name}") for name in ("diffusion", "loop"))
    plan = diffusion.TrainingPlan([loop.Stage(64, 200, 8)])
    previews = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, preview, **rest: previews.append(preview))
    host.server.messages.clear()
    with CurrentNodeContext("prompt", "7"):
        watch = host.module("nodes.host.training_view").watcher(plan, lambda: Image.new("RGB", (320, 100), "green"))
        for step in range(1, 11):
            now[0] += 1
            watch(step, 200, {"loss": 1 / step})
    assert host.server.messages[-1] == ("step 10 of 200, loss 0.1056, 3 min left", "7")
    first, last = previews[0][1], previews[-1][1]
    assert first.size == last.size == (640, 500) and first.getpixel((320, 50)) == (0, 128, 0)
    assert first.crop((0, 100, 640, 500)).tobytes() != last.crop((0, 100, 640, 500)).tobytes(), "the curve grows"
