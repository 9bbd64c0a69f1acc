"""The documentation against the code: examples run, commands parse, links and pictures exist."""

import importlib.util
import json
import re
import shlex
import string
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rad_core
from rad_core.__main__ import build_parser, main
from rad_core.bench.report import paragraphs, speed_paragraphs
from rad_core.commands.inpaint import with_method

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HELP_PAGES = sorted((ROOT / "web" / "docs").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
METHODS = ("exemplar", "rad", "gradpaint", "sdm")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """The page's fenced code of a language."""
    return [code for tag, code in FENCE.findall(page.read_text()) if tag == language]


def python_examples() -> list:
    """Every one once."""
    found = {code: f"{name(page)}-{k}" for page in reversed(PAGES) for k, code in enumerate(blocks(page, "python"))}
    return [pytest.param(code, id=place) for code, place in found.items()]


def command_lines() -> list[str]:
    """Every command of this project in the pages' fenced code and in their text, and in the program's own help."""
    found = {}
    for page in PAGES:
        for code in blocks(page, "") + blocks(page, "bash"):
            variables = dict(re.findall(r'^(\w+)="([^"]*)"$', code, re.MULTILINE))
            for line in code.splitlines():
                found[string.Template(line).safe_substitute(variables)] = None
        text = FENCE.sub("", page.read_text())
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", text))
    found |= dict.fromkeys(line.strip() for line in (build_parser().epilog or "").splitlines())
    return [line for line in found if arguments_of(line) is not None]


def arguments_of(line: str) -> list[str] | None:
    """What follows `rad-inpaint` or `-m rad_core` in a command line; None for other lines."""
    match = re.search(r"^(?:.*\s)?(?:rad-inpaint|-m rad_core)(?=\s|$)(.*)", line)
    return None if match is None or re.match(r"\w+=", line) else shlex.split(match[1], comments=True)


@pytest.fixture()
def place(tmp_path, monkeypatch):
    """A folder with the files that the pages name, as 8-bit pictures, and the shell standing in it."""
    with Image.open(ROOT / "examples" / "cat.png") as picture, Image.open(ROOT / "examples" / "scratches.png") as mask:
        box = (40, 30, 104, 94)
        picture.convert("RGB").crop(box).save(tmp_path / "photo.png")
        mask.convert("L").crop(box).save(tmp_path / "scratches.png")
        mask.convert("L").crop(box).save(tmp_path / "mask.png")
    rad_core.write_photo(tmp_path / "view.png", rad_core.Photo(rad_core.landscapes(1, 64, seed=7)))
    rad_core.write_photo(tmp_path / "hole.png", rad_core.Photo(rad_core.box_masks(1, 64, 64, seed=7).expand(-1, 3, -1, -1)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code: str) -> dict:
    namespace = {"__name__": "example"}
    exec(compile(code, "example", "exec"), namespace)
    return namespace


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


@pytest.mark.parametrize("code", python_examples())
def test_python_examples_run(place, code):
    names = run(code)
    assert isinstance(names["filled"], torch.Tensor) and torch.isfinite(names["filled"]).all()


def test_the_readme_has_a_python_example_of_four_lines():
    (code,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in code.splitlines() if line and not line.startswith("import")]) == 4


def test_the_readme_example_gives_the_command_s_picture(place):
    """With the same seed and defaults, from the same files, bit-equal; the command is the README's first, whose method is the default."""
    run(*blocks(ROOT / "README.md", "python"))
    arguments = ["photo.png", "--mask", "mask.png", "-o", "command.png", "--device", "cpu"]
    assert with_method(arguments) == with_method(["exemplar", *arguments])
    assert main(["inpaint", *arguments]) == 0
    assert np.array_equal(pixels("filled.png"), pixels("command.png"))
    hole = pixels("mask.png") > 0
    changed = (pixels("filled.png") != pixels("photo.png")).any(-1)
    assert hole.any() and changed[hole].mean() > 0.8 and not changed[~hole].any()


@pytest.mark.parametrize("method", METHODS)
def test_library_and_command_have_the_same_defaults(place, method):
    """Bit-equal pictures for each method (GradPaint with fewer steps, for time)."""
    image, mask = rad_core.read_photo("view.png").rgb, rad_core.read_mask("hole.png")
    steps = {"steps": 4} if method == "gradpaint" else {}
    if method == "exemplar":
        filled, _ = rad_core.exemplar_inpaint(image, mask, seed=3)
    elif method == "sdm":
        filled = rad_core.sdm_inpaint(rad_core.load_sdm("landscapes"), image, mask, seed=3)[0]
    elif method == "rad":
        filled = rad_core.rad_inpaint(rad_core.load_adapter(rad_core.load_model("landscapes"), "landscapes"), image, mask, seed=3)
    else:
        filled = rad_core.gradpaint_inpaint(rad_core.load_model("landscapes"), image, mask, seed=3, **steps)
    rad_core.write_photo("library.png", rad_core.Photo(filled))
    options = [f"--{key}={value}" for key, value in steps.items()]
    arguments = ["view.png", "--mask", "hole.png", "-o", "command.png", "--seed", "3", "--device", "cpu"]
    arguments += [] if method == "exemplar" else ["--model", "landscapes"]
    assert main(["inpaint", method, *arguments, *options]) == 0
    assert np.array_equal(pixels("library.png"), pixels("command.png"))
    assert (pixels("command.png") != pixels("view.png")).any()


def test_pages_have_commands():
    assert len(command_lines()) > 30


@pytest.mark.parametrize("line", command_lines())
def test_commands_parse(line, capsys):
    """Commands of the pages are accepted. Where only a command's name is given, it exists."""
    arguments = arguments_of(line)
    if "..." in arguments or not any(word.startswith("-") for word in arguments):
        arguments = [word for word in arguments if word != "..."]
        named = not any("." in word or "/" in word for word in arguments)
        arguments += ["--help"] if named else []
    if arguments[:1] == ["inpaint"]:
        arguments = ["inpaint", *with_method(arguments[1:])]
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as stop:
        assert stop.code == 0, f"{line}\n{capsys.readouterr().err}"
    else:
        assert callable(options.run)


def test_modules_of_the_pages_exist():
    """`python -m NAME` of every page."""
    found = {match for page in PAGES for match in re.findall(r"-m ((?:rad_core|measurements)(?:\.\w+)*)", page.read_text())}
    assert len(found) > 8
    assert [module for module in found if module != "measurements.NAME" and importlib.util.find_spec(module) is None] == []


def test_the_exemplar_page_has_every_setting_with_its_default():
    text = (ROOT / "docs" / "exemplar.md").read_text().partition("## Settings")[2]
    shown = {}
    for names, values in re.findall(r"^\| (`.*?) \| (.*?) \|", text, re.MULTILINE):
        names, numbers = re.findall(r"`(\w+)`", names), [float(number) for number in values.split(", ")]
        shown |= dict(zip(names, numbers, strict=True)) if len(names) > 1 else {names[0]: numbers}
    flat = lambda value: [float(v) for v in value] if isinstance(value, (tuple, list)) else [float(value)]
    defaults = vars(rad_core.ExemplarSettings())
    assert {name: flat(value) for name, value in shown.items()} == {name: flat(value) for name, value in defaults.items()}


@pytest.mark.parametrize("page", PAGES + HELP_PAGES, ids=name)
def test_links_and_pictures_exist(page):
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists() and file.is_relative_to(ROOT), f"{target} is missing"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", FENCE.sub("", file.read_text()), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings], target


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images").iterdir()), ids=lambda path: path.name)
def test_pictures_are_used(path):
    texts = [page.read_text() for page in PAGES] + [(ROOT / "pyproject.toml").read_text()]
    assert any(f"images/{path.name}" in text for text in texts)


def test_results_of_the_pages_are_there():
    """Texts, pictures and numbers lie apart."""
    assert {path.suffix for path in (ROOT / "docs").iterdir() if path.is_file()} == {".md"}
    assert {path.suffix for path in (ROOT / "docs" / "results").rglob("*") if path.is_file()} == {".json", ".csv"}


def test_the_benchmark_page_is_the_report_of_its_numbers():
    found = json.loads((ROOT / "docs" / "results" / "bench.json").read_text())
    text = "\n\n".join([*paragraphs(found["about"], found["rows"], found["claims"]), *speed_paragraphs(found["speed"])])
    assert (ROOT / "docs" / "benchmarks.md").read_text() == text + "\n"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 140


def test_the_glossary_has_its_words():
    text = (ROOT / "README.md").read_text().partition("## Glossary")[2]
    words = re.findall(r"^- \*\*(\w+)\*\*:", text, re.MULTILINE)
    assert words == ["hole", "rim", "ring", "seam", "texture", "level", "pass", "order", "view", "context"]


def test_only_whole_folders_at_the_root_stay_out_of_the_package():
    """A pattern without a leading slash would leave out web/docs, the nodes' help, with docs."""
    patterns = (ROOT / ".comfyignore").read_text().split()
    assert all(pattern.lstrip("!").startswith("/") and any(ROOT.glob(pattern.strip("!/"))) for pattern in patterns)


def test_the_icon_is_what_the_registry_takes():
    with Image.open(ROOT / "docs" / "images" / "icon.png") as icon:
        assert icon.format == "PNG" and icon.size == (400, 400)
