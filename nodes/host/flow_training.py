"""Training of RAD adapters on flow transformers: the network with a level per token, its data, and fills on the way."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import comfy.model_base
import comfy.model_management
import comfy.utils
import torch
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...rad_core import FlowDenoiser, FlowSchedule
from ...rad_core.flow import flow_start
from ...rad_core.noise import generators, normal
from ...rad_core.samplers import choose_sampler
from ...rad_core.training.data import MaskSource
from ...rad_core.training.loop import BatchSlice
from .shared_copy import shared_copy
from .token_levels import FAMILIES, WORKS_ON, family_name, predicts_ratio, predicts_velocity
from .token_levels.levels import TokenLevels
from .weights import PREFIX

Conds = dict[str, object]  # a network's inputs beside x and the timestep, for one picture


class FlowNetwork(nn.Module):
    """A host transformer as the training loop calls it, with the noise level of every token.

    Call with x (B, C, [T,] h, w), s (B, 1, [T,] h, w) in [0, 1] and a list of each picture's conditioning; returns v, float32.

    Attributes:
        checkpointing: keep no features of the blocks and compute them again in the backward pass.
    """

    def __init__(self, net: nn.Module, family: type, sampling, dtype: torch.dtype):
        super().__init__()
        self.net, self.checkpointing, levels = net, False, TokenLevels()
        self.__dict__.update(family=family(net, levels), levels=levels, dtype=dtype)
        ratio = predicts_ratio(sampling)
        self.timestep = (lambda s: s.float()) if ratio else (lambda s: sampling.timestep(s).float())
        for name, stand_in in self.family.patches():
            if name.startswith(PREFIX):
                path = name.removeprefix(PREFIX)
                comfy.utils.set_attr(net, path, stand_in(comfy.utils.get_attr(net, path)))
        self.family.prepare_training()
        for module in net.modules():
            if type(module).__name__.endswith("Norm"):
                module.register_forward_pre_hook(_own_input)
        for blocks in self.family.blocks:
            for block in getattr(net, blocks, ()):
                block.forward = _CheckpointedBlock(self, block.forward)

    @classmethod
    def of(cls, model) -> "FlowNetwork":
        """The network of a MODEL, on the same weights.

        Raises:
            ValueError: a MODEL without a way in, or whose weights cannot be trained on.
        """
        family = need_transformer(model)
        inner = model.model
        return cls(shared_copy(model, quantised=True), family, inner.model_sampling, inner.manual_cast_dtype or inner.get_dtype())

    def targets(self) -> list[str]:
        """Names of the layers that an adapter is trained on."""
        import re

        pattern = re.compile(self.family.targets)
        return [f"net.{name}" for name, layer in self.net.named_modules() if hasattr(layer, "in_features") and pattern.fullmatch(name)]

    def linear_kinds(self) -> set[type]:
        """The host's linear layers that are none of PyTorch's, such as those of quantised weights."""
        return {type(layer) for layer in self.net.modules() if hasattr(layer, "in_features") and not isinstance(layer, nn.Linear)}

    def forward(self, x: Tensor, s: Tensor, conds: Sequence[Conds]) -> Tensor:
        groups = [conds] if _alike(conds) else [[cond] for cond in conds]  # texts of other lengths go one by one
        parts = [len(group) for group in groups]
        return torch.cat([self._predict(*part) for part in zip(x.split(parts), s.split(parts), groups, strict=True)])

    def _predict(self, x: Tensor, s: Tensor, conds: Sequence[Conds]) -> Tensor:
        cond = _batch(conds, x.device, self.dtype)
        context, concat = cond.pop("c_crossattn", None), cond.pop("c_concat", None)
        highest = s.flatten(1).amax(1)
        self.family.set_levels(s, highest, self.timestep, self.dtype, context, cond)
        x = x.to(self.dtype) if concat is None else torch.cat([x.to(self.dtype), concat], 1)
        options = {"optimized_attention_override": attention_with_gradients, "prefetch_dynamic_vbars": False}
        steps = self.family.network_timesteps(self.timestep(highest))
        return self.net(x, steps, context=context, control=None, transformer_options=options, **cond).float()


def need_transformer(model) -> type:
    """The way into a MODEL's network. Raises ValueError where there is none."""
    name = family_name(model.model.diffusion_model)
    if name not in FAMILIES or not predicts_velocity(model.model.model_sampling):
        raise ValueError(
            f"'Train RAD Adapter' works on networks from 'Load ADM Model' and on {WORKS_ON}; this MODEL is of type "
            f"{type(model.model).__name__}."
        )
    if type(model.model)._apply_model is not comfy.model_base.BaseModel._apply_model:
        raise ValueError(f"'Train RAD Adapter' does not know how ComfyUI runs a {type(model.model).__name__}, and cannot train on it yet.")
    config = model.model.model_config.unet_config
    fill = name.startswith("flux.") and config.get("in_channels", 0) > config.get("out_channels", 0)
    if fill or getattr(model.model, "concat_keys", ()):
        raise ValueError("This model was trained for inpainting and is given the hole by itself: train on the plain model instead.")
    return FAMILIES[name]


