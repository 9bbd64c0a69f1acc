"""Fills side by side, to choose a method or its settings."""

import numpy as np
import torch
from comfy_api.latest import io, ui

from ..rad_core.compare import comparison
from ..rad_core.images import clamp_mask, resize_mask
from . import inputs
from .host.schema import search_aliases
from .pictures import map_of, match_counts, picture_of

COUNT = 6


class InpaintCompare(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_InpaintCompare",
            display_name="Inpaint Compare",
            category="region-aware inpainting",
            description="Puts several fills of the same hole side by side, with a table of how far each is from the original, how visible "
            "its rim is, and whether anything outside the mask was changed.",
            inputs=[
                io.Image.Input("original", tooltip="The picture without a hole."),
                inputs.mask("The hole that was filled."),
                io.Image.Input("result_1", tooltip="A filled picture."),
                *(io.Image.Input(f"result_{k}", optional=True, tooltip="Another filled picture.") for k in range(2, COUNT + 1)),
                io.String.Input("labels", default="", optional=True, tooltip="Names of the results, separated by commas."),
            ],
            outputs=[
                io.Image.Output(tooltip="Labelled columns, with the table below."),
                io.String.Output(display_name="table", tooltip="The table as Markdown."),
            ],
            is_output_node=True,
            **search_aliases("compare images", "before after", "side by side", "quality", "metrics"),
        )

    @classmethod
    def execute(cls, original, mask, result_1, labels="", **others) -> io.NodeOutput:
        results = [result_1, *(others[f"result_{k}"] for k in range(2, COUNT + 1) if others.get(f"result_{k}") is not None)]
        names = [name.strip() for name in labels.split(",")]
        while names and not names[-1]:  # after a comma at the end
            names.pop()
        if len(names) > len(results):
            raise ValueError(f"There are {len(names)} labels for {len(results)} results: enter at most one for each, separated by commas.")
        truth, hole = match_counts(picture_of(original)[0], clamp_mask(map_of(mask).float()).to(original.device))
        fills = {}
        for k, image in enumerate(results):
            name, fill = names[k] if k < len(names) and names[k] else f"result {k + 1}", picture_of(image)[0].to(truth.device)
            if fill.shape[2:] != truth.shape[2:]:
                have, want = (f"{maps.shape[3]}x{maps.shape[2]}" for maps in (fill, truth))
                raise ValueError(f"'{name}' is {have}, but the original is {want}: resize one of them.")
            while name in fills:
                name += f" ({k + 1})"
            fills[name] = fill
        count = max(len(truth), *(len(fill) for fill in fills.values()))
        if any(len(maps) not in (1, count) for maps in (truth, *fills.values())):
            raise ValueError(
                f"Batches of {', '.join(str(len(m)) for m in (truth, *fills.values()))} pictures do not fit: connect equally many each."
            )
        expand = lambda maps: maps.expand(count, -1, -1, -1)
        if hole.shape[2:] != truth.shape[2:]:
            hole = resize_mask(hole, truth.shape[2:])
        sheet, table = comparison(expand(truth), expand(hole), {name: expand(fill) for name, fill in fills.items()})
        image = torch.from_numpy(np.array(sheet))[None].float() / 255
        return io.NodeOutput(image, table, ui=ui.PreviewImage(image, cls=cls))
