"""Training of RAD adapters on latents: a trainable copy of a host U-Net, pictures as latents, and fills on the way."""

from collections.abc import Callable, Sequence

import comfy.conds
import comfy.model_management
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import Tensor, nn

from ...rad_core import RegionSchedule
from ...rad_core.noise import generators, normal
from ...rad_core.notes import note
from ...rad_core.samplers import choose_sampler
from ...rad_core.timestep_embedding import TimestepMap
from ...rad_core.training.buckets import bucket_of
from ...rad_core.training.data import middle
from ...rad_core.training.loop import BatchSlice, autocast
from . import flow_training
from .flow_training import FlowPictures, attention_with_gradients
from .latents import check_latents
from .progress import counting
from .region_aware import is_unet
from .shared_copy import shared_copy
from .spatial_embedding import Differences, blocks_of, embed_steps, stand_ins

LATENT_SIZE = 512  # side of training pictures, in pixels
LATENT_TARGETS = [  # as RAD's on an ADM network
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "in_layers.2",
    "out_layers.3",
    "input_blocks.0.0",
    "out.2",
]
LATENT_TIME_LAYERS = ["time_embed.0", "time_embed.2", "emb_layers.1"]
Cond = tuple[Tensor, Tensor | None]  # a prompt as a U-Net takes it: context (1, L, E), and SDXL's y (1, A)


class LatentNetwork(nn.Module):
    """A host U-Net as the training loop calls it, with the timestep of every latent pixel.

    Call with x (B, C, h, w), variance-preserving; t (B, 1, h, w) or (B,), 0 for clean and step + 1 otherwise; context (B, L, E); and for
    SDXL y (B, A). Returns the network's prediction, (B, C, h, w).

    Attributes:
        checkpointing: keep no features and compute them again in the backward pass.
    """

    def __init__(self, unet: UNetModel):
        super().__init__()
        self.unet, self.differences, self.checkpointing = unet, Differences(), False
        for _, block in blocks_of(unet):
            for name, stand_in in stand_ins(block, self.differences).items():
                setattr(block, name, stand_in)
        for part in (*unet.input_blocks, unet.middle_block, *unet.output_blocks):
            for layer in part:
                layer.forward = _CheckpointedLayer(lambda: self.checkpointing, layer.forward)

    def forward(self, x: Tensor, t: Tensor, context: Tensor, y: Tensor | None = None) -> Tensor:
        timesteps = TimestepMap.of((t - 1).clamp(min=0))
        highest = timesteps.values.amax(1)
        self.differences.vectors = self.differences.weights = None
        if timesteps.weights is not None:
            own, scalar = (embed_steps(self.unet, steps) for steps in (timesteps.values, highest))
            self.differences.vectors, self.differences.weights = own - scalar[:, None], timesteps.weights
        return self.unet(x, highest, context, y, transformer_options={"optimized_attention_override": attention_with_gradients})

    @classmethod
    def of(cls, model, dtype: torch.dtype) -> "LatentNetwork":
        """The network of a MODEL, on the same weights where they are of this precision already; its norms are float32."""
        unet = shared_copy(model).to(dtype)
        for layer in unet.modules():
            if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
                layer.float()  # autocast leaves float32 pictures to them
        return cls(unet)


class _CheckpointedLayer:
    """A layer's forward pass that, while `active`, keeps no features: they are computed again in the backward pass."""

    def __init__(self, active: Callable[[], bool], forward: Callable):
        self.active, self.forward = active, forward

    def __call__(self, *args, **kwargs):
        if not self.active() or not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        return torch.utils.checkpoint.checkpoint(self.forward, *args, use_reentrant=False, **kwargs)


class LatentPictures(FlowPictures):
    """Training data of a U-Net: `FlowPictures` whose prompts are joined as the U-Net takes them, each a `Cond`."""

    def load_batch(self, part: BatchSlice) -> tuple[Tensor, tuple]:
        x0, (conds,) = super().load_batch(part)
        return x0, collate_conds(conds)


def collate_conds(conds: Sequence[Cond]) -> Cond:
    """Prompts of several pictures as a batch. Texts of different lengths are repeated to one length, as the host does."""
    first, *others = [comfy.conds.CONDCrossAttn(context) for context, _ in conds]
    labels = [y for _, y in conds]
    return first.concat(others), None if labels[0] is None else torch.cat(labels)


