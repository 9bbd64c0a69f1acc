"""What a node has to say: every note of the library as a text on the node, every error as its sentence."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from comfy_execution.utils import get_executing_context
from server import PromptServer

from ...rad_core import CheckpointError
from ...rad_core.notes import Note

_told: set[str] = set()  # nodes that show a text: the page keeps it until another comes
_collecting = False


def noted(node: type) -> type:
    """A node class whose run shows its notes."""
    node.execute = classmethod(shown_on_node()(node.execute.__func__))
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
    texts: dict[str, None] = {}
    _collecting = True
    try:
        with warnings.catch_warnings():
            others = warnings.showwarning
            warnings.simplefilter("always", Note)
            warnings.showwarning = lambda text, kind, *rest: texts.setdefault(str(text)) if kind is Note else others(text, kind, *rest)
            yield
    except CheckpointError as error:
        raise ValueError(str(error)) from error
    finally:
        _collecting = False
        _show(list(texts))


def _show(texts: list[str]) -> None:
    for text in texts:
        logging.warning(text)
    context = get_executing_context()
    if context is None or not (texts or context.node_id in _told):
        return
    PromptServer.instance.send_progress_text("\n".join(texts) or "Nothing to note.", context.node_id)
    (_told.add if texts else _told.discard)(context.node_id)
