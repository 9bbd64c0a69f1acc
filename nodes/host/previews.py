"""Previews on nodes in the middle of a graph, which are not the run's result."""

from dataclasses import fields

from comfy_api.latest import io, ui
from torch import Tensor

# Newer hosts send the preview of a cached node again, if its schema asks for it; 0.3.64 does not.
KEEP_PREVIEW = {"has_intermediate_output": True} if "has_intermediate_output" in {field.name for field in fields(io.Schema)} else {}


SHOWN = 8  # masks of a batch on a node: each is a file of full size


def mask_preview(shown: Tensor, node: type[io.ComfyNode]) -> dict[str, list]:
    """The UI output of a mask's preview, (n, H, W, 3) in [0, 1], n at most `SHOWN`.

    web/js/mask_previews.js draws it on the node, the queue ignores it.
    """
    return {"mask_previews": ui.PreviewImage(shown, cls=node).values}
