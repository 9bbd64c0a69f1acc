"""The command line: `python -m rad_core` or `rad-inpaint`."""

import argparse
import sys
import warnings

from .commands import bench, convert, info, inpaint, masks, train

EPILOG = """examples:
  rad-inpaint inpaint photo.png --mask mask.png -o mended.png --compare sheet.png
  rad-inpaint inpaint photos/ --mask masks/ -o mended/
  rad-inpaint inpaint view.png --mask hole.png -o filled.png --model landscapes
  rad-inpaint inpaint view.png --mask hole.png -o filled.png --method gradpaint --model 256x256_diffusion_uncond.pt
  rad-inpaint inpaint view.png --mask hole.png -o filled.png --method sdm --uncertainty doubt.png
  rad-inpaint masks -o masks/ --kind perlin --size 512 -n 8 --area 40
  rad-inpaint bench -o bench/
  rad-inpaint info 256x256_diffusion_uncond.pt
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rad-inpaint",
        description="Fill holes in pictures with region-aware diffusion.",
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
    """Run a command. Returns the exit status: 0, 1 for a user's error (told in one sentence), 130 when stopped."""
    options = build_parser().parse_args(arguments)
    warnings.showwarning = lambda message, *_: print(f"Note: {message}", file=sys.stderr)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("Stopped. What was under work was not written.", file=sys.stderr)
        return 130
    except (ValueError, OSError, MemoryError, FloatingPointError) as error:
        print(f"Error: {error or 'out of memory'}", file=sys.stderr)
        return 1
    except (RuntimeError, AssertionError) as error:
        if "Torch not compiled with" in str(error) or "xpected one of cpu, cuda" in str(error) or "No CUDA" in str(error):
            print(f"Error: the device '{options.device}' is not there; use --device cpu.", file=sys.stderr)
            return 1
        if "out of memory" not in str(error) and "can't allocate" not in str(error):
            raise
        print("Error: out of memory. Use fewer pictures at once, a smaller --context, or --device cpu.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
