"""The methods of `inpaint`, one entry in `METHODS` each: a new method is one more entry."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import exemplar, gradpaint, rad, sdm
from ..adapter_files import bundled_adapters
from ..adapters import load_adapter, merge_adapters
from ..checkpoints import load_model
from ..exemplar import exemplar_inpaint
from ..gradpaint import gradpaint_inpaint
from ..images import check_map
from ..mask_files import read_map, read_mask
from ..memory import weights_layout
from ..notes import note
from ..photo_files import Photo, read_photo
from ..rad import rad_inpaint
from ..samplers import Callback
from ..sdm import Generator, load_sdm, sdm_inpaint
from ..settings import resolve_settings
from ..unet import UNet
from .inpaint_help import CHOICES, EXEMPLAR_HELP, MASKS_HELP, RAD_HELP, SAMPLING_HELP, SDM_HELP


@dataclass(frozen=True)
class InpaintMethod:
    """A method of inpainting as a sub-command.

    Args:
        help: what it is, in one line.
        presets: its settings by the preset's name.
        settings_help: fields of its settings that are options, of the same names and defaults, with their help texts.
        add_arguments: adds its other options.
        load: (options, photo (1, 3, H, W), if there is just one) -> the network.
        fill: (network, image, mask, settings, options, callback, photo) -> fills (B, 3, H, W), and uncertainties (B, 1, H, W) or None;
            image (B, 3, H, W) is the photo's, or a video's, whose first frame is the photo.
        average: --fills writes the mean of the fills; otherwise, where a mean would be a blur, every one of them.
    """

    help: str
    presets: Mapping[str, Any]
    settings_help: Mapping[str, str]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    load: Callable[[argparse.Namespace, Tensor | None], Any]
    fill: Callable[..., tuple[Tensor, Tensor | None]]
    average: bool = True

    def add_settings(self, parser: argparse.ArgumentParser) -> None:
        """Add --preset and an option for every field in `settings_help`."""
        parser.add_argument(
            "--preset", choices=list(self.presets), default="default", help="what the settings below start from (default: default)"
        )
        for name, text in self.settings_help.items():
            default = getattr(self.presets["default"], name)
            if isinstance(default, bool):
                text += f" (default: --{'' if default else 'no-'}{name})"
                parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=text)
            else:
                text += "" if default is None else f" (default: {default})"
                parser.add_argument(f"--{name}", type=int if default is None else type(default), choices=CHOICES.get(name), help=text)

    def settings(self, options: argparse.Namespace) -> Any:
        """The preset, with the settings that were passed as options.

        Raises:
            ValueError: a value out of its range, or one without an effect.
        """
        changes = {name: getattr(options, name) for name in self.settings_help if getattr(options, name) is not None}
        settings = resolve_settings(options.preset, self.presets, changes)
        if "context" in changes and settings.view in ("whole", "native"):
            raise ValueError(f"Leave out --context, or --view {settings.view}: the context is that of the view around the hole.")
        return settings


@dataclass(frozen=True)
class References:
    """Other pictures (1, 3, h, w) of any sizes to take patches from, and their masks (1, 1, h, w), if any."""

    pictures: list[Tensor] | None
    masks: list[Tensor] | None


def _add_exemplar(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reference", type=Path, action="append", metavar="PHOTO", help="another picture to take patches from; repeat for more"
    )
    parser.add_argument(
        "--reference-mask",
        type=Path,
        action="append",
        metavar="MASK",
        help="white = not to be used; one for each --reference, in their order",
    )
    parser.add_argument("--source-mask", type=Path, metavar="MASK", help="white = where the photo's own patches may be taken from")
    parser.add_argument("--order", type=Path, help="a grey picture: the black parts of the hole are decided first, the white ones last")
    parser.add_argument(
        "--refine",
        type=Path,
        metavar="UNCERTAINTY",
        help="improve what stands in the hole: where this grey picture is white it is filled anew, where it is black it stays",
    )
    parser.add_argument(
        "--frames", action="store_true", help="PHOTO is a folder with the frames of a video, in the order of their names: no flicker"
    )
    _add_uncertainty(parser)


def _add_uncertainty(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uncertainty", type=Path, help="also write how uncertain each pixel is, as a picture (for a folder: a folder)")


def masks_of(options: argparse.Namespace, photo: Photo, *names: str) -> dict[str, Tensor]:
    """The masks (1, 1, H, W) of those of these options that are in use, by the option's name, turned and resized to the photo."""
    masks = {name: read_mask(path, photo) for name in names if (path := getattr(options, name, None))}
    noted = {name: _noted(mask, photo, getattr(options, name)) for name, mask in masks.items()}
    return {name: check_map(mask, photo.rgb[:, :1], name.replace("_", " ")) for name, mask in noted.items()}


