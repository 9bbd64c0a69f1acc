"""`inpaint`: fill the hole of a photo, or of every photo in a folder."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ..adapter_files import bundled_adapters
from ..adapters import load_adapter, merge_adapters
from ..checkpoints import load_model
from ..gradpaint import PRESETS, gradpaint_inpaint
from ..images import Photo, check_image_and_mask, check_writable, picture_files, read_mask, read_photo, write_photo
from ..rad import rad_inpaint
from ..samplers import SAMPLERS, STEPS
from ..sdm import MEMORY, SCHEDULES, Generator, load_sdm, sdm_inpaint
from ..sheets import mark_hole, sheet
from ..unet import UNet

HELP = "fill the hole of a photo, or of a folder of photos"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", type=Path, help="a picture, or a folder of pictures")
    parser.add_argument(
        "--mask",
        type=Path,
        required=True,
        help="white = hole, black = keep; for a folder: one mask for all, or a folder with masks of the same names",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="the picture to write, or a folder. PNG keeps every known pixel bit-exact"
    )
    parser.add_argument(
        "--method",
        choices=list(DEFAULT_MODEL),
        default="rad",
        help="rad: a network or adapter trained to fill; gradpaint: any plain network, guided; sdm: a few passes, the surest pixels first "
        "(default: rad)",
    )
    parser.add_argument(
        "--model",
        help="a network file or folder, or a bundled one: photos (thin and small holes), landscapes "
        "(default: photos; with gradpaint and sdm landscapes)",
    )
    parser.add_argument(
        "--adapter",
        action="append",
        metavar="FILE[:STRENGTH]",
        help="RAD adapter; repeat to stack. Default: the bundled one of the model's name, if any, with rad; 'none' for none",
    )
    parser.add_argument(
        "--preset",
        choices=list(PRESETS),
        help="of gradpaint: plus (ours), paper, or combine, which is no guidance (default: plus)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        help="of the sampler; one that gradpaint guides costs two network calls (default: what suits the sampler, "
        f"{', '.join(f'{steps} for {name}' for name, steps in STEPS.items())})",
    )
    parser.add_argument(
        "--sampler",
        choices=list(SAMPLERS),
        help="ddpm is the papers' (default: ddim with rad, for its few steps; ddpm with gradpaint)",
    )
    parser.add_argument("--order", type=Path, help="a grey picture: what is black in it is generated first, what is white last")
    parser.add_argument(
        "--overlap", type=float, default=0.0, help="with --order: 0 finishes black before white begins, 1 all together (default: 0)"
    )
    parser.add_argument(
        "--align",
        type=float,
        help="with rad: bring the rim's jumps to those beside it, 0 (the paper's) to 1 (default: 1)",
    )
    parser.add_argument("--eta", type=float, default=0.0, help="noise of ddim, 0 to 1 (default: 0)")
    parser.add_argument("--iterations", type=int, default=4, help="of sdm: passes of the network; gains end at 10 (default: 4)")
    parser.add_argument(
        "--schedule", choices=list(SCHEDULES), default="linear", help="of sdm: how much is decided after each pass (default: linear)"
    )
    parser.add_argument("--alpha", type=float, default=0.01, help="of sdm: noise of what is not decided for good, 0 to 1 (default: 0.01)")
    parser.add_argument(
        "--anchor", type=float, default=1.0, help="of sdm: how far the fill is made to meet its rim, 0 (the paper's) to 1 (default: 1)"
    )
    parser.add_argument(
        "--memory", type=float, default=MEMORY, help=f"of sdm: how far passes hold to earlier ones, 0: the paper's (default: {MEMORY})"
    )
    parser.add_argument("--refresh", action="store_true", help="of sdm: paint what was decided earlier anew, the paper's way")
    parser.add_argument("--uncertainty", type=Path, help="of sdm: also write how uncertain each pixel is (for a folder: a folder)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another fill (default: 0)")
    parser.add_argument(
        "--context",
        type=context,
        help="what the network sees around the hole, as a share of its size, 'all', or 'own': the whole picture at its own size, with sdm "
        "(default: the network's own)",
    )
    parser.add_argument(
        "--fills", type=int, default=1, help="how many fills to draw; more than one are averaged into the smoothest guess (default: 1)"
    )
    parser.add_argument("--label", type=int, help="class to draw, for class-conditional networks")
    parser.add_argument("--attention-order", choices=["auto", "legacy", "new"], default="auto", help="of the network file (default: auto)")
    parser.add_argument(
        "--compare", type=Path, metavar="SHEET", help="also write picture, hole and result side by side (for a folder: a folder of sheets)"
    )
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda, cuda:1, cpu ... (default: the GPU if there is one)"
    )
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="the network's arithmetic (default: float32)"
    )
    parser.set_defaults(defaults={name: parser.get_default(name) for name in TAKEN_BY})


def context(text: str) -> float | str:
    return {"all": float("inf"), "own": "own"}.get(text) or float(text)


DEFAULT_MODEL = {"rad": "photos", "gradpaint": "landscapes", "sdm": "landscapes"}
DEFAULT_SAMPLER = {"rad": "ddim", "gradpaint": "ddpm"}
DIFFUSION = ("rad", "gradpaint")
TAKEN_BY = {  # options that some methods do not have
    **dict.fromkeys(("order", "overlap", "align"), ("rad",)),
    "preset": ("gradpaint",),
    **dict.fromkeys(("adapter", "steps", "sampler", "eta", "label", "attention_order"), DIFFUSION),
    **dict.fromkeys(("iterations", "schedule", "alpha", "anchor", "memory", "refresh", "uncertainty"), ("sdm",)),
}


def run(options: argparse.Namespace) -> None:
    options.model = options.model or DEFAULT_MODEL[options.method]
    for name, methods in TAKEN_BY.items():
        if options.method not in methods and getattr(options, name) != options.defaults[name]:
            raise ValueError(f"--{name.replace('_', '-')} works with --method {' or '.join(methods)} alone.")
    if options.context == "own" and options.method != "sdm":
        raise ValueError("--context own works with --method sdm alone.")
    if options.overlap and not options.order:
        raise ValueError("--overlap says how the parts of an --order overlap: give one.")
    if options.fills < 1:
        raise ValueError(f"--fills must be at least 1, got {options.fills}.")
    jobs = find_jobs(options.photo, options.mask, options.output, options.compare, options.uncertainty)
    if len(jobs) == 1:
        pair = read_pair(jobs[0])  # a mistyped name is told before a network is loaded
        return fill_one(load_network(options, pair[0].rgb), *pair, jobs[0], options)
    from accelerate import PartialState  # slow to import; shares the folder among the processes of `accelerate launch`

    state = PartialState(cpu=options.device == "cpu")
    if state.num_processes > 1:
        options.device = state.device
    net, failed = load_network(options), []
    with state.split_between_processes(jobs) as share:
        for job in tqdm(share, desc="photos", unit="photo"):
            try:
                fill_one(net, *read_pair(job), job, options, quiet=True)
            except (ValueError, OSError) as error:
                failed.append(str(error))
    if failed:
        raise ValueError(f"{len(failed)} of {len(share)} photos could not be filled: " + " ".join(failed))


class Job(NamedTuple):
    """Files of one picture to fill."""

    photo: Path
    mask: Path
    output: Path
    sheet: Path | None
    uncertainty: Path | None


def find_jobs(photo: Path, mask: Path, output: Path, compare: Path | None, uncertainty: Path | None) -> list[Job]:
    if not photo.is_dir():
        if mask.is_dir():
            raise ValueError(f"{mask} is a folder, but {photo} is one photo: give one mask.")
        target = output / f"{photo.stem}.png" if output.is_dir() or not output.suffix else output
        return [Job(photo, mask, target, compare, uncertainty)]
    photos = picture_files(photo)
    if not photos:
        raise ValueError(f"There are no pictures in {photo}.")
    if len({p.stem for p in photos}) < len(photos):
        raise ValueError(f"Some pictures in {photo} differ in their extension alone; their results would have the same name.")
    if output.resolve() == photo.resolve():
        raise ValueError("The output folder is the input folder; give another one.")
    masks = {p.stem: p for p in picture_files(mask)} if mask.is_dir() else {p.stem: mask for p in photos}
    if missing := [p.name for p in photos if p.stem not in masks]:
        raise ValueError(f"{len(missing)} of {len(photos)} photos have no mask of the same name in {mask}, such as {missing[0]}.")
    named = lambda folder, photo: folder / f"{photo.stem}.png" if folder else None
    return [Job(p, masks[p.stem], named(output, p), named(compare, p), named(uncertainty, p)) for p in photos]


def load_network(options: argparse.Namespace, image: Tensor | None = None) -> UNet | Generator:
    if options.method == "sdm":
        return load_sdm(options.model, getattr(torch, options.dtype), options.device)
    net = load_model(options.model, attention_order=options.attention_order, image=image)
    adapters = options.adapter or ([options.model] if options.method == "rad" and options.model in bundled_adapters() else [])
    for adapter in adapters:
        if adapter != "none":
            load_adapter(net, *split_strength(adapter))
    return merge_adapters(net).to(options.device, getattr(torch, options.dtype))


def split_strength(text: str) -> tuple[str, float]:
    """ "path:0.7" -> ("path", 0.7). A colon that no number follows is part of the path."""
    path, _, number = text.rpartition(":")
    try:
        return path, float(number)
    except ValueError:
        return text, 1.0


def read_pair(job: Job) -> tuple[Photo, Tensor]:
    """The photo, and its mask at the photo's size; what cannot be written is told now, before the work."""
    photo, mask = read_photo(job.photo), read_mask(job.mask)
    check_writable(job.output, photo)
    for path in filter(None, (job.sheet, job.uncertainty)):
        check_writable(path)
    return photo, check_image_and_mask(photo.rgb, mask)[1]


