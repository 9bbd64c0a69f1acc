"""`info`: say what a network or adapter file is."""

import argparse

from ..adapters import CONFIG_KEY, bundled_adapters, read_adapter
from ..checkpoints import CheckpointError, bundled_networks, inspect

HELP = "say what a network or adapter file is; without a file, list the bundled ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", help="a network or adapter file or folder, or a bundled name")
    parser.add_argument("--adapter", action="store_true", help="look for an adapter of this name first")


def run(options: argparse.Namespace) -> None:
    if options.file is None:
        print("Bundled networks: " + ", ".join(bundled_networks()))
        print("Bundled adapters: " + ", ".join(bundled_adapters()))
        return
    for key, value in (describe_adapter if options.adapter else describe)(options.file).items():
        print(
            f"{key.replace('_', ' '):>20}  {value:,}"
            if isinstance(value, int) and not isinstance(value, bool)
            else f"{key.replace('_', ' '):>20}  {value}"
        )


def describe(file: str) -> dict:
    try:
        return inspect(file)
    except (CheckpointError, FileNotFoundError):
        try:
            return describe_adapter(file)
        except (CheckpointError, FileNotFoundError):
            pass
        raise


def describe_adapter(file: str) -> dict:
    adapter = read_adapter(file)
    rank = next(iter(adapter.lora.values()))[0].shape[0]
    return {
        "adapter": adapter.name,
        "rank": rank,
        "alpha": adapter.config.get("lora_alpha", rank),
        "LoRA layers": len(adapter.lora),
        "time layers": f"{len(adapter.time)} tensors" if adapter.time else "none: not enough for RAD alone",
        "PEFT configuration": "yes" if adapter.config else f"none (no adapter_config.json and no {CONFIG_KEY})",
    }
