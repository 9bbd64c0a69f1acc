"""Notes: what a user should know of a result that is not wrong. The command prints them, a node shows them."""

import warnings


class Note(UserWarning):
    """The category of the warnings that are meant for users: the nodes and the command show them whatever filter is set."""


def note(text: str) -> None:
    """Tell the user something, in one sentence."""
    warnings.warn(text, Note, stacklevel=3)
