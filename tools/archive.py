"""The archive that the ComfyUI registry takes: every file of the repository that .comfyignore does not leave out.

python tools/archive.py -o node.zip
"""

import argparse
import subprocess
import zipfile
from pathlib import Path

PACK = Path(__file__).parents[1]


def files() -> list[str]:
    """The paths of the archive, relative to the repository."""
    git = lambda *words: set(
        subprocess.run(["git", "ls-files", "-z", *words], cwd=PACK, capture_output=True, check=True, text=True).stdout.split("\0")
    )
    return sorted(git() - git("-c", "-i", "--exclude-from=.comfyignore") - {""})


def write(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files():
            archive.write(PACK / name, name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("node.zip"))
    out = parser.parse_args().out
    write(out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
