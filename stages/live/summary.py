"""What a live run showed: latency, joules, classes, and whether `simulate` had said the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cache import Store
from stages.cascade import AT, NEVER, Cascade, Limit, Outcome, Stage, decide
from stages.energy import per_image
from stages.live.serving import Served
from stages.results import Row, save
from stages.scores import (
    CALIBRATIONS,
    ScoreSet,
    allows,
    checked_by,
    fitted_score,
    made_of,
)
from stages.statistics import Interval

# Batch size and device move an fp32 logit by about 1e-6; a score moves no more than that, with
# room for deep networks. Only closer than this to a boundary may live and simulation differ.
# In int8 a rounding that falls otherwise moves a number by a 255th of its range.
NOISE = {"fp32": 1e-5, "tf32": 1e-2, "bf16": 1e-1, "fp16": 1e-2, "int8": 1e-2}

Classes = dict[str, dict[str, float] | float]  # figures by class, and averages


def latency_summary(served: Served) -> dict[str, float]:
    """Milliseconds per batch of `batch_size` requests."""
    p50, p95, p99 = np.percentile(served.latency_ms, [50, 95, 99])
    mean = np.average(served.latency_ms, weights=served.weight)
    return {"mean": float(mean), "p50": float(p50), "p95": float(p95), "p99": float(p99)}


def usual_ms(served: Served) -> float:
    """What the mean latency of a batch would be if each took the median of those alike: batches
    that B ran on, that only A ran on, and that the memory answered."""
    size, laps, weight = served.batch_size, served.latency_ms, served.weight
    kinds = np.minimum(served.outcome.stage, 1)
    kind = np.maximum.reduceat(kinds, np.arange(0, len(kinds), size))[served.started // size]
    shares = {k: weight[kind == k].sum() / weight.sum() for k in np.unique(kind).tolist()}
    return float(sum(share * np.median(laps[kind == k]) for k, share in shares.items()))


@dataclass(frozen=True, kw_only=True)
class MeterSummary:
    """Joules per request by one meter over a run's windows, gross and above idle; None without
    windows, and `reason` says why."""

    energy_j_per_request: float | None
    energy_j_per_request_low: float | None
    energy_j_per_request_high: float | None
    energy_above_idle_j_per_request: float | None
    energy_above_idle_j_per_request_low: float | None
    energy_above_idle_j_per_request_high: float | None
    source: str
    scope: str | None
    device: str | None
    idle_w: float | None
    windows: int
    ticks: int | None
    reason: str | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EnergySummary(MeterSummary):
    """The device's, and beside it the `host`'s by every other meter."""

    host: tuple[MeterSummary, ...]


def energy_summary(served: Served, meter: int = 0, reason: str | None = None) -> MeterSummary:
    """By one meter."""
    counts = [count for count, _ in served.windows]
    readings = [found[meter] for _, found in served.windows]
    sensor = readings[0].sensor if readings else None
    figures = per_image(readings, counts)
    energy, above = figures["energy"], figures["energy_above_idle"]
    why = next((each.reason for each in readings if each.energy_j is None), reason)
    return MeterSummary(
        energy_j_per_request=energy.value,
        energy_j_per_request_low=energy.low,
        energy_j_per_request_high=energy.high,
        energy_above_idle_j_per_request=above.value,
        energy_above_idle_j_per_request_low=above.low,
        energy_above_idle_j_per_request_high=above.high,
        source=sensor.source if sensor else "none",
        scope=sensor.scope if sensor else None,
        device=sensor.device if sensor else None,
        idle_w=readings[0].idle_w if readings else None,
        windows=len(readings),
        ticks=sum(each.ticks or 0 for each in readings) if readings else None,
        reason=None if energy.value is not None else why,
        warnings=tuple(sorted({warning for each in readings for warning in each.warnings})),
    )


@dataclass(frozen=True)
class Difference:
    """Where a request went or was answered otherwise than in the simulation: its position in the
    stream, and the `distance` of the cached score from λ, or of the two models' scores from each
    other (post-check), or of the answering model's two largest probabilities."""

    request: int
    sample_id: int
    boundary: str
    distance: float
    escalated_live: bool
    escalated_simulated: bool
    took_b_live: bool
    took_b_simulated: bool
    prediction_live: int
    prediction_simulated: int
    hit_live: bool
    hit_simulated: bool


