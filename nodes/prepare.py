"""Before the fill: holes made ready, and pictures made larger."""

import torch
from comfy_api.latest import io

from ..rad_core.exemplar import PRESETS
from ..rad_core.images import clamp_mask, resize_mask
from ..rad_core.prepare import extend, prepare_masks
from ..rad_core.sheets import mark_hole
from . import inputs
from .exemplar import FillFromPicture
from .host.previews import KEEP_PREVIEW, SHOWN, mask_preview
from .host.schema import search_aliases
from .host.token_grid import token_size
from .pictures import map_of, match_counts, picture_of

PATCHES, EDGE = "picture's patches", "stretched edge"
LARGEST = 8192


class PrepareHole(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_PrepareHole",
            display_name="Prepare Hole",
            category="region-aware inpainting/masks",
            description="Makes a painted mask ready, in this order: invert, drop specks, fill islands, grow, align to a MODEL's tokens, "
            "feather. Shows the hole over the picture.",
            inputs=[
                io.Mask.Input("mask", tooltip="White is the hole. One mask, or a batch."),
                inputs.invert("Swap hole and kept area first."),
                io.Int.Input("specks", default=0, min=0, max=1000000, tooltip="Drop holes of fewer pixels than this. 0 keeps them all."),
                io.Boolean.Input("fill_islands", default=True, tooltip="What the hole encloses becomes part of it."),
                io.Int.Input("grow", default=0, min=0, max=512, tooltip="Pixels added all around, so that nothing of the thing is left."),
                io.Int.Input(
                    "feather",
                    default=0,
                    min=0,
                    max=512,
                    tooltip="Width in pixels of a soft rim outside the hole. Pixels in it change a little.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="Aligns the hole to what this MODEL decides at once: 8 pixels for SD1.5 and SDXL, 16 for SD3, Flux and Qwen.",
                ),
                io.Image.Input(
                    "image", optional=True, tooltip="The picture to show under the hole in the preview. The mask takes its size."
                ),
            ],
            outputs=[io.Mask.Output(tooltip="The hole, ready for any inpainting node.")],
            **search_aliases("grow mask", "expand mask", "feather mask", "invert mask", "fill holes", "clean mask", "snap mask"),
            **KEEP_PREVIEW,
        )

    @classmethod
    def execute(cls, mask, invert, specks, fill_islands, grow, feather, model=None, image=None) -> io.NodeOutput:
        masks = clamp_mask(map_of(mask).float())
        picture = torch.full((1, 3, *masks.shape[2:]), 0.5) if image is None else picture_of(image)[0]
        if masks.shape[2:] != picture.shape[2:]:
            masks = resize_mask(masks, picture.shape[2:])
        ready = prepare_masks(masks, invert, specks, fill_islands, grow, 1 if model is None else token_size(model), feather)
        if len(ready) not in (1, len(picture)):
            picture = picture[:1]  # it gives size and preview alone, so its count need not fit
        shown = mark_hole(*match_counts(picture[:SHOWN], ready[:SHOWN])).clamp(0, 1)
        return io.NodeOutput(ready[:, 0], ui=mask_preview(shown.movedim(1, -1), cls))


class ExtendPicture(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        side = lambda name, default=0: io.Int.Input(
            name, default=default, min=0, max=LARGEST, step=8, tooltip="Pixels to add on this side."
        )
        return io.Schema(
            node_id="RAI_ExtendPicture",
            display_name="Extend Picture (Outpaint)",
            category="region-aware inpainting",
            description="Makes a picture larger at any side and fills the new part from the picture itself. Returns its mask too, for a "
            "refinement with your checkpoint. The old pixels come back bit-identical.",
            inputs=[
                io.Image.Input("image", tooltip="The picture, or a batch."),
                side("left"),
                side("top"),
                side("right", 128),
                side("bottom"),
                inputs.seed("Another seed, another fill. Picture k of a batch gets seed + k, counted from 0."),
                io.Combo.Input(
                    "fill_with",
                    options=[PATCHES, EDGE],
                    default=PATCHES,
                    tooltip="The picture's patches: a fill to keep, or to start from. The stretched edge: at once, for a refinement with "
                    "a denoise of 1.",
                ),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="default",
                    tooltip="How thoroughly patches are searched.",
                ),
                inputs.frames(),
            ],
            outputs=[io.Image.Output(), io.Mask.Output(tooltip="White where the picture is new.")],
            **search_aliases("outpaint", "outpainting", "extend", "expand image", "uncrop", "pad image", "larger canvas", "widen"),
        )

    @classmethod
    def execute(cls, image, left, top, right, bottom, seed, fill_with=PATCHES, preset="default", frames=False) -> io.NodeOutput:
        larger, hole = extend(image.movedim(-1, 1), left, top, right, bottom)
        larger, mask = larger.movedim(1, -1), hole[:, 0].expand(len(image), -1, -1)
        if fill_with == PATCHES:
            larger, _ = FillFromPicture.execute(larger, hole[:, 0], seed, preset, frames=frames).result
        return io.NodeOutput(larger, mask)