def fill(net, image: Tensor, mask: Tensor, options: argparse.Namespace, callback: Callable) -> tuple[Tensor, Tensor | None]:
    """Fills, and with sdm how uncertain they are."""
    common = {"seed": options.seed, "callback": callback}
    if options.method == "sdm":
        context = 1.0 if options.context is None else options.context
        common |= {name: getattr(options, name) for name in ("iterations", "schedule", "alpha", "anchor", "memory", "refresh")}
        return sdm_inpaint(net, image, mask, context=context, **common)
    common |= {"sampler": options.sampler or DEFAULT_SAMPLER[options.method], "steps": options.steps}
    common |= {"eta": options.eta, "context": options.context}
    common["labels"] = None if options.label is None else torch.full((len(image),), options.label)
    if options.method == "gradpaint":
        return gradpaint_inpaint(net, image, mask, settings=options.preset or "plus", **common), None
    order = None if options.order is None else read_mask(options.order)
    align = 1.0 if options.align is None else options.align
    return rad_inpaint(net, image, mask, order=order, overlap=options.overlap, align=align, **common), None


def fill_one(net: UNet | Generator, photo: Photo, mask: Tensor, job: Job, options: argparse.Namespace, quiet: bool = False) -> None:
    with tqdm(unit="step", disable=quiet, desc=job.photo.name, leave=False) as bar:

        def tell(step: int, steps: int, x0: Tensor) -> None:
            bar.total = steps
            bar.update(step - bar.n)

        image = photo.rgb.expand(options.fills, -1, -1, -1).to(options.device)
        filled, uncertainty = fill(net, image, mask, options, tell)
    filled = filled.cpu()
    result = torch.where(mask > 0, filled.mean(0, keepdim=True), photo.rgb)
    alpha = photo.alpha
    if alpha is not None:  # what was filled is to be seen
        alpha = torch.maximum(alpha, (mask[0, 0] * 255).round().to(torch.uint8))
    write_photo(job.output, replace(photo, rgb=result, alpha=alpha))
    columns = [("picture", photo.rgb), ("hole", mark_hole(photo.rgb, mask)), ("filled", result)]
    if uncertainty is not None:
        grey = uncertainty.mean(0, keepdim=True).expand(-1, 3, -1, -1).cpu()
        columns.append(("uncertainty", grey))
        if job.uncertainty:
            write_photo(job.uncertainty, Photo(grey))
    if job.sheet:
        sheet(columns, job.sheet, cell=min(512, result.shape[2]))
    if not quiet:
        print(f"Wrote {' and '.join(str(path) for path in (job.output, job.sheet, job.uncertainty) if path)}.")
