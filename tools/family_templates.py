"""Templates of *GradPaint Inpaint* by family of models: loaders, shift, steps, cfg and sampler are those of the host's own templates."""

from templates import CHECKPOINT, OWN_PHOTO, PHOTO

HUGGING = "https://huggingface.co/"
COMFY = HUGGING + "Comfy-Org/"
# file: (folder of models/, address), as the host's templates name them, so that the page offers what is missing
MODELS = {
    "qwen_image_fp8_e4m3fn.safetensors": ("diffusion_models", COMFY + "Qwen-Image_ComfyUI/resolve/main/split_files/diffusion_models/"),
    "qwen_2.5_vl_7b_fp8_scaled.safetensors": ("text_encoders", COMFY + "Qwen-Image_ComfyUI/resolve/main/split_files/text_encoders/"),
    "qwen_image_vae.safetensors": ("vae", COMFY + "Qwen-Image_ComfyUI/resolve/main/split_files/vae/"),
    "Qwen-Image-Lightning-8steps-V1.0.safetensors": ("loras", HUGGING + "lightx2v/Qwen-Image-Lightning/resolve/main/"),
    "qwen_image_edit_2509_fp8_e4m3fn.safetensors": (
        "diffusion_models",
        COMFY + "Qwen-Image-Edit_ComfyUI/resolve/main/split_files/diffusion_models/",
    ),
    "Qwen-Image-Edit-2509-Lightning-4steps-V1.0-bf16.safetensors": (
        "loras",
        HUGGING + "lightx2v/Qwen-Image-Lightning/resolve/main/Qwen-Image-Edit-2509/",
    ),
    "z_image_turbo_bf16.safetensors": ("diffusion_models", COMFY + "z_image_turbo/resolve/main/split_files/diffusion_models/"),
    "qwen_3_4b.safetensors": ("text_encoders", COMFY + "z_image_turbo/resolve/main/split_files/text_encoders/"),
    "ae.safetensors": ("vae", COMFY + "z_image_turbo/resolve/main/split_files/vae/"),
    "krea2_turbo_fp8_scaled.safetensors": ("diffusion_models", COMFY + "Krea-2/resolve/main/diffusion_models/"),
    "qwen3vl_4b_fp8_scaled.safetensors": ("text_encoders", COMFY + "Krea-2/resolve/main/text_encoders/"),
    "flux-2-klein-4b.safetensors": ("diffusion_models", COMFY + "flux2-klein/resolve/main/split_files/diffusion_models/"),
    "flux2-vae.safetensors": ("vae", COMFY + "flux2-dev/resolve/main/split_files/vae/"),
    "wan2.1_t2v_1.3B_fp16.safetensors": (
        "diffusion_models",
        COMFY + "Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/diffusion_models/",
    ),
    "umt5_xxl_fp8_e4m3fn_scaled.safetensors": (
        "text_encoders",
        COMFY + "Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/text_encoders/",
    ),
    "flux1-dev.safetensors": ("diffusion_models", COMFY + "flux1-dev/resolve/main/"),
    "flux1-fill-dev.safetensors": ("diffusion_models", COMFY + "flux1-dev/resolve/main/split_files/diffusion_models/"),
    "clip_l.safetensors": ("text_encoders", HUGGING + "comfyanonymous/flux_text_encoders/resolve/main/"),
    "t5xxl_fp16.safetensors": ("text_encoders", HUGGING + "comfyanonymous/flux_text_encoders/resolve/main/"),
    "sd_xl_base_1.0.safetensors": ("checkpoints", HUGGING + "stabilityai/stable-diffusion-xl-base-1.0/resolve/main/"),
    "v1-5-pruned-emaonly-fp16.safetensors": ("checkpoints", COMFY + "stable-diffusion-v1-5-archive/resolve/main/"),
    "wan_2.1_vae.safetensors": ("vae", COMFY + "Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/vae/"),
}
THING = "a wooden rowing boat in the reeds, photo, sharp focus"
VIDEO = "video.mp4"  # in ComfyUI's input folder


