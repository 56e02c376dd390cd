"""How much memory there is, whether an error says that there was none left, and keeping what is
freed.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


def free_memory() -> int | None:
    """Bytes, None where nothing tells."""
    return min(_machine(), _group()) if sys.platform == "linux" else None


def _machine() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return int(sizes["MemAvailable"].split()[0]) * 1024


def _group(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """What the control group (a container's limit) leaves; its file cache counts as free."""
    with suppress(OSError, ValueError):  # without a limit the file says "max"
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        stat = (folder / "memory.stat").read_text(encoding="ascii").split()
        return limit - used + int(stat[stat.index("inactive_file") + 1])
    return sys.maxsize


# What the CPU's allocators, cuBLAS, cuDNN and Apple's GPUs say in a plain RuntimeError.
_SAID = ("can't allocate memory", "STATUS_ALLOC_FAILED", "out of memory", "Failed to allocate")


def out_of_memory(error: BaseException) -> bool:
    """Of a device, or of the CPU's allocator."""
    said, torch = str(error), sys.modules.get("torch")  # what raises torch's has imported it
    known = isinstance(error, RuntimeError) and any(words in said for words in _SAID)
    return known or (torch is not None and isinstance(error, torch.OutOfMemoryError))


# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


# glibc maps a block beyond 32 MiB afresh and gives it back as soon as it is freed, so that the
# kernel zeroes the pages of every large activation of every forward pass. At a batch of 64 that
# took half of the time of many ImageNet models on a CPU (efficientnet-lite0: 80 ms an image with
# it, 16 without).
@cache
def keep_freed() -> None:
    """From now on this process keeps freed memory for its next use, where libc is glibc."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
