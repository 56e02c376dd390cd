"""Forward passes over decoded batches, in pieces that the device has memory for.

A model that runs out of memory takes half as many images from then on. Where others are beside it,
and a few halvings did not help, it leaves them and gets the device to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cache import InputError, PartWriter, Store
from stages.extract.residency import Residents
from stages.extract.work import Item, Task
from stages.runtimes import (
    Array,
    Device,
    ModelRunner,
    Stopwatch,
    View,
    engine_of,
    out_of_memory,
    release,
)

# A model beside others is content with this share of a batch before it leaves them: loading it
# again and again costs more than batches that are somewhat smaller.
_CONTENT = 4


@dataclass
class Lane:
    """A task while its model runs: what a part has so far.

    `batches` are (first sample, images, warm), `mark` how many there were before those at hand.
    """

    task: Task
    logits: PartWriter
    timings: PartWriter
    watch: Stopwatch
    buffer: Array | None = None
    batches: list[tuple[int, int, bool]] = field(default_factory=list)
    warm: bool = False
    mark: int = 0

    @classmethod
    def of(cls, task: Task, store: Store, device: Device) -> Lane:
        logits, timings = (task.writer(store, table) for table in ("logits", "timings"))
        return cls(task, logits, timings, engine_of(device).stopwatch(device))

    @property
    def name(self) -> str:
        return self.task.chosen.name

    def drop_after(self, batches: int) -> None:
        """Forget what was done after so many batches of the part."""
        del self.batches[batches:]
        self.watch.keep(batches)


@dataclass(frozen=True)
class Batch:
    """Rows [start, stop) of a split, and their pixels by the geometry of their views.

    `part` are the rows of the part that it belongs to.
    """

    item: Item
    part: tuple[int, int]
    start: int
    stop: int
    pixels: Mapping[View, Array]


class _Inputs:
    """Rows [start, stop) of a batch on the device, normalised once for all models alike."""

    def __init__(self, batch: Batch, start: int, stop: int, device: Device) -> None:
        self._batch, self._rows = batch, slice(start - batch.start, stop - batch.start)
        self._device = device
        self._raw: dict[View, Array] = {}
        self._normalised: dict[View, Array] = {}

    def of(self, view: View, runner: ModelRunner) -> Array:
        if view not in self._normalised:
            if view.geometry not in self._raw:
                host = self._batch.pixels[view.geometry][self._rows]
                self._raw[view.geometry] = engine_of(self._device).to_device(host, self._device)
            self._normalised[view] = runner.normalised(self._raw[view.geometry])
        return self._normalised[view]

    def clear(self) -> None:
        self._raw.clear()
        self._normalised.clear()


class Passes:
    """Runs lanes on batches, each model where `residents` has it; `note` is told of small batches.

    `full` is the number of images per forward pass that was asked for.
    """

    def __init__(
        self, device: Device, residents: Residents, full: int, note: Callable[[str], None]
    ) -> None:
        self._device, self._residents, self._full, self._note = device, residents, full, note
        self._limits: dict[str, int] = {}
        self._lanes: dict[str, list[Lane]] = {}

    def run(self, batches: Sequence[Batch], lanes: Iterable[Lane]) -> None:
        """All lanes on batches of one part, wave by wave; who finds no room tries alone."""
        self._lanes = {}
        for lane in lanes:
            lane.mark = len(lane.batches)
            self._lanes.setdefault(lane.name, []).append(lane)
        for turn in self._residents.turns(self._lanes):
            self._turn(batches, turn)
        for name in self._lanes:
            for alone in (False, True):
                if not self._residents.placed(name):
                    self._residents.place(name, alone)
                    self._turn(batches, [name])

    def _turn(self, batches: Sequence[Batch], names: Sequence[str]) -> None:
        lanes = [lane for name in names for lane in self._lanes[name]]
        for batch in batches:
            self._pass(batch, batch.start, batch.stop, lanes)

    def _pass(self, batch: Batch, start: int, stop: int, lanes: Sequence[Lane]) -> None:
        """Rows [start, stop); models that they are too many for take them in pieces."""
        inputs = _Inputs(batch, start, stop, self._device)
        rest = []
        for lane in lanes:
            fits = stop - start <= self._limit(lane)
            if not (fits and self._ran(lane, inputs, batch, start, stop)):
                rest.append(lane)
        inputs.clear()
        for lane in rest:
            step = self._limit(lane)
            for at in range(start, stop, step):
                if self._residents.placed(lane.name):
                    self._pass(batch, at, min(at + step, stop), [lane])

    def _limit(self, lane: Lane) -> int:
        return self._limits.get(lane.name, self._full)

    def _ran(self, lane: Lane, inputs: _Inputs, batch: Batch, start: int, stop: int) -> bool:
        """A forward pass; False where there was no memory for it, and room has been made."""
        if not self._residents.placed(lane.name):
            return False
        done = len(lane.batches)
        try:
            self._forward(lane, inputs, batch, start, stop)
            return True
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        # Not in the handler, whose traceback keeps tensors alive.
        lane.drop_after(done)
        inputs.clear()
        self._make_room(lane, stop - start)
        return False

    def _forward(self, lane: Lane, inputs: _Inputs, batch: Batch, start: int, stop: int) -> None:
        runner = self._residents[lane.name]
        given = inputs.of(lane.task.view, runner)
        lane.watch.start()
        logits = runner.logits(given)
        lane.watch.stop()
        first, end = batch.part
        if lane.buffer is None:
            where = self._device if len(self._residents.waves) < 2 else "cpu"
            lane.buffer = engine_of(self._device).empty((end - first, lane.task.classes), where)
        lane.buffer[start - first : stop - first] = logits
        lane.batches.append((start, stop - start, lane.warm))
        lane.warm = True

    def _make_room(self, lane: Lane, images: int) -> None:
        """After a pass over so many images did not fit."""
        release(self._device)
        enough = max(1, self._full // _CONTENT)
        if self._residents.crowded and (not lane.warm or images <= enough):
            self._residents.evict(lane.name)
            self._limits.pop(lane.name, None)
            for own in self._lanes[lane.name]:
                own.drop_after(own.mark)
            return
        if images == 1:
            raise InputError(
                f"{self._device} has no memory for one image of {lane.name}: free some of it, or "
                "run it on another --device"
            )
        self._limits[lane.name] = -(-images // 2)
        self._note(
            f"{self._device} has no memory for {images} images of {lane.name} at a time: going on "
            f"with {self._limits[lane.name]}"
        )
