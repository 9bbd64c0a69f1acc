"""GradPaint: guidance that makes any MODEL respect the picture around the hole, without training."""

import torch
from comfy_api.latest import io

from ..rad_core.gradpaint import PRESETS
from ..rad_core.guidance import Guidance
from ..rad_core.images import pasted
from . import inputs
from .host.crop_conditioning import in_crops, model_in_crop, one_by_one, with_inpaint_inputs, with_reference
from .host.gradpaint import GradPaintGuider, HostSettings, run_gradpaint, sample_crops
from .host.progress import Progress
from .host.run import in_batches
from .host.schema import search_aliases
from .host.through_vae import fill_through_vae, fills_videos
from .host.token_grid import working_size
from .pictures import image_of, mask_of, match_counts, painted, picture_of

CATEGORY = "region-aware inpainting/GradPaint"
CFG = 7.0
CFG_TIP = "How strictly the prompt is followed; 1 for ADM networks and Flux."
STEPS = 30
STEPS_TIP = "Steps of the sampler. A guided step costs two network calls."
ADVICE = "Choose a smaller size."
VIDEO_ADVICE = "Choose a smaller size, or connect fewer frames."
DEFAULTS, HOST_DEFAULTS = Guidance(), HostSettings()


def resolve(preset: str, settings: HostSettings | None) -> HostSettings:
    """The connected settings, else the preset."""
    return settings or HostSettings(PRESETS[preset].guidance)


class GradPaintSettingsNode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_GradPaintSettings",
            display_name="GradPaint Settings",
            category=CATEGORY,
            description="GradPaint's parameters, for when a preset is not enough. The defaults are the preset 'plus'.",
            inputs=[
                io.Float.Input(
                    "until",
                    default=100 * DEFAULTS.until,
                    min=0.0,
                    max=100.0,
                    step=1.0,
                    tooltip="Percent of the steps, from the first, that are guided.",
                ),
                io.Int.Input(
                    "every",
                    default=DEFAULTS.every,
                    min=1,
                    max=100,
                    tooltip="Guide every k-th of them. 2 saves a quarter of the time.",
                ),
                io.Combo.Input(
                    "step",
                    options=["line_search", "normalised", "none"],
                    default=DEFAULTS.step,
                    tooltip="line_search: the step length is computed, at no extra cost. normalised: the paper's fixed length, for noisy "
                    "samplers. none: no step along the gradient, which takes no extra time.",
                ),
                io.Float.Input(
                    "eta",
                    default=DEFAULTS.eta,
                    min=0.0,
                    max=20.0,
                    step=0.05,
                    tooltip="Strength. line_search: the longest move, as a multiple of the best one, 1 to 4; runs of few steps take less. "
                    "normalised: the whole run's length, 0.4 to 1.",
                ),
                io.Float.Input(
                    "lambda_align",
                    default=DEFAULTS.lambda_align,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip="Weight of a smooth transition across the rim.",
                ),
                io.Float.Input(
                    "align_until",
                    default=100 * DEFAULTS.align_until,
                    min=0.0,
                    max=100.0,
                    step=1.0,
                    tooltip="Percent of the steps that smooth the rim. Beyond 50, real edges at the rim are flattened.",
                ),
                io.Combo.Input(
                    "align_in",
                    options=["colours", "TAESD", "latent"],
                    default=HOST_DEFAULTS.align_in,
                    tooltip="What is compared across the rim: the colours that latents stand for (costs nothing), their decoding by TAESD "
                    "(its file must be in models/vae_approx), or the latents' own values.",
                ),
                io.Int.Input(
                    "inner_steps", default=DEFAULTS.inner_steps, min=1, max=10, tooltip="Moves per step; each costs a network call."
                ),
                io.Int.Input(
                    "band",
                    default=DEFAULTS.band,
                    min=0,
                    max=1024,
                    tooltip="Known pixels are compared within this many latent pixels of the hole (one is 8 pixels in SD). 0: all of them.",
                ),
                io.Int.Input(
                    "patience",
                    default=DEFAULTS.patience,
                    min=0,
                    max=1000,
                    tooltip="Stop guiding when the loss has not fallen for this many guided steps. 0: never.",
                ),
                io.Boolean.Input(
                    "conditional_only",
                    default=HOST_DEFAULTS.conditional_only,
                    tooltip="Guide by the positive prompt's prediction alone: with CFG this saves a quarter of the time.",
                ),
                io.Boolean.Input(
                    "carry",
                    default=DEFAULTS.carry,
                    optional=True,
                    tooltip="Carry the error that is left around the hole into it, as far as the picture is smooth. Takes no extra time. "
                    "With a step other than none, only in runs of up to 10 steps.",
                ),
            ],
            outputs=[inputs.GRADPAINT_SETTINGS.Output(display_name="settings")],
            **search_aliases("guidance strength", "inpaint options"),
        )

    @classmethod
    def execute(cls, until, align_until, align_in, conditional_only, **numbers) -> io.NodeOutput:
        guidance = Guidance(until=until / 100, align_until=align_until / 100, **numbers)
        return io.NodeOutput(HostSettings(guidance, align_in, conditional_only))


class GradPaintGuiderNode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_GradPaintGuider",
            display_name="GradPaint Guider",
            category=CATEGORY,
            description="A guider for SamplerCustomAdvanced that fills a picture's hole and keeps the rest. Connect the same latents here "
            "and to the sampler.",
            inputs=[
                inputs.any_model(),
                inputs.cfg(CFG, CFG_TIP),
                inputs.positive(),
                inputs.negative(),
                io.Latent.Input("picture", tooltip="The picture, from VAE Encode. Its own noise mask is ignored."),
                inputs.mask("White is the hole; grey changes a little."),
                inputs.preset(),
                inputs.settings(),
            ],
            outputs=[io.Guider.Output()],
            **search_aliases("inpaint guider", "guidance"),
        )

    @classmethod
    def execute(cls, model, cfg, positive, negative, picture, mask, preset, settings=None) -> io.NodeOutput:
        return io.NodeOutput(GradPaintGuider(model, positive, negative, cfg, resolve(preset, settings), picture, mask_of(mask)))


class GradPaintSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_GradPaintSampler",
            display_name="GradPaint Sampler",
            category=CATEGORY,
            description="KSampler with GradPaint: fills a latent's hole (its noise mask) so that it fits its surroundings. Works on any "
            "image or video MODEL, and changes nothing in it.",
            inputs=[
                inputs.any_model(),
                inputs.seed(),
                inputs.steps(STEPS, STEPS_TIP),
                inputs.cfg(CFG, CFG_TIP),
                inputs.host_sampler(),
                inputs.scheduler(),
                inputs.positive(),
                inputs.negative(),
                io.Latent.Input("latent_image", tooltip="With a noise mask (Set Latent Noise Mask): 1 is the hole."),
                inputs.denoise(),
                inputs.preset(),
                inputs.settings(),
            ],
            outputs=[io.Latent.Output()],
            **search_aliases("ksampler", "inpaint latent", "seamless"),
        )

    @classmethod
    def execute(
        cls, model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise, preset, settings=None
    ) -> io.NodeOutput:
        guider = GradPaintGuider(model, positive, negative, cfg, resolve(preset, settings))
        return io.NodeOutput(run_gradpaint(guider, seed, steps, sampler_name, scheduler, denoise, latent_image))


class GradPaintInpaint(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_GradPaintInpaint",
            display_name="GradPaint Inpaint",
            category=CATEGORY,
            description="Fills the hole of a picture of any size, or of a video's frames, with any image or video MODEL: crops it, "
            "samples, matches colours and stitches the fill back. Pixels outside the mask come back bit-identical.",
            inputs=[
                inputs.any_model(),
                io.Vae.Input("vae", tooltip="The MODEL's VAE; for ADM networks the one from Load ADM Model."),
                io.Image.Input("image", tooltip="The picture, or a batch."),
                inputs.mask(),
                inputs.seed(),
                inputs.steps(STEPS, STEPS_TIP),
                inputs.cfg(CFG, CFG_TIP),
                inputs.host_sampler(),
                inputs.scheduler(),
                inputs.positive(),
                inputs.negative(),
                inputs.denoise(),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=8192,
                    step=8,
                    tooltip="Longer side the network works at: 512 for SD1.5, 1024 for SDXL, Flux. 0: an ADM network's own, else 512.",
                ),
                inputs.context("How much the network sees around the hole on each side, as a multiple of the hole's size."),
                inputs.preset(),
                inputs.settings(),
                io.Boolean.Input(
                    "video",
                    default=False,
                    optional=True,
                    tooltip="The batch is the frames of a video: the crop follows the mask steadily, and a video MODEL fills all at once.",
                ),
                io.Combo.Input(
                    "reference",
                    options=["crop", "whole"],
                    default="crop",
                    optional=True,
                    tooltip="For edit models (Flux Kontext, Flux.2, Qwen-Image-Edit): their first reference picture is the crop, or stays "
                    "the whole one of the conditioning.",
                ),
                inputs.context_mask(),
                inputs.stitch_mask(),
            ],
            outputs=[io.Image.Output()],
            **search_aliases("crop and stitch", "fill hole", "inpaint any model", "replace", "masked edit"),
        )

    @classmethod
    def execute(
        cls,
        model,
        vae,
        image,
        mask,
        seed,
        steps,
        cfg,
        sampler_name,
        scheduler,
        positive,
        negative,
        denoise,
        size,
        context,
        preset,
        settings=None,
        video=False,
        reference="crop",
        context_mask=None,
        stitch_mask=None,
    ) -> io.NodeOutput:
        picture, alpha = picture_of(image)
        picture, hole = match_counts(picture, mask_of(mask))
        side, stride = working_size(model, size)
        chosen, count, whole = resolve(preset, settings), len(picture), video and fills_videos(model, vae)
        report = Progress(count)
        context_mask, stitch_mask = painted(context_mask, count, "context mask"), painted(stitch_mask, count, "stitch mask")

        def fill(start: int, stop: int):
            def sample(latents, holes, numbers, crop_latents, cut):
                words = [with_reference(each, crop_latents) if reference == "crop" else each for each in (positive, negative)]
                words = [with_inpaint_inputs(each, lambda: crop_latents(True), holes) for each in words]
                words = in_crops(words, picture.shape[2:], latents, cut)
                guider = GradPaintGuider(model_in_crop(model, cut), *words, cfg, chosen)
                callback = report.of_latents(model, numbers[0], count if whole else numbers[0] + len(latents))
                return sample_crops(guider, seed, steps, sampler_name, scheduler, denoise, latents, holes, numbers, callback)

            return fill_through_vae(
                vae,
                picture,
                hole,
                size=side,
                stride=stride,
                context=context,
                keep=denoise < 1,
                sample=sample,
                video=video,
                whole=whole,
                context_mask=context_mask,
                stitch_mask=stitch_mask,
                start=start,
                stop=stop,
            )

        if whole:
            filled = in_batches(lambda *_: fill(0, count), 1, VIDEO_ADVICE, "one video")
        elif one_by_one(model, positive, negative):
            filled = torch.cat([in_batches(lambda *_, k=k: fill(k, k + 1), 1, ADVICE) for k in range(count)])
        else:
            filled = in_batches(fill, count, ADVICE)
        return io.NodeOutput(image_of(filled, alpha, pasted(filled, picture, hole, stitch_mask)))
