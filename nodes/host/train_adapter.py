"""The run behind *Train RAD Adapter*: from a MODEL and pictures to an adapter file.

Training works on a copy of the MODEL's network: the host's own is only read, so nothing of a run stays behind in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import comfy.lora
import comfy.model_management
import comfy.model_sampling
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ...rad_core import FlowSchedule, RegionSchedule, UNet
from ...rad_core.adapter_files import AdapterMetadata, fingerprint
from ...rad_core.adapters import add_adapter, save_adapter
from ...rad_core.noise import seeded
from ...rad_core.sheets import draw_sheet, mark_hole
from ...rad_core.training.data import Crops, MaskSource, mask_source
from ...rad_core.training.diffusion import DiffusionTraining, LoadBatch, TrainingPlan, check_label, pictures_of
from ...rad_core.training.log import Log, loss_curve
from ...rad_core.training.loop import Stage, memory_format, train
from ...rad_core.training.samples import COUNT, holes, sample_columns
from .adapters import PREFIX, loaded_weights, with_adapter, write_latent_adapter
from .adm import ADMModel
from .flow_training import FlowNetwork, FlowPictures, fill_flow, flow_schedule, in_training, token_masks
from .folders import adapter_file
from .latent_training import (
    LATENT_SIZE,
    LATENT_TARGETS,
    LATENT_TIME_LAYERS,
    LatentNetwork,
    LatentPictures,
    collate_conds,
    decode,
    encode_pictures,
    fill_latents,
)
from .region_aware import is_unet
from .run import is_oom, progress
from .sampler import betas
from .spatial_embedding import need_unet
from .token_levels import family_name, predicts_velocity


@dataclass(frozen=True)
class TrainingSettings:
    """What the user of the node sets. size: of the training pictures, 0 for the network's own."""

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


@dataclass
class Run:
    """A network under training, its data, and what is made of it on the way."""

    net: nn.Module  # wrapped by PEFT
    load_batch: LoadBatch
    mask_scale: int  # pixels of a picture for one of x0
    columns: Callable[[], list[tuple[str, Tensor]]]  # of a sample sheet
    save: Callable[[Path, str, AdapterMetadata], None]


def adapter_path(model, name: str) -> Path:
    """The file for a MODEL's new adapter. Raises ValueError for a name that is empty or a path."""
    return adapter_file(name, latent=not isinstance(model.model, ADMModel))


