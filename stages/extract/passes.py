"""Forward passes over decoded batches, in pieces that the device has memory for.

A model that runs out of memory takes half as many images from then on. Where others are beside it,
and a few halvings did not help, it leaves them and gets the device to itself. On a CPU batches are
computed side by side where that is quicker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

from cache import InputError, PartWriter, Store
from stages.extract.residency import Residents
from stages.extract.streams import Streams
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
# Given together, so that a thread whose batch is done first has another.
_PER_THREAD = 2


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

    @property
    def step(self) -> int:
        """Images per pass that were asked for."""
        return self.task.batch

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
        self.start, self.stop = start, stop
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

    `device` is what models are loaded on.
    """

    def __init__(self, device: Device, residents: Residents, note: Callable[[str], None]) -> None:
        self.device = device
        self._residents, self._note = residents, note
        engine = engine_of(device)
        self._streams = Streams(engine.threads(device), partial(engine.free_bytes, device))
        self._limits: dict[str, int] = {}
        self._lanes: dict[str, list[Lane]] = {}
        # By stream and model: the runner that a copy was made of, and the copy.
        self._copies: dict[tuple[int, str], tuple[ModelRunner, ModelRunner]] = {}
        self._free: SimpleQueue[int] = SimpleQueue()

    @property
    def wanted(self) -> int:
        """Batches that are best given together."""
        threads = self._streams.threads
        return _PER_THREAD * threads if threads > 1 else 1

    def close(self) -> None:
        """Leave the device as it was."""
        self._copies.clear()
        self._streams.close()
        engine_of(self.device).on_threads(self.device, self._streams.threads)

    def run(self, batches: Sequence[Batch], lanes: Iterable[Lane]) -> None:
        """All lanes on batches of one part, wave by wave; who finds no room tries alone."""
        self._lanes = {}
        for lane in lanes:
            lane.mark = len(lane.batches)
            self._lanes.setdefault(lane.name, []).append(lane)
        if not self._lanes:
            return
        self._share_threads()
        begun = time.perf_counter()
        self._waves(batches)
        self._streams.learn(len(batches), tuple(self._lanes), time.perf_counter() - begun)

    def _share_threads(self) -> None:
        device = engine_of(self.device).on_threads(self.device, self._streams.share)
        if device != self.device:
            self.device = device
            self._copies.clear()
            self._residents.reload()

    def _waves(self, batches: Sequence[Batch]) -> None:
        for turn in self._residents.turns(self._lanes):
            self._turn(batches, turn)
        for name in self._lanes:
            for alone in (False, True):
                if not self._residents.placed(name):
                    self._residents.place(name, alone)
                    self._turn(batches, [name])

    def _turn(self, batches: Sequence[Batch], names: Sequence[str]) -> None:
        lanes = [lane for name in names for lane in self._lanes[name]]
        if self._streams.count > 1 and self._side_by_side(batches, lanes):
            return
        for batch in batches:
            self._pass(batch, batch.start, batch.stop, lanes)

    def _side_by_side(self, batches: Sequence[Batch], lanes: Sequence[Lane]) -> bool:
        """False where there was no memory for it: from now on one batch at a time."""
        if not self._copied(lanes):
            self._one_at_a_time()
            return False
        try:
            for lane in lanes:
                self._buffer(lane, batches[0])
            passes = self._streams.map(partial(self._alone, lanes), list(batches))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        else:
            for lane, ms, start, images in (each for one in passes for each in one):
                lane.watch.add(ms / min(self._streams.count, len(batches)))
                self._count(lane, start, images)
            if len(self._residents.waves) > 1:  # whose copies would stay while they sleep
                self._copies.clear()
            return True
        self._one_at_a_time()
        return False

    def _one_at_a_time(self) -> None:
        self._copies.clear()
        self._streams.settle(1)
        release(self.device)
        self._share_threads()

    def _copied(self, lanes: Sequence[Lane]) -> bool:
        """Whether each stream has a runner of its own for each model."""
        self._free = SimpleQueue()
        for stream in range(self._streams.count):
            self._free.put(stream)
            for name in dict.fromkeys(lane.name for lane in lanes):
                runner, key = self._residents[name], (stream, name)
                if key not in self._copies or self._copies[key][0] is not runner:
                    copied = engine_of(self.device).beside(runner)
                    if copied is None:
                        return False
                    self._copies[key] = (runner, copied)
        return True

    def _alone(self, lanes: Sequence[Lane], batch: Batch) -> list[tuple[Lane, float, int, int]]:
        """All lanes on a batch while others run beside it: what each pass took, in ms."""
        stream = self._free.get()
        try:
            return self._on_stream(stream, lanes, batch)
        finally:
            self._free.put(stream)

    def _on_stream(
        self, stream: int, lanes: Sequence[Lane], batch: Batch
    ) -> list[tuple[Lane, float, int, int]]:
        passes = []
        inputs: dict[tuple[int, int], _Inputs] = {}
        for lane in lanes:
            watch, step = engine_of(self.device).stopwatch(self.device), self._limit(lane)
            for start in range(batch.start, batch.stop, step):
                stop = min(start + step, batch.stop)
                made = _Inputs(batch, start, stop, self.device)
                given = inputs.setdefault((start, stop), made)
                runner = self._copies[stream, lane.name][1]
                self._logits(lane, runner, given, batch, watch)
                passes.append((lane, sum(watch.read()), start, stop - start))
        return passes

    def _pass(self, batch: Batch, start: int, stop: int, lanes: Sequence[Lane]) -> None:
        """Rows [start, stop); models that they are too many for take them in pieces."""
        inputs = _Inputs(batch, start, stop, self.device)
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
        return self._limits.get(lane.name, lane.step)

    def _ran(self, lane: Lane, inputs: _Inputs, batch: Batch, start: int, stop: int) -> bool:
        """A forward pass; False where there was no memory for it, and room has been made."""
        if not self._residents.placed(lane.name):
            return False
        done = len(lane.batches)
        try:
            self._buffer(lane, batch)
            self._logits(lane, self._residents[lane.name], inputs, batch, lane.watch)
            self._count(lane, start, stop - start)
            return True
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        # Not in the handler, whose traceback keeps tensors alive.
        lane.drop_after(done)
        inputs.clear()
        self._make_room(lane, stop - start)
        return False

    def _logits(
        self, lane: Lane, runner: ModelRunner, inputs: _Inputs, batch: Batch, watch: Stopwatch
    ) -> None:
        given = inputs.of(lane.task.view, runner)
        watch.start()
        logits = runner.logits(given)
        watch.stop()
        first = batch.part[0]
        lane.buffer[inputs.start - first : inputs.stop - first] = logits  # type: ignore[index]

    def _buffer(self, lane: Lane, batch: Batch) -> None:
        first, end = batch.part
        if lane.buffer is None:
            where = self.device if len(self._residents.waves) < 2 else "cpu"
            lane.buffer = engine_of(self.device).empty((end - first, lane.task.classes), where)

    def _count(self, lane: Lane, start: int, images: int) -> None:
        lane.batches.append((start, images, lane.warm))
        lane.warm = True

    def _make_room(self, lane: Lane, images: int) -> None:
        """After a pass over so many images did not fit."""
        release(self.device)
        enough = max(1, lane.step // _CONTENT)
        if self._residents.crowded and (not lane.warm or images <= enough):
            self._residents.evict(lane.name)
            self._limits.pop(lane.name, None)
            for own in self._lanes[lane.name]:
                own.drop_after(own.mark)
            return
        if images == 1:
            raise InputError(
                f"{self.device} has no memory for one image of {lane.name}: free some of it, or "
                "run it on another --device"
            )
        self._limits[lane.name] = -(-images // 2)
        self._note(
            f"{self.device} has no memory for {images} images of {lane.name} at a time: going on "
            f"with {self._limits[lane.name]}"
        )
