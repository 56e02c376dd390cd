"""Which cascade should be deployed? Every pair, rule and λ, exactly, and an answer to a question.

Searched on the fitting images, told about the reported ones. From the cache alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cache import InputError, Store
from stages.bootstrap import procedure
from stages.fitting import FOLDS, FitPlan, folds
from stages.found import Found, Space, find
from stages.judged import Fitted, Judge, Row
from stages.operating import OperatingPoint, Outcome, outcome
from stages.pricing import Pricer, asked
from stages.questions import ACCURACY, CERTIFY, COST, MATCH, Question
from stages.resampled import Resampling
from stages.results import save
from stages.score import ScoreSet
from stages.spending import costs_of
from stages.verdict import Verdict, amount, missed, sentence, verdict

if TYPE_CHECKING:
    from stages.guarantee import Certified, Promise

CROSSFIT = ("crossfit_accuracy", "crossfit_usage", "crossfit_cost")


@dataclass(frozen=True)
class Search:
    """A question to a space of cascades, over one set of models: those of `reported`."""

    reported: ScoreSet
    plan: FitPlan
    pricer: Pricer
    space: Space
    question: Question
    threads: int | None = None

    @cached_property
    def found(self) -> Found:
        """The frontier on the fitting images."""
        return self._find(self.plan.scores)

    def _find(self, scores: ScoreSet) -> Found:
        costs = costs_of(self.pricer, scores.models, len(scores.labels))
        return find(scores, costs, self.space, self.threads)

    @cached_property
    def judge(self) -> Judge:
        """Held against the model to match, unless another baseline was asked for."""
        baseline = self.pricer.baseline or self.question.model
        return Judge(self.reported, self.plan, replace(self.pricer, baseline=baseline))

    @cached_property
    def row(self) -> int:
        """The row of the frontier that answers; InputError with what is reachable where none."""
        found = self.found.answer(self.question)
        if found is None:
            raise InputError(_unreachable(self.question, self.found, self.pricer))
        return found

    @property
    def point(self) -> OperatingPoint:
        return self.found.points[self.row]

    @cached_property
    def frontier(self) -> list[Row]:
        """A row for each point of the frontier, by ascending cost on the fitting images."""
        corners = set(self.found.hull.tolist())
        return [
            self.judge.row("hull" if i in corners else "point", point, self.fitted(i))
            for i, point in enumerate(self.found.points)
        ]

    def fitted(self, row: int) -> Fitted:
        return Fitted(self.found.right[row] / self.found.choices.n, float(self.found.cost[row]))

    @cached_property
    def crossfitted(self) -> tuple[Outcome, float] | None:
        """Each fold decided by a search of the others, and its cost; None unless cross-fitted."""
        if self.plan.method != "cross-fit" or self.question.kind == CERTIFY:
            return None
        scores, fold = self.reported, folds(len(self.reported.labels))
        stage, correct = np.zeros(len(fold), np.int8), np.zeros(len(fold), bool)
        cost = 0.0
        for f in range(FOLDS):
            others = self._find(scores.of_images(fold != f))
            point = others.points[others.nearest(self.question)]
            inside = np.flatnonzero(fold == f)
            here = outcome(scores.of_images(inside), point)
            stage[inside], correct[inside] = here.stage, here.correct
            cost += self.pricer.staged(point.models, here.stage).total.value * len(inside)
        return Outcome(stage, correct), cost / len(fold)

    def answer(self, point: OperatingPoint, fitted: Fitted | None) -> tuple[Row, Verdict]:
        """The full row of what is deployed, and whether that is worth it."""
        row = self.judge.bootstrapped(self.judge.row("answer", point, fitted), point)
        row |= dict.fromkeys(CROSSFIT)
        found = outcome(self.reported, point)
        bill = self.pricer.staged(point.models, found.stage)
        if self.crossfitted is not None:
            found, cost = self.crossfitted
            row |= dict(zip(CROSSFIT, (found.accuracy, found.usage(), cost), strict=True))
        return row, verdict(self.pricer, point, bill, found.stage, found.correct)

    def mixture(self) -> Row | None:
        """Two corners of the hull, and the share of requests that the second should get at random
        to meet the accuracy asked for at less cost, or to spend all of `max-cost` on more accuracy;
        None where the answer cannot be bettered so."""
        corners = self.found.hull
        cost, right = self.found.cost[corners], self.found.right[corners] / self.found.choices.n
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
        targets = {ACCURACY: self.question.value}
        if self.question.kind == MATCH:
            targets[MATCH] = (
                self.found.choices.alone[str(self.question.model)] / self.found.choices.n
            )
        return targets.get(self.question.kind) or self.fitted(self.row).accuracy

    def optimism(self, resamples: int, answer: Row) -> Row:
        """What choosing by this search yields on images that had no part in the choice."""
        scores = self.plan.scores
        costs = costs_of(self.pricer, scores.models, len(scores.labels))
        again = Resampling(scores, costs, self.space.table, self.question)
        baseline = (
            answer["baseline"] if answer["baseline"] in scores.models else self._most_accurate
        )
        found = procedure(again.chooser(), scores.correct[scores.index(baseline)], resamples)
        same = [again.models(number) == self.point.models for number in found.chosen.tolist()]
        out: Row = {"resamples": resamples, "split": scores.split, "baseline": baseline}
        for name in ("accuracy", "usage", "accuracy_change"):
            interval = getattr(found, name)
            out |= {
                name: interval.value,
                f"{name}_low": interval.low,
                f"{name}_high": interval.high,
            }
        return out | {"optimism": found.optimism, "same_models": float(np.mean(same))}

    @property
    def _most_accurate(self) -> str:
        return self.plan.scores.models[int(self.plan.scores.accuracy.argmax())]


def run(
    store: Store, search: Search, optimism: int | None = None, promise: Promise | None = None
) -> dict[str, Any]:
    """The answer with everything around it, as `cascade search --json` prints it; its rows are also
    written to results/search. `optimism` is a number of resamples."""
    certified = None if promise is None else _certified(store, search, promise)
    point, fitted = _chosen(search, certified)
    out = _head(search)
    refused = "" if certified is None else _refused(search, certified)
    found: Row = {"answer": None, "sentence": refused, "verdict": None, "rival": None}
    baselines = [search.judge.single(model) for model in search.reported.models]
    if point is not None:
        answer, judged = search.answer(point, fitted)
        words = sentence(point, answer, judged, search.question) + missed(search.question, answer)
        found = {
            "answer": answer,
            "sentence": words if certified is None else f"{_promised(certified)} {words}",
            "verdict": judged.word,
            "rival": judged.rival,
        }
        baselines += search.judge.baselines(answer, point)
    found |= {"baselines": baselines, "frontier": search.frontier}
    rows = _tidy(rows_of(found), search)
    save(store, "search", search.reported, _request(search, promise), rows)
    frontier = search.frontier
    return {
        **out,
        **found,
        "hull": [row for row in frontier if row["kind"] == "hull"],
        "mixture": None if certified else search.mixture(),
        "certificate": certified and certified.about(),
        "optimism": optimism and search.optimism(optimism, found["answer"]),
        "chains": [row for row in frontier if row["model_3"]] if search.space.stages == 3 else None,
    }


def rows_of(found: dict[str, Any]) -> list[Row]:
    """All rows of a result: the answer's, the frontier's and the baselines'."""
    answer = [] if found["answer"] is None else [found["answer"]]
    rows = [*answer, *found["frontier"], *found["baselines"]]
    return [row | {name: row.get(name) for name in CROSSFIT} for row in rows]


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
        "space": str(search.space),
        "fit": [search.plan.method, search.plan.split],
        "cost": asked(search.pricer),
        "promise": promise and str(promise),
    }


