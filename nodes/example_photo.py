"""Photographs to try things on, with the hole that removes something from them."""

from pathlib import Path

from comfy_api.latest import io

from ..rad_core import read_mask, read_photo
from .host.schema import search_aliases

FOLDER = Path(__file__).parents[1] / "examples" / "photos"
PHOTOS = {"boardwalk": "path", "light bulb": "bulb", "flagpole": "sunset", "rocks": "waves"}  # what the mask removes: its file


class ExamplePhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_ExamplePhoto",
            display_name="Example Photo",
            category="region-aware inpainting",
            description="A photograph with a mask over something to remove, to try the nodes on before you load a picture of your own.",
            inputs=[
                io.Combo.Input("photo", options=list(PHOTOS), default="boardwalk", tooltip="What the mask covers: the thing to remove."),
            ],
            outputs=[io.Image.Output(tooltip="The photograph, 576x576 pixels."), io.Mask.Output(tooltip="White on what is to be removed.")],
            **search_aliases("sample photo", "test image", "demo picture", "example image", "load image"),
        )

    @classmethod
    def execute(cls, photo) -> io.NodeOutput:
        name = PHOTOS[photo]
        picture, mask = read_photo(FOLDER / f"{name}.jpg").rgb, read_mask(FOLDER / f"{name}.mask.png")
        return io.NodeOutput(picture.movedim(1, -1), mask[:, 0])
