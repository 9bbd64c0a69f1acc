"""Write example_workflows/*.json, in the web page's format, from short descriptions and the nodes' own schemas.

Run with the host's interpreter: python tools/make_workflows.py
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "host" / "inside"))
from host import HOST, PACK, Host

__all__ = ["HOST", "PACK", "Host"]  # for make_pictures

# Each node: name: (type, {input: value, or "name" / ("name", slot) of another node}, (column, row)[, title])
# Each note: name: ("Note", text[, (width, height)])
LANDSCAPE = ("RAI_DrawLandscape", {"seed": 7, "size": 64, "batch_size": 1, "time_of_day": "any"}, (0, 0))
MODEL = ("RAI_LoadADMModel", {"model_name": "landscapes (bundled)"}, (0, 1))
ADAPTER = ("RAI_LoadRADAdapter", {"model": "model", "adapter_name": "landscapes (bundled)"}, (1, 1))
BOX = ("RAI_InpaintMaskShapes", {"width": 64, "height": 64, "shape": "box", "share": 40.0, "seed": 3, "image": "picture"}, (1, 0))
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
GRADPAINT = {"image": "picture", "mask": "mask", "positive": "words", "negative": "words", "seed": 1, "cfg": 1.0, "sampler_name": "ddim"}
SAMPLING = {
    "model": "model",
    "positive": "words",
    "negative": "words",
    "latent_image": "hole",
    "seed": 1,
    "steps": 30,
    "cfg": 1.0,
    "sampler_name": "ddim",
    "scheduler": "normal",
}
SDM = ("RAI_LoadSDMModel", {"sdm_name": "landscapes (bundled)"}, (0, 1))
LARGER = {"upscale_method": "nearest-exact", "scale_by": 5.0}
RAD = {"model": "adapter", "image": "picture", "mask": "mask", "seed": 1}

PHOTO = ("RAI_ExamplePhoto", {"photo": "boardwalk"}, (0, 0))
FILL = ("RAI_FillFromPicture", {"image": "photo", "mask": ("photo", 1), "seed": 0, "grow": 4}, (1, 0))

WORKFLOWS = {
    "1 Remove something from a photo": {
        "photo": PHOTO,
        "fill": FILL,
        "before": ("PreviewImage", {"images": "photo"}, (0, 1), "Before"),
        "after": ("PreviewImage", {"images": "fill"}, (2, 0), "After: the boardwalk is gone"),
        "note": (
            "Note",
            "Press Run: the boardwalk is removed, and its place filled with the picture's own reeds and grass. No network, nothing to "
            "download. About 5 seconds on a CPU, with a preview while it works.\n\n"
            "Change first: the photo, or the seed for another fill. 'grow' widens the hole by 4 pixels here, because the mask misses the "
            "last plank by a little.\n\n"
            "Your own photo: double-click the canvas, add Load Image and choose your file; right-click it, 'Open in MaskEditor', and paint "
            "over what is to go, a little beyond its edge and shadow. Connect its IMAGE and MASK in place of Example Photo's.",
            (1100, 140),
        ),
    },
    "2 Fill, then refine with your checkpoint": {
        "photo": PHOTO,
        "fill": (*FILL[:2], (0, 1)),
        "filled": ("PreviewImage", {"images": "fill"}, (1, 0), "Filled from the picture"),
        "checkpoint": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT}, (2, 0)),
        "words": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "a photo of reeds and grass, sharp focus"}, (2, 1)),
        "not": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "blurry, path, text, watermark"}, (2, 2)),
        "refine": (
            "RAI_GradPaintInpaint",
            GRADPAINT
            | {
                "model": "checkpoint",
                "vae": ("checkpoint", 2),
                "image": "fill",
                "mask": ("photo", 1),
                "negative": "not",
                "cfg": 7.0,
                "sampler_name": "euler_ancestral",
                "denoise": 0.6,
                "size": 512,
            },
            (3, 0),
        ),
        "after": ("PreviewImage", {"images": "refine"}, (4, 0), "Refined by your checkpoint"),
        "note": (
            "Note",
            "Fill from Picture removes the boardwalk in about 5 seconds; your checkpoint then redraws the fill. It starts from the fill "
            "instead of from noise, so light and colours fit already. Needs a checkpoint of yours, not an inpainting one: choose it, and "
            "set 'size' to what it was made for: 512 for SD1.5, 1024 for SDXL.\n\n"
            "Change first: denoise. 0.5 keeps the fill's shapes, 0.7 redraws more of them. Then the prompt: what is to stand there.\n\n"
            "The refinement takes about as long as 36 steps of a KSampler: seconds on a GPU, minutes on a CPU.",
            (1100, 140),
        ),
    },
    "RAD inpaint": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": BOX,
        "adapter": ADAPTER,
        "rad": ("RAI_RADInpaint", RAD, (2, 0)),
        "larger": ("ImageScaleBy", {"image": "rad", "upscale_method": "nearest-exact", "scale_by": 5.0}, (3, 0)),
        "after": ("PreviewImage", {"images": "larger"}, (3, 1)),
        "note": (
            "Note",
            "Fills the hole of a drawn landscape with the bundled network. For your own picture put Load Image in place of "
            "Draw Landscape, and your network and adapter into the two loaders.",
        ),
    },
    "RAD as in the paper": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": BOX,
        "adapter": ADAPTER,
        "rad": ("RAI_RADInpaint", RAD | {"sampler": "ddpm", "steps": 100, "align": 0.0}, (2, 0)),
        "larger": ("ImageScaleBy", {"image": "rad", "upscale_method": "nearest-exact", "scale_by": 5.0}, (3, 0)),
        "after": ("PreviewImage", {"images": "larger"}, (3, 1)),
        "note": ("Note", "RAD with its paper's settings: 100 steps of DDPM, and no smoothing of the rim."),
    },
    "Perlin mask": {
        "still": ("RAI_PerlinMask", {"batch_size": 4, "octaves": 2, "seed": 5}, (0, 0)),
        "moving": ("RAI_PerlinMaskAnimation", {"frames": 8, "loop": True, "seed": 5}, (0, 1)),
        "stills": ("MaskToImage", {"mask": "still"}, (1, 0)),
        "frames": ("MaskToImage", {"mask": "moving"}, (1, 1)),
        "shown": ("PreviewImage", {"images": "stills"}, (2, 0)),
        "shown too": ("PreviewImage", {"images": "frames"}, (2, 1)),
    },
    "Adapter swap": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": ("RAI_InpaintMaskShapes", BOX[1] | {"shape": "extreme", "share": 25.0}, (1, 0)),
        "adapter": ("RAI_LoadRADAdapter", {"model": "model", "adapter_name": "landscapes (bundled)"}, (1, 1)),
        "night": ("RAI_LoadRADAdapter", {"model": "model", "adapter_name": "night (bundled)"}, (1, 2)),
        "rad": ("RAI_RADInpaint", RAD, (2, 0)),
        "rad at night": ("RAI_RADInpaint", RAD | {"model": "night"}, (2, 1)),
        "larger": ("ImageScaleBy", {"image": "rad", "upscale_method": "nearest-exact", "scale_by": 5.0}, (3, 0)),
        "after": ("PreviewImage", {"images": "larger"}, (3, 1)),
        "larger at night": ("ImageScaleBy", {"image": "rad at night", "upscale_method": "nearest-exact", "scale_by": 5.0}, (3, 2)),
        "after at night": ("PreviewImage", {"images": "larger at night"}, (3, 3)),
        "note": (
            "Note",
            "The same hole and seed with two adapters on one network. The night adapter was trained on night landscapes alone: "
            "around a piece of daylight it paints a night. Nothing is loaded twice.",
        ),
    },
    "Order map": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": ("RAI_InpaintMaskShapes", BOX[1] | {"shape": "extreme"}, (1, 0)),
        "adapter": ADAPTER,
        "order": ("RAI_PerlinMask", {"scale": 48.0, "area": 50.0, "softness": 1.0, "seed": 2, "image": "picture"}, (1, 2)),
        "rad": ("RAI_RADInpaint", RAD | {"order": "order", "overlap": 0.5, "sampler": "ddpm", "align": 0.0}, (2, 0)),
        "larger": ("ImageScaleBy", {"image": "rad", "upscale_method": "nearest-exact", "scale_by": 5.0}, (3, 0)),
        "after": ("PreviewImage", {"images": "larger"}, (3, 1)),
        "note": ("Note", "Nearly all of the picture is a hole, and the grey map sets what is generated first: black first, white last."),
    },
    "KSampler on ADM": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": BOX,
        "adapter": ADAPTER,
        "conditioning": ("RAI_ADMConditioning", {"class_label": 0}, (1, 2)),
        "encode": ("VAEEncode", {"pixels": "picture", "vae": ("model", 1)}, (2, 0)),
        "hole": ("SetLatentNoiseMask", {"samples": "encode", "mask": "mask"}, (2, 1)),
        "sample": (
            "KSampler",
            {
                "model": "adapter",
                "positive": "conditioning",
                "negative": "conditioning",
                "latent_image": "hole",
                "seed": 1,
                "steps": 50,
                "cfg": 1.0,
                "sampler_name": "dpmpp_2m_sde",
                "scheduler": "karras",
            },
            (3, 0),
        ),
        "decode": ("VAEDecode", {"samples": "sample", "vae": ("model", 1)}, (4, 0)),
        "larger": ("ImageScaleBy", {"image": "decode", "upscale_method": "nearest-exact", "scale_by": 5.0}, (4, 1)),
        "after": ("PreviewImage", {"images": "larger"}, (4, 2)),
    },
    "Outpainting": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "pad": ("ImagePadForOutpaint", {"image": "picture", "left": 0, "top": 0, "right": 24, "bottom": 0, "feathering": 0}, (1, 0)),
        "adapter": ADAPTER,
        "rad": ("RAI_RADInpaint", RAD | {"image": "pad", "mask": ("pad", 1), "view": "whole picture"}, (2, 0)),
        "larger": ("ImageScaleBy", {"image": "rad", "upscale_method": "nearest-exact", "scale_by": 5.0}, (3, 0)),
        "after": ("PreviewImage", {"images": "larger"}, (3, 1)),
    },
    "GradPaint": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": BOX,
        "words": ("RAI_ADMConditioning", {"class_label": 0}, (1, 1)),
        "fill": ("RAI_GradPaintInpaint", GRADPAINT | {"model": "model", "vae": ("model", 1)}, (2, 0)),
        "larger": ("ImageScaleBy", {"image": "fill", "upscale_method": "nearest-exact", "scale_by": 5.0}, (3, 0)),
        "after": ("PreviewImage", {"images": "larger"}, (3, 1)),
        "note": (
            "Note",
            "GradPaint on a network that was never trained to fill holes: the bundled one without its RAD adapter. "
            "Put your own MODEL, VAE and prompts in place of it: see 'GradPaint on a checkpoint'.",
        ),
    },
    "GradPaint on a checkpoint": {
        "picture": ("LoadImage", {"image": "example.png"}, (0, 0)),
        "checkpoint": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT}, (0, 1)),
        "mask": ("RAI_InpaintMaskShapes", {"shape": "box", "share": 40.0, "seed": 3, "image": "picture"}, (1, 0)),
        "words": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "a photo, sharp focus"}, (1, 1)),
        "not": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "blurry, text, watermark"}, (1, 2)),
        "fill": (
            "RAI_GradPaintInpaint",
            GRADPAINT
            | {
                "model": "checkpoint",
                "vae": ("checkpoint", 2),
                "negative": "not",
                "cfg": 7.0,
                "sampler_name": "euler_ancestral",
                "size": 512,
            },
            (2, 0),
        ),
        "after": ("PreviewImage", {"images": "fill"}, (3, 0)),
        "note": (
            "Note",
            "Choose a checkpoint of your own (not an inpainting one) and set 'size' to what it was made for: 512 for SD1.5, 1024 for SDXL. "
            "Paint the hole in the mask editor and connect Load Image's mask, or keep the box.",
        ),
    },
    "GradPaint before and after": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": BOX,
        "words": ("RAI_ADMConditioning", {"class_label": 0}, (1, 1)),
        "encode": ("VAEEncode", {"pixels": "picture", "vae": ("model", 1)}, (2, 0)),
        "hole": ("SetLatentNoiseMask", {"samples": "encode", "mask": "mask"}, (2, 1)),
        "before": ("KSampler", SAMPLING, (3, 0)),
        "after": ("RAI_GradPaintSampler", SAMPLING, (3, 1)),
        "decoded before": ("VAEDecode", {"samples": "before", "vae": ("model", 1)}, (4, 0)),
        "decoded after": ("VAEDecode", {"samples": "after", "vae": ("model", 1)}, (4, 1)),
        "larger before": ("ImageScaleBy", {"image": "decoded before", "upscale_method": "nearest-exact", "scale_by": 5.0}, (5, 0)),
        "larger after": ("ImageScaleBy", {"image": "decoded after", "upscale_method": "nearest-exact", "scale_by": 5.0}, (5, 1)),
        "shown before": ("PreviewImage", {"images": "larger before"}, (6, 0)),
        "shown after": ("PreviewImage", {"images": "larger after"}, (6, 1)),
        "note": ("Note", "The same network, seed, sampler and steps: above with the host's own masked sampling, below with GradPaint."),
    },
    "SDM inpaint": {
        "picture": LANDSCAPE,
        "network": SDM,
        "mask": BOX,
        "fill": ("RAI_SDMInpaint", {"sdm": "network", "image": "picture", "mask": "mask", "seed": 1}, (2, 0)),
        "larger": ("ImageScaleBy", {"image": "fill"} | LARGER, (3, 0)),
        "after": ("PreviewImage", {"images": "larger"}, (3, 1)),
        "uncertainty": ("MaskToImage", {"mask": ("fill", 1)}, (4, 0)),
        "larger uncertainty": ("ImageScaleBy", {"image": "uncertainty"} | LARGER, (4, 1)),
        "shown uncertainty": ("PreviewImage", {"images": "larger uncertainty"}, (4, 2)),
        "larger passes": ("ImageScaleBy", {"image": ("fill", 2)} | LARGER, (5, 0)),
        "passes": ("PreviewImage", {"images": "larger passes"}, (5, 1)),
        "note": (
            "Note",
            "Fills the hole in four passes, the most certain pixels first. On the right: how uncertain each pixel is (white: very), and "
            "the picture after each pass.",
        ),
    },
    "Refine with RAD": {
        "picture": LANDSCAPE,
        "network": SDM,
        "model": ("RAI_LoadADMModel", MODEL[1], (0, 2)),
        "mask": BOX,
        "adapter": ADAPTER,
        "fill": ("RAI_SDMInpaint", {"sdm": "network", "image": "picture", "mask": "mask", "seed": 1}, (2, 0)),
        "refine": (
            "RAI_RefineWithRAD",
            {"model": "adapter", "image": "fill", "mask": "mask", "uncertainty": ("fill", 1), "seed": 1},
            (3, 0),
        ),
        "larger fill": ("ImageScaleBy", {"image": "fill"} | LARGER, (4, 0)),
        "before": ("PreviewImage", {"images": "larger fill"}, (4, 1)),
        "larger": ("ImageScaleBy", {"image": "refine"} | LARGER, (5, 0)),
        "after": ("PreviewImage", {"images": "larger"}, (5, 1)),
        "note": ("Note", "SDM fills the hole, and RAD re-imagines in ten steps what SDM is uncertain of."),
    },
    "Train an adapter": {
        "pictures": ("RAI_DrawLandscape", {"seed": 1000, "size": 64, "batch_size": 64, "time_of_day": "night"}, (0, 0)),
        "model": MODEL,
        "train": (
            "RAI_TrainRADAdapter",
            {"model": "model", "images": "pictures", "adapter_name": "nights", "steps": 300, "learning_rate": 0.001, "save_every": 50},
            (1, 0),
        ),
        "curve": ("PreviewImage", {"images": ("train", 1)}, (2, 0)),
        "samples": ("PreviewImage", {"images": ("train", 2)}, (3, 0)),
        "note": (
            "Note",
            "Teaches the bundled network to fill holes with nights. For your own pictures, enter their folder's name in Train RAD "
            "Adapter and disconnect Draw Landscape. The new file then appears in Load RAD Adapter (press R). Safe to cancel: run it "
            "again to resume.",
        ),
    },
    "Photo repair": {
        "picture": ("LoadImage", {"image": "example.png"}, (0, 0)),
        "model": ("RAI_LoadADMModel", {"model_name": "photos (bundled)"}, (0, 1)),
        "mask": ("RAI_InpaintMaskShapes", {"shape": "scratches", "seed": 8, "image": "picture"}, (1, 0)),
        "rad": ("RAI_RADInpaint", RAD | {"model": "model"}, (2, 0)),
        "after": ("PreviewImage", {"images": "rad"}, (3, 0)),
        "note": (
            "Note",
            "Choose a photo of your own in Load Image: the picture there is a drawing, and this network was trained on photographs, so "
            "in flat colours it leaves faint lines. The mask is drawn here; for real scratches paint them in the mask editor and "
            "connect Load Image's mask instead.",
        ),
    },
}
COLUMN, WIDTH, GAP = 380, 340, 60
SHOWS_A_PICTURE = ("RAI_FillFromPicture", "RAI_PerlinMask", "RAI_PerlinMaskAnimation", "RAI_InpaintMaskShapes")  # on the node


def widget_names(info: dict) -> list[str]:
    """Inputs that are widgets, in the page's order."""
    names = []
    for group in ("required", "optional"):
        for name in info["input_order"].get(group, []):
            kind = info["input"][group][name][0]
            if isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                names.append(name)
    return names


