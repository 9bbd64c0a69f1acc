"""`convert`: convert any network or adapter file to our safetensors."""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from ..adapter_files import is_adapter, read_adapter, write_adapter
from ..adapters import adapter_to_new, extract_adapter, load_adapter
from ..checkpoints import check_name, load_model, read_note, save_model
from .paths import check_new, check_outputs

HELP = "convert a network (.pt, diffusers, the RAD authors' file), with adapters merged if you like, or an adapter to safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a network or adapter, file or folder, or a bundled network's name")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--adapter", action="append", default=[], help="RAD adapter to merge into the network; repeat to stack")
    parser.add_argument("--attention-order", choices=["auto", "legacy", "new"], default="auto", help="of the input file (default: auto)")
    parser.add_argument("--base", help="for an adapter trained on this network with its legacy attention order ignored: correct it")
    parser.add_argument("--extract", metavar="BASE", help="write what the network has learnt beyond BASE, as an adapter")
    parser.add_argument("--rank", type=int, help="of the adapter that --extract writes (default: 32)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="of the output (default: float32)")


def run(options: argparse.Namespace) -> None:
    check_name(options.output)
    check_outputs([options.output], [options.model, *options.adapter, options.base, options.extract])
    check_new([options.output])
    if options.rank is not None and not options.extract:
        raise ValueError("Leave out --rank: that is for the adapter that --extract writes.")
    dtype = getattr(torch, options.dtype)
    if is_adapter(options.model):
        if options.adapter or options.attention_order != "auto" or options.extract:
            raise ValueError(f"{Path(options.model).name} is an adapter: --adapter, --attention-order and --extract are for networks.")
        adapter = read_adapter(options.model)
        if adapter.for_latents:
            raise ValueError(f"{adapter.name} is an adapter for a latent model; ComfyUI loads it without conversion.")
        if options.base:
            adapter = adapter_to_new(adapter, load_model(options.base))
        write_adapter(adapter, options.output, dtype)
        print(f"Wrote {options.output}.")
        return
    if options.base:
        raise ValueError("--base is for adapters; for a network use --attention-order.")
    net = load_model(options.model, attention_order=options.attention_order)
    for adapter in options.adapter:
        load_adapter(net, adapter)
    note = read_note(options.model) or f"converted from {Path(options.model).name}"
    if options.extract:
        adapter, share = extract_adapter(net, load_model(options.extract), 32 if options.rank is None else options.rank)
        write_adapter(replace(adapter, note=note), options.output, dtype)
        print(f"Wrote {options.output}, an adapter of rank {adapter.rank} that holds {share:.1%} of what the weights have learnt.")
        return
    save_model(net, options.output, dtype, note)
    print(f"Wrote {options.output}.")
