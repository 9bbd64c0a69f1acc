"""SDM: a few passes, the surest pixels first; and RAD on what SDM doubts."""

import torch
from comfy_api.latest import io
from torch import Tensor

from ..rad_core import rad_inpaint, sdm_inpaint
from ..rad_core.rad import STRENGTH
from ..rad_core.sdm import MEMORY, SCHEDULES
from .host.folders import SDM, choices, fingerprint, locate
from .host.run import in_batches, loaded, progress
from .host.sdm import load_sdm_model, loaded_sdm
from .models import PRECISIONS
from .pictures import broadcast, image_of, mask_of, picture_of, together
from .rad import OWN_SIZE, SEED, VIEWS, sampler_input, view_inputs, view_width

CATEGORY = "region-aware inpainting/SDM"
SDMModelType = io.Custom("SDM_MODEL")


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
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default="float32",
                    tooltip="float16 and bfloat16 halve the memory and are faster on a GPU; pictures differ a little.",
                ),
            ],
            outputs=[SDMModelType.Output()],
        )

    @classmethod
    def execute(cls, sdm_name, precision) -> io.NodeOutput:
        return io.NodeOutput(load_sdm_model(locate(SDM, sdm_name), PRECISIONS[precision]))

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
            description="Fills the hole of a picture of any size in a few passes, the surest pixels first, and shows how uncertain each "
            "pixel is. Pixels outside the mask come back unchanged, to the last bit.",
            inputs=[
                SDMModelType.Input("sdm", tooltip="From Load SDM Model."),
                io.Image.Input("image", tooltip="The picture, or a batch. What stands in the hole is not looked at."),
                io.Mask.Input(
                    "mask", tooltip="White is the hole; grey mixes fill and picture. One may serve many pictures, and the reverse."
                ),
                io.Int.Input("seed", **SEED, tooltip="Another seed, another fill. Fill k of a batch gets seed + k."),
                io.Int.Input("iterations", default=4, min=1, max=64, tooltip="Passes of the network. Gains end at 9 or 10."),
                io.Combo.Input(
                    "schedule",
                    options=list(SCHEDULES),
                    default="linear",
                    tooltip="How much is decided after each pass. linear: as much in each, the paper's best; cubic: little at first.",
                ),
                io.Float.Input(
                    "alpha",
                    default=0.01,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Noise on what is not decided for good, in units of its uncertainty. The paper's is 0.01.",
                ),
                io.Float.Input(
                    "anchor",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How far the fill is made to meet the picture at the rim. 0 is the paper's.",
                ),
                *view_inputs([*VIEWS[1:], OWN_SIZE], VIEWS[1]),
                io.Int.Input("fills", default=1, min=1, max=64, tooltip="How many fills of each picture; they come one after the other."),
                io.Float.Input(
                    "memory",
                    default=MEMORY,
                    min=0.0,
                    max=0.9,
                    step=0.05,
                    optional=True,
                    tooltip="How much of its earlier predictions a pass holds to: calmer and closer to the truth. 0 is the paper's.",
                ),
                io.Boolean.Input(
                    "refresh",
                    default=False,
                    optional=True,
                    tooltip="Paint in every pass what was decided earlier anew, as the paper does. Off: what is decided stays.",
                ),
            ],
            outputs=[
                io.Image.Output(),
                io.Mask.Output(
                    display_name="uncertainty",
                    tooltip="How far each pixel may be from the truth: white is half the range of a colour or more.",
                ),
                io.Image.Output(
                    display_name="passes", tooltip="What stood after each pass, grey where nothing was decided; fill after fill."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, sdm, image, mask, seed, iterations, schedule, alpha, anchor, view, context, fills, memory=MEMORY, refresh=False
    ) -> io.NodeOutput:
        picture, alpha_channel = picture_of(image)
        picture, hole = (maps.repeat_interleave(fills, 0) for maps in together(picture, mask_of(mask)))
        size = sdm.model.generator.size
        net = loaded_sdm(sdm, (len(picture), *(picture.shape[2:] if view == OWN_SIZE else (size, size))))

        def fill(start: int, stop: int):
            out, uncertainty, history = sdm_inpaint(
                net,
                picture[start:stop],
                hole[start:stop],
                iterations,
                [seed + k for k in range(start, stop)],
                schedule,
                alpha,
                anchor,
                memory,
                refresh,
                view_width(view, context),
                callback=progress(iterations),
                return_history=True,
            )
            return out, uncertainty[:, 0], torch.stack([shown for shown, _ in history], 1)

        out, uncertainty, history = in_batches(
            fill, len(picture), "Choose another view, a smaller picture, or float16 in 'Load SDM Model'."
        )
        alpha_channel = None if alpha_channel is None else alpha_channel.expand(len(out) // fills, -1, -1, -1).repeat_interleave(fills, 0)
        return io.NodeOutput(image_of(out, alpha_channel, hole), uncertainty, history.flatten(0, 1).movedim(1, -1))


class RefineWithRAD(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_RefineWithRAD",
            display_name="Refine with RAD",
            category=CATEGORY,
            description="Re-imagines what is doubtful in a filled picture, in a few steps: each pixel starts from what it shows, with as "
            "much noise as its uncertainty calls for. Pixels outside the mask come back unchanged, to the last bit.",
            inputs=[
                io.Model.Input("model", tooltip="From Load ADM Model, with a RAD adapter on it."),
                io.Image.Input("image", tooltip="The filled picture, from SDM Inpaint."),
                io.Mask.Input("mask", tooltip="The hole, as it was given to SDM Inpaint."),
                io.Mask.Input("uncertainty", tooltip="From SDM Inpaint. Any grey map will do: black stays, white may become anything."),
                io.Int.Input("seed", **SEED, tooltip="Another seed, other details. Picture k of a batch gets seed + k."),
                io.Int.Input("steps", default=10, min=1, max=1000, tooltip="Network calls."),
                sampler_input("dpmpp_2m"),
                io.Float.Input(
                    "strength",
                    default=STRENGTH,
                    min=0.1,
                    max=100.0,
                    step=0.1,
                    tooltip="Noise in units of the uncertainty. More departs further from what stands there.",
                ),
                *view_inputs(VIEWS, VIEWS[0]),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, model, image, mask, uncertainty, seed, steps, sampler, strength, view, context) -> io.NodeOutput:
        picture, alpha = picture_of(image)
        hole, doubt = (_for_fills(maps, len(picture)) for maps in (mask_of(mask), uncertainty.reshape(-1, 1, *uncertainty.shape[-2:])))
        picture, hole = together(picture, hole)
        if doubt.shape[0] not in (1, len(picture)):
            raise ValueError(f"{len(picture)} pictures and {doubt.shape[0]} uncertainty maps do not fit: connect as many, or one for all.")
        net = loaded(model, "Refine with RAD", len(picture))

        def fill(start: int, stop: int):
            return rad_inpaint(
                net,
                picture[start:stop],
                hole[start:stop],
                steps,
                sampler,
                [seed + k for k in range(start, stop)],
                view_width(view, context),
                doubt=broadcast(doubt, start, stop),
                strength=strength,
                callback=progress(steps),
            )

        return io.NodeOutput(image_of(in_batches(fill, len(picture)), alpha, hole))


def _for_fills(maps: Tensor, count: int) -> Tensor:
    """One map of each picture -> one of each of its fills."""
    return maps.repeat_interleave(count // len(maps), 0) if count % len(maps) == 0 else maps