def loaders(unet: str, clip: str, vae: str, kind: str, second_clip: str | None = None) -> dict:
    """Nodes that load a model from its three files. kind: of the text encoder, as CLIPLoader names it."""
    one = ("CLIPLoader", {"clip_name": clip, "type": kind}, (0, 2))
    two = ("DualCLIPLoader", {"clip_name1": clip, "clip_name2": second_clip, "type": kind}, (0, 2))
    return {
        "model": ("UNETLoader", {"unet_name": unet, "weight_dtype": "default"}, (0, 1)),
        "clip": two if second_clip else one,
        "vae": ("VAELoader", {"vae_name": vae}, (0, 3)),
    }


def checkpoint(name: str) -> dict:
    """A node that loads all of a model from one file."""
    return {"checkpoint": ("CheckpointLoaderSimple", {"ckpt_name": name}, (0, 1))}


def family(
    label: str, files: dict, size: int, tip: str, patches: dict | None = None, words: dict | None = None, *, refuse: str = "", **sampling
) -> dict:
    """A template: loaders, what the family does to its MODEL and its prompt, and *GradPaint Inpaint*.

    Args:
        files: `loaders` or `checkpoint`. size: longer side that the model was made for. tip: what the note says of the family.
        patches: of the MODEL, in their order: {node: its widgets}. words: of the prompt, in the same way; a node with an output
            for the negative prompt takes that too. refuse: the negative prompt, where there is a cfg.
        sampling: widgets of *GradPaint Inpaint*: steps, cfg, sampler_name, scheduler.
    """
    whole = "checkpoint" in files
    model, clip, vae = ("checkpoint", ("checkpoint", 1), ("checkpoint", 2)) if whole else ("model", "clip", "vae")
    nodes = {"picture": PHOTO, **files}
    for row, (kind, widgets) in enumerate((patches or {}).items()):
        nodes[kind] = (kind, {"model": model} | widgets, (1, row))
        model = kind
    row = len(patches or {})
    nodes["words"] = ("CLIPTextEncode", {"clip": clip, "text": THING}, (1, row))
    positive = "words"
    if sampling["cfg"] == 1.0:
        nodes["not"] = ("ConditioningZeroOut", {"conditioning": "words"}, (1, row + 1))
    else:
        nodes["not"] = ("CLIPTextEncode", {"clip": clip, "text": refuse}, (1, row + 1))
    negative = "not"
    for more, (kind, widgets) in enumerate((words or {}).items(), row + 2):
        if kind == "InpaintModelConditioning":
            inputs = {"positive": positive, "negative": negative, "vae": vae, "pixels": "picture", "mask": ("picture", 1)}
            nodes[kind], negative = (kind, inputs | widgets, (1, more)), (kind, 1)
        else:
            nodes[kind] = (kind, {"conditioning": positive} | widgets, (1, more))
        positive = kind
    ends = {"model": model, "vae": vae, "image": "picture", "mask": ("picture", 1), "positive": positive, "negative": negative}
    nodes["fill"] = ("RAI_GradPaintInpaint", ends | {"seed": 1, "size": size} | sampling, (2, 0))
    nodes["after"] = ("PreviewImage", {"images": "fill"}, (3, 0), f"Filled by {label}")
    return nodes | {"note": note(f"Puts something new into the hole with {label}; everything outside the mask stays bit for bit. {tip}")}


def note(text: str, change: str = "the prompt, then the seed", own: str = OWN_PHOTO) -> tuple:
    """The note of a template."""
    return "Note", (
        f"{text}\n\nComfyUI lists the files that are missing when you open this template, and offers to download them. Change first: "
        f"{change}. A step takes as long as two of a KSampler, or as one with the preset turbo.\n\n{own}"
    )


