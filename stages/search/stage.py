"""Which cascade should be deployed? Every pair, rule and λ, exactly, and an answer to a question.

Searched on the fitting images, told about the reported ones. From the cache alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cache import InputError, Store
from stages.cascade import Cascade, decide
from stages.costs import Pricer, amount, asked, budget, costs_of
from stages.results import save
from stages.scores import ScoreSet
from stages.search.crossfit import CrossFitted, Progress, cross_fitted
from stages.search.evaluation import FitFigures, Judge, Row
from stages.search.fitted_frontier import Found, Space, find
from stages.search.holdout import Test
from stages.search.question import ACCURACY, CERTIFY, COST, Question, single
from stages.search.resampling import Resampling
from stages.search.verdict import CANNOT_TELL, MEETS, Verdict, sentences, target_of
from stages.statistics import procedure, with_ends
from stages.threshold import FitPlan, held_out

if TYPE_CHECKING:
    from stages.search.guarantee import Certified, Promise


@dataclass(frozen=True)
class Answer:
    """What is deployed, what it did on the fitting images, and whether it does what was asked,
    which `reached` says of the baseline. `selected`: the reported images had a part in the choice.
    The rest as in `Verdict`."""

    point: Cascade
    fitted: FitFigures
    target: str | None
    baseline: str
    matched: str | None = None
    reached: bool = True
    selected: bool = False
    needed: int | None = None
    chose: bool = False
    near: str | None = None
    asked: bool = False


@dataclass(frozen=True)
class Search:
    """A question to a space of cascades, over one set of models: those of `reported`."""

    reported: ScoreSet
    plan: FitPlan
    pricer: Pricer
    space: Space
    question: Question
    calibration: ScoreSet | None = None
    threads: int | None = None
    progress: Progress = lambda done, total: None
    given: Answer | None = None

    @classmethod
    def of(
        cls, reported: ScoreSet, plan: FitPlan, pricer: Pricer, space: Space = Space(),
        question: Question = Question(), progress: Progress = lambda done, total: None,
    ) -> Search:  # fmt: skip
        """An answer that is to be tested has images held out for that where there is one split."""
        calibration = plan.scores
        if plan.method == "cross-fit" and (question.tested or question.kind == CERTIFY):
            plan, reported = held_out(plan)
            rows = np.isin(pricer.scores.sample_ids, reported.sample_ids)
            pricer = replace(pricer, scores=pricer.scores.of_images(rows))
        return cls(reported, plan, pricer, space, question, calibration, progress=progress)

    @cached_property
    def found(self) -> Found:
        """The frontier on the fitting images."""
        return self._find(self.plan.scores)

    def _find(self, scores: ScoreSet) -> Found:
        costs = costs_of(self.pricer, scores.models, len(scores.labels))
        return find(scores, costs, self.space, self.threads)

    @property
    def point(self) -> Cascade:
        return self.decided.point

    @cached_property
    def decided(self) -> Answer:
        """InputError with what is reachable where nothing does what was asked."""
        found = self.given
        if found is None:
            found = self._tested() if self.question.tested else self._estimated()
        if self.pricer.baseline is None:
            return found
        return replace(found, baseline=self.pricer.baseline, asked=True)

    def _estimated(self) -> Answer:
        """The answer by its estimate on the fitting images."""
        row = self._row()
        alone, reached = single(self.question, self.found.choices(self.question))
        return Answer(
            self.found.points[row],
            self.fitted(row),
            None,
            self.reported.models[alone],
            reached=reached,
            near=self._near_accuracy(alone, reached),
        )

    def _row(self) -> int:
        row = self.found.answer(self.question)
        if row is None:
            raise InputError(_unreachable(self.question, self.found, self.pricer))
        return row

    def _near_accuracy(self, alone: int, reached: bool) -> str | None:
        """The most accurate model cheaper than the baseline, where it nearly reaches the goal."""
        found, goal = self.found, self.question.value or 0.0
        cheaper = np.flatnonzero(found.prices < found.prices[alone])
        if self.question.kind != ACCURACY or not reached or not len(cheaper):
            return None
        next_one = cheaper[found.alone[cheaper].argmax()]
        right = float(found.alone[next_one] / len(found.scores.labels))
        if goal - right > NEAR:
            return None
        name = found.scores.models[next_one]
        return f"{name} alone is right on {right:.1%} of {self.plan.split} only."

    def _tested(self) -> Answer:
        """The last of a path that passes before the first that fails; where none does, the answer
        by its estimate."""
        test = self.test
        alone, reached = test.single()
        baseline, near = self.reported.models[alone], test.near(alone, NEAR)
        matched = None if test.matched is None else self.reported.models[test.matched]
        chose = self.plan.method == "same-split"
        needed, selected = None, test.passed > 0
        if selected:
            point = test.path[test.passed - 1]
            # Models alone are tested by themselves: one may pass that is no dearer than the path's.
            if reached and self.question.kind != COST and self._no_dearer(alone, point):
                point = Cascade.of((self.reported.models[alone],))
            word, fitted = CANNOT_TELL if chose else MEETS, self.did(point)
        else:
            row = self._row()
            point, fitted = self.found.points[row], self.fitted(row)
            word, needed = (MEETS, None) if point.models == (matched,) else test.short(point)
        about = (matched, reached, selected, needed, chose, near)
        return Answer(point, fitted, word, baseline, *about)

    def _no_dearer(self, model: int, point: Cascade) -> bool:
        """On the fitting images."""
        return float(self.found.prices[model]) <= self.did(point).cost

    @cached_property
    def test(self) -> Test:
        scores = self.plan.scores
        costs = costs_of(self.pricer, scores.models, len(scores.labels))
        chains = tuple(point for point in self.found.points if len(point.models) == 3)
        matched = self.found.choices(self.question).matched
        how = (self.space.table, self.question, matched, chains, self.threads)
        return Test(scores, self.reported, self.pricer, costs, *how)

    # --- rows ------------------------------------------------------------------------------------

    @cached_property
    def judge(self) -> Judge:
        decided = self.decided
        return Judge(self.reported, self.plan, self.pricer, decided.baseline, decided.matched)

    @cached_property
    def frontier(self) -> list[Row]:
        """A row for each point of the frontier, by ascending cost on the fitting images."""
        return [self.frontier_row(i) for i in range(len(self.found.points))]

    def frontier_row(self, i: int) -> Row:
        kind = "hull" if i in self._corners else "point"
        fitted = self.crossfitted and len(self.found.points[i].models) > 1
        honest = self.crossfitted.frontier[i] if self.crossfitted and fitted else None
        return self.judge.row(kind, self.found.points[i], self.fitted(i), honest=honest)

    @cached_property
    def _corners(self) -> frozenset[int]:
        return frozenset(self.found.hull.tolist())

    def fitted(self, row: int) -> FitFigures:
        right, cost = (float(each[row]) for each in (self.found.right, self.found.cost))
        return FitFigures(right / len(self.plan.scores.labels), cost)

    def did(self, point: Cascade) -> FitFigures:
        """On the fitting images."""
        found = decide(self.plan.scores, point)
        bill = self.pricer.bill(point.models, found.stage)
        return FitFigures(found.accuracy, bill.total.value)

    @cached_property
    def crossfitted(self) -> CrossFitted | None:
        """What folds decided by searches of the others say; None unless cross-fitted."""
        if self.plan.method != "cross-fit":
            return None
        how = (self.found.cost, self.pricer.compared_with, self.progress)
        return cross_fitted(self.reported, self._find, self.question, *how)

    def answer(self) -> tuple[Row, Verdict]:
        """The row of what is deployed, and what it is worth."""
        decided = self.decided
        cascade = len(decided.point.models) > 1  # a model alone has no λ that was fitted
        honest = self.crossfitted.answer if self.crossfitted and cascade else None
        row = self.judge.row("answer", decided.point, decided.fitted, honest=honest)
        row["selected"] = decided.selected
        alone = len(decided.point.models) == 1
        target, chose = decided.target or target_of(self.question, row, alone), decided.chose
        if self.plan.method == "same-split" and target == MEETS and not alone:
            target, chose = CANNOT_TELL, True
        names = ("reached", "needed", "near", "asked")
        how = {name: getattr(decided, name) for name in names} | {"chose": chose}
        rival = self._rival(row)
        return row, Verdict(self.question, decided.point, row, target, rival=rival, **how)

    def _rival(self, row: Row) -> str | None:
        """The most accurate single model that costs no more and was no worse, if any."""
        scores, names = self.reported, self.reported.models
        alone = {name: float(scores.accuracy[m]) for m, name in enumerate(names)}
        costs = {name: self.pricer.model(name).value for name in names}
        found = [
            name for name in names if costs[name] <= row["cost"] and alone[name] >= row["accuracy"]
        ]
        return max(found, key=lambda name: (alone[name], -costs[name]), default=None)

    def mixture(self) -> Row | None:
        """Two corners of the hull, and the share of requests that the second should get at random
        to meet the accuracy asked for at less cost, or to spend all of `max-cost` on more accuracy;
        None where the answer cannot be bettered so."""
        corners = self.found.hull
        cost, right = (
            self.found.cost[corners],
            self.found.right[corners] / len(self.plan.scores.labels),
        )
        values, goal = (cost, self.question.value) if self.question.kind == COST else (right, None)
        goal = self._target() if goal is None else goal
        j = int(np.searchsorted(values, goal))
        if j == 0 or j == len(corners) or values[j] == goal:
            return None
        i, share = j - 1, float((goal - values[j - 1]) / (values[j] - values[j - 1]))
        ends = [self.frontier[corners[x]] for x in (i, j)]
        mixed = {
            name: (1 - share) * ends[0][name] + share * ends[1][name]
            for name in ("accuracy", "cost", "fit_accuracy", "fit_cost")
        }
        names = [str(self.found.points[corners[x]]) for x in (i, j)]
        return {"first": names[0], "second": names[1], "share": share, **mixed}

    def _target(self) -> float:
        """The accuracy on the fitting images that a mixture must have."""
        if self.question.kind == ACCURACY:
            return self.question.value or 0.0
        return self.decided.fitted.accuracy

    def optimism(self, resamples: int, baseline: str) -> Row:
        """What choosing by this search yields on images that had no part in the choice."""
        scores = self.plan.scores
        costs = costs_of(self.pricer, scores.models, len(scores.labels))
        again = Resampling(scores, costs, self.space.table, self.question)
        if baseline not in scores.models:
            baseline = scores.models[int(scores.accuracy.argmax())]
        found = procedure(again.chooser(), scores.correct[scores.index(baseline)], resamples)
        same = [again.models(number) == self.point.models for number in found.chosen.tolist()]
        out: Row = {"resamples": resamples, "split": scores.split, "baseline": baseline}
        for name in ("accuracy", "usage", "accuracy_change"):
            out |= with_ends(name, getattr(found, name))
        return out | {"optimism": found.optimism, "same_models": float(np.mean(same))}


# By how little a cheaper model must miss for that to be said.
NEAR = 0.01


def run(
    store: Store, search: Search, optimism: int | None = None, promise: Promise | None = None
) -> dict[str, Any]:
    """The answer with everything around it, as `cascade search --json` prints it; its rows are also
    written to results/search. `optimism` is a number of resamples."""
    certified = None if promise is None else _certified(store, search, promise)
    if certified is not None:
        search = replace(search, given=_promised(search, certified))
    baselines = [search.judge.single(model) for model in search.reported.models]
    found: Row = {"target": CANNOT_TELL, "worth": CANNOT_TELL, "answer": None}
    if certified is not None and certified.point is None:
        told = [_refused(search, certified)]
    else:
        answer, judged = search.answer()
        told = sentences(judged)
        if certified is not None:
            told.insert(1, _risk(certified, answer))
        found = {"target": judged.target, "worth": judged.worth, "answer": answer}
        baselines += search.judge.baselines(answer, search.point)
    frontier = search.frontier
    found |= {"sentence": " ".join(told), "sentences": told}
    found |= {"baselines": baselines, "frontier": frontier}
    rows = [row | {"question": str(search.question)} for row in rows_of(found)]
    save(store, "search", search.reported, _request(search, promise), rows)
    return {
        **_head(search),
        **found,
        "hull": [row for row in frontier if row["kind"] == "hull"],
        "most_accurate": frontier[-1],
        "mixture": None if certified else search.mixture(),
        "certificate": certified and certified.about(),
        "optimism": optimism and search.optimism(optimism, found["answer"]["baseline"]),
        "chains": [row for row in frontier if row["model_3"]] if search.space.stages == 3 else None,
    }


def rows_of(found: dict[str, Any]) -> list[Row]:
    """All rows of a result: the answer's, the frontier's and the baselines'."""
    answer = [] if found["answer"] is None else [found["answer"]]
    return [{"selected": False} | row for row in (*answer, *found["frontier"], *found["baselines"])]


