"""Training on a copy of what a MODEL holds: the host's own network is only read, so that nothing of a run stays behind in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import comfy.conds
import comfy.lora
import comfy.model_management
import comfy.model_sampling
import comfy.ops
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import Tensor, nn

from ...rad_core import NoiseSchedule, RegionSchedule, UNet
from ...rad_core.noise import generators, normal
from ...rad_core.samplers import choose_sampler
from ...rad_core.training.loop import Part
from ...rad_core.unet import NoiseLevels
from .adapters import PREFIX
from .adm import ADMModel
from .sampler import betas
from .spatial_embedding import Differences, SpatialEmbedding, blocks_of, embed_steps, need_unet

LATENT_TARGETS = [
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "in_layers.2",
    "out_layers.3",
    "input_blocks.0.0",
    "out.2",
]  # as RAD's on an ADM network
LATENT_TIME_LAYERS = ["time_embed.0", "time_embed.2", "emb_layers.1"]


def weights_of(model) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A MODEL's network as it was loaded, and with its patches (LoRA, adapters) merged: float32 copies by name."""
    plain, merged = {}, {}
    for key, ((weight, convert), *patches) in model.get_key_patches(PREFIX).items():
        name = key.removeprefix(PREFIX)
        plain[name] = merged[name] = convert(weight.to("cpu", copy=True), inplace=True).float()
        if patches:
            merged[name] = comfy.lora.calculate_weight(patches, plain[name].clone(), key)
    return plain, merged


