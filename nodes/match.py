"""Bring a fill's colours to its picture, after any sampler."""

from comfy_api.latest import io

from ..rad_core.matching import match_fill
from . import inputs
from .host.schema import search_aliases
from .pictures import image_of, mask_of, match_counts, picture_of


class MatchFill(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_MatchFill",
            display_name="Match Fill to Picture",
            category="region-aware inpainting",
            description="Puts a fill from any sampler or edit model back into the picture: removes the colour drift that the known pixels "
            "around the hole show, and restores every pixel outside the mask bit for bit.",
            inputs=[
                io.Image.Input("filled", tooltip="The whole picture as it came back: from VAE Decode, or an edit model."),
                io.Image.Input("original", tooltip="The picture before."),
                inputs.mask("White is the hole; grey mixes fill and picture."),
                io.Int.Input("ring", default=24, min=1, max=512, tooltip="Width in pixels of the surroundings whose colours are compared."),
                io.Float.Input(
                    "strength", default=1.0, min=0.0, max=1.0, step=0.05, tooltip="How much of the drift is removed. 0 only restores."
                ),
            ],
            outputs=[io.Image.Output()],
            **search_aliases("color match", "colour correction", "stitch", "composite", "drift"),
        )

    @classmethod
    def execute(cls, filled, original, mask, ring, strength) -> io.NodeOutput:
        picture, alpha = picture_of(original)
        picture, hole = match_counts(picture, mask_of(mask))
        return io.NodeOutput(image_of(match_fill(picture_of(filled)[0], picture, hole, ring, strength), alpha, hole))
