"""How SDM is trained (SDM 3.3, 4.1): an adversary, features or colours that should match, and the likelihood for the variance.

A step iterates as inpainting does, and every iteration is judged by itself: states are detached between them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..masks import SHAPES
from ..noise import generators, normal
from ..sdm.iterate import Iteration, iterate
from ..sdm.losses import uncertainty_loss
from ..sdm.network import Discriminator, Generator
from .augment import Augment
from .data import Source
from .loop import Average, Part, Plan, autocast, memory_format
from .perceptual import DilatedResNet50, feature_distance
from .processes import Processes

TERMS = ("adversary", "features", "colours", "likelihood")


@dataclass(frozen=True)
class SDMPlan(Plan):
    """A training run. The flags that undo a part of the method are the paper's ablations (SDM Table 1, 4).

    Args:
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

    def weight(self, term: str) -> float:
        return getattr(self, term)


@dataclass
class Share:
    """A part of a step as both networks see it."""

    part: Part
    real: Tensor  # (b, 3, s, s) in [-1, 1]
    hole: Tensor  # (b, 1, s, s)
    streams: list[torch.Generator]
    fills: list[Tensor]  # what each iteration made

    @property
    def weight(self) -> float:
        """Of its means in those of the whole batch."""
        return self.part.count / self.part.total


