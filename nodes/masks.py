"""Masks drawn from a seed."""

from comfy_api.latest import io

from ..rad_core import masks
from ..rad_core.masks import animated_perlin_masks, perlin_masks
from . import inputs
from .host.previews import KEEP_PREVIEW, SHOWN, mask_preview
from .host.schema import search_aliases

CATEGORY = "region-aware inpainting/masks"
SHAPES = {"scratches" if name == "scratch" else name: draw for name, draw in masks.SHAPES.items() if name != "perlin"}


def size_of(width: int, height: int, image) -> tuple[int, int]:
    """Height and width."""
    return (height, width) if image is None else tuple(image.shape[1:3])


def with_preview(mask, node) -> io.NodeOutput:
    """(n, 1, H, W) -> MASK, with a preview on the node."""
    return io.NodeOutput(mask[:, 0], ui=mask_preview(mask[:SHOWN].movedim(1, -1).expand(-1, -1, -1, 3), node))


class PerlinMask(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_PerlinMask",
            display_name="Perlin Mask",
            category=CATEGORY,
            description="Organic blobs from Perlin noise: the masks RAD is trained with, with an artist's controls.",
            inputs=[
                inputs.width(),
                inputs.height(),
                inputs.count(),
                inputs.mask_seed(),
                io.Boolean.Input(
                    "as_in_training",
                    default=False,
                    tooltip="Draw blob size and area at random for every mask, as in RAD's training; scale and area are then ignored.",
                ),
                inputs.scale(),
                inputs.area("the picture"),
                io.Int.Input("octaves", default=1, min=1, max=10, tooltip="Layers of ever finer noise: more make the rim more ragged."),
                inputs.softness(),
                io.Boolean.Input("tileable", default=False, tooltip="Make the mask wrap around without a seam."),
                inputs.invert(),
                inputs.size_of_image(),
            ],
            outputs=[io.Mask.Output(tooltip="White (1) is the hole.")],
            **search_aliases("mask noise", "noise mask", "blobs", "random mask", "organic mask"),
            **KEEP_PREVIEW,
        )

    @classmethod
    def execute(
        cls, width, height, batch_size, seed, as_in_training, scale, area, octaves, softness, tileable, invert, image=None
    ) -> io.NodeOutput:
        scale, area = (None, None) if as_in_training else (scale, area / 100)
        height, width = size_of(width, height, image)
        return with_preview(perlin_masks(batch_size, height, width, seed, scale, area, octaves, softness, tileable, invert), cls)


class PerlinMaskAnimation(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_PerlinMaskAnimation",
            display_name="Perlin Mask Animation",
            category=CATEGORY,
            description="Perlin blobs that change smoothly from frame to frame, for video and batches.",
            inputs=[
                inputs.width(),
                inputs.height(),
                inputs.count("frames", 16, "How many frames."),
                inputs.mask_seed(),
                inputs.scale(),
                inputs.area("every frame"),
                io.Float.Input(
                    "speed",
                    default=0.1,
                    min=0.01,
                    max=10.0,
                    step=0.01,
                    tooltip="How fast the blobs change: after 1 / speed frames everything is new.",
                ),
                inputs.softness(),
                io.Boolean.Input("loop", default=False, tooltip="The last frame leads back to the first; the speed is rounded to fit."),
                inputs.invert(),
                inputs.size_of_image(),
            ],
            outputs=[io.Mask.Output(tooltip="A mask per frame. White (1) is the hole.")],
            **search_aliases("mask noise", "animated mask", "moving mask", "mask sequence", "video mask"),
            **KEEP_PREVIEW,
        )

    @classmethod
    def execute(cls, width, height, frames, seed, scale, area, speed, softness, loop, invert, image=None) -> io.NodeOutput:
        height, width = size_of(width, height, image)
        return with_preview(animated_perlin_masks(frames, height, width, seed, scale, area / 100, speed, softness, loop, invert), cls)


class InpaintMaskShapes(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_InpaintMaskShapes",
            display_name="Inpaint Mask Shapes",
            category=CATEGORY,
            description="The kinds of holes that inpainting papers test with, drawn from a seed.",
            inputs=[
                inputs.width(),
                inputs.height(),
                inputs.count(),
                inputs.mask_seed(),
                io.Combo.Input(
                    "shape",
                    options=list(SHAPES),
                    default="box",
                    tooltip="box: a square hole. extreme: all but a square. wide: a few broad strokes. brush: strokes and rectangles. "
                    "scratches: long thin lines and specks.",
                ),
                io.Float.Input(
                    "share",
                    default=50.0,
                    min=1.0,
                    max=100.0,
                    step=1.0,
                    tooltip="Side of the square in percent of the picture's shorter side; for box and extreme only.",
                ),
                inputs.invert("Swap hole and kept area."),
                inputs.size_of_image(),
            ],
            outputs=[io.Mask.Output(tooltip="White (1) is the hole.")],
            **search_aliases("random mask", "scratches", "box mask", "brush strokes", "hole", "damage"),
            **KEEP_PREVIEW,
        )

    @classmethod
    def execute(cls, width, height, batch_size, seed, shape, share, invert, image=None) -> io.NodeOutput:
        options = {"share": share / 100} if shape in ("box", "extreme") else {}
        mask = SHAPES[shape](batch_size, *size_of(width, height, image), seed, **options)
        return with_preview(1 - mask if invert else mask, cls)