def edit_template() -> dict:
    """Qwen-Image-Edit with an instruction: its reference picture is cut with the crop."""
    clip = {"clip": "clip", "vae": "vae", "image1": "picture"}
    nodes = {
        "picture": PHOTO,
        **loaders("qwen_image_edit_2509_fp8_e4m3fn.safetensors", *QWEN),
        "lora": (
            "LoraLoaderModelOnly",
            {"model": "model", "lora_name": "Qwen-Image-Edit-2509-Lightning-4steps-V1.0-bf16.safetensors", "strength_model": 1.0},
            (1, 0),
        ),
        "shift": ("ModelSamplingAuraFlow", {"model": "lora", "shift": 3.0}, (1, 1)),
        "norm": ("CFGNorm", {"model": "shift", "strength": 1.0}, (1, 2)),
        "words": ("TextEncodeQwenImageEditPlus", clip | {"prompt": "Replace the boardwalk with a wooden rowing boat."}, (1, 3)),
        "not": ("TextEncodeQwenImageEditPlus", clip | {"prompt": ""}, (1, 4)),
        "fill": (
            "RAI_GradPaintInpaint",
            {"model": "norm", "vae": "vae", "image": "picture", "mask": ("picture", 1), "positive": "words", "negative": "not"}
            | {"seed": 1, "size": 1024, "steps": 4, "cfg": 1.0, **EULER},
            (2, 0),
        ),
        "after": ("PreviewImage", {"images": "fill"}, (3, 0), "Edited inside the mask"),
    }
    return nodes | {
        "note": note(
            "An instruction, heeded inside the mask alone: edit models shift colours everywhere, here the rest stays bit for bit. "
            "With its Lightning LoRA Qwen-Image-Edit 2509 takes 4 steps at a cfg of 1. The picture that the model refers to is cut with "
            "the crop; with 'reference' on whole it stays the whole photo.",
            "the instruction, then the mask: leave room for what is to come",
        )
    }


def video_template() -> dict:
    """Frames of a video through Wan, with a mask for each."""
    sampling = {"seed": 1, "size": 832, "steps": 30, "cfg": 6.0, "sampler_name": "uni_pc", "scheduler": "simple", "video": True}
    nodes = {
        "file": ("LoadVideo", {"file": VIDEO}, (0, 0)),
        **loaders("wan2.1_t2v_1.3B_fp16.safetensors", *WAN),
        "parts": ("GetVideoComponents", {"video": "file"}, (1, 0)),
        "frames": ("ImageFromBatch", {"image": "parts", "batch_index": 0, "length": 33}, (1, 1)),
        "masks": ("RAI_PerlinMaskAnimation", {"frames": 33, "area": 15.0, "scale": 120.0, "seed": 5, "image": "frames"}, (1, 2)),
        "shift": ("ModelSamplingSD3", {"model": "model", "shift": 8.0}, (2, 0)),
        "words": ("CLIPTextEncode", {"clip": "clip", "text": "what the video shows, and what is to stand in the hole"}, (2, 1)),
        "not": ("CLIPTextEncode", {"clip": "clip", "text": ""}, (2, 2)),
        "fill": (
            "RAI_GradPaintInpaint",
            {"model": "shift", "vae": "vae", "image": "frames", "mask": "masks", "positive": "words", "negative": "not"} | sampling,
            (3, 0),
        ),
        "after": ("PreviewImage", {"images": "fill"}, (4, 0), "The frames, filled by Wan 2.1"),
        "saved": ("SaveAnimatedWEBP", {"images": "fill", "fps": ("parts", 2), "filename_prefix": "filled"}, (4, 1)),
    }
    return nodes | {
        "note": note(
            "Fills a hole that moves through a video's first 33 frames; the crop follows it, and what the masks keep stays bit for bit "
            "in every frame. 30 steps of uni_pc at a cfg of 6, 832x480: what Wan 2.1 was made for.",
            "the video, then the masks: a batch with one for each frame, or one mask for all",
            "Masks of your own: Load Image for one that serves all frames, or the masks of a segmentation node.",
        )
    }


