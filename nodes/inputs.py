"""Inputs that several nodes share, one function each. Their defaults are those of the methods' settings in `rad_core`."""

import torch
from comfy_api.latest import io

from ..rad_core import SAMPLERS
from ..rad_core.gradpaint import PRESETS
from ..rad_core.rad import RADSettings
from .host.sampler import SAMPLER_NAMES, SCHEDULERS

RAD = RADSettings()
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
VIEWS = {"network's own": "auto", "around the hole": "hole", "whole picture": "whole", "picture's own size": "native"}
GRADPAINT_SETTINGS = io.Custom("GRADPAINT_SETTINGS")
SDM_MODEL = io.Custom("SDM_MODEL")


def image() -> io.Input:
    return io.Image.Input("image", tooltip="The picture, or a batch. Pixels inside the hole are ignored.")


def mask(
    tooltip: str = "White is the hole; grey changes a little. One mask may serve many pictures, and the reverse.",
) -> io.Input:
    return io.Mask.Input("mask", tooltip=tooltip)


def seed(tooltip: str = "Another seed, another fill.", default: int = 0, most: int = 0xFFFFFFFFFFFFFFFF, changes: bool = True) -> io.Input:
    """The seed of a run. `changes`: whether the page may draw another after each run; it does unless this is False."""
    return io.Int.Input("seed", default=default, min=0, max=most, control_after_generate=changes, tooltip=tooltip)


def steps(default: int, tooltip: str = "Network calls.", least: int = 1, most: int = 1000) -> io.Input:
    return io.Int.Input("steps", default=default, min=least, max=most, tooltip=tooltip)


def cfg(default: float, tooltip: str) -> io.Input:
    return io.Float.Input("cfg", default=default, min=0.0, max=100.0, step=0.1, tooltip=tooltip)


def positive() -> io.Input:
    return io.Conditioning.Input("positive", tooltip="The prompt; for ADM networks ADM Conditioning.")


def negative() -> io.Input:
    return io.Conditioning.Input("negative", tooltip="The negative prompt; for ADM networks ADM Conditioning.")


def class_label(tooltip: str, optional: bool = False) -> io.Input:
    return io.Int.Input("class_label", default=0, min=0, max=100000, optional=optional, tooltip=tooltip)


def rad_sampler(default: str = "ddpm") -> io.Input:
    return io.Combo.Input(
        "sampler",
        options=list(SAMPLERS),
        default=default,
        tooltip="ddpm: the paper's, best at 100 steps. dpmpp_2m and ddim: need fewer steps.",
    )


def eta() -> io.Input:
    return io.Float.Input("eta", default=RAD.eta, min=0.0, max=1.0, step=0.05, tooltip="Noise of ddim: 0 none, 1 as much as ddpm.")


def order() -> io.Input:
    return io.Mask.Input("order", optional=True, tooltip="Grey map: black parts of it are generated first, white parts last.")


def overlap() -> io.Input:
    return io.Float.Input(
        "overlap",
        default=RAD.overlap,
        min=0.0,
        max=1.0,
        step=0.05,
        optional=True,
        tooltip="With an order. 0: black parts are finished before white ones begin, and each part has half of the steps. 1: all parts "
        "are generated at the same time, each with all steps.",
    )


def host_sampler() -> io.Input:
    return io.Combo.Input("sampler_name", options=SAMPLER_NAMES, default="euler", tooltip="Any of ComfyUI's samplers.")


def scheduler(tooltip: str = "How the noise falls over the steps.") -> io.Input:
    return io.Combo.Input("scheduler", options=SCHEDULERS, default="normal", tooltip=tooltip)


def denoise() -> io.Input:
    return io.Float.Input(
        "denoise",
        default=1.0,
        min=0.01,
        max=1.0,
        step=0.01,
        tooltip="1 ignores the content of the hole; less keeps some of it.",
    )


def view(default: str, *others: str) -> io.Input:
    """What the network sees: the default and other choices, of `VIEWS`."""
    own = "A network trained in tiles works at the picture's own scale; others see the hole with its surroundings, resized to their size."
    chosen = "The hole with its surroundings or the whole picture, resized to the network's size, or the whole picture at its own size."
    tooltip = "What the network sees. " + (own if default == "network's own" else chosen)
    return io.Combo.Input("view", options=[default, *others], default=default, tooltip=tooltip)