@dataclass(frozen=True)
class Agreement:
    """Where a live run and its simulation differ, of `n` requests. `outside_noise` counts the
    differences farther away than float noise reaches, hits that only one of the two saw among
    them: those are faults. `simulated`: what the simulation made of these requests."""

    n: int
    decisions_differ: int
    answers_differ: int
    hits_differ: int
    outside_noise: int
    noise: float
    largest_score_shift: float
    differences: tuple[Difference, ...]
    simulated: SimulatedRequests


@dataclass(frozen=True)
class SimulatedRequests:
    """Shares and counts of `n` requests; `unanswered` of those that come to a last stage which is
    no model."""

    n: int
    accuracy: float
    usage: float
    escalated: int
    took_b: int
    hits: int
    unanswered: int

    @classmethod
    def of(cls, outcome: Outcome) -> SimulatedRequests:
        hits = 0 if outcome.hit is None else int(outcome.hit.sum())
        sent, left = int(outcome.escalated.sum()), int(outcome.unanswered.sum())
        shares = (outcome.accuracy, outcome.usage())
        took_b = int(outcome.took_b.sum()) - left
        return cls(len(outcome.stage), *shares, sent, took_b, hits, left)


def agreement(
    served: Served,
    scores: ScoreSet,
    cascade: Cascade,
    simulated: Outcome | None = None,
    precision: str = "fp32",
) -> Agreement:
    """Where the live run differs from the simulation (by default of the cascade without a memory),
    and how close to a boundary that was; `scores` are by request, `precision` that of the models,
    several joined by `+`."""
    scores, ours = scores.of_images(slice(len(served.labels))), served.outcome
    theirs = decide(scores, cascade) if simulated is None else simulated
    hits = ours.stage < 0, theirs.stage < 0
    pairs = {
        "escalated": (ours.escalated, theirs.escalated),
        "took_b": (ours.took_b, theirs.took_b),
        "prediction": (ours.prediction, theirs.prediction),
        "hit": hits,
    }
    differ = {name: live != cached for name, (live, cached) in pairs.items()}
    differ["escalated"] = ours.stage != theirs.stage
    anywhere = np.logical_or.reduce(list(differ.values()))
    both = (ours, theirs)
    shift = np.abs(theirs.scores[0] - ours.scores[0])[~np.logical_or(*hits)]
    noise = max(NOISE[each] for each in precision.split("+"))
    if cascade.score and allows(cascade.score, 2):  # in logits, or of any range
        noise *= max(1.0, float(np.nanmax(np.abs(theirs.scores[0]), initial=0.0)))
    how = (pairs, scores, cascade, both, noise)
    rows = tuple(_difference(int(i), *how) for i in np.flatnonzero(anywhere))
    return Agreement(
        n=len(served.labels),
        decisions_differ=int((differ["escalated"] | differ["took_b"]).sum()),
        answers_differ=int(differ["prediction"].sum()),
        hits_differ=int(differ["hit"].sum()),
        outside_noise=sum(row.distance > noise for row in rows),
        noise=noise,
        largest_score_shift=float(shift.max(initial=0.0)),
        differences=rows,
        simulated=SimulatedRequests.of(theirs),
    )


