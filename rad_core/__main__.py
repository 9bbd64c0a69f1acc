"""The command line: `python -m rad_core` or `rad-inpaint`."""

import argparse
import io
import sys
import warnings

from PIL import Image

from .commands import bench, convert, info, inpaint, masks, train
from .commands.devices import check_device
from .memory import out_of_memory
from .notes import Note
from .photo_files import any_size

EPILOG = """examples:
  rad-inpaint inpaint photo.png --mask mask.png -o filled.png --compare sheet.png
  rad-inpaint inpaint photos/ --mask masks/ -o filled/
  rad-inpaint inpaint exemplar photo.png --mask mask.png -o filled.png --preset best --fills 4 --reference another.png
  rad-inpaint inpaint rad view.png --mask hole.png -o filled.png --model landscapes
  rad-inpaint inpaint gradpaint view.png --mask hole.png -o filled.png --model 256x256_diffusion_uncond.pt
  rad-inpaint inpaint sdm view.png --mask hole.png -o filled.png --uncertainty uncertainty.png
  rad-inpaint masks -o masks/ --kind perlin --size 512 -n 8 --area 40
  rad-inpaint bench -o bench/
  rad-inpaint info 256x256_diffusion_uncond.pt
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rad-inpaint",
        description="Fill holes in pictures, and leave every other pixel bit-identical.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (inpaint, masks, info, convert, train, bench):
        command = commands.add_parser(module.__name__.rpartition(".")[2], help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        the exit status: 0, 1 for a user's error (one sentence on stderr), 130 when interrupted. A wrong option exits with 2, as argparse
        does.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that a file or pipe in an old code page cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if arguments[:1] == ["inpaint"]:
            arguments = ["inpaint", *inpaint.with_method(arguments[1:])]
        options = build_parser().parse_args(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning  # restored by catch_warnings
            warnings.simplefilter("default", Note)
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # from 89 megapixels on
            if hasattr(options, "device"):
                check_device(options.device)
            with any_size(getattr(options, "any_size", False)):
                options.run(options)
    except KeyboardInterrupt:
        print("Interrupted. Unfinished files were not written.", file=sys.stderr)
        return 130
    except (ValueError, OSError, MemoryError, FloatingPointError) as error:
        print(f"Error: {error or 'out of memory'}", file=sys.stderr)
        return 1
    except (RuntimeError, AssertionError) as error:
        if not out_of_memory(error):
            raise
        print("Error: out of memory. Use fewer pictures at once, a smaller --context, or --device cpu.", file=sys.stderr)
        return 1
    return 0


def _print_warning(message: Warning, *_) -> None:
    print(f"Note: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
