"""Network files: guided-diffusion's `.pt`, diffusers folders and files, the RAD authors' single-file checkpoint, our own.

Files from strangers are data: `.pt` is read with weights_only, nothing is ever unpickled. Tensors get diffusers' names, the
architecture is read from names and shapes, and what shapes do not show comes from a table of known networks.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .atomic import atomic_write
from .attention_order import legacy_to_new, pick_order
from .denoisers import ADM, check_network
from .formats import from_guided_diffusion, merge_lora, read_architecture
from .memory import out_of_memory, weights_layout
from .notes import note
from .schedule import NoiseSchedule
from .unet import UNet, UNetConfig

WEIGHTS = Path(__file__).parent / "weights"
FOLDER_FILES = ("diffusion_pytorch_model.safetensors", "model.safetensors", "diffusion_pytorch_model.bin")
METADATA_KEY = "rad_core"
NO_FOLDERS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")  # endings of files, in capital letters too


class CheckpointError(ValueError):
    """A file that cannot be used. The message says why, in one sentence."""


@dataclass(frozen=True)
class FileKind:
    """A kind of weights file, and where its files are.

    Args:
        name: for messages.
        suffix: of bundled files, after the name; the name itself has no dot.
        in_folder: what the file may be called in a folder that is given in its place.
    """

    name: str
    suffix: str
    in_folder: tuple[str, ...] = ()

    def bundled(self) -> list[str]:
        """Names of the files that come with the package."""
        names = (path.name.removesuffix(self.suffix) for path in WEIGHTS.glob("*" + self.suffix))
        return sorted(name for name in names if "." not in name)


NETWORK = FileKind("network", ".safetensors", (*FOLDER_FILES, *(f"unet/{name}" for name in FOLDER_FILES)))


def bundled_networks() -> list[str]:
    """Names of the networks that come with the package."""
    return NETWORK.bundled()


def resolve_file(path: str | Path, kind: FileKind) -> Path:
    """Find a weights file: a file's own path, a folder that contains it, or a bundled name such as "landscapes".

    Raises:
        FileNotFoundError: there is no such file.
    """
    path, is_name = Path(path), Path(path).name == str(path)
    candidates = [path, *(path / name for name in kind.in_folder), *([WEIGHTS / f"{path}{kind.suffix}"] if is_name else [])]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None and path.is_dir() and kind.in_folder:
        raise FileNotFoundError(f"The folder {path} holds no {kind.name}: none of {', '.join(kind.in_folder)} is in it.")
    if file is None:
        bundled = ", ".join(kind.bundled()) or "none"
        raise FileNotFoundError(f"There is no {kind.name} file {path}, and no bundled {kind.name} of that name (there are: {bundled}).")
    return file


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a .safetensors or .pt file: its tensors by name, and the metadata of its header ({} for .pt).

    Raises:
        CheckpointError: the file is not a weights file, is cut short, or would run code.
    """
    with open(path, "rb") as f:
        head = f.read(16)
    size = path.stat().st_size
    if not head:
        raise CheckpointError(f"{path.name} is empty.")
    try:
        # A safetensors file starts with the length of its header (8 bytes of any value) and the header's opening brace.
        if head[8:9] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80"):  # torch's zip or old pickle format
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=head[:2] == b"PK")
            for wrapper in ("state_dict", "ema", "model"):
                if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
                    loaded = loaded[wrapper]
            tensors = {k: v for k, v in loaded.items() if isinstance(v, Tensor)} if isinstance(loaded, dict) else {}
            header = {}
        else:
            with safe_open(path, "pt") as f:
                header = f.metadata() or {}
                tensors = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118
    except SafetensorError as error:
        kind = (
            "is cut short or damaged"
            if "ncomplete" in str(error) or "TooLarge" in str(error) or "InvalidOffset" in str(error)
            else "is not a weights file"
        )
        raise CheckpointError(f"{path.name} ({size:,} bytes) {kind}; download it again.") from None
    except Exception as error:  # on bad bytes torch.load raises anything from RuntimeError to UnpicklingError
        if "weights_only" in str(error).lower() or "Unsupported global" in str(error):
            raise CheckpointError(
                f"{path.name} holds more than weights (code or foreign objects) and was not opened. Ask for a .safetensors file."
            ) from None
        if out_of_memory(error):
            raise
        raise CheckpointError(f"{path.name} ({size:,} bytes) is cut short, damaged or not a weights file; download it again.") from None
    if not tensors:
        raise CheckpointError(f"{path.name} holds no tensors.")
    return tensors, header


