"""The host's own web page in headless Chromium: opens every template, runs it, and waits for the pictures."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from host import HOST, PACK
from make_workflows import needs_a_download

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAME = "region-aware-inpainting"
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
PICTURES = """() => app.graph._nodes.filter(n => n.type === 'PreviewImage').map(n => {
    const out = app.nodeOutputs?.[String(n.id)]; return (n.imgs?.length ?? 0) + (out?.images?.length ?? 0) })"""


def page_of_server(url: str, path: str):
    with urllib.request.urlopen(url + path, timeout=10) as answer:
        return answer.read()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A ComfyUI with our pack in its custom_nodes folder."""
    base = tmp_path_factory.mktemp("comfy-web")
    for folder in ("models", "input", "output", "temp", "user", "custom_nodes"):
        (base / folder).mkdir()
    shutil.copy(HOST / "input" / "example.png", base / "input")
    (base / "custom_nodes" / NAME).symlink_to(PACK)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (base / "log.txt").open("w")
    command = [sys.executable, "main.py", "--cpu", "--base-directory", str(base), "--port", str(port), "--disable-api-nodes"]
    process = subprocess.Popen(command, cwd=HOST, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                page_of_server(url, "/system_stats")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, Path(log.name).read_text()[-3000:]
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def page(server):
    playwright = pytest.importorskip("playwright.sync_api", reason="SKIPPED, PAGE NOT TESTED: pip install playwright in the host's Python")
    if not CHROMIUM:
        pytest.skip("SKIPPED, PAGE NOT TESTED: there is no Chromium on this machine")
    with playwright.sync_playwright() as p:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        browser = p.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1600, "height": 950})
        page.errors = []
        page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(server, wait_until="domcontentloaded")
        page.wait_for_function("() => window.app?.graph && window.app.extensionManager", timeout=120_000)
        page.wait_for_timeout(1500)
        page.keyboard.press("Escape")  # a first start greets with the template browser
        yield page
        browser.close()


def test_templates_are_offered_with_pictures(server):
    offered = json.loads(page_of_server(server, "/workflow_templates"))
    assert sorted(offered[NAME]) == TEMPLATES
    for name in TEMPLATES:
        assert page_of_server(server, f"/api/workflow_templates/{NAME}/{urllib.request.quote(name)}.jpg")[:2] == b"\xff\xd8"


def test_help_pages_and_pictures_are_served(server):
    for path in sorted((PACK / "web" / "docs").rglob("*.*")):
        assert (
            page_of_server(server, f"/extensions/{NAME}/{urllib.request.quote(str(path.relative_to(PACK / 'web')))}") == path.read_bytes()
        )


def test_translations_are_served(server):
    served = json.loads(page_of_server(server, "/i18n"))
    for language in ("en", "zh", "ja", "ko"):
        assert served[language]["nodeDefs"]["RAI_RADInpaint"]["inputs"]["mask"]["tooltip"]


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
                if not isinstance(spec[0], list) and spec[0] not in ("COMBO", *KINDS):
                    continue
                value = next((widget["value"] for widget in node["widgets"] if widget["name"] == name), None)
                assert fits(value, spec), f"{node['type']}: {name} is {value!r}, its schema is {spec[:1]}"
                checked += 1
    return checked


def test_every_templates_widgets_have_the_values_of_its_file(page, server):
    schemas = json.loads(page_of_server(server, "/object_info"))
    for name in TEMPLATES:
        graph = json.loads((PACK / "example_workflows" / f"{name}.json").read_text())
        page.evaluate(LOAD, graph)
        assert check_widgets(page, schemas) or not any(node["type"].startswith("RAI_") for node in graph["nodes"]), name
        loaded = {str(node["id"]): node for node in page.evaluate(LOADED)}
        for node in graph["nodes"]:
            assert loaded[str(node["id"])]["saved"] in (node.get("widgets_values"), None), f"{name}: {node['type']}"


def test_every_older_template_still_loads(page, server):
    git = lambda *words: subprocess.run(["git", *words], cwd=PACK, capture_output=True, text=True, check=True).stdout
    if not (PACK / ".git").exists():
        pytest.skip("SKIPPED: the history of the repository is not here")
    schemas, seen = json.loads(page_of_server(server, "/object_info")), set()
    for line in git("log", "--raw", "--no-abbrev", "--format=", "-z", "--diff-filter=AM", "--", "example_workflows/*.json").split(":")[1:]:
        seen.add(line.split()[3])
    assert len(seen) >= len(TEMPLATES)
    for blob in sorted(seen):
        graph = json.loads(git("cat-file", "blob", blob))
        page.evaluate(LOAD, graph)
        unknown = {node["type"] for node in graph["nodes"]} - set(schemas) - {"Note", "MarkdownNote"}
        assert not unknown and len(page.evaluate(LOADED)) == len(graph["nodes"]), f"{blob}: {unknown}"


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_opens_runs_and_shows_pictures(page, server, name):
    page.errors.clear()
    page.evaluate(
        "async ([pack, name]) => { const r = await fetch(`/api/workflow_templates/${pack}/${encodeURIComponent(name)}.json`);"
        " await app.loadGraphData(await r.json(), true, true, name) }",
        [NAME, name],
    )
    graph = json.loads((PACK / "example_workflows" / f"{name}.json").read_text())
    types = page.evaluate("() => app.graph._nodes.map(n => n.type)")
    assert sorted(types) == sorted(node["type"] for node in graph["nodes"])
    missing = page.evaluate(
        "() => app.graph._nodes.filter(n => n.type !== 'Note' && !LiteGraph.registered_node_types[n.type]).map(n => n.type)"
    )
    assert not missing
    if needs_a_download(graph):
        return
    if not os.environ.get("RAD_FULL_STEPS"):
        page.evaluate(FEW_STEPS)
    page.evaluate("() => app.queuePrompt(0)")
    page.wait_for_function(f"() => {{ const n = ({PICTURES})(); return n.length && n.every(k => k > 0) }}", timeout=300_000)
    page.wait_for_timeout(500)
    assert not [e for e in page.errors if not any(word in e for word in HARMLESS)]
    if os.environ.get("RAD_SCREENSHOTS"):
        page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        page.wait_for_timeout(1500)
        page.screenshot(path=str(Path(os.environ["RAD_SCREENSHOTS"]) / f"{name}.png"))
