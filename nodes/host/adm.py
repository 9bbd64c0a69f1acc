"""A pixel-space ADM network as an ordinary host MODEL: any host sampler and scheduler runs on it."""

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.ops
import comfy.patcher_extension
import comfy.sd
import comfy.supported_models_base
import torch
from torch import Tensor

from ...rad_core import ADMDenoiser, NoiseSchedule, UNet, load_model
from ...rad_core.images import clamp_mask
from ...rad_core.losses import append_dims
from ...rad_core.memory import weights_layout

REGION_AWARE = "region_aware"  # the attribute of ADMModel that an adapter patches
VARIANCE_CALLBACK = "rad_model_var_values"  # transformer option: a function that receives the network's values for the variance
OTHER_PREDICTION = (
    "A node such as ModelSamplingDiscrete has changed what this MODEL predicts, after RAD gave every pixel its own noise level: remove "
    "that node, or the one of RAD before it."
)


class PixelRGB(comfy.latent_formats.LatentFormat):
    """A "latent" that is the picture itself in [-1, 1]."""

    latent_channels = 3
    spacial_downscale_ratio = 1
    latent_rgb_factors = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class ADMConfig(comfy.supported_models_base.BASE):
    latent_format = PixelRGB


class ADMModel(comfy.model_base.BaseModel):
    """A `rad_core.UNet` as the host sees it.

    With a RAD network or adapter and a noise mask, every pixel has its own noise level, sigma x mask, and known pixels stay clean
    (RAD 3.1). A plain network gets one level for all pixels, and the host noises the known pixels as it does for any MODEL.
    """

    region_aware: bool  # adapters patch it

    def __init__(self, net: UNet):
        super().__init__(ADMConfig({"disable_unet_model_creation": True, "in_channels": 3}), comfy.model_base.ModelType.EPS)
        self.diffusion_model = net
        self.schedule = NoiseSchedule(net.config.schedule)
        self.model_sampling.set_sigmas(self.schedule.level_sigma[1:])
        self.region_aware = net.region_aware

    def _apply_model(
        self,
        x,
        t,
        c_concat=None,
        c_crossattn=None,
        control=None,
        transformer_options=None,
        denoise_mask=None,
        sigma_map=None,
        y=None,
        **kwargs,
    ) -> Tensor:
        if not isinstance(self.model_sampling, comfy.model_sampling.EPS):
            raise ValueError("An ADM network is no flow model: remove the node, such as ModelSamplingSD3, that makes it sample like one.")
        options, maps = transformer_options or {}, noise_levels(t, denoise_mask if self.region_aware else None, sigma_map)
        sigma = t.view(-1, 1, 1, 1) if maps is None else maps
        classes = self.diffusion_model.config.num_classes
        if classes:
            check_class(classes, y)
        labels = y.to(x.device).long().flatten() if classes else None
        denoise = ADMDenoiser(self.diffusion_model, self.region_aware, labels, self.schedule)
        x0, model_var_values = denoise.predict(x.float(), sigma.float())
        if model_var_values is not None and VARIANCE_CALLBACK in options:
            options[VARIANCE_CALLBACK](model_var_values)
        return x0

    def extra_conds(self, **kwargs) -> dict:
        label = kwargs.get("class_label")
        return {} if label is None else {"y": comfy.conds.CONDRegular(label)}

    def scale_latent_inpaint(self, sigma, noise, latent_image, **kwargs) -> Tensor:
        """What the host puts where the mask is 0: the clean picture for a region-aware network."""
        return latent_image if self.region_aware else super().scale_latent_inpaint(sigma, noise, latent_image, **kwargs)

    def get_dtype(self) -> torch.dtype:
        return self.diffusion_model.conv_in.weight.dtype

    def memory_required(self, input_shape, cond_shapes=None) -> float:
        """Bytes that a batch needs: about 24 maps of the full-size level exist at the same time."""
        batch, _, height, width = input_shape
        return 24 * batch * height * width * self.diffusion_model.config.block_out_channels[0] * self.get_dtype().itemsize


def noise_levels(t: Tensor, denoise_mask: Tensor | None, sigma_map: Tensor | None) -> Tensor | None:
    """Noise level of every pixel (B, 1, [T,] H, W): the map, else sigma t (B,) times the mask; None where one level holds for all."""
    if sigma_map is not None:
        return sigma_map
    return None if denoise_mask is None else append_dims(t, denoise_mask) * denoise_mask