def _maps(photo: Photo, **paths: Path | None) -> dict[str, Tensor]:
    """The maps (1, 1, h, w) of those of these files that are given, by name, turned as the photo is."""
    return {name: _noted(read_map(path, photo), photo, path) for name, path in paths.items() if path}


def _noted(maps: Tensor, photo: Photo, path: Path) -> Tensor:
    """The maps (1, 1, h, w) as they are, with a note where they have another size than the photo."""
    have, want = (f"{m.shape[3]}x{m.shape[2]}" for m in (maps, photo.rgb))
    if have != want:
        note(f"{path.name} ({have}) was resized to the photo's size ({want}).")
    return maps


def _load_references(options: argparse.Namespace, photo: Tensor | None) -> References:
    pictures, masks = options.reference or [], options.reference_mask or []
    if masks and len(masks) != len(pictures):
        raise ValueError(f"{len(pictures)} --reference and {len(masks)} --reference-mask do not fit: pass one mask for each, or none.")
    read = [read_photo(path) for path in pictures]
    masks = [read_mask(path, each) for path, each in zip(masks, read, strict=False)]
    return References([each.rgb for each in read] or None, masks or None)


def _fill_exemplar(
    references: References,
    image: Tensor,
    mask: Tensor,
    settings: exemplar.ExemplarSettings,
    options: argparse.Namespace,
    callback: Callback,
    photo: Photo,
) -> tuple[Tensor, Tensor]:
    return exemplar_inpaint(
        image if options.frames else image[:1],
        mask,
        settings=settings,
        seed=options.seed,
        references=references.pictures,
        reference_masks=references.masks,
        frames=options.frames,
        fills=options.fills,
        callback=callback,
        **_maps(photo, order=options.order, uncertainty=options.refine),
        **masks_of(options, photo, "source_mask"),
    )


def _add_network(parser: argparse.ArgumentParser, default: str, bundled: str) -> None:
    parser.add_argument("--model", default=default, help=f"a network file or folder, or a bundled one: {bundled} (default: {default})")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="the network's arithmetic (default: float32)"
    )
    for name, text in MASKS_HELP.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="MASK", help=text)


def _add_diffusion(parser: argparse.ArgumentParser, default: str, adapter_default: str) -> None:
    _add_network(parser, default, "landscapes")
    parser.add_argument(
        "--adapter", action="append", metavar="FILE[:STRENGTH]", help=f"RAD adapter; repeat to stack (default: {adapter_default})"
    )
    parser.add_argument("--label", type=int, help="class to generate, for class-conditional networks")
    parser.add_argument("--attention-order", choices=["auto", "legacy", "new"], default="auto", help="of the network file (default: auto)")


def _load_diffusion(options: argparse.Namespace, photo: Tensor | None, adapters: list[str]) -> UNet:
    net = load_model(options.model, attention_order=options.attention_order, image=photo)
    for adapter in adapters:
        if adapter != "none":
            load_adapter(net, *split_strength(adapter))
    return merge_adapters(net).to(options.device, getattr(torch, options.dtype), memory_format=weights_layout(options.device))


def split_strength(text: str) -> tuple[str, float]:
    """Split "path:0.7" into ("path", 0.7). A colon without a number after it is part of the path."""
    path, _, number = text.rpartition(":")
    if not path:  # a name that is a number
        return text, 1.0
    try:
        return path, float(number)
    except ValueError:
        return text, 1.0


def _labels(options: argparse.Namespace, image: Tensor) -> Tensor | None:
    return None if options.label is None else torch.full((len(image),), options.label)


