"""A whole search done again on four folds of the images, deciding the fifth, ten times over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stages.cascade import decide
from stages.scores import ScoreSet
from stages.search.fitted_frontier import Found
from stages.search.question import Question
from stages.search.ranking import affordable, nearest, single
from stages.simulate import Honest
from stages.statistics import Paired, paired, repeated_change, repeated_share
from stages.threshold import FOLDS, REPEATS, cross_fits

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CrossFitted:
    """What images without a part in the choice say of the answer, and of each point of the frontier
    [F]: of the most accurate within its cost."""

    answer: Honest
    frontier: tuple[Honest, ...]


def cross_fitted(
    scores: ScoreSet,
    find: Callable[[ScoreSet], Found],
    question: Question,
    budgets: np.ndarray,
    fixed: np.ndarray | None = None,
    progress: Progress = lambda done, total: None,
) -> CrossFitted:
    """The question, and the most accurate within each of `budgets` float64 [F], asked of a search
    on the images that fit, with the single model that one would deploy instead; `fixed` bool [N] is
    right where another baseline is."""
    n, total = len(scores.labels), REPEATS * FOLDS
    counts = np.zeros((3, REPEATS, 1 + len(budgets)), np.int64)
    for done, (repeat, fitting, held) in enumerate(cross_fits(n)):
        progress(done, total)
        found = find(scores.of_images(fitting))
        choices = found.choices(question)
        within = np.maximum(affordable(found.cost, budgets), 0)
        rows = np.concatenate(([nearest(question, choices)], within))
        alone = scores.correct[single(question, choices)[0]] if fixed is None else fixed
        images, alone = scores.of_images(held), alone[held]
        points, which = np.unique(rows, return_inverse=True)
        rights = (decide(images, found.points[row]).correct for row in points)
        figures = np.array([_figures(right, alone) for right in rights])
        counts[:, repeat] += figures[which].T
    answer, *frontier = _honest(counts, n)
    return CrossFitted(answer, tuple(frontier))


def _figures(right: np.ndarray, alone: np.ndarray) -> tuple[int, int, int]:
    """Right, won and lost, from bool [N] each."""
    against = paired(right, alone)
    return int(np.count_nonzero(right)), int(against.won), int(against.lost)


def _honest(counts: np.ndarray, n: int) -> Iterator[Honest]:
    """From int64 [3, REPEATS, F]: right, won and lost."""
    for right, won, lost in counts.transpose(2, 0, 1).tolist():
        pairs = [Paired(*both, n) for both in zip(won, lost, strict=True)]
        yield Honest(repeated_share(right, n), repeated_change(pairs))
