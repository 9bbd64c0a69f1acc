"""How SDM is trained (SDM 3.3, 4.1): an adversary, features or colours that should match, and the likelihood for the variance.

A step iterates as inpainting does, and every iteration is judged by itself: states are detached between them.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..masks import SHAPES
from ..noise import generators, normal
from ..sdm.iterate import Iteration, iterate
from ..sdm.losses import uncertainty_loss
from ..sdm.network import Discriminator, Generator
from .augment import Augment
from .data import Source
from .loop import TRAINING_SEEDS, Average, Log, Stage, autocast, learning_rate, memory_format
from .perceptual import DilatedResNet50, feature_distance
from .state import load_state, save_state


@dataclass(frozen=True)
class SDMPlan:
    """A training run. The flags that undo a part of the method are the paper's ablations (SDM Table 1, 4).

    Args:
        stages: picture sizes, steps and batches.
        iterations: what a step's number of iterations is drawn from. Training with 2 alone makes 4 and more worse; mixed it helps.
        schedule, alpha, anchor: as `iterate`; alpha 0 is the ablation without continuous sampling.
        decoupled: the mean is what is judged, the variance is taught by the likelihood; False judges what is drawn from both.
        masks: a name in `masks.SHAPES`.
        likelihood: its weight, of the mean over the hole. (The paper says 1e-4 and not of what; so little teaches a small network nothing.)
        adversary: its weight. The paper's is 1, beside a perceptual loss from a large network; without that, less.
        features: weight of the perceptual loss or, without one, of the distance between the discriminator's features.
        colours: weight of the distance in colour. Without it a small judge is soon at a loss, and colours drift.
        penalty: R1's gamma at 512; it goes down with the number of pixels.
        half_life: of the averaged weights, in pictures.
    """

    stages: list[Stage]
    learning_rate: float = 1e-3
    iterations: tuple[int, ...] = (1, 2, 2, 3, 4)
    schedule: str = "linear"
    alpha: float = 0.01
    anchor: float = 1.0
    decoupled: bool = True
    masks: str = "brush"
    likelihood: float = 0.1
    adversary: float = 0.3
    features: float = 2.0
    colours: float = 5.0
    penalty: float = 10.0
    penalty_every: int = 16
    half_life: float = 10_000
    seed: int = 0
    save_every: int = 250
    precision: str = "float32"

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def describe(self) -> str:
        """As JSON, for a file's metadata."""
        return json.dumps(asdict(self))


def train_sdm(
    net: Generator,
    judge: Discriminator,
    source: Source,
    plan: SDMPlan,
    save: Callable[[], None],
    log: Log,
    state: Path | None = None,
    note: str = "",
    perceptual: DilatedResNet50 | None = None,
) -> None:
    """Train both networks. `save` is called with the generator's averaged weights in place.

    Args:
        net, judge: on their device.
        save: writes the generator; called every `plan.save_every` steps and at the end.
        state: everything the run needs to go on is kept in this file; if it is there, the run goes on from it.
        note: what else than the plan and the network's shape makes it this run: its data, for one.
        perceptual: the network of the perceptual loss.

    Raises:
        FloatingPointError: a loss became infinite or NaN. The last saved files are left as they were.
        ValueError: `state` belongs to a run with other settings.
    """
    net.train().requires_grad_(True)
    makes = torch.optim.Adam(net.parameters(), plan.learning_rate, betas=(0.0, 0.99))
    judges = torch.optim.Adam(judge.parameters(), plan.learning_rate, betas=(0.0, 0.99))
    average = Average(list(net.parameters()), 0.0)
    augment = Augment()
    parts = {"net": net, "judge": judge, "makes": makes, "judges": judges, "average": average, "augment": augment, "log": log}
    run = json.dumps([plan.describe(), asdict(net.config), note])
    done = load_state(state, parts, run) if state and state.is_file() else 0
    step, seed = 0, TRAINING_SEEDS + plan.seed * 2**32
    progress = tqdm(total=plan.steps, initial=done, unit="step", dynamic_ncols=True, mininterval=5)
    for stage in plan.stages:
        average.decay = 0.5 ** (stage.batch / plan.half_life)
        for _ in range(stage.steps):
            step, seed = step + 1, seed + stage.batch
            if step <= done:
                continue
            for group in (*makes.param_groups, *judges.param_groups):
                group["lr"] = learning_rate(plan.learning_rate, step, plan.steps)
            losses = _step(net, judge, makes, judges, augment, source(stage.batch, stage.size, seed), plan, step, seed, perceptual)
            if not all(map(math.isfinite, losses.values())):
                raise FloatingPointError(
                    f"A loss became {losses} at step {step}; the last saved weights are kept. Try a lower learning rate."
                )
            average.update()
            progress.update()
            log.add(step, stage, losses)
            if step % plan.save_every == 0 or step == plan.steps:
                progress.set_postfix(log.write())
                average.swap()
                save()
                average.swap()
                if state:
                    save_state(state, step, parts, run)
    average.swap()
    if done == plan.steps:
        save()
    net.eval().requires_grad_(False)


