"""What is certified by the labels so far, and which images to label next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.few_labels.calibration import CalibrationImages
from stages.few_labels.folder import Known
from stages.few_labels.plan import DISAGREEMENT, PREDICTED_CLASS, PlannedCascade
from stages.few_labels.strata import holding
from stages.few_labels.trial import Standing, Trial
from stages.statistics import Interval, Paired, change, of_strata


@dataclass(frozen=True, kw_only=True)
class TriedCascade:
    """A candidate on the calibration images: use of B and cost of a request; of the images where it
    answers otherwise than the reference, `differing`, how many have been asked for, and labelled;
    and of these how many it lost and won. `saved`: of the reference's cost."""

    models: tuple[str, ...]
    score: str | None
    postcheck: bool
    threshold: float | str | None
    threshold_low: float | None
    threshold_high: float | None
    usage: float
    cost: float
    saved: float | None
    differing: int
    asked: int
    labelled: int
    lost: int
    won: int
    p: float


@dataclass(frozen=True, kw_only=True)
class ClassPromise:
    """Of the images that the cascade answers with a class: how many, how many of these it lost, and
    whether the promise of this class holds together with those of the others."""

    stratum: int
    n: int
    lost: int
    holds: bool


@dataclass(frozen=True, kw_only=True)
class FewLabelsResult:
    """What `cascade certify --json` prints, beside what the plan says.

    `certified` is None where nothing but the reference is; the first `passed` of the candidates
    passed, `without_labels` of them before any label. `ended`: why no label is asked for, "failed",
    "all passed" or "budget". `next` is what is tested next, or has failed: `to_decide` labels may
    do, `to_label` are sure to; `better_needs`, so many for the first one that is cheaper than what
    is certified.
    `accuracy_change` against the reference and `accuracy` are known once what they need is
    labelled, which are `accuracy_needs` images.
    """

    dataset: str
    split: str
    n: int
    proposing_split: str
    proposed: int
    reference: str
    risk: str
    epsilon: float
    delta: float
    bound: str
    share: float
    max_usage: float | None
    max_cost: float | None
    cost_kind: str
    cost_unit: str
    reference_cost: float
    label_budget: int | None
    per: str | None
    hold: str
    labels: int
    candidates: int
    passed: int
    without_labels: int
    ended: str | None
    certified: TriedCascade | None
    next: TriedCascade | None
    to_decide: int
    to_label: int
    better_needs: int | None
    accuracy_change: Interval | None
    accuracy: Interval | None
    accuracy_needs: int
    classes: tuple[ClassPromise, ...]
    plan_sha256: str


