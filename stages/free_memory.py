"""How much of the machine's memory is free: that of its control group, where it is in one."""

from __future__ import annotations

import sys
from contextlib import suppress
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
