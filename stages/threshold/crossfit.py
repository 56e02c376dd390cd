"""λ of a pair fitted on four folds of the images and decided on the fifth, ten times over.

A sweep rises and falls only where A and B differ in being right, so each fitting looks at these
images alone: what it chooses is what `sweep.fit` chooses on the four folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt

import numpy as np

from stages.cascade import Ordering, sums
from stages.scores import Loss
from stages.statistics import (
    LOSS_SUMS,
    Interval,
    Paired,
    loss_sums,
    repeated_change,
    repeated_losses,
    repeated_share,
    within_one_se,
)
from stages.threshold.fit_images import FOLDS, REPEATS, cross_fits


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
    losses: np.ndarray | None = None

    @cached_property
    def accuracy(self) -> Interval:
        return repeated_share(_by_repeat(self.right), self.n)

    @cached_property
    def change(self) -> Interval:
        """Of accuracy, against the baseline."""
        pairs = zip(_by_repeat(self.won), _by_repeat(self.lost), strict=True)
        return repeated_change([Paired(won, lost, self.n) for won, lost in pairs])

    def losses_of(self, loss: Loss) -> tuple[Interval, Interval]:
        """(mean loss, its change) against the baseline."""
        folds = np.zeros((len(self.right), LOSS_SUMS)) if self.losses is None else self.losses
        sums = folds.reshape(-1, FOLDS, LOSS_SUMS).sum(axis=1)
        return repeated_losses(sums, self.n, loss.most, loss.scale)


def best_of(several: Sequence[FoldCounts]) -> FoldCounts:
    """Each fitting chooses among cascades too: the most accurate there, then the least use of B,
    the first of equals."""
    names = [name for name, column in vars(several[0]).items() if isinstance(column, np.ndarray)]
    columns = {name: np.stack([getattr(each, name) for each in several]) for name in names}
    best = np.lexsort((columns["fit_sent"], -columns["fit_right"]), axis=0)[0]
    fittings = np.arange(len(best))
    chosen = {name: column[best, fittings] for name, column in columns.items()}
    return FoldCounts(several[0].n, **chosen)


def _by_repeat(counts: np.ndarray) -> list[int]:
    return counts.reshape(-1, FOLDS).sum(axis=1).tolist()


@dataclass(frozen=True)
class Answers:
    """Of N images, right answers, 0 or 1, or their credit: int or bool [N], what B's answer adds,
    `gain`, and what A's is, `right`; `baselines` [B, N] those of other models."""

    gain: np.ndarray
    right: np.ndarray
    baselines: np.ndarray

    @cached_property
    def trusted(self) -> np.ndarray:
        """int [B, N]: A's minus those of each baseline."""
        if self.right.dtype == bool:
            return self.right.view(np.int8) - self.baselines.view(np.int8)
        return self.right - self.baselines

    @property
    def changing(self) -> np.ndarray:
        """bool [N]: it matters which of the models answers."""
        return (self.gain != 0) | (self.trusted != 0).any(axis=0)

    @property
    def losing(self) -> np.ndarray:
        """bool [N]: or A's answer has a loss."""
        return self.changing | (self.right != 0)


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
        answers: Answers | None = None,
    ) -> dict[str, FoldCounts]:
        """By objective. int [N] `gain` as `sweep.gains` gives it; bool [N] `right` where A is;
        `baselines` bool [B, N], the models one of which would be deployed alone, the most accurate
        on the images that fit, the first of equals. Under a loss the three are credit, int, and
        `answers` what they are in right answers."""
        credit = Answers(gain, right, baselines)
        some = credit.changing if answers is None else credit.losing | answers.changing
        events = self._events(credit, some)
        # A's credit less a model's, so the least is the best.
        base = (events.trusted.astype(np.float64) @ events.fits.T).argmin(axis=0)
        own = right if answers is None else answers.right
        told = events if answers is None else events.of(answers, self.order)
        alone, held = self._sum(right), own.sum() - self._sum(own)
        out = {}
        for objective in objectives:
            gained, end = events.fitted(objective)
            before = np.searchsorted(events.at, self._sent(end))
            more = told.all[before] - told.total[self._each, before]
            changes = told.held_changes(base, before)
            won, lost = (np.count_nonzero(some, axis=1) for some in (changes > 0, changes < 0))
            used = self.count[self._each, end]
            losses = None if answers is None else events.losses(base, before)
            counts = (alone + gained, used, held + more, won, lost, losses)
            out[objective] = FoldCounts(len(right), *counts)
        return out

    def _sum(self, right: np.ndarray) -> np.ndarray:
        """int64 [F]: of right answers or credit [N] on the images that fit."""
        if right.dtype == bool:
            return np.count_nonzero(self.fits & right[self.order], axis=1)
        return (self.fits * right[self.order]).sum(axis=1, dtype=np.int64)

    @property
    def _each(self) -> np.ndarray:
        return np.arange(len(self.fits))

    def _events(self, answers: Answers, some: np.ndarray) -> _Events:
        """Of `some` of the images, bool [N]."""
        at = np.flatnonzero(some[self.order])
        images, keys = self.order[at], self.keys[at]
        last = np.flatnonzero(keys != np.append(keys[1:], np.inf))
        if self.most is not None:  # what every λ of the grid trusts is never sent
            last = last[keys[last] < self.most]
        ends = np.searchsorted(self.keys, keys[last], side="right")
        counts = np.concatenate(([0], last + 1)), np.concatenate(([0], ends))
        own, trusted = answers.right[images], answers.trusted[:, images]
        return _Events(at, answers.gain[images], own, trusted, self.fits[:, at], *counts)

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
    """The E images at which anything changes, `at` intp [E] in order: int [E] `gain` and `right`,
    A's answers, and `trusted` [B, E], these minus those of each baseline; bool [F, E] `fits`. At
    each of P numbers of images that some λ sends, int64 [P]: how many events are among them,
    `counts`, and how many images, `ends`."""

    at: np.ndarray
    gain: np.ndarray
    right: np.ndarray
    trusted: np.ndarray
    fits: np.ndarray
    counts: np.ndarray
    ends: np.ndarray

    def of(self, answers: Answers, order: np.ndarray) -> _Events:
        """The same images, by what else their answers are worth."""
        images = order[self.at]
        gain, right = answers.gain[images], answers.right[images]
        return replace(self, gain=gain, right=right, trusted=answers.trusted[:, images])

    @cached_property
    def all(self) -> np.ndarray:
        """int [E + 1]: right answers gained by the first events."""
        return sums(self.gain)

    @cached_property
    def total(self) -> np.ndarray:
        """int [F, E + 1]: the same of those that fit."""
        return sums(self.fits * self.gain)

    @cached_property
    def touched(self) -> np.ndarray:
        """int [F, E + 1]: the same of the squares."""
        sizes = np.abs(self.gain)
        if (sizes > 1).any():
            sizes = sizes.astype(np.int64) ** 2
        return sums(self.fits * sizes)

    def fitted(self, objective: str) -> tuple[np.ndarray, np.ndarray]:
        """(right answers gained where it was fitted, how many of all images that is) int64 [F]."""
        total = self.total.take(self.counts, axis=1)
        best = total.argmax(axis=1)[:, None]
        chosen = best
        if objective == "1se":
            touched = self.touched.take(self.counts, axis=1)
            short, more = (np.take_along_axis(x, best, axis=1) - x for x in (total, touched))
            root = isqrt(np.iinfo(more.dtype).max)  # so that the square is of that type
            short = np.minimum(short.astype(more.dtype), root)
            chosen = within_one_se(short, more).argmax(axis=1)[:, None]
        return np.take_along_axis(total, chosen, axis=1)[:, 0], self.ends[chosen[:, 0]]

    def held_changes(self, base: np.ndarray, before: np.ndarray) -> np.ndarray:
        """int [F, E]: correctness minus the baseline's, by its row `base` int64 [F], of the images
        that do not fit; B runs on the first `before` int64 [F] events."""
        return (self.trusted[base] + self._sent(before)) * ~self.fits

    def losses(self, base: np.ndarray, before: np.ndarray) -> np.ndarray:
        """int64 [F, LOSS_SUMS] of the same images, where right answers are credit."""
        credit = (self.right + self._sent(before)) * ~self.fits
        return loss_sums(credit, (self.right - self.trusted)[base] * ~self.fits)

    def _sent(self, before: np.ndarray) -> np.ndarray:
        """int [F, E]: what B adds."""
        return (np.arange(len(self.at)) < before[:, None]) * self.gain
