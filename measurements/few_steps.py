"""GradPaint with few network calls, against combining, DInG and LanPaint at as many calls: on an exact Gaussian and on unseen landscapes.

`python -m measurements.few_steps -o docs` writes results/few_steps.json there; safe to interrupt, run again to resume. On the Gaussian
the error is the distance to the hole's known conditional mean; on landscapes it is the distance to the truth. Interval: 95 %, by
resampling the pictures.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from measurements.gaussian import GaussianDenoiser, conditional_mean, covariance_of
from measurements.landscapes import holes
from rad_core.atomic import atomic_write
from rad_core.bench.baselines import BASELINES, baseline_inpaint
from rad_core.bench.statistics import bootstrap
from rad_core.checkpoints import load_model
from rad_core.gradpaint import PRESETS, gradpaint_inpaint
from rad_core.guidance import GradPaint, Guidance, KnownPixels
from rad_core.metrics import hole_rmse, save_table, seam
from rad_core.noise import generators, normal
from rad_core.samplers import RESPONSE, SAMPLERS, SPACING
from rad_core.schedule import RegionSchedule
from rad_core.synthetic import UNSEEN, landscapes

BUDGETS = (4, 8, 16, 30)  # network calls in all
PLUS = PRESETS["plus"].guidance
GUIDANCES = {
    "combine": PRESETS["combine"].guidance,
    "plus": PLUS,
    "turbo": PRESETS["turbo"].guidance,
    "plus without carrying": replace(PLUS, carry=False),
    "plus, every second step": replace(PLUS, every=2),
    "plus, first half": replace(PLUS, until=0.5),
    "paper": PRESETS["paper"].guidance,
}
MEASURES = {"hole RMSE": hole_rmse, "seam": seam}
PIECE = 30  # pictures
SIDE = 12  # of the Gaussian's pictures


def steps_for(guidance: Guidance, calls: int) -> int:
    """The most steps that a number of network calls allows."""
    return max(steps for steps in range(1, calls + 1) if guidance.calls(steps) <= calls)


def baseline_steps(name: str, calls: int) -> int | None:
    """The same for a method of another paper; None where one step costs more."""
    return max((steps for steps in range(1, calls + 1) if BASELINES[name].calls(steps) <= calls), default=None)


class Gaussian(GaussianDenoiser):
    """Pictures of one channel that are Gaussian with covariance exp(-distance / 3), and their exact denoiser."""

    def __init__(self):
        super().__init__(covariance_of(SIDE, 3))
        self.mask = torch.zeros(1, 1, SIDE, SIDE)
        self.mask[..., 3:9, 4:10] = 1

    def pictures(self, count: int) -> Tensor:
        white = normal(generators(0, count, "pictures"), (SIDE * SIDE,)).double()
        return (white * self.values.clamp(min=0).sqrt() @ self.vectors.T).view(count, 1, SIDE, SIDE).float()

    def error(self, out: Tensor, picture: Tensor) -> Tensor:
        """Root mean square distance to E[x0 | known pixels] in each picture's hole: (B,)."""
        mean = conditional_mean(picture, self.mask, self.covariance)
        return ((out - mean).square() * self.mask).flatten(1).sum(1).div(self.mask.sum()).sqrt()


def levels(steps: int, spacing: str, flow: bool) -> list[Tensor]:
    """Noise levels of a variance-preserving model, or of a flow with shift 3 in the same terms, sigma / (1 - sigma)."""
    if not flow:
        return RegionSchedule().sigmas(torch.ones(1, 1, 1, 1), steps, spacing)
    t = torch.linspace(1, 0, steps + 1)
    t = (3 * t / (1 + 2 * t)).clamp(max=0.999)
    return list((t / (1 - t)).view(-1, 1, 1, 1, 1))


def on_gaussian(count: int) -> dict:
    """RMSE to the conditional mean by sampler, kind of model, method and calls."""
    model, rows = Gaussian(), {}
    picture = model.pictures(count)
    for flow in (False, True):
        for sampler in SAMPLERS:
            for label, guidance in GUIDANCES.items():
                errors = []
                for calls in BUDGETS:
                    sigmas = levels(steps_for(guidance, calls), SPACING[sampler], flow)
                    noise = partial(normal, generators(1, count, "sampling"), picture.shape[1:])
                    combine = lambda x, sigma, mask, noise=noise: torch.lerp(picture + sigma * noise(), x, mask)
                    known = KnownPixels(picture, model.mask, combine=combine)
                    guided = GradPaint(model, known, sigmas, guidance, RESPONSE[sampler])
                    errors.append(model.error(SAMPLERS[sampler](guided, sigmas[0] * noise(), sigmas, noise), picture))
                rows[f"{'flow' if flow else 'noise'}, {sampler}, {label}"] = {
                    f"{c} calls": interval(e) for c, e in zip(BUDGETS, errors, strict=True)
                }
        for name in ("ding", "lanpaint"):
            errors = {}
            for calls in BUDGETS:
                steps = baseline_steps(name, calls)
                if steps:
                    noise = partial(normal, generators(1, count, "sampling"), picture.shape[1:])
                    sigmas = levels(steps, "time", flow)
                    mask = model.mask.expand(count, -1, -1, -1)
                    out = BASELINES[name].sample(model, sigmas[0] * noise(), sigmas, noise, picture=picture, mask=mask)
                    errors[f"{calls} calls"] = interval(model.error(out, picture))
            rows[f"{'flow' if flow else 'noise'}, {name}"] = errors
    return rows