@dataclass(frozen=True)
class PlanProgress:
    """A plan on its images, and the labels that are known."""

    calibration: CalibrationImages
    known: Known

    @cached_property
    def labels(self) -> np.ndarray:
        return self.calibration.labels(self.known)

    @cached_property
    def standing(self) -> Standing:
        return self.calibration.standing(self.labels)

    @property
    def ended(self) -> str | None:
        """Why no label is asked for."""
        if self.standing.failed:
            return "failed"
        if self.standing.ended:
            return "all passed"
        return "budget" if self._left == 0 else None

    @cached_property
    def best(self) -> int | None:
        """The cheapest that passed, None where the reference costs no more."""
        costs = self.calibration.costs[: self.standing.passed]
        if not len(costs) or costs.min() >= self._reference_cost:
            return None
        return int(costs.argmin())

    def asks(self, most: int) -> np.ndarray:
        """intp: rows to label next, in order, at most so many: those of the next candidate, then of
        those after it as far as it may come; at the end those that the accuracy needs."""
        if self.ended is not None:
            return self._for_accuracy[:most]
        if self._left is not None:
            most = min(most, self._left)
        found: dict[int, None] = {}
        for c in range(self.standing.passed, len(self._planned)):
            found |= dict.fromkeys(self.calibration.trial(c).unlabelled(self.labels).tolist())
            if len(found) >= most:
                break
        return np.array(list(found)[:most], np.intp)

    def asked(self, row: int) -> bool:
        """Whether a label of this image is of any use to the plan."""
        return row in self._useful

    def result(self) -> FewLabelsResult:
        plan, standing, best = self.calibration.plan, self.standing, self.best
        upcoming = standing.passed if standing.passed < len(plan.candidates) else None
        told = (
            *("dataset", "split", "n", "proposing_split", "proposed", "reference", "risk"),
            *("epsilon", "delta", "bound", "share", "max_usage", "max_cost", "cost_kind"),
            *("cost_unit", "label_budget", "per", "hold"),
        )
        return FewLabelsResult(
            **{name: getattr(plan, name) for name in told},
            reference_cost=self._reference_cost,
            labels=len(self.known),
            candidates=len(plan.candidates),
            passed=standing.passed,
            without_labels=self.calibration.standing(self.calibration.unlabelled).passed,
            ended=self.ended,
            certified=None if best is None else self._told(best),
            next=None if upcoming is None else self._told(upcoming),
            to_decide=standing.at_once,
            to_label=len(standing.asks),
            better_needs=self._better_needs(),
            accuracy_change=self._change(),
            accuracy=self._accuracy(),
            accuracy_needs=len(self._for_accuracy),
            classes=self._classes(),
            plan_sha256=plan.sha256,
        )

    @property
    def _planned(self) -> tuple[PlannedCascade, ...]:
        return self.calibration.plan.candidates

    @property
    def _reference_cost(self) -> float:
        plan = self.calibration.plan
        return plan.models[plan.reference].cost

    @property
    def _left(self) -> int | None:
        """Of the budget."""
        budget = self.calibration.plan.label_budget
        return None if budget is None else max(budget - len(self.known), 0)

    @cached_property
    def _useful(self) -> set[int]:
        return self.calibration.asked | set(self._sampled.tolist())

    def _told(self, c: int) -> TriedCascade:
        planned, trial = self._planned[c], self.calibration.trial(c)
        tally = trial.tally(self.labels)
        unlabelled = int(tally.unlabelled.sum())
        alone = self._reference_cost
        names = ("models", "score", "postcheck", "threshold", "threshold_low", "threshold_high")
        return TriedCascade(
            **{name: getattr(planned, name) for name in names},
            usage=trial.usage,
            cost=trial.cost,
            saved=1 - trial.cost / alone if alone else None,
            differing=trial.differing,
            asked=len(trial.images),
            labelled=len(trial.images) - unlabelled,
            lost=int(tally.lost.sum()),
            won=int(tally.won.sum()),
            p=max(self.calibration.test.p(trial, self.labels), trial.over_cap),
        )

    def _better_needs(self) -> int | None:
        """None where nothing that is left is cheaper."""
        if self.standing.failed:
            return None
        best = self.best
        least = self._reference_cost if best is None else self.calibration.trial(best).cost
        rows: set[int] = set()
        for c in range(self.standing.passed, len(self._planned)):
            trial = self.calibration.trial(c)
            rows.update(trial.unlabelled(self.labels).tolist())
            if trial.cost < least:
                return len(rows)
        return None

    def _change(self) -> Interval | None:
        """Of the accuracy against the reference, by the images that the coin asks for."""
        if self.best is None or self.calibration.plan.risk == DISAGREEMENT:
            return None
        trial, coins = self.calibration.trial(self.best), self.calibration.plan.coins
        if len(trial.unlabelled(self.labels)):
            return None
        tally = trial.tally(self.labels)
        return change(Paired(int(tally.won.sum()), int(tally.lost.sum()), int(coins.sum())))

    @cached_property
    def _sampled(self) -> np.ndarray:
        """intp: images where the answer, or the reference, is sampled for the accuracy."""
        wanted = self.calibration.plan.accuracy_sample
        drawn = self.calibration.plan.drawn if wanted else np.zeros(0, np.intp)
        return drawn[self._alike[drawn]][:wanted]

    @cached_property
    def _alike(self) -> np.ndarray:
        """bool [n]: where what is certified answers as the reference does."""
        if self.best is None:
            return np.ones(self.calibration.plan.n, bool)
        return self.calibration.outcome(self.best).correct

    @cached_property
    def _for_accuracy(self) -> np.ndarray:
        """intp: images that the accuracy still needs."""
        if not self.calibration.plan.accuracy_sample:
            return np.zeros(0, np.intp)
        own = self._trial_images
        rows = np.concatenate([own, self._sampled])
        known = np.array([self.calibration.rows[sample] for sample in self.known], np.intp)
        return rows[~np.isin(rows, known)]

    @property
    def _trial_images(self) -> np.ndarray:
        none = np.zeros(0, np.intp)
        return none if self.best is None else self.calibration.trial(self.best).images

    def _accuracy(self) -> Interval | None:
        """Of what is certified, by the images answered alike that are sampled, and the others."""
        if not self.calibration.plan.accuracy_sample or len(self._for_accuracy):
            return None
        n, alike = self.calibration.plan.n, self._alike
        answers = self.calibration.scores.labels.copy()
        if self.best is not None:
            answers = self.calibration.outcome(self.best).prediction
        truth = self.calibration.labels_known(self.known)
        counts = []
        for rows, many in ((self._sampled, alike.sum()), (self._trial_images, (~alike).sum())):
            right = int((answers[rows] == truth[rows]).sum())
            if many and len(rows):
                counts.append((right, len(rows), float(many / n)))
        return of_strata(counts, n)

    def _classes(self) -> tuple[ClassPromise, ...]:
        """Of each class that is promised its own."""
        plan, best = self.calibration.plan, self.best
        if plan.per != PREDICTED_CLASS or best is None:
            return ()
        trials = [self.calibration.by_class(c) for c in range(len(plan.candidates))]
        p = np.stack([self._p(trial) for trial in trials])
        holds = holding(p, best + 1, plan.delta)
        tally = trials[best].tally(self.labels)
        counts = (trials[best].sizes, tally.lost, holds)
        each = zip(plan.strata, *(of.tolist() for of in counts), strict=True)
        return tuple(ClassPromise(stratum=s, n=n, lost=k, holds=h) for s, n, k, h in each)

    def _p(self, trial: Trial) -> np.ndarray:
        return self.calibration.test.p_of_strata(trial, self.labels)
