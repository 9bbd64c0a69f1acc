"""The device of a command, checked before any work is done."""

import torch


def check_device(name: str | torch.device) -> None:
    """Check that a device computes and gives its results back.

    Raises:
        ValueError: it does not.
    """
    try:
        works = float(torch.ones(1, device=name).add(1).cpu()) == 2
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):  # no such kind, no driver, or no such number of it
        works = False
    if not works:
        raise ValueError(f"This machine has no device '{name}' that can compute: use --device cpu.")
