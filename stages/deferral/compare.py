"""Every rule and final answer on one pair, each with its own exactly fitted λ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stages.deferral.outputs import Pair
from stages.deferral.rules import FINALS, RULES, Rule
from stages.fitting import FOLDS, folds
from stages.rule import Threshold
from stages.sweep import OBJECTIVES, Fit, Ordering, fit

Row = dict[str, Any]


def compare(
    fitting: Pair,
    reporting: Pair,
    rules: Sequence[str] = tuple(RULES),
    finals: Sequence[str] = tuple(FINALS),
    objectives: Sequence[str] = OBJECTIVES,
) -> Iterator[Row]:
    """One row per rule, final answer and objective.

    `accuracy` and `usage` are those of λ on the reported images, `fit_accuracy` and `fit_usage` on
    the fitting images. Give the same Pair twice to cross-fit: `crossfit_accuracy` and
    `crossfit_usage`, else null, are then the honest figures, each fold decided with the rule and
    the λ of the others.
    """
    splits = list(_cut(fitting)) if reporting is fitting else []
    for name in rules:
        points = list(_points(RULES[name], fitting, reporting, finals, objectives))
        honest = _crossfit(RULES[name], fitting, splits, finals, objectives)
        for point in points:
            yield (
                {"rule": name}
                | _row(point, fitting, reporting)
                | honest.get(point.key, {"crossfit_accuracy": None, "crossfit_usage": None})
            )


@dataclass(frozen=True)
class _Point:
    """One operating point, and what it does to the reported images: k to B, `gained` right."""

    key: tuple[str, str]
    interval: tuple[Threshold, float | None, float | None]
    fitted: Fit
    points: int
    k: int
    gained: int
    about: dict[str, float]


def _points(
    rule: Rule, fitting: Pair, reporting: Pair, finals: Sequence[str], objectives: Sequence[str]
) -> Iterator[_Point]:
    groups = [[name] for name in finals] if rule.per_final else [list(finals)]
    for group in groups:
        judged = rule.judge(fitting, reporting, FINALS[group[0]])
        ordering = Ordering.of(rule.score, judged.fitting.score)
        reported = Ordering.of(rule.score, judged.reporting.score)
        for name in group:
            fit_gain, gain = (
                FINALS[name].gain(view, rule.score) for view in (judged.fitting, judged.reporting)
            )
            for objective, point in fit(ordering, fit_gain, tuple(objectives)).items():
                interval = ordering.interval(point.k)
                k = reported.escalated(interval[0])
                gained = int(gain[reported.order[:k]].sum())
                about, points = dict(judged.about), len(ordering.ends)
                yield _Point((name, objective), interval, point, points, k, gained, about)


def _cut(pair: Pair) -> Iterator[tuple[Pair, Pair]]:
    """(the other folds, a fold), for each."""
    fold = folds(len(pair.a.labels))
    for f in range(FOLDS):
        yield pair.subset(fold != f), pair.subset(fold == f)


def _crossfit(
    rule: Rule,
    pair: Pair,
    splits: Sequence[tuple[Pair, Pair]],
    finals: Sequence[str],
    objectives: Sequence[str],
) -> dict[tuple[str, str], Row]:
    totals: dict[tuple[str, str], list[int]] = {}
    for others, held_out in splits:
        for point in _points(rule, others, held_out, finals, objectives):
            total = totals.setdefault(point.key, [0, 0])
            total[0] += point.k
            total[1] += point.gained
    return {key: _shares("crossfit_", pair, k, gained) for key, (k, gained) in totals.items()}


def _shares(prefix: str, pair: Pair, k: int, gained: int) -> Row:
    n = len(pair.a.labels)
    return {
        f"{prefix}accuracy": (int(pair.a.correct.sum()) + gained) / n,
        f"{prefix}usage": k / n,
    }


def _row(point: _Point, fitting: Pair, reporting: Pair) -> Row:
    final, objective = point.key
    threshold, low, high = point.interval
    return {
        "final": final,
        "objective": objective,
        "threshold": threshold,
        "threshold_low": low,
        "threshold_high": high,
        **_shares("", reporting, point.k, point.gained),
        **_shares("fit_", fitting, point.fitted.k, point.fitted.gain),
        "accuracy_1": float(reporting.a.correct.mean()),
        "accuracy_2": float(reporting.b.correct.mean()),
        "points": point.points,
        "n": len(reporting.a.labels),
        "fit_n": len(fitting.a.labels),
        "temperature_1": point.about.get("temperature_1"),
        "temperature_2": point.about.get("temperature_2"),
    }
