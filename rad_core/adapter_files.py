"""RAD adapter files: LoRA on convolutions and attention, and the time layers in full, as a PEFT folder or one file (RAD 3.4, 4.2)."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import save_file
from torch import Tensor

from .atomic import atomic_write
from .checkpoints import CheckpointError, FileKind, check_name, json_object, read_tensors, resolve_file

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "conv_in", "conv_out", "conv1", "conv2"]
ALL_TARGETS = [*TARGETS, "conv_shortcut"]  # the RAD authors leave out the convolutions beside the blocks; a LoRA there can be trained too
TIME_LAYERS = ["linear_1", "linear_2", "time_emb_proj"]
FOLDER_FILES = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")
FOLDER_OUTPUT = (FOLDER_FILES[0], "adapter_config.json")  # what is written there
ADAPTER = FileKind("adapter", ".adapter.safetensors", FOLDER_FILES)
CONFIG_KEY = "lora_adapter_config"  # PEFT's adapter_config.json, in the header of a single file
ADAPTER_KEY = "rad_adapter"  # AdapterMetadata, in the header
PEFT = "base_model.model."  # what PEFT puts before a tensor's name
_RENAMES = [
    (PEFT, ""),
    ("unet.", ""),
    (".default.", "."),
    (".modules_to_save.", "."),
    (".lora.down.", ".lora_A."),
    (".lora.up.", ".lora_B."),
]


@dataclass(frozen=True)
class AdapterMetadata:
    """How an adapter was trained, as its file records it."""

    base: tuple[float, ...] = ()  # fingerprint of the network it was trained on
    schedule: str = ""  # noise schedule
    steps: int = 0  # of training
    data: str = ""  # what it was trained with
    licence: str = ""


UNKNOWN = AdapterMetadata()


@dataclass
class Adapter:
    """The contents of an adapter file, under the network's own names."""

    name: str  # of the file, for messages
    lora: dict[str, tuple[Tensor, Tensor]]  # weight name -> (A, B)
    time: dict[str, Tensor]  # name of a time layer's parameter -> its value in full
    config: dict  # PEFT's configuration
    note: str = ""
    metadata: AdapterMetadata = UNKNOWN

    @property
    def for_latents(self) -> bool:
        """Whether it is for a host's latent model, which only the host can load."""
        return any(name.startswith("diffusion_model.") for name in self.lora)

    @property
    def rank(self) -> int:
        """Rank of the LoRA."""
        return next(iter(self.lora.values()))[0].shape[0]

    def delta(self, name: str, shape: torch.Size) -> Tensor:
        """What the LoRA adds to a weight: (alpha / rank) B A, float32."""
        a, b = (factor.float() for factor in self.lora[name])
        rank = a.shape[0]
        return self.config.get("lora_alpha", rank) / rank * (b.flatten(1) @ a.flatten(1)).view(shape)


def bundled_adapters() -> list[str]:
    """Names of the adapters that come with the package."""
    return ADAPTER.bundled()


def lora_config(rank: int = 16, alpha: float | None = None, targets: Sequence[str] = TARGETS):
    """PEFT's configuration of a RAD adapter: LoRA on the targets, the time layers trained and saved in full.

    Args:
        rank, alpha: of the LoRA, which is scaled by alpha / rank; None makes alpha the rank.
        targets: kinds of layers, of `ALL_TARGETS`.

    Raises:
        ValueError: a rank below 1, or an unknown target.
    """
    from peft import LoraConfig  # slow to import

    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}.")
    if unknown := [target for target in targets if target not in ALL_TARGETS]:
        raise ValueError(f"Unknown target '{unknown[0]}': choose from {', '.join(ALL_TARGETS)}.")
    return LoraConfig(
        r=rank, lora_alpha=rank if alpha is None else alpha, lora_dropout=0.0, target_modules=list(targets), modules_to_save=TIME_LAYERS
    )


