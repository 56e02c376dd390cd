"""The cheapest certified λ among all λ of any number of pairs and rules.

The reference alone needs no test: where it is among the sweeps and within the caps, it is the
answer unless something cheaper passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from stages.cascade import NEVER, Limit
from stages.certify.bounds import betting, binomial
from stages.certify.candidates import Candidates, ImageSubset, Sweep, lost, propose
from stages.certify.sequence import SAFEST, Certificate, Limits, in_sequence
from stages.threshold import PART_SEED, parts

# The most candidates that are proposed; see docs/methods.md.
MOST = 200
# By so many standard errors a signed estimate must be safer than one of the losses alone.
_LUCK = 1.0


@dataclass(frozen=True)
class CertifiedLimit:
    """The certified λ of `sweeps[sweep]`, whose interval is that of the images that proposed it.
    From all calibration images, as estimates: `usage` of B, `cost`, `lost`, the share that the
    reference alone gets right, and `difference`, the accuracy given up; under a loss what is lost
    more where any is, and on the whole."""

    sweep: int
    limit: Limit
    usage: float
    cost: float
    lost: float
    difference: float


def certify_sweeps(
    sweeps: Sequence[Sweep], limits: Limits, seed: int = PART_SEED
) -> tuple[Certificate, CertifiedLimit | None]:
    """Test the λ of all sweeps, which must be over the same images; (certificate, what to deploy).

    A part of the images, drawn by `seed`, proposes candidates; the others test. Of what passed and
    the reference alone the cheapest is deployed, None where there is neither.
    """
    n, most = len(sweeps[0].trusted), 1 if limits.loss is None else limits.loss.most
    if {sweep.most for sweep in sweeps} != {most}:
        raise ValueError("the limits and the sweeps are of different losses")
    proposing, testing = parts(n, seed)
    part = ImageSubset(np.isin(np.arange(n), proposing))
    caps, untested, below = _limited(sweeps, limits)
    found = propose(sweeps, part, _slack(limits, caps, len(proposing)), MOST, below)
    test = _Test(sweeps, found, limits, caps, proposing, testing)
    made = in_sequence(test.p_values, test.costs, limits, test.differences)
    if not made.passed:
        made = test.explained(made, part)
    if made.chosen is not None and test.costs[made.chosen] < below:
        return made, test.deployed(made.chosen, part)
    if not untested:
        return made, None
    return made, _deployed(sweeps, untested[0], part, -math.inf, limits)


def candidates_of(sweeps: Sequence[Sweep], limits: Limits) -> tuple[Candidates, np.ndarray]:
    """(λ worth testing on other images than these, in that order; the most use of B that the caps
    allow each: float64 [C])."""
    n = len(sweeps[0].trusted)
    caps, _, below = _limited(sweeps, limits)
    part = ImageSubset(np.ones(n, bool))
    found = propose(sweeps, part, _slack(limits, caps, n), MOST, below)
    return found, caps[found.sweep]


def _limited(sweeps: Sequence[Sweep], limits: Limits) -> tuple[np.ndarray, list[int], float]:
    """(the most use of B of each sweep: float64 [S]; the reference alone, where the caps allow it;
    what that costs)."""
    caps = np.array([sweep.usage_cap(limits.usage, limits.cost) for sweep in sweeps])
    untested = [s for s, sweep in enumerate(sweeps) if sweep.is_reference and caps[s] >= 0]
    return caps, untested, min((sweeps[s].cost_1 for s in untested), default=math.inf)


def _slack(limits: Limits, caps: np.ndarray, n: int) -> Callable[[Candidates], np.ndarray]:
    """Distance from the nearer limit in standard errors, as estimated from n images."""

    def slack(found: Candidates) -> np.ndarray:
        within = _within(found, limits, n)
        if not limits.capped:
            return within
        cap = caps[found.sweep]
        return np.minimum(within, np.where(cap >= 1, np.inf, _errors(found.usage, cap, n)))

    return slack


def _within(found: Candidates, limits: Limits, n: int) -> np.ndarray:
    """How far the risk is below ε in standard errors: float64 [C].

    Of many λ on few images the one with the lowest signed estimate is mostly the luckiest, so that
    none counts as below 0: those are ranked by their standard error, the share of images where
    either is wrong alone. A λ that is as safe by its losses alone goes first: it needs no gains.
    """
    losses = _errors(found.lost, limits.share, n)
    if limits.bound == "binomial":
        return losses
    risk = np.maximum(found.lost - found.won, 0)
    signed = (limits.share - risk) / np.sqrt((found.lost + found.won + 1 / n) / n)
    return np.maximum(losses, signed - _LUCK)


def _errors(found: np.ndarray, limit: np.ndarray | float, n: int) -> np.ndarray:
    """Distance of these shares of n images from the limit, in standard errors at the limit."""
    variance = np.clip(limit * (1 - np.asarray(limit)), 1 / n, None)
    return (limit - found) / np.sqrt(variance / n)


@dataclass(frozen=True)
class _Test:
    """The testing images, in random order, and the candidates on them."""

    sweeps: Sequence[Sweep]
    found: Candidates
    limits: Limits
    caps: np.ndarray
    proposing: np.ndarray
    testing: np.ndarray

    def p_values(self, rows: np.ndarray) -> np.ndarray:
        """float64 [c]; with a cap the larger of two, which tests "either limit is broken" at δ."""
        if not self.limits.capped:
            return self._risk(rows)
        return np.maximum(self._risk(rows), self._usage(rows))

    def _risk(self, rows: np.ndarray) -> np.ndarray:
        if self.limits.bound == "binomial":
            return binomial(self._counts[0, rows], len(self.testing), self.limits.share)
        before = self._differences(rows, self.proposing)
        return betting(self.differences(rows), self.limits.share, self.limits.delta, before)

    def _usage(self, rows: np.ndarray) -> np.ndarray:
        n, cap = len(self.testing), self.caps[self.found.sweep[rows]]
        p = binomial(self._counts[1, rows], n, np.clip(cap, 0, 1))
        return np.where(cap >= 1, 0.0, p)

    def differences(self, rows: np.ndarray) -> np.ndarray:
        """[c, N]: the reference's correctness minus the candidate's on the testing images, or of
        what it loses less the share of the largest loss."""
        return self._differences(rows, self.testing)

    def _differences(self, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), len(images)), self.sweeps[0].trusted.dtype)
        for row, c in zip(out, rows, strict=True):
            sweep = self.sweeps[self.found.sweep[c]]
            row[:] = sweep.differences(self.found.cuts[c])[images]
        return out if self.limits.loss is None else out / self.limits.loss.most

    @cached_property
    def _counts(self) -> np.ndarray:
        """int64 [2, C]: of each candidate the images that are lost, and those sent to B, from one
        prefix sum per sweep."""
        errors, used = counts = np.empty((2, len(self.found)), np.int64)
        part = ImageSubset(np.isin(np.arange(len(self.sweeps[0].trusted)), self.testing))
        for s in np.unique(self.found.sweep):
            mine = self.found.sweep == s
            used[mine] = part.ordering(self.sweeps[s]).escalated_by(self.found.cuts[mine])
            errors[mine] = part.totals(self.sweeps[s], lost)[used[mine]] // self.sweeps[s].most
        return counts

    @cached_property
    def costs(self) -> np.ndarray:
        """float64 [C], from all images: which of the certified is chosen needs no fresh ones."""
        out = np.empty(len(self.found))
        for s in np.unique(self.found.sweep):
            mine = self.found.sweep == s
            sweep = self.sweeps[s]
            out[mine] = sweep.cost(sweep.ordering.order, sweep.sent(self.found.cuts[mine]))
        return out

    def deployed(self, row: int, part: ImageSubset) -> CertifiedLimit:
        s, cut = int(self.found.sweep[row]), self.found.cuts[row]
        return _deployed(self.sweeps, s, part, cut, self.limits)

    def explained(self, made: Certificate, part: ImageSubset) -> Certificate:
        """The same where nothing passed, with what was tested first; without a candidate only the
        reference is there."""
        if len(self.found):
            first = self.deployed(0, part)
            safest = (first.sweep, first.limit)
            return replace(self._blaming_the_cap(made), safest=safest)
        why = f"{SAFEST} costs more than the cap: a larger cap helps"
        return made if self.caps.max() >= 0 else replace(made, why=why, safest=(0, Limit(NEVER)))

    def _blaming_the_cap(self, made: Certificate) -> Certificate:
        """With a reason that names the cap where it is what was not kept."""
        first, level = np.zeros(1, np.intp), self.limits.delta
        used, cap = self._counts[1, 0] / len(self.testing), self.caps[self.found.sweep[0]]
        p_risk, p_cap = float(self._risk(first)[0]), float(self._usage(first)[0])
        if not self.limits.capped or p_cap <= level:
            return made
        kept, more = "keeps its loss", "a larger cap helps"
        if p_risk > level:
            kept, more = "is not sure to keep its loss", "a larger cap and a larger epsilon help"
        over = (
            f"runs B on {used:.2%} of the {len(self.testing)} testing images against a cap of "
            f"{cap:.2%} (p = {p_cap:.3g}, at most {level:g} is needed)"
            if cap >= 0
            else "costs more than the cap before B runs"
        )
        why = f"{SAFEST} {kept} (p = {p_risk:.3g}), but {over}: {more}"
        return replace(made, why=why, images=None)


def _deployed(
    sweeps: Sequence[Sweep], s: int, part: ImageSubset, cut: float, limits: Limits
) -> CertifiedLimit:
    sweep = sweeps[s]
    ordering = part.ordering(sweep)
    limit = ordering.limit(int(ordering.escalated_by(np.array(cut))))
    d = sweep.differences(cut)
    [sent] = sweep.sent(np.array([cut]))
    cost = sweep.cost(sweep.ordering.order, sent)
    unit = 1 if limits.loss is None else limits.loss.scale
    estimates = (sent / len(d), cost, lost(d).mean() / unit, d.mean() / unit)
    return CertifiedLimit(s, limit, *map(float, estimates))