def copy_of(model, precision: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """A MODEL's network for training: a `rad_core.UNet` or a `LatentNetwork`; and the weights that it was loaded with.

    Raises:
        ValueError: a MODEL of another kind.
    """
    dtype = torch.float32 if precision == "float32" else torch.bfloat16  # of what is frozen
    plain, merged = weights_of(model)
    if isinstance(model.model, ADMModel):
        net = UNet(model.model.diffusion_model.config)
        net.load_state_dict(merged)
        return net, plain
    need_unet(model, "Train RAD Adapter")
    config = {**model.model.model_config.unet_config, "dtype": torch.float32, "device": "cpu"}
    unet = UNetModel(**config, operations=comfy.ops.disable_weight_init)
    unet.load_state_dict(merged)
    return LatentNetwork(unet.to(dtype)), plain


class LatentNetwork(nn.Module):
    """A host U-Net as the training loop calls it, told the timestep of every latent pixel.

    Call with x (B, C, h, w) as the network sees it, told (B, 1, h, w) or (B,) in levels (0 is clean, step t is t + 1), context (B, L, E),
    and for SDXL y (B, A). Gives what the network predicts, (B, C, h, w).
    """

    def __init__(self, unet: UNetModel):
        super().__init__()
        self.unet, self.differences, self.checkpointing = unet, Differences(), False
        for _, block, depth in blocks_of(unet):
            block.emb_layers = SpatialEmbedding(block.emb_layers, depth, self.differences)
        for part in (*unet.input_blocks, unet.middle_block, *unet.output_blocks):
            for layer in part:
                layer.forward = _Checkpointed(self, layer.forward)

    def forward(self, x: Tensor, told: Tensor, context: Tensor, y: Tensor | None = None) -> Tensor:
        levels = NoiseLevels.of((told - 1).clamp(min=0))
        highest = levels.values.amax(1)
        self.differences.vectors = self.differences.weights = None
        if levels.weights is not None:
            own, scalar = (embed_steps(self.unet, steps) for steps in (levels.values, highest))
            self.differences.vectors, self.differences.weights = own - scalar[:, None], levels.weights
        return self.unet(x, highest, context, y, transformer_options={"optimized_attention_override": _with_gradients})


def _with_gradients(attention, *args, **kwargs) -> Tensor:
    """PyTorch's own attention: others of the host's have no gradients."""
    return attention_pytorch(*args, **kwargs)


class _Checkpointed:
    """A layer's forward that keeps no features while the network is `checkpointing`: they are computed again in the backward pass."""

    def __init__(self, net: LatentNetwork, forward: Callable):
        self.flags, self.forward = net.__dict__, forward

    def __call__(self, *args, **kwargs):
        if not self.flags["checkpointing"] or not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        return torch.utils.checkpoint.checkpoint(self.forward, *args, use_reentrant=False, **kwargs)


def schedule_of(model) -> RegionSchedule:
    """RAD's schedule on a MODEL's own noise levels."""
    if isinstance(model.model, ADMModel):
        return RegionSchedule(model.model.schedule)
    return RegionSchedule(NoiseSchedule(betas(model.get_model_object("model_sampling").sigmas.double().cpu())))


def prediction_of(model) -> str:
    """What a MODEL's network predicts: "eps" or "v"."""
    if isinstance(model.model, ADMModel):
        return model.model.diffusion_model.config.prediction
    return "v" if isinstance(model.get_model_object("model_sampling"), comfy.model_sampling.V_PREDICTION) else "eps"


@dataclass
class LatentPictures:
    """What a latent model is trained on.

    latents: (1 or 2, C, h, w) each, as the network knows them; the second is the picture's mirror image. given: (context (1, L, E),
    y (1, A) or None) of each picture, which says what it shows.
    """

    latents: list[Tensor]
    given: list[tuple[Tensor, Tensor | None]]

    def draw(self, part: Part) -> tuple[Tensor, tuple]:
        """A `rad_core.training.diffusion.Draw`."""
        x0, given = [], []
        for stream in generators(part.seeds, part.count, "latents"):
            k = int(torch.randint(len(self.latents), (), generator=stream))
            x0.append(self.latents[k][int(torch.randint(len(self.latents[k]), (), generator=stream))])
            given.append(self.given[k])
        return torch.stack(x0), gather(given)


def gather(given: Sequence[tuple[Tensor, Tensor | None]]) -> tuple:
    """What is said of several pictures, as a batch: texts of different lengths are repeated to one, as the host does."""
    first, *others = [comfy.conds.CONDCrossAttn(context) for context, _ in given]
    labels = [y for _, y in given]
    return first.concat(others), None if labels[0] is None else torch.cat(labels)


def encode(model, vae, pictures: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> latents (B, C, h, w) as the network knows them."""
    return model.model.process_latent_in(vae.encode(pictures.movedim(1, -1)).float().cpu())


def decode(model, vae, latents: Tensor) -> Tensor:
    """The reverse of `encode`."""
    return vae.decode(model.model.process_latent_out(latents)).movedim(-1, 1)[:, :3].float().cpu().clamp(0, 1)


def said_of(model, conditioning: list, size: tuple[int, int]) -> list[tuple[Tensor, Tensor | None]]:
    """A CONDITIONING's entries as the network takes them, for latents of `size`."""
    said = []
    for context, extra in conditioning:
        noise = torch.zeros(1, model.model.latent_format.latent_channels, *size)
        conds = model.model.extra_conds(
            **extra,
            cross_attn=context,
            noise=noise,
            device=torch.device("cpu"),
            width=size[1] * 8,
            height=size[0] * 8,
            prompt_type="positive",
        )
        y = conds.get("y")
        said.append(tuple(value.detach().float().cpu().clone() if value is not None else None for value in (context, y and y.cond)))
    return said


@torch.no_grad()
def fill_latents(
    net: LatentNetwork, schedule: RegionSchedule, prediction: str, x0: Tensor, mask: Tensor, given: tuple, steps: int = 20
) -> Tensor:
    """Fill holes with a network under training: latents (B, C, h, w), mask (B, 1, h, w). Deterministic (ddim), without guidance."""
    device = next(net.parameters()).device
    x0, mask, *given = (value if value is None else value.to(device) for value in (x0, mask, *given))

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        scale = (1 + sigma.square()).sqrt()
        told = schedule.phase1.level_of_sigma(sigma).expand(x.shape[0], 1, *x.shape[2:])
        out = net(x / scale, told.float(), *given).float()
        return (x / scale - sigma * out) / scale if prediction == "v" else x - sigma * out

    sigmas = schedule.sigmas(mask, steps)
    noise = normal(generators(0, len(x0), "sampling"), x0.shape[1:], device)
    filled = choose_sampler("ddim", 0.0)(denoise, x0 * (mask < 1) + sigmas[0] * noise, sigmas, None, None)
    return torch.where(mask > 0, filled, x0).cpu()
