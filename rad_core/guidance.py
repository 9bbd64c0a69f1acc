"""GradPaint: guidance that makes any diffusion network respect the picture around the hole (Grechka et al. 2023).

In every step of a sampler the estimate x0 is compared with the known pixels and across the hole's rim; the content of the hole is
moved down the gradient of that loss, and the known pixels are put back ("combine"). Nothing is trained.

NO BACKPROPAGATION. The paper's gradient is J^T v, with J = dx0/dx and v = dL/dx0. For the denoiser of least squared error
J = Cov(x0 | x) / sigma^2, which is symmetric, so J^T v = J v: a directional derivative, and one more forward pass gives it,
[D(x + h v) - D(x)] / h. No autograd, no more memory than plain sampling, any attention kernel and quantised weights.

A DENOISER, NOT A SAMPLER. A first-order step from sigma to sigma_next takes the share r = sigma_next / sigma of x and 1 - r of x0. So to
move the state x by d it is enough to return x0 + d / (1 - r): the guidance wraps a denoiser (see `samplers`) and touches no sampler's
state, so every sampler runs on it, multistep and multistage ones too.

WITHOUT A PROBE (ours). What error is left on the known pixels is carried into the hole as far as pictures are smooth, which costs no
network call (see `carry`). The preset `turbo` does that alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .carry import ErrorField
from .denoisers import Denoiser, DenoiserLike, as_denoiser
from .losses import Colours, alignment, append_dims, dilate, masked_mse, natural_jump, rim_jump, rms
from .settings import check_whole

CARRY_STEPS = 10
TINY = 1e-30  # keeps quotients finite
LEAST_PROBE = 1e-3  # of the finite difference, in units of x: below it rounding counts


@dataclass(frozen=True)
class Guidance:
    """How to guide. The defaults are those of the preset `plus`.

    Args:
        since, until: the steps between these shares of a run are guided; until=0 guides none: plain "combine-image" sampling.
        every: guide every k-th of them.
        lambda_mse: weight of the error on the known pixels. lambda_align: weight of the alignment loss across the rim.
        align_until: share of the steps that have the alignment loss.
        step: "line_search" (ours) brings the state, and so what the sampler makes of the estimate, to the lowest loss along the gradient,
            which is known exactly because the loss is quadratic; it moves the estimate at most `eta` times as far as its own lowest loss
            is. "natural" only until the rim's mean jump is that between the known pixels beside it.
            "normalised" (the paper's) moves x_t by an RMS of `eta` in all, divided among the guided steps.
            "none" makes no move along the gradient, and asks the network once.
        carry: then carry the error left on the known pixels into the hole, see `carry.ErrorField`. After a move along the gradient only
            in runs of up to `CARRY_STEPS`: in longer ones the moves alone come nearer to the truth (docs/gradpaint.md).
        eta: see `step`. A sampler takes only a share of each estimate, so more than 1 pays where steps are many and shares small.
        inner_steps: moves in a step; each costs a network call.
        gradient: "finite_difference", or "vjp" for exact backpropagation: 1.2 times the time and 4 times the memory. Most of the host's
            transformers have no backward pass any more (rotary embeddings); the finite difference is the only way there.
        band: the error on the known pixels is taken within so many pixels of the hole; 0 for all known pixels.
        patience: stop guiding a picture when its loss has reached no new low in so many guided steps; 0 for never.

    Raises:
        ValueError: a value out of its range.
    """

    since: float = 0.0
    until: float = 1.0
    every: int = 1
    lambda_mse: float = 1.0
    lambda_align: float = 1.0
    align_until: float = 0.45
    step: str = "line_search"
    carry: bool = True
    eta: float = 3.0
    inner_steps: int = 1
    gradient: str = "finite_difference"
    band: int = 8
    patience: int = 0

    def __post_init__(self):
        for name in ("since", "until", "align_until"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share of the steps, 0 to 1, got {getattr(self, name)}.")
        if self.since > self.until > 0:
            raise ValueError(f"since must lie before until, got {self.since} and {self.until}; until=0 guides no step.")
        check_whole(self, every=1, inner_steps=1, band=0, patience=0)
        for name in ("lambda_mse", "lambda_align", "eta"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}.")
        for name, choices in (("step", ("line_search", "natural", "normalised", "none")), ("gradient", ("finite_difference", "vjp"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got '{getattr(self, name)}'.")

    def guided(self, steps: int) -> range:
        """Numbers (from 0) of a run's guided steps."""
        return range(round(self.since * steps), round(self.until * steps), self.every)

    def calls(self, steps: int) -> int:
        """Network calls of a run with a sampler that takes one a step."""
        return steps + len(self.guided(steps)) * self.inner_steps * (self.step != "none")


def finite_difference_step(dtype: torch.dtype) -> float:
    """Step of the finite difference, in units of the noise, for a network of this arithmetic."""
    return {torch.float16: 0.03, torch.bfloat16: 0.1}.get(dtype, 0.02)


@dataclass(frozen=True)
class KnownPixels:
    """What guidance knows of the pictures.

    Args:
        picture: (B, C, h, w) y, or frames (B, C, T, h, w), in the denoiser's range; its hole is ignored.
        mask: (B or 1, 1, ...), 1 = hole, 0 = keep.
        trusted: (B or 1, 1, ...), where the loss compares with the picture; the complement of the mask unless given.
        combine: (x, sigma, mask) -> x with the known pixels at their own values of x; None where x has them already (RAD).
        clean: the network gets them without noise. Then its error on them is no guide, and only the rim is compared.
    """

    picture: Tensor
    mask: Tensor
    trusted: Tensor | None = None
    combine: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    clean: bool = False

    def __post_init__(self):
        for name, mask in (("mask", self.mask), ("trusted", self.trusted)):
            if mask is not None and (mask.shape[2:] != self.picture.shape[2:] or mask.shape[1] != 1):
                raise ValueError(f"{name} must be (B or 1, 1, ...) of the picture's {tuple(self.picture.shape)}, got {tuple(mask.shape)}.")


@dataclass(frozen=True)
class Probe:
    """How the finite difference asks the network once more.

    Args:
        step: in units of the noise, see `finite_difference_step`.
        difference: (x, dx, sigma, x0) -> D(x + dx) - D(x), where a cheaper denoiser D than the guided one serves for the gradient.
    """

    step: float = 0.02
    difference: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None = None


class GradPaint(Denoiser):
    """A guided denoiser, of one run: it counts that run's steps and losses.

    Args:
        denoise: the network, see `samplers`.
        known: the pictures and their holes.
        sigmas: the run's noise levels, falling: numbers, or maps of which the largest value counts.
        guidance: how to guide.
        response: a first-order step takes 1 - (sigma_next / sigma)^response of x0, see `samplers.RESPONSE`.
        flow: the state is (1 - sigma) x0 + sigma noise (flow matching), not x0 + sigma noise.
        probe: how the finite difference asks the network.
        colours: the map to the space in which the alignment loss compares colours, such as a latent's; the identity unless given.
    """

    def __init__(
        self,
        denoise: DenoiserLike,
        known: KnownPixels,
        sigmas: Sequence[Tensor | float] | Tensor,
        guidance: Guidance,
        response: float = 1.0,
        flow: bool = False,
        probe: Probe = Probe(),
        colours: Colours | None = None,
    ):
        if known.clean:
            until = min(guidance.until, guidance.align_until)
            guidance = replace(guidance, lambda_mse=0.0, carry=False, until=until if until > guidance.since else 0.0)
        if guidance.gradient == "vjp" and torch.is_inference_mode_enabled():
            raise ValueError("gradient='vjp' cannot work inside torch.inference_mode: use torch.no_grad there, or 'finite_difference'.")
        self.clean = known.clean
        self.denoise, self.guidance, self.response, self.flow = as_denoiser(denoise), guidance, response, flow
        self.probe, self.colours, self.combine = probe, colours or Colours(), known.combine
        self.mask = known.mask.to(known.picture)
        self.picture = torch.where(self.mask < 1, known.picture, 0)
        trusted = 1 - self.mask if known.trusted is None else known.trusted.to(known.picture)
        self.known = trusted.expand(known.picture.shape[0], *trusted.shape[1:])
        self.compared = self.known * dilate(1 - self.known, guidance.band)
        # numbers, in float64 on the CPU, as not every device has it: a GPU is waited for here once, and in each step for its own level
        tops = [sigma.max() if isinstance(sigma, Tensor) else torch.tensor(sigma, dtype=torch.float64) for sigma in sigmas]
        self.sigmas = torch.stack(tops).cpu().double().tolist()
        self.guided = guidance.guided(len(self.sigmas) - 1)
        self.align_end = round(guidance.align_until * (len(self.sigmas) - 1))
        few = guidance.step == "none" or len(self.sigmas) - 1 <= CARRY_STEPS
        self.field = ErrorField(self.picture, self.known) if guidance.carry and few and self.guided else None
        if guidance.step == "natural":
            colours_of_picture = self.colours.to_colours(self.picture)
            self.natural = natural_jump(colours_of_picture, self._known_at(colours_of_picture))
        self.lowest = torch.full((known.picture.shape[0],), torch.inf, device=known.picture.device)
        self.waited = torch.zeros_like(self.lowest)
        self.losses: list[Tensor] = []  # (B,) at every guided step

    def signal(self, sigma: Tensor) -> Tensor:
        return self.denoise.signal(sigma)

    def predict(self, x: Tensor, sigma: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x0, with the known pixels in place if there is a `combine`, and the variance values or None.

        Args:
            x: (B, C, h, w) or (B, C, T, h, w). sigma: a number or (B or 1, 1, ...).
            mask: of this call alone, where it changes over the run (Differential Diffusion); `known.mask` unless given.
        """
        if self.combine is None:
            return self._guide(x, sigma)
        mask = self.mask if mask is None else mask
        x0, model_var_values = self._guide(self.combine(x, sigma, mask), sigma)
        return torch.lerp(self.picture, x0, mask), model_var_values

    def loss(self, x0: Tensor, align: float) -> tuple[Tensor, Tensor]:
        """L = lambda_mse L_mse + align L_al of an estimate: (B,), and dL/dx0. L_al is that of the picture with the estimate in its hole."""
        loss, gradient = masked_mse(x0 - self.picture, self.compared)
        loss, gradient = self.guidance.lambda_mse * loss, self.guidance.lambda_mse * gradient
        if align:
            composite = self._composite(x0)
            colours = self.colours.to_colours(composite)
            rim, rim_gradient = alignment(colours, self._known_at(colours))
            loss, gradient = loss + align * rim, gradient + align * (1 - self.known) * self.colours.vjp(composite, rim_gradient)
        return loss, gradient

    def _curvature(self, x0: Tensor, move: Tensor, align: float) -> Tensor:
        """Q of L(x0 + a move) = L + a <dL/dx0, move> + a^2 Q: (B,). Exact where colours are linear, for L is quadratic."""
        square = self.guidance.lambda_mse * masked_mse(move, self.compared)[0]
        if not align:
            return square
        moved = self.colours.jvp(self._composite(x0), (1 - self.known) * move)
        return square + align * alignment(moved, self._known_at(moved))[0]

    def _natural_rim(self, x0: Tensor) -> Tensor:
        """L_al of an estimate if the jumps across the rim had their pattern but the mean size of those beside it: (B,)."""
        colours = self.colours.to_colours(self._composite(x0))
        known = self._known_at(colours)
        return alignment(colours, known)[0] * (self.natural / rim_jump(colours, known).clamp(min=1e-8)).square()

    def _composite(self, x0: Tensor) -> Tensor:
        return torch.lerp(x0, self.picture, self.known)

    def _known_at(self, colours: Tensor) -> Tensor:
        return F.interpolate(self.known, colours.shape[2:], mode="nearest")

    def _guide(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """The estimate moved down the gradient, where the step is guided."""
        top = float(sigma.max())
        step = self._step(top)
        falls = top > 0 and self.sigmas[step + 1] < self.sigmas[step]  # hand-made ones may not
        if step not in self.guided or not falls or (self.guidance.patience and self._finished().all()):
            return self.denoise.predict(x, sigma)
        align = self.guidance.lambda_align if step < self.align_end else 0.0
        x0, model_var_values, vjp = self._estimate_and_vjp(x, sigma)
        loss, v = self.loss(x0, align)
        self._record(loss)
        unfinished = (~self._finished()).to(x0)
        for inner in range(0 if self.guidance.step == "none" else self.guidance.inner_steps):
            if inner:
                loss, v = self.loss(x0, align)
            g = vjp(v)
            x0 = x0 - append_dims(unfinished * self._length(x0, loss, v, g, align, step), g) * g
        if self.field:
            error = self.field.mean(self.picture - x0, self._noise(top))
            x0 = x0 + append_dims(unfinished, x0) * (1 - self.known) * error
        return x0, model_var_values

    def _length(self, x0: Tensor, loss: Tensor, v: Tensor, g: Tensor, align: float, step: int) -> Tensor:
        """How far x0 moves along -g: (B,)."""
        eta = self.guidance.eta
        if self.guidance.step == "normalised":
            return self._normalised_length(g, step)
        fall, curve = (v * g).flatten(1).sum(1), self._curvature(x0, g, align).clamp(min=TINY)  # L(x0 - a g) = L - a fall + a^2 curve
        if self.guidance.step == "line_search":
            # x takes the share 1 - kept of x0: where steps are few and the share large, eta times would overshoot
            return min(eta, 1 / (1 - self._kept(step))) * fall / (2 * curve)
        excess = (loss - align * self._natural_rim(x0)).clamp(min=0)
        return eta * (fall - (fall.square() - 4 * curve * excess).clamp(min=0).sqrt()) / (2 * curve)

    def _normalised_length(self, g: Tensor, step: int) -> Tensor:
        """The paper's: x moves by an RMS of eta in all, divided among the guided steps, whatever the gradient's size."""
        guidance = self.guidance
        sigma, sigma_next = self.sigmas[step : step + 2]
        alpha = max(1 - sigma, 0.05) if self.flow else 1.0
        size = min((alpha**2 + sigma**2) ** 0.5, 20.0)  # of x; some networks' first sigma is in the thousands
        x_move = guidance.eta / (len(self.guided) * guidance.inner_steps) * size
        kept = (sigma_next / sigma) ** self.response
        # x moves by x_move and x0 by x_move / alpha (the noise stays); moving x0 alone leads to the same next state by
        return x_move * (1 / alpha + kept / (1 - kept)) / rms(g).clamp(min=TINY)

    def _kept(self, step: int) -> float:
        """Share of x that a first-order step keeps, in x0's units: x / (1 - sigma) in a flow."""
        noise = [self._noise(sigma) for sigma in self.sigmas[step : step + 2]]
        return (noise[1] / noise[0]) ** self.response

    def _noise(self, sigma: float) -> float:
        """A noise level as it is beside a signal of 1."""
        return sigma / max(1 - sigma, 1e-3) if self.flow else sigma

    def _estimate_and_vjp(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None, Callable[[Tensor], Tensor]]:
        """x0, the variance values, and v -> Cov(x0 | x) v / max(sigma)^2, which is J^T v where all pixels share a sigma."""
        top = sigma if sigma.ndim < 2 else append_dims(sigma.flatten(1).amax(1), sigma)
        scale = sigma / top
        if self.guidance.gradient == "vjp":
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                x0, model_var_values = self.denoise.predict(x, sigma)
            again = self.guidance.inner_steps > 1
            vjp = lambda v: scale.square() * torch.autograd.grad(x0, x, v, retain_graph=again)[0]
            return x0.detach(), None if model_var_values is None else model_var_values.detach(), vjp
        x0, model_var_values = self.denoise.predict(x, sigma)
        difference = self.probe.difference or (lambda x, dx, sigma, x0: self.denoise(x + dx, sigma) - x0)

        def vjp(v: Tensor) -> Tensor:
            size, h = append_dims(rms(v).clamp(min=TINY), v), (self.probe.step * top).clamp(min=LEAST_PROBE)
            return difference(x, h * scale.square() * (v / size), sigma, x0) * (size / h)

        return x0, model_var_values, vjp

    def _step(self, sigma: float) -> int:
        """Number of the step that a noise level belongs to. Multistage samplers ask for levels between two of the schedule's."""
        return sum(other >= sigma * (1 - 1e-5) for other in self.sigmas[1:-1])

    def _record(self, loss: Tensor) -> None:
        self.losses.append(loss)
        # once finished is for good: alone, a picture's loss would not even be computed any more
        self.waited = torch.where((loss < self.lowest) & ~self._finished(), 0, self.waited + 1)
        self.lowest = torch.minimum(self.lowest, loss)

    def _finished(self) -> Tensor:
        """(B,) True for pictures that are no longer guided."""
        return self.waited >= (self.guidance.patience or torch.inf)
