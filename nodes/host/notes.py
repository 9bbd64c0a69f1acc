"""What a node has to say: every note of the library as a text on the node, every error as its sentence."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from comfy_execution.utils import get_executing_context
from server import PromptServer

from ...rad_core import CheckpointError
from ...rad_core.notes import Note
from .cancel import cancellable

_told: set[str] = set()  # nodes that show a text: the page keeps it until another comes
_collecting = False


def noted(node: type) -> type:
    """A node class whose run shows its notes and heeds the cancel button."""
    node.execute = classmethod(shown_on_node()(cancellable()(node.execute.__func__)))
    return node


@contextmanager
def shown_on_node() -> Iterator[None]:
    """Show the notes of a block or function on the node that the host is running, and write them to the log.

    Raises:
        ValueError: in place of a `CheckpointError`, whose name would come before the sentence.
    """
    global _collecting
    if _collecting:  # a guider or sampler inside a node of ours
        yield
        return
    texts, began, ended = dict[str, None](), time.monotonic(), "Stopped after"
    _collecting = True
    try:
        with warnings.catch_warnings():
            others = warnings.showwarning
            warnings.simplefilter("always", Note)
            warnings.showwarning = lambda text, kind, *rest: texts.setdefault(str(text)) if kind is Note else others(text, kind, *rest)
            yield
        ended = "Done in"
    except CheckpointError as error:
        raise ValueError(str(error)) from error
    finally:
        _collecting = False
        _show(list(texts), f"{ended} {time.monotonic() - began:.0f} s.")


def _show(texts: list[str], otherwise: str) -> None:
    for text in texts:
        logging.warning(text)
    context = get_executing_context()
    if texts:
        say("\n".join(texts))
    elif context is not None and context.node_id in _told:
        say(otherwise)
        _told.discard(context.node_id)


def say(text: str) -> None:
    """Show a text on the node that the host is running, in place of the one before; nothing where no node runs."""
    context = get_executing_context()
    if context is not None:
        PromptServer.instance.send_progress_text(text, context.node_id, PromptServer.instance.client_id)
        _told.add(context.node_id)
