"""Which cascades a report is about: the operating points of all pairs, with costs, and the choice.

The choice never looks at what is reported: cascades are ranked by their accuracy on the fitting
images, or, cross-fitted, by that of folds decided with the λ of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cache import InputError, Store
from cache.errors import one_of
from stages.fitting import FitPlan
from stages.lacking import another
from stages.report.costs import Costs
from stages.rule import LABEL_FREE
from stages.score import ScoreSet
from stages.scores import named, own
from stages.threshold import Question, all_pairs, operating_points

Row = dict[str, Any]
Wanted = tuple[str | None, str | None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Points:
    """`rows` are `operating_points` of all pairs, each with `expected_accuracy`,
    `expected_usage` (cross-fitted ones where λ is cross-fitted), `rank_accuracy` and
    `macs_per_request` (None where unknown); `chosen` is the best of those asked for, where nothing
    was, the best of the cascade that the search answers with."""

    rows: list[Row]
    chosen: Row

    @property
    def best_of_pairs(self) -> list[Row]:
        """One row per pair, the best first."""
        best: dict[tuple[str, str], Row] = {}
        for row in sorted((row for row in self.rows if row["objective"] == "best"), key=_rank):
            best.setdefault((row["model_1"], row["model_2"]), row)
        return list(best.values())

    def other(self, row: Row, objective: str) -> Row:
        """The same cascade's other operating point."""
        key = (*_cascade(row), objective)
        return self._by_name[key]

    def alike(self, row: Row) -> list[Row]:
        """The points of the same pair and score: with and without post-check, best and 1se."""
        return [other for other in self.rows if _cascade(other)[:3] == _cascade(row)[:3]]

    @cached_property
    def _by_name(self) -> dict[tuple[Any, ...], Row]:
        return {(*_cascade(row), row["objective"]): row for row in self.rows}


@dataclass(frozen=True)
class Subject:
    """What a report is about; `pair` and `score` are what was asked for, None where not, `costs`
    what everything is priced with, and `answered`, whether it is about the search's answer."""

    store: Store
    reported: ScoreSet
    plan: FitPlan
    points: Points
    pair: Wanted
    score: str | None
    costs: Costs
    answered: bool

    @property
    def where(self) -> str:
        return f"{self.reported.dataset}/{self.reported.split}"

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that the report is about."""
        return names_with(self.score)

    @property
    def ranked_by(self) -> str:
        """In words, what the choice goes by."""
        return {
            "cross-fit": "cross-fitted accuracy",
            "same-split": f"accuracy on {self.plan.split} itself",
            "other-split": f"accuracy on {self.plan.split}, where λ is fitted",
        }[self.plan.method]


def gather(
    reported: ScoreSet,
    plan: FitPlan,
    pair: Wanted,
    score: str | None,
    answer: Row,
    progress: Progress,
) -> Points:
    """Every pair's operating points, and the best with these models and this score; None is any.

    Where all are None, the best of `answer`, unless that is a single model.
    """
    pairs, question = all_pairs(reported.models), Question(names_with(score))
    total = len(pairs) * len(question.scores) * len(question.postchecks) * len(question.objectives)
    macs = reported.macs
    rows = []
    for row in operating_points(reported, plan, pairs, question):
        row |= _expected(row, plan)
        rows.append(row | {"macs_per_request": _cost(row, macs)})
        progress(len(rows), total)
    wanted = {"model_1": pair[0], "model_2": pair[1], "score": score, "objective": "best"}
    if answers(pair, score, answer):
        wanted |= {key: answer[key] for key in ("model_1", "model_2", "score", "postcheck")}
    fitting = [r for r in rows if all(v in (None, r[k]) for k, v in wanted.items())]
    return Points(rows, min(fitting, key=_rank))


def answers(pair: Wanted, score: str | None, answer: Row) -> bool:
    """Whether the search's answer is what the report is about: a pair, and nothing was asked."""
    return answer["model_2"] is not None and not any((*pair, score))


def names_with(score: str | None) -> tuple[str, ...]:
    """The rule's own scores, and this one where it is a package's."""
    return LABEL_FREE if score is None else (*LABEL_FREE, *own((score,)))


def frontier(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, accuracy) that no cheaper or equally cheap point reaches, cheapest first.

    >>> frontier([(2, 0.9), (1, 0.8), (3, 0.85)])
    [(1, 0.8), (2, 0.9)]
    """
    out: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not out or accuracy > out[-1][1]:
            out.append((cost, accuracy))
    return out


def check(store: Store, reported: ScoreSet, pair: Wanted, score: str | None) -> None:
    """InputError for models that are not there, or a score without λ."""
    where = f"{reported.dataset}/{reported.split}"
    if len(reported.models) < 2:
        raise another(store, (reported.dataset, reported.split), reported.models[0])
    for model in pair:
        if model is not None and model not in reported.models:
            raise one_of(f"model on {where}", model, reported.models)
    if pair[0] is not None and pair[0] == pair[1]:
        raise InputError(f"a cascade needs two different models, both are {pair[0]}")
    if score is not None and named(score).needs_label:
        raise InputError(f"the oracle has no λ to draw: choose {', '.join(LABEL_FREE)}")


def _expected(row: Row, plan: FitPlan) -> Row:
    prefix = "crossfit_" if plan.method == "cross-fit" else ""
    return {
        "expected_accuracy": row[f"{prefix}accuracy"],
        "expected_usage": row[f"{prefix}usage"],
        "rank_accuracy": row["crossfit_accuracy" if prefix else "fit_accuracy"],
        "rank_usage": row["crossfit_usage" if prefix else "fit_usage"],
    }


def _cost(row: Row, macs: dict[str, int | None]) -> float | None:
    first, second = macs[row["model_1"]], macs[row["model_2"]]
    if first is None or second is None:
        return None
    return first + row["expected_usage"] * second


def _rank(row: Row) -> tuple[float, float]:
    """The most accurate, then the least use of B."""
    return -row["rank_accuracy"], row["rank_usage"]


def _cascade(row: Row) -> tuple[str, str, str, bool]:
    return row["model_1"], row["model_2"], row["score"], row["postcheck"]
