"""How running out of memory is distinguished from other errors."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the processor or of a GPU; torch says so in the text of a RuntimeError."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate" in str(error)
