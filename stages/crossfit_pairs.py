"""λ of a pair fitted on four folds of the images and decided on the fifth, ten times over.

A sweep rises and falls only where A and B differ in being right, so each fitting looks at these
images alone: what it chooses is what `sweep.fit` chooses on the four folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from stages.fitting import FOLDS, cross_fits
from stages.intervals import Interval, Paired, repeated_change, repeated_share
from stages.sweep import Ordering


@dataclass(frozen=True)
class Decided:
    """Of each fitting, by repeat and fold, int64 [R · FOLDS]: the right answers and images sent to
    B where it was `fit_`ted, and on the images of its fold, the right answers, and those `won` and
    `lost` against the baseline that it would choose, out of `n` images in each repeat."""

    n: int
    fit_right: np.ndarray
    fit_sent: np.ndarray
    right: np.ndarray
    won: np.ndarray
    lost: np.ndarray

    @cached_property
    def accuracy(self) -> Interval:
        return repeated_share(_by_repeat(self.right), self.n)

    @cached_property
    def change(self) -> Interval:
        """Of accuracy, against the baseline."""
        pairs = zip(_by_repeat(self.won), _by_repeat(self.lost), strict=True)
        return repeated_change([Paired(won, lost, self.n) for won, lost in pairs])


def best_of(several: Sequence[Decided]) -> Decided:
    """Each fitting chooses among cascades too: the most accurate there, then the least use of B,
    the first of equals."""
    keys = [
        np.stack([getattr(each, name) for each in several]) for name in ("fit_right", "fit_sent")
    ]
    chosen = np.lexsort((keys[1], -keys[0]), axis=0)[0]
    columns = {
        column.name: np.stack([getattr(each, column.name) for each in several])[
            chosen, np.arange(len(chosen))
        ]
        for column in fields(Decided)
        if column.name != "n"
    }
    return Decided(several[0].n, **columns)


def _by_repeat(counts: np.ndarray) -> list[int]:
    return counts.reshape(-1, FOLDS).sum(axis=1).tolist()


@dataclass(frozen=True)
class _Fold:
    """`fits` bool [N], in the order of the images by how sure A is; `index` intp [n], where the n
    images that fit stand in it; `ends` int64 [N], how many of these are no surer than each."""

    fits: np.ndarray
    index: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class Folds:
    """The images by how sure A is, least first, and the folds that fit them: `keys` float64 [N] in
    that order, larger is surer; on a grid of λ, the number of its values that trust an image, of
    which `most` trust it all."""

    order: np.ndarray
    keys: np.ndarray
    folds: tuple[_Fold, ...]
    most: int | None = None

    @classmethod
    def of(cls, ordering: Ordering, grid: np.ndarray | None = None) -> Folds:
        """`grid`: the only values of λ, float64 [G]."""
        keys = ordering.score.sign * ordering.values
        if grid is not None:
            limits = np.sort(ordering.score.sign * grid)
            keys = np.searchsorted(limits, keys, side="right").astype(np.float64)
        found = tuple(_folds(ordering.order, keys))
        return cls(ordering.order, keys, found, None if grid is None else len(grid))

    def decide(
        self,
        gain: np.ndarray,
        right: np.ndarray,
        baselines: np.ndarray,
        objectives: Sequence[str],
    ) -> dict[str, Decided]:
        """By objective. int8 [N] `gain` as `sweep.gains` gives it; bool [N] `right` where A is;
        `baselines` bool [B, N], the models one of which would be deployed alone, the most accurate
        on the images that fit."""
        trusted = right.astype(np.int8) - baselines.astype(np.int8)
        at = np.flatnonzero(((gain != 0) | (trusted != 0).any(axis=0))[self.order])
        images = self.order[at]
        events = _Events(at, gain[images].astype(np.int64), trusted[:, images].astype(np.int64))
        by_order = right[self.order], baselines[:, self.order]
        rows: dict[str, list[tuple[int, ...]]] = {objective: [] for objective in objectives}
        for fold in self.folds:
            for objective, row in self._fitted(fold, events, *by_order, objectives):
                rows[objective].append(row)
        return {
            objective: Decided(len(right), *np.array(found, np.int64).T)
            for objective, found in rows.items()
        }

    def _fitted(
        self,
        fold: _Fold,
        events: _Events,
        right: np.ndarray,
        baselines: np.ndarray,
        objectives: Sequence[str],
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        """(objective, the columns of `Decided` but n) of one fold."""
        fits = fold.fits[events.at]
        base = int(baselines[:, fold.fits].sum(axis=1).argmax())
        ends, total, touched = _sweep(fold.ends[events.at[fits]], events.gain[fits])
        if self.most is not None:  # what every λ of the grid trusts is never sent
            reachable = ends <= np.count_nonzero(self.keys[fold.index] < self.most)
            ends, total, touched = ends[reachable], total[reachable], touched[reachable]
        best = int(total.argmax())
        held, alone = right[~fold.fits].sum(), right[fold.fits].sum()
        for objective in objectives:
            end = best
            if objective == "1se":
                short = total[best] - total[: best + 1]
                end = int((short**2 <= touched[best] - touched[: best + 1]).argmax())
            sent = int(np.searchsorted(self.keys, self._cut(fold, int(ends[end])), side="left"))
            mine = ~fits
            gained = np.where(events.at[mine] < sent, events.gain[mine], 0)
            change = events.trusted[base, mine] + gained
            yield (
                objective,
                (
                    int(alone + total[end]),
                    int(ends[end]),
                    int(held + gained.sum()),
                    int((change > 0).sum()),
                    int((change < 0).sum()),
                ),
            )

    def _cut(self, fold: _Fold, k: int) -> float:
        """λ that sends the k least sure of the images that fit, as `Ordering.interval` has it, or
        the grid's first value from never towards always."""
        less = self.keys[fold.index[k - 1]] if k else -np.inf
        surer = self.keys[fold.index[k]] if k < len(fold.index) else np.inf
        if self.most is not None:
            return float(less) + 0.5
        if not (k and k < len(fold.index)):
            return -np.inf if not k else np.inf
        middle = (less + surer) / 2
        return float(surer if middle == less else middle)


@dataclass(frozen=True)
class _Events:
    """The E images at which anything changes, in order: `at` intp [E]; int64 `gain` [E], and
    `trusted` [B, E], A's correctness minus that of each baseline."""

    at: np.ndarray
    gain: np.ndarray
    trusted: np.ndarray


def _folds(order: np.ndarray, keys: np.ndarray) -> Iterator[_Fold]:
    n = len(order)
    last = np.append(np.flatnonzero(keys[1:] != keys[:-1]), n - 1)
    group = np.repeat(last, np.diff(last, prepend=-1))
    for _, fitting, _ in cross_fits(n):
        fits = np.zeros(n, bool)
        fits[fitting] = True
        fits = fits[order]
        yield _Fold(fits, np.flatnonzero(fits), np.cumsum(fits)[group])


def _sweep(ends: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(k, right answers gained, images changed) at no image, and where each group of equals ends
    that changes any: int64 [P]."""
    last = np.flatnonzero(np.diff(ends, append=-1))
    columns = (ends[last], gain.cumsum()[last], np.abs(gain).cumsum()[last])
    return tuple(np.concatenate(([0], column)) for column in columns)  # type: ignore[return-value]
