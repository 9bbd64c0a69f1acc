"""A picture of any size, or the frames of a video, through a VAE and a sampler of latents: crop, encode, sample, decode, stitch."""

import math
from collections.abc import Callable
from functools import cache

import comfy.utils
import torch
import torch.nn.functional as F
from torch import Tensor

from ...rad_core.boxes import Box, fit_size, hole_box
from ...rad_core.crops import Crop, collate, note_size, shrink_known
from ...rad_core.frames import steady_boxes
from ...rad_core.images import check_extra_masks, check_image_and_mask
from ...rad_core.losses import dilate

RIM = 16  # pixels around the hole in which colours are compared
IMAGE_MODELS = ("QwenImage", "Krea2", "JoyImage", "Anima")  # of those with a video's VAE

# (maps (n, C, h, w) of whole pictures, one for all or for each; how to resize and to fit them, as `common_upscale`)
# -> the crops' parts, a single one if it is the same for all
Cut = Callable[[Tensor, str, str], Tensor]
# (latents, their holes in pixels, the pictures' numbers, latents of the crops with what the hole shows now or grey) -> latents
Sample = Callable[[Tensor, Tensor, list[int], Callable[[bool], Tensor], Cut], Tensor]


def has_time_axis(vae) -> bool:
    """Whether a VAE makes one latent of the frames of a video."""
    return getattr(vae, "latent_dim", 2) == 3 and not getattr(vae, "not_video", False)


def fills_videos(model, vae) -> bool:
    """Whether a MODEL and its VAE work on one latent of all frames."""
    return has_time_axis(vae) and type(model.model).__name__ not in IMAGE_MODELS


def fill_through_vae(
    vae,
    image: Tensor,
    mask: Tensor,
    size: int,
    stride: int,
    context: float,
    keep: bool,
    sample: Sample,
    video: bool,
    whole: bool,
    context_mask: Tensor | None,
    stitch_mask: Tensor | None,
    start: int,
    stop: int,
) -> Tensor:
    """Fill the hole of each picture, or of the frames of a video, with a sampler of latents.

    Args:
        image: (B, 3, H, W) in [0, 1]. mask: (B, 1, H, W).
        size, stride: longer side of the crops, and what both sides are multiples of.
        context: what is seen on each side of the hole, as a multiple of its size.
        keep: the fill starts from the content of the hole (denoise below 1), not from the mean of the known pixels.
        sample: for consecutive pictures with crops of equal size, or for all frames of a video.
        video: the pictures are frames: the crop follows the hole steadily.
        whole: the VAE, one with a time axis, gets all of them at once.
        context_mask, stitch_mask: as `rad_inpaint`.
        start, stop: fill pictures [start, stop) alone. The crop of a frame is the same in any part of its video.

    Returns:
        (stop - start, 3, H, W); pixels where the mask (the stitch mask, if any) is 0 are bit-identical to `image`.
    """
    image, mask = check_image_and_mask(image, mask)
    context_mask, stitch_mask = check_extra_masks(context_mask, stitch_mask, mask)
    if not mask[start:stop].any():
        return image[start:stop].clone()
    out = image.clone()
    least = min(size, *image.shape[2:])
    visible = [None] * len(image) if context_mask is None else context_mask
    if video:
        boxes = steady_boxes(mask, context, least, context_mask)
    else:
        boxes = [hole_box(m, context, least, own) if m.any() else None for m, own in zip(mask, visible, strict=True)]
    shown = {k: _seen(image[k], mask[k], visible[k]) for k in range(start, stop) if whole or mask[k].any()}
    crops = {k: _crop(*seen, boxes[k], size, stride, keep) for k, seen in shown.items()}
    for crop in crops.values():
        note_size(crop, size)
    one_batch = (video or len(crops) == stop - start) and len({crop.picture.shape for crop in crops.values()}) == 1
    for batch in [collate(crops)] if one_batch else [collate({k: crop}) for k, crop in crops.items()]:
        pictures = torch.cat([crop.picture for crop in batch.crops.values()])
        holes = (batch.mask > 0).to(pictures)

        @cache  # both prompts may ask for them
        def crops_again(grey: bool = False, batch=batch, holes=holes) -> Tensor:
            again = torch.cat([_shown(shown[k][0], crop) for k, crop in batch.crops.items()])
            return encode(vae, torch.where(holes > 0, 0.5, again) if grey else again, whole)

        def cut(maps: Tensor, method: str, fit: str, batch=batch, holes=holes) -> Tensor:
            resize = lambda maps, like, fit: comfy.utils.common_upscale(maps, like.shape[3], like.shape[2], method, fit)
            maps, places = resize(maps, image, fit), [(k, crop.box) for k, crop in batch.crops.items()]
            if len(maps) == 1 and len({box for _, box in places}) == 1:
                places = places[:1]
            return torch.cat([resize(box.cut(maps[k % len(maps)][None]), holes, "disabled") for k, box in places])

        at = _pad_frames(vae, holes) if whole else holes
        latents = sample(encode(vae, pictures, whole), at, list(batch.crops), crops_again, cut)
        decoded = decode(vae, latents)[: len(pictures)].to(pictures)
        batch.stitch(image, stitch_mask, match_colours(decoded, pictures, batch.mask, one_shift=video), out, mix=True)
    return out[start:stop]


