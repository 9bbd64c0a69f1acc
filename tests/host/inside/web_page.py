"""A ComfyUI with the pack in it, and its own web page in headless Chromium."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from host import HOST, PACK
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAME = "region-aware-inpainting"
SIZE = {"width": 1600, "height": 950}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PICTURES = """() => app.graph._nodes.filter(n => n.type === 'PreviewImage').map(n => {
    const out = app.nodeOutputs?.[String(n.id)]; return (n.imgs?.length ?? 0) + (out?.images?.length ?? 0) })"""
IDLE = "async () => { const q = await (await fetch('/api/queue')).json(); return !q.queue_running.length && !q.queue_pending.length }"
DRAWN = "() => app.graph._nodes.every(n => n.type !== 'PreviewImage' || n.imgs?.every(i => i.complete && i.naturalWidth))"
# Nodes as they stand on the canvas, title bars included: [title, left, top, right, bottom].
BOXES = """() => app.graph._nodes.map(n => { const [x, y, w, h] = n.boundingRect ?? n.getBounding();
    return [n.title, x, y, x + w, y + h] })"""


def answer_of(url: str, path: str) -> bytes:
    with urllib.request.urlopen(url + path, timeout=10) as answer:
        return answer.read()


def painted_photo(name: str = "path") -> Image.Image:
    """An example photograph, the boardwalk's, as the mask editor leaves it: what is to go is transparent."""
    folder = PACK / "examples" / "photos"
    with Image.open(folder / f"{name}.jpg") as photo, Image.open(folder / f"{name}.mask.png") as mask:
        photo = photo.convert("RGB")
        photo.putalpha(mask.convert("L").point(lambda value: 255 - value))
    return photo


@contextmanager
def running_server(base: Path, pack: Path = PACK) -> Iterator[tuple[str, int]]:
    """Start a ComfyUI with our pack (a folder) in its custom_nodes folder; gives its address and process number."""
    for folder in ("models", "input", "output", "temp", "user", "custom_nodes"):
        (base / folder).mkdir(parents=True)
    (base / "user" / "default").mkdir()
    (base / "user" / "default" / "comfy.settings.json").write_text('{"Comfy.TutorialCompleted": true}')  # no greeting over the canvas
    painted_photo().save(base / "input" / "example.png")
    (base / "custom_nodes" / NAME).symlink_to(pack)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = base / "log.txt"
    command = [sys.executable, "main.py", "--cpu", "--base-directory", str(base), "--port", str(port), "--disable-api-nodes"]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=HOST, stdout=file, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(720):
            try:
                answer_of(url, "/system_stats")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, log.read_text()[-3000:]
                time.sleep(0.5)
        else:
            raise TimeoutError(f"ComfyUI did not start within six minutes: {log.read_text()[-3000:]}")
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def open_page(url: str) -> Iterator:
    """The page, ready to work in; `page.errors` collects what it complains about."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=SIZE)
        page.errors = []
        page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        load_page(page, url)
        yield page
        browser.close()


def load_page(page, url: str) -> None:
    """Load the page, or load it again: it forgets every preview."""
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_function("() => window.app?.graph && window.app.extensionManager", timeout=600_000)
    page.wait_for_timeout(1500)


def run_to_its_end(page, url: str) -> dict:
    """Press Run; returns the job as the queue lists it, once it has ended."""
    before = len(json.loads(answer_of(url, "/history")))
    page.evaluate("async () => { await app.queuePrompt(0) }")
    for _ in range(600):
        if len(json.loads(answer_of(url, "/history"))) > before:
            page.wait_for_timeout(500)
            return max(json.loads(answer_of(url, "/api/jobs"))["jobs"], key=lambda job: job["create_time"])
        page.wait_for_timeout(200)
    raise TimeoutError("the prompt did not end within two minutes")


def open_template(page, name: str) -> dict:
    """Open a template as the template browser does. Returns its file's content."""
    page.errors.clear()
    page.evaluate(
        "async ([pack, name]) => { const r = await fetch(`/api/workflow_templates/${pack}/${encodeURIComponent(name)}.json`);"
        " await app.loadGraphData(await r.json(), true, true, name) }",
        [NAME, name],
    )
    page.wait_for_timeout(300)
    return json.loads((PACK / "example_workflows" / f"{name}.json").read_text())


def run_template(page, seconds: float = 300) -> None:
    """Press Run, and wait until it has ended and every preview shows a picture, so many seconds at most."""
    page.evaluate("async () => { app.nodeOutputs = {}; await app.queuePrompt(0) }")
    until = time.monotonic() + seconds
    while not page.evaluate(IDLE):  # wait_for_function takes the promise of an answer for a yes
        if time.monotonic() > until:
            raise TimeoutError(f"the template did not end within {seconds:.0f} seconds")
        page.wait_for_timeout(200)
    page.wait_for_function(f"() => {{ const n = ({PICTURES})(); return n.length && n.every(k => k > 0) }}", timeout=20_000)
    with suppress(Exception):  # pictures are drawn when they have come, and those out of sight never
        page.wait_for_function(DRAWN, timeout=20_000)
    page.wait_for_timeout(500)


def overlaps(page) -> list[tuple[str, str]]:
    """Pairs of nodes, by title, of which one covers part of the other."""
    boxes = page.evaluate(BOXES)
    return [
        (a[0], b[0])
        for k, a in enumerate(boxes)
        for b in boxes[k + 1 :]
        if min(a[3], b[3]) - max(a[1], b[1]) > 1 and min(a[4], b[4]) - max(a[2], b[2]) > 1
    ]


def zoom(page) -> tuple[float, bool]:
    """The canvas's scale, and whether the page draws text at it."""
    return page.evaluate("() => [app.canvas.ds.scale, !app.canvas.low_quality]")


def search(page, words: str, count: int = 3) -> list[str]:
    """The first names that the page's node search lists; a double-click on the canvas opens the same."""
    page.evaluate("() => app.graph.clear()")
    page.evaluate("() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
    box = page.locator("[role=dialog] input").first
    box.fill(words)
    page.wait_for_timeout(500)
    names = page.evaluate(
        "() => [...document.querySelectorAll('[data-testid=result-item]')].map(e => e.querySelector('span.truncate').innerText)"
    )
    page.keyboard.press("Escape")
    page.wait_for_timeout(200)
    return names[:count]
