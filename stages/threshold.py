"""scores → λ: the operating points of every pair, fitted exactly and reported on other images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache import Store
from stages.fitting import FOLDS, FitPlan, folds
from stages.pricing import NO_COST, Pricer, asked
from stages.results import save
from stages.rule import LABEL_FREE, Score, Threshold, trusted
from stages.score import ScoreSet
from stages.scores import named
from stages.simulate import Cascade, priced, simulate
from stages.sweep import Fit, Ordering, fit, gains

Row = dict[str, Any]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Question:
    """What to sweep. `grid` n restricts λ to n equidistant values in [0, 1]; None is exact."""

    scores: tuple[str, ...] = LABEL_FREE
    postchecks: tuple[bool, ...] = (False, True)
    objectives: tuple[str, ...] = ("best", "1se")
    grid: int | None = None


def run(
    store: Store,
    reported: ScoreSet,
    plan: FitPlan,
    pairs: Sequence[Pair],
    question: Question,
    pricer: Pricer | None = None,
) -> list[Row]:
    """The rows of `operating_points` with their costs, also written to results/threshold."""
    rows = [
        row | cost_of(row, reported, pricer)
        for row in operating_points(reported, plan, pairs, question)
    ]
    request = {
        "pairs": [[reported.models[m] for m in pair] for pair in pairs],
        "fit": [plan.method, plan.split],
        "question": str(question),
        "cost": asked(pricer),
    }
    save(store, "threshold", reported, request, rows)
    return rows


def cost_of(row: Row, reported: ScoreSet, pricer: Pricer | None) -> Row:
    """The cost fields of an operating point on the reported split."""
    if pricer is None:
        return NO_COST
    cascade = cascade_of(row)
    return priced(cascade, simulate(reported, cascade), pricer)


def cascade_of(row: Row) -> Cascade:
    """The cascade that an operating point stands for."""
    names = ("model_1", "model_2", "score", "threshold", "postcheck")
    return Cascade(**{name: row[name] for name in names})


def all_pairs(models: Sequence[str]) -> list[Pair]:
    """Every ordered pair of different models, as indices."""
    count = range(len(models))
    return [(a, b) for a in count for b in count if a != b]


def fitted_point(
    reported: ScoreSet,
    plan: FitPlan,
    pair: tuple[str, str],
    score: str,
    postcheck: bool,
    objective: str,
) -> tuple[Threshold, Row]:
    """One pair's fitted λ, and the fields that say how it came about."""
    question = Question((score,), (postcheck,), (objective,))
    indices = (reported.index(pair[0]), reported.index(pair[1]))
    row = next(operating_points(reported, plan, [indices], question))
    about = ("fit_split", "fit_method", "fit_n", "objective", "fit_accuracy", "fit_usage")
    more = ("crossfit_accuracy", "crossfit_usage", "threshold_low", "threshold_high")
    return row["threshold"], {key: row[key] for key in (*about, *more)}


def operating_points(
    reported: ScoreSet, plan: FitPlan, pairs: Sequence[Pair], question: Question
) -> Iterator[Row]:
    """One row per pair, score, post-check and objective.

    `threshold` is a number, "always", "never", or None for the oracle; `accuracy` and `usage` are
    those of this λ on the reported split, `fit_accuracy` and `fit_usage` on the fitting images, and
    `crossfit_accuracy` and `crossfit_usage` (cross-fit only) those of folds decided with the λ of
    the others, which unlike `accuracy` are not optimistic.
    """
    seconds: dict[int, list[int]] = {}
    for a, b in pairs:
        seconds.setdefault(a, []).append(b)
    for a, partners in seconds.items():
        for name in question.scores:
            first = _First.of(named(name), a, reported, plan, question.grid)
            for b in partners:
                for postcheck in question.postchecks if name != "oracle" else (False,):
                    yield from first.rows(b, postcheck, question)