def on_landscapes(count: int, methods: dict[str, Callable], pieces: Path) -> None:
    """Fill `count` pictures with the bundled plain network; boxes, extreme and wide masks in turn. Measures are kept in `pieces`.

    A piece is the measures of some pictures filled by one method with so many calls; those that are there already are not made again.
    """
    net = load_model("landscapes").to(memory_format=torch.channels_last)
    truth, mask = landscapes(count, 64, seed=UNSEEN), holes(count)
    for calls in BUDGETS:
        for start in range(0, count, PIECE):
            part = slice(start, start + PIECE)
            for label, fill in methods.items():
                path = pieces / f"{label}, {calls} calls, {start}+{len(truth[part])}.json"
                if path.exists():
                    continue
                out = fill(net, truth[part], mask[part], calls, start)
                if out is not None:
                    measured = {name: measure(out, truth[part], mask[part]).tolist() for name, measure in MEASURES.items()}
                    atomic_write(path, lambda whole, measured=measured: Path(whole).write_text(json.dumps(measured)))


def landscape_table(pieces: Path) -> dict:
    """Mean hole RMSE and median seam of every method and number of calls: over all pictures that every method has filled with as many."""
    read = {}  # calls: {label: {"start+count": measures}}
    for path in pieces.glob("*.json"):
        label, calls, start = path.stem.rsplit(", ", 2)
        read.setdefault(calls, {}).setdefault(label, {})[start] = json.loads(path.read_text())
    rows = {}
    for calls in sorted(read, key=lambda calls: int(calls.split()[0])):
        starts = sorted(set.intersection(*(set(parts) for parts in read[calls].values())))
        for label, parts in sorted(read[calls].items()):
            for name, middle in (("hole RMSE", torch.mean), ("seam", torch.median)):
                values = torch.tensor([value for start in starts for value in parts[start][name]])
                rows.setdefault(f"landscapes, {label}, {name}", {})[calls] = f"{interval(values, middle)}, {len(values)} pictures"
    return rows


def landscape_methods() -> dict[str, Callable]:
    """By label: (net, image, mask, calls, seed) -> fills, or None where a step costs more calls."""

    def guided(label: str, sampler: str, net, image, mask, calls, seed):
        guidance = GUIDANCES[label]
        return gradpaint_inpaint(net, image, mask, seed=seed, steps=steps_for(guidance, calls), sampler=sampler, guidance=guidance)

    def baseline(name: str, net, image, mask, calls, seed):
        steps = baseline_steps(name, calls)
        return baseline_inpaint(net, image, mask, baseline=name, steps=steps, seed=seed) if steps else None

    labels, samplers = ("combine", "plus", "turbo"), ("ddim", "dpmpp_2m")
    own = {f"{label}, {sampler}": partial(guided, label, sampler) for sampler in samplers for label in labels}
    return own | {"DInG": partial(baseline, "ding"), "LanPaint": partial(baseline, "lanpaint")}


def interval(values: Tensor, middle: Callable = torch.mean) -> str:
    """The mean (or another middle) of pictures, and its 95 % interval: "0.336 [0.321, 0.351]"."""
    low, high = bootstrap(lambda picks: float(middle(values[picks])), len(values))
    return f"{float(middle(values)):.3g} [{low:.3g}, {high:.3g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"), help="folder (default: docs)")
    parser.add_argument("-n", "--count", type=int, default=600, help="landscapes (default: 600; 0 for the Gaussian alone)")
    parser.add_argument("--pieces", type=Path, default=Path("few_steps"), help="folder that keeps what is measured (default: few_steps)")
    options = parser.parse_args()
    options.pieces.mkdir(exist_ok=True)
    if options.count:
        on_landscapes(options.count, landscape_methods(), options.pieces)
    rows = {f"Gaussian, {label}": row for label, row in on_gaussian(200).items()} | landscape_table(options.pieces)
    save_table(rows, options.output / "results" / "few_steps.json")


if __name__ == "__main__":
    main()
