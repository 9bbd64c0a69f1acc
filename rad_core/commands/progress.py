"""Progress in the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from tqdm import tqdm

from ..samplers import Callback


@contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Callback]:
    """A progress bar as the callback of a method."""
    with tqdm(unit="step", disable=quiet, desc=title, leave=False) as bar:

        def advance(step: int, steps: int, x0: Tensor) -> None:
            bar.total = steps
            bar.update(step - bar.n)

        yield advance