@dataclass(frozen=True)
class _First:
    """Everything about a first model and score that its partners share."""

    score: Score
    a: int
    reported: ScoreSet
    plan: FitPlan
    fitting: Ordering
    reporting: Ordering
    held_out: tuple[tuple[Ordering, np.ndarray], ...]
    grid: np.ndarray | None

    @classmethod
    def of(
        cls, score: Score, a: int, reported: ScoreSet, plan: FitPlan, grid: int | None
    ) -> _First:
        # From never towards always, as the original: of λ that decide alike the first is told.
        values = None if grid is None else np.linspace(0, 1, grid)[:: score.sign]
        exact = Ordering.of(score, plan.scores.score(score.name, a))
        same = plan.scores is reported
        reporting = exact if same else Ordering.of(score, reported.score(score.name, a))
        held_out = []
        if plan.method == "cross-fit":
            fold = folds(len(reported.labels))
            for f in range(FOLDS):
                others = _on_grid(exact.subset(fold != f), values)
                held_out.append((others, np.flatnonzero(fold == f)))
        fitting = _on_grid(exact, values)
        return cls(score, a, reported, plan, fitting, reporting, tuple(held_out), values)

    def rows(self, b: int, postcheck: bool, question: Question) -> Iterator[Row]:
        gain = self._gain(self.plan.scores, b, postcheck)
        same = self.plan.scores is self.reported
        reported_gain = gain if same else self._gain(self.reported, b, postcheck)
        if self.score.needs_label:
            yield self._oracle_row(b, reported_gain)
            return
        crossfit = self._crossfit(gain, question.objectives)
        for objective, point in fit(self.fitting, gain, question.objectives).items():
            threshold, low, high = self._threshold(self.fitting, point)
            k = self.reporting.escalated(threshold)
            gained = int(reported_gain[self.reporting.order[:k]].sum())
            yield self._row(b, postcheck, objective, k, gained) | {
                "threshold": threshold,
                "threshold_low": low,
                "threshold_high": high,
                **_shares("fit_", self.plan.scores, self.a, point.k, point.gain),
                **crossfit.get(objective, _NO_CROSSFIT),
            }

    def _gain(self, scores: ScoreSet, b: int, postcheck: bool) -> np.ndarray:
        name, correct = self.score.name, scores.correct
        s_a, s_b = scores.score(name, self.a), scores.score(name, b)
        return gains(self.score, correct[self.a], correct[b], s_a, s_b, postcheck)

    def _threshold(
        self, fitting: Ordering, point: Fit
    ) -> tuple[Threshold, float | None, float | None]:
        threshold, low, high = fitting.interval(point.k)
        if self.grid is None:
            return threshold, low, high
        first = (fitting.escalated_by(self.grid) == point.k).argmax()
        return float(self.grid[first]), low, high

    def _crossfit(self, gain: np.ndarray, objectives: tuple[str, ...]) -> dict[str, Row]:
        """Accuracy and usage with each fold decided by the λ of the others."""
        if not self.held_out:
            return {}
        totals = {objective: [0, 0] for objective in objectives}
        s_a = self.reported.score(self.score.name, self.a)
        for others, fold in self.held_out:
            for objective, point in fit(others, gain, objectives).items():
                threshold, _, _ = self._threshold(others, point)
                to_b = fold[~trusted(self.score, s_a[fold], threshold)]
                totals[objective][0] += len(to_b)
                totals[objective][1] += int(gain[to_b].sum())
        return {
            objective: _shares("crossfit_", self.reported, self.a, k, gained)
            for objective, (k, gained) in totals.items()
        }

    def _row(self, b: int, postcheck: bool, objective: str, k: int, gained: int) -> Row:
        accuracy = self.reported.accuracy
        return {
            "model_1": self.reported.models[self.a],
            "model_2": self.reported.models[b],
            "score": self.score.name,
            "postcheck": postcheck,
            "objective": objective,
            "threshold": None,
            "threshold_low": None,
            "threshold_high": None,
            **_shares("", self.reported, self.a, k, gained),
            "accuracy_1": float(accuracy[self.a]),
            "accuracy_2": float(accuracy[b]),
            "points": len(self.fitting.ends),
            "n": len(self.reported.labels),
            "split": self.reported.split,
            "fit_split": self.plan.split,
            "fit_method": self.plan.method,
            "fit_n": len(self.plan.scores.labels),
        }

    def _oracle_row(self, b: int, gain: np.ndarray) -> Row:
        wrong = ~self.reported.correct[self.a]
        row = self._row(b, False, "best", int(wrong.sum()), int(gain[wrong].sum()))
        return row | {"fit_accuracy": None, "fit_usage": None, "points": 1} | _NO_CROSSFIT


_NO_CROSSFIT: Row = {"crossfit_accuracy": None, "crossfit_usage": None}


def _shares(prefix: str, scores: ScoreSet, a: int, k: int, gained: int) -> Row:
    n = len(scores.labels)
    right = int(scores.correct[a].sum()) + gained
    return {f"{prefix}accuracy": right / n, f"{prefix}usage": k / n}


def _on_grid(ordering: Ordering, grid: np.ndarray | None) -> Ordering:
    """The same images, reachable only at the grid's values of λ."""
    if grid is None:
        return ordering
    return replace(ordering, ends=np.unique(ordering.escalated_by(grid)))


def curve(reported: ScoreSet, pair: Pair, name: str) -> dict[str, np.ndarray]:
    """The whole sweep of one pair, for a plot: float64 [P] each.

    `threshold` is the λ of each step farthest on the side of surer scores, which the step includes
    (NaN where B always runs), `usage` B's share, and `accuracy` and `accuracy_postcheck` the
    cascade's.
    """
    a, b = pair
    score = named(name)
    ordering = Ordering.of(score, reported.score(name, a))
    n = len(reported.labels)
    ends = ordering.ends
    edges = np.append(ordering.values, np.nan)[ends]
    out = {"threshold": edges, "usage": ends / n}
    for column, postcheck in (("accuracy", False), ("accuracy_postcheck", True)):
        gain = gains(
            score,
            reported.correct[a],
            reported.correct[b],
            reported.score(name, a),
            reported.score(name, b),
            postcheck,
        )
        total = np.concatenate(([0], np.cumsum(gain[ordering.order], dtype=np.int64)))
        out[column] = (reported.correct[a].sum() + total[ends]) / n
    return out
