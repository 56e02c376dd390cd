"""A whole search done again on four folds of the images, deciding the fifth, ten times over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stages.cascade import Outcome, decide
from stages.scores import Loss, ScoreSet, right_and_credit
from stages.search.fitted_frontier import Found
from stages.search.question import Question
from stages.search.ranking import affordable, nearest, single
from stages.simulate import Honest
from stages.statistics import (
    LOSS_SUMS,
    Paired,
    loss_sums,
    paired,
    repeated_change,
    repeated_losses,
    repeated_share,
)
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
    on the images that fit, with the single model that one would deploy instead; `fixed`, as
    `ScoreSet.baseline` gives it, is another baseline."""
    n, total = len(scores.labels), REPEATS * FOLDS
    counts = np.zeros((REPEATS, 1 + len(budgets), _FIGURES), np.int64)
    for done, (repeat, fitting, held) in enumerate(cross_fits(n)):
        progress(done, total)
        found = find(scores.of_images(fitting))
        choices = found.choices(question)
        within = np.maximum(affordable(found.cost, budgets), 0)
        rows = np.concatenate(([nearest(question, choices)], within))
        alone = scores.baseline(single(question, choices)[0]) if fixed is None else fixed
        images, alone = scores.of_images(held), alone[..., held]
        points, which = np.unique(rows, return_inverse=True)
        decided = (decide(images, found.points[row]) for row in points)
        figures = np.array([_figures(each, alone, scores.loss) for each in decided])
        counts[repeat] += figures[which]
    answer, *frontier = (_honest(each, n, scores.loss) for each in counts.transpose(1, 0, 2))
    return CrossFitted(answer, tuple(frontier))


# Right, won and lost, and `loss_sums`.
_FIGURES = 3 + LOSS_SUMS


def _figures(found: Outcome, alone: np.ndarray, loss: Loss | None) -> tuple[int, ...]:
    """Against a model alone, as `ScoreSet.baseline` gives it."""
    right, credit = right_and_credit(alone)
    against = paired(found.correct, right)
    counts = int(np.count_nonzero(found.correct)), int(against.won), int(against.lost)
    losses = np.zeros(LOSS_SUMS, int) if loss is None else loss_sums(found.credit, credit)
    return *counts, *losses.tolist()


def _honest(counts: np.ndarray, n: int, loss: Loss | None) -> Honest:
    """From int64 [REPEATS, _FIGURES]."""
    right, won, lost = counts[:, :3].T.tolist()
    pairs = [Paired(*both, n) for both in zip(won, lost, strict=True)]
    losses = () if loss is None else repeated_losses(counts[:, 3:], n, loss.most, loss.scale)
    return Honest(repeated_share(right, n), repeated_change(pairs), *losses)
