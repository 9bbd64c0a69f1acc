"""`inpaint`: fill the hole of a photo, or of every photo in a folder. A sub-command per method, see `inpaint_methods`."""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..images import pasted
from ..memory import out_of_memory
from ..photo_files import Photo
from .inpaint_methods import DEFAULT_METHOD, DEFAULT_NETWORK_METHOD, METHODS, InpaintMethod, masks_of
from .paths import check_new, check_outputs, is_folder
from .photos import Job, find_jobs, in_order, read_pair, write_result
from .progress import progress

HELP = "fill the hole of a photo, or of a folder of photos"
OTHER_INPUTS = (
    "reference",
    "reference_mask",
    "source_mask",
    "context_mask",
    "stitch_mask",
    "order",
    "refine",
    "model",
    "adapter",
    "detail_adapter",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [METHOD] PHOTO --mask MASK -o OUTPUT [options]"
    parser.epilog = (
        f"Without a METHOD, {DEFAULT_METHOD} fills the hole, or {DEFAULT_NETWORK_METHOD} if there is a --model; "
        "--method NAME does the same as METHOD. "
        f"The options of a method: {parser.prog} METHOD --help."
    )
    commands = parser.add_subparsers(dest="method", required=True, metavar="METHOD", prog=parser.prog)
    for name, method in METHODS.items():
        command = commands.add_parser(
            name, help=method.help, description=f"Fill the hole of a photo, or of every photo in a folder, with {method.help}."
        )
        _add_common(command, method)
        method.add_arguments(command)
        method.add_settings(command.add_argument_group("settings"))


def _add_common(parser: argparse.ArgumentParser, method: InpaintMethod) -> None:
    """Options of every method."""
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
        "--grow", type=int, default=0, help="widen the hole by this many pixels: 2 to 8 help where scraps are left at its rim (default: 0)"
    )
    parser.add_argument("--any-size", action="store_true", help="read pictures of more than 179 megapixels, which are refused otherwise")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another fill (default: 0)")
    several = "several are averaged into the smoothest guess" if method.average else "several are written as OUTPUT_1, OUTPUT_2 ..."
    parser.add_argument("--fills", type=int, default=1, help=f"number of fills; {several} (default: 1)")
    parser.add_argument(
        "--compare", type=Path, metavar="SHEET", help="also write picture, hole and result side by side (for a folder: a folder of sheets)"
    )
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda, cuda:1, cpu ... (default: the GPU if there is one)"
    )


def with_method(arguments: list[str]) -> list[str]:
    """The arguments of `inpaint` with the method in front: their own, that of --method, or the default one with or without a --model."""
    if arguments and arguments[0] in (*METHODS, "-h", "--help"):
        return arguments
    first = arguments[0] if arguments else "-"
    if first.isidentifier() and not Path(first).exists():
        raise ValueError(f"'{first}' is neither a file nor a method: the methods are {', '.join(METHODS)}.")
    alias = argparse.ArgumentParser("rad-inpaint inpaint", add_help=False, allow_abbrev=False)
    network = any(word.split("=")[0] == "--model" for word in arguments)
    alias.add_argument("--method", choices=list(METHODS), default=DEFAULT_NETWORK_METHOD if network else DEFAULT_METHOD)
    options, others = alias.parse_known_args(arguments)
    return [options.method, *others]


