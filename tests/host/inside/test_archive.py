"""The archive that the registry takes, unpacked as a host would have it: it starts, and its first template fills a photograph."""

import io
import json
import time
import urllib.parse
import urllib.request
import zipfile

import archive
import make_workflows
import pytest
import web_page
from host import PACK
from PIL import Image, ImageChops

FIRST = "1 Remove something from a photo"


def test_the_first_template_runs_from_the_archive(tmp_path):
    if not (PACK / ".git").exists():
        pytest.skip("SKIPPED: the archive is made from the repository's own list of files")
    began, unpacked = time.monotonic(), tmp_path / "unpacked"
    archive.write(tmp_path / "node.zip")
    zipfile.ZipFile(tmp_path / "node.zip").extractall(unpacked)
    assert not (unpacked / "tests").exists()
    workflow = json.loads((unpacked / "example_workflows" / f"{FIRST}.json").read_text())
    with web_page.running_server(tmp_path / "comfy", unpacked) as (url, _):
        kinds = {node["type"] for node in workflow["nodes"]} - {make_workflows.NOTE}
        infos = {kind: json.loads(web_page.answer_of(url, f"/object_info/{kind}"))[kind] for kind in kinds}
        assert infos["RAI_FillFromPicture"]["python_module"].endswith(web_page.NAME)
        assert FIRST in json.loads(web_page.answer_of(url, "/api/workflow_templates"))[web_page.NAME]
        history = run(url, make_workflows.to_api(workflow, infos))
        pictures = [shown(url, image) for image in images_of(history)]
    print(f"{time.monotonic() - began:.0f} s")
    assert len(pictures) == 2 and {picture.size for picture in pictures} == {(576, 576)}
    changed = ImageChops.difference(*pictures).convert("L").point(lambda value: 255 * (value > 8)).histogram()[255] / 576**2
    assert 0.02 < changed < 0.2, "the boardwalk is gone, the rest is there"


def run(url: str, prompt: dict) -> dict:
    """Run a prompt to its end, and give its history."""
    request = urllib.request.Request(f"{url}/prompt", json.dumps({"prompt": prompt}).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        number = json.load(answer)["prompt_id"]
    for _ in range(1200):
        history = json.loads(web_page.answer_of(url, f"/history/{number}"))
        if history:
            assert history[number]["status"]["status_str"] == "success", history[number]["status"]
            return history[number]
        time.sleep(0.25)
    raise TimeoutError("the template did not end within five minutes")


def images_of(history: dict) -> list[dict]:
    return [image for output in history["outputs"].values() for image in output.get("images", ())]


def shown(url: str, image: dict) -> Image.Image:
    query = urllib.parse.urlencode({key: image[key] for key in ("filename", "subfolder", "type")})
    return Image.open(io.BytesIO(web_page.answer_of(url, f"/view?{query}"))).convert("RGB")
