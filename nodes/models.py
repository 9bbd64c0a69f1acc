"""Networks and adapters from files."""

import torch
from comfy_api.latest import io

from .host.adapters import with_adapter
from .host.adm import load_adm, pixel_vae
from .host.folders import ADAPTERS, ADM, choices, fingerprint, locate

CATEGORY = "region-aware inpainting/models"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class LoadADMModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RAI_LoadADMModel",
            display_name="Load ADM Model",
            category=CATEGORY,
            description="Loads a pixel-space diffusion network (ADM / guided-diffusion) as a MODEL that every sampler runs on. Files go "
            "into models/adm; small trained networks come with the pack.",
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
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default="float32",
                    tooltip="float16 and bfloat16 halve the memory and are faster on a GPU; pictures differ a little.",
                ),
            ],
            outputs=[io.Model.Output(), io.Vae.Output(tooltip="Pixels are this network's latents: encode and decode with this VAE.")],
        )

    @classmethod
    def execute(cls, model_name, attention_order, precision) -> io.NodeOutput:
        return io.NodeOutput(load_adm(locate(ADM, model_name), attention_order, PRECISIONS[precision]), pixel_vae())

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
                io.Int.Input(
                    "class_label",
                    default=0,
                    min=0,
                    max=100000,
                    tooltip="What to draw, for networks that draw by class (ImageNet: 0 to 999). Others do not look at it.",
                )
            ],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, class_label) -> io.NodeOutput:
        return io.NodeOutput([[torch.zeros(1, 1, 1), {"class_label": torch.tensor([class_label])}]])


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
                io.Model.Input("model", tooltip="The network the adapter was trained on, from Load ADM Model."),
                io.Combo.Input(
                    "adapter_name",
                    options=choices(ADAPTERS),
                    tooltip="A bundled adapter, or a file in models/rad_adapters: a .safetensors, also that of a PEFT folder.",
                ),
                io.Float.Input(
                    "strength", default=1.0, min=-10.0, max=10.0, step=0.01, tooltip="1 as trained, 0 off, between or beyond to blend."
                ),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model, adapter_name, strength) -> io.NodeOutput:
        return io.NodeOutput(with_adapter(model, locate(ADAPTERS, adapter_name), strength))

    @classmethod
    def fingerprint_inputs(cls, adapter_name, **kwargs):
        return fingerprint(ADAPTERS, adapter_name)
