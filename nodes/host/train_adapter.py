"""The run behind *Train RAD Adapter*: from a MODEL and pictures to an adapter file.

Training works on a copy of the MODEL's network: the host's own is only read, so nothing of a run stays behind in it.
"""

import gc
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import comfy.model_management
import folder_paths
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Subset

from ...rad_core import UNet
from ...rad_core.adapter_files import PEFT, AdapterMetadata, fingerprint
from ...rad_core.adapters import add_adapter, save_adapter
from ...rad_core.noise import seeded
from ...rad_core.sheets import draw_sheet, mark_hole
from ...rad_core.training.buckets import split
from ...rad_core.training.data import Crops, MaskSource, mask_source
from ...rad_core.training.diffusion import DiffusionTraining, LoadBatch, TrainingPlan, pictures_of
from ...rad_core.training.log import Log, loss_curve
from ...rad_core.training.loop import Stage, memory_format, train
from ...rad_core.training.samples import COUNT, holes, sample_columns
from ...rad_core.training.store import TensorStore
from .adapters import with_adapter, write_latent_adapter
from .adm import ADMModel, check_class
from .flow_training import FlowNetwork, FlowPictures, fill_flow, in_training, token_masks
from .folders import adapter_file, remember
from .latent_training import (
    LATENT_SIZE,
    LATENT_TARGETS,
    LATENT_TIME_LAYERS,
    LatentNetwork,
    collate_conds,
    decode,
    encode_pictures,
    fill_latents,
)
from .run import is_oom
from .token_levels import family_name
from .trainable import copy_of, prediction_of, schedule_of
from .training_view import watcher


@dataclass(frozen=True)
class TrainingSettings:
    """What the user of the node sets.

    Args:
        size: of the training pictures, 0 for the network's own.
        buckets: pictures of latent models keep their shape (see `rad_core.training.buckets`).
    """

    steps: int
    batch_size: int
    rank: int
    learning_rate: float
    size: int
    masks: str
    flip: bool
    precision: str
    checkpointing: bool
    save_every: int
    seed: int
    optimiser: str = "adamw"
    buckets: bool = False


@dataclass
class Run:
    """A network under training, its data, and what is made of it on the way."""

    net: nn.Module  # wrapped by PEFT
    load_batch: LoadBatch
    mask_scale: int  # pixels of a picture for one of x0
    shown: list[tuple[str, Tensor]]  # columns of a sample sheet: pictures and holes
    columns: Callable[[], list[tuple[str, Tensor]]]  # the same with the fills
    save: Callable[[Path, str, AdapterMetadata], None]


def adapter_path(model, name: str, resume: bool) -> Path:
    """The file for a MODEL's new adapter.

    Raises:
        ValueError: a name that is empty or a path, or that of an adapter which the run would replace.
    """
    path = adapter_file(name, latent=not isinstance(model.model, ADMModel))
    if path.exists() and not (resume and path.with_suffix(".state").exists()):
        advice = "switch resume on to continue its run" if path.with_suffix(".state").exists() else "move its file away"
        raise ValueError(f"There is already an adapter named '{path.stem}': choose another adapter name, or {advice}.")
    return path


def train_adapter(
    model,
    pictures: Sequence[Tensor],
    settings: TrainingSettings,
    path: Path,
    resume: bool,
    vae=None,
    prompts: Sequence[list] = (),
    captions: Sequence[str] = (),
) -> tuple[object, Tensor, Tensor]:
    """Train a RAD adapter for a MODEL and write it.

    Args:
        pictures: (3, H, W) each, uint8 or in [0, 1].
        path: the .safetensors file, from `adapter_path`, which refuses one that is there already; beside it are written the run's log
            (.csv) and what it needs to resume (.state).
        resume: continue the run that left its state there, if any.
        vae: of a latent model.
        prompts: CONDITIONINGs, one for all pictures or one for each. A class-conditional ADM network's label is in the first.
        captions: the texts that they were made of, if any; a run resumes on the same ones alone.

    Returns:
        the MODEL with the adapter on it, the loss curve and a sheet of samples, both IMAGE.

    Raises:
        ValueError: something is missing, does not fit, or cannot be written. CheckpointError, FloatingPointError: as `train`.
        MemoryError: a slice of a batch does not fit into memory.
    """
    precision = settings.precision
    if precision == "auto":
        precision = "float32" if comfy.model_management.get_torch_device().type == "cpu" else "bfloat16"
    settings = replace(settings, precision=precision)
    adm = isinstance(model.model, ADMModel)
    size = settings.size or (model.model.diffusion_model.config.image_size if adm else LATENT_SIZE)
    room = comfy.model_management.get_free_memory(torch.device("cpu")) // 4
    temporary = Path(folder_paths.get_temp_directory())
    temporary.mkdir(parents=True, exist_ok=True)
    with TensorStore(room, temporary) as store:
        # encoded in the host's inference mode, which its own networks need
        latents = None if adm else encode_pictures(model, vae, pictures, prompts, size, settings.flip, settings.buckets, store.keep)
        with torch.inference_mode(False), torch.enable_grad(), in_training():
            try:
                curve, sheet = _train_on(model, pictures, latents, settings, size, path, resume, vae, prompts, captions)
            except Exception as error:
                if not is_oom(error):
                    raise
                raise MemoryError(
                    "Training does not fit into the GPU's memory: choose a smaller batch or size, gradient checkpointing, or bfloat16."
                ) from None
            finally:
                gc.collect()  # the trained copy's own layers hold each other, and would stay on the device
                comfy.model_management.soft_empty_cache()
    return with_adapter(model, str(path), 1.0, "Train RAD Adapter"), curve, sheet


