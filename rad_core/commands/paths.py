"""No command writes over its own inputs, nor two results into one file: checked before any work is done."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..photo_files import EXTENSIONS


def check_outputs(outputs: Iterable[Path], inputs: Iterable[str | Path | None]) -> None:
    """Check the files that a command will write against those it reads, by identity: links, letter case and `a/../a` do not hide a file.

    Args:
        outputs: files to be written; those that exist already are replaced.
        inputs: files and folders that are read. A folder stands for the pictures in it, which are to be passed one by one; None and names
            that are no files are ignored.

    Raises:
        ValueError: an output is an input, another output or a folder.
    """
    read: dict[object, str | Path] = {}
    for path in inputs:
        if path is not None and os.path.exists(path):
            read |= dict.fromkeys(_identities(path), path)
    written: dict[object, Path] = {}
    for output in outputs:
        if output.is_dir():
            raise ValueError(f"{output} is a folder: give the output a file's name.")
        for identity in _identities(output):
            if identity in read:
                raise ValueError(
                    f"{output} would overwrite {read[identity]}, which this command reads: choose another name for the output."
                )
            if identity in written:
                raise ValueError(f"{output} and {written[identity]} are one file: give every output a name of its own.")
        written |= dict.fromkeys(_identities(output), output)


def check_new(outputs: Iterable[Path]) -> None:
    """Raise ValueError if a file exists already: for commands that make files from nothing, of which none can be an older one's heir."""
    if taken := next((path for path in outputs if os.path.lexists(path)), None):
        raise ValueError(f"{taken} exists already and is not replaced: choose another name for the output, or remove it first.")


def is_folder(output: Path) -> bool:
    """Whether an output is meant as a folder: one that exists, or a name without a file's extension, such as out or out.v2."""
    return output.is_dir() or not (output.suffix[1:].isalpha() or output.suffix.lower() in EXTENSIONS)


def _identities(path: str | Path) -> list[object]:
    """What all names of a file have in common: the real path in small letters, and the number of an existing file on its disk."""
    identities: list[object] = [os.path.realpath(path).casefold()]
    if os.path.isfile(path):
        identities.append(inode(path))
    return identities


def inode(path: str | Path) -> object:
    """What all names of an existing file have in common: numbers of the disk and of the file, or its real path on drives without them."""
    status = os.stat(path)
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path).casefold()
