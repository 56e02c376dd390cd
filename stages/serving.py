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
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cache import InputError
from stages.datasets import Source
from stages.energy.meter import Idle, Meter, Reading
from stages.energy.windows import idle_of
from stages.inference import Pictures, Runner, synchroniser
from stages.memory import Policy, Table
from stages.preprocess import Preprocessing
from stages.rule import NonFiniteError, takes_b, trusted
from stages.scores import named, own
from stages.simulate import Cascade

WARM_UP = 10
BLOCKS = 10
# A block's images stay on the device together.
_BLOCK_BYTES = 1 << 28
_SEED = 11

Answers = dict[str, np.ndarray]
Inputs = Mapping[Preprocessing, Any]
Progress = Callable[[int, int], None]


class _NanError(Exception):
    """`model` gave a NaN or infinite logit on this row of a batch."""

    def __init__(self, model: str, row: int) -> None:
        super().__init__(f"{model}, row {row}")
        self.model, self.row = model, row


@dataclass(frozen=True)
class LiveMemory:
    """A table of answers in front of a cascade; `digest` gives pictures' keys, uint8 [n, L]."""

    policy: Policy
    digest: Callable[[Sequence[np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class LiveCascade:
    """Two runners and the rule between them; without a second one, the first alone."""

    cascade: Cascade
    first: Runner
    second: Runner | None
    memory: LiveMemory | None = None

    @property
    def runners(self) -> list[Runner]:
        return [runner for runner in (self.first, self.second) if runner is not None]

    def answer(self, inputs: Inputs, labels: np.ndarray) -> Answers:
        """One batch: `inputs` [n, C, h, w] on the device, labels [n] for the oracle only."""
        score = named(self.cascade.score)
        batch = inputs[self.first.preprocessing]
        every = np.arange(len(labels))
        out, s_a = self._scored(self.cascade.model_1, self.first, batch, labels, every)
        out |= {"s_a": s_a, "s_b": np.full(len(labels), np.nan)}
        for name in ("escalated", "took_b", "hit"):
            out[name] = np.zeros(len(labels), bool)
        if self.second is None:
            return out
        out["escalated"] = ~trusted(score, s_a, self.cascade.limit)
        to_b = np.flatnonzero(out["escalated"])
        if len(to_b):
            rest = inputs[self.second.preprocessing]
            rest = rest if len(to_b) == len(labels) else rest[to_b]
            b, s_b = self._scored(self.cascade.model_2, self.second, rest, labels, to_b)
            taken = takes_b(score, s_a[to_b], s_b, self.cascade.postcheck)
            out["s_b"][to_b] = s_b
            out["took_b"][to_b] = taken
            out["prediction"][to_b[taken]] = b["prediction"][taken]
        return out

    def recall(self, batch: _Batch, labels: np.ndarray, table: Table[int]) -> Answers:
        """One batch with the memory in front: hits run nothing, misses are stored if trusted."""
        if self.memory is None:
            return self.answer(batch.inputs, labels)
        keys = self.memory.digest(batch.pictures)
        found = [table.look_up(key) for key in keys]
        misses = np.flatnonzero([answer is None for answer in found])
        out = _empty(len(labels))
        out["hit"][:] = True
        out["prediction"][:] = [-1 if answer is None else answer for answer in found]
        if len(misses):
            inputs = batch.inputs
            if len(misses) < len(labels):
                inputs = {group: each[misses] for group, each in inputs.items()}
            fresh = self.answer(inputs, labels[misses])
            for name in out:
                out[name][misses] = fresh[name]
            self._remember(table, keys[misses], fresh)
        return out

    def _remember(self, table: Table[int], keys: np.ndarray, fresh: Answers) -> None:
        trust = self.memory.policy.trust if self.memory else None
        by = np.where(fresh["took_b"], fresh["s_b"], fresh["s_a"])
        score = named(self.cascade.score)
        store = np.ones(len(by), bool) if trust is None else trusted(score, by, trust)
        for i in np.flatnonzero(store):
            table.store(keys[i], int(fresh["prediction"][i]))

    def _scored(
        self, name: str, runner: Runner, batch: Any, labels: np.ndarray, rows: np.ndarray
    ) -> tuple[Answers, np.ndarray]:
        """Answers and scores for the batch, whose pictures are these rows of the request."""
        try:
            out = runner.answers(batch, *own((self.cascade.score,)))
        except NonFiniteError as error:
            raise _NanError(name, int(rows[error.row])) from error
        if named(self.cascade.score).needs_label:
            return out, (out["prediction"] == labels[rows]).astype(np.float64)
        return out, out[self.cascade.score]


@dataclass(frozen=True)
class Served:
    """Per request [N], in their order: `escalated`, `took_b` and `hit` (answered by the memory)
    bool, `prediction` int32, `s_a` and `s_b` float64 (NaN where A or B did not run); per batch [B]:
    `latency_ms` (input resident on the device → answers on the host, hashing included) of every
    time it ran, `weight` one over how often that was, `started` the batch's first request (None: in
    order), and `preprocess_ms` (decode, resize, upload).
    `windows` holds the meters' readings, one list per block, and how many requests each covers."""

    ids: np.ndarray
    labels: np.ndarray
    escalated: np.ndarray
    took_b: np.ndarray
    prediction: np.ndarray
    s_a: np.ndarray
    s_b: np.ndarray
    hit: np.ndarray
    latency_ms: np.ndarray
    preprocess_ms: np.ndarray
    batch_size: int
    windows: tuple[tuple[int, list[Reading]], ...] = ()
    weight: np.ndarray | float = 1.0
    started: np.ndarray | None = None

    @property
    def ms_per_request(self) -> float:
        """Mean latency; a quick block that ran more often in its window counts once."""
        return float((self.latency_ms * self.weight).sum()) / len(self.ids)

    @property
    def accuracy(self) -> float:
        return float((self.prediction == self.labels).mean())


@dataclass
class _Tally:
    """What one contender has done so far."""

    table: Table[int]
    columns: dict[str, list[np.ndarray]] = field(default_factory=dict)
    latency_ms: list[float] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    windows: list[tuple[int, list[Reading]]] = field(default_factory=list)


@dataclass(frozen=True)
class _Batch:
    start: int
    stop: int
    inputs: Inputs
    preprocess_ms: float
    pictures: Sequence[np.ndarray] = ()


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
    by_group = {runner.preprocessing: runner for runner in runners}
    cut = _blocks(n, batch_size, pictures, blocks)
    keep = any(live.memory is not None for live in contenders.values())
    [first] = _resident(pictures, by_group, cut[0][:1], keep, sync)
    _warm_up(first, source, contenders)
    if idle is None:
        idle = idle_of(meters, window_s, sync)
    tallies = {
        name: _Tally(Table(live.memory.policy if live.memory else Policy("none")))
        for name, live in contenders.items()
    }
    preprocess_ms: list[float] = []
    shuffle = random.Random(_SEED)
    for spans in cut:
        batches = _resident(pictures, by_group, spans, keep, sync)
        preprocess_ms += [batch.preprocess_ms for batch in batches]
        for name in shuffle.sample(sorted(contenders), len(contenders)):
            _window(tallies[name], contenders[name], source, batches, meters, idle, sync, window_s)
        progress(spans[-1][1], n)
    return {
        name: _served(tally, source, n, batch_size, preprocess_ms)
        for name, tally in tallies.items()
    }


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
    pictures: Pictures[Preprocessing],
    by_group: Mapping[Preprocessing, Runner],
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
        inputs = {group: by_group[group].upload(pixels[group]) for group in pixels}
        sync()
        took = (time.perf_counter_ns() - begun) / 1e6
        batches.append(_Batch(start, stop, inputs, took, raw if keep else ()))
    return batches


def _window(
    tally: _Tally,
    live: LiveCascade,
    source: Source,
    batches: Sequence[_Batch],
    meters: Sequence[Meter],
    idle: Sequence[Idle],
    sync: Callable[[], None],
    window_s: float,
) -> None:
    """One contender's block: the first pass gives the answers, all passes latency and joules."""
    requests, begun = 0, len(tally.latency_ms)
    if _builds_kernels(live, batches[0]):
        _pass(live, source, batches, tally.table.copy(), sync)
    with ExitStack() as stack:
        windows = [
            stack.enter_context(meter.window(sync, rest))
            for meter, rest in zip(meters, idle, strict=True)
        ]
        ends = time.perf_counter() + window_s
        while not requests or (meters and time.perf_counter() < ends):
            table = tally.table.copy() if meters else tally.table  # each pass finds the same
            for out, lap_ms in _pass(live, source, batches, table, sync):
                tally.latency_ms.append(lap_ms)
                for name in _COLUMNS if not requests else ():
                    tally.columns.setdefault(name, []).append(out[name])
            if not requests:
                after = table
            tally.started += [batch.start for batch in batches]
            requests += batches[-1].stop - batches[0].start
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
    return live.first.device.type == "cuda" and batch.stop - batch.start > 1


_COLUMNS = ("escalated", "took_b", "prediction", "s_a", "s_b", "hit")


def _empty(n: int) -> Answers:
    """The columns of n requests, before anything has answered."""
    out: Answers = {name: np.zeros(n, bool) for name in ("escalated", "took_b", "hit")}
    out |= {name: np.full(n, np.nan) for name in ("s_a", "s_b")}
    return out | {"prediction": np.full(n, -1, np.int32)}


def _pass(
    live: LiveCascade,
    source: Source,
    batches: Sequence[_Batch],
    table: Table[int],
    sync: Callable[[], None],
) -> list[tuple[Answers, float]]:
    done = []
    for batch in batches:
        begun = time.perf_counter_ns()
        out = _answer(live, batch, source, table)
        sync()
        done.append((out, (time.perf_counter_ns() - begun) / 1e6))
    return done


def _answer(live: LiveCascade, batch: _Batch, source: Source, table: Table[int]) -> Answers:
    try:
        return live.recall(batch, source.labels[batch.start : batch.stop], table)
    except _NanError as error:
        raise InputError(
            f"{error.model} gives a NaN or infinite logit on {source.dataset}/{source.split} "
            f"sample {batch.start + error.row}: check its weights, or use --precision fp32"
        ) from error


def _warm_up(first: _Batch, source: Source, contenders: Mapping[str, LiveCascade]) -> None:
    """Every model at a whole batch and at one image: no timed request pays for a first call."""
    runners = {id(one): one for live in contenders.values() for one in live.runners}
    for runner in runners.values():
        batch = first.inputs[runner.preprocessing]
        for _ in range(WARM_UP):
            runner.logits(batch)
            runner.logits(batch[:1])
    for live in contenders.values():
        _answer(live, first, source, Table(Policy("none")))


def _served(
    tally: _Tally, source: Source, n: int, batch_size: int, preprocess_ms: Sequence[float]
) -> Served:
    return Served(
        ids=np.arange(n),
        labels=source.labels[:n],
        latency_ms=np.array(tally.latency_ms),
        weight=np.array(tally.weight),
        started=np.array(tally.started),
        preprocess_ms=np.array(preprocess_ms),
        batch_size=batch_size,
        windows=tuple(tally.windows),
        **{name: np.concatenate(chunks) for name, chunks in tally.columns.items()},
    )
