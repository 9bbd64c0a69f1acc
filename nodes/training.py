"""From a folder of pictures to a file in the loader node."""

import torch
from comfy_api.latest import io

from ..rad_core.training import OPTIMISERS
from ..rad_core.training.data import MASKS, Folder
from . import inputs
from .host.folders import fingerprint_of_pictures, picture_folder, times_removed
from .host.progress import counting
from .host.schema import search_aliases
from .pictures import picture_of


class TrainRADAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_TrainRADAdapter",
            display_name="Train RAD Adapter",
            category="region-aware inpainting/RAD",
            description="Teaches a network to fill holes, in the look of your pictures: trains a RAD adapter (LoRA and time layers) and "
            "writes it where 'Load RAD Adapter' finds it. Safe to cancel: run it again with the same settings to resume.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="From Load ADM Model, or a latent model: SD1.5, SDXL, Flux, Qwen-Image, Z-Image and others. It is not changed.",
                ),
                io.String.Input("adapter_name", default="my adapter", tooltip="The file's name in models/rad_adapters."),
                inputs.steps(1000, "A thousand show whether it works, ten thousand are thorough.", most=10000000),
                io.Int.Input(
                    "batch_size", default=8, min=1, max=1024, tooltip="Pictures per step. More is steadier, and needs more memory."
                ),
                io.Int.Input("rank", default=16, min=1, max=512, tooltip="Size of the LoRA. The paper's is 16."),
                io.Float.Input(
                    "learning_rate", default=5e-4, min=1e-7, max=1.0, step=1e-7, round=1e-7, tooltip="Lower it if the loss jumps."
                ),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=4096,
                    step=8,
                    tooltip="Side of the training pictures in pixels. 0: the network's own, 512 for latent models. "
                    "Pictures of other sizes are resized.",
                ),
                io.Combo.Input("masks", options=list(MASKS), default="perlin", tooltip="Shapes of the holes. perlin is the paper's."),
                io.Boolean.Input("flip", default=True, tooltip="Train on mirrored pictures too."),
                inputs.precision("auto", tooltip="auto: bfloat16 on a GPU, float32 on a CPU. float16 is for GPUs that have no bfloat16."),
                io.Boolean.Input("gradient_checkpointing", default=False, tooltip="Half the memory for a third more time."),
                io.Int.Input("save_every", default=250, min=1, max=100000, tooltip="Steps between checkpoints and new sample pictures."),
                inputs.seed("Another seed: other crops, masks and noise.", most=2**20, changes=False),
                io.Boolean.Input(
                    "resume", default=True, tooltip="Continue the run of this name. Off: a new run, under a name that no adapter has."
                ),
                io.Image.Input("images", optional=True, tooltip="Training pictures; or name a folder."),
                io.String.Input(
                    "folder",
                    default="",
                    optional=True,
                    tooltip="A folder of training pictures: its full path, or its name inside ComfyUI's input folder.",
                ),
                io.Vae.Input("vae", optional=True, tooltip="For latent models: their VAE."),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="For latent models: what all the pictures show. For class-conditional networks: ADM Conditioning.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="For latent models: reads captions, a .txt file of the same name beside each picture of the folder.",
                ),
                io.Combo.Input(
                    "optimiser",
                    options=list(OPTIMISERS),
                    default="adamw",
                    optional=True,
                    tooltip="adamw8bit takes a quarter of the optimiser's memory, and needs bitsandbytes.",
                ),
                io.Boolean.Input(
                    "aspect_ratio_buckets",
                    default=True,
                    optional=True,
                    tooltip="For latent models: pictures keep their shape, and those of similar shape train together. "
                    "Off: all are cropped to squares, as always for ADM networks.",
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="The network with the new adapter on it."),
                io.Image.Output(display_name="loss curve"),
                io.Image.Output(display_name="samples"),
            ],
            is_output_node=True,
            **search_aliases("train lora", "fine-tune", "teach", "style", "inpaint lora"),
        )

    @classmethod
    def fingerprint_inputs(cls, folder="", adapter_name=None, **_) -> str:
        pictures = fingerprint_of_pictures(folder) if folder and folder.strip() else ""
        removed = times_removed(adapter_name)
        return f"{pictures}:{removed}" if removed else pictures

    @classmethod
    def execute(
        cls,
        model,
        adapter_name,
        steps,
        batch_size,
        rank,
        learning_rate,
        size,
        masks,
        flip,
        precision,
        gradient_checkpointing,
        save_every,
        seed,
        resume,
        images=None,
        folder="",
        vae=None,
        positive=None,
        clip=None,
        optimiser="adamw",
        aspect_ratio_buckets=True,
    ) -> io.NodeOutput:
        from .host.latent_training import prompts_of  # with all that trains, which the host's start need not wait for
        from .host.train_adapter import TrainingSettings, adapter_path, train_adapter
        from .host.trainable import check_trainable

        if (images is None) == (not folder.strip()):
            raise ValueError("Connect training pictures to 'images', or name their 'folder': one of the two.")
        check_trainable(model)  # before pictures and captions are read, which takes its time
        path = adapter_path(model, adapter_name, resume)
        if images is None:
            pictures = Folder(picture_folder(folder), counting("reading the pictures"))
            captions = [pictures.caption(k) for k in range(len(pictures))]
        else:
            with torch.inference_mode(False):
                pictures = [picture.clone() for picture in picture_of(images)[0]]
            captions = [""] * len(pictures)
        settings = TrainingSettings(
            steps=steps,
            batch_size=batch_size,
            rank=rank,
            learning_rate=learning_rate,
            size=size,
            masks=masks,
            flip=flip,
            precision=precision,
            checkpointing=gradient_checkpointing,
            save_every=save_every,
            seed=seed,
            optimiser=optimiser,
            buckets=aspect_ratio_buckets,
        )
        prompts = prompts_of(positive, clip, captions)
        return io.NodeOutput(*train_adapter(model, pictures, settings, path, resume, vae, prompts, captions))
