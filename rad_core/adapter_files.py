"""RAD adapter files: LoRA on the convolutions and attentions, and the time layers in full, in one PEFT folder or file (RAD 3.4, 4.2)."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from .atomic import write_whole
from .checkpoints import WEIGHTS, CheckpointError, json_object, read_tensors

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "conv_in", "conv_out", "conv1", "conv2"]
TIME_LAYERS = ["linear_1", "linear_2", "time_emb_proj"]
FOLDER_FILES = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")
CONFIG_KEY = "lora_adapter_config"  # adapter_config.json inside a single file's metadata
FACTS_KEY = "rad_adapter"
_SPELLINGS = [
    ("base_model.model.", ""),
    ("unet.", ""),
    (".default.", "."),
    (".modules_to_save.", "."),
    (".lora.down.", ".lora_A."),
    (".lora.up.", ".lora_B."),
]


@dataclass(frozen=True)
class Facts:
    """What a file says of an adapter's making."""

    base: tuple[float, ...] = ()  # the fingerprint of the network it was trained on
    schedule: str = ""
    steps: int = 0
    data: str = ""
    licence: str = ""


UNKNOWN = Facts()


@dataclass
class Adapter:
    """An adapter file in memory, under the network's own names."""

    name: str
    lora: dict[str, tuple[Tensor, Tensor]]  # weight name -> (A, B)
    time: dict[str, Tensor]  # parameter name -> its value in full
    config: dict  # PEFT's
    note: str = ""
    facts: Facts = UNKNOWN

    @property
    def for_latents(self) -> bool:
        """A LoRA file for a latent model of a host, which is not this library's to load."""
        return any(name.startswith("diffusion_model.") for name in self.lora)

    @property
    def rank(self) -> int:
        return next(iter(self.lora.values()))[0].shape[0]

    def delta(self, name: str, shape: torch.Size) -> Tensor:
        """(alpha / rank) B A for a weight, float32."""
        a, b = (part.float() for part in self.lora[name])
        rank = a.shape[0]
        return self.config.get("lora_alpha", rank) / rank * (b.flatten(1) @ a.flatten(1)).view(shape)


def bundled_adapters() -> list[str]:
    """Names of the adapters that come with the package."""
    return sorted(p.name.removesuffix(".adapter.safetensors") for p in WEIGHTS.glob("*.adapter.safetensors"))


def lora_config(rank: int = 16, alpha: float | None = None, targets: Sequence[str] = TARGETS):
    """PEFT's configuration of a RAD adapter: LoRA on the targets, the time layers trained and saved in full.

    Raises:
        ValueError: a rank below 1, or a target that is none of `TARGETS`.
    """
    from peft import LoraConfig  # slow to import

    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}.")
    if unknown := [target for target in targets if target not in TARGETS]:
        raise ValueError(f"Unknown target '{unknown[0]}': choose from {', '.join(TARGETS)}.")
    return LoraConfig(
        r=rank, lora_alpha=rank if alpha is None else alpha, lora_dropout=0.0, target_modules=list(targets), modules_to_save=TIME_LAYERS
    )


