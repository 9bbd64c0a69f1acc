// Nodes that make a mask ready send its preview under a name of its own: the queue takes the first of a run's "images" for its
// thumbnail, which is to be the picture. On the node it is drawn like any other preview. See nodes/host/previews.py.
import { api } from "../../../scripts/api.js"
import { app } from "../../../scripts/app.js"

const draw = output => {
    if (output?.mask_previews) output.images ??= output.mask_previews
}

api.addEventListener("executed", ({ detail }) => draw(detail.output)) // before the page's own listener, which is added after extensions
app.registerExtension({
    name: "RegionAwareInpainting.MaskPreviews",
    onNodeOutputsUpdated: outputs => Object.values(outputs).forEach(draw), // a run opened from the history
})
