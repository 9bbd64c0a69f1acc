"""Check GradPaint on a tiny MODEL of every family that a ComfyUI knows, and write the tables of docs/gradpaint.md and docs/models.md.

Run it with each host's interpreter and COMFYUI_PATH: python tools/make_models_table.py. The figures of every version are kept in
docs/results/gradpaint_models.json; what RAD and its training take is asked of the host that it is run with.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "host" / "inside"))
from families import FAMILIES, build, in_host  # noqa: E402
from host import Host  # noqa: E402
from matrix import REFUSED, check  # noqa: E402

PAGE, SUMMARY, RESULTS = ROOT / "docs" / "gradpaint.md", ROOT / "docs" / "models.md", ROOT / "docs" / "results" / "gradpaint_models.json"
BEGIN, END = "<!-- table: tools/make_models_table.py -->\n", "<!-- end of table -->\n"


def results(host: Host) -> dict[str, dict | str]:
    """By family: what `check` found, or why it is refused."""
    guided, made, found = host.module("nodes.host.guided_model"), [], {}
    make = guided.GradPaint
    guided.GradPaint = lambda *a, **k: made.append(make(*a, **k)) or made[-1]
    for name in filter(in_host, FAMILIES):
        try:
            found[name] = asdict(check(host, name, made))
        except ValueError as error:
            if name not in REFUSED:
                raise
            found[name] = f"refused: {error}"
        print(name, found[name], flush=True)
    return found


def kind_of(name: str) -> str:
    family = FAMILIES[name]
    if family.sound:
        return "video with sound"
    frames = family.shape[1] if len(family.shape) == 4 else 2 if family.frames else 1
    return "picture" if frames == 1 else "video"


def table(by_version: dict[str, dict]) -> str:
    newest, versions = by_version[max(by_version, key=number)], sorted(by_version, key=number, reverse=True)
    lines = [f"| family | latents | guided at | known latents change by | loss, first to last step | {' | '.join(versions)} |"]
    lines.append("|---" * (5 + len(versions)) + "|")
    for name, row in newest.items():
        in_versions = " | ".join(
            "-" if name not in by_version[v] else "yes" if isinstance(by_version[v][name], dict) else "no" for v in versions
        )
        if isinstance(row, str):
            lines.append(f"| {name} | {kind_of(name)} | refused | | | {in_versions} |")
            continue
        place = "the rim" if row["clean"] else "known latents, rim"
        loss = f"{row['loss'][0]:.2g} to {row['loss'][1]:.2g}"
        lines.append(f"| {name} | {kind_of(name)} | {place} | {row['known']:.0e} | {loss} | {in_versions} |")
    return "\n".join(lines) + "\n"


def summary(host: Host, guided: dict[str, dict | str]) -> str:
    """Every family that the host knows: whether GradPaint guides it, how RAD gives it its levels, and whether an adapter can be trained."""
    copy_of = host.module("nodes.host.trainable").copy_of
    has_token_levels = host.module("nodes.host.token_levels").has_token_levels

    def levels(model) -> str:
        (patched,) = host.call("RAI_RADSpatialNoiseEmbedding", model=model)
        if has_token_levels(patched):
            return "per token"
        return (
            "per pixel" if patched.model_options.get("model_function_wrapper") or patched.wrappers or patched.object_patches else "built in"
        )

    lines = ["| family | GradPaint | RAD: a level | training an adapter |", "|---|---|---|---|"]
    for name, row in guided.items():
        model = build(name)
        rad, trained = _unless_refused(levels, model), _unless_refused(lambda model: copy_of(model, "float32") and "yes", model)
        lines.append(f"| {name} | {'yes' if isinstance(row, dict) else 'refused'} | {rad} | {trained} |")
    return "\n".join(lines) + "\n"


def _unless_refused(ask: Callable, model) -> str:
    try:
        return ask(model)
    except ValueError:
        return "refused"


def write_table(page: Path, text: str) -> None:
    """Put a table between a page's two marks."""
    before, rest = page.read_text().split(BEGIN)
    page.write_text(before + BEGIN + text + END + rest.split(END)[1])


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def main() -> None:
    host = Host()
    import comfyui_version

    by_version = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    by_version[comfyui_version.__version__] = results(host)
    RESULTS.write_text(json.dumps(by_version, indent=1) + "\n")
    write_table(PAGE, table(by_version))
    if comfyui_version.__version__ == max(by_version, key=number):
        write_table(SUMMARY, summary(host, by_version[comfyui_version.__version__]))


if __name__ == "__main__":
    main()
