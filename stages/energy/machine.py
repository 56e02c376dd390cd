"""Where sensors are looked for: this machine, or what a test puts in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from stages.energy import nvml_library
from stages.energy.timing import REAL, Timing


@dataclass(frozen=True)
class Machine:
    """Where sensors are looked for; tests put trees and a fake library here."""

    root: Path = Path("/")
    load_nvml: Callable[[], nvml_library.Nvml] = nvml_library.load
    torch_uuid: Callable[[int], str | None] = nvml_library.torch_uuid
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    timing: Timing = REAL

    @property
    def powercap(self) -> Path:
        """The tree of the RAPL counters."""
        return self.root / "sys/class/powercap"
