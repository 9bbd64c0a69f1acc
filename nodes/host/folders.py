"""Where users' files are: models/adm, models/rad_adapters and models/sdm, and what extra_model_paths.yaml adds to them.

Adapters for latent models are in models/rad_adapters/latent, which the host's LoRA loaders list too.
"""

import contextlib
import os
import re
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import folder_paths

from ...rad_core import bundled_adapters, bundled_networks, bundled_sdms

ADM, ADAPTERS, SDM = "adm", "rad_adapters", "sdm"
BUNDLED_OF = {ADM: bundled_networks, ADAPTERS: bundled_adapters, SDM: bundled_sdms}
BUNDLED = " (bundled)"
LATENT = "latent"
RESERVED = re.compile("con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)  # names that Windows keeps for devices
EXTENSIONS = {".safetensors", ".pt", ".bin"}


def register_folders() -> None:
    """Create the folders and register them with the host."""
    for kind in BUNDLED_OF:
        folder = os.path.join(folder_paths.models_dir, kind)
        with contextlib.suppress(OSError):  # a models folder that cannot be written to is no reason to have no nodes
            os.makedirs(folder, exist_ok=True)
        folder_paths.add_model_folder_path(kind, folder)
        # A folder that extra_model_paths.yaml named first is registered without extensions, which would list every file.
        folder_paths.folder_names_and_paths[kind][1].update(EXTENSIONS)
    for folder in folder_paths.get_folder_paths(ADAPTERS):
        latent = os.path.join(folder, LATENT)
        with contextlib.suppress(OSError):
            os.makedirs(latent, exist_ok=True)
        folder_paths.add_model_folder_path("loras", latent)


def choices(kind: str) -> list[str]:
    """Names for a loader's list: the bundled ones, then the user's files."""
    return [name + BUNDLED for name in BUNDLED_OF[kind]()] + folder_paths.get_filename_list(kind)


def locate(kind: str, choice: str) -> str:
    """The bundled name or path of a choice, for `rad_core` to load."""
    if choice.endswith(BUNDLED):
        return choice.removesuffix(BUNDLED)
    return folder_paths.get_full_path_or_raise(kind, choice)


def fingerprint(kind: str, choice: str | None) -> str:
    """A text that changes when the file behind a choice does; None, for a choice that another node makes, has none of its own."""
    if choice is None or choice.endswith(BUNDLED):
        return choice or ""
    path = folder_paths.get_full_path(kind, choice)
    return f"{choice}:{Path(path).stat().st_mtime_ns}" if path else choice


def fingerprint_of_pictures(text: str) -> str:
    """A text that changes when the files of a `picture_folder` do."""
    try:
        files = [(file.name, file.stat().st_mtime_ns) for file in sorted(Path(picture_folder(text)).iterdir())]
    except (OSError, ValueError):
        return text
    return f"{text}:{len(files)}:{zlib.crc32(repr(files).encode()):08x}"


def adapter_file(name: str, latent: bool) -> Path:
    """The file that a new adapter is written to, in the first folder that can be written to; `latent`: it is for a latent model.

    Raises:
        ValueError: a name that is empty or a path, or there is no such folder.
    """
    name = name.strip().removesuffix(".safetensors")
    reserved = RESERVED.fullmatch(name.partition(".")[0])
    if not name or reserved or any(sign in name for sign in '/\\:*?"<>|') or name.startswith("."):
        raise ValueError(f"'{name}' cannot be a file's name: use letters, numbers, spaces and dashes.")
    folders = [Path(folder, LATENT if latent else "") for folder in folder_paths.get_folder_paths(ADAPTERS)]
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # asks the disk: what a folder's mode says does not hold on all
            return folder / f"{name}.safetensors"
    raise ValueError(
        f"No adapter can be written to {' or '.join(map(str, folders))}: allow it, or name another folder in extra_model_paths.yaml."
    )


_written: dict[Path, bool] = {}  # adapters of this session: whether the file was there when last looked for
_removed: Counter[Path] = Counter()


def remember(path: Path) -> None:
    """Note that an adapter was written: see `times_removed`."""
    _written[path] = True


def times_removed(name: str | None) -> int:
    """How often the files of an adapter of this name, written in this session, were found removed: then it is to be trained anew."""
    for path, was_there in _written.items():
        _written[path] = path.exists()
        _removed[path] += was_there and not _written[path]
    return sum(_removed[path] for path in _written if name and path.stem == name.strip().removesuffix(".safetensors"))


def picture_folder(text: str) -> str:
    """A folder given by its full path, perhaps in quotes as Windows copies it, or by its name inside the host's input folder."""
    return os.path.join(folder_paths.get_input_directory(), os.path.expanduser(text.strip().strip("\"'")))
