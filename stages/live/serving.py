"""images → answers: cascades and single models that serve the same requests side by side.

The stream is cut into blocks; in each block all contenders answer the same resident images, one
after the other in a shuffled order, so that a drift of the machine falls on all of them. Accuracy,
latency and joules come from the same requests. Decoding and upload happen before and are timed
apart.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from cache import InputError
from stages.cascade import (
    ALWAYS,
    NEVER,
    Cascade,
    MemoryPolicy,
    MemoryTable,
    Outcome,
    votes,
)
from stages.datasets import Source
from stages.energy import Idle, Meter, Reading, idle_of
from stages.live.deciding import Deciding, Ready, at_all, median_ms
from stages.policy import CascadeRuntime, DecisionLog, Record, Said, with_fitted
from stages.runtimes import ModelRunner, Pictures, Preprocessing, engine_name, synchroniser
from stages.scores import NonFiniteError, built_in, named, scores_of

WARM_UP = 10
BLOCKS = 10
# A block's images stay on the device together.
_BLOCK_BYTES = 1 << 28
_SEED = 11

Answers = dict[str, np.ndarray]
Seen = tuple[Preprocessing, str]
"""How a model's input is made, and of which engine its arrays are."""
Inputs = Mapping[Seen, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LiveMemory:
    """A table of answers in front of a cascade; `digest` gives pictures' keys, uint8 [n, L]."""

    policy: MemoryPolicy
    digest: Callable[[Sequence[np.ndarray]], np.ndarray]


class LiveCascade(CascadeRuntime):
    """A cascade with a runner for each of its models, in their order."""

    def __init__(
        self,
        cascade: Cascade,
        runners: Sequence[ModelRunner],
        memory: LiveMemory | None = None,
        log: DecisionLog | None = None,
    ) -> None:
        self.cascade, self.runners, self.memory, self.log = cascade, runners, memory, log
        names = [stage.score or "maxp" for stage in cascade.stages]
        rules = [(named(name), limit) for name, limit in zip(names, cascade.limits, strict=False)]
        digest = None if memory is None else memory.digest
        ensemble = bool(cascade.averaged)
        super().__init__(names, rules, cascade.postcheck, digest, ensemble=ensemble)
        each = iter(runners)
        self._by_stage = [
            list(islice(each, len(one.members))) for one in cascade.stages if not one.nobodys
        ]
        self.beside = len(cascade.stages[0].beside)
        self._plain = not ensemble and not cascade.coefficients

    def answer(
        self, batch: _Batch, table: MemoryTable[int], record: Record | None = None
    ) -> Outcome:
        return self.run(self._by_stage, batch, batch.pictures, table, record)

    def write(self, batch: _Batch, out: Outcome, record: Record, latency_ms: float) -> None:
        """The lines of a batch in the decision log."""
        if self.log is not None:
            keys, drawn = [batch.source.keys[i] for i in batch.rows], np.zeros(len(batch), bool)
            self.log.write(keys, self.by_model(out), record.answers, drawn, latency_ms)

    def scored(self, stage: int, model: Sequence[ModelRunner], batch: _Batch) -> Said:
        name, members = self.names[stage], self.cascade.stages[stage].members
        each = [self._of(stage, *one, batch) for one in zip(members, model, strict=True)]
        out = each[0]
        if len(each) > 1:
            prediction, out[name] = votes(np.stack([one["prediction"] for one in each]))
            return out | {"prediction": prediction, "each": each}
        if named(name).needs_label:
            right = out["prediction"] == batch.source.labels[batch.rows]
            out[name] = right.astype(np.float64)
        elif name not in out:
            out[name] = np.full(len(out["prediction"]), np.nan)
        return out

    def _of(self, stage: int, model: str, runner: ModelRunner, batch: _Batch) -> Answers:
        """What one model says of a batch."""
        name, given = self.names[stage], batch.of(_seen(runner))
        try:
            if self._plain:
                return runner.answers(given, *(() if built_in(name) else (name,)))
            logits = runner.host_logits(given)
            fitted = self.cascade.stages[stage].coefficients
            return with_fitted(scores_of(logits), logits, name, fitted, self.ensemble)
        except NonFiniteError as error:
            source, i = batch.source, batch.rows[error.row]
            raise InputError(
                f"{model} gives a NaN or infinite logit on {source.dataset}/"
                f"{source.split} sample {i}: check its weights, or use --precision fp32"
            ) from error


@dataclass(frozen=True)
class Served:
    """Per request [N], in their order, the label and what was answered; per batch [B]:
    `latency_ms` (input resident on the device → answers on the host, hashing included) of every
    time it ran, `weight` one over how often that was, `started` the batch's first request, and
    `preprocess_ms` (decode, resize, upload).
    `windows` holds the meters' readings, one list per block, and how many requests each covers;
    `deciding` is what a batch takes beside the models."""

    labels: np.ndarray
    outcome: Outcome
    latency_ms: np.ndarray
    preprocess_ms: np.ndarray
    batch_size: int
    weight: np.ndarray
    started: np.ndarray
    windows: tuple[tuple[int, list[Reading]], ...] = ()
    deciding: Deciding = field(default_factory=Deciding)

    @property
    def ms_per_request(self) -> float:
        """Mean latency; a quick block that ran more often in its window counts once."""
        return float((self.latency_ms * self.weight).sum()) / len(self.labels)


@dataclass
class _Tally:
    """What one contender has done so far."""

    table: MemoryTable[int]
    outcomes: list[Outcome] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    windows: list[tuple[int, list[Reading]]] = field(default_factory=list)


@dataclass(frozen=True)
class _Batch:
    """Images of a source, by their `rows` int [n] in it, of a batch that is resident from `start`
    on; a part of it is cut out only for the model that runs on it."""

    source: Source
    start: int
    rows: np.ndarray
    inputs: Inputs
    preprocess_ms: float
    pictures: Sequence[np.ndarray] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: np.ndarray) -> _Batch:
        return replace(self, rows=self.rows[rows])

    def of(self, group: Seen) -> Any:
        """Input [n, C, h, w] on the device."""
        whole = self.inputs[group]
        return whole if len(self) == len(whole) else whole[self.rows - self.start]


