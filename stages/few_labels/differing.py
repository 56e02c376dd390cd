"""On how many images cascades answer otherwise than the reference: of all λ of a pair at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.cascade import ALWAYS, Cascade, Ordering, cut, decide, sums
from stages.scores import ScoreSet, named


def differing(
    scores: ScoreSet, cascades: Sequence[Cascade], asked: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(how many of the images `asked`, bool [n], are answered otherwise; how many of all go to B):
    int64 [C] each, of cascades of two models at most. The labels are the reference's answers."""
    counted = np.ones(len(scores.labels), bool) if asked is None else asked
    found, sent = np.zeros((2, len(cascades)), np.int64)
    orderings: dict[tuple[str, str], Ordering] = {}
    for (models, score, postcheck), rows in _groups(cascades).items():
        wrong = ~scores.correct[scores.index(models[0])] & counted
        if score is None:
            found[rows] = np.count_nonzero(wrong)
            continue
        first = (models[0], score)
        if first not in orderings:
            orderings[first] = Ordering.by(scores, score, scores.index(models[0]))
        ordering = orderings[first]
        always = decide(scores, Cascade.of(models, score, ALWAYS, postcheck=postcheck))
        change = (~always.correct & counted).astype(np.int8) - wrong
        limits = [cascades[c].stages[0].limit for c in rows]
        cuts = np.array([cut(named(score), limit) for limit in limits if limit is not None])
        sent[rows] = ordering.escalated_by(cuts)
        totals = np.count_nonzero(wrong) + sums(change[ordering.order], np.int64)
        found[rows] = totals[sent[rows]]
    return found, sent


def _groups(
    cascades: Sequence[Cascade],
) -> dict[tuple[tuple[str, ...], str | None, bool], list[int]]:
    """The rows of each models, score and post-check."""
    out: dict[tuple[tuple[str, ...], str | None, bool], list[int]] = {}
    for c, cascade in enumerate(cascades):
        alone = len(cascade.models) == 1
        key = (cascade.models, None if alone else cascade.stages[0].score, cascade.postcheck)
        out.setdefault(key, []).append(c)
    return out
