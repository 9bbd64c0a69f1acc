"""Network files in and out: guided-diffusion's `.pt`, diffusers folders and files, the RAD authors' one-file checkpoint, our own.

Files from strangers are data: `.pt` is read with weights_only, nothing is ever unpickled. Every file is brought to diffusers'
names, the architecture is read from names and shapes, and what shapes cannot tell comes from a table of known networks.
"""

import json
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .atomic import write_whole
from .attention_order import legacy_to_new, pick_order
from .formats import from_guided_diffusion, merge_lora_names, read_architecture
from .unet import UNet, UNetConfig

WEIGHTS = Path(__file__).parent / "weights"
FOLDER_FILES = ("diffusion_pytorch_model.safetensors", "model.safetensors", "diffusion_pytorch_model.bin")
METADATA_KEY = "rad_core"


class CheckpointError(ValueError):
    """A file that cannot be used, and why, in one sentence."""


def bundled_networks() -> list[str]:
    """Names of the networks that come with the package."""
    return sorted(p.stem for p in WEIGHTS.glob("*.safetensors") if "." not in p.stem)


def resolve(path: str | Path) -> Path:
    """A path as given, or that of a bundled network; a folder stands for the weights file in it.

    Raises:
        FileNotFoundError: neither is there.
    """
    given, bundled = Path(path), WEIGHTS / f"{path}.safetensors"
    if given.is_file():
        return given
    for folder in (given, given / "unet"):
        for name in FOLDER_FILES:
            if (folder / name).is_file():
                return folder / name
    if given.name == str(path) and bundled.is_file():
        return bundled
    if given.is_dir():
        raise FileNotFoundError(f"The folder {given} holds no network: none of {', '.join(FOLDER_FILES)} is in it.")
    raise FileNotFoundError(
        f"There is no network file {path}, and no bundled network of that name (there are: {', '.join(bundled_networks()) or 'none'})."
    )


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """All tensors of a file by name, and its metadata.

    Raises:
        CheckpointError: not a weights file, cut short, or one that would run code.
    """
    with open(path, "rb") as f:
        head = f.read(16)
    size = path.stat().st_size
    if not head:
        raise CheckpointError(f"{path.name} is empty.")
    try:
        # A safetensors file starts with its header's length (8 bytes, of any value) and the header's brace.
        if head[8:9] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80"):  # torch's zip or old pickle format
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=head[:2] == b"PK")
            for wrapper in ("state_dict", "ema", "model"):
                if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
                    loaded = loaded[wrapper]
            tensors = {k: v for k, v in loaded.items() if isinstance(v, Tensor)} if isinstance(loaded, dict) else {}
            metadata = {}
        else:
            with safe_open(path, "pt") as f:
                metadata = f.metadata() or {}
                tensors = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118
    except SafetensorError as error:
        kind = (
            "is cut short or damaged"
            if "ncomplete" in str(error) or "TooLarge" in str(error) or "InvalidOffset" in str(error)
            else "is not a weights file"
        )
        raise CheckpointError(f"{path.name} ({size:,} bytes) {kind}; download it again.") from None
    except Exception as error:  # torch.load raises anything from RuntimeError to UnpicklingError on bad bytes
        if "weights_only" in str(error).lower() or "Unsupported global" in str(error):
            raise CheckpointError(
                f"{path.name} holds more than weights (code or foreign objects) and was not opened. Ask for a .safetensors file."
            ) from None
        if isinstance(error, (MemoryError, KeyboardInterrupt)):
            raise
        raise CheckpointError(f"{path.name} ({size:,} bytes) is cut short, damaged or not a weights file; download it again.") from None
    if not tensors:
        raise CheckpointError(f"{path.name} holds no tensors.")
    return tensors, metadata


