"""Training of SDM (SDM 3.3, 4.1): adversarial, perceptual and colour losses for the mean, a likelihood for the variance.

A step runs the same iterations as inpainting. Every iteration has its own losses: states are detached between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..masks import SHAPES
from ..noise import generators, normal
from ..sdm import Discriminator, Generator, Iteration, SDMSettings, iterate
from .augment import Augment
from .data import Source
from .loop import EMA, BatchSlice, Plan, autocast, memory_format, zero_gradients
from .objective import discretised_gaussian_log_likelihood, masked_mean
from .perceptual import DilatedResNet50, feature_distance
from .processes import Processes

TERMS = ("adversary", "features", "colours", "likelihood")


@dataclass(frozen=True)
class SDMPlan(Plan):
    """Hyperparameters of SDM's training. Some values turn off a part of the method: the paper's ablations (SDM Tables 1 and 4).

    Args:
        iterations: each step picks its number of iterations from these. Training with 2 alone makes 4 and more worse; mixed it helps.
        schedule, alpha, anchor: see `SDMSettings`; alpha 0 is the ablation without continuous sampling.
        decoupled: the discriminator sees the mean, and the likelihood trains the variance; False: it sees a sample from both.
        masks: a name in `masks.SHAPES`.
        adversary: weight of the adversarial loss. 1 in the paper, beside a large network's perceptual loss; less is better without one.
        features: weight of the perceptual loss or, without one, of the distance between the discriminator's features.
        colours: weight of the L1 distance. Without it a small discriminator soon loses, and colours drift.
        likelihood: weight of the negative log-likelihood, averaged over the hole. (The paper's 1e-4, of an average it does not specify,
            is too little for a small network.)
        r1_gamma: weight of the R1 penalty at 512 pixels; proportional to the number of pixels.
        r1_every: steps between R1 penalties.
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
    r1_gamma: float = 10.0
    r1_every: int = 16
    half_life: float = 10_000

    def weight(self, term: str) -> float:
        """The weight of a loss in `TERMS`."""
        return getattr(self, term)

    def settings(self, iterations: int) -> SDMSettings:
        """A training step's iterations: without memory and with everything predicted anew, as in the paper."""
        return SDMSettings(iterations=iterations, schedule=self.schedule, alpha=self.alpha, anchor=self.anchor, memory=0.0, refresh=True)


@dataclass
class SDMBatch:
    """A slice of a step's batch as both networks see it."""

    part: BatchSlice
    real: Tensor  # (b, 3, s, s) in [-1, 1]
    hole: Tensor  # (b, 1, s, s)
    streams: list[torch.Generator]
    fills: list[Tensor]  # the fill of every iteration, for the discriminator

    @property
    def weight(self) -> float:
        """The weight of this slice's means in those of the whole batch."""
        return self.part.count / self.part.total


