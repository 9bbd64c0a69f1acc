"""Write example_workflows/*.json, in the web page's format, from short descriptions and the nodes' own schemas.

Run with the host's interpreter: python tools/make_workflows.py
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "host" / "inside"))
from family_templates import FAMILIES, MODELS
from host import HOST, PACK, Host
from templates import CHECKPOINT
from templates import WORKFLOWS as TOUR

__all__ = ["CHECKPOINT", "HOST", "PACK", "WORKFLOWS", "Host"]  # for make_pictures and the tests

COLUMN, WIDTH, GAP = 400, 360, 70
WORKFLOWS = TOUR | FAMILIES
PICTURE = {  # height in pixels of the picture that a node shows
    "PreviewImage": 380,
    "LoadImage": 340,
    "RAI_BeforeAfter": 380,
    "RAI_InpaintCompare": 300,
    "RAI_UncertaintyHeatMap": 380,
} | dict.fromkeys(("RAI_FillFromPicture", "RAI_ExtendPicture", "RAI_PrepareHole", "RAI_RADInpaint", "RAI_GradPaintInpaint"), 260)
PICTURE |= dict.fromkeys(("RAI_PerlinMask", "RAI_PerlinMaskAnimation", "RAI_InpaintMaskShapes", "RAI_SDMInpaint"), 260)
PICTURE |= dict.fromkeys(("RAI_RefineWithRAD", "RAI_GradPaintSampler", "KSampler", "RAI_TrainRADAdapter"), 260)
COLLAPSED = {"ImageScaleBy": 30}  # a node that opens as its title bar alone, and the bar's height
NOTE = "MarkdownNote"  # the page's own, with larger letters than its plain one
NOTE_WIDTH, LETTER, LINE = 1160, 9.0, 24  # of a note: its width, and a letter's width and a line's height in it
VIEW, LEFT, TOP = (1480, 790), 80, 110  # room in a window of 1600x950 pixels, and where it begins
ZOOMS = (0.65, 1.0)  # the page draws no text below 0.6


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


def has_control(name: str, spec: list) -> bool:
    """Whether the page adds a widget below: how the value changes after a run. It does for every seed whose schema does not say."""
    options = spec[1] if len(spec) > 1 else {}
    return bool(options.get("control_after_generate", name in ("seed", "noise_seed")))


def has_upload(spec: list) -> bool:
    """Whether the page adds a button below, for a picture or video of the user's."""
    options = spec[1] if len(spec) > 1 else {}
    return bool(options.get("image_upload") or options.get("video_upload"))


def height(kind: str, info: dict) -> int:
    """About the height that the page gives the node, with room for a picture if it shows one."""
    if kind in COLLAPSED:
        return COLLAPSED[kind]
    inputs, widgets = (sum(map(len, info["input_order"].values())), len(widget_names(info)))
    return 50 + 22 * max(inputs - widgets, len(info["output"])) + 26 * (widgets + 1) + PICTURE.get(kind, 0)


def markdown(text: str) -> str:
    """A note's text, its paragraphs as headings: the page's plain letters are too small to read."""
    first, *others = text.split("\n\n")
    return "\n\n".join([f"## {first}", *(f"### {paragraph}" for paragraph in others)])


def note_height(text: str) -> int:
    lines = sum(1 + len(line) // int(NOTE_WIDTH / LETTER) for line in text.split("\n"))
    return 50 + LINE * lines


def opening(nodes: list[dict]) -> dict:
    """The zoom and place at which the page opens a workflow: all of it if its text can be read so, else its beginning."""
    right, bottom = (max(node["pos"][k] + node["size"][k] for node in nodes) for k in (0, 1))
    left, top = (min(node["pos"][k] for node in nodes) for k in (0, 1))
    fitting = min(VIEW[0] / (right - left), VIEW[1] / (bottom - top))
    scale = round(min(max(fitting, ZOOMS[0]), ZOOMS[1]), 2)
    return {"scale": scale, "offset": [LEFT / scale - left, TOP / scale - top]}


def build(nodes: dict, infos: dict) -> dict:
    ids = {name: k + 1 for k, name in enumerate(nodes)}
    out, links = [], []
    for name, (kind, *rest) in nodes.items():
        if kind == "Note":
            tall = note_height(rest[0])
            out.append(
                {
                    "id": ids[name],
                    "type": NOTE,
                    "pos": [0, -70 - tall],
                    "size": [NOTE_WIDTH, tall],
                    "flags": {},
                    "order": 0,
                    "mode": 0,
                    "inputs": [],
                    "outputs": [],
                    "properties": {},
                    "widgets_values": [markdown(rest[0])],
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
                if io_type == "IMAGECOMPARE":  # a view without a value
                    continue
                slot = {"name": key, "type": io_type, "link": None}
                linked = key not in widgets or isinstance(values_of.get(key), tuple)
                if key in widgets:
                    slot["widget"] = {"name": key}
                    values.append(default(info, key) if linked else values_of.get(key, default(info, key)))
                    if has_control(key, spec):
                        values.append("fixed")
                    if has_upload(spec):
                        values.append("image")
                if linked and key in values_of:
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
                "flags": {"collapsed": True} if kind in COLLAPSED else {},
                "order": len(out),
                "mode": 0,
                "inputs": inputs,
                "outputs": [{"name": n, "type": t, "links": []} for n, t in zip(info["output_name"], info["output"], strict=True)],
                "properties": {"Node name for S&R": kind, **downloads(values)},
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
        "extra": {"ds": opening(out)},
        "version": 0.4,
    }


def to_api(workflow: dict, infos: dict) -> dict:
    """The page's format -> the executor's, as the page itself converts it."""
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] == NOTE:
            continue
        specs, values = infos[node["type"]]["input"], iter(node["widgets_values"])
        specs = specs.get("required", {}) | specs.get("optional", {})
        inputs = {}
        for slot in node["inputs"]:
            if slot.get("widget"):
                value = next(values)
                if slot["name"] not in specs:  # an older host's node lacks it
                    continue
                inputs[slot["name"]] = value
                if has_control(slot["name"], specs[slot["name"]]) or has_upload(specs[slot["name"]]):
                    next(values)
            if slot["link"] is not None:
                inputs[slot["name"]] = sources[slot["link"]]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def downloads(values: list) -> dict:
    """A loader's property that names its files' addresses, for the page to offer them, where `MODELS` has them."""
    files = [value for value in values if isinstance(value, str) and value in MODELS]
    models = [{"name": name, "url": MODELS[name][1] + name, "directory": MODELS[name][0]} for name in files]
    return {"models": models} if models else {}


def needs_a_download(workflow: dict) -> bool:
    """Whether a workflow is not to be run here, because it needs files of the user's."""
    return any(node["type"] in ("CheckpointLoaderSimple", "UNETLoader") for node in workflow["nodes"])


def infos_of(host: Host) -> dict:
    """The host's /object_info of the nodes that the workflows use."""
    kinds = {node[0] for nodes in WORKFLOWS.values() for node in nodes.values()} - {"Note"}
    return {kind: host.info(kind) for kind in kinds}


def main() -> None:
    infos = infos_of(Host())
    for path in (PACK / "example_workflows").glob("*.json"):
        if path.stem not in WORKFLOWS:
            path.unlink()
            path.with_suffix(".jpg").unlink(missing_ok=True)
    for name, nodes in WORKFLOWS.items():
        path = PACK / "example_workflows" / f"{name}.json"
        path.write_text(json.dumps(build(nodes, infos), indent=1) + "\n")
        print(path)


if __name__ == "__main__":
    main()
