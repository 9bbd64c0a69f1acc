"""`bench`: compare all methods on the same networks, pictures and holes."""

import argparse
from importlib.util import find_spec
from pathlib import Path

import torch
from tqdm import tqdm

from ..bench.features import FEATURE_EXTRACTORS
from ..bench.methods import ABLATED, ABLATION, METHODS, Networks
from ..bench.runs import MASKS, Pictures, check_settings, fill, missing, plan, present
from ..bench.scores import DRAWS
from ..bench.timing.other_program import load_other

REPORT_NEEDS = {"matplotlib": "matplotlib", "scikit-learn": "sklearn"}  # packages and their modules
HELP = "compare RAD, GradPaint, SDM and other methods on the same networks, pictures and holes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = lambda text: [name for name in text.split(",") if name]
    parser.add_argument("-o", "--output", type=Path, default=Path("bench"), help="folder for the fills and the report (default: bench)")
    parser.add_argument("--methods", type=names, help=f"comma-separated (default: all): {', '.join(METHODS)}")
    parser.add_argument("--masks", type=names, default=list(MASKS), help=f"comma-separated (default: {','.join(MASKS)})")
    parser.add_argument("-n", "--count", type=int, default=14, help="pictures per kind of mask (default: 14)")
    parser.add_argument("--few", type=int, default=4, help="pictures for methods of thousands of network calls (default: 4)")
    parser.add_argument("--again", type=int, default=1, help="pictures to fill twice, to measure diversity (default: 1)")
    parser.add_argument("--data", type=Path, help="a folder of pictures, center-cropped to the network's size (default: drawn landscapes)")
    parser.add_argument("--model", default="landscapes", help="a network file or folder, or a bundled one (default: landscapes)")
    parser.add_argument("--adapter", default="landscapes", help="its RAD adapter (default: landscapes)")
    parser.add_argument(
        "--ablation",
        type=Path,
        nargs=2,
        metavar=("WITH", "WITHOUT"),
        help="two adapters trained equally long, without and with `train rad --one-level`: with and without a noise level per pixel "
        "(default: those of the bundled network, in a checkout of the repository)",
    )
    parser.add_argument("--sdm", default="landscapes", help="an SDM network (default: landscapes)")
    parser.add_argument(
        "--features",
        choices=list(FEATURE_EXTRACTORS),
        default="scene",
        help="what distances are measured with: scene, which reads drawn landscapes, or published: Inception and LPIPS (default: scene)",
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=DRAWS,
        help=f"bootstrap draws per confidence interval; published features need fewer (default: {DRAWS})",
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each speed measurement; 0 for none (default: 3)")
    parser.add_argument(
        "--other",
        type=Path,
        metavar="FILE.py",
        help="another program for the speed tables, such as the RAD authors': its network() returns a network, called as net(x, t)",
    )
    parser.add_argument("--batch", type=int, default=8, help="pictures filled at once and kept in one file (default: 8)")
    parser.add_argument("--report", action="store_true", help="fill nothing: report on the fills so far")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda, cpu ... (default: the GPU if there is one)"
    )


def run(options: argparse.Namespace) -> None:
    if options.ablation is None and options.model == "landscapes" and all(path.is_file() for path in ABLATION):
        options.ablation = ABLATION
    check_options(options)
    extractor = FEATURE_EXTRACTORS[options.features](options.device)  # fail early if its weights are missing
    other = load_other(options.other) if options.other else None
    if absent := [package for package, module in REPORT_NEEDS.items() if find_spec(module) is None]:
        raise ValueError(f"The report needs {' and '.join(absent)}: pip install {' '.join(absent)}.")
    from accelerate import PartialState  # slow to import; shares the pieces among the processes of `accelerate launch`

    state = PartialState(cpu=options.device == "cpu")
    if state.num_processes > 1:
        options.device = state.device
    nets = Networks(options.model, options.adapter, options.sdm, options.device, options.ablation)
    size = nets.plain.config.image_size
    pictures = Pictures.load(options.data, options.count, size)
    settings = {name: getattr(options, name) for name in ("model", "adapter", "sdm")} | {"size": size, "data": str(options.data)}
    settings["ablation"] = [path.name for path in options.ablation or ()]
    with state.main_process_first():
        check_settings(settings, options.output)
    pieces = plan(options.methods, options.masks, options.count, options.few, options.again, options.batch)
    todo = [] if options.report else list(missing(pieces, options.output))[state.process_index :: state.num_processes]
    for name in sorted({name for piece in todo for name in METHODS[piece.method].needs}):
        getattr(nets, name)  # load it now, so that no method's time includes it
    state.wait_for_everyone()  # every process lists the missing pieces before any of them is written
    with tqdm(todo, desc="bench", unit="piece") as bar:
        for piece in bar:
            bar.set_postfix_str(f"{METHODS[piece.method].label} {piece.mask}")
            fill(piece, nets, pictures, options.output)
    state.wait_for_everyone()
    if state.is_main_process:  # once the others are idle, so that they do not disturb the timing
        from ..bench.report import write_report
        from ..bench.timing.side_by_side import kept_speed_tables

        speed = kept_speed_tables(nets, 0 if options.report else options.rounds, options.output, other)
        write_report(present(pieces, options.output), pictures, extractor, speed, options)


def check_options(options: argparse.Namespace) -> None:
    """Check the options, and fill in the default methods.

    Raises:
        ValueError: an unknown name, an empty list, a number out of range, or methods whose networks are missing.
    """
    if options.methods is None:
        options.methods = [method for method in METHODS if options.ablation or method not in ABLATED]
    if lacking := [method for method in options.methods if method in ABLATED and not options.ablation]:
        raise ValueError(f"{' and '.join(lacking)} need two adapters trained for the comparison: give them as --ablation.")
    for name, known in (("methods", METHODS), ("masks", MASKS)):
        setattr(options, name, list(dict.fromkeys(getattr(options, name))))
        if unknown := [word for word in getattr(options, name) if word not in known]:
            raise ValueError(f"There are no {name} named {', '.join(unknown)}: choose from {', '.join(known)}.")
        if not getattr(options, name):
            raise ValueError(f"--{name} is empty: choose from {', '.join(known)}.")
    for name, least in (("count", 1), ("few", 0), ("again", 0), ("rounds", 0), ("batch", 1), ("draws", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be at least {least}, got {getattr(options, name)}.")
