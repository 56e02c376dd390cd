"""Every cascade's sweep on the reported images, at the corners that a page can carry.

Cascades are numbered by first model, score, second model and post-check; all that share the first
two are read off at the same numbers of images sent to B. What is kept is exact; between two kept
corners a straight line is drawn, and `off` says how far that is from the truth at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.cascade import ALWAYS, NEVER, Limit, Ordering, pair_gains, prefix
from stages.report.certified import Certifying
from stages.scores import LABEL_FREE, ScoreSet

Names = tuple[str, ...]
# Corners of all cascades together, and of each.
_BUDGET, _LEAST, _MOST = 2_000_000, 50, 2000
KINDS = ("best", "1se", "certified", "frontier", "hull", "answer")
BEST, ONE_SE, CERTIFIED, FRONTIER, HULL, ANSWER = KINDS


class Mark(NamedTuple):
    """A λ of a cascade that has a name: its accuracy, of folds decided by the others where λ is
    cross-fitted, and that on the images which fitted it."""

    kind: str
    limit: Limit
    accuracy: float = np.nan
    fit_accuracy: float = np.nan


class Key(NamedTuple):
    """A cascade: models by their row, the score's name, with or without post-check."""

    a: int
    b: int
    score: str
    postcheck: bool


Marks = Mapping[Key, Sequence[Mark]]


@dataclass(frozen=True)
class CornerCounts:
    """Of one cascade at each corner of its group, int [G]: `right` answers, `won` of them on images
    that the reference gets wrong; the line between is `off` images from the truth at most. Of each
    of its `marks`, `marked` int [3, marks]: images sent to B, right, won."""

    right: np.ndarray
    won: np.ndarray
    off: float
    marks: tuple[Mark, ...]
    marked: np.ndarray


@dataclass(frozen=True)
class CurveGroup:
    """The cascades of one first model and score, over kept corners `k` intp [G]."""

    a: int
    ordering: Ordering
    k: np.ndarray
    cascades: list[CornerCounts]

    @property
    def limits(self) -> np.ndarray:
        """float64 [G]: λ of each corner, NaN where B never or always runs."""
        out = self.ordering.score.sign * self.ordering.cuts(self.k)
        return np.where(np.isfinite(out), out, np.nan)


def number(key: Key, models: int, names: Names = LABEL_FREE) -> int:
    """A cascade's place among all by these scores."""
    first = key.a * len(names) + names.index(key.score)
    return (first * (models - 1) + key.b - (key.b > key.a)) * 2 + key.postcheck