class SDMTraining:
    """Trains a generator and its discriminator. A `TrainingMethod` of the loop.

    The losses of several slices (of several processes, or by accumulation) are weighted by their numbers of pictures.

    Args:
        net, discriminator: on their device.
        perceptual: the network of the perceptual loss, if any.
    """

    def __init__(
        self, net: Generator, discriminator: Discriminator, source: Source, plan: SDMPlan, perceptual: DilatedResNet50 | None = None
    ):
        self.net, self.discriminator = net.train().requires_grad_(True), discriminator
        self.source, self.plan, self.perceptual = source, plan, perceptual
        self.opt_g = torch.optim.Adam(net.parameters(), plan.learning_rate, betas=(0.0, 0.99))
        self.opt_d = torch.optim.Adam(discriminator.parameters(), plan.learning_rate, betas=(0.0, 0.99))
        self.augment, self.ema = Augment(), EMA(list(net.parameters()), 0.0)
        self.device = next(net.parameters()).device
        self.changing = False
        self.state = {
            "net": net,
            "discriminator": discriminator,
            "opt_g": self.opt_g,
            "opt_d": self.opt_d,
            "augment": self.augment,
        }

    def load_batch(self, part: BatchSlice) -> tuple[Tensor, Tensor]:
        """A slice's pictures in [0, 1] and holes."""
        seed = part.seed + part.first
        hole = SHAPES[self.plan.masks](part.count, part.size, part.size, seed).gt(0.5).float()
        return self.source(part.count, part.size, seed), hole

    def step(self, step: int, batch: list[tuple[BatchSlice, tuple[Tensor, Tensor]]], rate: float, processes: Processes) -> dict[str, float]:
        for group in (*self.opt_g.param_groups, *self.opt_d.param_groups):
            group["lr"] = rate
        self.changing = False
        slices = [self._prepare(part, *data) for part, data in batch]
        terms = self._update_generator(slices, processes)
        score = self._update_discriminator(slices, step, processes)
        self.ema.decay = 0.5 ** (batch[0][0].total / self.plan.half_life)
        return terms | {"real score": score, "augment": self.augment.probability}

    def _prepare(self, part: BatchSlice, pictures: Tensor, hole: Tensor) -> SDMBatch:
        layout = memory_format(self.device, self.plan.precision)
        streams = generators(part.seeds, part.count, "sdm training")
        return SDMBatch(part, (pictures * 2 - 1).to(self.device, memory_format=layout), hole.to(self.device), streams, [])

    def _update_generator(self, slices: list[SDMBatch], processes: Processes) -> dict[str, float]:
        """Take the generator's step and return its mean losses."""
        plan, sums = self.plan, torch.zeros(len(TERMS), device=self.device)
        self.discriminator.requires_grad_(False)
        zero_gradients(self.net.parameters())
        for batch in slices:
            (stream,) = generators(batch.part.seed, 1, "sdm iterations")  # the same number of iterations for the whole batch
            count = plan.iterations[int(torch.randint(len(plan.iterations), (), generator=stream))]
            for terms in self._iteration_losses(batch, count):
                sum(plan.weight(name) * batch.weight * term for name, term in terms.items()).backward()
                sums += torch.stack([terms.get(name, sums[0] * 0).detach().float() for name in TERMS]) * batch.weight / count
        processes.all_reduce(self.net.parameters(), sums)
        self.changing = True
        self.opt_g.step()
        return dict(zip(TERMS, sums.tolist(), strict=True))

    def _iteration_losses(self, batch: SDMBatch, count: int) -> Iterator[dict[str, Tensor]]:
        """The losses of every iteration, with gradients. The fills are kept for the discriminator."""
        plan, real, hole = self.plan, batch.real, batch.hole
        seeds = [int(torch.randint(2**31, (), generator=stream)) for stream in batch.streams]
        augment = self.augment.sample(batch.part.size, batch.streams)
        with autocast(self.device, plan.precision):
            with torch.no_grad():
                real_features = self.perceptual(real) if self.perceptual else self.discriminator(*augment(real, 1 - hole))[1]
            for iteration in iterate(self.net, real, hole, plan.settings(count), seeds, self.net.config.latent):
                fill = torch.where(hole > 0, _discriminator_input(iteration, plan, batch.streams), real)
                scores, features = self.discriminator(*augment(fill, 1 - hole))
                terms = {
                    "adversary": F.softplus(-scores.float()).mean(),
                    "features": feature_distance(self.perceptual(fill), real_features)
                    if self.perceptual
                    else _feature_matching(features, real_features),
                    "colours": (fill - real).abs().sum() / (3 * hole.sum()).clamp(min=1),
                }
                if plan.decoupled:
                    terms["likelihood"] = uncertainty_loss(real, iteration.mean, iteration.log_variance, hole)
                batch.fills.append(fill.detach())
                yield terms

    def _update_discriminator(self, slices: list[SDMBatch], step: int, processes: Processes) -> float:
        """Take the discriminator's step on fills and real pictures, and return its mean score of the real ones."""
        plan, device = self.plan, self.device
        self.discriminator.requires_grad_(True)
        zero_gradients(self.discriminator.parameters())
        sums = torch.zeros(2, device=device)  # scores of real pictures, and their signs
        for batch in slices:
            real, known = batch.real, 1 - batch.hole
            with autocast(device, plan.precision):
                for fill in batch.fills:
                    loss = F.softplus(self.discriminator(*self.augment(fill, known, batch.streams))[0].float()).mean()
                    (loss * batch.weight / len(batch.fills)).backward()
                scores = self.discriminator(*self.augment(real, known, batch.streams))[0].float()
                (F.softplus(-scores).mean() * batch.weight).backward()
            sums += torch.stack([scores.detach().mean(), scores.detach().sign().mean()]) * batch.weight
            if step % plan.r1_every == 0:
                self._r1_penalty(batch).backward()
        processes.all_reduce(self.discriminator.parameters(), sums)
        score, sign = sums.tolist()
        self.opt_d.step()
        self.augment.adapt(sign, slices[0].part.total)
        return score

    def _r1_penalty(self, batch: SDMBatch) -> Tensor:
        """R1 (Mescheder et al. 2018), applied lazily with a weight for the steps between (Karras et al. 2020)."""
        picture, known = self.augment(batch.real, 1 - batch.hole, batch.streams)
        picture = picture.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.discriminator(picture, known)[0].sum(), picture, create_graph=True)
        gamma = self.plan.r1_gamma * (batch.part.size / 512) ** 2 * batch.weight
        return gamma / 2 * self.plan.r1_every * gradient.square().sum((1, 2, 3)).mean()


def _feature_matching(features: list[Tensor], real_features: list[Tensor]) -> Tensor:
    """L1 distance of two lists of feature maps, summed over the layers."""
    return sum(F.l1_loss(a.float(), b.float()) for a, b in zip(features, real_features, strict=True))


def _discriminator_input(iteration: Iteration, plan: SDMPlan, streams: list[torch.Generator]) -> Tensor:
    """The mean, or a sample where mean and variance are not decoupled."""
    if plan.decoupled:
        return iteration.mean
    return iteration.mean + (iteration.log_variance / 2).exp() * normal(streams, iteration.mean.shape[1:], iteration.mean.device)


def uncertainty_loss(picture: Tensor, mean: Tensor, log_variance: Tensor, hole: Tensor) -> Tensor:
    """Negative log-likelihood of the true 8-bit values, in nats, averaged over the hole (SDM Eq. 1-3).

    Its gradient reaches the variance alone.

    Args:
        picture: (B, 3, H, W) in [-1, 1], the true picture.
        mean, log_variance: (B, 3, H, W), as predicted.
        hole: (B, 1, H, W) of 0 and 1.
    """
    return masked_mean(-discretised_gaussian_log_likelihood(picture, mean.detach(), 0.5 * log_variance), hole > 0)
