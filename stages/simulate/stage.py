"""scores → what a cascade would have answered, request by request, without running it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache import Store
from stages.cascade import (
    Cascade,
    Limit,
    MemoryPolicy,
    Outcome,
    Remembered,
    decide,
    remember,
    size_bytes,
    trusted,
)
from stages.costs import NO_COST, Pricer, asked, expected, held_against
from stages.results import save
from stages.scores import ScoreSet, named
from stages.simulate.margin import near_limits
from stages.statistics import Interval, Paired, change, from_ends, paired, share, with_ends


@dataclass(frozen=True)
class Recall:
    """A memory in front of the cascade. `codes` int64 [N] are the requests' keys as rows of `keys`
    uint8 [U, L]; `seen` bool [N], whether the request's sample came before; `batch_size` requests
    are looked up together."""

    policy: MemoryPolicy
    codes: np.ndarray
    keys: np.ndarray
    seen: np.ndarray
    batch_size: int = 1

    def first(self, n: int) -> Recall:
        """For the first n requests."""
        return replace(self, codes=self.codes[:n], seen=self.seen[:n])


def recalled(
    scores: ScoreSet, cascade: Cascade, plain: Outcome, recall: Recall
) -> tuple[Outcome, Remembered]:
    """The same requests with a memory: a hit returns what the storing request was answered."""
    trust, storable = recall.policy.trust, np.ones(len(scores.labels), bool)
    if trust is not None:
        storable = trusted(named(str(cascade.score)), plain.score, Limit.of(trust))
    found = remember(recall.codes, recall.keys, storable, recall.policy, recall.batch_size)
    given = np.where(found.hit, found.source, np.arange(len(storable)))
    prediction = plain.prediction[given]
    outcome = Outcome(
        np.where(found.hit, -1, plain.stage),
        np.where(found.hit, -1, plain.answered),
        prediction,
        [np.where(found.hit, np.nan, each) for each in plain.scores],
        prediction == scores.labels,
        found.hit,
    )
    return outcome, found


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
    told = _request(cascade, recall) | {"fit": fit, "cost": asked(pricer)}
    save(store, "simulate", scores, told | (request or {}), [row])
    return row


def _request(cascade: Cascade, recall: Recall | None) -> dict[str, Any]:
    """As every version has spelled it: the same question asked again replaces its result."""
    a, b = cascade.models
    rule = f"score={cascade.score!r}, threshold={cascade.limits[0].threshold!r}"
    told = f"Cascade(model_1={a!r}, model_2={b!r}, {rule}, postcheck={cascade.postcheck!r})"
    memory = recall and [recall.policy, recall.batch_size]
    return {"cascade": told, "memory": memory}


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
    plain = outcome = decide(scores, cascade)
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
    row = summary(scores, cascade, outcome) | near_limits(cascade, plain) | memory | about
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
    return max(cascade.models, key=lambda name: float(scores.accuracy[scores.index(name)]))


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
    plain: Outcome,
    outcome: Outcome,
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
        per_miss = pricer.request(cascade.models, plain.stage).value
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
    outcome: Outcome,
    pricer: Pricer | None,
    baseline: str,
    change: Interval,
) -> dict[str, Any]:
    """The cost fields of a simulated cascade, all null where no cost is known, against the model
    that one would deploy alone."""
    if pricer is None:
        return NO_COST
    return pricer.compared(cascade.models, outcome.stage, baseline, change, outcome.hit is not None)


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


def summary(scores: ScoreSet, cascade: Cascade, outcome: Outcome) -> dict[str, Any]:
    """The contract's keys, but for costs."""
    a, b = map(scores.index, cascade.models)
    macs_1, macs_2 = (scores.manifests[m].provenance.get("macs") for m in (a, b))
    return {
        "split": scores.split,
        "model_1": cascade.models[0],
        "model_2": cascade.models[1],
        "score": cascade.score,
        "threshold": cascade.limits[0].threshold,
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
        "macs_per_request": expected(
            macs_1, macs_2, outcome.usage(), float((outcome.stage >= 0).mean())
        ),
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