def fingerprint(parameters: dict[str, Tensor], count: int = 64) -> tuple[float, ...]:
    """One value from each of `count` weights spread evenly over a network. Identifies it in any precision, see `same_network`."""
    names = sorted(name for name in parameters if name.endswith("weight"))
    chosen = [parameters[names[k * len(names) // count]].flatten() for k in range(min(count, len(names)))]
    return tuple(round(float(values[len(values) // 2]), 6) for values in chosen)


def same_network(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two fingerprints differ, in the median, by no more than rounding to 8 bits."""
    differences = [abs(x - y) / max(abs(x), abs(y), 1e-6) for x, y in zip(a, b, strict=False)]
    return len(a) == len(b) and (not a or median(differences) <= 0.1)


def other_base_warning(adapter: "Adapter", base: dict[str, Tensor]) -> str:
    """A warning if an adapter was trained on another network of the same shape, else ""; `base` holds this network's parameters."""
    known = adapter.metadata.base
    if not known or same_network(known, fingerprint(base)):
        return ""
    return f"Adapter {adapter.name} was trained on another network of this shape; its fills may not be as good here."


def time_layers_warning(adapter: "Adapter") -> str:
    """A warning if an adapter lacks the time layers, else ""."""
    if adapter.time:
        return ""
    return f"Adapter {adapter.name} lacks the time layers that RAD trains in full; its fills will not be as good as trained."


def write_adapter(adapter: "Adapter", path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write an adapter that was read with `read_adapter`, in the formats of `save_adapter`. Raises as it does."""
    config = adapter.config or lora_config(adapter.rank).to_dict()
    write_tensors(path, peft_tensors(adapter), config, dtype, adapter.note, adapter.metadata)


def peft_tensors(adapter: "Adapter") -> dict[str, Tensor]:
    """An adapter's tensors, under PEFT's names."""
    tensors = {f"{PEFT}{name}": tensor for name, tensor in adapter.time.items()}
    for name, (a, b) in adapter.lora.items():
        stem = f"{PEFT}{name.removesuffix('.weight')}"
        tensors |= {f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}
    return tensors


def write_tensors(
    path: str | Path, tensors: dict[str, Tensor], config: dict, dtype: torch.dtype | None, note: str, metadata: AdapterMetadata
) -> None:
    """Write an adapter: one file if `path` ends in .safetensors, else a PEFT folder.

    Args:
        tensors: under PEFT's names.
        config: PEFT's.
        dtype: of the tensors in the file; None leaves them as they are.

    Raises:
        ValueError: the path ends as another kind of file does, such as in .pt, or cannot be written.
    """
    check_name(path, folder=True)
    text = json.dumps(config, default=lambda v: sorted(v) if isinstance(v, set) else str(v), indent=1)
    tensors = {k: v.detach().to("cpu", dtype or v.dtype).contiguous() for k, v in tensors.items()}
    header = {"format": "pt", "note": note, ADAPTER_KEY: json.dumps(asdict(metadata))}
    path = Path(path)
    if path.suffix == ".safetensors":
        atomic_write(path, lambda temporary: save_file(tensors, temporary, header | {CONFIG_KEY: text}))
    else:
        weights, settings = (path / name for name in FOLDER_OUTPUT)
        atomic_write(weights, lambda temporary: save_file(tensors, temporary, header))
        atomic_write(settings, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def is_adapter(path: str | Path) -> bool:
    """Whether a file or folder is an adapter, not a whole network. False for bundled names, which networks have too."""
    path = Path(path)
    if path.is_dir():
        return any((path / name).is_file() for name in FOLDER_FILES)
    if not path.is_file():
        return False
    names = [_plain(key) for key in read_tensors(path)[0]]
    return any(".lora_" in name for name in names) and not any(name.endswith(("conv1.weight", "base_layer.weight")) for name in names)


def read_copied(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """As `read_tensors`, with the tensors copied out of the file: Windows refuses to replace one that is still mapped into memory, as a
    training that goes on does.
    """
    tensors, header = read_tensors(file)
    return {name: tensor.clone() for name, tensor in tensors.items()}, header


def read_adapter(path: str | Path) -> Adapter:
    """Read an adapter: a PEFT folder, our single file, the RAD authors' pytorch_lora_weights.safetensors, or a bundled name.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or is not an adapter.
    """
    file = resolve_file(path, ADAPTER)
    tensors, header = read_copied(file)
    config_file = file.parent / FOLDER_OUTPUT[1]
    beside = file.name in FOLDER_FILES and config_file.is_file()
    text = header.get(CONFIG_KEY) or (config_file.read_text("utf-8", errors="replace") if beside else "{}")
    config = json_object(text, f"the configuration of adapter {file.name}")
    tensors, lora, time = {_plain(key): tensor for key, tensor in tensors.items()}, {}, {}
    for name, tensor in tensors.items():
        if name.endswith(".lora_A.weight"):
            partner = name.replace(".lora_A.", ".lora_B.")
            if partner not in tensors:
                raise CheckpointError(f"Adapter {file.name} is damaged: {partner} is missing.")
            lora[name.replace(".lora_A.", ".")] = (tensor, tensors[partner])
        elif not name.endswith(".lora_B.weight"):
            time[name] = tensor
    if not lora:
        raise CheckpointError(f"{file.name} is not an adapter: it has no LoRA tensors.")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise CheckpointError(f"Adapter {file.name} has NaN or infinite values.")
    if unknown := [key for key in ("use_rslora", "use_dora", "alpha_pattern") if config.get(key)]:
        raise CheckpointError(f"Adapter {file.name} uses {unknown[0]}, which is not supported; train it as plain LoRA.")
    return Adapter(Path(path).name, lora, time, config, header.get("note", ""), adapter_metadata(header, file.name))


def adapter_metadata(header: dict[str, str], name: str) -> AdapterMetadata:
    """How an adapter was trained, from the header of a safetensors file called `name`.

    Raises:
        CheckpointError: the metadata cannot be read.
    """
    known = {field.name: type(field.default) for field in fields(AdapterMetadata)}
    values = json_object(header.get(ADAPTER_KEY, "{}"), f"the metadata of adapter {name}")
    try:
        return AdapterMetadata(**{key: kind(values[key]) for key, kind in known.items() if key in values})
    except (TypeError, ValueError):
        raise CheckpointError(f"The metadata of adapter {name} has values of the wrong type.") from None


def _plain(key: str) -> str:
    """A tensor's name in any convention (PEFT in memory or on file, old diffusers) -> `layer.lora_A.weight` or `layer.weight`."""
    for old, new in _RENAMES:
        key = key.replace(old, new)
    return key