def read_header(path: Path) -> dict[str, str]:
    """The metadata of a weights file that `read_tensors` reads, without its tensors: {} for .pt."""
    try:
        with safe_open(path, "pt") as f:
            return f.metadata() or {}
    except SafetensorError:
        return {}


@torch.inference_mode(False)  # weights made in inference mode could not be changed outside it, as `load_adapter` does
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
        attention_order: of the q, k, v channels in the file: "legacy" (interleaved by head, guided-diffusion's default), "new",
            or "auto": whichever the file is known to have or, for an unknown file in diffusers' format, the one that denoises
            `image` better.
        num_heads, num_head_channels: override the values of the file or of the table of known networks.
        schedule: "linear" or "cosine", likewise.
        image: (1, 3, H, W) in [0, 1], a picture of the network's domain for "auto"; None for a synthetic landscape.
        dtype, device: of the network returned. Pass the device here rather than move the network, which keeps its layout.
        layers: the module that its layers come from, see `UNet`.

    Returns:
        the network in eval mode, in channels-last layout (a quarter faster on CPUs), or contiguous for Apple's GPUs.
        `net.region_aware` is whether it was trained for RAD.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is not an ADM network, is damaged, or would run code.
        ValueError: an unknown attention order or schedule.
    """
    if attention_order not in ("auto", "legacy", "new"):
        raise ValueError(f"attention_order must be auto, legacy or new, got '{attention_order}'.")
    if schedule:
        NoiseSchedule(schedule)  # raises for a name that it does not know
    path = resolve_file(path, NETWORK)
    state, header = read_tensors(path)
    metadata = json_object(header.get(METADATA_KEY, "{}"), f"the metadata of {path.name}")
    guided = any(k.startswith("input_blocks.") for k in state)
    if all(".lora_" in k or "time" in k for k in state):
        raise CheckpointError(f"{path.name} is an adapter, not a network: load it on the network that it was trained on.")
    foreign = CheckpointError(f"{path.name} is not an ADM network ({len(state)} tensors, such as '{next(iter(state))}').")
    region_aware = bool(metadata.get("region_aware")) or any(".lora_A." in k for k in state)
    folder_config = _folder_config(path)
    try:
        state = from_guided_diffusion(state) if guided else merge_lora(state)
        config = UNetConfig(**metadata["config"]) if "config" in metadata else read_architecture(state, guided, folder_config)
        if config.prediction not in ("eps", "v"):
            raise CheckpointError(f"{path.name} predicts '{config.prediction}', which this version does not know: it knows eps and v.")
        if num_heads or num_head_channels:
            config = replace(config, num_heads=num_heads, num_head_channels=num_head_channels)
        if schedule:
            config = replace(config, schedule=schedule)
        config = replace(config, block_out_channels=tuple(config.block_out_channels), attention=tuple(config.attention))
        net = _build(config, state, path, layers)
    except CheckpointError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        if out_of_memory(error):
            raise
        raise foreign from None
    net.region_aware = region_aware
    known = "new" if "config" in metadata else _known_order(config) if guided else None
    order = attention_order if attention_order != "auto" else known or pick_order(net, image)
    if order == "legacy":
        legacy_to_new(net)
    return net.to(device, dtype, memory_format=weights_layout(device)).requires_grad_(False).eval()


def save_model(net: UNet, path: str | Path, dtype: torch.dtype | None = None, note: str = "") -> None:
    """Write a network as one safetensors file: diffusers' names, "new" attention order, architecture and note in its header.

    Args:
        dtype: of the tensors in the file; None for the network's own.
        note: any text, such as how the network was trained.

    Raises:
        ValueError: the name does not end in .safetensors, or the file cannot be written.
    """
    check_network(net, *ADM)
    metadata = {"config": asdict(net.config), "region_aware": net.region_aware, "note": note}
    write_network(net, path, metadata, dtype)


def check_name(path: str | Path, folder: bool = False) -> None:
    """Check that a weights file is called what is written, NAME.safetensors, or that a folder, if it may be one, is not called a file.

    Raises:
        ValueError: it is called something else.
    """
    path = Path(path)
    if path.suffix != ".safetensors" and (not folder or path.suffix.lower() in NO_FOLDERS):
        raise ValueError(f"The output must end in .safetensors{' or be a folder' if folder else ''}, got {path.name}.")


def write_network(net: nn.Module, path: str | Path, metadata: dict, dtype: torch.dtype | None = None) -> None:
    """Write a network's tensors, and metadata as JSON in the header. Raises as `save_model`."""
    check_name(path)
    state = {k: v.detach().to("cpu", dtype or v.dtype).contiguous() for k, v in net.state_dict().items()}
    header = {METADATA_KEY: json.dumps(metadata), "format": "pt"}
    atomic_write(path, lambda temporary: save_file(state, temporary, header))


def inspect(path: str | Path) -> dict:
    """Describe a network file, for the `info` command. Raises as `load_model`."""
    path = resolve_file(path, NETWORK)
    net = load_model(path, attention_order="new")
    return {
        "file": path.name,
        "bytes": path.stat().st_size,
        "parameters": sum(p.numel() for p in net.parameters()),
        "trained for RAD": net.region_aware,
        **asdict(net.config),
        "note": read_note(path),
    }


def read_note(path: str | Path) -> str:
    """The note in a network file, "" if there is none. Raises as `load_model`, but looks at the header alone."""
    path = resolve_file(path, NETWORK)
    return json_object(read_header(path).get(METADATA_KEY, "{}"), path.name).get("note", "")


def json_object(text: str, name: str) -> dict:
    """Parse a JSON object that comes from a file; `name` says in messages what it is.

    Raises:
        CheckpointError: the text is not valid JSON, or not an object.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} is not a valid JSON object.")
    return value


def _folder_config(path: Path) -> dict:
    """The config.json of a diffusers folder, {} if there is none."""
    config = path.parent / "config.json"
    if path.name not in FOLDER_FILES or not config.is_file():
        return {}
    return json_object(config.read_text("utf-8", errors="replace"), str(config))


def _known_order(config: UNetConfig) -> str:
    """The order of guided-diffusion's files: interleaved by head, except for the 64x64 ImageNet network."""
    return "new" if config.model_channels == 192 and config.num_res_blocks == 3 else "legacy"


def _build(config: UNetConfig, state: dict[str, Tensor], path: Path, layers) -> UNet:
    """Build the network and give it its weights.

    Raises:
        CheckpointError: the tensors do not fit; names the first that does not.
    """
    if config.in_channels != 3 or config.out_channels not in (3, 6):
        raise CheckpointError(
            f"{path.name} takes {config.in_channels} channels and returns {config.out_channels}; RAD needs 3, and 3 or 6."
        )
    name, share = ("num_heads", config.num_heads) if config.num_heads else ("num_head_channels", config.num_head_channels)
    attended = [config.block_out_channels[i] for i in sorted({*config.attention, len(config.block_out_channels) - 1})]
    if share < 1 or any(channels % share for channels in attended):
        raise CheckpointError(f"{path.name}: its attention channels, {attended}, are no multiples of {share}; pass another {name}.")
    with torch.device("meta"):  # names and shapes come from plain layers: a host's may have no weights yet
        wanted, net = UNet(config).state_dict(), UNet(config, layers)
    for name, tensor in wanted.items():
        if name not in state:
            raise CheckpointError(f"{path.name} is not a whole ADM network: '{name}' is missing.")
        if state[name].numel() != tensor.numel():
            raise CheckpointError(f"{path.name}: '{name}' has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}.")
    extra = [name for name in state if name not in wanted]
    if extra:
        note(f"{path.name}: {len(extra)} tensors are not part of an ADM network and were ignored, such as '{extra[0]}'.")
    if bad := next((name for name in wanted if not torch.isfinite(state[name].float()).all()), None):
        raise CheckpointError(f"{path.name}: '{bad}' has NaN or infinite values.")
    net.load_state_dict({name: state[name].float().reshape(tensor.shape) for name, tensor in wanted.items()}, assign=True)
    return net
