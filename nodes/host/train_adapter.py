"""The run behind *Train RAD Adapter*: from a MODEL and pictures to an adapter file."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import comfy.model_management
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ...rad_core.adapter_files import Facts, fingerprint
from ...rad_core.adapters import add_adapter, save_adapter
from ...rad_core.noise import seeded
from ...rad_core.sheets import draw_sheet, mark_hole
from ...rad_core.training.data import Crops, mask_source, middle
from ...rad_core.training.diffusion import DiffusionTraining, Draw, TrainingPlan, check_label, pictures_of
from ...rad_core.training.log import Log, loss_curve
from ...rad_core.training.loop import Stage, memory_format, train
from ...rad_core.training.samples import COUNT, holes, sample_columns
from .adapters import with_adapter, write_latent_adapter
from .adm import ADMModel
from .run import is_oom, progress
from .training import (
    LATENT_TARGETS,
    LATENT_TIME_LAYERS,
    LatentPictures,
    copy_of,
    decode,
    encode,
    fill_latents,
    gather,
    prediction_of,
    said_of,
    schedule_of,
)

LATENT_SIZE = 512


@dataclass(frozen=True)
class Settings:
    """What the node asks for. size: of the training pictures, 0 for the network's own."""

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
    """What is trained on what, and how its fills look."""

    net: nn.Module  # wrapped by PEFT
    draw: Draw
    mask_scale: int  # pixels of a picture for one of x0
    show: Callable[[], list[tuple[str, Tensor]]]  # columns of a sample sheet
    save: Callable[[Path, str, Facts], None]


