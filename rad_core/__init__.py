"""Region-aware inpainting in plain PyTorch.

>>> import rad_core
>>> net = rad_core.load_adapter(rad_core.load_model("landscapes"), "landscapes")
>>> picture, mask = rad_core.landscapes(1, 64, seed=7), rad_core.box_masks(1, 64, 64, seed=7)
>>> filled = rad_core.rad_inpaint(net, picture, mask, seed=0)
"""

from .adapter_files import bundled_adapters, read_adapter
from .adapters import add_adapter, load_adapter, merge_adapters, save_adapter, unload_adapters
from .checkpoints import CheckpointError, bundled_networks, load_model, save_model
from .denoisers import ADMDenoiser, Denoiser, TiledDenoiser
from .exemplar import ExemplarDenoiser, ExemplarSettings, exemplar_inpaint
from .flow import FlowDenoiser, FlowSchedule
from .gradpaint import GradPaintSettings, gradpaint_inpaint
from .guidance import GradPaint, Guidance, KnownPixels, Probe
from .mask_files import read_mask
from .masks import animated_perlin_masks, box_masks, brush_masks, extreme_masks, perlin_masks, scratch_masks, wide_masks
from .notes import Note
from .photo_files import Photo, read_photo, write_photo
from .rad import RADSettings, rad_inpaint
from .samplers import SAMPLERS
from .schedule import NoiseSchedule, RegionSchedule
from .sdm import OneShot, SDMSettings, bundled_sdms, load_sdm, save_sdm, sdm_inpaint
from .settings import SamplingSettings
from .synthetic import landscapes
from .unet import UNet, UNetConfig

__version__ = "0.1.0"
__all__ = [
    "SAMPLERS",
    "ADMDenoiser",
    "CheckpointError",
    "Denoiser",
    "ExemplarDenoiser",
    "ExemplarSettings",
    "FlowDenoiser",
    "FlowSchedule",
    "GradPaint",
    "GradPaintSettings",
    "Guidance",
    "KnownPixels",
    "NoiseSchedule",
    "Note",
    "OneShot",
    "Photo",
    "Probe",
    "RADSettings",
    "RegionSchedule",
    "SDMSettings",
    "SamplingSettings",
    "TiledDenoiser",
    "UNet",
    "UNetConfig",
    "add_adapter",
    "animated_perlin_masks",
    "box_masks",
    "brush_masks",
    "bundled_adapters",
    "bundled_networks",
    "bundled_sdms",
    "exemplar_inpaint",
    "extreme_masks",
    "gradpaint_inpaint",
    "landscapes",
    "load_adapter",
    "load_model",
    "load_sdm",
    "merge_adapters",
    "perlin_masks",
    "rad_inpaint",
    "read_adapter",
    "read_mask",
    "read_photo",
    "save_adapter",
    "save_model",
    "save_sdm",
    "scratch_masks",
    "sdm_inpaint",
    "unload_adapters",
    "wide_masks",
    "write_photo",
]
