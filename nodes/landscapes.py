"""Pictures to try things on, drawn from a seed."""

from comfy_api.latest import io

from ..rad_core import landscapes
from . import inputs
from .host.schema import search_aliases

HOURS = {"any": None, "night": 0.0, "dawn": 6.5, "noon": 12.0, "dusk": 18.5}


class DrawLandscape(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_DrawLandscape",
            display_name="Draw Landscape",
            category="region-aware inpainting",
            description="Draws landscapes from a seed, with a sky, hills and often a lake that mirrors them: what the bundled landscapes "
            "networks were trained on, so the right fill of a hole is known.",
            inputs=[
                io.Int.Input(
                    "size", default=64, min=16, max=2048, step=8, tooltip="Width and height in pixels; the bundled networks work at 64."
                ),
                io.Int.Input(
                    "batch_size", default=1, min=1, max=256, tooltip="How many. Picture k is what seed + k gives alone, counted from 0."
                ),
                inputs.seed("Another seed, another landscape. Seeds below 2^40 were not used in training.", default=7),
                io.Combo.Input(
                    "time_of_day", options=list(HOURS), default="any", tooltip="Light and colours; any draws an hour for each picture."
                ),
            ],
            outputs=[io.Image.Output()],
            **search_aliases("test image", "sample picture", "synthetic", "example image"),
        )

    @classmethod
    def execute(cls, size, batch_size, seed, time_of_day) -> io.NodeOutput:
        return io.NodeOutput(landscapes(batch_size, size, seed, HOURS[time_of_day]).movedim(1, -1))
