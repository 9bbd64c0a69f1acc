"""The host's own web page in headless Chromium: opens every template, runs it, and waits for the pictures."""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import pytest
import web_page
from host import PACK
from make_workflows import needs_a_download
from web_page import NAME, answer_of

TEMPLATES = sorted(p.stem for p in (PACK / "example_workflows").glob("*.json"))
# What the page itself prints on any start without the internet, whatever packs there are.
HARMLESS = (
    "ERR_INTERNET_DISCONNECTED",
    "ERR_NAME_NOT_RESOLVED",
    "Failed to load resource",
    "ResizeObserver",
    "favicon",
    "user.css",
    "comfyRegistry",
    "CORS",
    "net::",
    "Failed to fetch",
    "releases",
    "Network Error",
)

FEW_STEPS = "() => { for (const n of app.graph._nodes) for (const w of n.widgets ?? []) if (w.name === 'steps') w.value = 3 }"
# What artists type, and the node that is to be among the first three.
SEARCHES = {
    "remove": "Fill from Picture",
    "erase": "Fill from Picture",
    "fill": "Fill from Picture",
    "heal": "Fill from Picture",
    "content-aware": "Fill from Picture",
    "clean up": "Fill from Picture",
    "outpaint": "Extend Picture",
    "extend": "Extend Picture",
    "mask noise": "Perlin Mask",
    "uncertainty": "Uncertainty Heat Map",
    "region": "RAD Inpaint",
    "grow mask": "Prepare Hole",
    "before after": "Before and After",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with web_page.running_server(tmp_path_factory.mktemp("comfy-web")) as (url, _):
        yield url


@pytest.fixture(scope="module")
def page(server):
    pytest.importorskip("playwright.sync_api", reason="SKIPPED, PAGE NOT TESTED: pip install playwright in the host's Python")
    if not web_page.CHROMIUM:
        pytest.skip("SKIPPED, PAGE NOT TESTED: there is no Chromium on this machine")
    with web_page.open_page(server) as page:
        yield page


def test_templates_are_offered_with_pictures(server):
    offered = json.loads(answer_of(server, "/workflow_templates"))
    assert sorted(offered[NAME]) == TEMPLATES
    for name in TEMPLATES:
        assert answer_of(server, f"/api/workflow_templates/{NAME}/{quote(name)}.jpg")[:2] == b"\xff\xd8"


def test_help_pages_and_pictures_are_served(server):
    for path in sorted((PACK / "web" / "docs").rglob("*.*")):
        assert answer_of(server, f"/extensions/{NAME}/{quote(str(path.relative_to(PACK / 'web')))}") == path.read_bytes()


def test_translations_are_served(server):
    served = json.loads(answer_of(server, "/i18n"))
    for language in ("en", "zh", "ja", "ko"):
        assert served[language]["nodeDefs"]["RAI_RADInpaint"]["inputs"]["mask"]["tooltip"]
        assert served[language]["nodeCategories"]["region-aware inpainting"]


LOAD = "async graph => { await app.loadGraphData(graph, true, true) }"
LOADED = """() => app.graph._nodes.map(n => ({id: n.id, type: n.type, saved: n.serialize().widgets_values,
    widgets: (n.widgets ?? []).map(w => ({name: w.name, type: w.type, value: w.value}))}))"""
KINDS = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}


def fits(value, spec: list) -> bool:
    """Whether a widget's value is one that the node's schema allows."""
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    if isinstance(kind, list) or kind == "COMBO":
        return value in (kind if isinstance(kind, list) else options["options"])
    return isinstance(value, KINDS[kind]) and options.get("min", value) <= value <= options.get("max", value)


def check_widgets(page, schemas: dict) -> int:
    """Check that every widget in the page has a value of its own kind; returns how many were checked."""
    checked = 0
    for node in page.evaluate(LOADED):
        for group in ("required", "optional") if node["type"] in schemas else ():
            for name, spec in schemas[node["type"]]["input"].get(group, {}).items():
                listed = isinstance(spec[0], list) or spec[0] == "COMBO"
                if not (node["type"].startswith("RAI_") if listed else spec[0] in KINDS):
                    continue  # a list of the host's own, such as checkpoints, which need not be here; or a socket
                value = next((widget["value"] for widget in node["widgets"] if widget["name"] == name), None)
                assert fits(value, spec), f"{node['type']}: {name} is {value!r}, its schema is {spec[:1]}"
                checked += 1
    return checked


def test_every_templates_widgets_have_the_values_of_its_file(page, server):
    schemas = json.loads(answer_of(server, "/object_info"))
    for name in TEMPLATES:
        graph = json.loads((PACK / "example_workflows" / f"{name}.json").read_text())
        page.evaluate(LOAD, graph)
        assert check_widgets(page, schemas) or not any(node["type"].startswith("RAI_") for node in graph["nodes"]), name
        loaded = {str(node["id"]): node for node in page.evaluate(LOADED)}
        for node in graph["nodes"]:
            assert loaded[str(node["id"])]["saved"] in (node.get("widgets_values"), None), f"{name}: {node['type']}"


def form(node: dict) -> tuple:
    """What decides whether a saved node loads: its type, its inputs, the kinds of its widgets' values."""
    names = [slot["name"] for slot in node.get("inputs", ())]
    return node["type"], *names, *(type(value).__name__ for value in node.get("widgets_values") or ())