def run(options: argparse.Namespace) -> None:
    for name, least in (("fills", 1), ("grow", 0)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be at least {least}, got {getattr(options, name)}.")
    method = METHODS[options.method]
    settings = method.settings(options)
    jobs = find_jobs(options.photo, options.mask, options.output, options.compare, getattr(options, "uncertainty", None))
    numbered = [each for job in jobs for each in job.numbered(1 if method.average else options.fills)]
    written = [path for each in numbered for path in (each.output, each.uncertainty)] + [job.sheet for job in jobs]
    check_outputs(filter(None, written), [path for job in jobs for path in (job.photo, job.mask)] + _other_inputs(options))
    if is_folder(options.output):  # the names of the files in it are not the user's choice
        check_new(filter(None, written) if options.photo.is_dir() else [each.output for each in numbered])
    filler = lambda net: lambda image, mask, *more: method.fill(net, image, mask, settings, options, *more)  # the callback and the photo
    if getattr(options, "frames", False):
        fill_frames(filler(method.load(options, None)), jobs, options)
        return
    if len(jobs) == 1:
        photo, mask = read_pair(jobs[0], options.grow)  # fail early on a mistyped name, before a network is loaded
        fill_one(filler(method.load(options, photo.rgb)), jobs[0], photo, mask, options)
        files = [path for each in numbered for path in each.written]
        print(f"Wrote {', '.join(map(str, dict.fromkeys(files)))}.")
        return
    from accelerate import PartialState  # slow to import; shares the folder among the processes of `accelerate launch`

    state = PartialState(cpu=options.device == "cpu")
    if state.num_processes > 1:
        options.device = state.device
    fill, failed = filler(method.load(options, None)), []
    with state.split_between_processes(jobs) as share:
        for job in tqdm(share, desc="photos", unit="photo"):
            try:
                fill_one(fill, job, *read_pair(job, options.grow), options, quiet=True)
            except (ValueError, OSError, MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not out_of_memory(error):
                    raise
                failed.append(f"{job.photo.name}: {'out of memory.' if out_of_memory(error) else error}")
    if failed:
        raise ValueError(f"{len(failed)} of {len(share)} photos could not be filled: " + " ".join(failed))


def _other_inputs(options: argparse.Namespace) -> list[str | Path]:
    """Files of the method's own options that are read."""
    values = [getattr(options, name, None) for name in OTHER_INPUTS]
    return [path for value in values if value for path in (value if isinstance(value, list) else [value])]


def fill_one(
    fill: Callable[..., tuple[Tensor, Tensor | None]],
    job: Job,
    photo: Photo,
    mask: Tensor,
    options: argparse.Namespace,
    quiet: bool = False,
) -> None:
    """Fill a photo by fill(image, mask, callback, photo), behind a progress bar, and write the result."""
    with progress(job.photo.name, quiet) as advance:
        image = photo.rgb.expand(options.fills, -1, -1, -1).to(options.device)
        fills, uncertainty = fill(image, mask, advance, photo)
    stitch = masks_of(options, photo, "stitch_mask").get("stitch_mask")
    paste = pasted(fills.cpu(), photo.rgb, mask, stitch).amax(0, keepdim=True)
    write_result(job, photo, paste, fills, uncertainty, METHODS[options.method].average)


def fill_frames(fill: Callable[..., tuple[Tensor, Tensor | None]], jobs: list[Job], options: argparse.Namespace) -> None:
    """Fill a video's frames, each a job, in one call of fill(images, masks, callback, photo), and write them."""
    if options.fills > 1:
        raise ValueError("--frames makes one fill of a video: leave out --fills, and try another --seed for another.")
    jobs = sorted(jobs, key=lambda job: in_order(job.photo))
    pairs = [read_pair(job, options.grow) for job in jobs]
    first = pairs[0][0].rgb
    for job, (photo, _) in zip(jobs, pairs, strict=True):
        if photo.rgb.shape != first.shape:
            sizes = [f"{rgb.shape[3]}x{rgb.shape[2]}" for rgb in (photo.rgb, first)]
            raise ValueError(f"The frames of a video have one size, but {job.photo} has {sizes[0]} and {jobs[0].photo} {sizes[1]}.")
    with progress(f"{len(jobs)} frames") as advance:
        images = torch.cat([photo.rgb for photo, _ in pairs]).to(options.device)
        fills, uncertainty = fill(images, torch.cat([mask for _, mask in pairs]), advance, pairs[0][0])
    for k, (job, (photo, mask)) in enumerate(zip(jobs, pairs, strict=True)):
        one = slice(k, k + 1)
        write_result(job, photo, mask, fills[one], None if uncertainty is None else uncertainty[one])
    print(f"Wrote {len(jobs)} frames to {options.output}.")