def corners(models: int, names: Names = LABEL_FREE) -> int:
    """How many corners of each cascade are kept at most."""
    cascades = models * (models - 1) * len(names) * 2
    return int(np.clip(_BUDGET // cascades, _LEAST, _MOST))


def groups(
    reported: ScoreSet,
    reference: int,
    marks: Marks,
    certifying: Certifying,
    limit: int,
    names: Names = LABEL_FREE,
) -> Iterator[CurveGroup]:
    """All cascades in the order of their numbers; `won` is against the model `reference`."""
    behind = ~reported.correct[reference]
    for a in range(len(reported.models)):
        for name in names:
            ordering = Ordering.by(reported, name, a)
            k = kept(ordering.ends, limit)
            sweep = _CurveSweeps(reported, a, name, ordering, k, behind, certifying)
            yield CurveGroup(
                a, ordering, k, [sweep.counts(key, marks.get(key, ())) for key in sweep.keys]
            )


def kept(ends: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` of the ends, evenly over the images, the first and the last among them.

    >>> kept(np.array([0, 1, 2, 6, 8]), 3)
    array([0, 6, 8])
    """
    if len(ends) <= limit:
        return ends
    even = np.linspace(0, ends[-1], limit)
    return np.unique(ends[np.searchsorted(ends, even)])


class _CurveSweeps:
    """What the cascades of one first model and score share."""

    def __init__(
        self,
        reported: ScoreSet,
        a: int,
        name: str,
        ordering: Ordering,
        k: np.ndarray,
        behind: np.ndarray,
        certifying: Certifying,
    ) -> None:
        self.reported, self.a, self.name, self.ordering, self.k = reported, a, name, ordering, k
        self.behind = behind[ordering.order]
        self.right = int(reported.correct[a].sum())
        self.won = int((reported.correct[a] & behind).sum())
        self.certifying = certifying
        scores = certifying.scores
        self.certified_by = None if scores is None else Ordering.by(scores, name, a)

    @property
    def keys(self) -> Iterator[Key]:
        for b in range(len(self.reported.models)):
            for postcheck in (False, True) if b != self.a else ():
                yield Key(self.a, b, self.name, postcheck)

    def gain(self, scores: ScoreSet, key: Key) -> np.ndarray:
        # A page shows no post-check where scores do not compare: its place has the same without.
        postcheck = key.postcheck and self.ordering.score.comparable
        return pair_gains(scores, key.score, key.a, key.b, postcheck)

    def counts(self, key: Key, marks: Sequence[Mark]) -> CornerCounts:
        gain = self.gain(self.reported, key)
        right = self.right + prefix(self.ordering, gain)
        won = np.full(len(right), self.won)
        won[1:] += np.cumsum(gain[self.ordering.order] * self.behind, dtype=np.int64)
        found = (*marks, *self.certified(key))
        at = np.array([self.ordering.escalated(mark.limit) for mark in found], np.intp)
        marked = np.stack((at, right[at], won[at]))
        return CornerCounts(right[self.k], won[self.k], self.off(right), found, marked)

    def certified(self, key: Key) -> Iterable[Mark]:
        scores = self.certifying.scores
        if scores is None or self.certified_by is None or self.certifying.allowed < 0:
            return ()
        pair = scores.correct[key.a], scores.correct[key.b]
        limit = self.certifying.limit(self.certified_by, *pair, self.gain(scores, key))
        return () if limit is None else (Mark(CERTIFIED, limit),)

    def off(self, right: np.ndarray) -> float:
        ends = self.ordering.ends
        if len(ends) == len(self.k):
            return 0.0
        return float(np.abs(right[ends] - np.interp(ends, self.k, right[self.k])).max())


def arrays(found: Iterable[CurveGroup], models: int) -> dict[str, np.ndarray]:
    """All groups as the page holds them.

    Of the corners `k`, `limit` (by group from `group_start` on), and of each cascade in turn the
    steps of `right` and `won` from corner to corner; `off` by cascade; the marks, those of a
    cascade from `mark_start` on, with `mode` 0 where λ is a number, 1 always, 2 never.
    """
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("k", "limit", "right", "won")}
    sizes, off, marks, counts = [], [], [], []
    for group in found:
        columns["k"].append(group.k)
        columns["limit"].append(group.limits)
        sizes.append(len(group.k))
        for one in group.cascades:
            columns["right"].append(np.diff(one.right, prepend=one.right[0]))
            columns["won"].append(np.diff(one.won, prepend=one.won[0]))
            off.append(one.off)
            marks.append(one.marks)
            counts.append(one.marked)
    out = {name: np.concatenate(values) for name, values in columns.items()}
    starts = {"group_start": sizes, "mark_start": [len(each) for each in marks]}
    out |= {name: np.append(0, np.cumsum(values)) for name, values in starts.items()}
    return out | {"off": np.array(off)} | _marks([m for each in marks for m in each], counts)


def _marks(marks: Sequence[Mark], counts: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    modes = {ALWAYS: 1, NEVER: 2}
    limits = [np.nan if m.limit.value is None else m.limit.value for m in marks]
    out = {
        "mark_kind": np.array([KINDS.index(mark.kind) for mark in marks], np.int64),
        "mark_limit": np.array(limits, np.float64),
        "mark_mode": np.array([modes.get(mark.limit.kind, 0) for mark in marks], np.int64),
    }
    for name in ("accuracy", "fit_accuracy"):
        out[f"mark_{name}"] = np.array([getattr(mark, name) for mark in marks], np.float64)
    k, right, won = np.concatenate([*counts, np.zeros((3, 0), np.int64)], axis=1)
    return out | {"mark_k": k, "mark_right": right, "mark_won": won}
