"""Sample sheets: what the network under training makes of a few holes, from the same pictures, masks and noise each time."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..crops import Batch, fill_holes
from ..rad import rad_inpaint
from ..samplers import choose_sampler
from ..schedule import NoiseSchedule, RegionSchedule
from ..sdm import Generator, sdm_inpaint
from ..sheets import mark_hole
from ..unet import UNet

COUNT, STEPS = 4, 20
Columns = list[tuple[str, Tensor]]


def sample_columns(net: UNet | Generator, pictures: Tensor, masks: Tensor, label: int | None = None) -> Columns:
    """For `sheets.sheet`: pictures (B, 3, s, s) in [0, 1] with holes (B, 1, s, s), filled; of a plain network, pictures it makes up."""
    labels = None if label is None else torch.full((len(pictures),), label)
    shown = [("picture", pictures), ("hole", mark_hole(pictures, masks))]
    if isinstance(net, Generator):
        filled, uncertainty = sdm_inpaint(net, pictures, masks, context=float("inf"))
        return [*shown, ("filled", filled), ("uncertainty", uncertainty.expand(-1, 3, -1, -1))]
    if net.region_aware:
        whole = None if net.config.context is None else float("inf")
        return [*shown, ("filled", rad_inpaint(net, pictures, masks, STEPS, "ddim", context=whole, labels=labels))]
    return [("made up", _made_up(net, pictures, labels))]


@torch.no_grad()
def _made_up(net: UNet, pictures: Tensor, labels: Tensor | None) -> Tensor:
    sample, schedule = choose_sampler("ddim", 0.0), RegionSchedule(NoiseSchedule(net.config.schedule))

    def fill(batch: Batch) -> Tensor:
        sigmas = schedule.sigmas(torch.ones_like(batch.mask), STEPS)
        return sample(batch.denoise, sigmas[0] * batch.draw(), sigmas, batch.draw, batch.callback)

    return fill_holes(net, pictures, torch.ones_like(pictures[:, :1]), fill, 0, float("inf"), labels, region_aware=False)


def holes(masks: Callable[..., Tensor], size: int) -> Tensor:
    """(COUNT, 1, size, size); some kinds of mask are empty now and then: those get a square."""
    drawn = masks(COUNT, size, size, 0)
    square = torch.zeros_like(drawn[0])
    square[:, size // 4 : -(size // 4), size // 4 : -(size // 4)] = 1
    return torch.stack([mask if 0 < mask.mean() < 1 else square for mask in drawn])
