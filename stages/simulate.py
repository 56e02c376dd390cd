"""scores → what a cascade would have answered, request by request, without running it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache import InputError, Store
from stages.intervals import Interval, Paired, change, from_ends, paired, share, with_ends
from stages.memory import Policy, Remembered, remember, size_bytes
from stages.pricing import NO_COST, Pricer, asked, held_against
from stages.results import save
from stages.rule import ORACLE_THRESHOLD, Threshold, takes_b, trusted
from stages.score import ScoreSet
from stages.scores import named


@dataclass(frozen=True)
class Cascade:
    """Which models, and how they decide. `threshold` is None for the oracle."""

    model_1: str
    model_2: str
    score: str = "maxp"
    threshold: Threshold | None = None
    postcheck: bool = False

    @property
    def limit(self) -> Threshold:
        if named(self.score).needs_label:
            return ORACLE_THRESHOLD
        if self.threshold is None:
            raise InputError(f"a cascade by {self.score} needs a λ: give a number, always or never")
        return self.threshold


@dataclass(frozen=True)
class Simulation:
    """Per request [N]: `escalated` bool, B ran; `took_b` bool, its answer was taken; `prediction`
    int32; `correct` bool; `hit` bool, a memory answered, None without one."""

    escalated: np.ndarray
    took_b: np.ndarray
    prediction: np.ndarray
    correct: np.ndarray
    hit: np.ndarray | None = None

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    @property
    def usage(self) -> float:
        """B's share of all requests."""
        return float(self.escalated.mean())


def simulate(scores: ScoreSet, cascade: Cascade) -> Simulation:
    """Decide every image of the split by the rule."""
    a, b = scores.index(cascade.model_1), scores.index(cascade.model_2)
    score = named(cascade.score)
    s_a, s_b = scores.score(cascade.score, a), scores.score(cascade.score, b)
    escalated = ~trusted(score, s_a, cascade.limit)
    took_b = escalated & takes_b(score, s_a, s_b, cascade.postcheck)
    prediction = np.where(took_b, scores.predictions[b], scores.predictions[a])
    return Simulation(escalated, took_b, prediction, prediction == scores.labels)


@dataclass(frozen=True)
class Recall:
    """A memory in front of the cascade. `codes` int64 [N] are the requests' keys as rows of `keys`
    uint8 [U, L]; `seen` bool [N], whether the request's sample came before; `batch_size` requests
    are looked up together."""

    policy: Policy
    codes: np.ndarray
    keys: np.ndarray
    seen: np.ndarray
    batch_size: int = 1

    def first(self, n: int) -> Recall:
        """For the first n requests."""
        return replace(self, codes=self.codes[:n], seen=self.seen[:n])


def recalled(
    scores: ScoreSet, cascade: Cascade, plain: Simulation, recall: Recall
) -> tuple[Simulation, Remembered]:
    """The same requests with a memory: a hit returns what the storing request was answered."""
    storable = _storable(scores, cascade, plain, recall.policy.trust)
    found = remember(recall.codes, recall.keys, storable, recall.policy, recall.batch_size)
    prediction = np.where(found.hit, plain.prediction[found.source], plain.prediction)
    outcome = Simulation(
        plain.escalated & ~found.hit,
        plain.took_b & ~found.hit,
        prediction,
        prediction == scores.labels,
        found.hit,
    )
    return outcome, found


def _storable(
    scores: ScoreSet, cascade: Cascade, plain: Simulation, trust: float | None
) -> np.ndarray:
    """bool [N]: the score of the model that gave the answer reaches `trust`."""
    if trust is None:
        return np.ones(len(scores.labels), bool)
    s_a, s_b = (
        scores.score(cascade.score, scores.index(model))
        for model in (cascade.model_1, cascade.model_2)
    )
    return trusted(named(cascade.score), np.where(plain.took_b, s_b, s_a), trust)


