"""The options of `train`."""

import argparse
from pathlib import Path

import torch

from ..adapter_files import ALL_TARGETS, TARGETS
from ..masks import SHAPES
from ..sdm import SCHEDULES
from ..training import OPTIMISERS
from ..training.data import AUGMENTATIONS, MASKS
from ..training.sdm import SDMPlan

# options that describe what a run may not make, and their defaults
OF_A_NEW_NETWORK = {"widths": "32,32,96,160", "attention": "2,3", "tiles": False}
OF_AN_ADAPTER = {"rank": 16, "alpha": None, "targets": ",".join(TARGETS)}
AUGMENT = "flip,crop"


def check_used(options: argparse.Namespace) -> None:
    """Check that every option passed to `train` has an effect.

    Raises:
        ValueError: a new network's option with --base or --init, a new adapter's with --init, an adapter's without --base, --hour
            with --data, or --augment without it.
    """
    sdm, base = options.kind == "sdm", getattr(options, "base", None)
    passed = lambda names: [f"--{name}" for name, default in names.items() if getattr(options, name, default) != default]
    for unused, why in (
        (
            passed(OF_A_NEW_NETWORK) if not sdm and (base or options.init) else [],
            "that is for a new network, and --base or --init gives one",
        ),
        (passed({"prediction": None}) if base else [], "an adapter predicts what its base does"),
        ([] if sdm or base else passed(OF_AN_ADAPTER | {"licence": ""}), "that is for an adapter, which needs --base"),
        (passed(OF_AN_ADAPTER) if base and options.init else [], "that is for a new adapter, and --init gives one"),
        ([] if options.data else passed({"augment": AUGMENT}), "that is for the pictures of --data"),
        (passed({"hour": None}) if options.data else [], "that is for drawn landscapes, and --data gives pictures"),
    ):
        if unused:
            raise ValueError(f"Leave out {' and '.join(unused)}: {why}.")


def add_common_arguments(parser: argparse.ArgumentParser, learning_rate: float, stages: str, folder: bool = False) -> None:
    """Options of every kind of training, with the kind's defaults; `folder`: it may write an adapter, and so a PEFT folder."""
    written = "the .safetensors file to write" + (", or with --base a PEFT folder" if folder else "")
    parser.add_argument("-o", "--output", type=Path, required=True, help=written)
    parser.add_argument("--data", type=Path, help="a folder of pictures (default: drawn landscapes)")
    parser.add_argument("--any-size", action="store_true", help="read pictures of more than 179 megapixels, which are skipped otherwise")
    parser.add_argument(
        "--augment",
        default=AUGMENT,
        help=f"of the folder's pictures, comma-separated: {', '.join(AUGMENTATIONS)}; '' for none (default: {AUGMENT})",
    )
    parser.add_argument("--hour", type=float, help="time of day of the drawn landscapes, 0 to 24 (default: all)")
    parser.add_argument("--stages", default=stages, help=f"SIZE:STEPS:BATCH, comma-separated (default: {stages})")
    parser.add_argument("--learning-rate", type=float, default=learning_rate, help=f"default: {learning_rate}")
    parser.add_argument("--accumulate", type=int, default=1, help="split each batch into so many slices, to save memory (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--save-every", type=int, default=250, help="steps between checkpoints and sample sheets (default: 250)")
    parser.add_argument("--tensorboard", type=Path, metavar="FOLDER", help="also write logs for TensorBoard to this folder")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that draw pictures, masks and noise ahead; a GPU needs several (default: 0)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda, cpu ... (default: the GPU if there is one)"
    )


