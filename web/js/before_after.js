// Before and After: the page gives pictures to the slider of its own node "Compare Images" alone, so this gives them to ours.
import { api } from "../../../scripts/api.js"
import { app } from "../../../scripts/app.js"

const sliderOf = node => node?.comfyClass === "RAI_BeforeAfter" && node.widgets?.find(widget => widget.name === "slider")
const urls = pictures => pictures.map(picture => api.apiURL(`/view?${new URLSearchParams(picture)}`))

const show = (node, output) => {
    const slider = sliderOf(node)
    if (slider && output?.a_images) slider.value = { beforeImages: urls(output.a_images), afterImages: urls(output.b_images) }
}

const nodeAt = place => {
    const [id, subgraph] = place.split(":").reverse() // "5", or "subgraph:5" within a subgraph
    return (subgraph ? app.graph.subgraphs?.get(subgraph) : app.graph)?.getNodeById(id)
}

app.registerExtension({
    name: "RegionAwareInpainting.BeforeAfter",
    nodeCreated(node) {
        const slider = sliderOf(node)
        if (!slider) return
        slider.options.serialize = false // what it shows is no input: a second run comes from the cache
        const executed = node.onExecuted
        node.onExecuted = function (output) {
            executed?.apply(this, arguments)
            show(this, output)
        }
    },
    onNodeOutputsUpdated: outputs => Object.entries(outputs).forEach(([place, output]) => show(nodeAt(place), output)), // from the history
})