def _head(search: Search) -> dict[str, Any]:
    about = search.pricer.about()
    return {
        "dataset": search.reported.dataset,
        "split": search.reported.split,
        "n": len(search.reported.labels),
        "fit_split": search.plan.split,
        "fit_method": search.plan.method,
        "fit_n": len(search.plan.scores.labels),
        "notes": list(search.plan.notes),
        "models": list(search.reported.models),
        "question": str(search.question),
        "cost": {name.removeprefix("cost_"): value for name, value in about.items()},
    }


def _request(search: Search, promise: Promise | None) -> dict[str, Any]:
    """What tells this search from others."""
    return {
        "question": str(search.question),
        "space": search.space,
        "fit": [search.plan.method, search.plan.split],
        "cost": asked(search.pricer),
        "promise": promise,
    }


def _certified(store: Store, search: Search, promise: Promise) -> Certified:
    from stages.search.guarantee import guarantee  # and with it scipy

    scores, cap = search.calibration or search.plan.scores, promise.limits.cost
    if cap is not None and cap < search.found.cost[0]:
        raise InputError(_unreachable(Question(COST, cap), search.found, search.pricer))
    costs = costs_of(search.pricer, scores.models, len(scores.labels))
    return guarantee(store, scores, costs, search.space, promise)


def _promised(search: Search, certified: Certified) -> Answer:
    """What is certified, held against the reference; where nothing is, the reference itself."""
    point, reference = certified.point, certified.reference
    if point is None or certified.deployment is None:
        point = Cascade.of((reference,))
        return Answer(point, search.did(point), CANNOT_TELL, reference)
    found = decide(search.plan.scores, point)
    fitted = FitFigures(found.accuracy, certified.deployment.cost)
    selected = search.plan.method == "hold-out"
    return Answer(point, fitted, MEETS, reference, selected=selected)


