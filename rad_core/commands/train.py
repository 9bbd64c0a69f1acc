"""`train`: train a plain ADM network, a RAD network or adapter, or an SDM network. The bundled networks were trained with it."""

import argparse
import math
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from multiprocessing import get_all_start_methods
from pathlib import Path

import torch
from torch.utils.data import Subset

from ..adapter_files import FOLDER_OUTPUT, AdapterMetadata, fingerprint, read_adapter
from ..adapters import add_adapter, save_adapter
from ..atomic import atomic_write
from ..checkpoints import check_name, load_model, save_model
from ..compiler import compiler_name, has_compiler
from ..masks import SHAPES
from ..noise import seeded
from ..photo_files import picture_files
from ..schedule import RegionSchedule
from ..sdm import Discriminator, Generator, SDMConfig, load_sdm, save_sdm
from ..sheets import sheet
from ..training.buckets import split
from ..training.data import MASKS, Crops, Folder, MaskSource, Source, landscape_source, mask_source, names_of
from ..training.diffusion import DiffusionTraining, OneLevel, TrainingPlan, check_label, pictures_of
from ..training.log import Log, loss_curve
from ..training.loop import Plan, Stage, TrainingMethod, memory_format, train
from ..training.perceptual import load_perceptual
from ..training.processes import Processes
from ..training.samples import COUNT, holes, sample_columns
from ..training.sdm import TERMS, SDMPlan, SDMTraining
from ..unet import UNet, UNetConfig, initialise
from .paths import check_new, check_outputs
from .train_options import add_common_arguments, add_diffusion_arguments, add_rad_arguments, add_sdm_arguments, check_used

HELP = "train a network or a RAD adapter, on drawn landscapes or on a folder of pictures"
KINDS = {
    "base": "a plain ADM network",
    "rad": "a RAD adapter for the network --base, or without --base a RAD network",
    "sdm": "an SDM network",
}
# options that a resumed run may change; the plan has the stages
MAY_CHANGE = ("run", "output", "any_size", "stages", "device", "threads", "workers", "save_every", "tensorboard", "licence", "compile")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, text in KINDS.items():
        description = f"Train {text}. Safe to interrupt: run the same command again to resume."
        command = kinds.add_parser(kind, help=text, description=description)
        if kind == "sdm":
            add_common_arguments(command, learning_rate=1e-3, stages="512:100000:8")
            add_sdm_arguments(command)
        else:
            add_common_arguments(command, learning_rate=5e-4, stages="64:20000:16", folder=kind == "rad")
            add_diffusion_arguments(command)
        if kind == "rad":
            add_rad_arguments(command)


@dataclass
class Recipe:
    """What a kind of training provides to the run.

    Args:
        plan: the hyperparameters.
        net: the network as it fills the holes of the sample sheets.
        method: the training method, for a source of pictures.
        masks: masks of the sample sheets.
        save: writes the network; its argument is the number of steps taken.
        tiles: the network works in tiles, so its pictures are cropped at their own scale.
        about: what identifies the run beyond its options.
    """

    plan: Plan
    net: UNet | Generator
    method: Callable[[Source], TrainingMethod]
    masks: MaskSource
    save: Callable[[int], None]
    tiles: bool = False
    about: dict[str, str] = field(default_factory=dict)


