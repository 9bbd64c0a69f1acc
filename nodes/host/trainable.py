"""A MODEL as the training loop takes it: its network, its weights, its schedule and what it predicts."""

import comfy.model_sampling
import torch
from torch import Tensor, nn

from ...rad_core import FlowSchedule, RegionSchedule, UNet
from ...rad_core.training.diffusion import check_device
from .adm import ADMModel
from .flow_training import FlowNetwork, flow_schedule, need_transformer
from .latent_training import LatentNetwork
from .region_aware import is_unet
from .sampler import betas
from .spatial_embedding import need_unet
from .token_levels import predicts_velocity
from .weights import loaded_weights, weights_of


def check_trainable(model) -> None:
    """Check that an adapter can be trained on a MODEL's network, before any work is done.

    Raises:
        ValueError: it cannot, in one sentence that says why.
    """
    check_device(model.load_device)
    if isinstance(model.model, ADMModel):
        return
    if not is_unet(model):
        need_transformer(model)
        return
    unet = need_unet(model, "Train RAD Adapter")
    if unet.in_channels != model.model.latent_format.latent_channels:
        raise ValueError(
            f"This model's network takes {unet.in_channels} channels: besides the latents it is given a picture or a hole (inpainting, "
            "pix2pix, Zero123, upscalers). Train on the plain model instead."
        )


def copy_of(model, precision: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """Copy a MODEL's network for training, a `UNet`, `LatentNetwork` or `FlowNetwork`, and return it with the weights that were loaded.

    Raises:
        ValueError: a MODEL that `check_trainable` refuses, or whose weights cannot be trained on.
    """
    check_trainable(model)
    if isinstance(model.model, ADMModel):
        weights, net = weights_of(model), UNet(model.model.diffusion_model.config)
        net.load_state_dict({name: weight.merged() for name, weight in weights.items()})
        return net, {name: weight.plain() for name, weight in weights.items()}
    net = LatentNetwork.of(model, getattr(torch, precision)) if is_unet(model) else FlowNetwork.of(model)
    return net, loaded_weights(model)


def schedule_of(model) -> RegionSchedule | FlowSchedule:
    """RAD's schedule on a MODEL's own noise levels."""
    if predicts_velocity(model.get_model_object("model_sampling")):
        return flow_schedule(model.get_model_object("model_sampling"))
    if isinstance(model.model, ADMModel):
        return RegionSchedule(model.model.schedule)
    return RegionSchedule(betas(model.get_model_object("model_sampling").sigmas.cpu().double()))


def prediction_of(model) -> str:
    """What a MODEL's network predicts: "eps", "v" or "flow"."""
    if predicts_velocity(model.get_model_object("model_sampling")):
        return "flow"
    if isinstance(model.model, ADMModel):
        return model.model.diffusion_model.config.prediction
    return "v" if isinstance(model.get_model_object("model_sampling"), comfy.model_sampling.V_PREDICTION) else "eps"
