"""Every example workflow, as it is shipped, through the host's own executor."""

import json

import make_workflows
import pytest
from family_templates import VIDEO
from host import PACK
from web_page import painted_photo

FILES = sorted((PACK / "example_workflows").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_workflow_runs_and_runs_the_same_again(host, path):
    painted_photo().save(host.base / "input" / "example.png")
    workflow = json.loads(path.read_text())
    prompt = make_workflows.to_api(workflow, make_workflows.infos_of(host))
    if make_workflows.needs_a_download(workflow):
        check_only(host, prompt)
        return
    for node in prompt.values():  # only the graph is tested here
        node["inputs"].update({name: few for name, few in {"steps": 3, "detail": 0.0}.items() if name in node["inputs"]})
    pictures = []
    for _ in range(2):
        success, messages = host.run(prompt)
        assert success, messages
        shown = [data["output"]["images"] for event, data in host.server.messages if event == "executed" and data["output"].get("images")]
        assert shown
        pictures.append([(host.base / "temp" / image["filename"]).read_bytes() for images in shown for image in images])
    assert pictures[0] == pictures[1]


def check_only(host, prompt, then=lambda: None):
    """The host accepts the graph, every name, type and value of it, once the files it names are there; `then` is called meanwhile."""
    needed = {make_workflows.CHECKPOINT: "checkpoints"} | {name: folder for name, (folder, _) in make_workflows.MODELS.items()}
    named = {value for node in prompt.values() for value in node["inputs"].values() if isinstance(value, str)} & needed.keys()
    kinds = host.info("CLIPLoader")["input"]["required"]["type"]
    known = kinds[0] if isinstance(kinds[0], list) else kinds[1]["options"]
    for node in prompt.values():
        if node["class_type"] == "CLIPLoader" and node["inputs"]["type"] not in known:
            pytest.skip(f"this host has no text encoder of the kind {node['inputs']['type']}")
    (host.base / "input" / VIDEO).touch()  # an empty one, unless there is a video already
    for name in named:
        folder = host.base / "models" / needed[name]
        folder.mkdir(exist_ok=True)
        host.folder_paths.add_model_folder_path(needed[name], str(folder))
        (folder / name).touch()
    host.folder_paths.filename_list_cache.clear()
    try:
        valid, _, _, errors = host.check(prompt)
        then()
    finally:
        for name in named:
            (host.base / "models" / needed[name] / name).unlink()
        host.folder_paths.filename_list_cache.clear()
    assert named and valid and not errors, errors


def test_shipped_files_are_those_that_are_written_and_have_pictures(host):
    infos = make_workflows.infos_of(host)
    assert {p.stem for p in FILES} == set(make_workflows.WORKFLOWS)
    # The host's own nodes and widgets differ between its versions, and with the widgets the sizes.
    facts = lambda node: {key: node[key] for key in node.keys() - {"pos", "size"}}
    ours = lambda workflow: [facts(node) for node in workflow["nodes"] if node["type"].startswith("RAI_")]
    for path in FILES:
        assert path.with_suffix(".jpg").is_file(), f"{path.name} has no thumbnail for the template browser"
        shipped, written = json.loads(path.read_text()), make_workflows.build(make_workflows.WORKFLOWS[path.stem], infos)
        assert ours(shipped) == ours(written) and shipped["links"] == written["links"]
