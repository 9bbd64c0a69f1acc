"""RAD: only the hole is noised and denoised, with a noise level per pixel."""

from comfy_api.latest import io

from ..rad_core import SAMPLERS, rad_inpaint
from ..rad_core.samplers import STEPS
from .host.run import in_batches, loaded, progress
from .host.sampler import SCHEDULERS, HostSampler, run_sampler
from .host.spatial_embedding import with_spatial_embedding
from .pictures import broadcast, image_of, mask_of, picture_of, together

CATEGORY = "region-aware inpainting/RAD"
SEED = {"default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF, "control_after_generate": True}


VIEWS = ["network's own", "around the hole", "whole picture"]
OWN_SIZE = "picture's own size"


def view_inputs(options: list[str], default: str) -> list[io.Input]:
    own = "The photos network works in tiles at the picture's own scale; others see the hole with its surroundings, resized to their size."
    free = "The network sees the hole with its surroundings or the whole picture, resized to its size, or all at the picture's own size."
    return [
        io.Combo.Input("view", options=options, default=default, tooltip="What the network sees. " + own if VIEWS[0] in options else free),
        io.Float.Input(
            "context",
            default=1.0,
            min=0.0,
            max=10.0,
            step=0.05,
            tooltip="For the view 'around the hole': how much is seen on each side, as a multiple of the hole's size.",
        ),
    ]


def view_width(view: str, context: float) -> float | str | None:
    """As `rad_core` takes it."""
    return {"network's own": None, "around the hole": context, "whole picture": float("inf"), OWN_SIZE: "own"}[view]


def sampler_input(default: str = "ddpm") -> io.Input:
    return io.Combo.Input(
        "sampler",
        options=list(SAMPLERS),
        default=default,
        tooltip="ddpm: the paper's, best at 100 steps. dpmpp_2m and ddim: deterministic, with fewer steps.",
    )


def eta_input() -> io.Input:
    return io.Float.Input("eta", default=0.0, min=0.0, max=1.0, step=0.05, tooltip="Noise of ddim: 0 none, 1 as much as ddpm.")


def order_inputs() -> list[io.Input]:
    return [
        io.Mask.Input("order", optional=True, tooltip="Grey map: what is black here is generated first, what is white last."),
        io.Float.Input(
            "overlap",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="With an order: at 0 what is black is finished when white begins, and each part has half of the steps; 1 generates all "
            "together, each part with all steps.",
        ),
    ]


class RADInpaint(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_RADInpaint",
            display_name="RAD Inpaint",
            category=CATEGORY,
            description="Fills the hole of a picture of any size: cuts it out with what is around it, brings that to the network's size, "
            "samples, and puts the fill back. Pixels outside the mask come back unchanged, to the last bit.",
            inputs=[
                io.Model.Input("model", tooltip="From Load ADM Model, with a RAD adapter on it unless it is a RAD network itself."),
                io.Image.Input("image", tooltip="The picture, or a batch. What stands in the hole is not looked at."),
                io.Mask.Input(
                    "mask", tooltip="White is the hole; grey changes a little. One mask may serve many pictures, and the reverse."
                ),
                io.Int.Input("seed", **SEED, tooltip="Another seed, another fill. Picture k of a batch gets seed + k."),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Network calls. 0: what suits the sampler, 20 for ddim and dpmpp_2m, and the paper's 100 for ddpm.",
                ),
                sampler_input("ddim"),
                *view_inputs(VIEWS, VIEWS[0]),
                eta_input(),
                *order_inputs(),
                io.Int.Input(
                    "class_label",
                    default=0,
                    min=0,
                    max=100000,
                    optional=True,
                    tooltip="What to draw, for networks that draw by class alone.",
                ),
                io.Float.Input(
                    "align",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="Smooths the passage across the hole's rim (by GradPaint), for a quarter more time. 0 off, 1 natural.",
                ),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(
        cls, model, image, mask, seed, steps, sampler, view, context, eta, order=None, overlap=0.0, class_label=0, align=0.0
    ) -> io.NodeOutput:
        picture, alpha = picture_of(image)
        picture, hole = together(picture, mask_of(mask))
        count = len(picture)
        order = None if order is None else order.reshape(-1, 1, *order.shape[-2:])
        if order is not None and order.shape[0] not in (1, count):
            raise ValueError(f"{count} pictures and {order.shape[0]} order maps do not fit: connect as many, or one for all.")
        net, steps = loaded(model, "RAD Inpaint", count), steps or STEPS[sampler]
        labels = None
        if net.config.num_classes:
            labels = picture.new_full((1,), class_label).long()

        def fill(start: int, stop: int):
            return rad_inpaint(
                net,
                picture[start:stop],
                hole[start:stop],
                steps=steps,
                sampler=sampler,
                seed=[seed + k for k in range(start, stop)],
                context=view_width(view, context),
                eta=eta,
                order=broadcast(order, start, stop),
                overlap=overlap,
                align=align,
                labels=None if labels is None else labels.expand(stop - start),
                callback=progress(steps),
            )

        return io.NodeOutput(image_of(in_batches(fill, count), alpha, hole))


class RADSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_RADSampler",
            display_name="RAD Sampler",
            category=CATEGORY,
            description="KSampler with RAD's own samplers: a noise level per pixel, known pixels clean, and if wanted an order. Works on a "
            "latent with a noise mask, at its own size.",
            inputs=[
                io.Model.Input("model", tooltip="From Load ADM Model, or SD1.5 or SDXL through RAD Spatial Noise Embedding."),
                io.Int.Input("seed", **SEED, tooltip="Another seed, another fill."),
                io.Int.Input("steps", default=50, min=1, max=1000, tooltip="Network calls."),
                io.Float.Input(
                    "cfg", default=1.0, min=0.0, max=100.0, step=0.1, tooltip="How strictly the prompt is followed; 1 for ADM networks."
                ),
                sampler_input(),
                io.Combo.Input(
                    "scheduler",
                    options=SCHEDULERS,
                    default="normal",
                    tooltip="How the noise falls over the steps. normal for ddpm and ddim, karras for dpmpp_2m.",
                ),
                io.Conditioning.Input("positive", tooltip="The prompt; for ADM networks ADM Conditioning."),
                io.Conditioning.Input("negative", tooltip="The negative prompt; for ADM networks ADM Conditioning."),
                io.Latent.Input(
                    "latent_image", tooltip="With a noise mask (Set Latent Noise Mask): 1 is the hole. Without, all is generated."
                ),
                eta_input(),
                *order_inputs(),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(
        cls, model, seed, steps, cfg, sampler, scheduler, positive, negative, latent_image, eta, order=None, overlap=0.0
    ) -> io.NodeOutput:
        host_sampler = HostSampler(sampler, eta, order, overlap)
        return io.NodeOutput(run_sampler(model, host_sampler, scheduler, steps, seed, cfg, positive, negative, latent_image))


class RADSamplerSelect(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_RADSamplerSelect",
            display_name="RAD Sampler Select",
            category=CATEGORY,
            description="RAD's samplers as a SAMPLER for SamplerCustom and SamplerCustomAdvanced.",
            inputs=[
                sampler_input(),
                eta_input(),
                *order_inputs(),
            ],
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    def execute(cls, sampler, eta, order=None, overlap=0.0) -> io.NodeOutput:
        return io.NodeOutput(HostSampler(sampler, eta, order, overlap))


class RADSpatialNoiseEmbedding(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_RADSpatialNoiseEmbedding",
            display_name="RAD Spatial Noise Embedding",
            category=CATEGORY,
            description="Tells an SD1.5 or SDXL network the noise level of every latent pixel and keeps known latents clean. Any KSampler "
            "works on the result; it wants an adapter trained for it to give its best.",
            inputs=[io.Model.Input("model", tooltip="A U-Net that predicts noise or v: SD1.5, SD2, SDXL. LoRA may come before or after.")],
            outputs=[io.Model.Output()],
            is_experimental=True,
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        return io.NodeOutput(with_spatial_embedding(model))
