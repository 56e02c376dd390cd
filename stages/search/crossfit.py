"""A whole search done again on four folds of the images, deciding the fifth, ten times over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.cascade import Cascade, Outcome, decide
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
    counts: list[list[list[tuple[int, ...]]]] = [[] for _ in range(REPEATS)]
    for done, (repeat, fitting, held) in enumerate(cross_fits(len(scores.labels))):
        progress(done, REPEATS * FOLDS)
        points, other = choose(scores.of_images(fitting))
        images = scores.of_images(held)
        alone = (scores.baseline(other) if fixed is None else fixed)[..., held]
        told: dict[int, tuple[int, ...]] = {}
        for point in points:
            if id(point) not in told:
                told[id(point)] = _figures(decide(images, point), alone, scores.loss)
        counts[repeat].append([told[id(point)] for point in points])
    whole = np.array(counts).sum(axis=1)
    return [_honest(each, len(scores.labels), scores.loss) for each in whole.transpose(1, 0, 2)]


def _figures(found: Outcome, alone: np.ndarray, loss: Loss | None) -> tuple[int, ...]:
    """Right, won and lost, and `loss_sums`, against a model alone as `ScoreSet.baseline` has it."""
    right, credit = right_and_credit(alone)
    against = paired(found.correct, right)
    counts = int(np.count_nonzero(found.correct)), int(against.won), int(against.lost)
    losses = np.zeros(LOSS_SUMS, int) if loss is None else loss_sums(found.credit, credit)
    return *counts, *losses.tolist()


def _honest(counts: np.ndarray, n: int, loss: Loss | None) -> Honest:
    """From int64 [REPEATS, 3 + LOSS_SUMS], what `_figures` gives."""
    right, won, lost = counts[:, :3].T.tolist()
    pairs = [Paired(*both, n) for both in zip(won, lost, strict=True)]
    losses = () if loss is None else repeated_losses(counts[:, 3:], n, loss.most, loss.scale)
    return Honest(repeated_share(right, n), repeated_change(pairs), *losses)