def encode(model, vae, pictures: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> latents (B, C, h, w) in the network's range."""
    latents = vae.encode(pictures.movedim(1, -1)).float().cpu()
    check_latents(model, latents)
    return model.model.process_latent_in(latents)


def decode(model, vae, latents: Tensor) -> Tensor:
    """The reverse of `encode`."""
    pictures = vae.decode(model.model.process_latent_out(latents))
    pictures = pictures.reshape(-1, *pictures.shape[-3:])  # VAEs of videos give (B, T, H, W, 3)
    return pictures.movedim(-1, 1)[:, :3].float().cpu().clamp(0, 1)


def encode_pictures(
    model,
    vae,
    pictures: Sequence[Tensor],
    prompts: Sequence[list],
    size: int,
    flip: bool,
    buckets: bool,
    keep: Callable[[Tensor], Tensor],
) -> FlowPictures:
    """Encode pictures with their prompts, each picture and each prompt once.

    Args:
        pictures: (3, H, W) each, uint8 or in [0, 1].
        prompts: one CONDITIONING for all, or one for each picture.
        size: side of the squares they are cropped to; with `buckets` the square root of their area.
        flip: encode their mirror images too.
        keep: copies a tensor (see `TensorStore`), for autograd refuses those of the host's inference mode.

    Raises:
        ValueError: no VAE, or no prompts.
    """
    if vae is None:
        raise ValueError("This MODEL works on latents: connect its VAE too.")
    if not prompts:
        raise ValueError("This MODEL needs prompts: connect 'positive' (what the pictures show), or 'clip' for captions.")
    latents, report = [], counting("encoding the pictures")
    for picture in pictures:
        report(len(latents), len(pictures))
        height, width = bucket_of(*picture.shape[1:], size) if buckets else (size, size)
        crop = middle(picture, height, width)[None]
        both = [crop, crop.flip(3)] if flip else [crop]
        latents.append(keep(torch.cat([encode(model, vae, side) for side in both])))
    unet, known, conds = is_unet(model), {}, []
    if not unet:
        comfy.model_management.load_models_gpu([model])  # some read their prompts with weights of their own
    for k, x in enumerate(latents):  # some prompts say how large the picture is
        which = k % len(prompts), x.shape[2:]
        if which not in known:
            prompt = prompts[which[0]][0]
            known[which] = conds_of(model, *prompt, x.shape[2:], keep) if unet else flow_training.conds_of(model, *prompt, x[:1], keep)
        conds.append(known[which])
    return (LatentPictures if unet else FlowPictures)(latents, conds)


def prompts_of(positive: list | None, clip, captions: Sequence[str]) -> list[list]:
    """CONDITIONINGs to train with: `positive`, one for each picture if it has as many entries; else the captions, read by CLIP."""
    if positive is not None:
        if len(positive) not in (1, len(captions)):
            note(
                f"'positive' has {len(positive)} prompts for {len(captions)} pictures, so all of them train with the first: connect one, "
                "or as many as there are pictures."
            )
        return [[entry] for entry in positive] if len(positive) == len(captions) else [positive]
    prompts, report = [], counting("reading the captions")
    for caption in captions if clip is not None else ():
        report(len(prompts), len(captions))
        prompts.append(clip.encode_from_tokens_scheduled(clip.tokenize(caption)))
    return prompts


def conds_of(model, context: Tensor, extra: dict, size: tuple[int, int], keep: Callable[[Tensor], Tensor]) -> Cond:
    """A prompt as the network takes it, for latents of `size`; `keep` copies each of its tensors."""
    noise = torch.zeros(1, model.model.latent_format.latent_channels, *size)
    extra = {"width": size[1] * 8, "height": size[0] * 8} | extra  # a prompt may say of which size its picture was, as in the host
    y = model.model.extra_conds(**extra, cross_attn=context, noise=noise, device=torch.device("cpu"), prompt_type="positive").get("y")
    return keep(context.float()), y and keep(y.cond.float())


@torch.no_grad()
def fill_latents(
    net: LatentNetwork,
    schedule: RegionSchedule,
    prediction: str,
    x0: Tensor,
    mask: Tensor,
    cond: Cond,
    precision: str = "float32",
    steps: int = 20,
) -> Tensor:
    """Fill holes with a network under training: latents (B, C, h, w), mask (B, 1, h, w). Deterministic (ddim), without CFG.

    Args:
        precision: that the network is trained in.
    """
    device = next(net.parameters()).device
    x0, mask, *cond = (value if value is None else value.to(device) for value in (x0, mask, *cond))

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        scale = (1 + sigma.square()).sqrt()
        t = schedule.phase1.level_of_sigma(sigma).expand(x.shape[0], 1, *x.shape[2:])
        with autocast(device, precision):  # its frozen weights are in half precision, the trained ones are not
            out = net(x / scale, t.float(), *cond).float()
        return (x / scale - sigma * out) / scale if prediction == "v" else x - sigma * out

    sigmas = schedule.sigmas(mask, steps)
    noise = normal(generators(0, len(x0), "sampling"), x0.shape[1:], device)
    filled = choose_sampler("ddim")(denoise, x0 * (mask < 1) + sigmas[0] * noise, sigmas, None, None)
    return torch.where(mask > 0, filled, x0).cpu()