def serve_all(
    source: Source,
    contenders: Mapping[str, LiveCascade],
    batch_size: int = 1,
    limit: int | None = None,
    meters: Sequence[Meter] = (),
    window_s: float = 0.0,
    progress: Progress = lambda done, total: None,
    blocks: int = BLOCKS,
    idle: Sequence[Idle] | None = None,
) -> dict[str, Served]:
    """All contenders answer every image of the split in order, `batch_size` at a time, block by
    block after a warm-up; all on one device.

    With meters, a contender's block is a window: its images are answered again until `window_s`
    has passed, and idle power, unless `idle` gives it by meter, is measured first, with all models
    resident.
    """
    n = min(len(source), limit or len(source))
    runners = [runner for live in contenders.values() for runner in live.runners]
    pictures = Pictures.of(source, {runner.preprocessing for runner in runners})
    sync = synchroniser(runners[0].device)
    by_group = {_seen(runner): runner for runner in runners}
    cut = _blocks(n, batch_size, pictures, blocks)
    keep = any(live.memory is not None for live in contenders.values())
    [first] = _resident(source, pictures, by_group, cut[0][:1], keep, sync)
    _warm_up(first, contenders)
    if idle is None:
        idle = idle_of(meters, window_s, sync)
    deciding = {name: _deciding(live, first) for name, live in contenders.items()}
    tallies = {
        name: _Tally(MemoryTable(live.memory.policy if live.memory else MemoryPolicy("none")))
        for name, live in contenders.items()
    }
    preprocess_ms: list[float] = []
    shuffle = random.Random(_SEED)
    for spans in cut:
        batches = _resident(source, pictures, by_group, spans, keep, sync)
        preprocess_ms += [batch.preprocess_ms for batch in batches]
        for name in shuffle.sample(sorted(contenders), len(contenders)):
            _window(tallies[name], contenders[name], batches, meters, idle, sync, window_s)
        progress(spans[-1][1], n)
    return {
        name: _served(tally, source, n, batch_size, preprocess_ms, deciding[name])
        for name, tally in tallies.items()
    }


def _seen(runner: ModelRunner) -> Seen:
    return runner.preprocessing, engine_name(runner.device)