def default(info: dict, name: str):
    spec = info["input"].get("required", {}).get(name) or info["input"]["optional"][name]
    options = spec[1] if len(spec) > 1 else {}
    choices = spec[0] if isinstance(spec[0], list) else options.get("options")
    return options.get("default", choices[0] if choices else None)


def height(kind: str, info: dict) -> int:
    """About the height that the page gives the node, with room for a picture if it shows one."""
    inputs, widgets = (sum(map(len, info["input_order"].values())), len(widget_names(info)))
    picture = 340 if kind in ("PreviewImage", "LoadImage") else 200 if kind in SHOWS_A_PICTURE else 0
    return 50 + 22 * max(inputs - widgets, len(info["output"])) + 26 * (widgets + 1) + picture


def build(nodes: dict, infos: dict) -> dict:
    ids = {name: k + 1 for k, name in enumerate(nodes)}
    out, links = [], []
    for name, (kind, *rest) in nodes.items():
        if kind == "Note":
            wide, tall = rest[1] if len(rest) > 1 else (520, 120)
            out.append(
                {
                    "id": ids[name],
                    "type": "Note",
                    "pos": [0, -70 - tall],
                    "size": [wide, tall],
                    "flags": {},
                    "order": 0,
                    "mode": 0,
                    "inputs": [],
                    "outputs": [],
                    "properties": {},
                    "widgets_values": [rest[0]],
                }
            )
            continue
        values_of, (column, row), *title = rest
        info = infos[kind]
        above = [node for node in nodes.values() if node[0] != "Note" and node[2][0] == column and node[2][1] < row]
        row = sum(height(node[0], infos[node[0]]) + GAP for node in above)
        inputs, values, widgets = [], [], widget_names(info)
        for group in ("required", "optional"):
            for key in info["input_order"].get(group, []):
                spec = info["input"][group][key]
                io_type = "COMBO" if isinstance(spec[0], list) else spec[0]
                slot = {"name": key, "type": io_type, "link": None}
                if key in widgets:
                    slot["widget"] = {"name": key}
                    values.append(values_of.get(key, default(info, key)))
                    # the page adds this widget to every seed, whatever its schema says
                    if key in ("seed", "noise_seed") or (spec[1] if len(spec) > 1 else {}).get("control_after_generate"):
                        values.append("fixed")
                    if (spec[1] if len(spec) > 1 else {}).get("image_upload"):
                        values.append("image")
                elif key in values_of:
                    source, index = values_of[key] if isinstance(values_of[key], tuple) else (values_of[key], 0)
                    slot["link"] = len(links) + 1
                    links.append([len(links) + 1, ids[source], index, ids[name], len(inputs), io_type])
                inputs.append(slot)
        out.append(
            {
                "id": ids[name],
                "type": kind,
                **({"title": title[0]} if title else {}),
                "pos": [column * COLUMN, row],
                "size": [WIDTH, height(kind, info)],
                "flags": {},
                "order": len(out),
                "mode": 0,
                "inputs": inputs,
                "outputs": [{"name": n, "type": t, "links": []} for n, t in zip(info["output_name"], info["output"], strict=True)],
                "properties": {"Node name for S&R": kind},
                "widgets_values": values,
            }
        )
    by_id = {node["id"]: node for node in out}
    for link in links:
        by_id[link[1]]["outputs"][link[2]]["links"].append(link[0])
    return {
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": out,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def to_api(workflow: dict, infos: dict) -> dict:
    """The page's format -> the executor's, as the page itself converts it."""
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] == "Note":
            continue
        info, values = infos[node["type"]], iter(node["widgets_values"])
        inputs = {}
        for slot in node["inputs"]:
            if slot.get("widget"):
                inputs[slot["name"]] = next(values)
                spec = info["input"].get("required", {}).get(slot["name"]) or info["input"]["optional"][slot["name"]]
                if len(spec) > 1 and (spec[1].get("control_after_generate") or spec[1].get("image_upload")):
                    next(values)
            if slot["link"] is not None:
                inputs[slot["name"]] = sources[slot["link"]]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def needs_a_download(workflow: dict) -> bool:
    """Whether a workflow is not to be run here, because it needs a checkpoint of the user's."""
    return any(node["type"] == "CheckpointLoaderSimple" for node in workflow["nodes"])


def infos_of(host: Host) -> dict:
    """The host's /object_info of the nodes that the workflows use."""
    kinds = {node[0] for nodes in WORKFLOWS.values() for node in nodes.values()} - {"Note"}
    return {kind: host.info(kind) for kind in kinds}


def main() -> None:
    infos = infos_of(Host())
    for name, nodes in WORKFLOWS.items():
        path = PACK / "example_workflows" / f"{name}.json"
        path.write_text(json.dumps(build(nodes, infos), indent=1) + "\n")
        print(path)


if __name__ == "__main__":
    main()
