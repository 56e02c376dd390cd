"""What answering only the surest is worth: the risk–coverage curve, a point for each λ.

A model before a last stage that is nobody's answers a share of the images, the coverage, at a mean
loss among these, the selective risk (El-Yaniv & Wiener 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.cascade.ordering import group_ends
from stages.statistics import NORMAL, Interval

_ROUNDING = 4 * np.finfo(np.float64).eps  # of a probability


@dataclass(frozen=True)
class RiskCoverage:
    """Of N images, surest first: `covered` float64 [P], how many each λ answers, from 0 to N, and
    `lost` float64 [P], the loss among these; `loss` float64 [N], of each in that order."""

    covered: np.ndarray
    lost: np.ndarray
    loss: np.ndarray

    @property
    def coverage(self) -> np.ndarray:
        """float64 [P − 1]: the share that is answered, ascending to 1."""
        return self.covered[1:] / self.covered[-1]

    @cached_property
    def risk(self) -> np.ndarray:
        """float64 [P − 1]: the mean loss among these."""
        return self.lost[1:] / self.covered[1:]

    def thinned(self, most: int = 101) -> dict[str, list[float]]:
        """At most so many of its points, evenly by coverage and the last, JSON-ready."""
        wanted = np.linspace(0.0, 1.0, most)
        rows = np.minimum(np.searchsorted(self.coverage, wanted), len(self.coverage) - 1)
        rows = np.unique(rows)
        return {"coverage": self.coverage[rows].tolist(), "risk": self.risk[rows].tolist()}

    @property
    def area(self) -> float:
        """AURC: the mean over the images of the risk among those at least as sure (Geifman & El-
        Yaniv 2017; Geifman, Uziel & El-Yaniv 2019), in a tie of all of it."""
        each = np.diff(self.covered) * self.lost[1:] / self.covered[1:]
        return float(each.sum() / self.covered[-1])

    @property
    def excess(self) -> float:
        """E-AURC: the area beyond that of the best order, in which the loss ascends."""
        best = np.sort(self.loss).cumsum() / np.arange(1, len(self.loss) + 1)
        return self.area - float(best.mean())

    @property
    def interval(self) -> Interval:
        """The area ± z of its standard error, by the jackknife: without each image in turn."""
        n, size = len(self.loss), np.diff(self.covered)
        group = np.repeat(np.arange(len(size)), size.astype(np.intp))
        # A group of the surest that is one image is gone with it.
        less = np.maximum(self.covered[1:] - 1, 1.0)
        own = self.lost[1:]
        before = np.concatenate(([0.0], (size * self.risk).cumsum()))[group]
        beyond, shares = (_after(size * each / less)[group] for each in (own, np.ones(len(size))))
        here = ((size - 1) / less)[group] * (own[group] - self.loss)
        without = (before + here + beyond - shares * self.loss) / max(n - 1, 1)
        error = float(np.sqrt((n - 1) * without.var()))
        return Interval.around(self.area, NORMAL * error)


def _after(values: np.ndarray) -> np.ndarray:
    """float64 [P]: the sum of those behind each."""
    return values[::-1].cumsum()[::-1] - values


def risk_coverage(surer: np.ndarray, loss: np.ndarray) -> RiskCoverage:
    """surer float64 [N], larger is surer; loss [N], of an answer, as bool whether it is wrong.
    What differs by rounding alone is a tie: which is surer would be the machine's.

    >>> found = risk_coverage(np.array([0.9, 0.8, 0.7]), np.array([False, True, False]))
    >>> found.coverage.round(2).tolist(), found.risk.round(2).tolist()
    ([0.33, 0.67, 1.0], [0.0, 0.5, 0.33])
    >>> round(found.area, 4), round(found.excess, 4)
    (0.2778, 0.1667)
    """
    order = np.argsort(-surer)
    with np.errstate(invalid="ignore"):  # of two that are surer than any number
        changed = np.diff(surer[order], prepend=np.inf) < -_ROUNDING
    ends = group_ends(np.cumsum(changed))
    sorted_loss = loss[order].astype(np.float64)
    lost = np.concatenate(([0.0], sorted_loss.cumsum()))
    return RiskCoverage(ends.astype(np.float64), lost[ends], sorted_loss)
