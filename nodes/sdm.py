"""SDM: a few passes, the most certain pixels first; and RAD on what SDM is uncertain of."""

import torch
from comfy_api.latest import io
from torch import Tensor

from ..rad_core import rad_inpaint, sdm_inpaint
from ..rad_core.images import mean_pool, pasted
from ..rad_core.rad import RADSettings
from ..rad_core.sdm import SCHEDULES, SDMSettings
from . import inputs
from .host.folders import SDM, choices, fingerprint, locate
from .host.progress import Progress
from .host.run import class_labels, in_batches, rad_networks
from .host.schema import search_aliases
from .host.sdm import load_sdm_model, load_sdm_network
from .pictures import check_count, entries, image_of, map_of, mask_of, match_counts, painted, picture_of

CATEGORY = "region-aware inpainting/SDM"
DEFAULTS = SDMSettings()
FRAME_SIDE = 1024  # the longest side of a pass's picture: those of a large photo would fill the memory


class LoadSDMModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_LoadSDMModel",
            display_name="Load SDM Model",
            category="region-aware inpainting/models",
            description="Loads a spatial diffusion network. Files go into models/sdm; a small trained network comes with the pack.",
            inputs=[
                io.Combo.Input("sdm_name", options=choices(SDM), tooltip="A bundled network, or a .safetensors file in models/sdm."),
                inputs.precision(),
            ],
            outputs=[inputs.SDM_MODEL.Output()],
            **search_aliases("spatial diffusion", "load network"),
        )

    @classmethod
    def execute(cls, sdm_name, precision) -> io.NodeOutput:
        return io.NodeOutput(load_sdm_model(locate(SDM, sdm_name), inputs.PRECISIONS[precision]))

    @classmethod
    def fingerprint_inputs(cls, sdm_name, **kwargs):
        return fingerprint(SDM, sdm_name)


