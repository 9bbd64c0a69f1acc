"""The rooms of the house and the imports between them, read from the code: nothing is imported or run here."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("nodes", "rad_core")
# Layers of rad_core from the lowest up: a module imports from its own layer and those below. What is not listed is in the lowest.
LAYERS = [
    (),
    ("rad", "gradpaint", "exemplar", "sdm", "matching"),  # the methods
    ("__init__",),  # what other programs import
    ("training",),
    ("bench",),
    ("commands", "__main__"),
]
HOST_PACKAGES = (
    "comfy",
    "comfy_extras",
    "comfy_execution",
    "execution",
    "folder_paths",
    "latent_preview",
    "nodes",
    "server",
    "node_helpers",
)
TENSORS_AND_NUMBERS = ("Image", "Mask", "Int", "Float", "String", "Boolean", "Combo")


def modules() -> dict[str, Path]:
    """Every module of the pack by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
    }


MODULES = modules()


def parse(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(), str(MODULES[name]))


def imports(name: str, nodes: Iterator[ast.AST]) -> set[str]:
    """What a module imports, by absolute names: modules of the pack, and of others the package."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:  # of a package, a module in it or a name
                found.add(f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base)
    return found - {name}


def all_imports(name: str) -> set[str]:
    return imports(name, ast.walk(parse(name)))


def top_level(tree: ast.Module) -> Iterator[ast.AST]:
    """The statements that run when a module is imported."""
    open_ = list(tree.body)
    while open_:
        node = open_.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            open_ += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def layer(name: str) -> int:
    part = [*name.split("."), "__init__"][1]
    return next((k for k, parts in enumerate(LAYERS) if part in parts), 0)


def test_the_core_knows_nothing_of_the_host_or_the_nodes():
    for name in MODULES:
        if name.startswith("rad_core"):
            packages = {imported.split(".")[0] for imported in all_imports(name)}
            assert not packages & {*HOST_PACKAGES, "comfy_api", "measurements", "tests", "tools"}, name


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("rad_core")])
def test_no_module_of_the_core_imports_from_a_layer_above(name):
    above = {imported for imported in all_imports(name) if imported.startswith("rad_core") and layer(imported) > layer(name)}
    assert not above, f"{name} imports {', '.join(sorted(above))}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: {imported for imported in imports(name, top_level(parse(name))) if imported in MODULES} for name in MODULES}
    while ready := [name for name, needs in graph.items() if not needs & graph.keys()]:
        for name in ready:
            del graph[name]
    assert not graph, f"these import each other: {graph}"


def test_a_circle_and_a_relative_import_would_be_found():
    """The reader itself: on modules whose imports are known."""
    assert all_imports("rad_core.rad") >= {"rad_core.guidance", "rad_core.fills", "torch"}
    assert all_imports("nodes.rad") >= {"rad_core", "nodes.inputs", "nodes.host.sampler", "comfy_api.latest"}
    assert layer("rad_core") == 2 and layer("rad_core.sdm.files") == 1 and layer("rad_core.crops") == 0


def host_inputs(tree: ast.AST, shared: dict[str, set[str]]) -> set[str]:
    """Names of the inputs in a piece of code that are the host's own objects, such as MODEL, VAE or CLIP; `shared`: of `nodes.inputs`."""
    found = set()
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        owner, attribute = ast.unparse(call.func.value), call.func.attr
        if owner == "inputs":
            found |= shared.get(attribute, set())
        elif attribute == "Input" and owner.split(".")[-1] not in TENSORS_AND_NUMBERS and isinstance(call.args[0], ast.Constant):
            found.add(call.args[0].value)
    return found


def test_only_nodes_host_knows_the_hosts_inside():
    shared = {node.name: host_inputs(node, {}) for node in parse("nodes.inputs").body if isinstance(node, ast.FunctionDef)}
    checked = set()
    for name in MODULES:
        if not name.startswith("nodes") or name.startswith("nodes.host"):
            continue
        packages = {imported.split(".")[0] for imported in all_imports(name)} - {"nodes", "rad_core"} - sys.stdlib_module_names
        assert packages <= {"comfy_api", "numpy", "torch"}, f"{name} imports {packages}"
        for part in parse(name).body:
            names = host_inputs(part, shared)
            checked |= names
            for node in ast.walk(part):
                if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.value, ast.Name):
                    assert node.value.id not in names, f"{name}, line {node.lineno}: {ast.unparse(node)} is the host's, see nodes/host"
    assert {"model", "vae", "clip", "sdm", "positive", "negative", "picture", "latent_image"} <= checked
