"""How a diffusion network is trained: a plain one, a RAD network or a RAD adapter, on pictures or on latents (RAD 4.2)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..noise import generators, normal
from ..schedule import RegionSchedule
from ..unet import UNet
from .data import MaskSource, Source
from .loop import Average, Part, Plan, autocast, memory_format
from .objective import base_levels, objective, region_levels
from .processes import Processes

Draw = Callable[[Part], tuple[Tensor, tuple]]  # -> x0 (b, C, h, w) as the network knows it, and what else it is told of each


@dataclass(frozen=True)
class TrainingPlan(Plan):
    """
    Args:
        weight_decay: of AdamW. ema: decay of the averaged weights.
        vlb_weight: of the variational bound, per step and in bits; the paper's program has 1e-3.
        prediction: what the network predicts, see `UNetConfig`.
        region: RAD's objective; False: the plain network's.
        phases: 2: the paper's; 1: noise in the hole alone, all that inpainting itself visits.
        spatial: the network is told the level of every pixel; False: the step alone, the paper's ablation (RAD, Table 3, Cfg. 2).
    """

    weight_decay: float = 1e-2
    ema: float = 0.999
    vlb_weight: float = 1e-3
    prediction: str = "eps"
    region: bool = True
    phases: int = 2
    spatial: bool = True


def pictures_of(source: Source, label: int | None = None) -> Draw:
    """For networks that work on pictures: [0, 1] -> [-1, 1], and of those that draw by class the class."""
    given = lambda part: () if label is None else (torch.full((part.count,), label),)
    return lambda part: (source(part.count, part.size, part.seed + part.first) * 2 - 1, given(part))


def check_label(classes: int | None, label: int | None) -> None:
    """Raises ValueError: a label that is missing, not wanted or not among the network's."""
    if classes is None and label is not None:
        raise ValueError("This network does not draw by class: leave the label away.")
    if classes is not None and (label is None or not 0 <= label < classes):
        raise ValueError(f"This network draws by class: give the label that the pictures show, 0 to {classes - 1}.")


class OneLevel(nn.Module):
    """A RAD network that is told one noise level for all pixels, the hole's, instead of every pixel's own (RAD, Table 3, Cfg. 2)."""

    def __init__(self, net: UNet):
        super().__init__()
        self.net, self.config, self.region_aware = net, net.config, net.region_aware

    device = property(lambda self: self.net.device)
    dtype = property(lambda self: self.net.dtype)

    def forward(self, x: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        return self.net(x, t.flatten(1).amax(1) if t.ndim > 1 else t, *labels)


class DiffusionTraining:
    """Trains the parameters of `net` that require gradients. A `Method` of the loop.

    Args:
        net: called as net(x, t, *given), an ADM network or one that is wrapped by PEFT.
        draw: gives the training data.
        schedule: the network's own noise levels in phase 1.
        masks: training masks at the size of x0; not used where the plan is not `region`.
    """

    def __init__(self, net: nn.Module, draw: Draw, plan: TrainingPlan, schedule: RegionSchedule, masks: MaskSource):
        self.net, self.draw, self.plan, self.schedule, self.masks = net.train(), draw, plan, schedule, masks
        trained = [p for p in net.parameters() if p.requires_grad]
        self.parameters = nn.ParameterList(trained)
        self.optimiser = torch.optim.AdamW(trained, lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay)
        self.average = Average(trained, plan.ema)
        self.device = trained[0].device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == "float16")
        self.parts = {"parameters": self.parameters, "optimiser": self.optimiser, "scaler": self.scaler}

    def step(self, step: int, drawn: list[tuple[Part, tuple[Tensor, tuple]]], rate: float, processes: Processes) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss = self.gradients(drawn, processes)
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return {"loss": loss}

    def gradients(self, drawn: list[tuple[Part, tuple[Tensor, tuple]]], processes: Processes) -> float:
        """Put the gradients of the whole batch's loss into the parameters, times the scaler's factor, and give that loss.

        Its means are over the pixels of the whole batch: a part with few noisy pixels weighs no more than they do in it.
        """
        for p in self.parameters:
            p.grad = torch.zeros_like(p)
        noises = [self._noise(part, x0.shape[2:]) for part, (x0, _) in drawn]
        counts = torch.zeros(2, dtype=torch.float64, device=self.device)
        for _, levels in noises:
            counts += levels.counts().to(counts)
        processes.sum_up((), counts)
        total = torch.zeros(1, device=self.device)
        for (_, (x0, given)), (streams, levels) in zip(drawn, noises, strict=True):
            x0 = x0.to(self.device, memory_format=memory_format(self.device, self.plan.precision))
            noise = normal(streams, x0.shape[1:], self.device)
            given = tuple(value.to(self.device) if isinstance(value, Tensor) else value for value in given)
            with autocast(self.device, self.plan.precision):
                loss = objective(self.net, x0, noise, levels, self.plan.vlb_weight, self.plan.prediction, counts, given)
            self.scaler.scale(loss).backward()
            total += loss.detach()
        processes.sum_up(self.parameters, total)
        return total.item()

    def _noise(self, part: Part, size: torch.Size):
        """The part's random streams, which its noise is drawn from next, and noise levels for maps of (h, w)."""
        plan, schedule = self.plan, self.schedule
        # One picture in each of `total` equal slices of time: uniform over all, with less chance in the mean.
        (offset,) = (torch.rand((), generator=g) for g in generators(part.seed, 1, "training time"))
        steps = len(schedule) if plan.region and plan.phases == 2 else len(schedule.phase1)
        k = torch.arange(part.first, part.first + part.count)
        t = (((k + offset) / part.total) * steps).long().clamp(max=steps - 1)
        streams = generators(part.seeds, part.count, "training noise")
        if not plan.region:
            return streams, base_levels(t, schedule.phase1, tuple(size))
        mask = self.masks(part.count, *size, part.seed + part.first, device=self.device)
        return streams, region_levels(mask, t, schedule, plan.spatial)