def _difference(
    i: int,
    pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    scores: ScoreSet,
    cascade: Cascade,
    outcomes: tuple[Outcome, Outcome],
    noise: float,
) -> Difference:
    ended, by = ([int(each[i]) for each in of] for of in _ends(outcomes))
    # Where they part, one ended with the stage that the other went on from.
    j = max(min(ended if ended[0] != ended[1] else by), 0)
    stage, limit = cascade.stages[j], (*cascade.limits, Limit(NEVER))[j]
    if pairs["hit"][0][i] != pairs["hit"][1][i]:
        boundary, distance = "memory", math.inf
    elif ended[0] != ended[1] and limit.kind == AT and not stage.beside:
        boundary, distance = "threshold", _to_limit(scores, stage, limit, i, noise)
    elif by[0] != by[1] and cascade.postcheck and ended[0] == ended[1]:
        sure = [_checked(scores, cascade, k)[i] for k in by]
        boundary, distance = "postcheck", abs(sure[0] - sure[1])
    elif cascade.averaged and by[1] == 1:
        boundary, distance = "answer", float(scores.means[cascade.averaged][1, i])
    else:
        models = cascade.stages[j if ended[0] != ended[1] else max(by[1], 0)].members
        each = (scores.scores["difference"][scores.index(name)][i] for name in models)
        boundary, distance = "answer", min(each)
    both = {
        f"{name}_{of}": values[i].item()
        for name, pair in pairs.items()
        for of, values in zip(("live", "simulated"), pair, strict=True)
    }
    return Difference(i, int(scores.sample_ids[i]), boundary, float(distance), **both)


def _ends(outcomes: tuple[Outcome, Outcome]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(the last stages that ran, those whose answers stand) of both."""
    return [one.stage for one in outcomes], [one.answered for one in outcomes]


def _to_limit(scores: ScoreSet, stage: Stage, limit: Limit, i: int, noise: float) -> float:
    """How far an image's score is from λ: of a curve not at all where float noise of the score that
    it is made of carries it there, however steep it is."""
    name, m, at = str(stage.score), scores.index(stage.model), limit.value or 0.0
    how, base = made_of(name) or ("", "")
    own = float(scores.score(name, m)[i])
    if how in CALIBRATIONS and stage.coefficients is not None:
        around = scores.scores[base][m][i] + np.array([-noise, noise])
        low, high = sorted(fitted_score(name, stage.coefficients, {base: around}, None))
        if low <= at <= high:
            return 0.0
    return abs(own - at)


def _checked(scores: ScoreSet, cascade: Cascade, stage: int) -> np.ndarray:
    """float64 [N]: what a post-check compares."""
    one = cascade.stages[stage]
    return scores.score(checked_by(str(one.score or cascade.score)), scores.index(one.model))


def classification(served: Served, class_names: tuple[str, ...] | None) -> Classes:
    """Precision, recall, F1 and support per class, and their averages.

    `macro avg` is that of the classes that occur among the images.
    """
    from sklearn.metrics import classification_report

    names = class_names or ()
    classes = int(max(served.labels.max(), served.outcome.prediction.max())) + 1
    names += tuple(str(k) for k in range(len(names), classes))  # weights may know more classes
    found = classification_report(
        served.labels,
        served.outcome.prediction,
        labels=list(range(len(names))),
        target_names=list(names),
        output_dict=True,
        zero_division=0,
    )
    present = [found[names[k]] for k in np.unique(served.labels)]
    macro = found["macro avg"]
    for figure in macro.keys() - {"support"}:
        macro[figure] = float(np.mean([row[figure] for row in present]))
    return found


@dataclass(frozen=True, kw_only=True)
class LiveRow(Row):
    """The row of results/live; what was `predicted` are the costs of the table."""

    model_1: str
    model_2: str | None
    model_3: str | None = None
    score: str | None
    threshold: float | str | None
    postcheck: bool
    final: str
    stream: str | None
    memory: str | None
    memory_size: int | None
    memory_radius: int | None
    memory_trust: float | None
    device: str
    precision: str
    batch_size: int
    n: int
    meter: str
    accuracy: Interval
    usage: Interval
    abstained: float | None = None
    hit_rate: float
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    latency_ms: float
    predicted_latency_ms: float | None
    energy_j: float | None
    energy_low_j: float | None
    energy_high_j: float | None
    predicted_energy_j: float | None
    decisions_differ: int
    answers_differ: int
    outside_noise: int


def record(store: Store, scores: ScoreSet, row: LiveRow) -> None:
    """Write it; what came before `meter`, and that, tell requests apart."""
    columns = list(row.columns().items())
    asked = columns[: [name for name, _ in columns].index("meter") + 1]
    save(store, "live", scores, dict(asked) | {"split": scores.split}, [row])
