"""scores → what a cascade would have answered, request by request, without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from cache import Store, digest
from stages.cascade import (
    AT,
    ENSEMBLE,
    NEVER,
    ORACLE,
    Cascade,
    Limit,
    MemoryPolicy,
    Outcome,
    Remembered,
    Stage,
    decide,
    remember,
    size_bytes,
    trusted,
    votes,
)
from stages.costs import HeldAgainst, Pricer, StagePrice, asked, expected, held_against
from stages.results import Row, save
from stages.scores import ScoreSet, named
from stages.simulate.margin import Near, near_limits
from stages.simulate.nobody import NobodyFigures, nobody_figures
from stages.simulate.shares import share_of, worth
from stages.simulate.tail import Tail, tail_of
from stages.statistics import Interval, Paired, change, paired, with_ends


@dataclass(frozen=True)
class Honest:
    """What images that had no part in the choice of λ say: accuracy, and its change against the
    model that one would deploy instead, None where only the accuracy was told; where answers have a
    loss, the mean loss and its change, below 0 where less is lost."""

    accuracy: Interval
    change: Interval | None
    loss: Interval | None = None
    loss_change: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class FitFacts(Row):
    """How λ came about; by default it was given."""

    fit_split: str | None = None
    fit_method: str = "given"
    fit_n: int | None = None
    objective: str | None = None
    fit_accuracy: float | None = None
    fit_usage: float | None = None


@dataclass(frozen=True)
class FittedLimit:
    """How λ came about, the `baseline` that one would deploy instead of the cascade (None: the more
    accurate of the two), and where λ was cross-fitted what is to be told of each image once."""

    facts: FitFacts = FitFacts()
    baseline: str | None = None
    honest: Honest | None = None

    @classmethod
    def told(cls, facts: FitFacts, accuracy: Interval, against: HeldAgainst) -> FittedLimit:
        """Of a row that was fitted so, which tells what the folds say where these decided."""
        honest = Honest(accuracy, against.accuracy_change)
        crossfit = facts.fit_method == "cross-fit"
        return cls(facts, against.baseline, honest if crossfit else None)


@dataclass(frozen=True, kw_only=True)
class MemoryFigures(Row):
    """What a memory did. `false_hit_cost` is the accuracy that false hits took (in all requests);
    `hash_counted` whether hashing is part of the cost, and `hash_reason` why that is unknown;
    `break_even_rate` the share of hits above which hashing costs less than the runs it avoids."""

    memory: str | None = None
    memory_size: int | None = None
    memory_radius: int | None = None
    memory_trust: float | None = None
    memory_entries: int | None = None
    memory_bytes: int | None = None
    hits: int = 0
    false_hits: int = 0
    hit_rate: float = 0.0
    false_hit_cost: float | None = None
    duplicates_seen: int | None = None
    duplicate_recall: float | None = None
    avoided_1: int = 0
    avoided_2: int = 0
    accuracy_without_memory: float | None = None
    hash_cost: float | None = None
    hash_counted: bool | None = None
    hash_reason: str | None = None
    break_even_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class DecidedRequests(Row):
    """What a cascade did with `n` requests, of which `escalated` went to B, `escalated_2` to C, and
    `took_b` were answered by one of them. A model alone has no `model_2`, a pair no `model_3`; of a
    committee `model_1` names all members. λ of A is `threshold`, B's is a number, or as `mode_2`
    says. The last may be nobody's, `abstain` or `human`, of which no accuracy is told here, and
    which answers nothing: `accuracy` is the share that models get right."""

    split: str
    model_1: str
    model_2: str | None
    model_3: str | None = None
    score: str | None
    threshold: Limit
    threshold_2: float | None = None
    threshold_2_low: float | None = None
    threshold_2_high: float | None = None
    mode_2: str | None = None
    postcheck: bool
    final: str
    n: int
    accuracy: Interval
    usage: Interval
    usage_2: float | None = None
    escalated: int
    escalated_2: int | None = None
    took_b: int
    accuracy_1: float
    accuracy_2: float | None
    accuracy_3: float | None = None
    macs_1: int | None
    macs_2: int | None
    macs_3: int | None = None
    macs_per_request: float | None
    unanswered: NobodyFigures


@dataclass(frozen=True, kw_only=True)
class SimulatedCascade(DecidedRequests):
    """The row of `simulate`."""

    near: Near
    memory: MemoryFigures
    fit: FitFacts
    against: HeldAgainst
    price: StagePrice
    tail: Tail


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
    trust, storable = recall.policy.trust, ~plain.unanswered
    if trust is not None:
        storable = storable & trusted(named(str(cascade.score)), plain.score, Limit.of(trust))
    found = remember(recall.codes, recall.keys, storable, recall.policy, recall.batch_size)
    given = np.where(found.hit, found.source, np.arange(len(storable)))
    prediction, earned = plain.prediction[given], None
    if scores.loss is not None and plain.earned is not None:
        earned, hit = plain.earned.copy(), found.hit
        earned[hit] = scores.loss.credits(scores.labels[hit], prediction[hit])
    outcome = Outcome(
        np.where(found.hit, -1, plain.stage),
        np.where(found.hit, -1, plain.answered),
        prediction,
        [np.where(found.hit, np.nan, each) for each in plain.scores],
        prediction == scores.labels,
        found.hit,
        earned=earned,
    )
    return outcome, found


def run(
    store: Store,
    scores: ScoreSet,
    cascade: Cascade,
    fit: FittedLimit | None = None,
    pricer: Pricer | None = None,
    recall: Recall | None = None,
    request: Mapping[str, object] | None = None,
) -> SimulatedCascade:
    """The row of `figures`, also written to results/simulate.

    `request` tells apart what else was asked for (the stream's name, say).
    """
    row = figures(scores, cascade, fit, pricer, recall)
    told = _request(cascade, recall, fit) | {"cost": asked(pricer)}
    save(store, "simulate", scores, {**told, **(request or {})}, [row])
    return row


def _request(cascade: Cascade, recall: Recall | None, fit: FittedLimit | None) -> dict[str, object]:
    """As every version has spelled it: the same question asked again replaces its result."""
    names = {f"model_{i}": name for i, name in enumerate(cascade.names, 1)}
    plain = len(cascade.models) == 2 == len(cascade.stages) and cascade.final != ENSEMBLE
    if not plain or cascade.coefficients:
        limits = [each.threshold for each in cascade.limits]
        more = {"final": cascade.final, "coefficients": digest(cascade.coefficients)}
        told: object = names | {"score": cascade.score, "thresholds": limits} | more
        return {"cascade": told, "memory": _kept(recall), "fit": _fitted(cascade, fit)}
    a, b = cascade.models
    rule = f"score={cascade.score!r}, threshold={cascade.limits[0].threshold!r}"
    told = f"Cascade(model_1={a!r}, model_2={b!r}, {rule}, postcheck={cascade.postcheck!r})"
    return {"cascade": told, "memory": _kept(recall), "fit": _fitted(cascade, fit)}


def _kept(recall: Recall | None) -> list[object] | None:
    return None if recall is None else [recall.policy, recall.batch_size]


def _fitted(cascade: Cascade, fit: FittedLimit | None) -> dict[str, object] | None:
    if fit is None:
        return None
    limit = (*cascade.limits, Limit(NEVER))[0]
    found = fit.facts.columns() | {"threshold_low": limit.low, "threshold_high": limit.high}
    found |= {"baseline": fit.baseline}
    if fit.honest is None:
        return found
    accuracy, change = with_ends("accuracy", fit.honest.accuracy), fit.honest.change
    return found | accuracy | ({} if change is None else with_ends("accuracy_change", change))


def figures(
    scores: ScoreSet,
    cascade: Cascade,
    fit: FittedLimit | None = None,
    pricer: Pricer | None = None,
    recall: Recall | None = None,
) -> SimulatedCascade:
    """The summary of one simulated cascade.

    Of other requests than each image once, and with a memory, the accuracy is less than this λ's by
    as much as that flatters each image once.
    """
    fit = fit or FittedLimit()
    plain = outcome = decide(scores, cascade)
    memory = MemoryFigures()
    if recall is not None:
        outcome, found = recalled(scores, cascade, plain, recall)
        memory = _memory_row(scores, cascade, plain, outcome, found, recall, pricer)
    known = scores if pricer is None else pricer.scores
    asked_for = None if pricer is None else pricer.baseline
    baseline = asked_for or fit.baseline or _more_accurate(scores, cascade)
    alone = known.correct[known.index(baseline)]
    against = _change(outcome.correct, alone, scores.sample_ids)
    row = SimulatedCascade(
        **vars(summary(scores, cascade, outcome)),
        near=near_limits(cascade, plain),
        memory=memory,
        fit=fit.facts,
        against=held_against(known, baseline, against),
        price=priced(cascade, outcome, pricer, baseline),
        tail=tail_of(pricer, cascade, outcome, scores.sample_ids),
    )
    if fit.honest is None:
        return row
    once = recall is None and len(np.unique(scores.sample_ids)) == fit.facts.fit_n == row.n
    return _told(row, fit.honest) if once else _less(row, fit.honest)


def _told(row: SimulatedCascade, honest: Honest) -> SimulatedCascade:
    change = honest.change
    if change is None:
        flattery = row.accuracy.value - honest.accuracy.value
        change = _lower(row.against.accuracy_change, flattery, -1.0)
    against = replace(row.against, accuracy_change=change)
    return replace(row, accuracy=honest.accuracy, against=against)


def _less(row: SimulatedCascade, honest: Honest) -> SimulatedCascade:
    """The accuracies without what a λ has of the images that chose it."""
    flattery = (row.fit.fit_accuracy or 0.0) - honest.accuracy.value
    changed = _lower(row.against.accuracy_change, flattery, -1.0)
    row = _told(row, Honest(_lower(row.accuracy, flattery, 0.0), changed))
    without = row.memory.accuracy_without_memory
    if without is None:
        return row
    memory = replace(row.memory, accuracy_without_memory=min(max(without - flattery, 0.0), 1.0))
    return replace(row, memory=memory)


def _lower(found: Interval, by: float, least: float) -> Interval:
    ends = (found.value, found.low, found.high)
    return Interval(*(min(max(each - by, least), 1.0) for each in ends))


def _more_accurate(scores: ScoreSet, cascade: Cascade) -> str:
    """What one would deploy alone where λ was given: of equals A."""
    return max(cascade.models_that_run, key=lambda name: float(scores.accuracy[scores.index(name)]))


def _memory_row(
    scores: ScoreSet,
    cascade: Cascade,
    plain: Outcome,
    outcome: Outcome,
    found: Remembered,
    recall: Recall,
    pricer: Pricer | None,
) -> MemoryFigures:
    hit, n = found.hit, len(scores.labels)
    false = hit & (scores.sample_ids[found.source] != scores.sample_ids)
    policy, repeated = recall.policy, int(recall.seen.sum())
    hash_cost = None if pricer is None else pricer.hash_cost
    per_miss = None
    if pricer is not None:
        per_miss = pricer.request(cascade.models, cascade.ran(plain.stage)).value
    return MemoryFigures(
        memory=policy.algorithm,
        memory_size=policy.size,
        memory_radius=policy.radius,
        memory_trust=policy.trust,
        memory_entries=found.entries,
        memory_bytes=size_bytes(found.entries, recall.keys.shape[1]),
        hits=int(hit.sum()),
        false_hits=int(false.sum()),
        hit_rate=float(hit.mean()),
        false_hit_cost=float((plain.correct[false].sum() - outcome.correct[false].sum()) / n),
        duplicates_seen=repeated,
        duplicate_recall=float((hit & recall.seen).sum() / repeated) if repeated else None,
        avoided_1=int(hit.sum()),
        avoided_2=int((plain.escalated & hit).sum()),
        accuracy_without_memory=plain.accuracy,
        hash_cost=hash_cost,
        hash_counted=None if pricer is None else hash_cost is not None,
        hash_reason=None if pricer is None else pricer.hash_reason,
        break_even_rate=hash_cost / per_miss if hash_cost is not None and per_miss else None,
    )


def priced(cascade: Cascade, outcome: Outcome, pricer: Pricer | None, baseline: str) -> StagePrice:
    """What a simulated cascade costs, all null where no cost is known, against the model that one
    would deploy alone."""
    if pricer is None:
        return StagePrice()
    stages = [stage.members for stage in cascade.stages]
    ran = cascade.ran(outcome.stage)
    return pricer.of_stages(stages, ran, baseline, outcome.hit is not None)


def summary(scores: ScoreSet, cascade: Cascade, outcome: Outcome) -> DecidedRequests:
    """The contract's keys, but for costs."""
    each = [_of_stage(scores, stage) for stage in cascade.stages]
    b, c, *_ = (*each[1:], None, None)
    first, second, *_ = (*(cascade.limits or (Limit(NEVER),)), Limit.of(None))
    chain = len(each) > 2
    shares = [float((outcome.stage >= j).mean()) for j in range(len(each))]
    return DecidedRequests(
        split=scores.split,
        model_1=each[0].name,
        model_2=b and b.name,
        model_3=c and c.name,
        score=cascade.score,
        threshold=first,
        **limit_of_b(second),
        postcheck=cascade.postcheck,
        final=cascade.final,
        n=len(scores.labels),
        accuracy=share_of(outcome.correct, scores.sample_ids),
        usage=share_of(outcome.escalated, scores.sample_ids),
        usage_2=outcome.usage(2) if chain else None,
        escalated=int(outcome.escalated.sum()),
        escalated_2=int((outcome.stage >= 2).sum()) if chain else None,
        took_b=int((outcome.took_b & ~outcome.unanswered).sum()),
        accuracy_1=float(each[0].accuracy or 0.0),
        accuracy_2=b and b.accuracy,
        accuracy_3=c and c.accuracy,
        macs_1=each[0].macs,
        macs_2=b and b.macs,
        macs_3=c and c.macs,
        macs_per_request=_macs([one.macs for one in each], shares),
        unanswered=nobody_figures(scores, cascade, outcome),
    )


def limit_of_b(limit: Limit) -> Mapping[str, Any]:
    """Columns of λ of a chain's second model, null where there is none (the oracle's limit)."""
    mode = {AT: "threshold", ORACLE: None}.get(limit.kind, limit.kind)
    value = limit.value if limit.kind == AT else None
    ends = {"threshold_2_low": limit.low, "threshold_2_high": limit.high}
    return {"threshold_2": value, **ends, "mode_2": mode}


class _Alone(NamedTuple):
    """What the models of a stage are together; `macs` is None where unknown, and nobody's accuracy
    is."""

    name: str
    accuracy: float | None
    macs: int | None


def _of_stage(scores: ScoreSet, stage: Stage) -> _Alone:
    if stage.nobodys:
        return _Alone(stage.name, None, 0)
    rows = [scores.index(name) for name in stage.members]
    macs = [scores.manifests[m].provenance.get("macs") for m in rows]
    whole, name = None if None in macs else sum(each or 0 for each in macs), stage.name
    if not stage.beside:
        return _Alone(name, float(scores.accuracy[rows[0]]), whole)
    right = votes(scores.predictions[rows])[0] == scores.labels
    return _Alone(name, float(right.mean()), whole)


def _macs(each: Sequence[int | None], shares: Sequence[float]) -> float | None:
    """Expected of a request, of which these shares reach each stage."""
    if len(each) == 2:
        return expected(each[0], each[1], shares[1], shares[0])
    if None in each:
        return None
    return sum(share * (macs or 0) for share, macs in zip(shares, each, strict=True))


def _change(correct: np.ndarray, other: np.ndarray, sample_ids: np.ndarray) -> Interval:
    """Of accuracy between two that answer the same requests, bool [N] each."""
    found, images = paired(correct, other), worth(sample_ids)
    each = images / found.n
    ends = change(Paired(found.won * each, found.lost * each, images))
    return Interval(found.value, ends.low, ends.high)