def _tidy(rows: Sequence[Row], search: Search) -> list[Row]:
    return [row | {"question": str(search.question)} for row in rows]


def _certified(store: Store, search: Search, promise: Promise) -> Certified:
    from stages.guarantee import guarantee  # and with it scipy

    scores, cap = search.plan.scores, promise.limits.cost
    if cap is not None and cap < search.found.cost[0]:
        raise InputError(_unreachable(Question(COST, cap), search.found, search.pricer))
    costs = costs_of(search.pricer, scores.models, len(scores.labels))
    return guarantee(store, scores, costs, search.space, promise)


def _chosen(
    search: Search, certified: Certified | None
) -> tuple[OperatingPoint | None, Fitted | None]:
    """What answers, and what it did on the fitting images."""
    if certified is None:
        return search.point, search.fitted(search.row)
    point, deployment = certified.point, certified.deployment
    if point is None or deployment is None:
        return None, None
    return point, Fitted(outcome(search.plan.scores, point).accuracy, deployment.cost)


def _promised(certified: Certified) -> str:
    limits = certified.promise.limits
    return (
        f"With probability {1 - limits.delta:g} over the calibration images this loses at most "
        f"{limits.epsilon:.2%} accuracy against {certified.reference} alone."
    )


def _refused(search: Search, certified: Certified) -> str:
    """What could not be promised, on which images that was tested, and what would help."""
    from stages.certify import SAFEST  # and with it scipy

    limits, made, scores = certified.promise.limits, certified.certificate, search.plan.scores
    n, proposing = len(scores.labels), certified.proposing
    cut = f"Of the {n} images of {scores.split}, {proposing} proposed cascades and {made.n_test}"
    split = f" {cut} tested them." if proposing + made.n_test == n else ""
    why = str(made.why).removeprefix(SAFEST)
    return (
        f"Infeasible: nothing is certified to lose at most {limits.epsilon:.2%} accuracy against "
        f"{certified.reference} alone with probability {1 - limits.delta:g}.{split} The safest, "
        f"{certified.safest},{why}."
    )


def _unreachable(question: Question, found: Found, pricer: Pricer) -> str:
    """What was asked for, what there is, and what can be asked for instead."""
    row = 0 if question.kind == COST else -1
    has = (
        f"{found.points[row]} reaches {found.right[row] / found.choices.n:.2%} for "
        f"{amount(float(found.cost[row]), pricer.prices.unit)}"
    )
    if question.kind == COST:
        limit = amount(question.value or 0.0, pricer.prices.unit)
        where = found.scores.split
        return f"nothing costs {limit} or less on {where}; the cheapest, {has}: allow more"
    return (
        f"nothing reaches {question.value:.2%} on {found.scores.split}; the most accurate, {has}: "
        "ask for less"
    )
