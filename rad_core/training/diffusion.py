"""Training of diffusion networks: plain ADM networks, RAD networks and RAD adapters, on pictures or on latents (RAD 4.2)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..flow import FlowSchedule
from ..memory import out_of_memory
from ..noise import generators, normal
from ..schedule import RegionSchedule
from ..unet import UNet
from . import OPTIMISERS
from .data import MaskSource, Source
from .loop import EMA, BatchSlice, Plan, autocast, memory_format, zero_gradients
from .objective import FlowTarget, NoiseTarget, base_levels, flow_levels, objective, region_levels
from .processes import Processes

PARTS = ("loss_1", "loss_2", "loss_3", "loss_4", "loss_phase_2")  # in the quarters of phase 1, the least noise first, and in phase 2
Data = tuple[Tensor, tuple]  # x0 (b, C, h, w) in the network's range, and its conditioning: labels (b,) or embeddings of a prompt
LoadBatch = Callable[[BatchSlice], Data]


class Drawn(NamedTuple):
    """A slice's training data, and what is drawn at random for it, on the CPU."""

    x0: Tensor  # (b, C, [T,] h, w)
    cond: tuple
    noise: Tensor  # as x0
    mask: Tensor | None  # (b, 1, [T,] h, w); None for a plain ADM network


@dataclass(frozen=True)
class TrainingPlan(Plan):
    """Hyperparameters of a diffusion network's training.

    Args:
        optimiser: "adamw", or "adamw8bit": its moments in 8 bits, a quarter of their memory, where bitsandbytes is installed.
        weight_decay: of AdamW.
        ema: decay of the averaged weights.
        vlb_weight: weight of the variational bound, per step and in bits; 1e-3 in the RAD authors' program.
        prediction: what the network predicts, see `UNetConfig`; "flow" for flow models.
        region: train with RAD's objective; False: with a plain network's.
        phases: 2: both phases, as in the paper; 1: noise in the hole alone, all that inpainting visits without an
            order map; with one, such an adapter makes noisier fills.
        rim_weight: how much more the noised pixels beside known ones count, see `rim_weights`; 0 as in the paper.
        redraw_noise: pictures larger than the network's own size are for the redraw of `detail`: their hole gets noise of at most this
            sigma. None: they are trained like all others.
        spatial: pass the network the timestep of every pixel; False: one timestep per picture, the paper's ablation (RAD, Table 3, Cfg. 2).
    """

    optimiser: str = "adamw"
    weight_decay: float = 1e-2
    ema: float = 0.999
    vlb_weight: float = 1e-3
    prediction: str = "eps"
    region: bool = True
    phases: int = 2
    rim_weight: float = 0.0
    redraw_noise: float | None = None
    spatial: bool = True


def pictures_of(source: Source, label: int | None = None) -> LoadBatch:
    """Training data for pixel-space networks: pictures scaled from [0, 1] to [-1, 1], and a class label for all, if any."""
    labels = lambda part: () if label is None else (torch.full((part.count,), label),)
    return lambda part: (source(part.count, part.size, part.seed + part.first) * 2 - 1, labels(part))


def check_label(classes: int | None, label: int | None) -> None:
    """Check a class label against a network's number of classes (None: not class-conditional).

    Raises:
        ValueError: the label is missing, not expected, or out of range.
    """
    if classes is None and label is not None:
        raise ValueError("This network is not class-conditional: remove the label.")
    if classes is not None and (label is None or not 0 <= label < classes):
        raise ValueError(f"This network is class-conditional: pass the label of the pictures' class, 0 to {classes - 1}.")


def check_device(device: torch.device) -> None:
    """Check that a device can train.

    Raises:
        ValueError: it has no float64, as Apple's GPUs and some of Intel's.
    """
    try:
        torch.ones(1, dtype=torch.float64, device=device).add_(1)
    except (RuntimeError, TypeError) as error:
        if out_of_memory(error):
            raise
        raise ValueError("Training needs float64, which this GPU does not have: train on the CPU (--device cpu; ComfyUI: --cpu).") from None


