"""λ of a pair fitted on four folds of the images and decided on the fifth, ten times over.

A sweep rises and falls only where A and B differ in being right, so each fitting looks at these
images alone: what it chooses is what `sweep.fit` chooses on the four folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from stages.cascade import Ordering, sums
from stages.statistics import Interval, Paired, repeated_change, repeated_share, within_one_se
from stages.threshold.fit_images import FOLDS, REPEATS, cross_fits

_ROOT = 46340  # of the largest int32


@dataclass(frozen=True)
class FoldCounts:
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


def best_of(several: Sequence[FoldCounts]) -> FoldCounts:
    """Each fitting chooses among cascades too: the most accurate there, then the least use of B,
    the first of equals."""
    names = [column.name for column in fields(FoldCounts) if column.name != "n"]
    columns = {name: np.stack([getattr(each, name) for each in several]) for name in names}
    best = np.lexsort((columns["fit_sent"], -columns["fit_right"]), axis=0)[0]
    fittings = np.arange(len(best))
    chosen = {name: column[best, fittings] for name, column in columns.items()}
    return FoldCounts(several[0].n, **chosen)


def _by_repeat(counts: np.ndarray) -> list[int]:
    return counts.reshape(-1, FOLDS).sum(axis=1).tolist()


@dataclass(frozen=True)
class Folds:
    """The N images by how sure A is, least first, and which of them each of F fittings sees.

    `keys` float64 [N + 1] in that `order`, larger is surer, then infinity; on a grid of λ, how many
    of its values trust an image, at `most` all. `fits` bool [F, N]; int32 [F, N + 1] `count`, how
    many of the first k fit, and `after`, where the next one from k on stands.
    """

    order: np.ndarray
    keys: np.ndarray
    fits: np.ndarray
    count: np.ndarray
    after: np.ndarray
    most: int | None = None

    @classmethod
    def of(cls, ordering: Ordering, grid: np.ndarray | None = None) -> Folds:
        """`grid`: the only values of λ, float64 [G]."""
        keys = ordering.score.sign * ordering.values
        if grid is not None:
            limits = np.sort(ordering.score.sign * grid)
            keys = np.searchsorted(limits, keys, side="right").astype(np.float64)
        n = len(keys)
        fits = np.zeros((REPEATS * FOLDS, n), bool)
        for row, (_, fitting, _) in zip(fits, cross_fits(n), strict=True):
            row[fitting] = True
        fits = fits[:, ordering.order]
        where = np.full((len(fits), n + 1), n, np.int32)
        np.copyto(where[:, :n], np.arange(n, dtype=np.int32), where=fits)
        after = np.minimum.accumulate(where[:, ::-1], axis=1)[:, ::-1]
        most = None if grid is None else len(grid)
        return cls(ordering.order, np.append(keys, np.inf), fits, sums(fits), after, most)

    def decide(
        self,
        gain: np.ndarray,
        right: np.ndarray,
        baselines: np.ndarray,
        objectives: Sequence[str],
    ) -> dict[str, FoldCounts]:
        """By objective. int8 [N] `gain` as `sweep.gains` gives it; bool [N] `right` where A is;
        `baselines` bool [B, N], the models one of which would be deployed alone, the most accurate
        on the images that fit, the first of equals."""
        trusted = right.view(np.int8) - baselines.view(np.int8)
        events = self._events(gain, trusted)
        # A's right answers less a model's, so the least is the most accurate.
        base = (events.trusted.astype(np.float32) @ events.fits.T).argmin(axis=0)
        alone = np.count_nonzero(self.fits & right[self.order], axis=1)
        held = np.count_nonzero(right) - alone
        out = {}
        for objective in objectives:
            gained, end = events.fitted(objective)
            sent = self._sent(end)
            before = np.searchsorted(events.at, sent)
            more = events.all[before] - events.total[self._each, before]
            changes = events.held_changes(base, before)
            won, lost = (np.count_nonzero(some, axis=1) for some in (changes > 0, changes < 0))
            used = self.count[self._each, end]
            out[objective] = FoldCounts(len(right), alone + gained, used, held + more, won, lost)
        return out

    @property
    def _each(self) -> np.ndarray:
        return np.arange(len(self.fits))

    def _events(self, gain: np.ndarray, trusted: np.ndarray) -> _Events:
        at = np.flatnonzero(((gain != 0) | (trusted != 0).any(axis=0))[self.order])
        images, keys = self.order[at], self.keys[at]
        last = np.flatnonzero(keys != np.append(keys[1:], np.inf))
        if self.most is not None:  # what every λ of the grid trusts is never sent
            last = last[keys[last] < self.most]
        ends = np.searchsorted(self.keys, keys[last], side="right")
        counts = np.concatenate(([0], last + 1)), np.concatenate(([0], ends))
        return _Events(at, gain[images], trusted[:, images], self.fits[:, at], *counts)

    def _sent(self, end: np.ndarray) -> np.ndarray:
        """How many of all images are sent by the λ, as `Ordering.interval` has it, that sends those
        of the first `end` int64 [F] that fit; on a grid, by its first value from never towards
        always that does."""
        less, surer = self.keys[end - 1], self.keys[self.after[self._each, end]]
        middle = (less + surer) / 2 if self.most is None else less + 0.5
        cuts = np.where(middle == less, surer, middle)
        return np.searchsorted(self.keys[:-1], np.where(end > 0, cuts, -np.inf), side="left")


@dataclass(frozen=True)
class _Events:
    """The E images at which anything changes, `at` intp [E] in order: int8 [E] `gain`, and
    `trusted` [B, E], A's correctness minus that of each baseline; bool [F, E] `fits`. At each of P
    numbers of images that some λ sends, int64 [P]: how many events are among them, `counts`, and
    how many images, `ends`."""

    at: np.ndarray
    gain: np.ndarray
    trusted: np.ndarray
    fits: np.ndarray
    counts: np.ndarray
    ends: np.ndarray

    @cached_property
    def all(self) -> np.ndarray:
        """int32 [E + 1]: right answers gained by the first events."""
        return sums(self.gain)

    @cached_property
    def total(self) -> np.ndarray:
        """int32 [F, E + 1]: the same of those that fit."""
        return sums(self.fits * self.gain)

    def fitted(self, objective: str) -> tuple[np.ndarray, np.ndarray]:
        """(right answers gained where it was fitted, how many of all images that is) int64 [F]."""
        total = self.total.take(self.counts, axis=1)
        best = total.argmax(axis=1)[:, None]
        chosen = best
        if objective == "1se":
            touched = sums(self.fits * np.abs(self.gain)).take(self.counts, axis=1)
            short, more = (np.take_along_axis(x, best, axis=1) - x for x in (total, touched))
            short = np.minimum(short, _ROOT)  # its square stays an int32
            chosen = within_one_se(short, more).argmax(axis=1)[:, None]
        return np.take_along_axis(total, chosen, axis=1)[:, 0], self.ends[chosen[:, 0]]

    def held_changes(self, base: np.ndarray, before: np.ndarray) -> np.ndarray:
        """int8 [F, E]: correctness minus the baseline's, by its row `base` int64 [F], of the images
        that do not fit; B runs on the first `before` int64 [F] events."""
        sent = np.arange(len(self.at)) < before[:, None]
        return (self.trusted[base] + sent * self.gain) * ~self.fits
