"""SDM network files: one safetensors file each, with the architecture in its header."""

from dataclasses import asdict
from pathlib import Path

import torch

from ..checkpoints import METADATA_KEY, CheckpointError, FileKind, json_object, read_header, read_tensors, resolve_file, write_network
from ..denoisers import SDM, check_network
from ..memory import weights_layout
from .network import Generator, SDMConfig

SDM_NETWORK = FileKind("SDM network", ".sdm.safetensors")


def bundled_sdms() -> list[str]:
    """Names of the SDM networks that come with the package."""
    return SDM_NETWORK.bundled()


@torch.inference_mode(False)
def load_sdm(path: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Generator:
    """Load an SDM network.

    Args:
        path: a .safetensors file, or the name of a bundled network such as "landscapes".
        dtype, device: of the network returned.

    Returns:
        the generator, in eval mode.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is not an SDM network, is damaged, or its tensors do not fit the architecture in its header.
    """
    path = resolve_file(path, SDM_NETWORK)
    tensors, header = read_tensors(path)
    architecture = _metadata(header, path).get("sdm")
    if not isinstance(architecture, dict):
        raise CheckpointError(f"{path.name} is not an SDM network ({len(tensors)} tensors, such as '{next(iter(tensors))}').")
    try:
        config = SDMConfig(**architecture | {name: tuple(architecture[name]) for name in ("widths", "attention")})
        with torch.device("meta"):
            net = Generator(config)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError, ArithmeticError):
        raise CheckpointError(f"{path.name}: the architecture in its header is not that of an SDM network.") from None
    for name, expected in net.state_dict().items():
        if name not in tensors:
            raise CheckpointError(f"{path.name} is not a whole SDM network: '{name}' is missing.")
        if tensors[name].shape != expected.shape:
            raise CheckpointError(f"{path.name}: '{name}' has shape {tuple(tensors[name].shape)}, expected {tuple(expected.shape)}.")
        if not torch.isfinite(tensors[name]).all():
            raise CheckpointError(f"{path.name}: '{name}' has NaN or infinite values.")
    net.load_state_dict({name: tensors[name].float() for name in net.state_dict()}, assign=True)
    return net.to(device, dtype, memory_format=weights_layout(device)).requires_grad_(False).eval()


def save_sdm(net: Generator, path: str | Path, dtype: torch.dtype | None = None, note: str = "") -> None:
    """Write an SDM network.

    Args:
        dtype: of the tensors in the file; None for the network's own.
        note: any text, such as how the network was trained.

    Raises:
        ValueError: the name does not end in .safetensors, or the file cannot be written.
    """
    check_network(net, *SDM)
    write_network(net, path, {"sdm": asdict(net.config), "note": note}, dtype)


def inspect_sdm(path: str | Path) -> dict:
    """Describe an SDM file, for the `info` command. Raises as `load_sdm`."""
    net, path = load_sdm(path), resolve_file(path, SDM_NETWORK)
    note = _metadata(read_header(path), path).get("note", "")
    parameters = sum(p.numel() for p in net.parameters())
    return {"file": path.name, "method": "SDM", "parameters": parameters, **asdict(net.config), "note": note}


def _metadata(header: dict[str, str], path: Path) -> dict:
    return json_object(header.get(METADATA_KEY, "{}"), f"the metadata of {path.name}")
