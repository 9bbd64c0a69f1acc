"""GradPaint: guidance that makes any diffusion network respect the picture around the hole (Grechka et al. 2023).

In every step of a sampler the estimate x0 is compared with the known pixels and across the hole's rim; what stands in the hole is
moved down the gradient of that loss, and known pixels are put back ("combine"). Nothing is trained.

NO BACKPROPAGATION. The paper's gradient is J^T v, with J = dx0/dx and v = dL/dx0. For the denoiser of least squared error
J = Cov(x0 | x) / sigma^2, which is symmetric, so J^T v = J v: a directional derivative, and one more forward pass gives it,
[D(x + h v) - D(x)] / h. No autograd, no more memory than plain sampling, any attention kernel and quantised weights.

A DENOISER, NOT A SAMPLER. A first-order step from sigma t to s takes the share s/t of x and 1 - s/t of x0. So to move the state x by d
it is enough to return x0 + d / (1 - s/t): the guidance wraps a denoiser (see `samplers`) and touches no sampler's state, so every
sampler runs on it, those with memory and with several stages too.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .crops import Batch, fill_holes
from .losses import Colours, alignment, masked_mse, natural_jump, near, rim_jump, rms, rows
from .samplers import RESPONSE, SPACING, STEPS, Callback, Denoiser, choose_sampler, predict
from .schedule import NoiseSchedule, RegionSchedule
from .unet import UNet


@dataclass(frozen=True)
class GradPaintSettings:
    """How to guide. The defaults are the preset `plus`.

    Args:
        since, until: the steps between these shares of a run are guided; none for 0 and 0, which is plain "combine-image" sampling.
        every: guide every k-th of them.
        lambda_align: weight of the alignment loss beside the masked error. align_until: share of the steps that have it.
        step: "line_search" (ours) goes `eta` times as far as the lowest loss along the gradient, which is known exactly because the
            loss is a square; "natural" only until the rim's mean jump is that between the known pixels beside it.
            "normalised" (the paper's) moves x_t by an RMS of `eta` in all, divided among the guided steps.
        eta: see `step`. More than 1 pays in a line search, because a sampler takes but a share of each estimate.
        inner_steps: moves in a step; each costs a network call.
        gradient: "finite_difference", or "vjp" for exact backpropagation: twice as slow and with its memory.
        band: the masked error is taken within so many pixels of the hole; 0 for all known pixels.
        patience: stop guiding a picture when its loss has reached no new low in so many guided steps; 0 for never.

    Raises:
        ValueError: a value out of its range.
    """

    since: float = 0.0
    until: float = 1.0
    every: int = 1
    lambda_align: float = 1.0
    align_until: float = 0.45
    step: str = "line_search"
    eta: float = 3.0
    inner_steps: int = 1
    gradient: str = "finite_difference"
    band: int = 8
    patience: int = 0

    def __post_init__(self):
        for name in ("since", "until", "align_until"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share of the steps, 0 to 1, got {getattr(self, name)}.")
        for name, least in (("every", 1), ("inner_steps", 1), ("band", 0), ("patience", 0), ("lambda_align", 0), ("eta", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        for name, choices in (("step", ("line_search", "natural", "normalised")), ("gradient", ("finite_difference", "vjp"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got '{getattr(self, name)}'.")

    def guided(self, steps: int) -> range:
        """Numbers (from 0) of a run's guided steps."""
        return range(round(self.since * steps), round(self.until * steps), self.every)


PRESETS = {
    "plus": GradPaintSettings(),
    "paper": GradPaintSettings(until=0.45, align_until=0.45, step="normalised", eta=0.45, band=0),
    "combine": GradPaintSettings(until=0.0),
}
FINITE_DIFFERENCE = {torch.float16: 0.03, torch.bfloat16: 0.1}  # step in units of the noise, by the network's arithmetic; 0.02 elsewhere


class GradPaint:
    """A guided denoiser.

    Args:
        denoise: the network, see `samplers`.
        picture: (B, C, h, w) y; its hole is not looked at.
        mask: (B or 1, 1, h, w), 1 = hole, 0 = keep. The attribute may be set anew between calls (Differential Diffusion).
        sigmas: the run's noise levels, falling: numbers, or maps of which the largest value counts.
        settings: how to guide.
        combine: (x, sigma) -> x with the known pixels' own noised values. None where they are clean in x already (RAD).
        response: a first-order step takes 1 - (s/t)^response of x0, see `samplers.RESPONSE`.
        difference: step of the finite difference in units of the noise.
        change: (x, dx, sigma, x0) -> D(x + dx) - D(x), if a cheaper denoiser D than `denoise` serves for the gradient.
        flow: the state is (1 - sigma) x0 + sigma noise (flow matching), not x0 + sigma noise.
        trusted: (B or 1, 1, h, w), where the loss believes the picture; the complement of the mask unless given.
        colours: where the alignment loss looks.
    """

    def __init__(
        self,
        denoise: Denoiser,
        picture: Tensor,
        mask: Tensor,
        sigmas: Sequence,
        settings: GradPaintSettings,
        combine: Callable[[Tensor, Tensor], Tensor] | None = None,
        response: float = 1.0,
        difference: float = 0.02,
        change: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None = None,
        flow: bool = False,
        trusted: Tensor | None = None,
        colours: Colours | None = None,
    ):
        self.denoise, self.settings, self.combine, self.response, self.difference = denoise, settings, combine, response, difference
        self.change = change or (lambda x, dx, sigma, x0: self.denoise(x + dx, sigma) - x0)
        self.flow, self.mask = flow, mask.to(picture)
        self.picture = torch.where(self.mask < 1, picture, 0)
        self.known = (1 - self.mask if trusted is None else trusted.to(picture)).expand(picture.shape[0], -1, -1, -1)
        self.near = self.known * near(1 - self.known, settings.band)
        if combine is None:  # known pixels are what they are, and the error on them says nothing
            self.near = torch.zeros_like(self.near)
        self.colours = colours or Colours()
        self.levels = torch.tensor([float(torch.as_tensor(sigma).max()) for sigma in sigmas], dtype=torch.float64)
        self.guided = settings.guided(len(self.levels) - 1)
        self.align_end = round(settings.align_until * (len(self.levels) - 1))
        if settings.step == "natural":
            seen = self.colours.see(self.picture)[0]
            self.natural = natural_jump(seen, self._known_at(seen))
        self.lowest = torch.full((picture.shape[0],), torch.inf, device=picture.device)
        self.waited = torch.zeros_like(self.lowest)
        self.losses: list[Tensor] = []  # (B,) at every guided step

    def with_variance(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """x (B, C, h, w), sigma a number or (B or 1, 1, h, w) -> x0 with the known pixels in place, and the variance code or None."""
        if self.combine is None:
            return self._estimate(x, sigma)
        x0, code = self._estimate(self.combine(x, sigma), sigma)
        return torch.lerp(self.picture, x0, self.mask), code

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.with_variance(x, sigma)[0]

    def loss(self, x0: Tensor, align: float) -> tuple[Tensor, Tensor]:
        """L = L_mse + align L_al of an estimate: (B,), and dL/dx0. L_al is that of the picture with the estimate in its hole."""
        loss, gradient = masked_mse(x0 - self.picture, self.near)
        if align:
            colours, back = self.colours.see(self._composite(x0))
            rim, to_colours = alignment(colours, self._known_at(colours))
            loss, gradient = loss + align * rim, gradient + align * (1 - self.known) * back(to_colours)
        return loss, gradient

    def _curvature(self, x0: Tensor, move: Tensor, align: float) -> Tensor:
        """Q of L(x0 + a move) = L + a <dL/dx0, move> + a^2 Q: (B,). Exact where colours are linear, for L is a sum of squares."""
        square = masked_mse(move, self.near)[0]
        if not align:
            return square
        moved = self.colours.change(self._composite(x0), (1 - self.known) * move)
        return square + align * alignment(moved, self._known_at(moved))[0]

    def _natural_rim(self, x0: Tensor) -> Tensor:
        """What L_al of an estimate would be if the jumps across the rim had their form but the mean size of those beside it: (B,)."""
        colours = self.colours.see(self._composite(x0))[0]
        known = self._known_at(colours)
        return alignment(colours, known)[0] * (self.natural / rim_jump(colours, known).clamp(min=1e-8)).square()

    def _composite(self, x0: Tensor) -> Tensor:
        return torch.lerp(x0, self.picture, self.known)

    def _known_at(self, colours: Tensor) -> Tensor:
        return F.interpolate(self.known, colours.shape[2:], mode="nearest")

    def _estimate(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        step = self._step(float(sigma.max()))
        if step not in self.guided or self._finished().all():
            return predict(self.denoise, x, sigma)
        align = self.settings.lambda_align if step < self.align_end else 0.0
        x0, code, slope = self._linearise(x, sigma)
        moved = x0
        for inner in range(self.settings.inner_steps):
            loss, v = self.loss(moved, align)
            if inner == 0:
                self._watch(loss)
            g = slope(v)
            moved = moved - rows(torch.where(self._finished(), 0, self._length(moved, loss, v, g, align, step))) * g
        return moved, code

    def _length(self, x0: Tensor, loss: Tensor, v: Tensor, g: Tensor, align: float, step: int) -> Tensor:
        """How far x0 goes along -g: (B,)."""
        settings, tiny = self.settings, 1e-30
        if settings.step != "normalised":
            fall, curve = (v * g).flatten(1).sum(1), self._curvature(x0, g, align).clamp(min=tiny)  # L - a fall + a^2 curve
            if settings.step == "line_search":
                return settings.eta * fall / (2 * curve)
            excess = (loss - align * self._natural_rim(x0)).clamp(min=0)
            return settings.eta * (fall - (fall.square() - 4 * curve * excess).clamp(min=0).sqrt()) / (2 * curve)
        t, s = self.levels[step].item(), self.levels[step + 1].item()
        alpha = max(1 - t, 0.05) if self.flow else 1.0
        x_t = settings.eta / (len(self.guided) * settings.inner_steps) * (alpha**2 + t**2) ** 0.5
        kept = (s / t) ** self.response
        # x moves by x_t and x0 by x_t / alpha (the noise stays); the same next state comes of moving x0 alone by
        return x_t * (1 / alpha + kept / (1 - kept)) / rms(g).clamp(min=tiny)

    def _linearise(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None, Callable[[Tensor], Tensor]]:
        """x0, the variance code, and v -> Cov(x0 | x) v / sigma^2, which is J^T v where all pixels share a sigma."""
        scale = sigma / sigma.max()
        if self.settings.gradient == "vjp":
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                x0, code = predict(self.denoise, x, sigma)
            again = self.settings.inner_steps > 1
            slope = lambda v: scale.square() * torch.autograd.grad(x0, x, v, retain_graph=again)[0]
            return x0.detach(), None if code is None else code.detach(), slope
        x0, code = predict(self.denoise, x, sigma)

        def slope(v: Tensor) -> Tensor:
            size, h = rows(rms(v).clamp(min=1e-30)), self.difference * sigma.max()
            return self.change(x, h * scale.square() * (v / size), sigma, x0) * (size / h)

        return x0, code, slope

    def _step(self, sigma: float) -> int:
        """Number of the step within which a noise level lies. Samplers with stages ask for levels between two of the schedule's."""
        return int((self.levels[1:-1] >= sigma * (1 - 1e-5)).sum())

    def _watch(self, loss: Tensor) -> None:
        self.losses.append(loss)
        # once finished is for good: alone, a picture's loss would not even be looked at any more
        self.waited = torch.where((loss < self.lowest) & ~self._finished(), 0, self.waited + 1)
        self.lowest = torch.minimum(self.lowest, loss)

    def _finished(self) -> Tensor:
        """(B,) True for pictures that are guided no more."""
        return self.waited >= (self.settings.patience or torch.inf)


@torch.no_grad()
def gradpaint_inpaint(
    net: UNet,
    image: Tensor,
    mask: Tensor,
    steps: int | None = None,
    sampler: str = "ddpm",
    seed: int | Sequence[int] = 0,
    context: float | None = None,
    eta: float = 0.0,
    settings: GradPaintSettings | str = "plus",
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Fill the hole of each picture with a network that was never trained to fill holes.

    Args:
        net: a plain ADM network (`load_model`). image, mask, seed, context, eta, labels, callback: as `rad_inpaint`; a soft mask mixes
            the fill with the picture.
        steps: steps of the sampler, 1 to the length of the network's schedule; what suits it unless given, see `samplers.STEPS`. A
            guided step costs two network calls.
        sampler: "ddpm" (the paper's), "ddim" or "dpmpp_2m".
        settings: how to guide, or a name in `PRESETS`: "plus", "paper", or "combine" for none.

    Returns:
        (B, 3, H, W), dtype and device of `image`. Pixels where the mask is 0 are bit-equal to the input.

    Raises:
        ValueError: an argument out of its range, in one sentence.
    """
    settings, sample = resolve(settings), choose_sampler(sampler, eta)
    steps = STEPS[sampler] if steps is None else steps
    schedule = RegionSchedule(NoiseSchedule(net.config.schedule))
    schedule.phase1.spaced(steps)  # a wrong count is told before any work is done
    if net.region_aware:
        warnings.warn("This network was trained for RAD, which fills holes better without GradPaint.", stacklevel=2)

    def fill(batch: Batch) -> Tensor:
        sigmas = schedule.sigmas(torch.ones_like(batch.mask), steps, SPACING[sampler])
        hole = (batch.mask > 0).to(batch.mask)  # what is grey is mixed afterwards
        combine = lambda x, sigma: torch.lerp(batch.picture + sigma * batch.draw(), x, hole)
        difference = FINITE_DIFFERENCE.get(net.dtype, 0.02)
        guided = GradPaint(batch.denoise, batch.picture, hole, sigmas, settings, combine, RESPONSE[sampler], difference)
        return sample(guided, sigmas[0] * batch.draw(), sigmas, batch.draw, batch.callback)

    return fill_holes(net, image, mask, fill, seed, context, labels, callback, region_aware=False)


def resolve(settings: GradPaintSettings | str) -> GradPaintSettings:
    """A preset by its name. Raises ValueError for an unknown one."""
    if isinstance(settings, str) and settings not in PRESETS:
        raise ValueError(f"Unknown preset '{settings}': choose from {', '.join(PRESETS)}.")
    return PRESETS[settings] if isinstance(settings, str) else settings
