"""What the ComfyUI registry checks before it takes a version, and what its archive holds."""

import ast
import importlib.util
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import rad_core

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML by itself")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LARGEST = 28e6  # bytes of the archive: our own budget, nine tenths of it weights
# Calls and modules that the registry's review flags. The benchmark is no part of the nodes: it times other programs, and names
# pickle's error where it refuses a file.
FORBIDDEN = {"eval", "exec", "system", "popen"}
MODULES = {"subprocess", "pickle", "socket", "urllib", "requests", "http", "pip", "ctypes", "marshal", "shelve"}
EXCUSED = {"rad_core/bench/timing/side_by_side.py": {"subprocess"}, "rad_core/bench/features.py": {"pickle"}}


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> zipfile.ZipFile:
    if not (ROOT / ".git").exists():
        pytest.skip("SKIPPED: the archive is made from the repository's own list of files")
    spec = importlib.util.spec_from_file_location("archive", ROOT / "tools" / "archive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = tmp_path_factory.mktemp("registry") / "node.zip"
    module.write(path)
    assert path.stat().st_size < LARGEST, f"{path.stat().st_size / 1e6:.1f} MB"
    return zipfile.ZipFile(path)


def test_the_project_has_what_the_registry_asks_for():
    project, comfy = PROJECT["project"], PROJECT["tool"]["comfy"]
    assert re.fullmatch(r"[a-z][a-z0-9-]{2,99}", project["name"]) and "comfyui" not in project["name"].lower()
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"]) and project["version"] == rad_core.__version__
    assert project["description"] and project["urls"]["Repository"].startswith("https://") and project["license"] == "MIT"
    assert comfy["PublisherId"] and comfy["DisplayName"] and "custom" not in comfy["DisplayName"].lower()
    assert comfy["requires-comfyui"].removeprefix(">=") in (ROOT / ".github" / "workflows" / "test.yml").read_text(), "tested there"
    with Image.open(ROOT / "docs" / "images" / comfy["Icon"].rsplit("/", 1)[1]) as icon:
        assert icon.width == icon.height <= 400
    assert PROJECT["project"]["readme"] == "README.md" and "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()


def test_the_hosts_requirements_are_the_projects():
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    name = lambda line: re.match(r"[\w-]+", line)[0]
    assert {name(line) for line in lines if line} == {name(line) for line in PROJECT["project"]["dependencies"]}


def test_the_installed_package_has_its_weights_and_marker_of_type_hints():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["rad_core"]
    assert patterns == ["py.typed", "weights/*"] and all(any((ROOT / "rad_core").glob(pattern)) for pattern in patterns)


def test_the_archive_holds_what_a_host_needs_and_nothing_else(archive):
    names = archive.namelist()
    for needed in ("__init__.py", "pyproject.toml", "requirements.txt", "LICENSE", "nodes/__init__.py", "examples/photos/path.jpg"):
        assert needed in names
    assert {"web/docs/RAI_FillFromPicture.md", "web/js/before_after.js", "web/js/mask_previews.js", "locales/zh/nodeDefs.json"} <= set(
        names
    )
    assert {"rad_core/weights/landscapes.safetensors", "rad_core/py.typed"} <= set(names)
    assert not [name for name in names if name.split("/")[0] in ("docs", "tests", "tools", "measurements", ".github", ".ci")]
    assert {name.split("/")[1] for name in names if name.startswith("examples/")} == {"photos"}


def test_nothing_in_the_archive_calls_what_the_registry_forbids(archive):
    for name in archive.namelist():
        if not name.endswith(".py"):
            continue
        tree = ast.parse(archive.read(name))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else ""
                on_os = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "os" and node.func.attr
                assert called not in FORBIDDEN and on_os not in FORBIDDEN, f"{name}, line {node.lineno}"
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {word.split(".")[0] for word in imported} & MODULES - EXCUSED.get(name, set()), f"{name} imports {imported}"


def test_ruffs_security_rules_as_the_validation_runs_them(archive, tmp_path):
    """`comfy node validate` runs ruff with these rules over the code."""
    archive.extractall(tmp_path)
    command = ["ruff", "check", "--isolated", "--no-cache", "--select", "S102,S307,E702", str(tmp_path)]
    try:
        run = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("SKIPPED: ruff is not on the path")
    assert run.returncode == 0, run.stdout
