"""The methods that the benchmark compares, by name, on the same networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from ..adapters import load_adapter, merge_adapters
from ..checkpoints import load_model
from ..depth import depth_of
from ..gradpaint import PRESETS, gradpaint_inpaint
from ..rad import ALIGNMENT, rad_inpaint
from ..sdm import Generator, load_sdm, sdm_inpaint
from ..training.diffusion import OneLevel
from ..unet import UNet
from .baselines import BASELINES, baseline_inpaint

_REPOSITORY = Path(__file__).parents[2]
ABLATION = tuple(_REPOSITORY / "measurements" / "weights" / f"landscapes.{name}.safetensors" for name in ("spatial", "one-level"))


@dataclass(frozen=True)
class Networks:
    """The networks of a benchmark by their names or files. Each is loaded when it is first used.

    Args:
        model: an ADM network. adapter: its RAD adapter. sdm_model: an SDM network.
        device: where they run.
        ablation: adapters trained equally long with and without a noise level per pixel (RAD, Table 3, Cfg. 2), or None.
    """

    model: str = "landscapes"
    adapter: str = "landscapes"
    sdm_model: str = "landscapes"
    device: torch.device | str = "cpu"
    ablation: tuple[Path, Path] | None = None

    @cached_property
    def plain(self) -> UNet:
        """The network without an adapter."""
        return load_model(self.model, device=self.device)

    @cached_property
    def rad(self) -> UNet:
        """The network with its RAD adapter."""
        return self._adapted(self.adapter)

    @cached_property
    def one_level_at_test(self) -> OneLevel:
        """`rad`, trained with a level per pixel, but called with the hole's level for all pixels."""
        return OneLevel(self.rad)

    @cached_property
    def one_level(self) -> OneLevel:
        """The ablation: trained and called with one level for all pixels."""
        return OneLevel(self._adapted(self.ablation[1]))

    @cached_property
    def spatial(self) -> UNet:
        """The ablation's counterpart: trained equally long, with a level per pixel."""
        return self._adapted(self.ablation[0])

    def _adapted(self, adapter: str | Path) -> UNet:
        return merge_adapters(load_adapter(load_model(self.model, device=self.device), adapter))

    @cached_property
    def sdm(self) -> Generator:
        """The SDM network."""
        return load_sdm(self.sdm_model, device=self.device)


ABLATED = ("spatial", "one-level")  # the methods that need `Networks.ablation`
Fill = Callable[[Networks, Tensor, Tensor, Sequence[int]], Tensor]  # (networks, pictures, masks, seeds) -> fills


@dataclass(frozen=True)
class Method:
    """A method of the benchmark.

    Args:
        label: its name in tables.
        calls: network calls for a picture. A call that is differentiated counts as one.
        fill: (networks, pictures (B, 3, H, W), masks (B, 1, H, W), seeds) -> fills (B, 3, H, W).
        needs: the networks it uses, by their names in `Networks`.
        slow: takes thousands of calls, so it fills fewer pictures.
        on_sheet: has a column on the sheet of pictures.
    """

    label: str
    calls: int
    fill: Fill
    needs: tuple[str, ...]
    slow: bool = False
    on_sheet: bool = False


AS_LISTED = {"detail": 0.0}  # no more calls than a method is listed with, whatever the pictures' size


def _rad(label: str, sampler: str, steps: int, net: str = "rad", on_sheet: bool = False, align: float = 0.0) -> Method:
    settings = AS_LISTED | {"steps": steps, "sampler": sampler, "align": align}
    fill = lambda nets, x, mask, seed: rad_inpaint(getattr(nets, net), x, mask, seed=seed, **settings)
    return Method(label, steps + (len(ALIGNMENT.guided(steps)) if align else 0), fill, (net,), on_sheet=on_sheet)


def _gradpaint(label: str, steps: int, preset: str) -> Method:
    fill = lambda nets, x, mask, seed: gradpaint_inpaint(nets.plain, x, mask, preset, seed=seed, steps=steps, **AS_LISTED)
    return Method(label, PRESETS[preset].guidance.calls(steps), fill, ("plain",), on_sheet=True)


