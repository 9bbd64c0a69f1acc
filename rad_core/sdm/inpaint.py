"""SDM from picture to picture, with its own network or around any inpainter that fills a hole in one go (SDM 3.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import torch
from torch import Tensor

from ..crops import CropSpec, crop_holes, to_unit
from ..denoisers import SDM, check_network
from ..images import check_extra_masks, check_image_and_mask
from ..noise import seed_list
from ..samplers import Callback
from ..settings import resolve_settings
from .iterate import iterate
from .network import Generator
from .settings import PRESETS, SDMSettings

MIRRORINGS = ((), (3,), (2,), (2, 3))  # axes to flip


@dataclass
class OneShot:
    """Any inpainter that fills a hole in one go, as a predictor for SDM's iteration. Its uncertainty is how much its fills differ.

    The prediction is the first fill; the deviation is that of `samples` fills of the picture as it is, mirrored, upside down and both,
    each with its own z. Decided pixels stay as they are, since such an inpainter does not repaint known pixels.

    Args:
        fill: (picture (B, 3, h, w) in [-1, 1] with 0 in the hole, hole (B, 1, h, w), z (B, latent)) -> picture.
        size: of the pictures that it fills, in pixels.
        stride: their sides are multiples of it.
        samples: fills per iteration, 2 to 4.
        latent: size of z.
        device: where it runs.

    Raises:
        ValueError: `samples` is not 2, 3 or 4.
    """

    fill: Callable[[Tensor, Tensor, Tensor], Tensor]
    size: int
    stride: int = 8
    samples: int = 4
    latent: int = 512
    device: torch.device | str = "cpu"

    def __post_init__(self):
        if self.samples not in (2, 3, 4):
            raise ValueError(f"samples must be 2 to 4, got {self.samples}: a deviation needs two fills, and a picture has four mirrorings.")

    def __call__(self, inputs: Tensor, uncertainty: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Predict as a `Generator` does: mean and log-variance, (B, 3, H, W) each."""
        picture, hole = inputs[:, :3], 0.5 - inputs[:, 4:5]
        fills = []
        for k, axes in enumerate(MIRRORINGS[: self.samples]):
            filled = self.fill((picture * (1 - hole)).flip(axes), hole.flip(axes), z.roll(k, 1))
            if filled.shape != picture.shape:
                raise ValueError(f"fill must return pictures {tuple(picture.shape)} as it got, not {tuple(filled.shape)}.")
            filled = filled.flip(axes)
            fills.append(torch.where(hole > 0, filled, picture))
        log_variance = torch.stack(fills).var(0).clamp(min=1e-9).log()
        previous = 2 * uncertainty.clamp(min=1e-6).log()  # decided pixels keep the uncertainty with which they were decided
        return fills[0], torch.where(hole > 0, log_variance, previous).clamp(-9, 2)


@overload
def sdm_inpaint(
    sdm: Generator | OneShot,
    image: Tensor,
    mask: Tensor,
    settings: SDMSettings | str = "default",
    *,
    seed: int | Sequence[int] = 0,
    fills: int = 1,
    callback: Callback | None = None,
    return_history: Literal[False] = False,
    context_mask: Tensor | None = None,
    stitch_mask: Tensor | None = None,
    **changes: object,
) -> tuple[Tensor, Tensor]: ...


@overload
def sdm_inpaint(
    sdm: Generator | OneShot,
    image: Tensor,
    mask: Tensor,
    settings: SDMSettings | str = "default",
    *,
    seed: int | Sequence[int] = 0,
    fills: int = 1,
    callback: Callback | None = None,
    return_history: Literal[True],
    context_mask: Tensor | None = None,
    stitch_mask: Tensor | None = None,
    **changes: object,
) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]: ...


