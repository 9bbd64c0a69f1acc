"""GradPaint: guidance that makes any MODEL respect the picture around the hole, without training."""

from comfy_api.latest import io

from ..rad_core import PRESETS, GradPaintSettings
from .host.gradpaint import GradPaintGuider, HostSettings, run_gradpaint
from .host.run import in_batches
from .host.sampler import SAMPLER_NAMES, SCHEDULERS
from .host.through_vae import fill_through_vae, working_size
from .pictures import image_of, mask_of, picture_of, together
from .rad import SEED

CATEGORY = "region-aware inpainting/GradPaint"
Settings = io.Custom("GRADPAINT_SETTINGS")
MODEL_TIP = "Any image MODEL: SD1.5, SDXL, SD3, Flux, or one from Load ADM Model. LoRA and ControlNet work."


def guidance_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "preset",
            options=["plus", "paper", "combine"],
            default="plus",
            tooltip="plus: guides all steps, twice the time, best. paper: as published, 1.5 times the time, for noisy samplers. combine: "
            "no guidance, the known part is only put back in every step.",
        ),
        Settings.Input("settings", optional=True, tooltip="From GradPaint Settings. Takes the place of the preset."),
    ]


def resolved(preset: str, settings: HostSettings | None) -> HostSettings:
    return settings or HostSettings(PRESETS[preset])


def prompt_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            "cfg", default=7.0, min=0.0, max=100.0, step=0.1, tooltip="How strictly the prompt is followed; 1 for ADM networks and Flux."
        ),
        io.Conditioning.Input("positive", tooltip="The prompt; for ADM networks ADM Conditioning."),
        io.Conditioning.Input("negative", tooltip="The negative prompt; for ADM networks ADM Conditioning."),
    ]


def run_inputs() -> list[io.Input]:
    return [
        io.Int.Input("seed", **SEED, tooltip="Another seed, another fill."),
        io.Int.Input("steps", default=30, min=1, max=1000, tooltip="Steps of the sampler. A guided step costs two network calls."),
        io.Combo.Input("sampler_name", options=SAMPLER_NAMES, default="euler", tooltip="Any of the host's samplers."),
        io.Combo.Input("scheduler", options=SCHEDULERS, default="normal", tooltip="How the noise falls over the steps."),
        io.Float.Input(
            "denoise",
            default=1.0,
            min=0.01,
            max=1.0,
            step=0.01,
            tooltip="1 forgets what stood in the hole; less keeps some of it.",
        ),
    ]


class GradPaintSettingsNode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_GradPaintSettings",
            display_name="GradPaint Settings",
            category=CATEGORY,
            description="GradPaint's numbers, in place of a preset. As they stand they are the preset 'plus'.",
            inputs=[
                io.Float.Input(
                    "until", default=100.0, min=0.0, max=100.0, step=1.0, tooltip="Percent of the steps, from the first, that are guided."
                ),
                io.Int.Input("every", default=1, min=1, max=100, tooltip="Guide every so many of them. 2 saves a quarter of the time."),
                io.Combo.Input(
                    "step",
                    options=["line_search", "normalised"],
                    default="line_search",
                    tooltip="line_search: as far as pays, found at no cost. normalised: the paper's fixed length, for noisy samplers.",
                ),
                io.Float.Input(
                    "eta",
                    default=3.0,
                    min=0.0,
                    max=20.0,
                    step=0.05,
                    tooltip="Strength. line_search: times the best length, 1 to 4. normalised: the whole run's way, 0.4 to 1.",
                ),
                io.Float.Input(
                    "lambda_align",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip="Weight of a smooth passage across the rim.",
                ),
                io.Float.Input(
                    "align_until",
                    default=45.0,
                    min=0.0,
                    max=100.0,
                    step=1.0,
                    tooltip="Percent of the steps that look at the rim. Beyond 50 real edges at the rim are flattened.",
                ),
                io.Combo.Input(
                    "align_in",
                    options=["colours", "TAESD", "latent"],
                    default="colours",
                    tooltip="Where the rim is looked at: the colours that latents stand for (costs nothing), their decoding by TAESD "
                    "(its file must lie in models/vae_approx), or the latents' own values.",
                ),
                io.Int.Input("inner_steps", default=1, min=1, max=10, tooltip="Moves in a step; each costs a network call."),
                io.Int.Input(
                    "band",
                    default=8,
                    min=0,
                    max=1024,
                    tooltip="What is known counts within so many latent pixels of the hole (one is 8 pixels in SD). 0: all of it.",
                ),
                io.Int.Input(
                    "patience",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Stop guiding when the loss has not fallen for so many guided steps. 0: never.",
                ),
                io.Boolean.Input(
                    "conditional_only",
                    default=False,
                    tooltip="Guide by the positive prompt's prediction alone: with CFG this saves a quarter of the time.",
                ),
            ],
            outputs=[Settings.Output(display_name="settings")],
        )

    @classmethod
    def execute(cls, until, align_until, align_in, conditional_only, **numbers) -> io.NodeOutput:
        core = GradPaintSettings(until=until / 100, align_until=align_until / 100, **numbers)
        return io.NodeOutput(HostSettings(core, align_in, conditional_only))


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
                io.Model.Input("model", tooltip=MODEL_TIP),
                *prompt_inputs(),
                io.Latent.Input("picture", tooltip="The picture, from VAE Encode. Its own noise mask is not looked at."),
                io.Mask.Input("mask", tooltip="White is the hole; grey changes a little."),
                *guidance_inputs(),
            ],
            outputs=[io.Guider.Output()],
        )

    @classmethod
    def execute(cls, model, cfg, positive, negative, picture, mask, preset, settings=None) -> io.NodeOutput:
        hole = mask_of(mask)
        return io.NodeOutput(GradPaintGuider(model, positive, negative, cfg, resolved(preset, settings), picture["samples"], hole))


class GradPaintSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_GradPaintSampler",
            display_name="GradPaint Sampler",
            category=CATEGORY,
            description="KSampler with GradPaint: fills a latent's hole (its noise mask) so that it fits what is around it. Works on any "
            "image MODEL, and changes nothing in it.",
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                *run_inputs()[:2],
                *prompt_inputs()[:1],
                *run_inputs()[2:4],
                *prompt_inputs()[1:],
                io.Latent.Input("latent_image", tooltip="With a noise mask (Set Latent Noise Mask): 1 is the hole."),
                *run_inputs()[4:],
                *guidance_inputs(),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(
        cls, model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise, preset, settings=None
    ) -> io.NodeOutput:
        guider = GradPaintGuider(model, positive, negative, cfg, resolved(preset, settings))
        return io.NodeOutput(run_gradpaint(guider, seed, steps, sampler_name, scheduler, denoise, latent_image))


class GradPaintInpaint(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_GradPaintInpaint",
            display_name="GradPaint Inpaint",
            category=CATEGORY,
            description="Fills the hole of a picture of any size with any image MODEL: cuts it out, samples, matches colours "
            "and puts the fill back. Pixels outside the mask come back unchanged, to the last bit.",
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TIP),
                io.Vae.Input("vae", tooltip="The MODEL's VAE; for ADM networks the one from Load ADM Model."),
                io.Image.Input("image", tooltip="The picture, or a batch."),
                io.Mask.Input("mask", tooltip="White is the hole; grey changes a little. One may serve all."),
                *run_inputs()[:2],
                *prompt_inputs()[:1],
                *run_inputs()[2:4],
                *prompt_inputs()[1:],
                *run_inputs()[4:],
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=8192,
                    step=8,
                    tooltip="Longer side the network works at: 512 for SD1.5, 1024 for SDXL, Flux. 0: an ADM network's own, else 512.",
                ),
                io.Float.Input(
                    "context",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How much is seen around the hole on each side, as a multiple of its size.",
                ),
                *guidance_inputs(),
            ],
            outputs=[io.Image.Output()],
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
    ) -> io.NodeOutput:
        picture, alpha = picture_of(image)
        picture, hole = together(picture, mask_of(mask))
        side, stride = working_size(model, vae, size)
        chosen = resolved(preset, settings)

        def fill(start: int, stop: int):
            def sample(latents, holes, first):
                guider = GradPaintGuider(model, positive, negative, cfg, chosen)
                latent = {"samples": latents, "noise_mask": holes}
                return run_gradpaint(guider, seed + start + first, steps, sampler_name, scheduler, denoise, latent, apart=True)["samples"]

            return fill_through_vae(vae, picture[start:stop], hole[start:stop], side, stride, context, denoise < 1, sample)

        return io.NodeOutput(image_of(in_batches(fill, len(picture), "Choose a smaller size."), alpha, hole))
