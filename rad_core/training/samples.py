"""Sample sheets: how the network under training fills a few holes, with the same pictures, masks and noise each time."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..fills import Batch, FillMethod, Holes, fill_holes
from ..rad import rad_inpaint
from ..samplers import choose_sampler
from ..schedule import RegionSchedule
from ..sdm import Generator, sdm_inpaint
from ..settings import SamplingSettings
from ..sheets import mark_hole
from ..unet import UNet

COUNT, STEPS = 4, 20
Columns = list[tuple[str, Tensor]]


def sample_columns(net: UNet | Generator, pictures: Tensor, masks: Tensor, label: int | None = None, redraws: bool = False) -> Columns:
    """Columns for `sheets.sheet`: the pictures, their holes, and the fills; for a plain network, generated pictures alone.

    Args:
        pictures: (B, 3, s, s) in [0, 1]. masks: (B, 1, s, s).
        label: of a class-conditional network.
        redraws: the network is trained to redraw enlarged fills, so show that.
    """
    labels = None if label is None else torch.full((len(pictures),), label)
    columns = [("picture", pictures), ("hole", mark_hole(pictures, masks))]
    if isinstance(net, Generator):
        filled, uncertainty = sdm_inpaint(net, pictures, masks, view="whole")
        return [*columns, ("filled", filled), ("uncertainty", uncertainty.expand(-1, 3, -1, -1))]
    if net.region_aware:
        view = "auto" if net.config.tiles else "whole"
        detail_net, settings = net if redraws else None, {"steps": STEPS, "sampler": "ddim", "align": 0.0, "view": view}
        filled = rad_inpaint(net, pictures, masks, labels=labels, detail_net=detail_net, **settings)
        return [*columns, ("filled", filled)]
    return [("generated", _generate(net, pictures, labels))]


@torch.no_grad()
def _generate(net: UNet, pictures: Tensor, labels: Tensor | None) -> Tensor:
    """New pictures of the same shape."""
    sample, schedule = choose_sampler("ddim"), RegionSchedule(net.config.schedule)

    def fill(batch: Batch) -> Tensor:
        sigmas = schedule.sigmas(torch.ones_like(batch.mask), STEPS)
        return sample(batch.denoise, sigmas[0] * batch.noise(), sigmas, batch.noise, batch.callback)

    everything = Holes(pictures, torch.ones_like(pictures[:, :1]), labels=labels)
    return fill_holes(net, everything, SamplingSettings(view="whole"), FillMethod(fill, region_aware=False))


def holes(masks: Callable[..., Tensor], height: int, width: int) -> Tensor:
    """Masks for a sample sheet, (COUNT, 1, height, width); an empty or full one is replaced by a rectangle."""
    samples = masks(COUNT, height, width, 0)
    middle = torch.zeros_like(samples[0])
    middle[:, height // 4 : -(height // 4), width // 4 : -(width // 4)] = 1
    return torch.stack([mask if 0 < mask.mean() < 1 else middle for mask in samples])