def _blocks(
    n: int, batch_size: int, pictures: Pictures, blocks: int
) -> list[list[tuple[int, int]]]:
    """The batches' spans, in `blocks` or as many as the device's share of memory asks for."""
    spans = [(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    image_bytes = 4 * sum(int(np.prod(shape)) for shape in pictures.shapes.values())
    most = max(1, _BLOCK_BYTES // (image_bytes * batch_size))
    size = min(most, -(-len(spans) // blocks))
    return [spans[i : i + size] for i in range(0, len(spans), size)]


def _resident(
    source: Source,
    pictures: Pictures[Preprocessing],
    by_group: Mapping[Seen, ModelRunner],
    spans: Sequence[tuple[int, int]],
    keep: bool,
    sync: Callable[[], None],
) -> list[_Batch]:
    """Decoded and uploaded batches, with the pictures themselves where a memory hashes them."""
    batches = []
    for start, stop in spans:
        begun = time.perf_counter_ns()
        raw = pictures.read(start, stop)
        pixels = pictures.views(raw, start)
        inputs = {seen: runner.upload(pixels[seen[0]]) for seen, runner in by_group.items()}
        sync()
        took = (time.perf_counter_ns() - begun) / 1e6
        rows, raw = np.arange(start, stop), raw if keep else []
        batches.append(_Batch(source, start, rows, inputs, took, raw))
    return batches


def _window(
    tally: _Tally,
    live: LiveCascade,
    batches: Sequence[_Batch],
    meters: Sequence[Meter],
    idle: Sequence[Idle],
    sync: Callable[[], None],
    window_s: float,
) -> None:
    """One contender's block: the first pass gives the answers, all passes latency and joules."""
    requests, begun = 0, len(tally.latency_ms)
    if _builds_kernels(live, batches[0]):
        _pass(live, batches, tally.table.copy(), sync)
    with ExitStack() as stack:
        windows = [
            stack.enter_context(meter.window(sync, rest))
            for meter, rest in zip(meters, idle, strict=True)
        ]
        ends = time.perf_counter() + window_s
        while not requests or (meters and time.perf_counter() < ends):
            table = tally.table.copy() if meters else tally.table  # each pass finds the same
            for out, lap_ms in _pass(live, batches, table, sync, logged=not requests):
                tally.latency_ms.append(lap_ms)
                tally.outcomes += [] if requests else [out]
            if not requests:
                after = table
            tally.started += [batch.start for batch in batches]
            requests += sum(map(len, batches))
    tally.table = after
    laps = len(tally.latency_ms) - begun
    tally.weight += [len(batches) / laps] * laps
    if meters:
        tally.windows.append((requests, [window.reading for window in windows]))


def _builds_kernels(live: LiveCascade, batch: _Batch) -> bool:
    """Whether a first pass must stay out of the figures.

    cuDNN takes milliseconds for a layer to meet a shape, and the images that go to B make shapes
    that no warm-up can know.
    """
    return live.runners[0].device.type == "cuda" and len(batch) > 1


def _pass(
    live: LiveCascade,
    batches: Sequence[_Batch],
    table: MemoryTable[int],
    sync: Callable[[], None],
    logged: bool = False,
) -> list[tuple[Outcome, float]]:
    done = []
    for batch in batches:
        kept = live.log is not None and logged
        record = Record(len(batch), len(live.runners)) if kept else None
        begun = time.perf_counter_ns()
        out = live.answer(batch, table, record)
        sync()
        done.append((out, (time.perf_counter_ns() - begun) / 1e6))
        if record is not None:
            live.write(batch, out, record, done[-1][1])
    return done


def _warm_up(first: _Batch, contenders: Mapping[str, LiveCascade]) -> None:
    """Every model at a whole batch and at one image: no timed request pays for a first call."""
    runners = {id(one): one for live in contenders.values() for one in live.runners}
    for runner in runners.values():
        batch = first.inputs[_seen(runner)]
        for _ in range(WARM_UP):
            runner.logits(batch)
            runner.logits(batch[:1])
    for live in contenders.values():
        live.answer(first, MemoryTable(MemoryPolicy("none")))


def _deciding(live: LiveCascade, batch: _Batch) -> Deciding:
    """Of this batch, without a memory, whose hash has a price of its own."""
    ready: dict[int, Any] = {id(one): Ready(one, batch.of(_seen(one))) for one in live.runners}
    runners, table = (
        [ready[id(one)] for one in live.runners],
        MemoryTable[int](MemoryPolicy("none")),
    )
    ends = (LiveCascade(at_all(live.cascade, kind), runners) for kind in (NEVER, ALWAYS))
    return Deciding(*(median_ms(partial(one.answer, batch, table)) for one in ends))


def _served(
    tally: _Tally,
    source: Source,
    n: int,
    batch_size: int,
    preprocess_ms: Sequence[float],
    deciding: Deciding,
) -> Served:
    labels, outcome = source.labels[:n], Outcome.joined(tally.outcomes)
    return Served(
        labels,
        replace(outcome, correct=outcome.prediction == labels),
        latency_ms=np.array(tally.latency_ms),
        weight=np.array(tally.weight),
        started=np.array(tally.started),
        preprocess_ms=np.array(preprocess_ms),
        batch_size=batch_size,
        windows=tuple(tally.windows),
        deciding=deciding,
    )
