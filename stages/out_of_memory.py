"""Whether an error says that a device had no memory left, which may be mended and tried again."""

from __future__ import annotations

# What the CPU's allocator, cuBLAS, cuDNN and Apple's GPUs say in a plain RuntimeError.
_SAID = ("can't allocate memory", "STATUS_ALLOC_FAILED", "out of memory")


def out_of_memory(error: BaseException) -> bool:
    """Of a device, or of the CPU's allocator."""
    import torch

    said = str(error)
    known = isinstance(error, RuntimeError) and any(words in said for words in _SAID)
    return known or isinstance(error, torch.OutOfMemoryError)
