"""What *Train RAD Adapter* shows while it runs: the last samples, the curve of the losses, the step and the time left."""

from collections.abc import Callable

from PIL import Image

from ...rad_core.training.diffusion import TrainingPlan
from ...rad_core.training.log import Log, loss_curve
from .progress import Progress

CURVE_POINTS = 100  # of the curve
SIDE = 768  # longest side of what is shown


def watcher(plan: TrainingPlan, samples: Callable[[], Image.Image]) -> Callable[[int, int, dict[str, float]], None]:
    """A callback of `train` that shows all of this on the node; `samples()` is the last sheet."""
    progress, live, means = Progress(), Log(), ""
    every = max(1, plan.steps // CURVE_POINTS)

    def watch(step: int, steps: int, losses: dict[str, float]) -> None:
        nonlocal means
        live.add(step, plan.stages[0].size, plan.stages[0].batch, losses)
        if step % every == 0 or not live.rows:
            means = "".join(f", {name} {value}" for name, value in live.write().items() if name in losses)
        progress.words = f"step {step} of {steps}{means}"
        progress.report(step, steps, lambda: ("JPEG", _stack(samples(), loss_curve(live.rows)), SIDE))

    return watch


def _stack(above: Image.Image, below: Image.Image) -> Image.Image:
    """One picture below another, as wide as the wider of them."""
    width = max(above.width, below.width)
    below = below.resize((width, round(below.height * width / below.width)))
    out = Image.new("RGB", (width, above.height + below.height), "white")
    out.paste(above, ((width - above.width) // 2, 0))
    out.paste(below, (0, above.height))
    return out
