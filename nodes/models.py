"""Networks and adapters from files."""

from comfy_api.latest import io

from . import inputs
from .host.adapters import with_adapter
from .host.adm import class_conditioning, load_adm, pixel_vae
from .host.folders import ADAPTERS, ADM, choices, fingerprint, locate
from .host.schema import search_aliases

CATEGORY = "region-aware inpainting/models"


class LoadADMModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_LoadADMModel",
            display_name="Load ADM Model",
            category=CATEGORY,
            description="Loads a pixel-space diffusion network (ADM / guided-diffusion) as a MODEL for any sampler. Files go into "
            "models/adm; a small trained network comes with the pack.",
            inputs=[
                io.Combo.Input(
                    "model_name", options=choices(ADM), tooltip="A bundled network, or a .safetensors, .pt or .bin file in models/adm."
                ),
                io.Combo.Input(
                    "attention_order",
                    options=["auto", "legacy", "new"],
                    default="auto",
                    tooltip="Order of the attention channels in the file. Leave it at auto unless a network gives noise.",
                ),
                inputs.precision(),
            ],
            outputs=[io.Model.Output(), io.Vae.Output(tooltip="Pixels are this network's latents: encode and decode with this VAE.")],
            **search_aliases("guided diffusion", "pixel diffusion", "load network", "load checkpoint"),
        )

    @classmethod
    def execute(cls, model_name, attention_order, precision) -> io.NodeOutput:
        return io.NodeOutput(load_adm(locate(ADM, model_name), attention_order, inputs.PRECISIONS[precision]), pixel_vae())

    @classmethod
    def fingerprint_inputs(cls, model_name, **kwargs):
        return fingerprint(ADM, model_name)


class ADMConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_ADMConditioning",
            display_name="ADM Conditioning",
            category=CATEGORY,
            description="ADM networks read no text. Connect this to both positive and negative of a KSampler.",
            inputs=[
                inputs.class_label("The class to draw, for class-conditional networks (ImageNet: 0 to 999). Other networks ignore it."),
            ],
            outputs=[io.Conditioning.Output()],
            **search_aliases("class label", "imagenet class", "empty prompt"),
        )

    @classmethod
    def execute(cls, class_label) -> io.NodeOutput:
        return io.NodeOutput(class_conditioning(class_label))


class LoadRADAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_LoadRADAdapter",
            display_name="Load RAD Adapter",
            category=CATEGORY,
            description="Puts a RAD adapter (LoRA and time layers) on a network, so that it fills holes. Chain several to stack them. "
            "Files go into models/rad_adapters.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The network the adapter was trained on, from Load ADM Model, or a latent model such as SDXL, Flux.2 or "
                    "Z-Image.",
                ),
                io.Combo.Input(
                    "adapter_name",
                    options=choices(ADAPTERS),
                    tooltip="A bundled adapter, or a .safetensors file in models/rad_adapters; one from a PEFT folder works too.",
                ),
                io.Float.Input(
                    "strength", default=1.0, min=-10.0, max=10.0, step=0.01, tooltip="1 as trained, 0 off, between or beyond to blend."
                ),
            ],
            outputs=[io.Model.Output()],
            **search_aliases("load lora", "inpaint lora", "region-aware"),
        )

    @classmethod
    def execute(cls, model, adapter_name, strength) -> io.NodeOutput:
        return io.NodeOutput(with_adapter(model, locate(ADAPTERS, adapter_name), strength))

    @classmethod
    def fingerprint_inputs(cls, adapter_name, **kwargs):
        return fingerprint(ADAPTERS, adapter_name)
