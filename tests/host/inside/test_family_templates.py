"""Templates that need files of the user's, run to their previews with tiny MODELs of each family in the place of those files."""

import json

import av
import make_workflows
import numpy as np
import pytest
import torch
from families import FAMILIES, build, in_host, prompts
from family_templates import VIDEO
from host import PACK
from test_video import tiny_wan_vae
from test_workflows import check_only
from web_page import painted_photo

STAND_INS = {
    "3 Fill, then refine with your checkpoint": "SD1.5",
    "4 After your own sampler, the rest exact": "SD1.5",
    "4 Edit inside the mask, the rest exact": "Qwen-Image, -Edit",
    "5 GradPaint by family, Flux.1 Fill": "Flux.1 Fill",
    "5 GradPaint by family, Flux.1 dev": "Flux.1 dev",
    "5 GradPaint by family, Flux.2 klein": "Flux.2, klein",
    "5 GradPaint by family, Krea 2 turbo": "Krea 2",
    "5 GradPaint by family, Qwen-Image": "Qwen-Image, -Edit",
    "5 GradPaint by family, SD1.5": "SD1.5",
    "5 GradPaint by family, SDXL": "SDXL",
    "5 GradPaint by family, Wan": "Wan 2.1 (picture)",
    "5 GradPaint by family, Wan video": "Wan 2.1 (picture)",
    "5 GradPaint by family, Z-Image turbo": "Z-Image",
    "5 GradPaint on a checkpoint": "SD1.5",
    "9 Train an adapter for your checkpoint": "SD1.5",
}
QUICK = {
    "KSampler": {"steps": 2},
    "RAI_RADSampler": {"steps": 2},
    "RAI_GradPaintInpaint": {"size": 64, "steps": 2},
    "RAI_TrainRADAdapter": {"size": 64, "steps": 2},
    "RAI_PerlinMaskAnimation": {"frames": 9, "scale": 24.0},
    "ImageFromBatch": {"length": 9},
}


class TinyVAE:
    """Latents of a family's shape without weights: the colours of blocks, again and again."""

    def __init__(self, name: str):
        self.shape, self.block = FAMILIES[name].shape, FAMILIES[name].block

    def spacial_compression_encode(self):
        return self.block

    def encode(self, image):
        small = torch.nn.functional.avg_pool2d(image[..., :3].movedim(-1, 1), self.block) * 2 - 1
        small = small.repeat(1, -(-self.shape[0] // 3), 1, 1)[:, : self.shape[0]]
        return small[:, :, None] if len(self.shape) == 4 else small

    def decode(self, latents):
        flat = latents[:, :3, 0] if latents.ndim == 5 else latents[:, :3]
        return torch.nn.functional.interpolate(flat / 2 + 0.5, scale_factor=self.block).movedim(1, -1)


class TinyCLIP:
    def __init__(self, name: str):
        self.name = name

    def tokenize(self, text, images=(), **options):
        return text

    def encode_from_tokens_scheduled(self, tokens):
        return prompts(self.name, seed=len(tokens))[0]


@pytest.fixture()
def stand_ins(host, monkeypatch):
    """Puts tiny things of a family in the place of every loader."""

    def put(name: str, vae):
        model, clip = build(name), TinyCLIP(name)
        loaded = {"UNETLoader": (model,), "CLIPLoader": (clip,), "DualCLIPLoader": (clip,), "VAELoader": (vae,)}
        loaded["CheckpointLoaderSimple"] = (model, clip, vae)
        for kind, things in loaded.items():
            node = host.nodes.NODE_CLASS_MAPPINGS[kind]
            monkeypatch.setattr(node, node.FUNCTION, lambda self, things=things, **names: things)
        lora = host.nodes.NODE_CLASS_MAPPINGS["LoraLoaderModelOnly"]
        monkeypatch.setattr(lora, lora.FUNCTION, lambda self, model, **names: (model,))

    return put


def write_video(path, frames: int = 9) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 112, 3), dtype=np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=16)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], "yuv420p"
        for k in range(frames):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(pixels, 2 * k, 1), format="rgb24")))
        file.mux(stream.encode())


def folder_of_pictures(host):
    folder = host.base / "input" / "my_pictures"
    folder.mkdir(exist_ok=True)
    return folder


def test_every_template_that_needs_files_has_a_stand_in():
    files = (PACK / "example_workflows").glob("*.json")
    assert set(STAND_INS) == {path.stem for path in files if make_workflows.needs_a_download(json.loads(path.read_text()))}


@pytest.mark.parametrize("template", list(STAND_INS))
def test_template_runs_to_its_preview(host, monkeypatch, stand_ins, template):
    name, video = STAND_INS[template], "video" in template
    if not in_host(name):
        pytest.skip(f"this host does not know {name}")
    write_video(host.base / "input" / VIDEO)
    painted_photo().save(folder_of_pictures(host) / "a.png")
    workflow = json.loads((PACK / "example_workflows" / f"{template}.json").read_text())
    prompt = make_workflows.to_api(workflow, make_workflows.infos_of(host))
    for node in prompt.values():
        node["inputs"].update(QUICK.get(node["class_type"], {}))
    stand_ins(name, tiny_wan_vae(monkeypatch) if video else TinyVAE(name))
    check_only(host, prompt, lambda: run(host, prompt))


def run(host, prompt) -> None:
    success, messages = host.run(prompt)
    assert success, messages
    assert any(event == "executed" and data["output"].get("images") for event, data in host.server.messages)