def load_model(
    path: str | Path,
    attention_order: str = "auto",
    num_heads: int | None = None,
    num_head_channels: int | None = None,
    schedule: str | None = None,
    image: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    layers=nn,
) -> UNet:
    """Load an ADM network from any of its file formats.

    Args:
        path: a .pt or .safetensors file, a diffusers folder, or the name of a bundled network such as "landscapes".
        attention_order: of the q, k, v channels in the file. "legacy" (interleaved by head, guided-diffusion's default), "new",
            or "auto": what is known of the file, and for a diffusers file of a stranger the one with the smaller error in
            predicting noise on `image`.
        num_heads, num_head_channels: override what the table of known networks or the file says.
        schedule: "linear" or "cosine", likewise.
        image: (1, 3, H, W) in [0, 1], a picture of the network's domain for "auto"; a drawn landscape where None.
        dtype, device: of the network returned.
        layers: what it is built of, see `UNet`.

    Returns:
        the network in eval mode and channels-last layout (a quarter faster here). `net.region_aware` tells whether it is trained for RAD.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: not an ADM network, damaged, or hostile.
        ValueError: an unknown attention order.
    """
    if attention_order not in ("auto", "legacy", "new"):
        raise ValueError(f"attention_order must be auto, legacy or new, got '{attention_order}'.")
    path = resolve(path)
    state, metadata = read_tensors(path)
    ours = json_object(metadata.get(METADATA_KEY, "{}"), f"the description in {path.name}")
    guided = any(k.startswith("input_blocks.") for k in state)
    if all(".lora_" in k or "time" in k for k in state):
        raise CheckpointError(f"{path.name} is an adapter, not a network: give it as the adapter of the network it was trained on.")
    foreign = CheckpointError(f"{path.name} is not an ADM network ({len(state)} tensors, such as '{next(iter(state))}').")
    region_aware = bool(ours.get("region_aware")) or any(".lora_A." in k for k in state)
    folder_config = _folder_config(path)
    try:
        state = from_guided_diffusion(state) if guided else merge_lora_names(state)
        config = UNetConfig(**ours["config"]) if "config" in ours else read_architecture(state, guided, folder_config)
        if num_heads or num_head_channels:
            config = replace(config, num_heads=num_heads, num_head_channels=num_head_channels)
        if schedule:
            config = replace(config, schedule=schedule)
        config = replace(config, block_out_channels=tuple(config.block_out_channels), attention=tuple(config.attention))
        net = _build(config, state, path, layers)
    except CheckpointError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, ArithmeticError):
        raise foreign from None
    net.region_aware = region_aware
    known = "new" if "config" in ours else _known_order(config) if guided else None
    order = attention_order if attention_order != "auto" else known or pick_order(net, image)
    if order == "legacy":
        legacy_to_new(net)
    return net.to(device, dtype, memory_format=torch.channels_last).requires_grad_(False).eval()


def save_model(net: UNet, path: str | Path, dtype: torch.dtype | None = None, note: str = "") -> None:
    """Write our own safetensors: diffusers' names, "new" attention order, architecture and origin in the metadata.

    Raises:
        ValueError: the file cannot be written.
    """
    metadata = {METADATA_KEY: json.dumps({"config": asdict(net.config), "region_aware": net.region_aware, "note": note}), "format": "pt"}
    state = {k: v.detach().to("cpu", dtype or v.dtype).contiguous() for k, v in net.state_dict().items()}
    write_whole(path, lambda temporary: save_file(state, temporary, metadata))


def inspect(path: str | Path) -> dict:
    """What a network file is, for the `info` command. Raises as `load_model`."""
    path = resolve(path)
    net = load_model(path, attention_order="new")
    return {
        "file": path.name,
        "bytes": path.stat().st_size,
        "parameters": sum(p.numel() for p in net.parameters()),
        "trained for RAD": net.region_aware,
        **asdict(net.config),
        "note": json_object(read_tensors(path)[1].get(METADATA_KEY, "{}"), path.name).get("note", ""),
    }


def json_object(text: str, name: str) -> dict:
    """Parse a JSON object from a file of a stranger.

    Raises:
        CheckpointError: `name` is not valid JSON, or no object.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} is not a valid JSON object.")
    return value


def _folder_config(path: Path) -> dict:
    config = path.parent / "config.json"
    if path.name not in FOLDER_FILES or not config.is_file():
        return {}
    return json_object(config.read_text(errors="replace"), str(config))


def _known_order(config: UNetConfig) -> str:
    """guided-diffusion's files interleave by head, all but the 64x64 ImageNet network."""
    return "new" if config.model_channels == 192 and config.num_res_blocks == 3 else "legacy"


def _build(config: UNetConfig, state: dict[str, Tensor], path: Path, layers) -> UNet:
    """The network with its weights, or one sentence that names what does not fit."""
    if config.in_channels != 3 or config.out_channels not in (3, 6):
        raise CheckpointError(f"{path.name} takes {config.in_channels} channels and gives {config.out_channels}; RAD needs 3, and 3 or 6.")
    if config.num_heads is None and any(
        config.block_out_channels[i] % config.num_head_channels for i in {*config.attention, len(config.block_out_channels) - 1}
    ):
        raise CheckpointError(
            f"{path.name}: heads of {config.num_head_channels} channels do not divide the attention's; num_head_channels can be given."
        )
    with torch.device("meta"):  # names and shapes from a plain network: a host's layers may have no weights yet
        wanted, net = UNet(config).state_dict(), UNet(config, layers)
    for name, tensor in wanted.items():
        if name not in state:
            raise CheckpointError(f"{path.name} is not a whole ADM network: '{name}' is missing.")
        if state[name].numel() != tensor.numel():
            raise CheckpointError(f"{path.name}: '{name}' has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}.")
    extra = [name for name in state if name not in wanted]
    if extra:
        warnings.warn(
            f"{path.name}: {len(extra)} tensors are not part of an ADM network and were ignored, such as '{extra[0]}'.", stacklevel=3
        )
    if bad := next((name for name in wanted if not torch.isfinite(state[name].float()).all()), None):
        raise CheckpointError(f"{path.name}: '{bad}' has NaN or infinite values.")
    net.load_state_dict({name: state[name].float().reshape(tensor.shape) for name, tensor in wanted.items()}, assign=True)
    return net
