"""Who holds a lock, and what those who wait for it are told."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cache.storage import InputError, Store

Told = Callable[[str], None]


class BusyError(InputError):
    """Another process is writing there, and the caller did not want to wait."""


@dataclass(frozen=True)
class Holder:
    """`machine` tells machines and containers apart whose hosts have the same name."""

    pid: int
    host: str
    since: str
    machine: str | None = None

    @classmethod
    def this_process(cls) -> Holder:
        return cls(os.getpid(), platform.node(), _now(), _machine())

    @classmethod
    def from_json(cls, data: bytes) -> Holder | None:
        """None where it does not say: nobody has signed yet, or no longer."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def is_gone(self) -> bool:
        """Whether it ran on this machine and has ended."""
        if self.machine is None or self.machine != _machine() or not isinstance(self.pid, int):
            return False
        return not Path(f"/proc/{self.pid}").exists()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def silent(line: str) -> None:
    """Told without effect."""


def waiting(store: Store, name: str, holder: Holder | None, more: str = "") -> str:
    by = holder or "another process"
    return f"{name} in {store.root} is being written by {by}: waiting for it{more}"


def busy(store: Store, name: str, holder: Holder | None) -> BusyError:
    by = holder or "another process"
    return BusyError(f"{name} in {store.root} is being written by {by}: run this again afterwards")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _machine() -> str | None:
    """This boot of this machine and this container's processes; None where it is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None
