"""`bench`: every method side by side, on the same networks, pictures and holes."""

import argparse
from importlib.util import find_spec
from pathlib import Path

import torch
from tqdm import tqdm

from ..bench.features import JUDGES
from ..bench.methods import ABLATED, ABLATION, METHODS, Networks
from ..bench.runs import MASKS, Pictures, check_settings, fill, missing, plan, present
from ..bench.timing.other_program import load_other

REPORT_NEEDS = {"matplotlib": "matplotlib", "scikit-learn": "sklearn"}
HELP = "compare RAD, GradPaint, SDM and other methods on the same networks, pictures and holes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = lambda text: [name for name in text.split(",") if name]
    parser.add_argument("-o", "--output", type=Path, default=Path("bench"), help="folder of the fills and the report (default: bench)")
    parser.add_argument("--methods", type=names, help=f"separated by commas (default: all): {', '.join(METHODS)}")
    parser.add_argument("--masks", type=names, default=list(MASKS), help=f"separated by commas (default: {','.join(MASKS)})")
    parser.add_argument("-n", "--count", type=int, default=14, help="pictures under each kind of mask (default: 14)")
    parser.add_argument("--few", type=int, default=4, help="so many of them by the methods of thousands of calls (default: 4)")
    parser.add_argument("--again", type=int, default=1, help="so many of them twice, for the diversity (default: 1)")
    parser.add_argument("--data", type=Path, help="a folder of pictures, their middle squares resized to the network (default: landscapes)")
    parser.add_argument("--model", default="landscapes", help="a network file or folder, or a bundled one (default: landscapes)")
    parser.add_argument("--adapter", default="landscapes", help="its RAD adapter (default: landscapes)")
    parser.add_argument(
        "--ablation",
        type=Path,
        nargs=2,
        metavar=("WITH", "WITHOUT"),
        help="adapters trained as long, without and with `train rad --one-level` (only the bundled network has them by itself)",
    )
    parser.add_argument("--sdm", default="landscapes", help="an SDM network (default: landscapes)")
    parser.add_argument(
        "--judge",
        choices=list(JUDGES),
        default="scene",
        help="whose features are compared: scene, which reads drawn landscapes, or published: Inception and LPIPS (default: scene)",
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=200,
        help="how often the pictures are drawn anew for an interval; take fewer with published (default: 200)",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="of the tables of speed, in which all sides take turns; 0 for none (default: 3)"
    )
    parser.add_argument(
        "--other",
        type=Path,
        metavar="FILE.py",
        help="another program for the tables of speed, such as the RAD authors': its function network() returns one, called as net(x, t)",
    )
    parser.add_argument("--batch", type=int, default=8, help="pictures filled at once, and kept together (default: 8)")
    parser.add_argument("--report", action="store_true", help="fill nothing: write the report of what is there so far")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda, cpu ... (default: the GPU if there is one)"
    )


def run(options: argparse.Namespace) -> None:
    options.ablation = options.ablation or (ABLATION if options.model == "landscapes" else None)
    options.methods = [m for m in METHODS if options.ablation or m not in ABLATED] if options.methods is None else options.methods
    if asked := [method for method in options.methods if method in ABLATED and not options.ablation]:
        raise ValueError(f"{' and '.join(asked)} need two adapters trained for it: give them as --ablation.")
    for name, known in (("methods", METHODS), ("masks", MASKS)):
        if unknown := [word for word in getattr(options, name) if word not in known]:
            raise ValueError(f"There are no {name} named {', '.join(unknown)}: choose from {', '.join(known)}.")
        if not getattr(options, name):
            raise ValueError(f"--{name} is empty: choose from {', '.join(known)}.")
    for name, least in (("count", 1), ("few", 0), ("again", 0), ("rounds", 0), ("batch", 1), ("draws", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be at least {least}, got {getattr(options, name)}.")
    judge = JUDGES[options.judge](options.device)  # what is not there is told before any work is done
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
        getattr(nets, name)  # loaded now, so that no method's time has it
    state.wait_for_everyone()  # all have seen what is missing before any of it is made
    with tqdm(todo, desc="bench", unit="piece") as bar:
        for piece in bar:
            bar.set_postfix_str(f"{METHODS[piece.method].label} {piece.mask}")
            fill(piece, nets, pictures, options.output)
    state.wait_for_everyone()
    if state.is_main_process:  # when the others have done their work, so that nothing disturbs what is timed
        from ..bench.report import write_report
        from ..bench.timing.side_by_side import kept_speed_tables

        speed = kept_speed_tables(nets, 0 if options.report else options.rounds, options.output, other)
        write_report(present(pieces, options.output), pictures, judge, speed, options)