def train_adapter(
    model, pictures: Sequence[Tensor], settings: Settings, path: Path, resume: bool, vae=None, said: Sequence[list] = ()
) -> tuple[object, Tensor, Tensor]:
    """
    Args:
        pictures: (3, H, W) each, uint8 or in [0, 1].
        path: the .safetensors file to write; beside it lie the run's log (.csv) and what it needs to go on (.state).
        resume: go on from there, if there is something.
        vae: of a latent model.
        said: CONDITIONINGs of a latent model: one for all pictures, or one for each.

    Returns:
        the MODEL with the adapter on it, the loss curve and a sheet of samples, both IMAGE.

    Raises:
        ValueError: something is missing, does not fit, or cannot be written. CheckpointError, FloatingPointError: as `train`.
        MemoryError: a part of a batch does not fit.
    """
    precision = settings.precision
    if precision == "auto":
        precision = "float32" if comfy.model_management.get_torch_device().type == "cpu" else "bfloat16"
    settings = replace(settings, precision=precision)
    adm = isinstance(model.model, ADMModel)
    given = None if adm else _latents(model, pictures, settings, vae, said)  # in the host's inference mode, which its networks want
    with torch.inference_mode(False), torch.enable_grad():
        net, base = copy_of(model, precision)
        comfy.model_management.unload_all_models()
        device = comfy.model_management.get_torch_device()
        net.checkpointing = settings.checkpointing
        size = settings.size or (net.config.image_size if adm else LATENT_SIZE)
        run = (
            _on_pictures(net, pictures, settings, size, said, device)
            if adm
            else _on_latents(net, model, vae, given, base, settings, device)
        )
        stages = [Stage(size // run.mask_scale, settings.steps, settings.batch_size)]
        plan = TrainingPlan(
            stages,
            settings.learning_rate,
            precision=precision,
            seed=settings.seed,
            save_every=settings.save_every,
            prediction=prediction_of(model),
        )
        method = DiffusionTraining(run.net, run.draw, plan, schedule_of(model), mask_source(settings.masks))
        log, shown = Log(path.with_suffix(".csv")), [draw_sheet(run.show()[:2])]
        facts = Facts(fingerprint(base), "the network's own", data=f"{len(pictures)} pictures")
        state = path.with_suffix(".state")
        if not resume:
            state.unlink(missing_ok=True)

        def save() -> None:
            run.save(path, plan.describe(), replace(facts, steps=log.step))
            shown[:] = [draw_sheet(run.show())]

        tell = progress(settings.steps)
        note = json.dumps([asdict(settings) | {"save_every": None}, facts.base, facts.data])
        try:
            train(method, plan, log, save, state, note, report=lambda step, steps, _: tell(step, steps, _tensor(shown[0])))
        except Exception as error:
            if not is_oom(error):
                raise
            raise MemoryError(
                "Training does not fit into the GPU's memory: choose a smaller batch or size, gradient checkpointing, or bfloat16."
            ) from None
        samples = _tensor(shown[0]).movedim(1, -1)
    return with_adapter(model, str(path), 1.0), _tensor(loss_curve(log.rows)).movedim(1, -1), samples


def _tensor(picture: Image.Image) -> Tensor:
    """(1, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.array(picture)).movedim(2, 0)[None].float() / 255


def _on_pictures(net, pictures: Sequence[Tensor], settings: Settings, size: int, said: Sequence[list], device: torch.device) -> Run:
    label = None
    if said:
        label = said[0][0][1].get("class_label")
    label = None if label is None or net.config.num_classes is None else int(label)
    check_label(net.config.num_classes, label)
    net = net.to(device, memory_format=memory_format(device, settings.precision))
    net.region_aware = True
    source = Crops(pictures, ("flip", "crop") if settings.flip else ("crop",), net.config.context is None)
    examples = source(COUNT, size, 0), holes(mask_source(settings.masks), size)
    with seeded(settings.seed):
        trained = add_adapter(net, settings.rank).to(device)
    save = lambda path, note, facts: save_adapter(trained, path, note=note, facts=replace(facts, schedule=net.config.schedule))
    return Run(trained, pictures_of(source, label), 1, lambda: sample_columns(net, *examples, label), save)


def _latents(model, pictures: Sequence[Tensor], settings: Settings, vae, said: Sequence[list]) -> LatentPictures:
    if vae is None:
        raise ValueError("This MODEL works on latents: connect its VAE too.")
    if not said:
        raise ValueError("This MODEL draws by prompt: connect 'positive' (what the pictures show), or 'clip' for captions.")
    size = settings.size or LATENT_SIZE
    latents = []
    for picture in pictures:
        square = middle(picture, size)[None]
        both = [square, square.flip(3)] if settings.flip else [square]
        latents.append(torch.cat([encode(model, vae, side) for side in both]))
    given = [entry for conditioning in said for entry in said_of(model, conditioning[:1], latents[0].shape[2:])]
    return LatentPictures(latents, given * len(latents) if len(given) == 1 else given)


def _on_latents(net, model, vae, given: LatentPictures, base: dict[str, Tensor], settings: Settings, device: torch.device) -> Run:
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict  # slow to import

    given = LatentPictures([x.clone() for x in given.latents], [tuple(v if v is None else v.clone() for v in one) for one in given.given])
    net = net.to(device)
    targets = {"target_modules": LATENT_TARGETS, "modules_to_save": LATENT_TIME_LAYERS}
    with seeded(settings.seed):
        trained = get_peft_model(net, LoraConfig(r=settings.rank, lora_alpha=settings.rank, lora_dropout=0.0, **targets))
    for p in trained.parameters():
        if p.requires_grad:
            p.data = p.data.float()
    some = [k * len(given.latents) // min(COUNT, len(given.latents)) for k in range(min(COUNT, len(given.latents)))]
    x0, known = torch.stack([given.latents[k][0] for k in some]), gather([given.given[k] for k in some])
    masks = holes(mask_source(settings.masks), x0.shape[-1])[: len(some)]
    with torch.inference_mode():
        pictures = decode(model, vae, x0).clone()
    scale = pictures.shape[-1] // x0.shape[-1]
    marked = mark_hole(pictures, masks.repeat_interleave(scale, 2).repeat_interleave(scale, 3))

    def show() -> list[tuple[str, Tensor]]:
        filled = fill_latents(net, schedule_of(model), prediction_of(model), x0, masks, known)
        with torch.inference_mode():
            return [("picture", pictures), ("hole", marked), ("filled", decode(model, vae, filled))]

    def save(path: Path, note: str, facts: Facts) -> None:
        write_latent_adapter(get_peft_model_state_dict(trained), base, settings.rank, path, note, facts)

    return Run(trained, given.draw, scale, show, save)
