"""images → a cascade run for real, request by request, held against what `simulate` says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache import InputError
from stages.datasets import Source
from stages.inference import Pictures, Runner, synchroniser
from stages.preprocess import Preprocessing
from stages.rule import SCORES, NonFiniteError, takes_b, trusted
from stages.score import ScoreSet
from stages.simulate import Cascade, simulate

# Batch size and device move an fp32 logit by about 1e-6; a score moves no more than that, with
# room for deep networks. Only closer than this to a boundary may live and simulation differ.
NOISE = {"fp32": 1e-5, "tf32": 1e-2, "bf16": 1e-1, "fp16": 1e-2}
WARM_UP = 10


@dataclass(frozen=True)
class Served:
    """Per image [N], in the order of the requests: `escalated` and `took_b` bool, `prediction`
    int32, `s_a` and `s_b` float64 (s_b NaN where B did not run), and per batch `latency_ms`
    (pixels in host memory → answers) and `preprocess_ms` (decode, resize)."""

    ids: np.ndarray
    labels: np.ndarray
    escalated: np.ndarray
    took_b: np.ndarray
    prediction: np.ndarray
    s_a: np.ndarray
    s_b: np.ndarray
    latency_ms: np.ndarray
    preprocess_ms: np.ndarray
    batch_size: int

    @property
    def accuracy(self) -> float:
        return float((self.prediction == self.labels).mean())


class _NanError(Exception):
    """`model` gave a NaN or infinite logit on this row of a batch."""

    def __init__(self, model: str, row: int) -> None:
        super().__init__(f"{model}, row {row}")
        self.model, self.row = model, row


Answers = dict[str, np.ndarray]
Pixels = dict[Preprocessing, np.ndarray]


@dataclass(frozen=True)
class LiveCascade:
    """Two runners and the rule between them; without a second one, the first alone."""

    cascade: Cascade
    first: Runner
    second: Runner | None

    def answer(self, pixels: Pixels, labels: np.ndarray) -> Answers:
        """One batch: `pixels` uint8 [n, C, h, w], labels [n] for the oracle only."""
        score = SCORES[self.cascade.score]
        batch = self.first.upload(pixels[self.first.preprocessing])
        every = np.arange(len(labels))
        out, s_a = self._scored(self.cascade.model_1, self.first, batch, labels, every)
        out |= {"s_a": s_a, "s_b": np.full(len(labels), np.nan)}
        out["escalated"] = np.zeros(len(labels), bool)
        out["took_b"] = np.zeros(len(labels), bool)
        if self.second is None:
            return out
        out["escalated"] = ~trusted(score, s_a, self.cascade.limit)
        to_b = np.flatnonzero(out["escalated"])
        if len(to_b):
            rest = self._for_second(batch, pixels, to_b)
            b, s_b = self._scored(self.cascade.model_2, self.second, rest, labels, to_b)
            taken = takes_b(score, s_a[to_b], s_b, self.cascade.postcheck)
            out["s_b"][to_b] = s_b
            out["took_b"][to_b] = taken
            out["prediction"][to_b[taken]] = b["prediction"][taken]
        return out

    def _for_second(self, batch: Any, pixels: Pixels, to_b: np.ndarray) -> Any:
        """B's input: the images on the device already, where both models see the same pixels."""
        if self.second is None:
            raise ValueError("there is no second model")
        if self.second.preprocessing == self.first.preprocessing:
            return batch[to_b]
        return self.second.upload(pixels[self.second.preprocessing][to_b])

    def _scored(
        self, name: str, runner: Runner, batch: Any, labels: np.ndarray, rows: np.ndarray
    ) -> tuple[Answers, np.ndarray]:
        """Answers and scores for the batch, whose pictures are these rows of the request."""
        try:
            out = runner.answers(batch)
        except NonFiniteError as error:
            raise _NanError(name, int(rows[error.row])) from error
        if SCORES[self.cascade.score].needs_label:
            return out, (out["prediction"] == labels[rows]).astype(np.float64)
        return out, out[self.cascade.score]


def serve(
    source: Source,
    live: LiveCascade,
    batch_size: int = 1,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Served:
    """Answer every image of the split in order, `batch_size` at a time, after a warm-up."""
    n = min(len(source), limit or len(source))
    sync = synchroniser(live.first.device)
    runners = [runner for runner in (live.first, live.second) if runner is not None]
    pictures = Pictures.of(source, {runner.preprocessing for runner in runners})
    _warm_up(pictures, live, min(batch_size, n))
    columns: dict[str, list[np.ndarray]] = {}
    latency, preprocess = [], []
    for start, stop in _spans(n, batch_size):
        begun = time.perf_counter_ns()
        pixels = pictures.batch(start, stop)
        ready = time.perf_counter_ns()
        out = _answer(live, pixels, source, start, stop)
        sync()
        latency.append((time.perf_counter_ns() - ready) / 1e6)
        preprocess.append((ready - begun) / 1e6)
        for name in ("escalated", "took_b", "prediction", "s_a", "s_b"):
            columns.setdefault(name, []).append(out[name])
        progress(stop, n)
    joined = {name: np.concatenate(chunks) for name, chunks in columns.items()}
    return Served(
        ids=np.arange(n),
        labels=source.labels[:n],
        latency_ms=np.array(latency),
        preprocess_ms=np.array(preprocess),
        batch_size=batch_size,
        **joined,
    )


def _spans(n: int, size: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + size, n)) for start in range(0, n, size))


