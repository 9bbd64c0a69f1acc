"""CONDITIONINGs of a whole picture as its crops need them: reference pictures, hints of ControlNets, other pictures, masks and areas.

Model patches, the ControlNets of Qwen-Image and Z-Image, have their hints in the MODEL.
"""

import copy
from collections.abc import Callable, Iterable, Iterator

import comfy.utils
import torch
import torch.nn.functional as F
from torch import Tensor

from ...rad_core.images import mean_pool
from .through_vae import Cut, has_time_axis

# What a CONDITIONING carries of a whole video's frames: of Wan VACE, Phantom, Camera, S2V and Animate, of Kandinsky 5, HunyuanVideo,
# LTX-Video and MiniMax H3.
OF_VIDEOS = (
    "vace_frames",
    "time_dim_concat",
    "camera_conditions",
    "control_video",
    "pose_video_latent",
    "time_dim_replace",
    "ref_latent",
    "keyframe_idxs",
    "minimax_keyframes",
)


def with_reference(conditioning: list, latents: Callable[[], Tensor]) -> list:
    """A CONDITIONING of an edit model (Flux Kontext, Flux.2, Qwen-Image-Edit) whose first reference picture is another: `latents()`."""
    key, made = "reference_latents", []
    if any(options.get(key) for _, options in conditioning):
        made.append(latents())
    return [[text, options | {key: [*made, *options[key][1:]]} if options.get(key) else options] for text, options in conditioning]


def with_inpaint_inputs(conditioning: list, latents: Callable[[], Tensor], holes: Tensor) -> list:
    """A CONDITIONING of an inpainting model (from InpaintModelConditioning) whose picture and mask are a crop's: `latents()`, `holes`."""
    cut = [getattr(options.get("concat_mask"), "ndim", 5) < 5 for _, options in conditioning]  # those of videos have an axis of time
    inputs = {"concat_latent_image": latents(), "concat_mask": holes} if any(cut) else {}
    return [[text, options | inputs if own else options] for (text, options), own in zip(conditioning, cut, strict=True)]


def in_crops(conditionings: list[list], size: tuple[int, int], latents: Tensor, cut: Cut) -> list[list]:
    """CONDITIONINGs of pictures of a size (height, width) whose hints of ControlNets, other pictures, masks and areas are those of crops.

    Args:
        latents: of the crops, (b, C, h, w) or (b, C, T, h, w); b is 1 for a video.

    Raises:
        ValueError: there are frames of a whole video in a CONDITIONING.
    """
    copies = {}  # by the control's id: the host runs conditionings together only where they share it

    def cropped(options: dict) -> dict:
        options = dict(options)
        other, hole = options.get("concat_latent_image"), options.get("concat_mask")
        frames = getattr(other, "ndim", 4) > 4 and getattr(hole, "ndim", 5) > 4
        if frames or any(options.get(name) is not None for name in OF_VIDEOS):
            raise ValueError(
                "These prompts carry the frames of a whole video (such as those of Wan image to video, VACE and Camera), of which this "
                "node samples a part: take 'GradPaint Sampler' with the video's latents."
            )
        pictures = {"concat_latent_image": other if hole is None else None}  # of InstructPix2Pix, Flux Canny
        pictures["concat_image"] = options.get("concat_image")  # of SD's x4 upscaler
        if (prior := options.get("stable_cascade_prior")) is not None:
            pictures["stable_cascade_prior"] = F.interpolate(prior, size, mode="bilinear", align_corners=True)  # as stage B spreads it
        for name, maps in pictures.items():
            if maps is not None:
                options[name] = mean_pool(cut(maps, "nearest-exact", "disabled"), latents.shape[-2:])
        if (control := options.get("control")) is not None:
            options["control"] = _control(control, cut, copies)
        if (region := _region(options, latents.shape[-3] if latents.ndim == 5 else 1, *size)) is not None:
            parts = cut(region, "bilinear", "disabled")
            parts = parts.amax(0, keepdim=True) if len(latents) == 1 else parts
            options["mask"] = parts if latents.ndim == 5 else parts[:, 0]
            if latents.ndim == 5:
                options.pop("set_area_to_bounds", None)  # the host cannot, of a mask with a time axis
        return options

    return [[[text, cropped(options)] for text, options in conditioning] for conditioning in conditionings]


