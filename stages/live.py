"""images → a cascade run for real, request by request, held against what `simulate` says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.datasets import Source
from stages.inference import Runner, synchroniser
from stages.rule import SCORES, scores_of, takes_b, trusted
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


Answers = dict[str, np.ndarray]


@dataclass(frozen=True)
class LiveCascade:
    """Two runners and the rule between them; without a second one, the first alone."""

    cascade: Cascade
    first: Runner
    second: Runner | None

    def answer(self, pixels: Answers, labels: np.ndarray) -> Answers:
        """One batch: `pixels` by model (keys "a" and "b"), labels [n] for the oracle only."""
        score = SCORES[self.cascade.score]
        batch = self.first.upload(pixels["a"])
        out, s_a = self._scored(self.first, batch, labels)
        out |= {"s_a": s_a, "s_b": np.full(len(labels), np.nan)}
        out["escalated"] = np.zeros(len(labels), bool)
        out["took_b"] = np.zeros(len(labels), bool)
        if self.second is None:
            return out
        out["escalated"] = ~trusted(score, s_a, self.cascade.limit)
        to_b = np.flatnonzero(out["escalated"])
        if len(to_b):
            b, s_b = self._scored(self.second, self._for_second(batch, pixels, to_b), labels[to_b])
            taken = takes_b(score, s_a[to_b], s_b, self.cascade.postcheck)
            out["s_b"][to_b] = s_b
            out["took_b"][to_b] = taken
            out["prediction"][to_b[taken]] = b["prediction"][taken]
        return out

    def _for_second(self, batch: Any, pixels: Answers, to_b: np.ndarray) -> Any:
        """B's input: the images on the device already, where both models see the same pixels."""
        if self.second is None:
            raise ValueError("there is no second model")
        if self.second.preprocessing == self.first.preprocessing:
            return batch[to_b]
        return self.second.upload(pixels["b"][to_b])

    def _scored(self, runner: Runner, batch: Any, labels: np.ndarray) -> tuple[Answers, np.ndarray]:
        out = scores_of(runner.logits(batch).cpu().numpy())
        if SCORES[self.cascade.score].needs_label:
            return out, (out["prediction"] == labels).astype(np.float64)
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
    _warm_up(source, live, min(batch_size, n))
    columns: dict[str, list[np.ndarray]] = {}
    latency, preprocess = [], []
    for start, stop in _spans(n, batch_size):
        begun = time.perf_counter_ns()
        pixels = _pixels(source, live, start, stop)
        ready = time.perf_counter_ns()
        out = live.answer(pixels, source.labels[start:stop])
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


def _pixels(source: Source, live: LiveCascade, start: int, stop: int) -> Answers:
    pictures = [source.read(i) for i in range(start, stop)]
    first = live.first.preprocessing
    out = {"a": np.stack([first.pixels(picture) for picture in pictures])}
    if live.second is not None and live.second.preprocessing != first:
        second = live.second.preprocessing
        out["b"] = np.stack([second.pixels(picture) for picture in pictures])
    return out


def _warm_up(source: Source, live: LiveCascade, size: int) -> None:
    """Both models at the sizes to come, so that no timed request pays for a first call."""
    pixels = _pixels(source, live, 0, size)
    for _ in range(WARM_UP):
        live.answer(pixels, source.labels[:size])
        if live.second is not None:
            second = live.second
            second.logits(second.upload(pixels.get("b", pixels["a"])[:1]))


def latency_summary(served: Served) -> dict[str, float]:
    """Milliseconds per batch of `batch_size` requests."""
    p50, p95, p99 = np.percentile(served.latency_ms, [50, 95, 99])
    mean = served.latency_ms.mean()
    return {"mean": float(mean), "p50": float(p50), "p95": float(p95), "p99": float(p99)}


def agreement(
    served: Served, scores: ScoreSet, cascade: Cascade, precision: str = "fp32"
) -> dict[str, Any]:
    """Where the live run and the simulation differ, and how close to a boundary that was.

    `distance` is the cached score's from λ, or of the two models' scores from each other (post-
    check), or of the answering model's two largest probabilities. `outside_noise` counts the
    differences farther away than float noise reaches: those are faults.
    """
    simulated = simulate(scores, cascade)
    n = len(served.ids)
    pairs = {
        "escalated": (served.escalated, simulated.escalated[:n]),
        "took_b": (served.took_b, simulated.took_b[:n]),
        "prediction": (served.prediction, simulated.prediction[:n]),
    }
    differ = {name: live != cached for name, (live, cached) in pairs.items()}
    rows = [
        _difference(int(i), pairs, scores, cascade)
        for i in np.flatnonzero(differ["escalated"] | differ["prediction"])
    ]
    cached = scores.score(cascade.score, scores.index(cascade.model_1))[:n]
    noise = NOISE[precision]
    return {
        "n": n,
        "decisions_differ": int(differ["escalated"].sum()),
        "answers_differ": int(differ["prediction"].sum()),
        "outside_noise": sum(row["distance"] > noise for row in rows),
        "noise": noise,
        "largest_score_shift": float(np.abs(cached - served.s_a).max()),
        "differences": rows,
    }


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

    classes = int(max(served.labels.max(), served.prediction.max())) + 1
    names = class_names or tuple(str(k) for k in range(classes))
    return classification_report(
        served.labels,
        served.prediction,
        labels=list(range(len(names))),
        target_names=list(names),
        output_dict=True,
        zero_division=0,
    )
