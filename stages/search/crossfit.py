"""A whole search done again on four folds of the images, deciding the fifth, ten times over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stages.cascade import Cascade, decide
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

    def choose(fitting: ScoreSet) -> Chosen:
        found = find(fitting)
        choices = found.choices(question)
        within = np.maximum(affordable(found.cost, budgets), 0)
        rows = [nearest(question, choices), *within.tolist()]
        return [found.points[row] for row in rows], single(question, choices)[0]

    answer, *frontier = decided_by_folds(scores, choose, fixed, progress)
    return CrossFitted(answer, tuple(frontier))


# F cascades, and the row of the single model that one would deploy instead.
Chosen = tuple[Sequence[Cascade], int]


def decided_by_folds(
    scores: ScoreSet,
    choose: Callable[[ScoreSet], Chosen],
    fixed: np.ndarray | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Honest]:
    """Of each of F cascades that are chosen again on every four folds, what the fifth says."""
    counts: list[list[list[tuple[int, int, int]]]] = [[] for _ in range(REPEATS)]
    for done, (repeat, fitting, held) in enumerate(cross_fits(len(scores.labels))):
        progress(done, REPEATS * FOLDS)
        points, other = choose(scores.of_images(fitting))
        images = scores.of_images(held)
        alone = (scores.correct[other] if fixed is None else fixed)[held]
        told: dict[int, tuple[int, int, int]] = {}
        for point in points:
            if id(point) not in told:
                told[id(point)] = _figures(decide(images, point).correct, alone)
        counts[repeat].append([told[id(point)] for point in points])
    return list(_honest(np.array(counts).sum(axis=1).transpose(2, 0, 1), len(scores.labels)))


def _figures(right: np.ndarray, alone: np.ndarray) -> tuple[int, int, int]:
    """Right, won and lost, from bool [N] each."""
    against = paired(right, alone)
    return int(np.count_nonzero(right)), int(against.won), int(against.lost)


def _honest(counts: np.ndarray, n: int) -> Iterator[Honest]:
    """From int64 [3, REPEATS, F]: right, won and lost."""
    for right, won, lost in counts.transpose(2, 0, 1).tolist():
        pairs = [Paired(*both, n) for both in zip(won, lost, strict=True)]
        yield Honest(repeated_share(right, n), repeated_change(pairs))
