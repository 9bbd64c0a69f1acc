"""Tensor names and shapes: guided-diffusion's and PEFT's names to those of diffusers, and the architecture from the tensors."""

import re

from torch import Tensor

from .unet import UNetConfig

_RES = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_TOP = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
    "label_emb": "class_embedding",
}


def from_guided_diffusion(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename guided-diffusion's tensors as diffusers does. q, k and v are split into thirds, as in the "new" order.

    Raises:
        KeyError: a name that a guided-diffusion network does not have.
    """
    blocks: dict[str, dict[str, dict[str, Tensor]]] = {}
    out = {}
    for key, tensor in state.items():
        head = re.match(r"(input_blocks|middle_block|output_blocks)\.(\d+)\.", key)
        if head and not key.startswith("input_blocks.0."):
            part, index = head.groups()
            if part == "middle_block":
                out |= _sub_block(
                    ["mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"][int(index)], key[head.end() :], tensor
                )
            else:
                sub, _, rest = key[head.end() :].partition(".")
                blocks.setdefault(f"{part}.{index}", {}).setdefault(sub, {})[rest] = tensor
        else:
            name, _, leaf = key.rpartition(".")
            out[f"{_TOP[name]}.{leaf}"] = tensor
    for (block, sub), name in _block_names(blocks).items():
        for rest, tensor in blocks[block][sub].items():
            out |= _sub_block(name, rest, tensor)
    return out


def _block_names(blocks: dict) -> dict[tuple[str, str], str]:
    """(block, sub-block) in guided-diffusion -> name in diffusers. A level ends with the block that resamples."""
    names = {}
    count = len([b for b in blocks if b.startswith("input")])
    # A downsampler looks like any other residual block: levels are found by counting. There are as many downsamplers as upsamplers.
    ups = sum(1 for b, subs in blocks.items() if b.startswith("output") for s, t in subs.items() if s != "0" and "in_layers.0.weight" in t)
    per_level = (count + 1) // (ups + 1)  # residual blocks of a level and its downsampler; the last level has none
    for i in range(count):
        level, j = divmod(i, per_level)
        block = f"input_blocks.{i + 1}"
        if j == per_level - 1:
            names[block, "0"] = f"down_blocks.{level}.downsamplers.0"
        else:
            names[block, "0"] = f"down_blocks.{level}.resnets.{j}"
            if "1" in blocks[block]:
                names[block, "1"] = f"down_blocks.{level}.attentions.{j}"
    for i in range(len(blocks) - count):
        level, j = divmod(i, per_level)
        block = f"output_blocks.{i}"
        for sub, tensors in blocks[block].items():
            kind = "attentions" if "qkv.weight" in tensors else "resnets" if sub == "0" else "upsamplers"
            names[block, sub] = f"up_blocks.{level}.{kind}.{0 if kind == 'upsamplers' else j}"
    return names


def _sub_block(name: str, rest: str, tensor: Tensor) -> dict[str, Tensor]:
    """Tensors of the sub-block that diffusers calls `name`; `rest` is guided-diffusion's name within the sub-block."""
    stem, _, leaf = rest.rpartition(".")
    if stem in _RES:
        return {f"{name}.{_RES[stem]}.{leaf}": tensor}
    if stem == "norm":
        return {f"{name}.group_norm.{leaf}": tensor}
    tensor = tensor.flatten(1) if leaf == "weight" else tensor  # a 1-D convolution of size 1
    if stem == "proj_out":
        return {f"{name}.to_out.0.{leaf}": tensor}
    if stem == "qkv":
        return {f"{name}.to_{letter}.{leaf}": part for letter, part in zip("qkv", tensor.chunk(3), strict=True)}
    raise KeyError(rest)


def merge_lora(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Merge the LoRA of a whole network that was saved under PEFT's names (the RAD authors' release); names become diffusers'.

    Its rank and alpha are equal, so W = W_base + B A.
    """
    out, state = {}, {key.replace(".default.", "."): tensor for key, tensor in state.items()}
    for key, tensor in state.items():
        if ".lora_" in key:
            continue
        name = key.replace(".base_layer.", ".")
        stem = key.replace(".base_layer.weight", "")
        if f"{stem}.lora_A.weight" in state and key.endswith(".base_layer.weight"):
            a, b = (state[f"{stem}.lora_{letter}.weight"].float() for letter in "AB")
            tensor = tensor.float() + (b.flatten(1) @ a.flatten(1)).view(tensor.shape)
        out[name] = tensor
    return out


# What shapes do not show: (model channels, widths, residual blocks) -> (heads, channels per head where those vary, schedule, picture size).
KNOWN = {
    (192, (192, 384, 576, 768), 3): (None, 64, "cosine", 64),
    (256, (256, 256, 512, 768, 1024), 2): (4, None, "linear", 128),
    (128, (128, 128, 256, 256, 512, 512), 1): (None, 64, "linear", 256),
    (256, (256, 256, 512, 512, 1024, 1024), 2): (None, 64, "linear", 256),
    (256, (128, 256, 256, 512, 512, 1024, 1024), 2): (None, 64, "linear", 512),
}


def read_architecture(state: dict[str, Tensor], guided: bool, folder_config: dict) -> UNetConfig:
    """Read the architecture from the tensors, under diffusers' names.

    Args:
        guided: the file is guided-diffusion's, whose GroupNorm epsilon is 1e-5; files in diffusers' format have 1e-6.
        folder_config: diffusers' config.json, or {}.

    Raises:
        KeyError, ValueError: not an ADM network.
    """
    levels = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("down_blocks."))
    blocks = 1 + max(int(k.split(".")[3]) for k in state if k.startswith("down_blocks.0.resnets."))
    widths = tuple(state[f"down_blocks.{i}.resnets.0.conv1.weight"].shape[0] for i in range(levels))
    channels = state["time_embedding.linear_1.weight"].shape[1]
    heads, head_channels, schedule, size = KNOWN.get(
        (channels, widths, blocks), (None, 64 if min(widths[-2:]) >= 128 else 32, "linear", 2 ** (levels + 2))
    )
    return UNetConfig(
        model_channels=channels,
        block_out_channels=widths,
        num_res_blocks=blocks,
        attention=tuple(i for i in range(levels) if f"down_blocks.{i}.attentions.0.to_q.weight" in state),
        num_head_channels=None if heads else int(folder_config.get("attention_head_dim", head_channels)),
        num_heads=heads,
        in_channels=state["conv_in.weight"].shape[1],
        out_channels=state["conv_out.weight"].shape[0],
        num_classes=state["class_embedding.weight"].shape[0] if "class_embedding.weight" in state else None,
        norm_eps=1e-5 if guided else float(folder_config.get("norm_eps", 1e-6)),
        image_size=int(folder_config.get("sample_size") or size),
        schedule=schedule,
    )