def encode(vae, pictures: Tensor, video: bool = False) -> Tensor:
    """(n, 3, h, w) in [0, 1] -> latents of n pictures, or of one video. VAEs with a time axis would take a batch for a video."""
    images = (_pad_frames(vae, pictures) if video else pictures).movedim(1, -1)
    if video or not has_time_axis(vae):
        return vae.encode(images)
    return torch.cat([vae.encode(image[None]) for image in images])


def decode(vae, latents: Tensor) -> Tensor:
    """Latents (B, C, h, w) or (B, C, T, h, w) -> (n, 3, H, W) in [0, 1]."""
    images = vae.decode(latents)
    return images.flatten(0, -4).movedim(-1, 1)[:, :3].clamp(0, 1)


def _pad_frames(vae, frames: Tensor) -> Tensor:
    """The last frame again until a causal VAE takes them all: one, and a multiple of its compression."""
    ratio = vae.temporal_compression_decode() or 1
    missing = math.ceil((len(frames) - 1) / ratio) * ratio + 1 - len(frames)
    return torch.cat([frames, frames[-1:].expand(missing, *frames.shape[1:])])


def _seen(image: Tensor, mask: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor]:
    """A picture (3, H, W) and its hole as the MODEL may see them: what is not `visible` (1, H, W) is hole, of the mean colour inside."""
    if visible is None:
        return image, mask
    share = visible * (mask < 1)
    mean = (torch.where(share > 0, image, 0) * share).sum((1, 2), keepdim=True) / share.sum().clamp(min=1)
    return torch.where(visible > 0, image, mean.to(image)), mask.maximum(1 - visible)


def _crop(image: Tensor, mask: Tensor, box: Box, size: int, stride: int, keep: bool) -> Crop:
    """A box of image (3, H, W), resized. The hole's content does not bleed into known pixels."""
    picture, hole = box.cut(image)[None].float(), box.cut(mask)[None].float()
    resized = fit_size(box, size, stride)
    known, small = shrink_known(torch.where(hole < 1, picture, 0), hole, resized)  # the hole may hold NaN
    share = (small < 1).to(known)
    inside = (known * share).sum((2, 3), keepdim=True) / share.sum((2, 3), keepdim=True).clamp(min=1)
    if keep:
        inside = _resize(picture, resized)
    return Crop(torch.where(small < 1, known, inside).clamp(0, 1), small, None, box, resized=True)


def _shown(image: Tensor, crop: Crop) -> Tensor:
    """What a crop shows of image (3, H, W), its hole included."""
    return _resize(crop.box.cut(image)[None].float(), crop.picture.shape[2:]).clamp(0, 1)


def _resize(picture: Tensor, size) -> Tensor:
    return F.interpolate(picture.nan_to_num(), tuple(size), mode="bilinear", antialias=True)


def match_colours(decoded: Tensor, picture: Tensor, hole: Tensor, one_shift: bool = False) -> Tensor:
    """Remove the colour shift of the VAE, as measured on the known pixels around the hole.

    Args:
        decoded, picture: (B, 3, h, w). hole: (B, 1, h, w).
        one_shift: the same for all, so that the frames of a video do not flicker.

    Returns:
        `decoded` shifted by the mean difference on the rim, per channel; unchanged where nothing is known.
    """
    rim = (dilate(hole.to(picture), RIM) > 0) & (hole == 0)
    axes = (0, 2, 3) if one_shift else (2, 3)
    count = rim.sum(axes, keepdim=True).clamp(min=1)
    return (decoded + ((picture - decoded) * rim).sum(axes, keepdim=True) / count).clamp(0, 1)