def has_hints(model) -> bool:
    """Whether a MODEL has model patches with hints."""
    return any(_is_hint(patch) for patches in _patches(model).values() for patch in patches)


def controls_of(options: Iterable[dict]) -> Iterator:
    """The ControlNets of conditionings' options, with those before each."""
    for each in options:
        control = each.get("control")
        while control is not None:
            yield control
            control = control.previous_controlnet


def one_by_one(model, *conditionings: list) -> bool:
    """Whether to fill pictures one by one: the host has one hint for all, or would encode their hints as the frames of a video."""
    controls = controls_of(options for conditioning in conditionings for _, options in conditioning)
    return has_hints(model) or any(has_time_axis(control.vae) for control in controls)


def model_in_crop(model, cut: Cut):
    """A MODEL whose model patches have the hints of a crop; the host can have one for the whole batch alone.

    Raises:
        ValueError: a model patch has latents of the whole picture (SUPIR).
    """
    owners = (getattr(method, "__self__", None) for patches in _patches(model).values() for method in patches)
    if any(hasattr(owner, "hint_latent") for owner in owners):
        raise ValueError(
            "This MODEL carries the latents of SUPIR's whole picture, of which this node samples a part: take 'GradPaint Sampler' with "
            "that picture's latents. If the picture is large, crop it before 'Apply SUPIR Patch'."
        )
    if not has_hints(model):
        return model
    model, copies = model.clone(), {}  # by the patch's id: Z-Image's goes on in one kind of layer where it ended in another
    for patches in _patches(model).values():
        patches[:] = [_patch(patch, cut, copies) if _is_hint(patch) else patch for patch in patches]
    return model


def _patches(model) -> dict[str, list]:
    return model.model_options["transformer_options"].get("patches", {})


def _is_hint(patch) -> bool:
    """Whether a patch is of the host's DiffSynthCnetPatch or ZImageControlPatch."""
    return hasattr(patch, "image") and hasattr(patch, "encoded_image")


def _patch(patch, cut: Cut, copies: dict):
    if id(patch) not in copies:
        copied = copies[id(patch)] = copy.copy(patch)
        for name in ("image", "inpaint_image"):
            if (picture := getattr(patch, name, None)) is not None:
                setattr(copied, name, cut(picture.movedim(-1, 1), "area", "center").movedim(1, -1))
        if patch.mask is not None:
            copied.mask = cut(patch.mask, "bilinear", "center")
        copied.encoded_image_size = None  # that the host encodes them again
    return copies[id(patch)]


def _control(control, cut: Cut, copies: dict):
    """A copy of a ControlNet, and of those before it, whose hint is the crops'."""
    if id(control) not in copies:
        copied = copies[id(control)] = control.copy()
        fit = lambda hint: hint if hint is None else cut(hint, control.upscale_algorithm, "center")  # as the host fits it
        copied.cond_hint_original = fit(control.cond_hint_original)
        copied.extra_concat_orig = [fit(hint) for hint in control.extra_concat_orig]
        if control.previous_controlnet is not None:
            copied.set_previous_controlnet(_control(control.previous_controlnet, cut, copies))
    return copies[id(control)]


def _region(options: dict, frames: int, height: int, width: int) -> Tensor | None:
    """The mask (n, 1 or T, h, w) of a conditioning, if any. It takes in the area, which would not be the same in every crop.

    frames: T, of the latents.
    """
    mask, area = options.get("mask"), options.get("area")
    mask = None if mask is None else mask.reshape(-1, 1, *mask.shape[-2:])
    if area is None or len(area) not in (4, 5, 7):  # in latents, in shares of the picture, of the video
        return mask
    del options["area"]
    half = len(area) // 2
    sides = 2 * (frames, height, width)[-half:]
    numbers = [share * side for share, side in zip(area[1:], sides, strict=True)] if area[0] == "percentage" else [8 * x for x in area]
    spans = [slice(round(first), round(first) + max(1, round(size))) for size, first in zip(numbers[:half], numbers[half:], strict=True)]
    inside = torch.zeros(1, frames if half == 3 else 1, height, width)
    inside[(..., *spans)] = 1
    return inside if mask is None else inside * comfy.utils.common_upscale(mask, width, height, "bilinear", "disabled")