def _baseline(label: str, name: str, steps: int, slow: bool = False, **options) -> Method:
    fill = lambda nets, x, mask, seed: baseline_inpaint(nets.plain, x, mask, steps, name, seed, **options)
    return Method(label, BASELINES[name].calls(steps), fill, ("plain",), slow, on_sheet=True)


def _sdm(iterations: int, on_sheet: bool = False) -> Method:
    fill = lambda nets, x, mask, seed: sdm_inpaint(nets.sdm, x, mask, seed=seed, iterations=iterations, view="native")[0]
    return Method(f"SDM, {iterations}", iterations, fill, ("sdm",), on_sheet=on_sheet)


def _refined(nets: Networks, x: Tensor, mask: Tensor, seed: Sequence[int], steps: int) -> Tensor:
    """SDM's fill, and its uncertain pixels once more by RAD."""
    filled, uncertainty = sdm_inpaint(nets.sdm, x, mask, seed=seed, iterations=4, view="native")
    return rad_inpaint(nets.rad, filled, mask, seed=seed, uncertainty=uncertainty, steps=steps, sampler="ddim", align=0.0, **AS_LISTED)


def _inwards(nets: Networks, x: Tensor, mask: Tensor, seed: Sequence[int], steps: int) -> Tensor:
    """RAD in an order: what is near the rim first."""
    order = torch.stack([depth_of(hole > 0, 10**6).float() for hole in mask[:, 0]])
    return rad_inpaint(nets.rad, x, mask, seed=seed, order=order, steps=steps, sampler="ddim", align=0.0, **AS_LISTED)


METHODS: dict[str, Method] = {
    "rad-ddpm-100": _rad("RAD, DDPM 100", "ddpm", 100, on_sheet=True),
    "rad-ddpm-50": _rad("RAD, DDPM 50", "ddpm", 50),
    "rad-ddpm-20": _rad("RAD, DDPM 20", "ddpm", 20),
    **{f"rad-ddim-{n}": _rad(f"RAD, DDIM {n}", "ddim", n) for n in (50, 20, 10, 8, 6, 4)},
    **{f"rad-dpmpp-{n}": _rad(f"RAD, DPM++ {n}", "dpmpp_2m", n, on_sheet=n == 20) for n in (50, 20, 10, 8, 6, 4)},
    "rad-inwards": Method("RAD, DDIM 20, from the rim inwards", 20, partial(_inwards, steps=20), ("rad",)),
    "rad-aligned": _rad("RAD, DDIM 20, aligned", "ddim", 20, on_sheet=True, align=1.0),
    "plain-base": _rad("plain base", "ddpm", 50, "plain", on_sheet=True),
    "one-level-at-test": _rad("RAD, one level at test", "ddpm", 50, "one_level_at_test"),
    "spatial": _rad("RAD, trained on", "ddpm", 50, "spatial"),
    "one-level": _rad("RAD, one level", "ddpm", 50, "one_level", on_sheet=True),
    "combine": _gradpaint("combine-image", 50, "combine"),
    "gradpaint-paper": _gradpaint("GradPaint, paper", 50, "paper"),
    "gradpaint-plus": _gradpaint("GradPaint, plus", 50, "plus"),
    "repaint-2410": _baseline("RePaint, 2410", "repaint", 250, slow=True),
    "repaint-146": _baseline("RePaint, 146", "repaint-short", 30),
    # MCG's and DPS's scales are the better of 1 and 4 by RMSE on 6 landscapes of seeds 5000 and up: the papers' are for 1000 steps
    "mcg": _baseline("MCG", "mcg", 50, scale=1.0),
    "dps": _baseline("DPS", "dps", 50, scale=4.0),
    "ddrm": _baseline("DDRM", "ddrm", 20),
    "ddnm": _baseline("DDNM", "ddnm", 50),
    "lanpaint": _baseline("LanPaint", "lanpaint", 20),
    "ding": _baseline("DInG", "ding", 25),
    **{f"sdm-{n}": _sdm(n, on_sheet=n == 4) for n in (1, 2, 4, 8, 10)},
    "sdm-rad": Method("SDM 4 + RAD 10", 14, partial(_refined, steps=10), ("sdm", "rad"), on_sheet=True),
}
