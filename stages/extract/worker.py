"""Makes parts on one device: decodes ahead in threads, runs the models, writes in another thread.

The logits of a part stay on the device until the part is whole. A batch that does not fit into the
device's memory is halved, and so are those after it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

import numpy as np
import pyarrow as pa
import torch

from cache import InputError, PartWriter, Store
from cache.schema import TIMINGS, logits_schema
from stages.extract.residency import Residents, out_of_memory, release
from stages.extract.work import Item, Made, Task, Work
from stages.inference import Pictures, Runner, Stopwatch
from stages.models import Chosen, load
from stages.prefetch import prefetch
from stages.variants import View

# Decoded pixels that wait while waves of models take turns on the device.
_CHUNK_BYTES = 1 << 29


@dataclass(frozen=True)
class Loaded:
    """What the driver has loaded already: modules by model, the first picture of each split."""

    modules: dict[str, torch.nn.Module] = field(default_factory=dict)
    pictures: dict[int, np.ndarray] = field(default_factory=dict)


@dataclass
class Lane:
    """A task while its model runs."""

    task: Task
    logits: PartWriter
    timings: PartWriter
    watch: Stopwatch
    buffer: torch.Tensor | None = None
    batches: list[tuple[int, int, bool]] = field(default_factory=list)
    warm: bool = False

    @classmethod
    def of(cls, task: Task, store: Store, device: torch.device) -> Lane:
        logits, timings = (task.writer(store, table) for table in ("logits", "timings"))
        return cls(task, logits, timings, Stopwatch(device))

    def drop_after(self, batches: int) -> None:
        """Forget what was done after so many batches of the part."""
        del self.batches[batches:]
        self.watch.keep(batches)


@dataclass(frozen=True)
class _Batch:
    """Rows [start, stop) of a split, and their pixels by the geometry of their views."""

    item: Item
    start: int
    stop: int
    pixels: Mapping[View, torch.Tensor]


class Worker:
    """Runs the tasks of `work` on one device, and may take what is `loaded`.

    `note` is told what a user should know; `progress` the images done since it was last called.
    """

    def __init__(
        self,
        work: Work,
        device: torch.device,
        loaded: Loaded | None = None,
        note: Callable[[str], None] = lambda message: None,
        progress: Callable[[int], None] = lambda images: None,
    ) -> None:
        self._work, self._device, self._note, self._progress = work, device, note, progress
        self._loaded = loaded or Loaded()
        store = Store(work.root)
        self._lanes = [
            Lane(
                task, task.writer(store, "logits"), task.writer(store, "timings"), Stopwatch(device)
            )
            for task in work.tasks
        ]
        self._chosen: dict[str, Chosen] = {task.chosen.name: task.chosen for task in work.tasks}
        self._residents = Residents(device, self._load)
        self._limit = work.batch

    def make(self, items: Iterable[Item]) -> Generator[Made, None, None]:
        """Make these parts for every task that lacks them; yields what has been written."""
        with ThreadPoolExecutor(1, thread_name_prefix="writer") as pool:
            written: list[Future[Made]] = []
            for batches in self._chunks(items):
                self._run(batches)
                self._progress(sum(batch.stop - batch.start for batch in batches))
                last = batches[-1]
                if last.stop == self._work.span(last.item)[1]:
                    for future in written:
                        yield future.result()
                    written = [pool.submit(write) for write in self._writes(last.item)]
            for future in written:
                yield future.result()

    def _load(self, name: str) -> Runner:
        chosen = self._chosen[name]
        module = self._loaded.modules.pop(name, None) or load(chosen.spec, chosen.weights)
        return Runner.of(module, chosen.spec.preprocessing, self._device, self._work.precision)

    def _chunks(self, items: Iterable[Item]) -> Iterator[list[_Batch]]:
        """Single batches; while models take turns, as many of a part as may wait together."""
        for _, batches in groupby(self._batches(items), lambda batch: batch.item):
            waiting: list[_Batch] = []
            for batch in batches:
                waiting.append(batch)
                if len(self._residents.waves) < 2 or _bytes(waiting) > _CHUNK_BYTES:
                    yield waiting
                    waiting = []
            if waiting:
                yield waiting

    def _batches(self, items: Iterable[Item]) -> Iterator[_Batch]:
        """Decoded batches of the parts in order; a batch never crosses the end of a part."""
        pictures: dict[int, Pictures[View]] = {}
        step = self._work.batch

        def spans() -> Iterator[tuple[Pictures[View], Item, int, int]]:
            for item in items:
                split = item[0]
                if split not in pictures:
                    pictures[split] = self._pictures(split)
                start, stop = self._work.span(item)
                for at in range(start, stop, step):
                    yield pictures[split], item, at, min(at + step, stop)

        def decode(span: tuple[Pictures[View], Item, int, int]) -> _Batch:
            of, item, start, stop = span
            pixels = {view: self._on_host(array) for view, array in of.batch(start, stop).items()}
            return _Batch(item, start, stop, pixels)

        return prefetch(decode, spans(), self._work.workers)

    def _pictures(self, split: int) -> Pictures[View]:
        views = {task.view.geometry for task in self._work.tasks if task.split == split}
        first = self._loaded.pictures.get(split)
        return Pictures.of(self._work.sources[split], views, first)

    def _on_host(self, pixels: np.ndarray) -> torch.Tensor:
        host = torch.from_numpy(pixels)
        return host.pin_memory() if self._device.type == "cuda" else host

    def _run(self, batches: Sequence[_Batch]) -> None:
        """All models that lack the part, on these batches of it."""
        by_model: dict[str, list[Lane]] = {}
        for i in self._work.lacking(batches[0].item):
            lane = self._lanes[i]
            by_model.setdefault(lane.task.chosen.name, []).append(lane)
        fresh = [name for name in by_model if not self._residents.placed(name)]
        for turn in self._residents.turns(by_model):
            for batch in batches:
                self._forward(batch, [lane for name in turn for lane in by_model[name]])
        for name in fresh:
            self._place(name, by_model[name], batches)

    def _place(self, name: str, lanes: list[Lane], batches: Sequence[_Batch]) -> None:
        """A model's first batches, with those of its wave beside it, in halves if it must be."""
        marks = [len(lane.batches) for lane in lanes]

        def first() -> None:
            for lane, mark in zip(lanes, marks, strict=True):
                lane.drop_after(mark)
            for batch in batches:
                for start in range(batch.start, batch.stop, self._limit):
                    self._piece(batch, start, min(start + self._limit, batch.stop), lanes)

        while not self._residents.placed(name):
            try:
                self._residents.place(name, first)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._halve(lanes)

    def _forward(self, batch: _Batch, lanes: Sequence[Lane]) -> None:
        start = batch.start
        while start < batch.stop:
            stop = min(start + self._limit, batch.stop)
            marks = [len(lane.batches) for lane in lanes]
            try:
                self._piece(batch, start, stop, lanes)
                start = stop
                continue
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            for lane, mark in zip(lanes, marks, strict=True):
                lane.drop_after(mark)
            self._halve(lanes)

    def _piece(self, batch: _Batch, start: int, stop: int, lanes: Sequence[Lane]) -> None:
        """Rows [start, stop) of a batch through models that are awake."""
        raw: dict[View, torch.Tensor] = {}
        inputs: dict[View, torch.Tensor] = {}
        for lane in lanes:
            view, runner = lane.task.view, self._residents[lane.task.chosen.name]
            if view not in inputs:
                if view.geometry not in raw:
                    host = batch.pixels[view.geometry][start - batch.start : stop - batch.start]
                    raw[view.geometry] = host.to(self._device, non_blocking=True)
                inputs[view] = runner.normalised(raw[view.geometry])
            lane.watch.start()
            logits = runner.logits(inputs[view])
            lane.watch.stop()
            self._keep(lane, logits, batch.item, start)
            lane.batches.append((start, stop - start, lane.warm))
            lane.warm = True

    def _keep(self, lane: Lane, logits: torch.Tensor, item: Item, start: int) -> None:
        first, end = self._work.span(item)
        if lane.buffer is None:
            where = self._device if len(self._residents.waves) < 2 else "cpu"
            lane.buffer = torch.empty((end - first, lane.task.classes), device=where)
        lane.buffer[start - first : start - first + len(logits)] = logits

    def _halve(self, lanes: Sequence[Lane]) -> None:
        release(self._device)
        names = ", ".join(dict.fromkeys(lane.task.chosen.name for lane in lanes))
        if self._limit == 1:
            raise InputError(
                f"{self._device} has no memory for one image of {names}: free some of it, or run "
                "it on another --device"
            )
        self._limit = -(-self._limit // 2)
        self._note(
            f"{self._device} has no memory for a batch of {names}: going on with {self._limit} "
            "images at a time"
        )

    def _writes(self, item: Item) -> Iterator[Callable[[], Made]]:
        """What is left to do for a part whose last batch has run, as calls for the writer."""
        for i in self._work.lacking(item):
            lane = self._lanes[i]
            if lane.buffer is None:
                raise RuntimeError(f"{lane.task.chosen.name} did not run on part {item}")
            laps = lane.watch.read()
            logits = lane.buffer.cpu().numpy()
            batches, lane.buffer, lane.batches = lane.batches, None, []
            yield partial(self._write, i, item, logits, batches, laps)

    def _write(
        self,
        i: int,
        item: Item,
        logits: np.ndarray,
        batches: list[tuple[int, int, bool]],
        laps: list[float],
    ) -> Made:
        lane, (split, part) = self._lanes[i], item
        first, end = self._work.span(item)
        source = self._work.sources[split]
        bad = ~np.isfinite(logits).all(axis=1)
        if bad.any():
            raise InputError(
                f"{lane.task.chosen.name} gives a NaN or infinite logit on {source.dataset}/"
                f"{source.split} sample {first + int(bad.argmax())}: check its weights, or use "
                "--precision fp32"
            )
        timings = lane.timings.write(part, timings_table(batches, laps))
        written = lane.logits.write(part, logits_table(logits, first))
        right = int((logits.argmax(axis=1) == source.labels[first:end]).sum())
        return Made(i, part, written, timings, right, sum(laps))


def logits_table(logits: np.ndarray, first: int) -> pa.Table:
    """float32 [n, K] of the samples from `first` on."""
    n, classes = logits.shape
    schema = logits_schema(classes)
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(logits.reshape(-1)), type=schema.field("logits").type
    )
    return pa.table([np.arange(first, first + n), column], schema=schema)


def timings_table(batches: Sequence[tuple[int, int, bool]], laps: Sequence[float]) -> pa.Table:
    """Batches as (first sample, images, warm) and their milliseconds."""
    starts, sizes, warm = zip(*batches, strict=True)
    return pa.table([starts, sizes, laps, warm], schema=TIMINGS)


def _bytes(batches: Sequence[_Batch]) -> int:
    return sum(pixels.nbytes for batch in batches for pixels in batch.pixels.values())
