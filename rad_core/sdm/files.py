"""SDM networks in and out: one safetensors file, with the architecture in its metadata."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..atomic import write_whole
from ..checkpoints import METADATA_KEY, WEIGHTS, CheckpointError, json_object, read_tensors
from .network import Generator, SDMConfig

SUFFIX = ".sdm.safetensors"  # of the bundled ones


def bundled_sdms() -> list[str]:
    """Names of the SDM networks that come with the package."""
    return sorted(p.name.removesuffix(SUFFIX) for p in WEIGHTS.glob("*" + SUFFIX))


def load_sdm(path: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Generator:
    """Load an SDM network.

    Args:
        path: a .safetensors file, or the name of a bundled network such as "landscapes".
        dtype, device: of the network returned.

    Returns:
        the generator, in eval mode.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: not an SDM network, damaged, or of another width than it says.
    """
    tensors, metadata = read_tensors(path := _resolve(path))
    described = json_object(metadata.get(METADATA_KEY, "{}"), f"the description in {path.name}").get("sdm")
    if not isinstance(described, dict):
        raise CheckpointError(f"{path.name} is not an SDM network ({len(tensors)} tensors, such as '{next(iter(tensors))}').")
    try:
        config = SDMConfig(**described | {name: tuple(described[name]) for name in ("widths", "attention")})
        with torch.device("meta"):
            net = Generator(config)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError, ArithmeticError):
        raise CheckpointError(f"{path.name}: its description of the network is not one of an SDM network.") from None
    for name, wanted in net.state_dict().items():
        if name not in tensors:
            raise CheckpointError(f"{path.name} is not a whole SDM network: '{name}' is missing.")
        if tensors[name].shape != wanted.shape:
            raise CheckpointError(f"{path.name}: '{name}' has shape {tuple(tensors[name].shape)}, expected {tuple(wanted.shape)}.")
        if not torch.isfinite(tensors[name]).all():
            raise CheckpointError(f"{path.name}: '{name}' has NaN or infinite values.")
    net.load_state_dict({name: tensors[name].float() for name in net.state_dict()}, assign=True)
    return net.to(device, dtype, memory_format=torch.channels_last).requires_grad_(False).eval()


def save_sdm(net: Generator, path: str | Path, dtype: torch.dtype | None = None, note: str = "") -> None:
    """Write a generator.

    Raises:
        ValueError: the file cannot be written.
    """
    metadata = {METADATA_KEY: json.dumps({"sdm": asdict(net.config), "note": note}), "format": "pt"}
    state = {k: v.detach().to("cpu", dtype or v.dtype).contiguous() for k, v in net.state_dict().items()}
    write_whole(path, lambda temporary: save_file(state, temporary, metadata))


def inspect_sdm(path: str | Path) -> dict:
    """What an SDM file is, for the `info` command. Raises as `load_sdm`."""
    net, path = load_sdm(path), _resolve(path)
    note = json_object(read_tensors(path)[1][METADATA_KEY], path.name).get("note", "")
    parameters = sum(p.numel() for p in net.parameters())
    return {"file": path.name, "method": "SDM", "parameters": parameters, **asdict(net.config), "note": note}


def _resolve(path: str | Path) -> Path:
    given, bundled = Path(path), WEIGHTS / f"{path}{SUFFIX}"
    if given.is_file():
        return given
    if given.name == str(path) and bundled.is_file():
        return bundled
    raise FileNotFoundError(
        f"There is no SDM file {path}, and no bundled one of that name (there are: {', '.join(bundled_sdms()) or 'none'})."
    )