EULER = {"sampler_name": "euler", "scheduler": "simple"}
QWEN = ("qwen_2.5_vl_7b_fp8_scaled.safetensors", "qwen_image_vae.safetensors", "qwen_image")
WAN = ("umt5_xxl_fp8_e4m3fn_scaled.safetensors", "wan_2.1_vae.safetensors", "wan")
FLUX = ("clip_l.safetensors", "ae.safetensors", "flux", "t5xxl_fp16.safetensors")
QWEN_LORA = {"lora_name": "Qwen-Image-Lightning-8steps-V1.0.safetensors", "strength_model": 1.0}
FAMILIES = {
    "4 Edit inside the mask, the rest exact": edit_template(),
    "5 GradPaint by family, Flux.1 Fill": family(
        "Flux.1 Fill",
        loaders("flux1-fill-dev.safetensors", *FLUX),
        1024,
        "20 steps at a guidance of 30. Made to fill holes: InpaintModelConditioning gives it the picture and the hole, which are cut with "
        "the crop.",
        {"DifferentialDiffusion": {}},
        {"FluxGuidance": {"guidance": 30.0}, "InpaintModelConditioning": {}},
        sampler_name="euler",
        scheduler="normal",
        steps=20,
        cfg=1.0,
    ),
    "5 GradPaint by family, Flux.1 dev": family(
        "Flux.1 dev", loaders("flux1-dev.safetensors", *FLUX), 1024, "20 steps at a cfg of 1.", **EULER, steps=20, cfg=1.0
    ),
    "5 GradPaint by family, Flux.2 klein": family(
        "Flux.2 klein",
        loaders("flux-2-klein-4b.safetensors", "qwen_3_4b.safetensors", "flux2-vae.safetensors", "flux2"),
        1024,
        "Distilled: 4 steps at a cfg of 1.",
        **EULER,
        steps=4,
        cfg=1.0,
    ),
    "5 GradPaint by family, Krea 2 turbo": family(
        "Krea 2 turbo",
        loaders("krea2_turbo_fp8_scaled.safetensors", "qwen3vl_4b_fp8_scaled.safetensors", "qwen_image_vae.safetensors", "krea2"),
        1024,
        "Distilled: 8 steps at a cfg of 1.",
        **EULER,
        steps=8,
        cfg=1.0,
    ),
    "5 GradPaint by family, Qwen-Image": family(
        "Qwen-Image",
        loaders("qwen_image_fp8_e4m3fn.safetensors", *QWEN),
        1328,
        "With its Lightning LoRA 8 steps at a cfg of 1.",
        {"LoraLoaderModelOnly": QWEN_LORA, "ModelSamplingAuraFlow": {"shift": 3.1}},
        **EULER,
        steps=8,
        cfg=1.0,
    ),
    "5 GradPaint by family, SD1.5": family(
        "Stable Diffusion 1.5",
        checkpoint(CHECKPOINT),
        512,
        "20 steps at a cfg of 8, as ComfyUI's own first graph has it. Any checkpoint of the family will do.",
        refuse="text, watermark",
        sampler_name="euler",
        scheduler="normal",
        steps=20,
        cfg=8.0,
    ),
    "5 GradPaint by family, SDXL": family(
        "SDXL",
        checkpoint("sd_xl_base_1.0.safetensors"),
        1024,
        "25 steps at a cfg of 8, without the refiner. Any checkpoint of the family will do.",
        refuse="text, watermark",
        sampler_name="euler",
        scheduler="normal",
        steps=25,
        cfg=8.0,
    ),
    "5 GradPaint by family, Wan": family(
        "Wan 2.1 as a picture model",
        loaders("wan2.1_t2v_1.3B_fp16.safetensors", *WAN),
        832,
        "30 steps at a cfg of 6. For a video see the template 'GradPaint by family, Wan video'.",
        {"ModelSamplingSD3": {"shift": 8.0}},
        sampler_name="uni_pc",
        scheduler="simple",
        steps=30,
        cfg=6.0,
    ),
    "5 GradPaint by family, Wan video": video_template(),
    "5 GradPaint by family, Z-Image turbo": family(
        "Z-Image turbo",
        loaders("z_image_turbo_bf16.safetensors", "qwen_3_4b.safetensors", "ae.safetensors", "lumina2"),
        1024,
        "Distilled: 8 steps of res_multistep at a cfg of 1.",
        {"ModelSamplingAuraFlow": {"shift": 3.0}},
        sampler_name="res_multistep",
        scheduler="simple",
        steps=8,
        cfg=1.0,
    ),
}