def fingerprint(parameters: dict[str, Tensor], count: int = 64) -> tuple[float, ...]:
    """One value from each of `count` weights evenly spread over a network: tells which it is, in any precision (see `same_network`)."""
    names = sorted(name for name in parameters if name.endswith("weight"))
    chosen = [parameters[names[k * len(names) // count]].flatten() for k in range(min(count, len(names)))]
    return tuple(round(float(values[len(values) // 2]), 6) for values in chosen)


def same_network(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two fingerprints differ by no more than rounding to half precision does."""
    difference = sum(abs(x - y) for x, y in zip(a, b, strict=False))
    return len(a) == len(b) and difference <= 0.005 * sum(map(abs, a))


def warn_of_other_base(adapter: "Adapter", base: dict[str, Tensor]) -> str:
    """A sentence where an adapter's file says that it was trained on another network than this of the same shape, else nothing."""
    known = adapter.facts.base
    if not known or same_network(known, fingerprint(base)):
        return ""
    return f"Adapter {adapter.name} was trained on another network of this shape; its fills may not be as good here."


def write_adapter(adapter: "Adapter", path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Save an adapter that was read, of whatever origin, as `save_adapter` does. Raises as it does."""
    config = adapter.config or lora_config(adapter.rank).to_dict()
    write_tensors(path, peft_tensors(adapter), config, dtype, adapter.note, adapter.facts)


def peft_tensors(adapter: "Adapter") -> dict[str, Tensor]:
    """An adapter's tensors under PEFT's names."""
    tensors = {f"base_model.model.{name}": tensor for name, tensor in adapter.time.items()}
    for name, parts in adapter.lora.items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        tensors |= {f"{stem}.lora_{letter}.weight": part for letter, part in zip("AB", parts, strict=True)}
    return tensors


def write_tensors(path: str | Path, tensors: dict[str, Tensor], config: dict, dtype: torch.dtype | None, note: str, facts: Facts) -> None:
    text = json.dumps(config, default=lambda v: sorted(v) if isinstance(v, set) else str(v), indent=1)
    tensors = {k: v.detach().to("cpu", dtype or v.dtype).contiguous() for k, v in tensors.items()}
    metadata = {"format": "pt", "note": note, FACTS_KEY: json.dumps(asdict(facts))}
    path = Path(path)
    if path.suffix == ".safetensors":
        write_whole(path, lambda temporary: save_file(tensors, temporary, metadata | {CONFIG_KEY: text}))
    else:
        write_whole(path / FOLDER_FILES[0], lambda temporary: save_file(tensors, temporary, metadata))
        write_whole(path / "adapter_config.json", lambda temporary: Path(temporary).write_text(text))


def is_adapter(path: str | Path) -> bool:
    """Whether a file or folder is an adapter alone. A bundled name is its network's."""
    given = Path(path)
    if given.is_dir():
        return any((given / name).is_file() for name in FOLDER_FILES)
    if not given.is_file():
        return False
    names = [_plain(key) for key in read_tensors(given)[0]]
    return any(".lora_" in name for name in names) and not any(name.endswith(("conv1.weight", "base_layer.weight")) for name in names)


def read_adapter(path: str | Path) -> Adapter:
    """Read an adapter: PEFT folder, our single file, the RAD authors' pytorch_lora_weights.safetensors, or a bundled name.

    Raises:
        FileNotFoundError: there is nothing of that name.
        CheckpointError: damaged, or not an adapter.
    """
    file = resolve_adapter(path)
    tensors, metadata = read_tensors(file)
    config_file = file.parent / "adapter_config.json"
    text = metadata.get(CONFIG_KEY) or (config_file.read_text(errors="replace") if config_file.is_file() else "{}")
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
    return Adapter(Path(path).name, lora, time, config, metadata.get("note", ""), facts_in(metadata, file.name))


def resolve_adapter(path: str | Path) -> Path:
    """The file of an adapter: a file itself, one in a PEFT folder, or a bundled one by its name.

    Raises:
        FileNotFoundError: there is nothing of that name.
    """
    given = Path(path)
    candidates = [given / name for name in FOLDER_FILES] if given.is_dir() else [given]
    if given.name == str(path):
        candidates.append(WEIGHTS / f"{path}.adapter.safetensors")
    file = next((c for c in candidates if c.is_file()), None)
    if file is None:
        raise FileNotFoundError(
            f"There is no adapter {path}, and no bundled one of that name (there are: {', '.join(bundled_adapters()) or 'none'})."
        )
    return file


def facts_in(metadata: dict, name: str) -> Facts:
    """What a file's metadata says of the adapter's making.

    Raises:
        CheckpointError: it cannot be read.
    """
    known = {field.name: type(field.default) for field in fields(Facts)}
    values = json_object(metadata.get(FACTS_KEY, "{}"), f"what {name} says of its making")
    try:
        return Facts(**{key: kind(values[key]) for key, kind in known.items() if key in values})
    except (TypeError, ValueError):
        raise CheckpointError(f"What {name} says of its making cannot be read.") from None


def _plain(key: str) -> str:
    """An adapter's tensor in any spelling (PEFT in memory, on file, old diffusers) -> `layer.lora_A.weight` or `layer.weight`."""
    for old, new in _SPELLINGS:
        key = key.replace(old, new)
    return key