def train_adapter(
    model, pictures: Sequence[Tensor], settings: TrainingSettings, path: Path, resume: bool, vae=None, prompts: Sequence[list] = ()
) -> tuple[object, Tensor, Tensor]:
    """Train a RAD adapter for a MODEL and write it.

    Args:
        pictures: (3, H, W) each, uint8 or in [0, 1].
        path: the .safetensors file; beside it are written the run's log (.csv) and what it needs to resume (.state).
        resume: continue the run that left its state there, if any. No other adapter of that name is ever replaced.
        vae: of a latent model.
        prompts: CONDITIONINGs, one for all pictures or one for each. A class-conditional ADM network's label is in the first.

    Returns:
        the MODEL with the adapter on it, the loss curve and a sheet of samples, both IMAGE.

    Raises:
        ValueError: something is missing, does not fit, or cannot be written. CheckpointError, FloatingPointError: as `train`.
        MemoryError: a slice of a batch does not fit into memory.
    """
    if path.exists() and not (resume and path.with_suffix(".state").exists()):
        advice = "switch resume on to continue its run" if path.with_suffix(".state").exists() else "move its file away"
        raise ValueError(f"There is already an adapter named '{path.stem}': choose another adapter_name, or {advice}.")
    precision = settings.precision
    if precision == "auto":
        precision = "float32" if comfy.model_management.get_torch_device().type == "cpu" else "bfloat16"
    settings = replace(settings, precision=precision)
    adm = isinstance(model.model, ADMModel)
    # encoded in the host's inference mode, which its own networks need
    latents = None if adm else encode_pictures(model, vae, pictures, prompts, settings.size or LATENT_SIZE, settings.flip)
    with torch.inference_mode(False), torch.enable_grad(), in_training():
        comfy.model_management.unload_all_models()
        net, base = copy_of(model, precision)
        net.checkpointing = settings.checkpointing
        size = settings.size or (net.config.image_size if adm else LATENT_SIZE)
        masks = mask_source(settings.masks)
        if isinstance(net, FlowNetwork):
            masks = token_masks(masks, net.family.patch)
        run = _on_pictures(net, pictures, settings, size, prompts) if adm else _on_latents(net, model, vae, latents, base, settings, masks)
        plan = TrainingPlan(
            [Stage(size // run.mask_scale, settings.steps, settings.batch_size)],
            settings.learning_rate,
            precision=precision,
            seed=settings.seed,
            save_every=settings.save_every,
            prediction=prediction_of(model),
        )
        method = DiffusionTraining(run.net, run.load_batch, plan, schedule_of(model), masks)
        about = AdapterMetadata(fingerprint(base), "the network's own", data=f"{len(pictures)} pictures")
        log = Log(path.with_suffix(".csv"))
        sheet = _train(run, method, plan, log, path, resume, about, settings)
    return with_adapter(model, str(path), 1.0), _to_tensor(loss_curve(log.rows)).movedim(1, -1), _to_tensor(sheet).movedim(1, -1)


def _train(
    run: Run,
    method: DiffusionTraining,
    plan: TrainingPlan,
    log: Log,
    path: Path,
    resume: bool,
    about: AdapterMetadata,
    settings: TrainingSettings,
) -> Image.Image:
    """Train, with the last sample sheet as the node's preview, and return that sheet."""
    state, sheets = path.with_suffix(".state"), [draw_sheet(run.columns()[:2])]
    if not resume:
        state.unlink(missing_ok=True)

    def save() -> None:
        run.save(path, plan.describe(), replace(about, steps=log.step))
        sheets[:] = [draw_sheet(run.columns())]

    preview = progress(settings.steps)
    run_settings = asdict(settings) | {"base": about.base, "data": about.data}
    run_settings = {name: value for name, value in run_settings.items() if name not in ("steps", "save_every")}
    try:
        train(
            method, plan, log, save, state, run_settings, callback=lambda step, steps, losses: preview(step, steps, _to_tensor(sheets[0]))
        )
    except Exception as error:
        if not is_oom(error):
            raise
        raise MemoryError(
            "Training does not fit into the GPU's memory: choose a smaller batch or size, gradient checkpointing, or bfloat16."
        ) from None
    return sheets[0]


def _to_tensor(picture: Image.Image) -> Tensor:
    """(1, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.array(picture)).movedim(2, 0)[None].float() / 255


def _on_pictures(net: UNet, pictures: Sequence[Tensor], settings: TrainingSettings, size: int, prompts: Sequence[list]) -> Run:
    """Training of an ADM network."""
    device = comfy.model_management.get_torch_device()
    label = prompts[0][0][1].get("class_label") if prompts else None
    label = None if label is None or net.config.num_classes is None else int(label)
    check_label(net.config.num_classes, label)
    net = net.to(device, memory_format=memory_format(device, settings.precision))
    net.region_aware = True
    source = Crops(pictures, ("flip", "crop") if settings.flip else ("crop",), net.config.tiles)
    examples = source(COUNT, size, 0), holes(mask_source(settings.masks), size)
    with seeded(settings.seed):
        trained = add_adapter(net, settings.rank).to(device)
    save = lambda path, note, about: save_adapter(trained, path, note=note, metadata=replace(about, schedule=net.config.schedule))
    return Run(trained, pictures_of(source, label), 1, lambda: sample_columns(net, *examples, label), save)


def _on_latents(
    net: LatentNetwork | FlowNetwork,
    model,
    vae,
    latents: LatentPictures | FlowPictures,
    base: dict[str, Tensor],
    settings: TrainingSettings,
    masks: MaskSource,
) -> Run:
    """Training of a host U-Net or transformer; `masks` are of the latents' size."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict  # slow to import

    data, net, flow = latents.clone(), net.to(comfy.model_management.get_torch_device()), isinstance(net, FlowNetwork)
    targets = {"target_modules": LATENT_TARGETS, "modules_to_save": LATENT_TIME_LAYERS}
    if flow:
        targets = {"target_modules": net.targets()}
    with seeded(settings.seed):
        trained = get_peft_model(net, LoraConfig(r=settings.rank, lora_alpha=settings.rank, lora_dropout=0.0, **targets))
    for p in trained.parameters():
        if p.requires_grad:
            p.data = p.data.float()
    count = min(COUNT, len(data.latents))
    examples = [k * len(data.latents) // count for k in range(count)]
    x0, conds = torch.stack([data.latents[k][0] for k in examples]), [data.conds[k] for k in examples]
    hidden = holes(masks, x0.shape[-1])[:count]
    with torch.inference_mode():
        pictures = decode(model, vae, x0).clone()
    scale = pictures.shape[-1] // x0.shape[-1]
    marked = mark_hole(pictures, hidden.repeat_interleave(scale, 2).repeat_interleave(scale, 3))
    schedule, prediction = schedule_of(model), prediction_of(model)

    def fill() -> Tensor:
        if flow:
            return fill_flow(net, schedule, x0, hidden, conds)
        return fill_latents(net, schedule, prediction, x0, hidden, collate_conds(conds), settings.precision)

    def columns() -> list[tuple[str, Tensor]]:
        filled = fill()
        with torch.inference_mode():
            return [("picture", pictures), ("hole", marked), ("filled", decode(model, vae, filled))]

    def save(path: Path, note: str, about: AdapterMetadata) -> None:
        family = family_name(net.net) if flow else ""
        write_latent_adapter(get_peft_model_state_dict(trained), base, settings.rank, path, note, about, family)

    return Run(trained, data.load_batch, scale, columns, save)


def copy_of(model, precision: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """Copy a MODEL's network for training, a `UNet`, `LatentNetwork` or `FlowNetwork`, and return it with the weights that were loaded.

    Raises:
        ValueError: another kind of MODEL.
    """
    if not (isinstance(model.model, ADMModel) or is_unet(model)):
        return FlowNetwork.of(model), loaded_weights(model)
    if isinstance(model.model, ADMModel):
        plain, merged = weights_of(model)
        net = UNet(model.model.diffusion_model.config)
        net.load_state_dict(merged)
        return net, plain
    unet = need_unet(model, "Train RAD Adapter")
    if unet.in_channels != model.model.latent_format.latent_channels:
        raise ValueError(
            f"This model's network takes {unet.in_channels} channels: besides the latents it is given a picture or a hole (inpainting, "
            "pix2pix, Zero123, upscalers). Train on the plain model instead."
        )
    dtype = torch.float32 if precision == "float32" else torch.bfloat16  # of what is frozen
    return LatentNetwork.of(model, dtype), loaded_weights(model)


def weights_of(model) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A MODEL's weights as they were loaded, and with its patches (LoRA, adapters) merged: float32 copies by name."""
    plain, merged = {}, {}
    for key, ((weight, convert), *patches) in model.get_key_patches(PREFIX).items():
        name = key.removeprefix(PREFIX)
        plain[name] = merged[name] = convert(weight.to("cpu", copy=True), inplace=True).float()
        if patches:
            merged[name] = comfy.lora.calculate_weight(patches, plain[name].clone(), key)
    return plain, merged


def schedule_of(model) -> RegionSchedule | FlowSchedule:
    """RAD's schedule on a MODEL's own noise levels."""
    if predicts_velocity(model.get_model_object("model_sampling")):
        return flow_schedule(model.get_model_object("model_sampling"))
    if isinstance(model.model, ADMModel):
        return RegionSchedule(model.model.schedule)
    return RegionSchedule(betas(model.get_model_object("model_sampling").sigmas.double().cpu()))


def prediction_of(model) -> str:
    """What a MODEL's network predicts: "eps", "v" or "flow"."""
    if predicts_velocity(model.get_model_object("model_sampling")):
        return "flow"
    if isinstance(model.model, ADMModel):
        return model.model.diffusion_model.config.prediction
    return "v" if isinstance(model.get_model_object("model_sampling"), comfy.model_sampling.V_PREDICTION) else "eps"