@torch.no_grad()
def sdm_inpaint(
    sdm: Generator | OneShot,
    image: Tensor,
    mask: Tensor,
    settings: SDMSettings | str = "default",
    *,
    seed: int | Sequence[int] = 0,
    fills: int = 1,
    callback: Callback | None = None,
    return_history: bool = False,
    context_mask: Tensor | None = None,
    stitch_mask: Tensor | None = None,
    **changes: object,
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """Fill the hole of each picture with SDM.

    Args:
        sdm: a network (`load_sdm`), or any other inpainter as a `OneShot`.
        image: (B, 3, H, W) in [0, 1], any size and float dtype. Pixels inside the hole are ignored.
        mask: (B, 1, H, W), (B, H, W) or (H, W): 1 = hole, 0 = keep; a value in between mixes fill and picture.
        settings: "default", "paper", or an `SDMSettings`.
        seed: result k uses seed + k, or its entry of a list of B * fills.
        fills: different fills of each picture; those of a picture follow each other in the results.
        callback: called after each iteration with (iteration, iterations, picture): the crops being filled, (b, 3, h, w) in [0, 1], grey
            where undecided. Raise from it to cancel. Crops of different sizes run one after the other, and their iterations are counted on.
        return_history: return the pictures and holes after every iteration as well.
        context_mask, stitch_mask: as `rad_inpaint`.
        **changes: fields of `SDMSettings` to replace, such as iterations=2.

    Returns:
        pictures (B * fills, 3, H, W), dtype and device of `image`, bit-equal to it where the mask is 0.
        uncertainty (B * fills, 1, H, W), the predicted deviation in [0, 1], where 1 is half the range of a colour; 0 where the mask is 0.
        history, if asked for: for every iteration the pictures, grey where undecided, and the undecided part of the hole
        (B * fills, 1, H, W).

    Raises:
        ValueError: an argument out of its range, or a network whose output has NaN.
    """
    check_network(sdm, *SDM)
    settings = resolve_settings(settings, PRESETS, changes)
    if fills < 1:
        raise ValueError(f"fills must be at least 1, got {fills}.")
    image, mask = check_image_and_mask(image, mask)
    context_mask, stitch_mask = check_extra_masks(context_mask, stitch_mask, mask)
    image, mask, context_mask, stitch_mask = (
        None if maps is None else maps.repeat_interleave(fills, 0) for maps in (image, mask, context_mask, stitch_mask)
    )
    seeds = seed_list(seed, len(image))
    view = "hole" if settings.view == "auto" else settings.view
    stride = 1 if view == "native" and isinstance(sdm, Generator) else sdm.stride  # a Generator pads by itself, by reflection
    spec = CropSpec(sdm.size, stride, torch.device(sdm.device), view, settings.context)
    out, uncertainty = image.clone(), torch.zeros_like(mask)
    history = [(image.clone(), torch.zeros_like(mask)) for _ in range(settings.iterations)] if return_history else []
    nothing, hole = torch.zeros_like(mask), ((mask > 0) & (stitch_mask > 0)).float()
    batches = crop_holes(image, mask, spec, context_mask=context_mask)
    for n, batch in enumerate(batches):
        passes = iterate(sdm, batch.picture, (batch.mask > 0).to(batch.picture), settings, [seeds[k] for k in batch.crops], sdm.latent)
        for t, now in enumerate(passes, 1):
            if not torch.isfinite(now.picture).all():
                raise ValueError("The network's output has NaN or infinite values. Use float32.")
            if callback:
                callback(n * settings.iterations + t, len(batches) * settings.iterations, to_unit(now.picture))
            if return_history:
                batch.stitch(image, stitch_mask, to_unit(now.picture), history[t - 1][0], mix=True)
                batch.stitch(nothing, hole, now.hole.float(), history[t - 1][1])
        batch.stitch(image, stitch_mask, to_unit(now.picture), out, mix=True)
        batch.stitch(nothing, hole, now.uncertainty.float(), uncertainty)
    return (out, uncertainty, history) if return_history else (out, uncertainty)
