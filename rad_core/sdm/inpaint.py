"""SDM from picture to picture, with its own network or around any inpainter that fills a hole at once (SDM 3.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..crops import Cutting, View, cut_out, to_unit, together
from ..images import check_image_and_mask
from .iterate import MEMORY, iterate
from .network import Generator

Report = Callable[[int, int, Tensor], None]


@dataclass
class OneShot:
    """Any inpainter that fills a hole in one go, as a predictor for SDM's iteration: its uncertainty is how far its fills differ.

    Each prediction is the first fill; its deviation is that over `samples` fills: as it is, mirrored, upside down and both, each with
    its own z. What is decided stays as it is, since such a network cannot repaint it.

    Args:
        fill: (picture (B, 3, h, w) in [-1, 1] with 0 in the hole, hole (B, 1, h, w), z (B, latent)) -> picture.
        size, stride: of the pictures it is given.
        samples: fills of an iteration, 2 to 4.
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

    def __call__(self, given: Tensor, uncertainty: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        picture, hole = given[:, :3], 0.5 - given[:, 4:5]
        fills = []
        for k, mirror in enumerate(((), (3,), (2,), (2, 3))[: self.samples]):
            filled = self.fill((picture * (1 - hole)).flip(mirror), hole.flip(mirror), z.roll(k, 1)).flip(mirror)
            fills.append(torch.where(hole > 0, filled, picture))
        spread = torch.stack(fills).var(0).clamp(min=1e-9).log()
        before = 2 * uncertainty.clamp(min=1e-6).log()  # what is decided was as uncertain as it was then
        return fills[0], torch.where(hole > 0, spread, before).clamp(-9, 2)


@torch.no_grad()
def sdm_inpaint(
    sdm: Generator | OneShot,
    image: Tensor,
    mask: Tensor,
    iterations: int = 4,
    seed: int | Sequence[int] = 0,
    schedule: str = "linear",
    alpha: float = 0.01,
    anchor: float = 1.0,
    memory: float = MEMORY,
    refresh: bool = False,
    context: float | str = 1.0,
    fills: int = 1,
    callback: Report | None = None,
    return_history: bool = False,
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """Fill the hole of each picture, and tell how uncertain each filled pixel is.

    Args:
        sdm: a network (`load_sdm`), or any other inpainter as a `OneShot`.
        image: (B, 3, H, W) in [0, 1], any size and float dtype. What stands in the hole is not looked at.
        mask: (B, 1, H, W), (B, H, W) or (H, W): 1 = hole, 0 = keep; a value between mixes the fill with the picture.
        iterations: passes of the network. More make better and slower fills; the paper's gain ends at 9 or 10.
        seed: picture k is drawn from seed + k, or from its entry of a list of B * fills.
        schedule: share of the hole that is decided after a share of the iterations: "linear" (the paper's best), "cosine", "cubic",
            "square root".
        alpha: how much of its deviation a pixel that is decided, but not for good, is given as noise, 0 to 1.
        anchor: how far predictions are made to meet the known pixels, 0 (the paper's) to 1; see `iterate`.
        memory, refresh: whether passes hold to what earlier ones said; see `iterate`. 0 and True are the paper's.
        context: what is shown around the hole, as a share of its size on each side, resized to the network's size; float("inf") for
            the whole picture, resized; "own" for the whole picture at its own size.
        fills: how many fills of each picture; they come one after the other: B * fills results.
        callback: called with (iteration, iterations, picture) after each, picture (b, 3, h, w) in [0, 1] being the part under work,
            grey where it is not decided yet; raise from it to cancel.
        return_history: give every iteration's pictures and holes too.

    Returns:
        pictures (B * fills, 3, H, W), dtype and device of `image`, bit-equal to it where the mask is 0.
        uncertainty (B * fills, 1, H, W), the predicted deviation in [0, 1]; 0 where the mask is 0. In the network's units: 1 is half the
        range of a colour.
        history, if asked for: for every iteration pictures as above, grey where undecided, and the undecided hole (B * fills, 1, H, W).

    Raises:
        ValueError: an argument out of its range, in one sentence.
    """
    for name, count in (("fills", fills), ("iterations", iterations)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}.")
    view = View(sdm.size, sdm.stride, torch.device(sdm.device), context)
    image, mask = (maps.repeat_interleave(fills, 0) for maps in check_image_and_mask(image, mask))
    seeds = [int(seed) + k for k in range(len(image))] if not isinstance(seed, Sequence) else list(seed)
    if len(seeds) != len(image):
        raise ValueError(f"{len(image)} fills need {len(image)} seeds (or one to count up from), got {len(seeds)}.")
    out, uncertainty = image.clone(), torch.zeros_like(mask)
    history = [(image.clone(), torch.zeros_like(mask)) for _ in range(iterations if return_history else 0)]
    for group in cut_out(image, mask, view):
        picture, soft, _ = together(group.values())
        own = [seeds[k] for k in group]
        passes = iterate(sdm, picture, (soft > 0).to(picture), iterations, schedule, alpha, own, sdm.latent, anchor, memory, refresh)
        for t, now in enumerate(passes, 1):
            if not torch.isfinite(now.picture).all():
                raise ValueError("The network gave values that are not numbers. Use float32.")
            shown = to_unit(now.picture)
            if callback:
                callback(t, iterations, torch.where(soft > 0, shown, to_unit(picture)))
            for (k, cutting), done, open_ in zip(group.items(), shown, now.hole, strict=True):
                if t == iterations:
                    out[k] = cutting.stitch(image[k], mask[k], done, mix=True)
                elif return_history:
                    history[t - 1][0][k] = cutting.stitch(image[k], mask[k], done, mix=True)
                    history[t - 1][1][k] = _map(cutting, mask[k], open_)
        for (k, cutting), map_ in zip(group.items(), now.uncertainty, strict=True):
            uncertainty[k] = _map(cutting, mask[k], map_)
    if not return_history:
        return out, uncertainty
    history[-1] = (out, history[-1][1])
    return out, uncertainty, history


def _map(cutting: Cutting, mask: Tensor, values: Tensor) -> Tensor:
    """A map (1, h, w) of the cutting at the picture's size: 0 where nothing is filled."""
    return cutting.stitch(torch.zeros_like(mask), (mask > 0).float(), values.float()).clamp(0, 1)
