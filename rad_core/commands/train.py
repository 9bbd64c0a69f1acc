"""`train`: a plain ADM network, RAD from scratch or a RAD adapter on a frozen base, SDM. The bundled networks were made with it."""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from ..adapters import add_adapter, read_adapter, save_adapter
from ..checkpoints import load_model, save_model
from ..masks import SHAPES
from ..schedule import NoiseSchedule, RegionSchedule
from ..sdm import SCHEDULES, Discriminator, Generator, SDMConfig, load_sdm, save_sdm
from ..training.data import FolderCrops, Source, landscape_source
from ..training.loop import Log, Stage, TrainingPlan, describe, memory_format, train
from ..training.perceptual import load_perceptual
from ..training.sdm import SDMPlan, train_sdm
from ..unet import UNet, UNetConfig, initialise

HELP = "train a network or a RAD adapter on landscapes or on a folder of pictures"
KINDS = {
    "base": "a plain ADM network",
    "rad": "a RAD adapter on --base, or a RAD network where there is none",
    "sdm": "an SDM network",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, text in KINDS.items():
        part = kinds.add_parser(kind, help=text, description=f"Train {text}.")
        _common_arguments(part, 1e-3, "512:100000:8") if kind == "sdm" else _common_arguments(part, 5e-4, "64:20000:16")
        (_sdm_arguments if kind == "sdm" else _diffusion_arguments)(part)


def _common_arguments(parser: argparse.ArgumentParser, learning_rate: float, stages: str) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="the .safetensors file to write (an adapter also as a PEFT folder)"
    )
    parser.add_argument("--data", type=Path, help="a folder of pictures; landscapes are drawn where there is none")
    parser.add_argument("--hour", type=float, help="time of day of the drawn landscapes, 0 to 24 (default: all)")
    parser.add_argument("--stages", default=stages, help=f"SIZE:STEPS:BATCH, comma-separated (default: {stages})")
    parser.add_argument("--learning-rate", type=float, default=learning_rate, help=f"default: {learning_rate}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=250, help="steps between saves (default: 250)")
    parser.add_argument(
        "--precision",
        choices=["float32", "bfloat16"],
        default="float32",
        help="bfloat16: about twice as fast on GPUs and on CPUs with AMX, slower elsewhere (default: float32)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def _diffusion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", help="the network an adapter is trained on")
    parser.add_argument("--masks", choices=["perlin", "repair"], default="perlin", help="the paper's, or mostly thin scratches")
    parser.add_argument(
        "--phases", type=int, choices=[1, 2], default=2, help="2: the paper's schedule (default); 1: train on noise in the hole alone"
    )
    parser.add_argument("--rank", type=int, default=16, help="of the LoRA (default: 16, the paper's)")
    parser.add_argument("--widths", default="32,32,96,160", help="channels of a new network's levels (default: 32,32,96,160)")
    parser.add_argument("--attention", default="2,3", help="levels that attend, of a new network (default: 2,3)")
    parser.add_argument("--init", help="start from this network: its weights, shape and size; with --base, from this adapter")
    parser.add_argument(
        "--prediction",
        choices=["eps", "v"],
        help="what the network predicts: noise, or v, which needs less training (default: that of --init, else v)",
    )
    parser.add_argument("--tiles", action="store_true", help="a new network for pictures at their own scale, in tiles (photo repair)")


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
    parser.add_argument("--no-dpm", action="store_true", help="without decoupled probabilistic modelling (ablation)")
    parser.add_argument("--no-guided-attention", action="store_true", help="without the uncertainty in the attention (ablation)")


def run(options: argparse.Namespace) -> None:
    if options.save_every < 1 or (options.threads is not None and options.threads < 1):
        raise ValueError("--save-every and --threads must be at least 1.")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    stages = Stage.parse(options.stages)
    source = FolderCrops(options.data) if options.data else landscape_source(options.hour)
    log = Log(options.output.with_suffix(".csv"))
    (_train_sdm if options.kind == "sdm" else _train_diffusion)(options, stages, source, log)
    print(f"Wrote {options.output} and {log.path}.")


def _train_diffusion(options: argparse.Namespace, stages: list[Stage], source: Source, log: Log) -> None:
    if options.base and options.kind == "base":
        raise ValueError("A base is trained from scratch: leave --base away, or train rad.")
    net = load_model(options.base) if options.base else new_network(options, stages[-1].size)
    plan = TrainingPlan(
        stages,
        options.learning_rate,
        prediction=net.config.prediction,
        region=options.kind == "rad",
        phases=options.phases,
        masks=options.masks,
        seed=options.seed,
        save_every=options.save_every,
        precision=options.precision,
    )
    schedule = RegionSchedule(NoiseSchedule(net.config.schedule))
    if net.config.out_channels != 6:
        raise ValueError(f"{options.base} has no learned variance (3 outputs); training needs a network with 6.")
    layout = memory_format(options.device, options.precision)
    net = net.to(options.device, memory_format=layout)
    if options.base:
        model = add_adapter(net, options.rank, start=read_adapter(options.init) if options.init else None).to(memory_format=layout)
        train(model, source, plan, schedule, lambda: save_adapter(model, options.output, note=describe(plan)), log)
    else:
        net.region_aware = plan.region
        train(net, source, plan, schedule, lambda: save_model(net, options.output, note=describe(plan)), log)


def _train_sdm(options: argparse.Namespace, stages: list[Stage], source: Source, log: Log) -> None:
    plan = SDMPlan(
        stages,
        options.learning_rate,
        _numbers("--iterations", options.iterations),
        options.schedule,
        options.alpha,
        options.anchor,
        not options.no_dpm,
        options.masks,
        likelihood=options.likelihood,
        adversary=options.adversary,
        features=options.features,
        colours=options.colours,
        seed=options.seed,
        save_every=options.save_every,
        precision=options.precision,
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
    state = options.output.with_suffix(".state.pt")
    note = f"{options.data}, {options.hour}, {options.init}, {options.perceptual}"
    train_sdm(net, judge, source, plan, lambda: save_sdm(net, options.output, torch.float16, plan.describe()), log, state, note, perceptual)


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