def run(options: argparse.Namespace) -> None:
    _check(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    stages = Stage.parse(options.stages)
    pictures = Folder(options.data) if options.data else None
    folders = _folders(options, pictures)
    beside = partial(_beside, options.output)
    _check_files(options, folders)
    about = {name: str(value) for name, value in vars(options).items() if name not in MAY_CHANGE}
    about |= {f"files in {folder}": names_of(paths) for folder, paths in folders.items()}
    processes = Processes.launched(cpu=options.device == "cpu")
    options.device = torch.device(processes.device or options.device)
    log = Log(beside(".csv"), options.tensorboard) if processes.first else Log()
    with seeded(options.seed):
        data = f"{len(pictures)} pictures" if pictures else "drawn landscapes"
        recipe = _sdm(options, stages) if options.kind == "sdm" else _diffusion(options, stages, data)
    source = unseen = landscape_source(options.hour)  # the seeds below differ from training's
    if pictures:
        train_on, samples = split([()] * len(pictures))  # all are cropped to squares
        source, unseen = (
            Crops(Subset(pictures, some), [name for name in options.augment.split(",") if name], recipe.tiles)
            for some in (train_on, samples)
        )
    size, redraws = stages[-1].size, getattr(options, "redraw_noise", None) is not None
    examples = unseen(COUNT, size, 0), holes(recipe.masks, size, size)

    def save() -> None:
        recipe.save(log.step)
        columns = sample_columns(recipe.net, *examples, getattr(options, "label", None), redraws)
        sheet(columns, beside(".samples.png"))
        atomic_write(beside(".curve.png"), loss_curve(log.rows).save)
        log.show(*columns[-1])

    try:
        train(recipe.method(source), recipe.plan, log, save, beside(".state"), about | recipe.about, processes, workers=options.workers)
    except KeyboardInterrupt:
        print("Run the same command again to resume from the last checkpoint.", file=sys.stderr)
        raise
    if processes.first:
        print(f"Wrote {options.output}, and beside it its log, loss curve and samples.")


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError for an option that is out of its range, unused, or not possible on this system."""
    for name in ("save_every", "accumulate", "threads"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1.")
    if not getattr(options, "rim_weight", 0) >= 0:
        raise ValueError("--rim-weight must be 0 or more.")
    if getattr(options, "redraw_noise", None) is not None and not 0 < options.redraw_noise < math.inf:
        raise ValueError("--redraw-noise must be above 0, and finite.")
    check_used(options)
    check_name(options.output, folder=bool(getattr(options, "base", None)))
    if options.workers < 0:
        raise ValueError("--workers must be at least 0.")
    if options.workers and "fork" not in get_all_start_methods():
        raise ValueError("--workers needs a system that can fork processes, which this one cannot: leave it out.")
    if getattr(options, "compile", False) and options.device == "cpu" and not has_compiler():
        raise ValueError(f"--compile needs the C++ compiler {compiler_name()}, which is not installed: install it, or leave --compile out.")


def _folders(options: argparse.Namespace, pictures: Folder | None) -> dict[Path, list[Path]]:
    """The files of each folder that pictures or masks are read from."""
    folders, masks = {options.data: pictures.paths} if pictures else {}, getattr(options, "masks", None)
    if masks and masks not in MASKS and Path(masks).is_dir():
        folders[masks] = picture_files(masks)
    return folders


def _check_files(options: argparse.Namespace, folders: dict[Path, list[Path]]) -> None:
    """Raise ValueError where the run would write over a file, or among the pictures that it reads."""
    if any(options.output.resolve().parent == Path(folder).resolve() for folder in folders):
        raise ValueError("Choose an output in another folder than the pictures: the run would train on its own sample sheet.")
    beside, read = partial(_beside, options.output), [getattr(options, name, None) for name in ("base", "init", "perceptual")]
    outputs = [*_written(options), *map(beside, (".csv", ".state", ".samples.png", ".curve.png"))]
    check_outputs(outputs, chain(*map(_weights, read), folders.get(options.data, ())))
    if not beside(".state").exists():
        check_new(outputs)


def _beside(output: Path, suffix: str) -> Path:
    """A file of the run beside its output NAME.safetensors, or beside the folder NAME, whose name may have a dot."""
    return output.with_suffix(suffix) if output.suffix == ".safetensors" else output.with_name(output.name + suffix)


def _written(options: argparse.Namespace) -> list[Path]:
    """The files of the network or adapter. A run that resumes finds the PEFT folder that it made; any other folder is not written to."""
    adapter = getattr(options, "base", None) and options.output.suffix != ".safetensors"
    resumes = _beside(options.output, ".state").exists()
    return [options.output / name for name in FOLDER_OUTPUT] if adapter and resumes else [options.output]


def _weights(path: str | Path | None) -> list[str | Path]:
    """The files that a network or adapter may be read from: itself, or all files of a folder."""
    return [] if path is None else [*Path(path).iterdir()] if Path(path).is_dir() else [path]


def _diffusion(options: argparse.Namespace, stages: list[Stage], data: str) -> Recipe:
    net = load_model(options.base) if options.base else new_network(options, stages[-1].size)
    if net.config.out_channels != 6:
        raise ValueError(f"{options.base or options.init} has no learned variance (3 outputs); training needs a network with 6.")
    check_label(net.config.num_classes, options.label)
    if options.redraw_noise is not None and all(stage.size <= net.config.image_size for stage in stages):
        raise ValueError(
            f"--redraw-noise is for stages larger than the network's {net.config.image_size} pixels: add one, such as twice that."
        )
    plan = TrainingPlan(
        prediction=net.config.prediction,
        region=options.kind == "rad",
        phases=options.phases,
        rim_weight=options.rim_weight,
        redraw_noise=options.redraw_noise,
        spatial=not options.one_level,
        vlb_weight=options.vlb_weight,
        optimiser=options.optimiser,
        **_common(options, stages),
    )
    layout = memory_format(options.device, options.precision, compiled=options.compile and not options.base)
    net = net.to(options.device, memory_format=layout)
    net.checkpointing, net.region_aware = options.checkpointing, plan.region
    about = {}
    if options.base:
        metadata = AdapterMetadata(fingerprint(dict(net.named_parameters())), net.config.schedule, data=data, licence=options.licence)
        start = read_adapter(options.init) if options.init else None
        before = start.metadata.steps if start else 0
        about = {"weights of the base": f"{zlib.crc32(repr(metadata.base).encode()):08x}"}
        trained = add_adapter(net, options.rank, options.alpha, start, options.targets.split(",")).to(memory_format=layout)
        at = lambda steps: replace(metadata, steps=before + steps)
        save = lambda steps: save_adapter(trained, options.output, note=plan.describe(), metadata=at(steps))
    else:
        trained = net
        save = lambda steps: save_model(net, options.output, note=plan.describe())
    schedule, masks = RegionSchedule(net.config.schedule), mask_source(options.masks)
    called = torch.compile(trained, dynamic=False) if options.compile else trained  # the samples' few pictures are not worth compiling for
    method = lambda source: DiffusionTraining(called, pictures_of(source, options.label), plan, schedule, masks)
    return Recipe(plan, OneLevel(net) if options.one_level else net, method, masks, save, net.config.tiles, about)


def _sdm(options: argparse.Namespace, stages: list[Stage]) -> Recipe:
    plan = SDMPlan(
        iterations=_numbers("--iterations", options.iterations),
        decoupled=not options.no_dpm,
        **{name: getattr(options, name) for name in ("schedule", "alpha", "anchor", "masks", *TERMS)},
        **_common(options, stages),
    )
    config = SDMConfig(
        _numbers("--widths", options.widths),
        _numbers("--attention", options.attention),
        options.global_convs,
        options.latent,
        options.code,
        options.heads,
        not options.no_guided_attention,
        stages[-1].size,
    )
    layout = memory_format(options.device, options.precision)
    net, discriminator = (kind(config).to(options.device, memory_format=layout) for kind in (Generator, Discriminator))
    if options.init:
        start = load_sdm(options.init)
        if replace(start.config, image_size=config.image_size, guided=config.guided) != config:
            raise ValueError(f"{options.init} has another architecture: use the options, such as --widths, that it was trained with.")
        net.load_state_dict(start.state_dict())
    perceptual = load_perceptual(options.perceptual).to(options.device) if options.perceptual else None
    method = lambda source: SDMTraining(net, discriminator, source, plan, perceptual)
    save = lambda steps: save_sdm(net, options.output, torch.float16, plan.describe())
    return Recipe(plan, net, method, SHAPES[plan.masks], save)


def _common(options: argparse.Namespace, stages: list[Stage]) -> dict:
    """The hyperparameters of every `Plan`."""
    names = ("learning_rate", "accumulate", "precision", "seed", "save_every")
    return {"stages": stages} | {name: getattr(options, name) for name in names}


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise ValueError(f"{option} takes whole numbers, comma-separated, such as 1,2,3; got '{text}'.") from None


def new_network(options: argparse.Namespace, size: int) -> UNet:
    """A network from scratch, or one that starts with the weights of --init."""
    if options.init:
        start = load_model(options.init)
        if getattr(options, "redraw_noise", None) is not None:  # its stages are larger than the network's own size, which stays
            size = start.config.image_size
        net = UNet(replace(start.config, image_size=size, prediction=options.prediction or start.config.prediction))
        net.load_state_dict(start.state_dict())
        return net
    widths, attention = _numbers("--widths", options.widths), _numbers("--attention", options.attention)
    if any(width < 32 or width % 32 for width in widths):
        raise ValueError(f"--widths must be multiples of 32, got {options.widths}.")
    config = UNetConfig(widths[0], widths, 1, attention, 32, image_size=size, prediction=options.prediction or "v", tiles=options.tiles)
    return initialise(UNet(config))
