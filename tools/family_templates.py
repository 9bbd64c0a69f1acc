"""Templates of *GradPaint Inpaint* by family of models: loaders, shift, steps, cfg and sampler are those of the host's own templates."""

from templates import OWN_PHOTO, PHOTO

HUGGING = "https://huggingface.co/"
COMFY = HUGGING + "Comfy-Org/"
# file: (folder of models/, address), as the host's templates name them, so that the page offers what is missing
MODELS = {
    "qwen_image_fp8_e4m3fn.safetensors": ("diffusion_models", COMFY + "Qwen-Image_ComfyUI/resolve/main/split_files/diffusion_models/"),
    "qwen_2.5_vl_7b_fp8_scaled.safetensors": ("text_encoders", COMFY + "Qwen-Image_ComfyUI/resolve/main/split_files/text_encoders/"),
    "qwen_image_vae.safetensors": ("vae", COMFY + "Qwen-Image_ComfyUI/resolve/main/split_files/vae/"),
    "Qwen-Image-Lightning-8steps-V1.0.safetensors": ("loras", HUGGING + "lightx2v/Qwen-Image-Lightning/resolve/main/"),
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
    "wan_2.1_vae.safetensors": ("vae", COMFY + "Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/vae/"),
}
THING = "a wooden rowing boat in the reeds, photo, sharp focus"


def family(
    label: str,
    unet: str,
    clip: tuple[str, str],
    vae: str,
    shift: tuple[str, float] | None,
    size: int,
    tip: str,
    lora: str | None = None,
    **sampling,
) -> dict:
    """A template: loaders, the model's shift, prompts and *GradPaint Inpaint*.

    Args:
        clip: the text encoder's file and its type in CLIPLoader. shift: the node that sets the model's shift, and its value.
        size: longer side that the model was made for. lora: that makes it need fewer steps.
        sampling: steps, cfg, sampler_name and scheduler. tip: what the note says of the family.
    """
    nodes = {
        "picture": PHOTO,
        "unet": ("UNETLoader", {"unet_name": unet, "weight_dtype": "default"}, (0, 1)),
        "clip": ("CLIPLoader", {"clip_name": clip[0], "type": clip[1]}, (0, 2)),
        "vae": ("VAELoader", {"vae_name": vae}, (0, 3)),
    }
    model = "unet"
    if lora:
        nodes["lora"] = ("LoraLoaderModelOnly", {"model": model, "lora_name": lora, "strength_model": 1.0}, (1, 0))
        model = "lora"
    if shift:
        nodes["shift"] = (shift[0], {"model": model, "shift": shift[1]}, (1, 1))
        model = "shift"
    nodes["words"] = ("CLIPTextEncode", {"clip": "clip", "text": THING}, (1, 2))
    if sampling["cfg"] == 1.0:
        nodes["not"] = ("ConditioningZeroOut", {"conditioning": "words"}, (1, 3))
    else:
        nodes["not"] = ("CLIPTextEncode", {"clip": "clip", "text": ""}, (1, 3))
    inputs = {"model": model, "vae": "vae", "image": "picture", "mask": ("picture", 1), "positive": "words", "negative": "not"}
    nodes["fill"] = ("RAI_GradPaintInpaint", inputs | {"seed": 1, "size": size} | sampling, (2, 0))
    nodes["after"] = ("PreviewImage", {"images": "fill"}, (3, 0), f"Filled by {label}")
    note = (
        f"Puts something new into the hole with {label}; everything outside the mask stays bit for bit. {tip}\n\nThe page offers the files "
        f"that are missing. Change first: the prompt, then the seed. A guided step takes as long as two of a KSampler.\n\n{OWN_PHOTO}"
    )
    return nodes | {"note": ("Note", note)}


QWEN_CLIP = ("qwen_2.5_vl_7b_fp8_scaled.safetensors", "qwen_image")
EULER = {"sampler_name": "euler", "scheduler": "simple"}
FAMILIES = {
    "5 GradPaint by family, Flux.2 klein": family(
        "Flux.2 klein",
        "flux-2-klein-4b.safetensors",
        ("qwen_3_4b.safetensors", "flux2"),
        "flux2-vae.safetensors",
        None,
        1024,
        "Distilled: 4 steps at a cfg of 1.",
        **EULER,
        steps=4,
        cfg=1.0,
    ),
    "5 GradPaint by family, Krea 2 turbo": family(
        "Krea 2 turbo",
        "krea2_turbo_fp8_scaled.safetensors",
        ("qwen3vl_4b_fp8_scaled.safetensors", "krea2"),
        "qwen_image_vae.safetensors",
        None,
        1024,
        "Distilled: 8 steps at a cfg of 1.",
        **EULER,
        steps=8,
        cfg=1.0,
    ),
    "5 GradPaint by family, Qwen-Image": family(
        "Qwen-Image",
        "qwen_image_fp8_e4m3fn.safetensors",
        QWEN_CLIP,
        "qwen_image_vae.safetensors",
        ("ModelSamplingAuraFlow", 3.1),
        1328,
        "With its Lightning LoRA 8 steps at a cfg of 1.",
        "Qwen-Image-Lightning-8steps-V1.0.safetensors",
        **EULER,
        steps=8,
        cfg=1.0,
    ),
    "5 GradPaint by family, Wan": family(
        "Wan 2.1 as a picture model",
        "wan2.1_t2v_1.3B_fp16.safetensors",
        ("umt5_xxl_fp8_e4m3fn_scaled.safetensors", "wan"),
        "wan_2.1_vae.safetensors",
        ("ModelSamplingSD3", 8.0),
        832,
        "30 steps at a cfg of 6. For a video, connect its frames and masks in place of the photo, and turn 'video' on: 33 frames of "
        "832x480 are what it was made for.",
        sampler_name="uni_pc",
        scheduler="simple",
        steps=30,
        cfg=6.0,
    ),
    "5 GradPaint by family, Z-Image turbo": family(
        "Z-Image turbo",
        "z_image_turbo_bf16.safetensors",
        ("qwen_3_4b.safetensors", "lumina2"),
        "ae.safetensors",
        ("ModelSamplingAuraFlow", 3.0),
        1024,
        "Distilled: 8 steps of res_multistep at a cfg of 1.",
        sampler_name="res_multistep",
        scheduler="simple",
        steps=8,
        cfg=1.0,
    ),
}
