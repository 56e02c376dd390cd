"""Models on a device, as many at a time as its memory holds.

Nothing is estimated: a model joins the current wave when it is first needed, and the first batch
shows whether it fits. One that does not starts the next wave; the models of a wave that waits are
dropped and loaded again from their files.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import torch

from stages.allocator import give_back
from stages.inference import Runner


class Residents:
    """`load` makes the runner of a model, on the device, from its name."""

    def __init__(self, device: torch.device, load: Callable[[str], Runner]) -> None:
        self.waves: list[list[str]] = []
        self._device, self._load = device, load
        self._here: dict[str, Runner] = {}
        self._largest = 0

    def __getitem__(self, name: str) -> Runner:
        """The runner of a model of the wave that is awake."""
        return self._here[name]

    def turns(self, names: Iterable[str]) -> Iterator[list[str]]:
        """The placed ones of these models, wave by wave, each awake; the one that is goes first."""
        wanted = set(names)
        for wave in sorted(self.waves, key=lambda wave: not self._awake(wave)):
            turn = [name for name in wave if name in wanted]
            if turn:
                self._wake(wave)
                yield turn

    def placed(self, name: str) -> bool:
        return any(name in wave for wave in self.waves)

    def place(self, name: str, first: Callable[[], None]) -> None:
        """Bring in a model that was not needed before; `first` runs its first batch.

        It joins the last wave if it fits beside the others, else it starts a wave of its own; what
        does not fit alone raises torch's OutOfMemoryError.
        """
        last = self.waves[-1] if self.waves else []
        self._wake(last)
        before = free_bytes(self._device)
        if last and before is not None and before < self._largest:
            self._sleep()
            last = []
        try:
            self._try(name, first)
        except RuntimeError as error:
            if not last or not out_of_memory(error):
                raise
            last = []
        if name not in self._here:  # outside of the handler: its traceback keeps tensors alive
            release(self._device)
            self._try(name, first)
        if last:
            last.append(name)
        else:
            self.waves.append([name])
        self._measure(before)

    def _try(self, name: str, first: Callable[[], None]) -> None:
        try:
            self._here[name] = self._load(name)
            first()
        except RuntimeError as error:
            if out_of_memory(error):
                self._sleep()
            raise

    def _measure(self, before: int | None) -> None:
        """The most that a model and its first batch took: what the next must find free."""
        after = free_bytes(self._device)
        if before is not None and after is not None and len(self._here) > 1:
            self._largest = max(self._largest, before - after)

    def _awake(self, wave: list[str]) -> bool:
        return any(name in self._here for name in wave)

    def _wake(self, wave: list[str]) -> None:
        if not self._awake(wave):
            self._sleep()
        for name in wave:
            if name not in self._here:
                self._here[name] = self._load(name)

    def _sleep(self) -> None:
        self._here.clear()
        release(self._device)


def release(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cpu":
        give_back()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the CPU's allocator, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def free_bytes(device: torch.device) -> int | None:
    """Memory that a model could still take on the device, None where nothing tells."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    if device.type == "cpu" and sys.platform == "linux":
        return min(_machine_free(), _group_free())
    return None


def _machine_free() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return int(sizes["MemAvailable"].split()[0]) * 1024


def _group_free(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """What the control group (a container's limit) leaves; its file cache counts as free."""
    with suppress(OSError, ValueError):  # without a limit the file says "max"
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        stat = (folder / "memory.stat").read_text(encoding="ascii").split()
        return limit - used + int(stat[stat.index("inactive_file") + 1])
    return sys.maxsize