class _CheckpointedBlock:
    """A block's forward pass that, while `owner.checkpointing`, keeps no features: they are computed again in the backward pass."""

    def __init__(self, owner: FlowNetwork, forward: Callable):
        self.owner, self.forward = owner, forward

    def __call__(self, *args, **kwargs):
        if not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        run = partial(self._run, vars(self.owner.levels).copy())
        return checkpoint(run, *args, use_reentrant=False, **kwargs) if self.owner.checkpointing else run(*args, **kwargs)

    def _run(self, levels: dict, *args, **kwargs):
        """With the levels of its own forward pass, and on tensors of its own: blocks of the host change theirs in place."""
        own = lambda value: value.clone() if isinstance(value, Tensor) and value.is_floating_point() else value
        vars(self.owner.levels).update(levels)
        return self.forward(*map(own, args), **{name: own(value) for name, value in kwargs.items()})


def _own_input(module: nn.Module, args: tuple) -> tuple | None:
    """A norm keeps its input for the backward pass, and blocks of the host then change it in place."""
    return (args[0].clone(), *args[1:]) if torch.is_grad_enabled() else None


def attention_with_gradients(attention, *args, **kwargs) -> Tensor:
    """PyTorch's own attention: others of the host's have no gradients."""
    return attention_pytorch(*args, **kwargs)


@contextmanager
def in_training() -> Iterator[None]:
    """Tell the host that gradients are wanted: newer ones then leave out their fused kernels, which have none."""
    before = getattr(comfy.model_management, "in_training", None)
    if before is not None:
        comfy.model_management.in_training = True
    try:
        yield
    finally:
        if before is not None:
            comfy.model_management.in_training = before


def flow_schedule(sampling) -> FlowSchedule:
    """RAD's schedule on a flow MODEL's own noise levels: s is drawn as its sampler visits it."""
    table = sampling.sigmas.cpu().double()
    return FlowSchedule(table=(table / (1 + table) if predicts_ratio(sampling) else table.clamp(max=1)))


