"""Check GradPaint on a tiny MODEL of every family that a ComfyUI knows, and write docs/gradpaint.md's table.

Run it with each host's interpreter and COMFYUI_PATH: python tools/make_models_table.py. The figures of every version are kept in
docs/results/gradpaint_models.json.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "host" / "inside"))
from families import FAMILIES, in_host  # noqa: E402
from host import Host  # noqa: E402
from matrix import REFUSED, check  # noqa: E402

PAGE, RESULTS = ROOT / "docs" / "gradpaint.md", ROOT / "docs" / "results" / "gradpaint_models.json"
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


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def main() -> None:
    host = Host()
    import comfyui_version

    by_version = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    by_version[comfyui_version.__version__] = results(host)
    RESULTS.write_text(json.dumps(by_version, indent=1) + "\n")
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + table(by_version) + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