def _risk(certified: Certified, answer: Row) -> str:
    """What is promised; of the reference itself, why nothing cheaper is."""
    limits, why = certified.promise.limits, certified.certificate.why
    if answer["model_1"] == certified.reference and answer["model_2"] is None:
        if why is None or certified.safest is None:
            return "It loses nothing against itself, and nothing cheaper was left to test."
        return f"Nothing cheaper is certified: the safest, {_safest(certified)}."
    return (
        f"With probability {1 - limits.delta:g} over the calibration images it loses at most "
        f"{limits.epsilon:.2%} accuracy against {certified.reference} alone. That holds of one "
        "certificate, not of the first that passes of several tries."
    )


def _safest(certified: Certified) -> str:
    """The first that was tested, and why it did not pass."""
    from stages.certify import SAFEST  # and with it scipy

    return f"{certified.safest},{str(certified.certificate.why).removeprefix(SAFEST)}"


def _refused(search: Search, certified: Certified) -> str:
    """What could not be promised, on which images that was tested, and what would help."""
    limits, made = certified.promise.limits, certified.certificate
    scores = search.calibration or search.plan.scores
    n, proposing = len(scores.labels), certified.proposing
    cut = f"Of the {n} images of {scores.split}, {proposing} proposed cascades and {made.n_test}"
    split = f" {cut} tested them." if proposing + made.n_test == n else ""
    why = f"The safest, {_safest(certified)}" if certified.safest else str(made.why).capitalize()
    return (
        f"Infeasible: nothing is certified to lose at most {limits.epsilon:.2%} accuracy against "
        f"{certified.reference} alone with probability {1 - limits.delta:g}.{split} {why}."
    )


def _unreachable(question: Question, found: Found, pricer: Pricer) -> str:
    """What was asked for, what there is, and what can be asked for instead."""
    row = 0 if question.kind == COST else -1
    has = (
        f"{found.points[row]} reaches {found.right[row] / len(found.scores.labels):.2%} for "
        f"{amount(float(found.cost[row]), pricer.prices.unit)}"
    )
    if question.kind == COST:
        limit = budget(question.value or 0.0, pricer.prices.unit)
        where = found.scores.split
        return f"nothing costs {limit} or less on {where}; the cheapest, {has}: allow more"
    return (
        f"nothing reaches {question.value:.2%} on {found.scores.split}; the most accurate, {has}: "
        "ask for less"
    )