def make_optimiser(parameters: list[nn.Parameter], plan: TrainingPlan) -> torch.optim.Optimizer:
    """AdamW with betas of 0.9 and 0.99, as `plan.optimiser` has it.

    Raises:
        ValueError: an unknown name, or bitsandbytes is not installed.
    """
    if plan.optimiser not in OPTIMISERS:
        raise ValueError(f"Unknown optimiser '{plan.optimiser}': choose from {', '.join(OPTIMISERS)}.")
    kind = torch.optim.AdamW
    if plan.optimiser == "adamw8bit":
        try:
            from bitsandbytes.optim import AdamW8bit as kind
        except ImportError:
            raise ValueError("The optimiser adamw8bit needs bitsandbytes, which is not installed: choose adamw.") from None
    return kind(parameters, lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay)


class OneLevel(nn.Module):
    """A RAD network that receives one timestep per picture, the hole's, instead of one per pixel (RAD, Table 3, Cfg. 2)."""

    def __init__(self, net: UNet):
        super().__init__()
        self.net, self.config, self.region_aware = net, net.config, net.region_aware

    device = property(lambda self: self.net.device)
    dtype = property(lambda self: self.net.dtype)

    def forward(self, x: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        return self.net(x, t.flatten(1).amax(1) if t.ndim > 1 else t, *labels)


class DiffusionTraining:
    """Trains the parameters of `net` that require gradients. A `TrainingMethod` of the loop.

    Args:
        net: an ADM network, possibly wrapped by PEFT, called as net(x, t, *cond).
        load_batch: loads the training data.
        schedule: RAD's schedule; its phase 1 is the network's own noise schedule. A `FlowSchedule` for flow models.
        masks: training masks at the size of x0; unused unless `plan.region`.

    Raises:
        ValueError: the network is on a device that cannot train.

    Attributes:
        changing: whether the step has begun to change parameters, so that what stands there is of no step.
    """

    def __init__(
        self, net: nn.Module, load_batch: LoadBatch, plan: TrainingPlan, schedule: RegionSchedule | FlowSchedule, masks: MaskSource
    ):
        self.net, self.load_pictures, self.plan, self.schedule, self.masks = net.train(), load_batch, plan, schedule, masks
        trained = [p for p in net.parameters() if p.requires_grad]
        self.parameters = nn.ParameterList(trained)
        self.optimiser = make_optimiser(trained, plan)
        self.ema = EMA(trained, plan.ema)
        self.device = trained[0].device
        check_device(self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == "float16")
        self.changing = False
        self.state = {"parameters": self.parameters, "optimiser": self.optimiser, "scaler": self.scaler}

    def load_batch(self, part: BatchSlice) -> Drawn:
        """A slice's pictures, noise and masks: all of a step that needs no network, so that it can run ahead in other processes."""
        x0, cond = self.load_pictures(part)
        noise = normal(generators(part.seeds, part.count, "training noise"), x0.shape[1:])
        flow, size = isinstance(self.schedule, FlowSchedule), x0.shape[2:]
        if not flow and not self.plan.region:
            return Drawn(x0, cond, noise, None)
        mask = self.masks(part.count, *size[-2:], part.seed + part.first)
        mask = mask if len(size) == 2 else mask[:, :, None].expand(-1, -1, size[0], -1, -1)  # the same in all frames
        return Drawn(x0, cond, noise, mask)

    def step(self, step: int, batch: list[tuple[BatchSlice, Drawn]], rate: float, processes: Processes) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.changing = False
        losses = self.gradients(batch, processes)
        self.scaler.unscale_(self.optimiser)
        norm = float(nn.utils.clip_grad_norm_(self.parameters, 1.0))
        scaled = self.scaler.is_enabled()  # the scaler of float16 leaves out a step with such gradients by itself
        if not scaled and math.isfinite(losses["loss"]) and not math.isfinite(norm):  # the loop looks at the loss
            raise FloatingPointError(
                f"The gradients became {norm} at step {step}; the weights saved last are kept. Try a lower learning rate, or float32."
            )
        self.changing = True
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return losses

    def gradients(self, batch: list[tuple[BatchSlice, Drawn]], processes: Processes) -> dict[str, float]:
        """Set the parameters' gradients to those of the whole batch's loss, times the scaler's factor; return the loss and its `PARTS`.

        The loss averages over the pixels of the whole batch, so a slice with few noisy pixels has a proportionally small weight. A part
        is the mean over the pictures whose noise level lies there; those without a picture in this batch are missing.
        """
        zero_gradients(self.parameters)
        prepared = [(self._levels(part, drawn), self._parts(part)) for part, drawn in batch]
        counts = torch.zeros(2, dtype=torch.float64, device=self.device)
        for levels, _ in prepared:
            counts += levels.counts().to(counts)
        processes.all_reduce((), counts)
        total, sums = torch.zeros(1, device=self.device), torch.zeros(2, len(PARTS), device=self.device)  # errors, pictures
        for (_, (x0, cond, noise, _)), (levels, parts) in zip(batch, prepared, strict=True):
            layout = memory_format(self.device, self.plan.precision) if x0.ndim == 4 else torch.preserve_format
            x0, noise = x0.to(self.device, memory_format=layout), noise.to(self.device)
            cond = tuple(value.to(self.device) if isinstance(value, Tensor) else value for value in cond)
            how = {"prediction": self.plan.prediction, "vlb_weight": self.plan.vlb_weight, "rim_weight": self.plan.rim_weight}
            with autocast(self.device, self.plan.precision):
                loss, errors = objective(self.net, x0, noise, levels, counts=counts, cond=cond, **how)
            self.scaler.scale(loss).backward()
            total += loss.detach()
            sums += torch.stack([parts @ errors.to(sums), parts.sum(1)])
        values = torch.cat([total, sums.flatten()])
        processes.all_reduce(self.parameters, values)
        loss, *sums = values.tolist()
        pairs = zip(PARTS, sums[: len(PARTS)], sums[len(PARTS) :], strict=True)
        return {"loss": loss} | {name: error / count for name, error, count in pairs if count}

    def _time(self, part: BatchSlice) -> Tensor:
        """Time of each picture of a slice, (b,), uniform in [0, phases), or below that of `redraw_noise`.

        Stratified: one picture in each of `total` equal intervals, which has less variance of the mean.
        """
        (offset,) = (torch.rand((), generator=g) for g in generators(part.seed, 1, "training time"))
        k = torch.arange(part.first, part.first + part.count)
        return (k + offset) / part.total * self._last_time(part.size)

    def _last_time(self, size: int) -> float:
        """The time that pictures of a size are trained up to."""
        plan = self.plan
        if plan.redraw_noise is not None and size > self.net.config.image_size:
            phase1 = self.schedule.phase1
            return float(phase1.level_of_sigma(torch.tensor(plan.redraw_noise))) / len(phase1)
        return plan.phases if plan.region else 1

    def _parts(self, part: BatchSlice) -> Tensor:
        """Which of `PARTS` each picture's noise level belongs to, (5, b), 1 there and 0 elsewhere."""
        index = (4 * self._time(part)).long().clamp(max=len(PARTS) - 1)
        return nn.functional.one_hot(index, len(PARTS)).T.float().to(self.device)

    def _levels(self, part: BatchSlice, drawn: Drawn) -> NoiseTarget | FlowTarget:
        """A slice's noise levels, as maps of (h, w)."""
        plan, schedule, time = self.plan, self.schedule, self._time(part)
        if drawn.mask is None:
            return base_levels(_steps(time, len(schedule.phase1)), schedule.phase1, tuple(drawn.x0.shape[2:]))
        mask = drawn.mask.to(self.device)
        if isinstance(schedule, FlowSchedule):
            return flow_levels(mask, time, schedule)
        return region_levels(mask, _steps(time, len(schedule.phase1), plan.phases), schedule, plan.spatial)


def _steps(time: Tensor, steps: int, phases: int = 1) -> Tensor:
    """The step of a schedule at a time in [0, phases)."""
    return (time * steps).long().clamp(max=phases * steps - 1)