def run(
    store: Store,
    scores: ScoreSet,
    cascade: Cascade,
    fit: dict[str, Any] | None = None,
    pricer: Pricer | None = None,
    recall: Recall | None = None,
    request: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The row of `figures`, also written to results/simulate.

    `request` tells apart what else was asked for (the stream's name, say).
    """
    row = figures(scores, cascade, fit, pricer, recall)
    memory = recall and [str(recall.policy), recall.batch_size]
    told = {"cascade": str(cascade), "fit": fit, "memory": memory, "cost": asked(pricer)}
    save(store, "simulate", scores, told | (request or {}), [row])
    return row


def figures(
    scores: ScoreSet,
    cascade: Cascade,
    fit: dict[str, Any] | None = None,
    pricer: Pricer | None = None,
    recall: Recall | None = None,
) -> dict[str, Any]:
    """The summary of one simulated cascade.

    `fit` says how λ came about: fit_split, fit_method, objective and what goes with them, and where
    λ was cross-fitted, what is to be told of each image once (HONEST). Of other requests, and with
    a memory, the accuracy is less than this λ's by as much as it flatters each image once.
    """
    plain = outcome = simulate(scores, cascade)
    memory = NO_MEMORY
    if recall is not None:
        outcome, found = recalled(scores, cascade, plain, recall)
        memory = _memory_row(scores, cascade, plain, outcome, found, recall, pricer)
    about = NO_FIT | (fit or {})
    told = {key: about.pop(key) for key in HONEST if key in about}
    baseline = about.pop("baseline") or _more_accurate(scores, cascade)
    known = scores if pricer is None else pricer.scores
    if pricer is not None and pricer.baseline is not None:
        baseline = pricer.baseline
    alone = known.correct[known.index(baseline)]
    against = _change(outcome.correct, alone, scores.sample_ids)
    row = summary(scores, cascade, outcome) | memory | about
    row |= held_against(known, baseline, against)
    if told:
        once = recall is None and len(np.unique(scores.sample_ids)) == about["fit_n"] == row["n"]
        row |= told if once else _less(row, about["fit_accuracy"] - told["accuracy"])
    return row | priced(cascade, outcome, pricer, baseline, from_ends("accuracy_change", row))


def _less(row: dict[str, Any], flattery: float) -> dict[str, Any]:
    """The accuracies without what a λ has of the images that chose it."""
    names = [name for name in (*HONEST, "accuracy_without_memory") if row[name] is not None]
    least = {name: -1.0 if "change" in name else 0.0 for name in names}
    return {name: min(max(row[name] - flattery, least[name]), 1.0) for name in names}


def _more_accurate(scores: ScoreSet, cascade: Cascade) -> str:
    """What one would deploy alone where λ was given: of equals A."""
    pair = (cascade.model_1, cascade.model_2)
    return max(pair, key=lambda name: float(scores.accuracy[scores.index(name)]))


NO_MEMORY: dict[str, Any] = {
    "memory": None,
    "memory_size": None,
    "memory_radius": None,
    "memory_trust": None,
    "memory_entries": None,
    "memory_bytes": None,
    "hits": 0,
    "false_hits": 0,
    "hit_rate": 0.0,
    "false_hit_cost": None,
    "duplicates_seen": None,
    "duplicate_recall": None,
    "avoided_1": 0,
    "avoided_2": 0,
    "accuracy_without_memory": None,
    "hash_cost": None,
    "hash_counted": None,
    "hash_reason": None,
    "break_even_rate": None,
}


def _memory_row(
    scores: ScoreSet,
    cascade: Cascade,
    plain: Simulation,
    outcome: Simulation,
    found: Remembered,
    recall: Recall,
    pricer: Pricer | None,
) -> dict[str, Any]:
    """What the memory did. `false_hit_cost` is the accuracy that false hits took (in all requests);
    `hash_counted` whether hashing is part of the cost, and `hash_reason` why that is unknown;
    `break_even_rate` the share of hits above which hashing costs less than the runs it avoids."""
    hit, n = found.hit, len(scores.labels)
    false = hit & (scores.sample_ids[found.source] != scores.sample_ids)
    policy, repeated = recall.policy, int(recall.seen.sum())
    hash_cost = None if pricer is None else pricer.hash_cost
    per_miss = None
    if pricer is not None:
        per_miss = pricer.request(cascade.model_1, cascade.model_2, plain.escalated).value
    return {
        "memory": policy.algorithm,
        "memory_size": policy.size,
        "memory_radius": policy.radius,
        "memory_trust": policy.trust,
        "memory_entries": found.entries,
        "memory_bytes": size_bytes(found.entries, recall.keys.shape[1]),
        "hits": int(hit.sum()),
        "false_hits": int(false.sum()),
        "hit_rate": float(hit.mean()),
        "false_hit_cost": float((plain.correct[false].sum() - outcome.correct[false].sum()) / n),
        "duplicates_seen": repeated,
        "duplicate_recall": float((hit & recall.seen).sum() / repeated) if repeated else None,
        "avoided_1": int(hit.sum()),
        "avoided_2": int((plain.escalated & hit).sum()),
        "accuracy_without_memory": plain.accuracy,
        "hash_cost": hash_cost,
        "hash_counted": None if pricer is None else hash_cost is not None,
        "hash_reason": None if pricer is None else pricer.hash_reason,
        "break_even_rate": hash_cost / per_miss if hash_cost is not None and per_miss else None,
    }


def priced(
    cascade: Cascade,
    outcome: Simulation,
    pricer: Pricer | None,
    baseline: str,
    change: Interval,
) -> dict[str, Any]:
    """The cost fields of a simulated cascade, all null where no cost is known, against the model
    that one would deploy alone."""
    if pricer is None:
        return NO_COST
    models = (cascade.model_1, cascade.model_2)
    return pricer.compared(*models, outcome.escalated, baseline, change, outcome.hit)


NO_FIT: dict[str, Any] = {
    "fit_split": None,
    "fit_method": "given",
    "fit_n": None,
    "objective": None,
    "fit_accuracy": None,
    "fit_usage": None,
    "threshold_low": None,
    "threshold_high": None,
    "baseline": None,
}
# What cross-fitting says of images that had no part in the choice.
HONEST = tuple(
    f"{name}{end}" for name in ("accuracy", "accuracy_change") for end in ("", "_low", "_high")
)


def summary(scores: ScoreSet, cascade: Cascade, outcome: Simulation) -> dict[str, Any]:
    """The contract's keys, but for costs."""
    a, b = scores.index(cascade.model_1), scores.index(cascade.model_2)
    macs_1, macs_2 = (scores.manifests[m].provenance.get("macs") for m in (a, b))
    return {
        "split": scores.split,
        "model_1": cascade.model_1,
        "model_2": cascade.model_2,
        "score": cascade.score,
        "threshold": cascade.threshold,
        "postcheck": cascade.postcheck,
        "n": len(scores.labels),
        **with_ends("accuracy", share_of(outcome.correct, scores.sample_ids)),
        **with_ends("usage", share_of(outcome.escalated, scores.sample_ids)),
        "escalated": int(outcome.escalated.sum()),
        "took_b": int(outcome.took_b.sum()),
        "accuracy_1": float(scores.accuracy[a]),
        "accuracy_2": float(scores.accuracy[b]),
        "macs_1": macs_1,
        "macs_2": macs_2,
        "macs_per_request": _expected(macs_1, macs_2, outcome),
    }


def share_of(holds: np.ndarray, sample_ids: np.ndarray) -> Interval:
    """The share of requests, bool [N], of these images, int64 [N]."""
    count, n, worth = int(holds.sum()), len(holds), _worth(sample_ids)
    found = share(count * worth / n, worth)
    return Interval(count / n, found.low, found.high)


def _change(correct: np.ndarray, other: np.ndarray, sample_ids: np.ndarray) -> Interval:
    """Of accuracy between two that answer the same requests, bool [N] each."""
    found, worth = paired(correct, other), _worth(sample_ids)
    each = worth / found.n
    ends = change(Paired(found.won * each, found.lost * each, worth))
    return Interval(found.value, ends.low, ends.high)


def _worth(sample_ids: np.ndarray) -> int:
    """How many images, each asked once, tell as much as these requests do: n²/Σw², w being how
    often an image is asked (Kish 1965)."""
    times = np.unique(sample_ids, return_counts=True)[1]
    return max(1, round(int(times.sum()) ** 2 / int((times**2).sum())))


def _expected(cost_1: float | None, cost_2: float | None, outcome: Simulation) -> float | None:
    """Cost per request: A runs unless the memory answers, B on its share; unknown if either is."""
    if cost_1 is None or cost_2 is None:
        return None
    missed = 1.0 if outcome.hit is None else float(1 - outcome.hit.mean())
    return missed * cost_1 + outcome.usage * cost_2
