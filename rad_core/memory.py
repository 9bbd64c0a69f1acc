"""Memory: running out of it, and the order of a network's weights in it."""

import torch

# what torch says of CUDA, Apple's GPUs and CPUs; of Apple's, of a tensor that is too large for one buffer; of DirectML
OUT = ("out of memory", "can't allocate", "Invalid buffer size", "not enough GPU video memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the processor or of a GPU; torch says so in the text of a RuntimeError."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in OUT)


def weights_layout(device: torch.device | str) -> torch.memory_format:
    """Channels-last, which is a quarter faster on CPUs; not on Apple's GPUs, which may read such weights wrongly (pytorch#192303)."""
    return torch.contiguous_format if torch.device(device).type == "mps" else torch.channels_last