def test_every_older_template_still_loads(page, server):
    git = lambda *words: subprocess.run(["git", *words], cwd=PACK, capture_output=True, text=True, check=True).stdout
    if not (PACK / ".git").exists():
        pytest.skip("SKIPPED: the history of the repository is not here")
    schemas, seen = json.loads(answer_of(server, "/object_info")), set()
    for line in git("log", "--raw", "--no-abbrev", "--format=", "-z", "--diff-filter=AM", "--", "example_workflows/*.json").split(":")[1:]:
        seen.add(line.split()[3])
    assert len(seen) >= len(TEMPLATES)
    graphs = {blob: json.loads(git("cat-file", "blob", blob)) for blob in sorted(seen)}
    forms = set()  # that a node had in any of them; most graphs differ in values or places alone
    for blob, graph in sorted(graphs.items(), key=lambda item: -len(item[1]["nodes"])):
        news = {form(node) for node in graph["nodes"]} - forms
        if not news:
            continue
        forms |= news
        page.evaluate(LOAD, graph)
        unknown = {node["type"] for node in graph["nodes"]} - set(schemas) - {"Note", "MarkdownNote"}
        assert not unknown and len(page.evaluate(LOADED)) == len(graph["nodes"]), f"{blob}: {unknown}"


# A landscape, and for each mask node its mask, made ready and used; then what the page has to show of each node.
MASKED = """masks => { app.graph.clear()
    const add = type => { const node = LiteGraph.createNode(type); app.graph.add(node); return node }
    const link = (from, to, input) => from.connect(0, to, to.findInputSlot(input))
    const picture = add('RAI_DrawLandscape'), show = add('PreviewImage')
    let last = picture
    for (const type of masks) {
        const mask = add(type), hole = add('RAI_PrepareHole'), fill = add('RAI_MatchFill')
        link(picture, mask, 'image'); link(mask, hole, 'mask'); link(picture, hole, 'image'); link(hole, fill, 'mask')
        link(last, fill, 'filled'); link(last, fill, 'original'); last = fill
    }
    link(last, show, 'images')
    for (const widget of app.graph._nodes.flatMap(n => n.widgets ?? []))
        if (widget.name === 'control_after_generate') widget.value = 'fixed'
    return app.graph.serialize() }"""
SHOWN = "() => app.graph._nodes.map(n => [n.type, app.nodeOutputs[String(n.id)]?.images?.length ?? 0])"


def test_masks_keep_their_preview_and_the_queue_shows_the_picture(page, server):
    masks = ["RAI_PerlinMask", "RAI_InpaintMaskShapes", "RAI_PerlinMaskAnimation"]
    graph = page.evaluate(MASKED, masks)
    picture = str(next(node["id"] for node in graph["nodes"] if node["type"] == "PreviewImage"))
    for _ in range(2):  # the second run comes from the host's cache, in a page that has forgotten the first
        web_page.load_page(page, server)
        page.evaluate(LOAD, graph)
        job = web_page.run_to_its_end(page, server)
        assert job["status"] == "completed" and job["preview_output"]["nodeId"] == picture
        shown = Counter(name for name, count in page.evaluate(SHOWN) if count)
        assert shown == Counter([*masks, *["RAI_PrepareHole"] * 3, "PreviewImage"])


VUE_NODES = "on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
SLIDER = "() => document.querySelectorAll('[data-testid=image-compare-viewport] img').length"


def test_before_and_after_has_a_slider_and_a_second_run_comes_from_the_cache(page, server):
    if "ImageCompare" not in json.loads(answer_of(server, "/object_info")):
        pytest.skip("SKIPPED: this host has no slider")
    page.evaluate(VUE_NODES, True)
    try:
        web_page.load_page(page, server)
        web_page.open_template(page, "2 Paint your own mask")
        for _ in range(2):
            job = web_page.run_to_its_end(page, server)
            page.wait_for_function(f"() => ({SLIDER})() === 2", timeout=20_000)
        messages = dict(json.loads(answer_of(server, f"/history/{job['id']}"))[job["id"]]["status"]["messages"])
        assert len(messages["execution_cached"]["nodes"]) == 5, "of five"
    finally:
        page.evaluate(VUE_NODES, False)
        web_page.load_page(page, server)


@pytest.mark.parametrize("words", SEARCHES)
def test_what_artists_type_finds_the_node_among_the_first_three(page, words):
    found = web_page.search(page, words)
    assert any(name.startswith(SEARCHES[words]) for name in found), f"{words}: {found}"


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_opens_so_that_it_can_be_read_runs_and_shows_pictures(page, server, name):
    graph = web_page.open_template(page, name)
    types = page.evaluate("() => app.graph._nodes.map(n => n.type)")
    assert sorted(types) == sorted(node["type"] for node in graph["nodes"])
    missing = page.evaluate(
        "() => app.graph._nodes.filter(n => n.type !== 'MarkdownNote' && !LiteGraph.registered_node_types[n.type]).map(n => n.type)"
    )
    assert not missing
    scale, text_is_drawn = web_page.zoom(page)
    assert text_is_drawn, f"opens at {scale}: too small to read"
    assert not web_page.overlaps(page)
    if needs_a_download(graph):
        return
    if not os.environ.get("RAD_FULL_STEPS"):
        page.evaluate(FEW_STEPS)
    web_page.run_template(page)
    assert not [e for e in page.errors if not any(word in e for word in HARMLESS)]
    assert not web_page.overlaps(page), "after the run"
    if os.environ.get("RAD_SCREENSHOTS"):
        page.screenshot(path=str(Path(os.environ["RAD_SCREENSHOTS"]) / f"{name}.png"))
