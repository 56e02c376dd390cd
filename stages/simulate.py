"""scores → what a cascade would have answered, request by request, without running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cache import InputError, Store
from stages.pricing import NO_COST, Pricer
from stages.results import save
from stages.rule import ORACLE_THRESHOLD, SCORES, Threshold, takes_b, trusted
from stages.score import ScoreSet


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
        if SCORES[self.score].needs_label:
            return ORACLE_THRESHOLD
        if self.threshold is None:
            raise InputError(f"a cascade by {self.score} needs a λ: give a number, always or never")
        return self.threshold


@dataclass(frozen=True)
class Simulation:
    """Per image [N]: `escalated` bool, B ran; `took_b` bool, its answer was taken; `prediction`
    int32; `correct` bool."""

    escalated: np.ndarray
    took_b: np.ndarray
    prediction: np.ndarray
    correct: np.ndarray

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
    score = SCORES[cascade.score]
    s_a, s_b = scores.score(cascade.score, a), scores.score(cascade.score, b)
    escalated = ~trusted(score, s_a, cascade.limit)
    took_b = escalated & takes_b(score, s_a, s_b, cascade.postcheck)
    prediction = np.where(took_b, scores.predictions[b], scores.predictions[a])
    return Simulation(escalated, took_b, prediction, prediction == scores.labels)


def run(
    store: Store,
    scores: ScoreSet,
    cascade: Cascade,
    fit: dict[str, Any] | None = None,
    pricer: Pricer | None = None,
) -> dict[str, Any]:
    """The summary of one simulated cascade, also written to results/simulate.

    `fit` says how λ came about: fit_split, fit_method, objective and what goes with them.
    """
    outcome = simulate(scores, cascade)
    row = summary(scores, cascade, outcome) | (fit or NO_FIT) | priced(cascade, outcome, pricer)
    save(store, "simulate", scores, {"cascade": str(cascade), "fit": fit}, [row])
    return row


def priced(cascade: Cascade, outcome: Simulation, pricer: Pricer | None) -> dict[str, Any]:
    """The cost fields of a simulated cascade, all null where no cost is known."""
    if pricer is None:
        return NO_COST
    return pricer.compared(cascade.model_1, cascade.model_2, outcome.escalated, outcome.correct)


NO_FIT: dict[str, Any] = {
    "fit_split": None,
    "fit_method": "given",
    "fit_n": None,
    "objective": None,
    "fit_accuracy": None,
    "fit_usage": None,
    "crossfit_accuracy": None,
    "crossfit_usage": None,
    "threshold_low": None,
    "threshold_high": None,
}


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
        "memory": None,
        "n": len(scores.labels),
        "accuracy": outcome.accuracy,
        "usage": outcome.usage,
        "escalated": int(outcome.escalated.sum()),
        "took_b": int(outcome.took_b.sum()),
        "hits": 0,
        "false_hits": 0,
        "hit_rate": 0.0,
        "accuracy_1": float(scores.accuracy[a]),
        "accuracy_2": float(scores.accuracy[b]),
        "macs_1": macs_1,
        "macs_2": macs_2,
        "macs_per_request": _expected(macs_1, macs_2, outcome.usage),
    }


def _expected(cost_1: float | None, cost_2: float | None, usage: float) -> float | None:
    """Cost per request: A always runs, B on its share; unknown if either is."""
    return None if cost_1 is None or cost_2 is None else cost_1 + usage * cost_2