def check_class(classes: int, label: Tensor | None, where: str = "'ADM Conditioning'") -> None:
    """Check the label of a class-conditional network.

    Args:
        where: the label is set, for the error.

    Raises:
        ValueError: it is missing, or out of range.
    """
    if label is None or bool((label < 0).any() | (label >= classes).any()):
        raise ValueError(f"This network is class-conditional: set a class from 0 to {classes - 1} in {where}.")


def class_conditioning(label: int) -> list:
    """A CONDITIONING that carries a class label, and an empty text because samplers need one."""
    return [[torch.zeros(1, 1, 1), {"class_label": torch.tensor([label])}]]


def load_adm(path: str, attention_order: str = "auto", dtype: torch.dtype = torch.float32, disable_dynamic: bool = False):
    """Load any file that `rad_core.load_model` reads as a host MODEL. Raises as it does.

    disable_dynamic: without the host's dynamic memory, as it asks for a second copy for torch.compile and hooks.
    """
    device = comfy.model_management.get_torch_device()
    net = load_model(path, attention_order, dtype=dtype, layers=comfy.ops.disable_weight_init).to(memory_format=weights_layout(device))
    plain = comfy.model_patcher.ModelPatcher
    patcher = plain if disable_dynamic else getattr(comfy.model_patcher, "CoreModelPatcher", plain)  # v0.3.64 has none
    model = patcher(ADMModel(net), device, comfy.model_management.unet_offload_device())
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.SAMPLER_SAMPLE, "rad_keep_known", _keep_known_of_adm)
    model.cached_patcher_init = load_adm, (path, attention_order, dtype)
    return model


def set_conds(model_wrap, **maps: Tensor) -> None:
    """Pass maps (B, 1, H, W) to the model of a running guider, as arguments of `_apply_model`.

    As conds they are repeated for cond and uncond, and cut to a conditioning's area, as x is. A guider makes its conds anew for
    every run, so nothing stays behind.

    Raises:
        ValueError: the guider runs the negative prompt on another network, which is not the one that RAD patched.
    """
    every, negative = list(model_wrap.conds.values()), getattr(model_wrap, "uncond_inner", None)  # of DualModelGuider
    if negative is not None:
        if negative is not model_wrap.inner_model and not isinstance(negative, ADMModel):
            raise ValueError(
                "RAD's noise level per pixel reaches one network, and this guider (DualModelGuider) runs the negative prompt on another: "
                "connect the same MODEL to model and model_negative, or use CFGGuider."
            )
        every.append(model_wrap._uncond_conds)
    for conds in every:
        for cond in conds or ():
            cond["model_conds"].update({name: comfy.conds.CONDNoiseShape(values) for name, values in maps.items()})


def keep_known(executor, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, *rest) -> Tensor:
    """Wrap a host sampler's run on a region-aware network: pass the mask on to the model, and put known pixels back at the end.

    Samplers such as uni_pc leave a trace of noise on known pixels. A mask that changes from step to step (Differential Diffusion)
    would contradict the noise levels that the network gets, which handles grey itself, so that function is removed.
    """
    if denoise_mask is not None:
        extra_args["model_options"].pop("denoise_mask_function", None)
    return _keep_known(executor, model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *rest)


def _keep_known_of_adm(executor, model_wrap, *args) -> Tensor:
    """`keep_known`; a plain ADM network keeps the mask that changes."""
    return (keep_known if model_wrap.inner_model.region_aware else _keep_known)(executor, model_wrap, *args)


def _keep_known(executor, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, *rest) -> Tensor:
    if denoise_mask is None:
        return executor(model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *rest)
    denoise_mask = clamp_mask(denoise_mask)
    set_conds(model_wrap, denoise_mask=denoise_mask[:, :1])
    samples = executor(model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *rest)
    return torch.where(denoise_mask > 0, samples, latent_image.to(samples))


def pixel_vae():
    """The host's identity VAE: IMAGE in [0, 1] <-> LATENT in [-1, 1]."""
    return comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=torch.float32)  # bfloat16 would round known pixels


def need_adm(model, node: str) -> ADMModel:
    """The ADM network of a MODEL, for the node of this name.

    Raises:
        ValueError: the MODEL is of another kind.
    """
    if not isinstance(model.model, ADMModel):
        kind = type(model.model).__name__
        raise ValueError(
            f"'{node}' needs a pixel-space network from 'Load ADM Model', but this MODEL is of type {kind}, which works on latents. "
            "With a latent model use 'RAD Spatial Noise Embedding', or 'Load RAD Adapter', and a KSampler instead."
        )
    return model.model
