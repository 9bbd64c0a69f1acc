"""Masks drawn from a seed."""

from comfy_api.latest import io, ui

from ..rad_core.masks import animated_perlin_masks, box_masks, brush_masks, extreme_masks, perlin_masks, scratch_masks, wide_masks

CATEGORY = "region-aware inpainting/masks"
SHAPES = {"box": box_masks, "extreme": extreme_masks, "wide": wide_masks, "brush": brush_masks, "scratches": scratch_masks}
INVERT = "Make the hole of the other side of the noise: other blobs, the same area."


def size_inputs(count: str, count_tooltip: str, count_default: int = 1) -> list[io.Input]:
    return [
        io.Int.Input("width", default=512, min=16, max=16384, step=8, tooltip="Width of the mask in pixels."),
        io.Int.Input("height", default=512, min=16, max=16384, step=8, tooltip="Height of the mask in pixels."),
        io.Int.Input(count, default=count_default, min=1, max=4096, tooltip=count_tooltip),
        io.Int.Input(
            "seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip="Another seed draws another mask."
        ),
    ]


def image_input() -> io.Input:
    return io.Image.Input("image", optional=True, tooltip="If connected, the mask takes this image's size instead of width and height.")


def size_of(width: int, height: int, image) -> tuple[int, int]:
    """Height and width."""
    return (height, width) if image is None else tuple(image.shape[1:3])


def shown(mask, node) -> io.NodeOutput:
    """(n, 1, H, W) -> MASK, with a preview on the node."""
    return io.NodeOutput(mask[:, 0], ui=ui.PreviewMask(mask[:, 0], cls=node))


class PerlinMask(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_PerlinMask",
            display_name="Perlin Mask",
            category=CATEGORY,
            description="Organic blobs from Perlin noise: the masks RAD is trained with, with an artist's controls.",
            inputs=[
                *size_inputs("batch_size", "How many masks. Mask k is the one that seed + k gives alone."),
                io.Boolean.Input(
                    "as_in_training",
                    default=False,
                    tooltip="Draw blob size and area at random for every mask, as RAD is trained; scale and area are then not used.",
                ),
                io.Float.Input("scale", default=96.0, min=1.0, max=8192.0, step=1.0, tooltip="Size of the blobs in pixels."),
                io.Float.Input(
                    "area",
                    default=40.0,
                    min=0.0,
                    max=100.0,
                    step=1.0,
                    tooltip="Percent of the picture that becomes hole: to the pixel with a hard rim; a soft one reaches further.",
                ),
                io.Int.Input("octaves", default=1, min=1, max=10, tooltip="Layers of ever finer noise: more make the rim more ragged."),
                io.Float.Input("softness", default=0.0, min=0.0, max=1.0, step=0.01, tooltip="0 is a hard rim; more is a wider soft one."),
                io.Boolean.Input("tileable", default=False, tooltip="Make the mask wrap around without a seam."),
                io.Boolean.Input("invert", default=False, tooltip=INVERT),
                image_input(),
            ],
            outputs=[io.Mask.Output(tooltip="White (1) is the hole.")],
        )

    @classmethod
    def execute(
        cls, width, height, batch_size, seed, as_in_training, scale, area, octaves, softness, tileable, invert, image=None
    ) -> io.NodeOutput:
        scale, area = (None, None) if as_in_training else (scale, area / 100)
        height, width = size_of(width, height, image)
        return shown(perlin_masks(batch_size, height, width, seed, scale, area, octaves, softness, tileable, invert), cls)


class PerlinMaskAnimation(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_PerlinMaskAnimation",
            display_name="Perlin Mask Animation",
            category=CATEGORY,
            description="Perlin blobs that move and change from frame to frame, for video and batches.",
            inputs=[
                *size_inputs("frames", "How many frames.", 16),
                io.Float.Input("scale", default=96.0, min=1.0, max=8192.0, step=1.0, tooltip="Size of the blobs in pixels."),
                io.Float.Input(
                    "area",
                    default=40.0,
                    min=0.0,
                    max=100.0,
                    step=1.0,
                    tooltip="Percent of every frame that becomes hole: to the pixel with a hard rim; a soft one reaches further.",
                ),
                io.Float.Input(
                    "speed",
                    default=0.1,
                    min=0.01,
                    max=10.0,
                    step=0.01,
                    tooltip="How fast the blobs change: after 1 / speed frames all is new.",
                ),
                io.Float.Input("softness", default=0.0, min=0.0, max=1.0, step=0.01, tooltip="0 is a hard rim; more is a wider soft one."),
                io.Boolean.Input("loop", default=False, tooltip="The last frame leads back to the first; the speed is rounded to fit."),
                io.Boolean.Input("invert", default=False, tooltip=INVERT),
                image_input(),
            ],
            outputs=[io.Mask.Output(tooltip="A mask per frame. White (1) is the hole.")],
        )

    @classmethod
    def execute(cls, width, height, frames, seed, scale, area, speed, softness, loop, invert, image=None) -> io.NodeOutput:
        height, width = size_of(width, height, image)
        return shown(animated_perlin_masks(frames, height, width, seed, scale, area / 100, speed, softness, loop, invert), cls)


class InpaintMaskShapes(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_InpaintMaskShapes",
            display_name="Inpaint Mask Shapes",
            category=CATEGORY,
            description="The holes that inpainting papers are measured with, drawn from a seed.",
            inputs=[
                *size_inputs("batch_size", "How many masks. Mask k is the one that seed + k gives alone."),
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
                    tooltip="Side of the square in percent of the picture's shorter side; box and extreme alone have one.",
                ),
                io.Boolean.Input("invert", default=False, tooltip="Swap hole and kept area."),
                image_input(),
            ],
            outputs=[io.Mask.Output(tooltip="White (1) is the hole.")],
        )

    @classmethod
    def execute(cls, width, height, batch_size, seed, shape, share, invert, image=None) -> io.NodeOutput:
        options = {"share": share / 100} if shape in ("box", "extreme") else {}
        mask = SHAPES[shape](batch_size, *size_of(width, height, image), seed, **options)
        return shown(1 - mask if invert else mask, cls)
