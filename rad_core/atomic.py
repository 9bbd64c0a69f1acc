"""Writing files completely or not at all."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

TRIES = 5  # of a rename


def atomic_write(path: str | Path, write: Callable[[str], None]) -> None:
    """Write a file under a temporary name beside `path`, then rename it: a failure leaves no half-written file.

    Args:
        path: the file; missing folders are created. The temporary name has the same extension.
        write: called with the temporary name.

    Raises:
        ValueError: the folder cannot be written, the file is write-protected, or `write` fails (an unknown extension, a full disk).
    """
    path = Path(path)
    check_unprotected(path)
    temporary = path.parent / f"tmp{secrets.token_hex(8)}{path.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # the system subtracts the umask
        mode = os.fstat(handle).st_mode
        os.close(handle)
    except OSError as error:
        raise ValueError(f"Cannot write to {path.parent}: {error.strerror or error}.") from None
    try:
        write(str(temporary))
        with contextlib.suppress(OSError):  # network drives and sticks may have no modes
            os.chmod(temporary, mode)  # a writer may have replaced the file by one of its own
        _replace(temporary, path)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"Cannot write {path.name}: {error}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def check_unprotected(path: str | Path) -> None:
    """Raise ValueError for a write-protected file, which a rename would replace all the same."""
    if os.path.isfile(path) and not os.access(path, os.W_OK):
        raise ValueError(f"{Path(path).name} is write-protected: choose another name for the output, or lift the protection.")


def _replace(temporary: Path, path: Path) -> None:
    """Rename a file; again where a virus scanner or a cloud drive holds one of the two for a moment, as happens on Windows."""
    for left in reversed(range(TRIES)):
        try:
            return os.replace(temporary, path)
        except PermissionError:
            if not left:
                raise
            time.sleep(0.1)