def _add_rad(parser: argparse.ArgumentParser) -> None:
    _add_diffusion(parser, "landscapes", "the bundled one of the model's name, if any; 'none' for none")
    parser.add_argument("--order", type=Path, help="a grey picture: the black parts of the hole are filled first, the white ones last")
    parser.add_argument(
        "--detail-adapter",
        metavar="FILE[:STRENGTH]",
        help="redraws enlarged fills in place of --adapter (default: the bundled one of the model, if any and without an --adapter; "
        "'none' for none)",
    )


class RADNetworks(NamedTuple):
    """As `rad_inpaint` takes them."""

    net: UNet
    detail_net: UNet | None


def _load_rad(options: argparse.Namespace, photo: Tensor | None) -> RADNetworks:
    if options.overlap and not options.order:
        raise ValueError("--overlap is for the parts of an --order: pass one.")
    redraws = METHODS["rad"].settings(options).detail > 0
    if options.detail_adapter not in (None, "none") and not redraws:
        raise ValueError("--detail-adapter redraws enlarged fills, and here none is redrawn: leave it out, or pass a --detail above 0.")
    load, bundled = partial(_load_diffusion, options, photo), bundled_adapters()
    own, again = ([name] if name in bundled else [] for name in (options.model, f"{options.model}-detail"))
    if options.adapter:
        own, again = options.adapter, []
    if options.detail_adapter:
        again = [options.detail_adapter]
    if again == ["none"] or not redraws:
        again = []
    return RADNetworks(load(own), load(again) if again else None)


def _fill_rad(
    networks: RADNetworks,
    image: Tensor,
    mask: Tensor,
    settings: rad.RADSettings,
    options: argparse.Namespace,
    callback: Callback,
    photo: Photo,
) -> tuple[Tensor, None]:
    maps, labels = masks_of(options, photo, *MASKS_HELP) | _maps(photo, order=options.order), _labels(options, image)
    more = {"labels": labels, "detail_net": networks.detail_net, "callback": callback}
    return rad_inpaint(networks.net, image, mask, settings, seed=options.seed, **more, **maps), None


def _fill_gradpaint(
    net: UNet,
    image: Tensor,
    mask: Tensor,
    settings: gradpaint.GradPaintSettings,
    options: argparse.Namespace,
    callback: Callback,
    photo: Photo,
) -> tuple[Tensor, None]:
    labels, masks = _labels(options, image), masks_of(options, photo, *MASKS_HELP)
    return gradpaint_inpaint(net, image, mask, settings, seed=options.seed, labels=labels, callback=callback, **masks), None


def _add_sdm(parser: argparse.ArgumentParser) -> None:
    _add_network(parser, "landscapes", "landscapes")
    _add_uncertainty(parser)


def _load_sdm(options: argparse.Namespace, photo: Tensor | None) -> Generator:
    return load_sdm(options.model, getattr(torch, options.dtype), options.device)


def _fill_sdm(
    net: Generator,
    image: Tensor,
    mask: Tensor,
    settings: sdm.SDMSettings,
    options: argparse.Namespace,
    callback: Callback,
    photo: Photo,
) -> tuple[Tensor, Tensor]:
    return sdm_inpaint(net, image, mask, settings, seed=options.seed, callback=callback, **masks_of(options, photo, *MASKS_HELP))


METHODS = {
    "exemplar": InpaintMethod(
        "the picture's own patches: no network, nothing to download",
        exemplar.PRESETS,
        EXEMPLAR_HELP,
        _add_exemplar,
        _load_references,
        _fill_exemplar,
        average=False,
    ),
    "rad": InpaintMethod(
        "a network or adapter trained to fill holes (region-aware diffusion)", rad.PRESETS, RAD_HELP, _add_rad, _load_rad, _fill_rad
    ),
    "gradpaint": InpaintMethod(
        "any plain diffusion network, guided to fit the picture around the hole",
        gradpaint.PRESETS,
        SAMPLING_HELP,
        lambda parser: _add_diffusion(parser, "landscapes", "none"),
        lambda options, photo: _load_diffusion(options, photo, options.adapter or []),
        _fill_gradpaint,
    ),
    "sdm": InpaintMethod(
        "a spatial diffusion model: a few passes, the most certain pixels first", sdm.PRESETS, SDM_HELP, _add_sdm, _load_sdm, _fill_sdm
    ),
}
DEFAULT_METHOD = "exemplar"
DEFAULT_NETWORK_METHOD = "rad"  # where a --model is named and no method