def _answer(live: LiveCascade, pixels: Pixels, source: Source, start: int, stop: int) -> Answers:
    try:
        return live.answer(pixels, source.labels[start:stop])
    except _NanError as error:
        raise InputError(
            f"{error.model} gives a NaN or infinite logit on {source.dataset}/{source.split} "
            f"sample {start + error.row}: check its weights, or use --precision fp32"
        ) from error


def _warm_up(pictures: Pictures, live: LiveCascade, size: int) -> None:
    """Both models at the sizes to come, so that no timed request pays for a first call."""
    pixels = pictures.batch(0, size)
    for _ in range(WARM_UP):
        _answer(live, pixels, pictures.source, 0, size)
        if live.second is not None:
            second = live.second
            second.logits(second.upload(pixels[second.preprocessing][:1]))


def latency_summary(served: Served) -> dict[str, float]:
    """Milliseconds per batch of `batch_size` requests."""
    p50, p95, p99 = np.percentile(served.latency_ms, [50, 95, 99])
    mean = served.latency_ms.mean()
    return {"mean": float(mean), "p50": float(p50), "p95": float(p95), "p99": float(p99)}


def agreement(
    served: Served, scores: ScoreSet, cascade: Cascade, precision: str = "fp32"
) -> dict[str, Any]:
    """Where the live run and the simulation differ, and how close to a boundary that was.

    The simulation is of the images that were served. `distance` is the cached score's from λ, or
    of the two models' scores from each other (post-check), or of the answering model's two largest
    probabilities. `outside_noise` counts the differences farther away than float noise reaches:
    those are faults.
    """
    scores = first(scores, len(served.ids))
    simulated = simulate(scores, cascade)
    pairs = {
        "escalated": (served.escalated, simulated.escalated),
        "took_b": (served.took_b, simulated.took_b),
        "prediction": (served.prediction, simulated.prediction),
    }
    differ = {name: live != cached for name, (live, cached) in pairs.items()}
    anywhere = np.logical_or.reduce(list(differ.values()))
    rows = [_difference(int(i), pairs, scores, cascade) for i in np.flatnonzero(anywhere)]
    cached = scores.score(cascade.score, scores.index(cascade.model_1))
    noise = NOISE[precision]
    return {
        "n": len(served.ids),
        "decisions_differ": int((differ["escalated"] | differ["took_b"]).sum()),
        "answers_differ": int(differ["prediction"].sum()),
        "outside_noise": sum(row["distance"] > noise for row in rows),
        "noise": noise,
        "largest_score_shift": float(np.abs(cached - served.s_a).max()),
        "differences": rows,
    }


def first(scores: ScoreSet, n: int) -> ScoreSet:
    """The first n images of a split."""
    return replace(
        scores,
        sample_ids=scores.sample_ids[:n],
        labels=scores.labels[:n],
        predictions=scores.predictions[:, :n],
        correct=scores.correct[:, :n],
        scores={name: values[:, :n] for name, values in scores.scores.items()},
    )


def _difference(
    i: int,
    pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    scores: ScoreSet,
    cascade: Cascade,
) -> dict[str, Any]:
    a, b = scores.index(cascade.model_1), scores.index(cascade.model_2)
    s_a = scores.score(cascade.score, a)[i]
    oracle = SCORES[cascade.score].needs_label
    differs = {name: live[i] != cached[i] for name, (live, cached) in pairs.items()}
    if differs["escalated"] and not oracle:
        boundary, distance = "threshold", abs(s_a - float(cascade.limit))
    elif differs["took_b"] and not oracle:
        boundary, distance = "postcheck", abs(s_a - scores.score(cascade.score, b)[i])
    else:
        model = a if oracle and differs["escalated"] else b if pairs["took_b"][1][i] else a
        boundary, distance = "answer", scores.scores["difference"][model][i]
    row: dict[str, Any] = {"sample_id": int(i), "boundary": boundary, "distance": float(distance)}
    for name, (live, cached) in pairs.items():
        row |= {f"{name}_live": live[i].item(), f"{name}_simulated": cached[i].item()}
    return row


def classification(served: Served, class_names: tuple[str, ...] | None) -> dict[str, Any]:
    """Precision, recall, F1 and support per class, and their averages."""
    from sklearn.metrics import classification_report

    names = class_names or ()
    classes = int(max(served.labels.max(), served.prediction.max())) + 1
    names += tuple(str(k) for k in range(len(names), classes))  # weights may know more classes
    return classification_report(
        served.labels,
        served.prediction,
        labels=list(range(len(names))),
        target_names=list(names),
        output_dict=True,
        zero_division=0,
    )
