"""`train`: a plain ADM network, RAD from scratch or a RAD adapter on a frozen base, SDM. The bundled networks were made with it."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..adapter_files import TARGETS, Facts, fingerprint, read_adapter
from ..adapters import add_adapter, save_adapter
from ..atomic import write_whole
from ..checkpoints import load_model, save_model
from ..masks import SHAPES
from ..noise import seeded
from ..schedule import NoiseSchedule, RegionSchedule
from ..sdm import SCHEDULES, Discriminator, Generator, SDMConfig, load_sdm, save_sdm
from ..sheets import sheet
from ..training.data import CHANGES, MASKS, Crops, Folder, MaskSource, Source, landscape_source, mask_source
from ..training.diffusion import DiffusionTraining, OneLevel, TrainingPlan, check_label, pictures_of
from ..training.log import Log, loss_curve
from ..training.loop import Method, Plan, Stage, memory_format, train
from ..training.perceptual import load_perceptual
from ..training.processes import Processes
from ..training.samples import COUNT, holes, sample_columns
from ..training.sdm import TERMS, SDMPlan, SDMTraining
from ..unet import UNet, UNetConfig, initialise

HELP = "train a network or a RAD adapter on landscapes or on a folder of pictures"
KINDS = {
    "base": "a plain ADM network",
    "rad": "a RAD adapter on --base, or a RAD network where there is none",
    "sdm": "an SDM network",
}
NOT_OF_THE_RUN = ("run", "output", "device", "threads", "save_every", "tensorboard", "licence")  # a run goes on under other ones


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, text in KINDS.items():
        part = kinds.add_parser(kind, help=text, description=f"Train {text}. The same command goes on with a run that was stopped.")
        _common_arguments(part, 1e-3, "512:100000:8") if kind == "sdm" else _common_arguments(part, 5e-4, "64:20000:16")
        (_sdm_arguments if kind == "sdm" else _diffusion_arguments)(part)


def _common_arguments(parser: argparse.ArgumentParser, learning_rate: float, stages: str) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="the .safetensors file to write (an adapter also as a PEFT folder)"
    )
    parser.add_argument("--data", type=Path, help="a folder of pictures; landscapes are drawn where there is none")
    parser.add_argument("--changes", default="flip,crop", help=f"of the folder's pictures: {','.join(CHANGES)} (default: flip,crop)")
    parser.add_argument("--hour", type=float, help="time of day of the drawn landscapes, 0 to 24 (default: all)")
    parser.add_argument("--stages", default=stages, help=f"SIZE:STEPS:BATCH, comma-separated (default: {stages})")
    parser.add_argument("--learning-rate", type=float, default=learning_rate, help=f"default: {learning_rate}")
    parser.add_argument("--accumulate", type=int, default=1, help="take each batch in so many parts, where memory is short (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=250, help="steps between checkpoints and sample sheets (default: 250)")
    parser.add_argument("--tensorboard", type=Path, metavar="FOLDER", help="write TensorBoard's logs there too")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def _diffusion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", help="the network an adapter is trained on")
    parser.add_argument(
        "--masks", default="perlin", help=f"{', '.join(MASKS)}, or a folder of masks, white = hole (default: perlin, the paper's)"
    )
    parser.add_argument(
        "--phases", type=int, choices=[1, 2], default=2, help="2: the paper's schedule (default); 1: train on noise in the hole alone"
    )
    parser.add_argument("--one-level", action="store_true", help="tell the network the step alone, not every pixel's level (ablation)")
    parser.add_argument("--vlb-weight", type=float, default=1e-3, help="of the bound that teaches the variance (default: 0.001)")
    parser.add_argument("--rank", type=int, default=16, help="of the LoRA (default: 16, the paper's)")
    parser.add_argument("--alpha", type=float, help="of the LoRA: its strength is alpha / rank (default: the rank)")
    parser.add_argument("--targets", default=",".join(TARGETS), help="layers that get a LoRA (default: all the paper's)")
    parser.add_argument("--licence", default="", help="under which the adapter may be used, for its file")
    parser.add_argument("--widths", default="32,32,96,160", help="channels of a new network's levels (default: 32,32,96,160)")
    parser.add_argument("--attention", default="2,3", help="levels that attend, of a new network (default: 2,3)")
    parser.add_argument("--init", help="start from this network: its weights, shape and size; with --base, from this adapter")
    parser.add_argument(
        "--prediction",
        choices=["eps", "v"],
        help="what the network predicts: noise, or v, which needs less training (default: that of --init, else v)",
    )
    parser.add_argument("--label", type=int, help="what the pictures show, for networks that draw by class")
    parser.add_argument("--tiles", action="store_true", help="a new network for pictures at their own scale, in tiles (photo repair)")
    _precision_argument(parser, ["float32", "bfloat16", "float16"])
    parser.add_argument("--checkpointing", action="store_true", help="half the memory for a third more time: recompute instead of keep")


def _precision_argument(parser: argparse.ArgumentParser, choices: list[str]) -> None:
    parser.add_argument(
        "--precision",
        choices=choices,
        default="float32",
        help="bfloat16: about twice as fast on GPUs and on CPUs with AMX, slower elsewhere (default: float32)",
    )


def _sdm_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--widths", default="64,128,256,512,512,512", help="channels of the levels (default: the paper's at 512)")
    parser.add_argument("--attention", default="4,5", help="levels that attend, from 0 (default: 4,5)")
    parser.add_argument("--latent", type=int, default=512, help="numbers of z (default: 512)")
    parser.add_argument("--code", type=int, default=1024, help="numbers of the global code (default: 1024)")
    parser.add_argument("--heads", type=int, default=8, help="of each attention (default: 8)")
    parser.add_argument("--global-convs", type=int, default=3, help="halvings below the last level (default: 3)")
    parser.add_argument("--masks", choices=list(SHAPES), default="brush", help="default: brush, the paper's free-form strokes")
    parser.add_argument("--iterations", default="1,2,2,3,4", help="what each step draws its number from (default: 1,2,2,3,4)")
    parser.add_argument("--schedule", choices=list(SCHEDULES), default="linear", help="of the mask (default: linear)")
    parser.add_argument("--alpha", type=float, default=0.01, help="noise of continuous sampling; 0: without (default: 0.01)")
    parser.add_argument("--anchor", type=float, default=1.0, help="how far predictions are made to meet the known pixels (default: 1)")
    parser.add_argument("--adversary", type=float, default=0.3, help="weight of the discriminator's judgement (default: 0.3)")
    parser.add_argument("--likelihood", type=float, default=0.1, help="weight of the variance's likelihood (default: 0.1)")
    parser.add_argument("--features", type=float, default=2.0, help="weight of the perceptual or matching loss (default: 2)")
    parser.add_argument("--colours", type=float, default=5.0, help="weight of the distance in colour (default: 5)")
    parser.add_argument(
        "--perceptual",
        type=Path,
        metavar="FILE",
        help="a ResNet50's weights for the perceptual loss (the paper's: ADE20K's dilated encoder); "
        "without, the discriminator's features are matched",
    )
    parser.add_argument("--init", help="start from this SDM network, of the same shape")
    _precision_argument(parser, ["float32", "bfloat16"])
    parser.add_argument("--no-dpm", action="store_true", help="without decoupled probabilistic modelling (ablation)")
    parser.add_argument("--no-guided-attention", action="store_true", help="without the uncertainty in the attention (ablation)")


@dataclass
class Recipe:
    """What a kind of training brings to the run."""

    plan: Plan
    net: UNet | Generator  # as it fills holes
    method: Callable[[Source], Method]
    masks: MaskSource
    save: Callable[[], None]
    tiles: bool = False


def run(options: argparse.Namespace) -> None:
    for name in ("save_every", "accumulate", "threads"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1.")
    if options.threads:
        torch.set_num_threads(options.threads)
    stages = Stage.parse(options.stages)
    pictures = Folder(options.data) if options.data else None
    note = json.dumps({name: str(value) for name, value in vars(options).items() if name not in NOT_OF_THE_RUN})
    processes = Processes.launched(cpu=options.device == "cpu")
    options.device = torch.device(processes.device or options.device)
    beside = lambda suffix: options.output.with_suffix(suffix)
    log = Log(beside(".csv"), options.tensorboard) if processes.first else Log()
    data = f"{len(pictures)} pictures" if pictures else "drawn landscapes"
    with seeded(options.seed):
        recipe = (_sdm if options.kind == "sdm" else _diffusion)(options, stages, data, log)
    source = Crops(pictures, options.changes.split(","), recipe.tiles) if pictures else landscape_source(options.hour)
    size = stages[-1].size
    examples = source(COUNT, size, 0), holes(recipe.masks, size)

    def save() -> None:
        recipe.save()
        columns = sample_columns(recipe.net, *examples, getattr(options, "label", None))
        sheet(columns, beside(".samples.png"))
        write_whole(beside(".curve.png"), loss_curve(log.rows).save)
        log.show(*columns[-1])

    try:
        train(recipe.method(source), recipe.plan, log, save, beside(".state"), note, processes)
    except KeyboardInterrupt:
        print("The same command goes on from the last checkpoint.", file=sys.stderr)
        raise
    if processes.first:
        print(f"Wrote {options.output}, and beside it its log, loss curve and samples.")


def _diffusion(options: argparse.Namespace, stages: list[Stage], data: str, log: Log) -> Recipe:
    if options.base and options.kind == "base":
        raise ValueError("A base is trained from scratch: leave --base away, or train rad.")
    net = load_model(options.base) if options.base else new_network(options, stages[-1].size)
    if options.one_level and options.kind == "base":
        raise ValueError("--one-level is of RAD's training: a plain network is told one level always.")
    if net.config.out_channels != 6:
        raise ValueError(f"{options.base} has no learned variance (3 outputs); training needs a network with 6.")
    check_label(net.config.num_classes, options.label)
    plan = TrainingPlan(
        prediction=net.config.prediction,
        region=options.kind == "rad",
        phases=options.phases,
        spatial=not options.one_level,
        vlb_weight=options.vlb_weight,
        **_common(options, stages),
    )
    layout = memory_format(options.device, options.precision)
    net = net.to(options.device, memory_format=layout)
    net.checkpointing, net.region_aware = options.checkpointing, plan.region
    if options.base:
        facts = Facts(fingerprint(dict(net.named_parameters())), net.config.schedule, data=data, licence=options.licence)
        start = read_adapter(options.init) if options.init else None
        trained = add_adapter(net, options.rank, options.alpha, start, options.targets.split(",")).to(memory_format=layout)
        save = lambda: save_adapter(trained, options.output, note=plan.describe(), facts=replace(facts, steps=log.step))
    else:
        trained = net
        save = lambda: save_model(net, options.output, note=plan.describe())
    schedule, masks = RegionSchedule(NoiseSchedule(net.config.schedule)), mask_source(options.masks)
    method = lambda source: DiffusionTraining(trained, pictures_of(source, options.label), plan, schedule, masks)
    filling = OneLevel(net) if options.one_level else net
    return Recipe(plan, filling, method, masks, save, tiles=net.config.context is None)


def _sdm(options: argparse.Namespace, stages: list[Stage], data: str, log: Log) -> Recipe:
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
    net, judge = (kind(config).to(options.device, memory_format=layout) for kind in (Generator, Discriminator))
    if options.init:
        start = load_sdm(options.init)
        if replace(start.config, image_size=config.image_size, guided=config.guided) != config:
            raise ValueError(f"{options.init} has another shape: give the options of --widths and so on that made it.")
        net.load_state_dict(start.state_dict())
    perceptual = load_perceptual(options.perceptual).to(options.device) if options.perceptual else None
    save = lambda: save_sdm(net, options.output, torch.float16, plan.describe())
    return Recipe(plan, net, lambda source: SDMTraining(net, judge, source, plan, perceptual), SHAPES[plan.masks], save)


def _common(options: argparse.Namespace, stages: list[Stage]) -> dict:
    names = ("learning_rate", "accumulate", "precision", "seed", "save_every")
    return {"stages": stages} | {name: getattr(options, name) for name in names}


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise ValueError(f"{option} takes whole numbers, comma-separated, such as 1,2,3; got '{text}'.") from None


def new_network(options: argparse.Namespace, size: int) -> UNet:
    if options.init:
        start = load_model(options.init)
        net = UNet(replace(start.config, prediction=options.prediction or start.config.prediction))
        net.load_state_dict(start.state_dict())
        return net
    widths, attention = _numbers("--widths", options.widths), _numbers("--attention", options.attention)
    if any(width < 32 or width % 32 for width in widths):
        raise ValueError(f"--widths must be multiples of 32, got {options.widths}.")
    context, prediction = None if options.tiles else 1.0, options.prediction or "v"
    return initialise(UNet(UNetConfig(widths[0], widths, 1, attention, 32, image_size=size, prediction=prediction, context=context)))
