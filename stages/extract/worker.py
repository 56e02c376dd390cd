"""Makes parts, in each runtime on its device: decodes ahead in threads, runs the models, and writes
in another thread.

The logits of a part stay on the device until the part is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa

from cache import TIMINGS, InputError, Store, logits_schema
from stages.extract.passes import Batch, Lane, Passes
from stages.extract.residency import Residents
from stages.extract.work import Item, Made, Work
from stages.models import load
from stages.parallel import prefetch
from stages.runtimes import Array, Device, ModelRunner, Pictures, View, engine_of, runner_of

# Decoded pixels that wait while waves of models take turns on the device.
_CHUNK_BYTES = 1 << 29


@dataclass(frozen=True)
class Decoded:
    """Rows [start, stop) of a split, and their pixels by runtime, where each takes them from."""

    item: Item
    part: tuple[int, int]
    start: int
    stop: int
    pixels: Mapping[str, Mapping[View, Array]]

    def on(self, runtime: str) -> Batch:
        return Batch(self.item, self.part, self.start, self.stop, self.pixels[runtime])


@dataclass(frozen=True)
class Loaded:
    """What the driver has loaded already: modules by runtime and model, the first picture of each
    split."""

    modules: dict[tuple[str, str], Any] = field(default_factory=dict)
    pictures: dict[int, np.ndarray] = field(default_factory=dict)


class Worker:
    """Runs the tasks of `work` on the work's devices, or all on one, and may take what is `loaded`.

    `note` is told what a user should know; `progress` the images done since it was last called.
    """

    def __init__(
        self,
        work: Work,
        device: Device | None = None,
        loaded: Loaded | None = None,
        note: Callable[[str], None] = lambda message: None,
        progress: Callable[[int], None] = lambda images: None,
    ) -> None:
        self._work, self._progress, self._loaded = work, progress, loaded or Loaded()
        devices = {task.runtime: device or work.devices[task.runtime] for task in work.tasks}
        store = Store(work.root)
        self._lanes = [Lane.of(task, store, devices[task.runtime]) for task in work.tasks]
        self._residents = {
            runtime: Residents(device, partial(self._load, runtime))
            for runtime, device in devices.items()
        }
        self._passes = {
            runtime: Passes(device, self._residents[runtime], note)
            for runtime, device in devices.items()
        }

    def make(self, items: Iterable[Item]) -> Generator[Made, None, None]:
        """Make these parts for every task that lacks them; yields what has been written."""
        with ExitStack() as held:
            for passes in self._passes.values():
                held.callback(passes.close)
            pool = held.enter_context(ThreadPoolExecutor(1, thread_name_prefix="writer"))
            written: list[Future[Made]] = []
            for batches in self._chunks(items):
                last = batches[-1]
                lanes = [self._lanes[i] for i in self._work.lacking(last.item)]
                for runtime, passes in self._passes.items():
                    mine = [lane for lane in lanes if lane.task.runtime == runtime]
                    passes.run([batch.on(runtime) for batch in batches], mine)
                self._progress(sum(batch.stop - batch.start for batch in batches))
                if last.stop == last.part[1]:
                    for future in written:
                        yield future.result()
                    written = [pool.submit(write) for write in self._writes(last.item)]
            for future in written:
                yield future.result()

    def _load(self, runtime: str, name: str) -> ModelRunner:
        mine = [
            lane
            for lane in self._lanes
            if (lane.task.runtime, lane.task.chosen.name) == (runtime, name)
        ]
        for lane in mine:
            lane.warm = False
        chosen, precision = mine[0].task.chosen, mine[0].task.precision
        module = self._loaded.modules.pop((runtime, name), None)
        module = module or load(chosen.spec, chosen.weights)
        return runner_of(module, chosen.spec.preprocessing, self._device(runtime), precision)

    def _device(self, runtime: str) -> Device:
        return self._passes[runtime].device

    def _taking_turns(self) -> bool:
        return any(len(residents.waves) > 1 for residents in self._residents.values())

    def _chunks(self, items: Iterable[Item]) -> Iterator[list[Decoded]]:
        """As many batches of a part as are best given together; while models take turns, as many as
        may wait."""
        enough = max((passes.wanted for passes in self._passes.values()), default=1)
        for _, batches in groupby(self._batches(items), lambda batch: batch.item):
            waiting: list[Decoded] = []
            for batch in batches:
                waiting.append(batch)
                ready = not self._taking_turns() and len(waiting) >= enough
                if ready or _bytes(waiting) > _CHUNK_BYTES:
                    yield waiting
                    waiting = []
            if waiting:
                yield waiting

    def _batches(self, items: Iterable[Item]) -> Iterator[Decoded]:
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

        def decode(span: tuple[Pictures[View], Item, int, int]) -> Decoded:
            of, item, start, stop = span
            views = of.batch(start, stop)
            pixels = {
                runtime: {
                    view: engine_of(passes.device).on_host(each, passes.device)
                    for view, each in views.items()
                }
                for runtime, passes in self._passes.items()
            }
            return Decoded(item, self._work.span(item), start, stop, pixels)

        return prefetch(decode, spans(), self._work.workers, self._ahead(pictures))

    def _ahead(self, pictures: dict[int, Pictures[View]]) -> int:
        """Batches that are decoded while a chunk is computed, no more than may wait."""
        split = self._work.tasks[0].split
        if split not in pictures:
            pictures[split] = self._pictures(split)
        pixels = sum(map(prod, pictures[split].shapes.values())) * self._work.batch
        most = max(passes.wanted for passes in self._passes.values())
        workers = self._work.workers
        return workers + max(workers, min(most, _CHUNK_BYTES // max(1, pixels)))

    def _pictures(self, split: int) -> Pictures[View]:
        views = {task.view.geometry for task in self._work.tasks if task.split == split}
        first = self._loaded.pictures.get(split)
        return Pictures.of(self._work.sources[split], views, first)

    def _writes(self, item: Item) -> Iterator[Callable[[], Made]]:
        """What is left to do for a part whose last batch has run, as calls for the writer."""
        for i in self._work.lacking(item):
            lane = self._lanes[i]
            if lane.buffer is None:
                raise RuntimeError(f"{lane.name} did not run on part {item}")
            laps = lane.watch.read()
            logits = engine_of(self._device(lane.task.runtime)).to_numpy(lane.buffer)
            timings = timings_table(lane.batches, laps)
            lane.buffer, lane.batches = None, []
            yield partial(self._write, i, item, logits, timings, sum(laps))

    def _write(self, i: int, item: Item, logits: np.ndarray, rows: pa.Table, ms: float) -> Made:
        """The part's logits, its rows of timings, and the milliseconds that these add up to."""
        lane, (split, part) = self._lanes[i], item
        first, end = self._work.span(item)
        source = self._work.sources[split]
        bad = ~np.isfinite(logits).all(axis=1)
        if bad.any():
            raise InputError(
                f"{lane.name} gives a NaN or infinite logit on {source.dataset}/"
                f"{source.split} sample {first + int(bad.argmax())}: check its weights, or use "
                "--precision fp32"
            )
        timings = lane.timings.write(part, rows)
        written = lane.logits.write(part, logits_table(logits, first))
        right = int((logits.argmax(axis=1) == source.labels[first:end]).sum())
        return Made(i, part, written, timings, right, ms)


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


def _bytes(batches: Sequence[Decoded]) -> int:
    views = (views for batch in batches for views in batch.pixels.values())
    return sum(pixels.nbytes for each in views for pixels in each.values())
