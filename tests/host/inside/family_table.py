"""What the host reads from a checkpoint of each family it knows, at the smallest size that still shows the family's ways."""

from dataclasses import dataclass, field

import torch

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "use_spatial_transformer": True,
    "legacy": False,
    "model_channels": 64,  # with 32, GroupNorm(32) would erase the timestep
    "channel_mult": [1, 2],
    "num_res_blocks": [1, 1],
    "context_dim": 64,
    "num_head_channels": 32,
    "num_heads": -1,
    "transformer_depth_middle": 1,
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
}
SD2 = UNET | {"use_linear_in_transformer": True}
SDXL = SD2 | {"num_classes": "sequential", "adm_in_channels": 2816}
HEADS = {
    "hidden_size": 128,
    "num_heads": 4,
    "mlp_ratio": 2.0,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [8, 12, 12],
    "qkv_bias": True,
}
FLUX = HEADS | {"image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 32, "context_in_dim": 64}
FLUX |= {"theta": 10000, "guidance_embed": True, "txt_ids_dims": []}
FLUX2 = FLUX | {
    "image_model": "flux2",
    "in_channels": 128,
    "out_channels": 128,
    "vec_in_dim": None,
    "axes_dim": [8, 8, 8, 8],
    "patch_size": 1,
}
FLUX2 |= {"qkv_bias": False, "ops_bias": False, "global_modulation": True, "mlp_silu_act": True, "default_ref_method": "index"}
FLUX2 |= {"ref_index_scale": 10.0, "txt_ids_dims": [3], "guidance_embed": False, "mlp_ratio": 3.0, "theta": 2000}
CHROMA = {k: v for k, v in FLUX.items() if k != "guidance_embed"} | {"image_model": "chroma", "in_channels": 64, "out_channels": 64}
CHROMA |= {"in_dim": 64, "out_dim": 128, "hidden_dim": 64, "n_layers": 2, "vec_in_dim": None}
NERF = {
    "nerf_hidden_size": 16,
    "nerf_mlp_ratio": 2,
    "nerf_depth": 1,
    "nerf_max_freqs": 4,
    "nerf_tile_size": 512,
    "nerf_final_head_type": "conv",
}
RADIANCE = CHROMA | NERF | {"image_model": "chroma_radiance", "in_channels": 3, "out_channels": 3, "patch_size": 16, "use_x0": False}
RADIANCE |= {"nerf_embedder_dtype": torch.float32, "use_sequential_txt_ids": False}
LUMINA = {"image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 96, "cap_feat_dim": 64, "n_layers": 2, "n_refiner_layers": 1}
LUMINA |= {"qk_norm": True, "n_heads": 4, "n_kv_heads": 2, "axes_dims": [8, 8, 8], "axes_lens": [300, 512, 512], "rope_theta": 10000.0}
LUMINA |= {"ffn_dim_multiplier": 1.0, "multiple_of": 32}
ZIMAGE = LUMINA | {"dim": 256, "n_kv_heads": 4, "axes_dims": [16, 24, 24], "z_image_modulation": True, "time_scale": 1000.0}
ZIMAGE |= {"rope_theta": 256.0, "pad_tokens_multiple": 32}
ZPIXEL = ZIMAGE | {"image_model": "zimage_pixel", "patch_size": 8, "in_channels": 3, "decoder_in_channels": 192, "decoder_hidden_size": 32}
ZPIXEL |= {"decoder_num_res_blocks": 1, "decoder_max_freqs": 4, "use_x0": False}
HUNYUAN = HEADS | {"image_model": "hunyuan_video", "in_channels": 16, "out_channels": 16, "patch_size": [1, 2, 2], "vec_in_dim": 32}
HUNYUAN |= {"context_in_dim": 64, "theta": 256, "byt5": False, "guidance_embed": True, "use_cond_type_embedding": False, "meanflow": False}
HUNYUAN |= {"vision_in_dim": None, "meanflow_sum": False}
HUNYUAN15 = HUNYUAN | {"in_channels": 65, "out_channels": 32, "patch_size": [1, 1, 1], "vec_in_dim": None, "guidance_embed": False}
HUNYUAN15 |= {"vision_in_dim": 48, "meanflow_sum": True, "use_cond_type_embedding": True}
HUNYUAN_IMAGE = HUNYUAN | {"in_channels": 64, "out_channels": 64, "patch_size": [1, 1], "axes_dim": [16, 16], "vec_in_dim": None}
HUNYUAN_IMAGE |= {"guidance_embed": False}
WAN = {
    "image_model": "wan2.1",
    "model_type": "t2v",
    "dim": 128,
    "in_dim": 16,
    "out_dim": 16,
    "num_heads": 2,
    "ffn_dim": 256,
    "num_layers": 2,
}
WAN |= {
    "patch_size": (1, 2, 2),
    "freq_dim": 256,
    "text_dim": 64,
    "window_size": (-1, -1),
    "qk_norm": True,
    "cross_attn_norm": True,
    "eps": 1e-6,
}
COSMOS = {
    "max_img_h": 240,
    "max_img_w": 240,
    "max_frames": 128,
    "in_channels": 16,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
}
COSMOS |= {
    "model_channels": 128,
    "concat_padding_mask": True,
    "crossattn_emb_channels": 64,
    "pos_emb_cls": "rope3d",
    "use_adaln_lora": True,
}
COSMOS |= {"adaln_lora_dim": 32, "num_blocks": 2, "num_heads": 2}
COSMOS1 = COSMOS | {"image_model": "cosmos", "block_config": "FA-CA-MLP", "pos_emb_learnable": False, "pos_emb_interpolation": "crop"}
COSMOS1 |= {"block_x_format": "THWBD", "affline_emb_norm": True, "extra_per_block_abs_pos_emb": True, "rope_t_extrapolation_ratio": 2.0}
COSMOS1 |= {"rope_h_extrapolation_ratio": 1.0, "rope_w_extrapolation_ratio": 1.0, "extra_per_block_abs_pos_emb_type": "learnable"}
COSMOS2 = COSMOS | {
    "image_model": "cosmos_predict2",
    "pos_emb_learnable": True,
    "pos_emb_interpolation": "crop",
    "min_fps": 1,
    "max_fps": 30,
}
COSMOS2 |= {"extra_per_block_abs_pos_emb": False, "rope_enable_fps_modulation": False}
COSMOS2 |= {f"rope_{axis}_extrapolation_ratio": ratio for axis, ratio in (("h", 4.0), ("w", 4.0), ("t", 1.0))}
COSMOS2 |= {f"extra_{axis}_extrapolation_ratio": 1.0 for axis in "hwt"}
PIXART = {"num_heads": 4, "patch_size": 2, "hidden_size": 144, "in_channels": 4, "depth": 2, "caption_channels": 64, "model_max_length": 16}
PIXART |= {"input_size": 16, "pe_interpolation": 1}
KANDINSKY = {"image_model": "kandinsky5", "model_dim": 128, "axes_dims": (8, 12, 12), "time_dim": 64, "ff_dim": 128, "num_text_blocks": 1}
KANDINSKY |= {"num_visual_blocks": 1, "in_text_dim": 64, "in_text_dim2": 32}
CASCADE = {"c_cond": 64, "c_r": 16}
LAYERS = {"num_layers": 2, "attention_head_dim": 32, "num_attention_heads": 4}
TOKEN_MASK = {"attention_mask": torch.ones(1, 7, dtype=torch.long)}


@dataclass(frozen=True)
class Family:
    """One family of MODELs.

    Args:
        cls: its class in comfy.supported_models. config: what the host would read from a checkpoint.
        shape: of its latents, (C, h, w) or (C, T, h, w). block: pixels of a latent along each side.
        extra: what its CONDITIONING holds beside the text; a shape stands for random numbers. text: shape of the text.
        state: keys of a checkpoint that the class looks at. prediction: a `ModelType` in place of the class's own.
        sound: shape of the sound latents that go along with a video's, (C, ...).
        batch: pictures that one call takes. frames: its batch is the frames of one video, which see each other.
        inpaint: extra channels hold the masked picture. scheduler: one that suits it. cfg: False where it has no negative prompt.
    """

    cls: str
    config: dict
    shape: tuple[int, ...] = (4, 8, 8)
    block: int = 8
    extra: dict = field(default_factory=dict)
    text: tuple[int, int] = (7, 64)
    state: dict = field(default_factory=dict)
    prediction: str | None = None
    sound: tuple[int, ...] | None = None
    batch: int = 2
    frames: bool = False
    inpaint: bool = False
    scheduler: str = "simple"
    cfg: bool = True


def unet(cls: str, config: dict, **changes) -> Family:
    return Family(cls, config, **{"scheduler": "normal"} | changes)


def dit(cls: str, config: dict, shape: tuple[int, ...] = (16, 8, 8), **changes) -> Family:
    return Family(cls, config, shape, **changes)


NO_FRAME = {"concat_mask": torch.ones(1, 1, 3, 8, 8)}  # no first frame is given; with the noise mask in its place the host itself fails
BESIDE = {"concat_latent_image": (4, 8, 8)}
POOLED, POOLED32 = {"pooled_output": (1280,)}, {"pooled_output": (32,)}
FAMILIES = {
    "SD1.5": unet("SD15", UNET),
    "SD1.5 inpainting": unet("SD15", UNET | {"in_channels": 9}, inpaint=True),
    "SD1.5 InstructPix2Pix": unet("SD15_instructpix2pix", UNET | {"in_channels": 8}, extra=BESIDE),
    "SD2.1 v": unet("SD20", SD2, prediction="V_PREDICTION"),
    "SD2 inpainting": unet("SD20", SD2 | {"in_channels": 9}, inpaint=True),
    "SD2.1 unCLIP": unet("SD21UnclipL", SDXL | {"adm_in_channels": 1536}, state={"embedder.model.visual.x": 0}),
    "SD x4 upscaler": unet(
        "SD_X4Upscaler",
        SD2 | {"in_channels": 7, "num_classes": 1000, "disable_self_attentions": [True, False]},
        block=4,
        extra={"concat_image": (3, 8, 8)},
    ),
    "SDXL": unet("SDXL", SDXL, extra=POOLED),
    "SDXL inpainting": unet("SDXL", SDXL | {"in_channels": 9}, extra=POOLED, inpaint=True),
    "SDXL v, zero terminal SNR": unet("SDXL", SDXL, extra=POOLED, state={"v_pred": 1, "ztsnr": 1}),
    "Playground 2.5 (EDM)": unet("SDXL", SDXL, extra=POOLED, state={"edm_mean": 1, "edm_std": 1}),
    "SDXL v-EDM": unet("SDXL", SDXL, extra=POOLED, state={"edm_vpred.sigma_max": torch.tensor(120.0)}),
    "SDXL InstructPix2Pix": unet("SDXL_instructpix2pix", SDXL | {"in_channels": 8}, extra=POOLED | BESIDE),
    "SDXL refiner": unet("SDXLRefiner", SDXL | {"adm_in_channels": 2560}, extra=POOLED),
    "SSD-1B, Vega, KOALA": unet(
        "KOALA_700M",
        SDXL | {"transformer_depth": [0, 2], "transformer_depth_output": [0, 0, 2, 2], "transformer_depth_middle": -1},
        extra=POOLED,
    ),
    "Lotus (image to image)": unet("LotusD", SDXL | {"adm_in_channels": 4}, cfg=False),
    "Zero123": unet(
        "Stable_Zero123",
        UNET | {"in_channels": 8},
        text=(1, 68),
        extra=BESIDE,
        state={"cc_projection.weight": torch.full((64, 68), 0.05), "cc_projection.bias": torch.zeros(64)},
    ),
    "SVD (video)": unet(
        "SVD_img2vid",
        UNET
        | {"num_classes": "sequential", "adm_in_channels": 768, "in_channels": 8, "use_linear_in_transformer": True, "merge_factor": 0.0}
        | {"use_temporal_attention": True, "use_temporal_resblock": True, "video_kernel_size": [3, 1, 1], "extra_ff_mix_layer": True}
        | {"merge_strategy": "learned_with_images"},
        text=(1, 64),
        extra=BESIDE,
        frames=True,
    ),
    "Stable Cascade C": Family(
        "Stable_Cascade_C",
        CASCADE
        | {"stable_cascade_stage": "c", "c_hidden": [64, 64], "nhead": [2, 2], "blocks": [[1, 1], [1, 1]], "c_clip_text": 64}
        | {"c_clip_text_pooled": 32, "c_clip_img": 768},
        (16, 8, 8),
        42,
        POOLED32,
    ),
    "Stable Cascade B": Family(
        "Stable_Cascade_B",
        CASCADE
        | {"stable_cascade_stage": "b", "c_hidden": [32, 64, 64, 64], "nhead": [-1, 2, 2, 2], "blocks": [[1] * 4] * 2, "c_clip": 32}
        | {"block_repeat": [[1] * 4] * 2},
        (4, 16, 16),
        4,
        POOLED32,
    ),
    "SD3, 3.5": dit(
        "SD3",
        {"in_channels": 16, "patch_size": 2, "depth": 2, "input_size": None, "adm_in_channels": 64, "num_patches": 1024}
        | {"context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 64, "out_features": 128}}}
        | {"pos_embed_max_size": 32, "pos_embed_scaling_factor": None},
        extra={"pooled_output": (64,)},
    ),
    "AuraFlow": dit(
        "AuraFlow",
        {"dim": 128, "n_layers": 2, "n_double_layers": 1, "n_heads": 2, "global_conddim": 128, "cond_seq_dim": 64, "max_seq": 1024},
        (4, 8, 8),
    ),
    "PixArt alpha": unet("PixArtAlpha", PIXART | {"image_model": "pixart_alpha", "micro_condition": True}, shape=(4, 64, 64)),
    "PixArt sigma": unet("PixArtSigma", PIXART | {"image_model": "pixart_sigma", "micro_condition": False}, shape=(4, 64, 64)),
    "HunyuanDiT": unet(
        "HunyuanDiT",
        {"image_model": "hydit", "depth": 2, "hidden_size": 128, "num_heads": 2, "text_states_dim": 64, "text_states_dim_t5": 64}
        | {"mlp_ratio": 2.0},
        text=(77, 64),
        extra={"attention_mask": torch.ones(1, 77), "attention_mask_mt5xl": torch.ones(1, 256), "conditioning_mt5xl": (256, 64)},
    ),
    "Flux.1 dev": dit("Flux", FLUX, extra=POOLED32 | {"guidance": 3.5}),
    "Flux.1 Fill": dit("FluxInpaint", FLUX | {"in_channels": 96}, extra=POOLED32 | {"guidance": 30.0}),
    "Flux.1 schnell": dit("FluxSchnell", FLUX | {"guidance_embed": False}, extra=POOLED32),
    "LongCat-Image": dit("LongCatImage", FLUX | {"guidance_embed": False, "vec_in_dim": None, "txt_ids_dims": [1, 2]}),
    "Flux.2, klein": dit("Flux2", FLUX2, (128, 8, 8), block=16),
    "Chroma": dit("Chroma", CHROMA, extra=POOLED32 | {"guidance": 0}),
    "Chroma Radiance": dit("ChromaRadiance", RADIANCE, (3, 64, 64), block=1, extra=POOLED32 | {"guidance": 0}),
    "Lumina 2": dit("Lumina2", LUMINA, extra=TOKEN_MASK),
    "Z-Image": dit("ZImage", ZIMAGE),
    "Z-Image (pixels)": dit("ZImagePixelSpace", ZPIXEL, (3, 64, 64), block=1),
    "HiDream": dit(
        "HiDream",
        {"image_model": "hidream", "attention_head_dim": 32, "axes_dims_rope": [8, 12, 12], "caption_channels": [64, 64], "in_channels": 16}
        | {"max_resolution": [128, 128], "llama_layers": [0, 1], "num_attention_heads": 4, "num_routed_experts": 2, "num_layers": 1}
        | {"num_activated_experts": 1, "num_single_layers": 1, "out_channels": 16, "patch_size": 2, "text_emb_dim": 32},
        extra=POOLED32 | {"conditioning_llama3": (2, 5, 64)},
    ),
    "OmniGen2": dit(
        "Omnigen2",
        {"image_model": "omnigen2", "axes_dim_rope": [8, 12, 12], "axes_lens": [1024, 1664, 1664], "hidden_size": 128, "in_channels": 16}
        | {"multiple_of": 32, "num_attention_heads": 4, "num_kv_heads": 2, "num_layers": 1, "num_refiner_layers": 1, "patch_size": 2}
        | {"text_feat_dim": 64, "timestep_scale": 1000.0},
        extra=TOKEN_MASK,
    ),
    "Boogu": dit(
        "Boogu",
        {"image_model": "boogu", "axes_dim_rope": [8, 12, 12], "hidden_size": 128, "multiple_of": 32, "num_attention_heads": 4}
        | {"num_kv_heads": 2, "num_layers": 1, "num_double_stream_layers": 1, "num_refiner_layers": 1, "instruction_feat_dim": 64},
        extra=TOKEN_MASK,
    ),
    "Ernie-Image": dit(
        "ErnieImage",
        {"image_model": "ernie", "hidden_size": 128, "num_attention_heads": 4, "num_layers": 2, "ffn_hidden_size": 128, "text_in_dim": 64}
        | {"rope_axes_dim": (8, 12, 12)},
        (128, 8, 8),
        block=16,
    ),
    "Ideogram 4": dit(
        "Ideogram4",
        {"image_model": "ideogram4", "in_channels": 128, "num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 32}
        | {"intermediate_size": 128, "adaln_dim": 64, "llm_features_dim": 64, "mrope_section": (4, 6, 6)},
        (128, 8, 8),
        block=16,
    ),
    "Lens": dit(
        "Lens",
        {"image_model": "lens", "in_channels": 128, "out_channels": 32, "num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 64}
        | {"enc_hidden_dim": 64, "multi_layer_encoder_feature": False, "selected_layer_index": (0,)},
        (128, 8, 8),
        block=16,
    ),
    "Mage-Flow": dit(
        "MageFlow",
        LAYERS | {"image_model": "mage_flow", "in_channels": 128, "joint_attention_dim": 64, "axes_dims_rope": (8, 12, 12)},
        (128, 8, 8),
        block=16,
    ),
    "HunyuanImage 2.1": dit("HunyuanImage21", HUNYUAN_IMAGE, (64, 8, 8), block=32),
    "Kandinsky 5 (image)": dit("Kandinsky5Image", KANDINSKY | {"visual_embed_dim": 64}, extra=POOLED32),
    "PixelDiT": dit(
        "PixelDiTT2I",
        {"image_model": "pixeldit_t2i", "num_groups": 4, "hidden_size": 128, "pixel_hidden_size": 16, "pixel_attn_hidden_size": 64}
        | {"pixel_num_groups": 4, "patch_depth": 2, "pixel_depth": 1, "txt_embed_dim": 64},
        (3, 64, 64),
        block=1,
    ),
    "Qwen-Image, -Edit": dit(
        "QwenImage",
        LAYERS | {"image_model": "qwen_image", "in_channels": 64, "joint_attention_dim": 64, "axes_dims_rope": (8, 12, 12)},
        (16, 1, 8, 8),
        extra=TOKEN_MASK,
    ),
    "Krea 2": dit(
        "Krea2",
        {"image_model": "krea2", "features": 256, "tdim": 64, "txtdim": 64, "heads": 2, "kvheads": 1, "multiplier": 2, "layers": 2}
        | {"patch": 2, "channels": 16, "txtlayers": 2, "txtheads": 2, "txtkvheads": 2},
        (16, 1, 8, 8),
        text=(7, 128),
    ),
    "JoyImage": dit(
        "JoyImage",
        {"image_model": "joyimage", "in_channels": 16, "hidden_size": 128, "patch_size": [1, 2, 2], "num_layers": 2, "text_dim": 64}
        | {"num_attention_heads": 4, "rope_dim_list": [8, 12, 12]},
        (16, 1, 8, 8),
    ),
    "Anima": dit("Anima", COSMOS2 | {"image_model": "anima", "crossattn_emb_channels": 1024}, (16, 1, 8, 8), text=(7, 1024)),
    "Wan 2.1 (picture)": dit("WAN21_T2V", WAN, (16, 1, 8, 8)),
    "Wan 2.1, 2.2 14B": dit("WAN21_T2V", WAN, (16, 3, 8, 8)),
    "Wan 2.1 image to video": dit("WAN21_I2V", WAN | {"model_type": "i2v", "in_dim": 36}, (16, 3, 8, 8)),
    "Wan VACE": dit("WAN21_Vace", WAN | {"model_type": "vace", "vace_layers": 1, "vace_in_dim": 96}, (16, 3, 8, 8)),
    "Wan 2.2 5B": dit("WAN22_T2V", WAN | {"in_dim": 48, "out_dim": 48}, (48, 3, 8, 8), block=16),
    "Cosmos-Predict2": dit("CosmosT2IPredict2", COSMOS2, (16, 1, 8, 8), scheduler="normal"),
    "Cosmos 1": dit("CosmosT2V", COSMOS1, (16, 2, 8, 8), scheduler="normal"),
    "HunyuanVideo": dit("HunyuanVideo", HUNYUAN, (16, 3, 8, 8), extra=POOLED32 | {"guidance": 6.0}),
    "HunyuanVideo 1.5": dit("HunyuanVideo15", HUNYUAN15, (32, 3, 8, 8), block=16, extra={"pooled_output": None} | NO_FRAME),
    "Kandinsky 5 (video)": dit("Kandinsky5", KANDINSKY | {"visual_embed_dim": 132}, (16, 3, 8, 8), extra=POOLED32 | NO_FRAME),
    "LTX-Video": dit(
        "LTXV",
        LAYERS | {"image_model": "ltxv", "cross_attention_dim": 128, "caption_channels": 64},
        (128, 2, 8, 8),
        block=32,
        extra=TOKEN_MASK,
    ),
    "LTX-2 (video, sound)": dit(
        "LTXAV",
        LAYERS
        | {"image_model": "ltxav", "cross_attention_dim": 128, "caption_channels": 64, "audio_cross_attention_dim": 64}
        | {"audio_attention_head_dim": 16, "audio_num_attention_heads": 4},
        (128, 2, 8, 8),
        block=32,
        sound=(8, 6, 16),
        text=(7, 128),
    ),
    "MiniMax H3 (video, sound)": dit(
        "MiniMaxH3",
        {"image_model": "minimax_h3", "hidden_size": 128, "num_layers": 2, "token_refiner_num_layers": 1, "num_attention_heads": 2}
        | {"attention_head_dim": 64, "ffn_hidden_size": 128, "text_dim": 64, "time_embed_hidden_size": 128, "time_embed_dim": 64}
        | {"rope_inv_freq_len": 8},
        (24, 2, 8, 8),
        block=16,
        sound=(32, 2, 8),
        batch=1,
    ),
    "CogVideoX": dit(
        "CogVideoX_T2V",
        {"image_model": "cogvideox", "num_attention_heads": 2, "attention_head_dim": 64, "time_embed_dim": 64, "num_layers": 2}
        | {"in_channels": 16, "patch_size": 2, "text_embed_dim": 64, "use_rotary_positional_embeddings": True},
        (16, 2, 8, 8),
        scheduler="sgm_uniform",
    ),
}