class SDMInpaint(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_SDMInpaint",
            display_name="SDM Inpaint",
            category=CATEGORY,
            description="Fills the hole of a picture of any size in a few passes, the most certain pixels first, and shows how uncertain "
            "each pixel is. Pixels outside the mask come back bit-identical.",
            inputs=[
                inputs.SDM_MODEL.Input("sdm", tooltip="From Load SDM Model."),
                inputs.image(),
                inputs.mask("White is the hole; grey mixes fill and picture. One mask may serve many pictures, and the reverse."),
                inputs.seed("Another seed, another fill. Fill k of a batch gets seed + k, counted from 0."),
                io.Int.Input(
                    "iterations", default=DEFAULTS.iterations, min=1, max=64, tooltip="Passes of the network. More than 10 gain nothing."
                ),
                io.Combo.Input(
                    "schedule",
                    options=list(SCHEDULES),
                    default=DEFAULTS.schedule,
                    tooltip="How much is decided after each pass. linear: equally much in each, the paper's best; cubic: little at first.",
                ),
                io.Float.Input(
                    "alpha",
                    default=DEFAULTS.alpha,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Noise on pixels whose value is not final, in units of their uncertainty. The paper's is 0.01.",
                ),
                io.Float.Input(
                    "anchor",
                    default=DEFAULTS.anchor,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How far the fill is made to meet the picture at the rim. 0 is the paper's.",
                ),
                inputs.view("around the hole", "whole picture", "picture's own size"),
                inputs.context(),
                io.Int.Input("fills", default=1, min=1, max=64, tooltip="How many fills of each picture; they come one after the other."),
                io.Float.Input(
                    "memory",
                    default=DEFAULTS.memory,
                    min=0.0,
                    max=0.9,
                    step=0.05,
                    optional=True,
                    tooltip="Weight of a pass's earlier predictions: more is calmer and closer to the truth. 0 is the paper's.",
                ),
                io.Boolean.Input(
                    "refresh",
                    default=DEFAULTS.refresh,
                    optional=True,
                    tooltip="Paint decided pixels anew in every pass, as the paper does. Off: what is decided stays.",
                ),
                inputs.context_mask(),
                inputs.stitch_mask(),
            ],
            outputs=[
                io.Image.Output(),
                io.Mask.Output(
                    display_name="uncertainty",
                    tooltip="How far each pixel may be from the truth: white is half the range of a colour or more.",
                ),
                io.Image.Output(
                    display_name="passes",
                    tooltip="The picture after each pass, grey where undecided; fill after fill; at most 1024 pixels on a side.",
                ),
            ],
            **search_aliases("uncertainty", "confidence", "spatial diffusion", "psm", "fill hole"),
        )

    @classmethod
    def execute(
        cls,
        sdm,
        image,
        mask,
        seed,
        iterations,
        schedule,
        alpha,
        anchor,
        view,
        context,
        fills,
        memory=DEFAULTS.memory,
        refresh=DEFAULTS.refresh,
        context_mask=None,
        stitch_mask=None,
    ) -> io.NodeOutput:
        settings = SDMSettings(iterations, schedule, alpha, anchor, memory, refresh, inputs.VIEWS[view], context)
        picture, transparency = picture_of(image)
        picture, hole = (maps.repeat_interleave(fills, 0) for maps in match_counts(picture, mask_of(mask)))
        context_mask, stitch_mask = (
            _for_fills(painted(maps, len(picture) // fills, name), len(picture))
            for maps, name in ((context_mask, "context mask"), (stitch_mask, "stitch mask"))
        )
        report = Progress(len(picture))
        net = load_sdm_network(sdm, len(picture), picture.shape[2:] if settings.view == "native" else None)

        def fill(start: int, stop: int):
            out, uncertainty, history = sdm_inpaint(
                net,
                picture[start:stop],
                hole[start:stop],
                settings,
                seed=[seed + k for k in range(start, stop)],
                callback=report.part(start, stop),
                context_mask=entries(context_mask, start, stop),
                stitch_mask=entries(stitch_mask, start, stop),
                return_history=True,
            )
            return out, uncertainty[:, 0], torch.stack([_frame(after) for after, _ in history], 1)

        advice = "Choose another view, a smaller picture, or float16 in 'Load SDM Model'."
        out, uncertainty, history = in_batches(fill, len(picture), advice)
        if transparency is not None:
            transparency = transparency.expand(len(out) // fills, -1, -1, -1).repeat_interleave(fills, 0)
        image = image_of(out, transparency, pasted(out, picture, hole, stitch_mask))
        return io.NodeOutput(image, uncertainty, history.flatten(0, 1).movedim(1, -1))


def _frame(picture: Tensor) -> Tensor:
    """A pass's picture for the output *passes*, of at most `FRAME_SIDE`."""
    longest = max(picture.shape[2:])
    if longest <= FRAME_SIDE:
        return picture
    return mean_pool(picture, [max(1, side * FRAME_SIDE // longest) for side in picture.shape[2:]])


class RefineWithRAD(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_RefineWithRAD",
            display_name="Refine with RAD",
            category=CATEGORY,
            description="Re-imagines the uncertain parts of a filled picture, in a few steps: each pixel starts from its present value, "
            "with as much noise as its uncertainty calls for. Pixels outside the mask come back bit-identical.",
            inputs=[
                io.Model.Input("model", tooltip="From Load ADM Model, with a RAD adapter on it."),
                io.Image.Input("image", tooltip="The filled picture, from SDM Inpaint."),
                inputs.mask("The same mask as in SDM Inpaint."),
                io.Mask.Input("uncertainty", tooltip="From SDM Inpaint. Any grey map will do: black stays, white may become anything."),
                inputs.seed("Another seed, other details. Picture k of a batch gets seed + k, counted from 0."),
                inputs.steps(10),
                inputs.rad_sampler("ddim"),
                io.Float.Input(
                    "strength",
                    default=inputs.RAD.sigma_scale,
                    min=0.1,
                    max=100.0,
                    step=0.1,
                    tooltip="How much noise uncertain pixels get, the more the deeper inside the hole. More departs further from the fill.",
                ),
                inputs.view("network's own", "around the hole", "whole picture"),
                inputs.context(),
                inputs.class_label("The class to draw, for class-conditional networks only.", optional=True),
                inputs.detail(),
                inputs.detail_model(),
            ],
            outputs=[io.Image.Output()],
            **search_aliases("region-aware", "uncertainty", "improve", "redo", "detail"),
        )

    @classmethod
    def execute(
        cls,
        model,
        image,
        mask,
        uncertainty,
        seed,
        steps,
        sampler,
        strength,
        view,
        context,
        class_label=0,
        detail=inputs.RAD.detail,
        detail_model=None,
    ) -> io.NodeOutput:
        settings = RADSettings(steps, sampler, view=inputs.VIEWS[view], context=context, detail=detail, sigma_scale=strength)
        picture, alpha = picture_of(image)
        hole, uncertainty = (_for_fills(maps, len(picture)) for maps in (mask_of(mask), map_of(uncertainty, "uncertainty map")))
        picture, hole = match_counts(picture, hole)
        check_count(uncertainty, len(picture), "uncertainty map")
        labels, report = class_labels(model, "Refine with RAD", len(picture), class_label), Progress(len(picture))

        def fill(start: int, stop: int):
            net, detail_net = rad_networks(model, detail_model, "Refine with RAD", stop - start, detail)
            return rad_inpaint(
                net,
                picture[start:stop],
                hole[start:stop],
                settings,
                seed=[seed + k for k in range(start, stop)],
                labels=None if labels is None else labels[start:stop],
                uncertainty=entries(uncertainty, start, stop),
                detail_net=detail_net,
                callback=report.part(start, stop),
            )

        return io.NodeOutput(image_of(in_batches(fill, len(picture)), alpha, hole))


def _for_fills(maps: Tensor | None, count: int) -> Tensor | None:
    """One map of each picture, if any -> one of each of its fills."""
    if maps is None:
        return None
    return maps.repeat_interleave(count // len(maps), 0) if count % len(maps) == 0 else maps
