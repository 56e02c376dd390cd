"""Models on a device, as many at a time as its memory holds.

Nothing is estimated: a model joins the current wave when it is first needed, and running shows
whether it fits. One that does not starts the next wave; the models of a wave that waits are dropped
and loaded again from their files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cache import InputError
from stages.runtimes import Device, ModelRunner, free_bytes, out_of_memory, release


class Residents:
    """`load` makes the runner of a model, on the device, from its name."""

    def __init__(self, device: Device, load: Callable[[str], ModelRunner]) -> None:
        self.waves: list[list[str]] = []
        self._device, self._load = device, load
        self._here: dict[str, ModelRunner] = {}
        self._largest = 0

    def __getitem__(self, name: str) -> ModelRunner:
        """The runner of a model of the wave that is awake."""
        return self._here[name]

    @property
    def crowded(self) -> bool:
        """Whether several models are on the device."""
        return len(self._here) > 1

    def placed(self, name: str) -> bool:
        """Whether the model belongs to a wave."""
        return any(name in wave for wave in self.waves)

    def turns(self, names: Iterable[str]) -> Iterator[list[str]]:
        """The placed ones of these models, wave by wave, each awake; the one that is goes first.

        What fitted once and does not any more has no place afterwards.
        """
        wanted = set(names)
        for wave in sorted(self.waves, key=lambda wave: not self._awake(wave)):
            if wanted.intersection(wave):
                self._wake(wave)
                yield [name for name in wave if name in wanted]

    def place(self, name: str, alone: bool = False) -> None:
        """Bring in a model, beside the last wave if there is room, else in a wave of its own.

        InputError for one that even an empty device has no memory for.
        """
        if not alone and self.waves and self._beside(name):
            return
        self._sleep()
        if not self._try(name):
            raise InputError(
                f"{self._device} has no memory for the weights of {name}: free some of it, or run "
                "it on another --device"
            )
        self.waves.append([name])

    def evict(self, name: str) -> None:
        """Drop a model; it has no place any more."""
        self._here.pop(name, None)
        for wave in self.waves:
            if name in wave:
                wave.remove(name)
        self.waves = [wave for wave in self.waves if wave]
        release(self._device)

    def reload(self) -> None:
        """Load anew what is here; what does not fit any more has no place afterwards."""
        for name in list(self._here):
            del self._here[name]
            if not self._try(name):
                self.evict(name)

    def _beside(self, name: str) -> bool:
        """Whether the model has joined the last wave."""
        last = self.waves[-1]
        self._wake(last)
        free = free_bytes(self._device)
        if not last or (free is not None and free < self._largest) or not self._try(name):
            return False
        last.append(name)
        return True

    def _awake(self, wave: list[str]) -> bool:
        return any(name in self._here for name in wave)

    def _wake(self, wave: list[str]) -> None:
        if not self._awake(wave):
            self._sleep()
        for name in list(wave):
            if name not in self._here and not self._try(name):
                self.evict(name)

    def _try(self, name: str) -> bool:
        """Whether there was memory to load the model."""
        try:
            self._here[name] = runner = self._load(name)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        else:
            self._largest = max(self._largest, runner.nbytes)
            return True
        release(self._device)  # not before the traceback, which keeps tensors alive, is gone
        return False

    def _sleep(self) -> None:
        if self._here:
            self._here.clear()
            release(self._device)
