"""To look at: how uncertain a fill is, and what it changed."""

from comfy_api.latest import io, ui

from ..rad_core.heat import heat_map
from ..rad_core.images import resize_mask
from .host.schema import compare_widget, search_aliases
from .pictures import map_of, match_counts, picture_of


class UncertaintyHeatMap(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_UncertaintyHeatMap",
            display_name="Uncertainty Heat Map",
            category="region-aware inpainting",
            description="Shows how uncertain each pixel of a fill is, as colours over the picture: dark is certain, light may be wrong.",
            inputs=[
                io.Image.Input("image", tooltip="The filled picture, or a batch."),
                io.Mask.Input("uncertainty", tooltip="From Fill from Picture or SDM Inpaint; any other grey map will do."),
                io.Float.Input(
                    "scale",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    tooltip="The uncertainty that gets the lightest colour, in percent of a colour's range. 0 takes one that suits the "
                    "picture; set it to compare pictures.",
                ),
                io.Boolean.Input("legend", default=True, tooltip="Draw the scale into the lower left corner."),
            ],
            outputs=[io.Image.Output(tooltip="The colours, over the picture in grey.")],
            is_output_node=True,
            **search_aliases("uncertainty", "confidence", "heatmap", "doubt", "colormap", "preview mask"),
        )

    @classmethod
    def execute(cls, image, uncertainty, scale=0.0, legend=True) -> io.NodeOutput:
        picture, uncertain = match_counts(picture_of(image)[0], map_of(uncertainty, "uncertainty map").to(image.device))
        if uncertain.shape[2:] != picture.shape[2:]:
            uncertain = resize_mask(uncertain, picture.shape[2:])
        shown = heat_map(picture, uncertain, scale / 50, legend)[0].movedim(1, -1)
        return io.NodeOutput(shown, ui=ui.PreviewImage(shown, cls=cls))


class BeforeAfter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_BeforeAfter",
            display_name="Before and After",
            category="region-aware inpainting",
            description="Two pictures side by side, and with a slider between them where ComfyUI's Nodes 2.0 are switched on.",
            inputs=[
                io.Image.Input("before", tooltip="The picture as it was."),
                io.Image.Input("after", tooltip="The filled picture."),
                *compare_widget("slider", "Hold the pointer over the picture: left of it is before, right of it after."),
            ],
            outputs=[],
            is_output_node=True,
            **search_aliases("before after", "slider", "compare images", "image comparer", "difference"),
        )

    @classmethod
    def execute(cls, before, after, slider=None) -> io.NodeOutput:
        left, right = (ui.PreviewImage(picture_of(image)[0].movedim(1, -1).float(), cls=cls).values for image in (before, after))
        return io.NodeOutput(ui={"images": [*left, *right], "a_images": left, "b_images": right})  # the slider takes a and b