def add_diffusion_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `train base` and `train rad`."""
    parser.add_argument(
        "--vlb-weight", type=float, default=1e-3, help="weight of the variational bound, which trains the variance (default: 0.001)"
    )
    parser.add_argument(
        "--widths", default=OF_A_NEW_NETWORK["widths"], help="of a new network: channels of its levels (default: %(default)s)"
    )
    parser.add_argument(
        "--attention", default=OF_A_NEW_NETWORK["attention"], help="of a new network: levels with attention, from 0 (default: %(default)s)"
    )
    parser.add_argument("--init", help="the network to start from, in architecture and weights; for an adapter: the adapter")
    parser.add_argument(
        "--prediction",
        choices=["eps", "v"],
        help="what the network predicts: eps is the noise; v needs less training (default: that of --init, else v)",
    )
    parser.add_argument("--label", type=int, help="class of the pictures, for class-conditional networks")
    parser.add_argument("--tiles", action="store_true", help="of a new network: for tiles at the pictures' own scale (photo repair)")
    _add_precision(parser, ["float32", "bfloat16", "float16"])
    parser.add_argument(
        "--optimiser", choices=list(OPTIMISERS), default="adamw", help="adamw8bit takes less memory and needs bitsandbytes (default: adamw)"
    )
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing: half the memory for a third more time")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile the network, which takes some minutes: for runs of an hour and more"
    )
    parser.set_defaults(base=None, masks="perlin", phases=2, one_level=False, rim_weight=0.0, redraw_noise=None)


def add_rad_arguments(parser: argparse.ArgumentParser) -> None:
    """Further options of `train rad`."""
    parser.add_argument("--base", help="the network to train an adapter for")
    parser.add_argument(
        "--masks", default="perlin", help=f"{', '.join(MASKS)}, or a folder of masks, white = hole (default: perlin, as in the paper)"
    )
    parser.add_argument(
        "--phases", type=int, choices=[1, 2], default=2, help="2: the paper's schedule (default); 1: noise in the hole alone"
    )
    parser.add_argument(
        "--rim-weight",
        type=float,
        default=0.0,
        help="count the noised pixels at distance d = 1, 2, 3 from a known one 1 + this / d times (default: 0, as in the paper)",
    )
    parser.add_argument(
        "--redraw-noise",
        type=float,
        metavar="SIGMA",
        help="stages larger than the network's own size train its redraw of enlarged fills, from a noise of up to SIGMA; "
        "at the default --detail of `inpaint` the redraw begins at 3",
    )
    parser.add_argument("--one-level", action="store_true", help="one timestep per picture instead of one per pixel (ablation)")
    parser.add_argument("--rank", type=int, default=OF_AN_ADAPTER["rank"], help="of the LoRA (default: 16, as in the paper)")
    parser.add_argument("--alpha", type=float, help="of the LoRA, whose strength is alpha / rank (default: the rank)")
    parser.add_argument(
        "--targets",
        default=OF_AN_ADAPTER["targets"],
        help=f"layers with a LoRA, comma-separated, of {', '.join(ALL_TARGETS)} (default: all but the last, as the RAD authors)",
    )
    parser.add_argument("--licence", default="", help="the adapter's licence, to be written to its file")


def add_sdm_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `train sdm`."""
    parser.add_argument("--widths", default="64,128,256,512,512,512", help="channels of the levels (default: the paper's, at 512)")
    parser.add_argument("--attention", default="4,5", help="levels with attention, from 0 (default: 4,5)")
    parser.add_argument("--latent", type=int, default=512, help="size of the latent z (default: 512)")
    parser.add_argument("--code", type=int, default=1024, help="size of the global code (default: 1024)")
    parser.add_argument("--heads", type=int, default=8, help="attention heads (default: 8)")
    parser.add_argument("--global-convs", type=int, default=3, help="strided convolutions below the last level (default: 3)")
    number = lambda name, text: parser.add_argument(
        f"--{name}", type=float, default=getattr(SDMPlan, name), help=f"{text} (default: {getattr(SDMPlan, name):g})"
    )
    parser.add_argument("--masks", choices=list(SHAPES), default=SDMPlan.masks, help=f"default: {SDMPlan.masks}, as in the paper")
    iterations = ",".join(map(str, SDMPlan.iterations))
    parser.add_argument("--iterations", default=iterations, help=f"what a step picks its number of iterations from (default: {iterations})")
    parser.add_argument(
        "--schedule",
        choices=list(SCHEDULES),
        default=SDMPlan.schedule,
        help=f"of the mask (default: {SDMPlan.schedule})",
    )
    number("alpha", "noise of continuous sampling; 0 turns it off (ablation)")
    number("anchor", "how far predictions are shifted to meet the known pixels, 0 (as in the paper) to 1")
    number("adversary", "weight of the adversarial loss")
    number("likelihood", "weight of the negative log-likelihood, which trains the variance")
    number("features", "weight of the perceptual loss, or of feature matching")
    number("colours", "weight of the L1 loss")
    parser.add_argument(
        "--perceptual",
        type=Path,
        metavar="FILE",
        help="weights of a ResNet50 for the perceptual loss (the paper's: ADE20K's dilated encoder); "
        "default: matching of the discriminator's features",
    )
    parser.add_argument("--init", help="the SDM network to start from, of the same architecture")
    _add_precision(parser, ["float32", "bfloat16"])
    parser.add_argument("--no-dpm", action="store_true", help="without decoupled probabilistic modelling (ablation)")
    parser.add_argument("--no-guided-attention", action="store_true", help="without the uncertainty in the attention (ablation)")


def _add_precision(parser: argparse.ArgumentParser, choices: list[str]) -> None:
    parser.add_argument(
        "--precision",
        choices=choices,
        default="float32",
        help="bfloat16: about twice as fast on GPUs and on CPUs with AMX; on other CPUs as fast or slower (default: float32)",
    )