def _train_on(
    model,
    pictures: Sequence[Tensor],
    latents: FlowPictures | None,
    settings: TrainingSettings,
    size: int,
    path: Path,
    resume: bool,
    vae,
    prompts: Sequence[list],
    captions: Sequence[str],
) -> tuple[Tensor, Tensor]:
    """Train on pictures, or on their latents where the MODEL has them; the rest is as in `train_adapter`. Returns its two IMAGEs."""
    comfy.model_management.unload_all_models()
    net, base = copy_of(model, settings.precision)
    net.checkpointing = settings.checkpointing
    masks = mask_source(settings.masks)
    if isinstance(net, FlowNetwork):
        masks = token_masks(masks, net.family.patch)
    if latents is None:
        run = _on_pictures(net, base, pictures, settings, size, prompts)
    else:
        run = _on_latents(net, model, vae, latents, settings, masks)
    plan = TrainingPlan(
        [Stage(size // run.mask_scale, settings.steps, settings.batch_size)],
        settings.learning_rate,
        precision=settings.precision,
        seed=settings.seed,
        save_every=settings.save_every,
        optimiser=settings.optimiser,
        prediction=prediction_of(model),
    )
    method = DiffusionTraining(run.net, run.load_batch, plan, schedule_of(model), masks)
    about = AdapterMetadata(fingerprint(base), "the network's own", data=f"{len(pictures)} pictures")
    log = Log(path.with_suffix(".csv"))
    identity = {
        "network": _code(*(str(values) for values in about.base)),
        "patches": _code(*patch_values(model)),
        "pictures": picture_fingerprint(pictures),
        "captions": _code(*captions),
    }
    sheet = _train(run, method, plan, log, path, resume, about, asdict(settings) | {"data": about.data} | identity)
    return _to_tensor(loss_curve(log.rows)).movedim(1, -1), _to_tensor(sheet).movedim(1, -1)


def _train(
    run: Run,
    method: DiffusionTraining,
    plan: TrainingPlan,
    log: Log,
    path: Path,
    resume: bool,
    about: AdapterMetadata,
    settings: dict[str, object],
) -> Image.Image:
    """Train, with the last sample sheet as the node's preview, and return that sheet. settings: what a run resumes with alone."""
    state, sheets = path.with_suffix(".state"), [draw_sheet(run.shown)]
    if not resume:
        state.unlink(missing_ok=True)

    def save() -> None:
        run.save(path, plan.describe(), replace(about, steps=log.step))
        remember(path)
        sheets[:] = [draw_sheet(run.columns())]

    watch = watcher(plan, lambda: sheets[0])
    settings = {name: value for name, value in settings.items() if name not in ("steps", "save_every")}
    train(method, plan, log, save, state, settings, callback=watch)
    return sheets[0]


def picture_fingerprint(pictures: Sequence[Tensor]) -> str:
    """What tells a set of pictures from most others when a run resumes: a sum over every 16th pixel of 8 of them at most."""
    code = 0
    for k in sorted({j * len(pictures) // 8 for j in range(8)}):
        picture = pictures[k][:, ::16, ::16]
        bytes_ = picture if picture.dtype == torch.uint8 else (picture * 255).round().to(torch.uint8)
        code = zlib.crc32(bytes_.cpu().contiguous().numpy().tobytes(), code)
    return f"of fingerprint {code:08x}"


def patch_values(model) -> list[str]:
    """What tells the patches (LoRA, adapters) on a MODEL's network from others: their weights' names, strengths and a few numbers."""
    return [text for key in sorted(model.patches) for patch in model.patches[key] for text in (key, *_numbers(patch[:2]))]


def _numbers(value) -> list[str]:
    """Numbers and texts in a patch, and four values of each of its tensors."""
    if isinstance(value, Tensor):
        return [str(round(float(number), 6)) for number in value.flatten()[:: max(1, value.numel() // 4)][:4]]
    if isinstance(value, (int, float, str)):
        return [str(value)]
    parts = getattr(value, "weights", value)  # of an adapter of the host's
    return [text for part in parts for text in _numbers(part)] if isinstance(parts, (tuple, list)) else []


def _code(*texts: str) -> str:
    return f"of fingerprint {zlib.crc32(repr(texts).encode()):08x}"


def _to_tensor(picture: Image.Image) -> Tensor:
    """(1, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.array(picture)).movedim(2, 0)[None].float() / 255


def _on_pictures(
    net: UNet, base: dict[str, Tensor], pictures: Sequence[Tensor], settings: TrainingSettings, size: int, prompts: Sequence[list]
) -> Run:
    """Training of an ADM network; `base` are its weights without patches."""
    device, label = comfy.model_management.get_torch_device(), _class_label(net.config.num_classes, prompts)
    net = net.to(device, memory_format=memory_format(device, settings.precision))
    net.region_aware = True
    train_on, samples = split([()] * len(pictures))  # all are cropped to squares
    augment = ("flip", "crop") if settings.flip else ("crop",)
    source, unseen = (Crops(Subset(pictures, some), augment, net.config.tiles) for some in (train_on, samples))
    examples = unseen(COUNT, size, 0), holes(mask_source(settings.masks), size, size)
    with seeded(settings.seed):
        trained = add_adapter(net, settings.rank).to(device)
    start = _time_layers(trained)

    def save(path: Path, note: str, about: AdapterMetadata) -> None:
        patched = {}  # time layers with patches on them: what training changed, as if on those without
        for key, before in start.items():
            plain = base[key.removeprefix(PEFT)].float().cpu()
            if not torch.equal(before, plain):
                patched[key] = plain - before
        save_adapter(trained, path, note=note, metadata=replace(about, schedule=net.config.schedule), added=patched)

    shown = [("picture", examples[0]), ("hole", mark_hole(*examples))]
    return Run(trained, pictures_of(source, label), 1, shown, lambda: sample_columns(net, *examples, label), save)


def _class_label(classes: int | None, prompts: Sequence[list]) -> int | None:
    """The label of the pictures' class, where an ADM network draws by class. Raises ValueError if it is missing or out of range."""
    if classes is None:
        return None
    label = prompts[0][0][1].get("class_label") if prompts else None
    check_class(classes, label, "'ADM Conditioning', and connect it to 'positive'")
    return int(label)


def _time_layers(trained: nn.Module) -> dict[str, Tensor]:
    """The layers that PEFT trains in full, by their names in its files, float32 copies on the CPU."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(trained)
    return {key: tensor.detach().to("cpu", torch.float32, copy=True) for key, tensor in tensors.items() if ".lora_" not in key}


def _on_latents(
    net: LatentNetwork | FlowNetwork,
    model,
    vae,
    latents: FlowPictures,
    settings: TrainingSettings,
    masks: MaskSource,
) -> Run:
    """Training of a host U-Net or transformer; `masks` are of the latents' size."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict  # slow to import
    from peft.tuners.lora import Linear

    net, flow = net.to(comfy.model_management.get_torch_device()), isinstance(net, FlowNetwork)
    layers = {"target_modules": net.targets()} if flow else {"target_modules": LATENT_TARGETS, "modules_to_save": LATENT_TIME_LAYERS}
    config = LoraConfig(r=settings.rank, lora_alpha=settings.rank, lora_dropout=0.0, **layers)
    if flow:  # PEFT knows PyTorch's layers alone
        config._register_custom_module(dict.fromkeys(net.linear_kinds(), Linear))
    with seeded(settings.seed):
        trained = get_peft_model(net, config)
    for p in trained.parameters():
        if p.requires_grad:
            p.data = p.data.float()
    start = _time_layers(trained)
    train_on, samples = split([tuple(x.shape[1:]) for x in latents.latents], COUNT)
    data, examples = latents.only(train_on), latents.only(samples)
    x0, conds = torch.stack([x[0] for x in examples.latents]), examples.conds
    hidden = holes(masks, *x0.shape[-2:])[: len(samples)]
    with torch.inference_mode():
        pictures = decode(model, vae, x0).clone()
    scale = pictures.shape[-1] // x0.shape[-1]
    marked = mark_hole(pictures, hidden.repeat_interleave(scale, 2).repeat_interleave(scale, 3))
    schedule, prediction = schedule_of(model), prediction_of(model)

    def fill() -> Tensor:
        if flow:
            return fill_flow(net, schedule, x0, hidden, conds)
        return fill_latents(net, schedule, prediction, x0, hidden, collate_conds(conds), settings.precision)

    shown = [("picture", pictures), ("hole", marked)]

    def columns() -> list[tuple[str, Tensor]]:
        filled = fill()
        with torch.inference_mode():
            return [*shown, ("filled", decode(model, vae, filled))]

    def save(path: Path, note: str, about: AdapterMetadata) -> None:
        family = family_name(net.net) if flow else ""
        write_latent_adapter(get_peft_model_state_dict(trained), start, settings.rank, path, note, about, family)

    return Run(trained, data.load_batch, scale, shown, columns, save)
