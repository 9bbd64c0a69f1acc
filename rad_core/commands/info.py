"""`info`: describe a network or adapter file."""

import argparse
from collections.abc import Callable
from dataclasses import asdict

from ..adapter_files import CONFIG_KEY, bundled_adapters, read_adapter
from ..checkpoints import CheckpointError, bundled_networks, inspect
from ..sdm import bundled_sdms, inspect_sdm

HELP = "describe a network or adapter file; without a file, list the bundled ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", help="a network or adapter file or folder, or a bundled name")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--adapter", action="store_true", help="where several bundled files have the name: describe the adapter")
    kind.add_argument("--sdm", action="store_true", help="where several bundled files have the name: describe the SDM network")


def run(options: argparse.Namespace) -> None:
    if options.file is None:
        print("Bundled networks: " + ", ".join(bundled_networks()))
        print("Bundled adapters: " + ", ".join(bundled_adapters()))
        print("Bundled SDM networks: " + ", ".join(bundled_sdms()))
        return
    kinds = [inspect, describe_adapter, inspect_sdm]
    first = describe_adapter if options.adapter else inspect_sdm if options.sdm else inspect
    for key, value in describe(options.file, sorted(kinds, key=lambda kind: kind is not first)).items():
        value = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
        print(f"{key.replace('_', ' '):>20}  {value}")


def describe(file: str, kinds: list[Callable[[str], dict]]) -> dict:
    """Describe a file as the first kind that it can be.

    Raises:
        CheckpointError, FileNotFoundError: it is of no kind; the message is that of the first.
    """
    for kind in kinds:
        try:
            return kind(file)
        except (CheckpointError, FileNotFoundError):
            pass
    return kinds[0](file)


def describe_adapter(file: str) -> dict:
    """What is known of an adapter. Raises as `read_adapter`."""
    adapter = read_adapter(file)
    origin = {name: value for name, value in asdict(adapter.metadata).items() if value and name != "base"}
    return {
        "adapter": adapter.name,
        "for": "a latent model of ComfyUI" if adapter.for_latents else "a pixel-space network",
        "rank": adapter.rank,
        "alpha": adapter.config.get("lora_alpha", adapter.rank),
        "LoRA layers": len(adapter.lora),
        "time layers": f"{len(adapter.time)} tensors" if adapter.time else "none: not enough for RAD alone",
        **origin,
        "PEFT configuration": "yes" if adapter.config else f"none (no adapter_config.json and no {CONFIG_KEY})",
    }
