"""Writing files whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError


def write_whole(path: str | Path, write: Callable[[str], None]) -> None:
    """Let `write` make a temporary file of the same extension beside `path`, then rename it: never half a file.

    Raises:
        ValueError: the folder cannot be written, or the extension means nothing to the writer.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise ValueError(f"Cannot write to {path.parent}: {error.strerror or error}.") from None
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's own mode is private
        os.replace(temporary, path)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"Cannot write {path.name}: {error}.") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
