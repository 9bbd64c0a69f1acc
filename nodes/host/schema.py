"""What newer hosts know about a node and older ones do not."""

from dataclasses import fields

from comfy_api.latest import io


def search_aliases(*words: str) -> dict[str, list[str]]:
    """The argument of `io.Schema` by which the page's search finds a node; nothing where the host has no such field (0.3.64)."""
    return {"search_aliases": list(words)} if "search_aliases" in {field.name for field in fields(io.Schema)} else {}


def compare_widget(name: str, tooltip: str) -> list[io.Input]:
    """The host's slider between two pictures, as an input of a node; none where the host has no such widget (0.3.64)."""
    return [io.ImageCompare.Input(name, optional=True, tooltip=tooltip)] if hasattr(io, "ImageCompare") else []
