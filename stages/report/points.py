"""Which cascades a report is about: the operating points of all pairs, and the choice.

The choice never looks at what is reported: of several cascades the most accurate where λ was fitted
is taken. Where folds fitted it, each of them makes that choice too, so that the accuracy told is
that of images without a part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cache import InputError, Store, one_of
from stages.costs import Pricer
from stages.missing import another_model
from stages.report.costs import PageCosts
from stages.scores import LABEL_FREE, ScoreSet, named, own
from stages.search import AnswerRow
from stages.threshold import (
    FitPlan,
    FoldCounts,
    OperatingPoint,
    ThresholdQuestion,
    all_pairs,
    best_of,
    cross_fitted_points,
)

PairPoints = tuple[OperatingPoint, OperatingPoint]  # best, 1se
Chosen = OperatingPoint | AnswerRow
WantedPair = tuple[str | None, str | None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FittedPair:
    """A cascade at its two fitted λ, and what the folds decided of both, None unless
    cross-fitted."""

    best: OperatingPoint
    one_se: OperatingPoint
    decided: tuple[FoldCounts, FoldCounts] | None


@dataclass(frozen=True)
class PagePoints:
    """`rows` are `operating_points` of all pairs; `pairs` the two rows of each pair's best cascade,
    the best pair first; `chosen` is what the page opens with: the search's answer, or the best of
    what was asked for."""

    rows: list[OperatingPoint]
    pairs: list[PairPoints]
    chosen: Chosen

    def alike(self, row: Chosen) -> list[OperatingPoint]:
        """The points of the same pair and score: with and without post-check, best and 1se."""
        return [other for other in self.rows if _alike(other) == _alike(row)]


@dataclass(frozen=True)
class PageSubject:
    """What a report is about; `pair` and `score` are what was asked for, None where not, `costs`
    what everything is priced with, and `answered`, whether it is about the search's answer."""

    store: Store
    reported: ScoreSet
    plan: FitPlan
    points: PagePoints
    pair: WantedPair
    score: str | None
    costs: PageCosts
    answered: bool

    @property
    def where(self) -> str:
        return f"{self.reported.dataset}/{self.reported.split}"

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that the report is about."""
        return names_with(self.reported, self.score)

    @property
    def cross_fitted(self) -> bool:
        return self.plan.method == "cross-fit"

    @property
    def fitted_here(self) -> bool:
        """Whether λ was fitted on the images that are shown."""
        return self.plan.method in ("cross-fit", "same-split")

    @property
    def fitted_on(self) -> str:
        """The images that fit λ, in words."""
        n = len(self.plan.scores.labels)
        return f"{n:,} images of {self.plan.split}" if self.held_out else self.plan.split

    @property
    def shown_on(self) -> str:
        """The images that are reported, in words."""
        n = len(self.reported.labels)
        return f"{n:,} others of {self.reported.split}" if self.held_out else self.reported.split

    @property
    def held_out(self) -> bool:
        """Whether one split is cut into images that fit and those that are shown."""
        return self.plan.method in ("hold-out", "halves")


def gather(
    reported: ScoreSet,
    plan: FitPlan,
    pair: WantedPair,
    score: str | None,
    answer: AnswerRow,
    progress: Progress,
    pricer: Pricer,
) -> PagePoints:
    """Every pair's operating points, each pair's best cascade with its cost, and what the page
    opens with: the `answer` where it is asked about, else the best with these models and this
    score; None is any."""
    pairs, question = all_pairs(reported.models), ThresholdQuestion(names_with(reported, score))
    total = len(pairs) * len(question.scores) * len(question.postchecks) * len(question.objectives)
    rows, fitted = [], []
    found = cross_fitted_points(reported, plan, pairs, question, pricer.compared_with)
    for (best, decided), (one_se, also) in zip(found, found, strict=True):
        folds = None if decided is None or also is None else (decided, also)
        fitted.append(FittedPair(best, one_se, folds))
        rows += [best, one_se]
        progress(len(rows), total)
    best_of_pairs = [
        (best.priced(pricer, reported), one_se.priced(pricer, reported))
        for best, one_se in _best_of_pairs(fitted)
    ]
    if answers(pair, score, answer):
        return PagePoints(rows, best_of_pairs, answer)
    some = [
        each
        for each in fitted
        if all(
            want in (None, have)
            for want, have in zip((*pair, score), _alike(each.best), strict=True)
        )
    ]
    return PagePoints(rows, best_of_pairs, best_among(some)[0].priced(pricer, reported))


def _best_of_pairs(fitted: Sequence[FittedPair]) -> list[PairPoints]:
    by_pair: dict[tuple[str, ...], list[FittedPair]] = {}
    for each in fitted:
        by_pair.setdefault(_alike(each.best)[:2], []).append(each)
    ranked = sorted(by_pair.values(), key=lambda several: min(each.best.rank for each in several))
    return [best_among(several) for several in ranked]


def best_among(several: Sequence[FittedPair]) -> PairPoints:
    """The rows of the best by the fit; where folds fitted it, with the accuracy of folds each of
    which is decided by the best of the others."""
    first = min(several, key=lambda each: each.best.rank)
    folds = [each.decided for each in several if each.decided is not None]
    if not folds:
        return first.best, first.one_se
    best = best_of([best for best, _ in folds])
    # The 1se λ of the cascade whose best λ is the best.
    chosen_alike = [
        replace(one_se, fit_right=best.fit_right, fit_sent=best.fit_sent) for best, one_se in folds
    ]
    return first.best.told(best), first.one_se.told(best_of(chosen_alike))


def answers(pair: WantedPair, score: str | None, answer: AnswerRow) -> bool:
    """Whether the search's answer is what the report is about: a pair, and nothing was asked."""
    return answer.model_2 is not None and not any((*pair, score))


def names_with(scores: ScoreSet, score: str | None) -> tuple[str, ...]:
    """The scores that all models have, and this one where it is a package's."""
    return tuple(dict.fromkeys((*scores.own, *own((score,) if score else ()))))


def check(store: Store, reported: ScoreSet, pair: WantedPair, score: str | None) -> None:
    """InputError for models that are not there, or a score without λ."""
    where = f"{reported.dataset}/{reported.split}"
    if len(reported.models) < 2:
        raise another_model(store, (reported.dataset, reported.split), reported.models[0])
    for model in pair:
        if model is not None and model not in reported.models:
            raise one_of(f"model on {where}", model, reported.models)
    if pair[0] is not None and pair[0] == pair[1]:
        raise InputError(f"a cascade needs two different models, both are {pair[0]}")
    if score is not None and named(score).needs_label:
        raise InputError(f"the oracle has no λ to draw: choose {', '.join(LABEL_FREE)}")


def _alike(row: Chosen) -> tuple[str, str, str]:
    return row.model_1, str(row.model_2), str(row.score)