def _step(
    net, judge, makes, judges, augment: Augment, pictures: Tensor, plan: SDMPlan, step: int, seed: int, perceptual=None
) -> dict[str, float]:
    n, size, device = len(pictures), pictures.shape[-1], next(net.parameters()).device
    streams = generators(seed, n, "sdm training")
    real = (pictures * 2 - 1).to(device, memory_format=memory_format(device, plan.precision))
    hole = SHAPES[plan.masks](n, size, size, seed).gt(0.5).float().to(device)
    count = plan.iterations[int(torch.randint(len(plan.iterations), (), generator=streams[0]))]
    seeds = torch.randint(2**31, (n,), generator=streams[0]).tolist()
    fills, sums = [], {"adversary": 0.0, "features": 0.0, "colours": 0.0, "likelihood": 0.0}

    judge.requires_grad_(False)
    makes.zero_grad(set_to_none=True)
    change = augment.draw(n, size, streams)
    with autocast(device, plan.precision):
        with torch.no_grad():
            truth = perceptual(real) if perceptual else judge(*change(real, 1 - hole))[1]
        runs = iterate(net, real, hole, count, plan.schedule, plan.alpha, seeds, net.config.latent, plan.anchor)
        for now in runs:
            fill = torch.where(hole > 0, _judged(now, plan, streams), real)
            scores, seen = judge(*change(fill, 1 - hole))
            distance = feature_distance(perceptual(fill), truth) if perceptual else _matching(seen, truth)
            terms = {
                "adversary": F.softplus(-scores.float()).mean(),
                "features": distance,
                "colours": (fill - real).abs().sum() / (3 * hole.sum()).clamp(min=1),
            }
            if plan.decoupled:
                terms["likelihood"] = uncertainty_loss(real, now.mean, now.log_variance, hole)
            weights = {"adversary": plan.adversary, "features": plan.features, "colours": plan.colours, "likelihood": plan.likelihood}
            sum(weights[name] * term for name, term in terms.items()).backward()
            fills.append(fill.detach())
            sums = {name: sums[name] + float(term.detach()) / count for name, term in terms.items()}
    makes.step()

    judge.requires_grad_(True)
    judges.zero_grad(set_to_none=True)
    with autocast(device, plan.precision):
        for fill in fills:
            F.softplus(judge(*augment(fill, 1 - hole, streams))[0].float()).mean().div(count).backward()
        scores = judge(*augment(real, 1 - hole, streams))[0].float()
        F.softplus(-scores).mean().backward()
    augment.adapt(scores.detach())
    if step % plan.penalty_every == 0:  # R1 (Mescheder et al. 2018), now and then for all (Karras et al. 2020)
        picture, mask = augment(real, 1 - hole, streams)
        picture = picture.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(judge(picture, mask)[0].sum(), picture, create_graph=True)
        gamma = plan.penalty * (size / 512) ** 2
        (gamma / 2 * plan.penalty_every * slope.square().sum((1, 2, 3)).mean()).backward()
    judges.step()
    return sums | {"real score": float(scores.detach().mean()), "augment": augment.chance}


def _matching(seen: list[Tensor], truth: list[Tensor]) -> Tensor:
    return sum(F.l1_loss(a.float(), b.float()) for a, b in zip(seen, truth, strict=True))


def _judged(now: Iteration, plan: SDMPlan, streams: list[torch.Generator]) -> Tensor:
    if plan.decoupled:
        return now.mean
    return now.mean + (now.log_variance / 2).exp() * normal(streams, now.mean.shape[1:], now.mean.device)