def context(
    tooltip: str = "For the view 'around the hole': how much the network sees on each side, as a multiple of the hole's size.",
) -> io.Input:
    return io.Float.Input("context", default=RAD.context, min=0.0, max=10.0, step=0.05, tooltip=tooltip)


def detail() -> io.Input:
    return io.Float.Input(
        "detail",
        default=RAD.detail,
        min=0.0,
        max=10.0,
        step=0.05,
        optional=True,
        tooltip="Where hole and surroundings are larger than the network's size, the enlarged fill is redrawn at twice that size, to be "
        "sharp. More than 1 changes it more, less changes it less; 0: it is only enlarged, and looks soft.",
    )


def detail_model() -> io.Input:
    return io.Model.Input(
        "detail_model",
        optional=True,
        tooltip="Redraws the enlarged fill in place of model, in more steps: the same network with an adapter that was trained for it. For "
        "landscapes that is landscapes-detail.",
    )


def frames() -> io.Boolean.Input:
    tip = "The batch is a video: frames take patches from each other, and what none shows goes on from earlier ones, against flicker."
    return io.Boolean.Input("frames", default=False, optional=True, tooltip=tip)


def context_mask() -> io.Input:
    return io.Mask.Input(
        "context_mask",
        optional=True,
        tooltip="What the model may see: white parts, and nothing else. The crop reaches as far as they do, in place of the context.",
    )


def stitch_mask() -> io.Input:
    return io.Mask.Input(
        "stitch_mask",
        optional=True,
        tooltip="What is pasted back, in place of the mask: white is the fill, grey mixes it in, black comes back bit-identical.",
    )


def precision(*others: str, tooltip: str = "float16 and bfloat16 halve the memory and are faster on a GPU; pictures differ a little."):
    options = [*others, *PRECISIONS]
    return io.Combo.Input("precision", options=options, default=options[0], tooltip=tooltip)


def any_model() -> io.Input:
    return io.Model.Input(
        "model",
        tooltip="Any image or video MODEL: SD1.5, SDXL, Flux, Qwen-Image, Z-Image, Wan, or one from Load ADM Model. LoRA and ControlNet "
        "work.",
    )


def preset() -> io.Input:
    return io.Combo.Input(
        "preset",
        options=[name for name in PRESETS if name != "default"],
        default="plus",
        tooltip="plus: guides all steps, twice the time, best. turbo: guides at no extra time, for few steps. paper: as published, 1.5 "
        "times the time, for noisy samplers. combine: no guidance, the known part is only put back in every step.",
    )


def settings() -> io.Input:
    return GRADPAINT_SETTINGS.Input("settings", optional=True, tooltip="From GradPaint Settings. Replaces the preset.")


def width() -> io.Input:
    return io.Int.Input("width", default=512, min=16, max=16384, step=8, tooltip="Width of the mask in pixels.")


def height() -> io.Input:
    return io.Int.Input("height", default=512, min=16, max=16384, step=8, tooltip="Height of the mask in pixels.")


def count(
    name: str = "batch_size", default: int = 1, tooltip: str = "How many masks. Mask k is what seed + k gives alone, counted from 0."
) -> io.Input:
    return io.Int.Input(name, default=default, min=1, max=4096, tooltip=tooltip)


def mask_seed() -> io.Input:
    return seed("Another seed draws another mask.")


def scale() -> io.Input:
    return io.Float.Input("scale", default=96.0, min=1.0, max=8192.0, step=1.0, tooltip="Size of the blobs in pixels.")


def area(of: str) -> io.Input:
    return io.Float.Input(
        "area",
        default=40.0,
        min=0.0,
        max=100.0,
        step=1.0,
        tooltip=f"Percent of {of} that becomes hole: exact with a hard rim, more with a soft one.",
    )


def softness() -> io.Input:
    return io.Float.Input("softness", default=0.0, min=0.0, max=1.0, step=0.01, tooltip="0 is a hard rim; more is a wider soft one.")


def invert(tooltip: str = "Make the hole of the other side of the noise: other blobs, the same area.") -> io.Input:
    return io.Boolean.Input("invert", default=False, tooltip=tooltip)


def size_of_image() -> io.Input:
    return io.Image.Input("image", optional=True, tooltip="If connected, the mask takes this image's size instead of width and height.")