def token_masks(masks: MaskSource, patch: tuple[int, int, int]) -> MaskSource:
    """Masks with one value in each token."""
    _, high, wide = patch

    def source(n: int, height: int, width: int, seed: int, device: torch.device | str = "cpu") -> Tensor:
        coarse = masks(n, -(-height // high), -(-width // wide), seed, device=device)
        return coarse.repeat_interleave(high, 2).repeat_interleave(wide, 3)[..., :height, :width]

    return source


def draw_pictures(latents: list[Tensor], conds: list, part: BatchSlice) -> tuple[Tensor, list]:
    """For each picture of a slice latents of a random training picture, mirrored or not, and the conditioning that belongs to it.

    All pictures of a step have one shape, the more often the more pictures have it.

    Args:
        latents: (1 or 2, C, ...) each, the second mirrored. conds: of each picture.

    Returns:
        (count, C, ...) and a list of `count`.
    """
    x0, chosen = [], []
    (shared,) = generators(part.seed, 1, "bucket")
    shape = latents[int(torch.randint(len(latents), (), generator=shared))].shape[1:]
    bucket = [k for k, one in enumerate(latents) if one.shape[1:] == shape]
    for stream in generators(part.seeds, part.count, "latents"):
        k = bucket[int(torch.randint(len(bucket), (), generator=stream))]
        x0.append(latents[k][int(torch.randint(len(latents[k]), (), generator=stream))])
        chosen.append(conds[k])
    return torch.stack(x0), chosen


@dataclass
class FlowPictures:
    """Training data: latents (1 or 2, C, [T,] h, w) of each picture, the second mirrored, and each picture's conditioning."""

    latents: list[Tensor]
    conds: list

    def load_batch(self, part: BatchSlice) -> tuple[Tensor, tuple]:
        """A `rad_core.training.diffusion.LoadBatch`."""
        x0, conds = draw_pictures(self.latents, self.conds, part)
        return x0, (conds,)

    def only(self, which: Sequence[int]) -> "FlowPictures":
        """Some of the pictures."""
        return type(self)([self.latents[k] for k in which], [self.conds[k] for k in which])


def conds_of(model, context: Tensor, extra: dict, latent: Tensor, keep: Callable[[Tensor], Tensor]) -> Conds:
    """The network's inputs for a prompt, beside a latent (1, C, [T,] h, w); `keep` copies each of its tensors."""
    inner = model.model
    device = model.load_device
    sides = {"width": latent.shape[-1] * 8, "height": latent.shape[-2] * 8}
    about = {**sides, **extra, "cross_attn": context.to(device), "noise": torch.zeros_like(latent, device=device), "device": device}
    conds = {
        name: cond.process_cond(batch_size=1, area=None).cond for name, cond in inner.extra_conds(**about, prompt_type="positive").items()
    }
    conds.setdefault("c_crossattn", context)
    concat = inner.concat_cond(**about)
    conds |= {} if concat is None else {"c_concat": concat}
    return {name: _map(keep, value) for name, value in conds.items()}


def _map(function: Callable[[Tensor], Tensor], value: object) -> object:
    """A function of the tensors in a conditioning's value."""
    if isinstance(value, (list, tuple)):
        return [_map(function, item) for item in value]
    return function(value) if isinstance(value, Tensor) else value


def _alike(conds: Sequence[Conds]) -> bool:
    """Whether the conditionings of several pictures can go through the network together."""
    shapes = lambda cond: {name: _map(lambda t: tuple(t.shape), value) for name, value in cond.items()}
    return all(shapes(cond) == shapes(conds[0]) for cond in conds[1:])


def _batch(conds: Sequence[Conds], device: torch.device, dtype: torch.dtype) -> Conds:
    """Conditionings of pictures as one, on the network's device and in its precision, as the host's `apply_model` gives them."""
    place = lambda value: value.to(device, dtype) if value.is_floating_point() else value.to(device)
    return {name: _map(place, _joined([cond[name] for cond in conds])) for name in conds[0]}


def _joined(values: Sequence) -> object:
    """Values of several pictures as one: tensors along the batch, also inside lists (reference pictures); of others the first."""
    first = values[0]
    if isinstance(first, (list, tuple)):
        return [_joined(items) for items in zip(*values, strict=True)]
    return torch.cat(list(values)) if isinstance(first, Tensor) and len(values) > 1 else first


@torch.no_grad()
def fill_flow(net: FlowNetwork, schedule: FlowSchedule, x0: Tensor, mask: Tensor, conds: Sequence[Conds], steps: int = 20) -> Tensor:
    """Fill holes with a network under training: latents (B, C, [T,] h, w), mask (B, 1, h, w). Euler's method, without CFG."""
    device = next(net.parameters()).device
    x0, mask = x0.to(device), mask.to(device)
    mask = mask if x0.ndim == 4 else mask[:, :, None].expand(-1, -1, x0.shape[2], -1, -1)
    sigmas = schedule.sigmas(mask, steps)
    noise = normal(generators(0, len(x0), "sampling"), x0.shape[1:], device)
    start = flow_start(x0 * (mask < 1), noise, sigmas[0])
    filled = choose_sampler("ddim")(FlowDenoiser(lambda x, s: net(x, s, conds)), start, sigmas, None, None)
    return torch.where(mask > 0, filled, x0).cpu()
