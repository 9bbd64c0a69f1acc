"""What the benchmark compares: every method by its name, on the same networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from ..adapters import load_adapter, merge_adapters
from ..checkpoints import WEIGHTS, load_model
from ..gradpaint import PRESETS, gradpaint_inpaint
from ..rad import ALIGNMENT, rad_inpaint
from ..sdm import Generator, load_sdm, sdm_inpaint
from ..training.diffusion import OneLevel
from ..unet import UNet
from .baselines import RIVALS, rival_inpaint

ABLATION = WEIGHTS / "landscapes.spatial.safetensors", WEIGHTS / "landscapes.one-level.safetensors"


@dataclass(frozen=True)
class Networks:
    """The networks of a benchmark by their names or files; each is loaded when it is first asked for.

    `one_level` is the paper's ablation (RAD, Table 3, Cfg. 2), trained without a level per pixel; `spatial` was trained as long with it.
    `told_one_level` is `rad`, told one level all the same.
    """

    model: str = "landscapes"
    adapter: str = "landscapes"
    sdm_model: str = "landscapes"
    device: torch.device | str = "cpu"
    ablation: tuple[Path, Path] | None = None  # adapters trained with and without a level per pixel

    @cached_property
    def plain(self) -> UNet:
        return load_model(self.model).requires_grad_(False).to(self.device, memory_format=torch.channels_last)

    @cached_property
    def rad(self) -> UNet:
        return self._adapted(self.adapter)

    @cached_property
    def told_one_level(self) -> OneLevel:
        return OneLevel(self.rad)

    @cached_property
    def one_level(self) -> OneLevel:
        return OneLevel(self._adapted(self.ablation[1]))

    @cached_property
    def spatial(self) -> UNet:
        return self._adapted(self.ablation[0])

    def _adapted(self, adapter: str | Path) -> UNet:
        net = merge_adapters(load_adapter(load_model(self.model), adapter))
        return net.requires_grad_(False).to(self.device, memory_format=torch.channels_last)

    @cached_property
    def sdm(self) -> Generator:
        return load_sdm(self.sdm_model, device=self.device)


ABLATED = ("spatial", "one-level")  # the methods that need `Networks.ablation`
Fill = Callable[[Networks, Tensor, Tensor, Sequence[int]], Tensor]  # of pictures, masks and seeds


@dataclass(frozen=True)
class Method:
    """A method as the benchmark knows it.

    Args:
        label: its name in tables.
        calls: network calls for a picture; one that is differentiated counts as one.
        needs: the networks it uses, by their names in `Networks`.
        dear: so many calls that it fills few pictures.
        shown: has a column on the sheet.
    """

    label: str
    calls: int
    fill: Fill
    needs: tuple[str, ...]
    dear: bool = False
    shown: bool = False


def _rad(label: str, sampler: str, steps: int, net: str = "rad", shown: bool = False, align: float = 0.0) -> Method:
    fill = lambda nets, x, m, seed: rad_inpaint(getattr(nets, net), x, m, steps, sampler, seed, align=align)
    return Method(label, steps + (len(ALIGNMENT.guided(steps)) if align else 0), fill, (net,), shown=shown)


def _gradpaint(label: str, steps: int, preset: str) -> Method:
    calls = steps + len(PRESETS[preset].guided(steps)) * PRESETS[preset].inner_steps
    fill = lambda nets, x, m, seed: gradpaint_inpaint(nets.plain, x, m, steps, seed=seed, settings=preset)
    return Method(label, calls, fill, ("plain",), shown=True)


def _rival(label: str, name: str, steps: int, dear: bool = False, **options) -> Method:
    fill = lambda nets, x, m, seed: rival_inpaint(nets.plain, x, m, steps, name, seed, **options)
    return Method(label, RIVALS[name].calls(steps), fill, ("plain",), dear, shown=True)


def _sdm(iterations: int, shown: bool = False) -> Method:
    fill = lambda nets, x, m, seed: sdm_inpaint(nets.sdm, x, m, iterations, seed, context="own")[0]
    return Method(f"SDM, {iterations}", iterations, fill, ("sdm",), shown=shown)


def _refined(nets: Networks, x: Tensor, m: Tensor, seed: Sequence[int], steps: int) -> Tensor:
    filled, doubt = sdm_inpaint(nets.sdm, x, m, 4, seed, context="own")
    return rad_inpaint(nets.rad, filled, m, steps, "dpmpp_2m", seed, doubt=doubt)


METHODS: dict[str, Method] = {
    "rad-ddpm-100": _rad("RAD, DDPM 100", "ddpm", 100, shown=True),
    "rad-ddpm-50": _rad("RAD, DDPM 50", "ddpm", 50),
    "rad-ddpm-20": _rad("RAD, DDPM 20", "ddpm", 20),
    **{f"rad-ddim-{n}": _rad(f"RAD, DDIM {n}", "ddim", n) for n in (50, 20, 10)},
    **{f"rad-dpmpp-{n}": _rad(f"RAD, DPM++ {n}", "dpmpp_2m", n, shown=n == 20) for n in (50, 20, 10)},
    "rad-aligned": _rad("RAD, DDIM 20, aligned", "ddim", 20, shown=True, align=1.0),
    "plain-base": _rad("plain base", "ddpm", 50, "plain", shown=True),
    "told-one-level": _rad("RAD, told one level", "ddpm", 50, "told_one_level"),
    "spatial": _rad("RAD, trained on", "ddpm", 50, "spatial"),
    "one-level": _rad("RAD, one level", "ddpm", 50, "one_level", shown=True),
    "combine": _gradpaint("combine-image", 50, "combine"),
    "gradpaint-paper": _gradpaint("GradPaint, paper", 50, "paper"),
    "gradpaint-plus": _gradpaint("GradPaint, plus", 50, "plus"),
    "repaint-2410": _rival("RePaint, 2410", "repaint", 250, dear=True),
    "repaint-146": _rival("RePaint, 146", "repaint-short", 30),
    "mcg": _rival("MCG", "mcg", 50, scale=1.0),  # the better of 1 and 4 in RMSE on 6 landscapes of seeds 5000 and up,
    "dps": _rival("DPS", "dps", 50, scale=4.0),  # and so this: the papers' 1000 steps can do with less in each
    "ddrm": _rival("DDRM", "ddrm", 20),
    "ddnm": _rival("DDNM", "ddnm", 50),
    "lanpaint": _rival("LanPaint", "lanpaint", 20),
    "ding": _rival("DInG", "ding", 25),
    **{f"sdm-{n}": _sdm(n, shown=n == 4) for n in (1, 2, 4, 8, 10)},
    "sdm-rad": Method("SDM 4 + RAD 10", 14, partial(_refined, steps=10), ("sdm", "rad"), shown=True),
}
