"""RAD: only the hole is noised and denoised, with a noise level per pixel."""

from comfy_api.latest import io

from ..rad_core import rad_inpaint
from ..rad_core.images import pasted
from ..rad_core.rad import RADSettings
from ..rad_core.samplers import STEPS
from . import inputs
from .host.latents import seeds_of
from .host.progress import Progress
from .host.region_aware import with_levels_alone
from .host.run import class_labels, in_batches, rad_networks
from .host.sampler import HostSampler, run_sampler
from .host.schema import search_aliases
from .pictures import check_count, entries, image_of, mask_of, match_counts, optional_map, painted, picture_of

CATEGORY = "region-aware inpainting/RAD"


class RADInpaint(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_RADInpaint",
            display_name="RAD Inpaint (Region-Aware)",
            category=CATEGORY,
            description="Fills the hole of a picture of any size: crops it with its surroundings, resizes that to the network's size, "
            "samples, and stitches the fill back. Pixels outside the mask come back bit-identical.",
            inputs=[
                io.Model.Input("model", tooltip="From Load ADM Model, with a RAD adapter on it unless it is a RAD network itself."),
                inputs.image(),
                inputs.mask(),
                inputs.seed("Another seed, another fill. Picture k of a batch gets seed + k, counted from 0."),
                inputs.steps(0, "Network calls. 0: what suits the sampler, 20 for ddim and dpmpp_2m, and the paper's 100 for ddpm.", 0),
                inputs.rad_sampler(inputs.RAD.sampler),
                inputs.view("network's own", "around the hole", "whole picture"),
                inputs.context(),
                inputs.eta(),
                inputs.order(),
                inputs.overlap(),
                inputs.class_label("The class to draw, for class-conditional networks only.", optional=True),
                io.Float.Input(
                    "align",
                    default=inputs.RAD.align,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="Smooths the transition across the hole's rim (by GradPaint), for a quarter more time. 0 off, 1 natural.",
                ),
                inputs.detail(),
                inputs.detail_model(),
                inputs.context_mask(),
                inputs.stitch_mask(),
            ],
            outputs=[io.Image.Output()],
            **search_aliases("region-aware", "fill hole", "restore", "scratch repair", "crop and stitch", "outpaint"),
        )

    @classmethod
    def execute(
        cls,
        model,
        image,
        mask,
        seed,
        steps,
        sampler,
        view,
        context,
        eta,
        order=None,
        overlap=inputs.RAD.overlap,
        class_label=0,
        align=inputs.RAD.align,
        detail=inputs.RAD.detail,
        detail_model=None,
        context_mask=None,
        stitch_mask=None,
    ) -> io.NodeOutput:
        eta, overlap = eta if sampler == "ddim" else 0.0, 0.0 if order is None else overlap  # widgets without an effect
        settings = RADSettings(steps or None, sampler, eta, inputs.VIEWS[view], context, detail, align, overlap)
        picture, alpha = picture_of(image)
        picture, hole = match_counts(picture, mask_of(mask))
        count, order = len(picture), optional_map(order, "order map")
        check_count(order, count, "order map")
        context_mask, stitch_mask = painted(context_mask, count, "context mask"), painted(stitch_mask, count, "stitch mask")
        labels = class_labels(model, "RAD Inpaint", count, class_label)
        report = Progress(count)

        def fill(start: int, stop: int):
            net, detail_net = rad_networks(model, detail_model, "RAD Inpaint", stop - start, detail)
            return rad_inpaint(
                net,
                picture[start:stop],
                hole[start:stop],
                settings,
                seed=[seed + k for k in range(start, stop)],
                order=entries(order, start, stop),
                labels=None if labels is None else labels[start:stop],
                detail_net=detail_net,
                callback=report.part(start, stop),
                context_mask=entries(context_mask, start, stop),
                stitch_mask=entries(stitch_mask, start, stop),
            )

        filled = in_batches(fill, count)
        return io.NodeOutput(image_of(filled, alpha, pasted(filled, picture, hole, stitch_mask)))


class RADSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_RADSampler",
            display_name="RAD Sampler",
            category=CATEGORY,
            description="KSampler with RAD's own samplers: a noise level per pixel, clean known pixels, and an optional order. Works on a "
            "latent with a noise mask, at its own size.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="From Load ADM Model with a RAD adapter on it, or any latent model through RAD Spatial Noise Embedding or Load "
                    "RAD Adapter.",
                ),
                inputs.seed(),
                inputs.steps(STEPS["ddpm"]),
                inputs.cfg(1.0, "How strictly the prompt is followed; 1 for ADM networks."),
                inputs.rad_sampler(),
                inputs.scheduler("How the noise falls over the steps. normal for ddpm and ddim, karras for dpmpp_2m."),
                inputs.positive(),
                inputs.negative(),
                io.Latent.Input(
                    "latent_image",
                    tooltip="With a noise mask (Set Latent Noise Mask): 1 is the hole. Without one, everything is generated.",
                ),
                inputs.eta(),
                inputs.order(),
                inputs.overlap(),
            ],
            outputs=[io.Latent.Output()],
            **search_aliases("region-aware", "ksampler", "inpaint latent", "order of generation"),
        )

    @classmethod
    def execute(
        cls,
        model,
        seed,
        steps,
        cfg,
        sampler,
        scheduler,
        positive,
        negative,
        latent_image,
        eta,
        order=None,
        overlap=inputs.RAD.overlap,
    ) -> io.NodeOutput:
        host_sampler = HostSampler(sampler, eta, optional_map(order, "order map"), overlap, seeds_of(seed, latent_image))
        return io.NodeOutput(run_sampler(model, host_sampler, scheduler, steps, seed, cfg, positive, negative, latent_image))


class RADSamplerSelect(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_RADSamplerSelect",
            display_name="RAD Sampler Select",
            category=CATEGORY,
            description="RAD's samplers as a SAMPLER for SamplerCustom and SamplerCustomAdvanced.",
            inputs=[inputs.rad_sampler(), inputs.eta(), inputs.order(), inputs.overlap()],
            outputs=[io.Sampler.Output()],
            **search_aliases("region-aware", "ksampler select"),
        )

    @classmethod
    def execute(cls, sampler, eta, order=None, overlap=inputs.RAD.overlap) -> io.NodeOutput:
        return io.NodeOutput(HostSampler(sampler, eta, optional_map(order, "order map"), overlap))


class RADSpatialNoiseEmbedding(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_RADSpatialNoiseEmbedding",
            display_name="RAD Spatial Noise Embedding",
            category=CATEGORY,
            description="Gives a network the noise level of every latent pixel, or token, and keeps known latents clean. Any KSampler "
            "works on the result; it needs an adapter trained for this to do its best.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="SD1.5, SDXL, SD3, Flux.1, Flux.2, Chroma, Qwen-Image, Z-Image, Krea 2, Anima, Wan and others. LoRA may come "
                    "before or after.",
                )
            ],
            outputs=[io.Model.Output()],
            is_experimental=True,
            **search_aliases("region-aware", "noise per pixel", "differential diffusion", "sd1.5", "sdxl"),
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        return io.NodeOutput(with_levels_alone(model))