class SDMTraining:
    """Trains a generator and the judge of its fills. A `Method` of the loop.

    With parts (several processes, or accumulation) each part's means weigh as its pictures do.

    Args:
        net, judge: on their device.
        perceptual: the network of the perceptual loss.
    """

    def __init__(self, net: Generator, judge: Discriminator, source: Source, plan: SDMPlan, perceptual: DilatedResNet50 | None = None):
        self.net, self.judge, self.source, self.plan, self.perceptual = net.train().requires_grad_(True), judge, source, plan, perceptual
        self.makes = torch.optim.Adam(net.parameters(), plan.learning_rate, betas=(0.0, 0.99))
        self.judges = torch.optim.Adam(judge.parameters(), plan.learning_rate, betas=(0.0, 0.99))
        self.augment, self.average = Augment(), Average(list(net.parameters()), 0.0)
        self.device = next(net.parameters()).device
        self.parts = {"net": net, "judge": judge, "makes": self.makes, "judges": self.judges, "augment": self.augment}

    def draw(self, part: Part) -> Tensor:
        return self.source(part.count, part.size, part.seed + part.first)

    def step(self, step: int, drawn: list[tuple[Part, Tensor]], rate: float, processes: Processes) -> dict[str, float]:
        for group in (*self.makes.param_groups, *self.judges.param_groups):
            group["lr"] = rate
        shares = [self._share(part, pictures) for part, pictures in drawn]
        terms = self._teach_net(shares, processes)
        score = self._teach_judge(shares, step, processes)
        self.average.decay = 0.5 ** (drawn[0][0].total / self.plan.half_life)
        return terms | {"real score": score, "augment": self.augment.chance}

    def _share(self, part: Part, pictures: Tensor) -> Share:
        layout = memory_format(self.device, self.plan.precision)
        hole = SHAPES[self.plan.masks](part.count, part.size, part.size, part.seed + part.first).gt(0.5).float()
        streams = generators(part.seeds, part.count, "sdm training")
        return Share(part, (pictures * 2 - 1).to(self.device, memory_format=layout), hole.to(self.device), streams, [])

    def _teach_net(self, shares: list[Share], processes: Processes) -> dict[str, float]:
        plan, sums = self.plan, torch.zeros(len(TERMS), device=self.device)
        self.judge.requires_grad_(False)
        _zero(self.net)
        for share in shares:
            (first,) = generators(share.part.seed, 1, "sdm iterations")
            count = plan.iterations[int(torch.randint(len(plan.iterations), (), generator=first))]
            for terms in self._iterations(share, count):
                sum(plan.weight(name) * share.weight * term for name, term in terms.items()).backward()
                sums += torch.stack([terms.get(name, sums[0] * 0).detach().float() for name in TERMS]) * share.weight / count
        processes.sum_up(self.net.parameters(), sums)
        self.makes.step()
        return dict(zip(TERMS, sums.tolist(), strict=True))

    def _iterations(self, share: Share, count: int):
        """The losses of every iteration, with gradients; the fills are kept for the judge."""
        plan, real, hole = self.plan, share.real, share.hole
        seeds = torch.randint(2**31, (share.part.count,), generator=share.streams[0]).tolist()
        change = self.augment.draw(share.part.count, share.part.size, share.streams)
        with autocast(self.device, plan.precision):
            with torch.no_grad():
                truth = self.perceptual(real) if self.perceptual else self.judge(*change(real, 1 - hole))[1]
            for now in iterate(self.net, real, hole, count, plan.schedule, plan.alpha, seeds, self.net.config.latent, plan.anchor):
                fill = torch.where(hole > 0, _judged(now, plan, share.streams), real)
                scores, seen = self.judge(*change(fill, 1 - hole))
                terms = {
                    "adversary": F.softplus(-scores.float()).mean(),
                    "features": feature_distance(self.perceptual(fill), truth) if self.perceptual else _matching(seen, truth),
                    "colours": (fill - real).abs().sum() / (3 * hole.sum()).clamp(min=1),
                }
                if plan.decoupled:
                    terms["likelihood"] = uncertainty_loss(real, now.mean, now.log_variance, hole)
                share.fills.append(fill.detach())
                yield terms

    def _teach_judge(self, shares: list[Share], step: int, processes: Processes) -> float:
        """Teach it to tell fills from pictures; gives its mean score of pictures."""
        plan, device = self.plan, self.device
        self.judge.requires_grad_(True)
        _zero(self.judge)
        sums = torch.zeros(2, device=device)  # score of real pictures, and its sign
        for share in shares:
            real, known = share.real, 1 - share.hole
            with autocast(device, plan.precision):
                for fill in share.fills:
                    loss = F.softplus(self.judge(*self.augment(fill, known, share.streams))[0].float()).mean()
                    (loss * share.weight / len(share.fills)).backward()
                scores = self.judge(*self.augment(real, known, share.streams))[0].float()
                (F.softplus(-scores).mean() * share.weight).backward()
            sums += torch.stack([scores.detach().mean(), scores.detach().sign().mean()]) * share.weight
            if step % plan.penalty_every == 0:  # R1 (Mescheder et al. 2018), now and then for all (Karras et al. 2020)
                picture, mask = self.augment(real, known, share.streams)
                picture = picture.detach().requires_grad_(True)
                (slope,) = torch.autograd.grad(self.judge(picture, mask)[0].sum(), picture, create_graph=True)
                gamma = plan.penalty * (share.part.size / 512) ** 2 * share.weight
                (gamma / 2 * plan.penalty_every * slope.square().sum((1, 2, 3)).mean()).backward()
        processes.sum_up(self.judge.parameters(), sums)
        score, sign = sums.tolist()
        self.judges.step()
        self.augment.adapt(sign, shares[0].part.total)
        return score


def _zero(net: torch.nn.Module) -> None:
    for p in net.parameters():  # zeros, not None: processes must agree on what there is to add up
        p.grad = torch.zeros_like(p)


def _matching(seen: list[Tensor], truth: list[Tensor]) -> Tensor:
    return sum(F.l1_loss(a.float(), b.float()) for a, b in zip(seen, truth, strict=True))


def _judged(now: Iteration, plan: SDMPlan, streams: list[torch.Generator]) -> Tensor:
    if plan.decoupled:
        return now.mean
    return now.mean + (now.log_variance / 2).exp() * normal(streams, now.mean.shape[1:], now.mean.device)
