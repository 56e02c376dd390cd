"""logits → every deferral rule in one table, each held against plain maxp, with intervals.

The best pair of each rule is chosen, and its λ fitted, on the fitting images; everything else is
about the reported ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache import InputError, Store
from stages.bootstrap import Interval, deployed
from stages.deferral import (
    FINALS,
    RULES,
    Best,
    Decided,
    agreement,
    best_agreement,
    committee,
    decide,
    rule_of,
)
from stages.deferral.decided import Objective
from stages.deferral.inputs import Sides
from stages.deferral.rules import SCORES_ONLY
from stages.fitting import FOLDS, FitPlan, folds
from stages.pricing import NO_COST, Pricer, asked
from stages.results import save
from stages.score import ScoreSet
from stages.sweep import OBJECTIVES

Row = dict[str, Any]
Team = tuple[int, ...]
Progress = Callable[[int, int], None]
PLAIN = ("maxp", "b")
BEST = "best"


def needs(name: str) -> tuple[str, ...]:
    """What a rule or a final answer needs."""
    return FINALS[name].needs if name in FINALS else rule_of(name).needs


@dataclass(frozen=True)
class Question:
    """Which rules, final answers and objectives; of several `pairs` (indices of models) the best
    counts. `committees` are members with the model that answers for them last; `trios` asks for the
    best agreement of any two models with a third.
    """

    pairs: Sequence[tuple[int, int]]
    rules: Sequence[str] = tuple(RULES)
    finals: Sequence[str] = tuple(FINALS)
    objectives: Sequence[str] = OBJECTIVES
    committees: Sequence[Team] = ()
    trios: bool = False

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(need for name in (*self.rules, *self.finals) for need in needs(name))

    @property
    def extra(self) -> list[str]:
        """Rules that are scores of packages."""
        return [name for name in self.rules if name not in RULES]


@dataclass(frozen=True)
class Entry:
    """One cascade of the table, the best of `candidates`."""

    decided: Decided
    candidates: int


def run(
    store: Store,
    reported: ScoreSet,
    plan: FitPlan,
    question: Question,
    pricer: Pricer | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[list[Row], list[str]]:
    """(rows, also written to results/rules; notes on what was left out for lack of logits).

    InputError where that leaves nothing.
    """
    logits = question.needs != {SCORES_ONLY}
    sides = Sides.of(store, reported, plan, logits, question.extra)
    entries, plain = table(sides, question, progress)
    notes = left_out(sides, question)
    if not entries:
        raise InputError(f"{notes[0]}, which leaves none: extract or import logits")
    rows = [_row(entry, plain, sides, pricer) for entry in entries]
    request = {
        "pairs": [[reported.models[m] for m in pair] for pair in question.pairs],
        "committees": [[reported.models[m] for m in team] for team in question.committees],
        "trios": question.trios,
        "fit": [plan.method, plan.split],
        "question": [list(question.rules), list(question.finals), list(question.objectives)],
        "cost": asked(pricer),
    }
    save(store, "rules", reported, request, rows)
    return rows, notes


def table(
    sides: Sides, question: Question, progress: Progress = lambda done, total: None
) -> tuple[list[Entry], Mapping[Objective, Decided]]:
    """The cascades in the order of the question, and plain maxp by objective."""
    wanted = {(rule, final): Best() for rule in question.rules for final in question.finals}
    plain = wanted.get(PLAIN, Best())
    for done, pair in enumerate(question.pairs):
        progress(done, len(question.pairs))
        for key, candidate in _answers(sides, pair, question):
            wanted.get(key, plain).offer(candidate)
    entries = [
        Entry(decided, best.candidates)
        for best in wanted.values()
        for objective, decided in best.decided.items()
        if objective in question.objectives
    ]
    return [*entries, *_teams(sides, question)], plain.decided


def _answers(
    sides: Sides, pair: tuple[int, int], question: Question
) -> Iterator[tuple[tuple[str, str], dict[Objective, Decided]]]:
    """((rule, final answer), its cascades by objective) of one pair, plain maxp among them."""
    fitting, reporting = sides.pair(*pair)
    models = tuple(sides.reported.models[m] for m in pair)
    objectives = tuple(dict.fromkeys((BEST, *question.objectives)))
    for rule, finals in _possible(sides.known(*pair), question).items():
        answers: dict[str, dict[Objective, Decided]] = {}
        for one in decide(fitting, reporting, rule, finals, objectives):
            by_objective = answers.setdefault(one.about["final"], {})
            by_objective[one.about["objective"]] = replace(one, models=models)
        for final, by_objective in answers.items():
            yield (rule, final), by_objective


def _possible(known: frozenset[str], question: Question) -> dict[str, list[str]]:
    """Rule → the final answers that can be told of a pair; plain maxp always."""
    finals = [name for name in question.finals if known.issuperset(FINALS[name].needs)]
    out = {name: finals for name in question.rules if known.issuperset(needs(name))}
    rule, final = PLAIN
    out[rule] = list(dict.fromkeys((final, *out.get(rule, ()))))
    return out


def left_out(sides: Sides, question: Question) -> list[str]:
    """A note where models have scores only, and something asked for needs logits."""
    used = sorted({m for pair in question.pairs for m in pair})
    bare = [sides.reported.models[m] for m in used if not sides.known(m, m) >= question.needs]
    asked = (*question.rules, *question.finals)
    needy = [name for name in asked if needs(name) != (SCORES_ONLY,)]
    if not bare or not needy:
        return []
    return [
        f"the cache has scores but no logits of {', '.join(bare)}: {', '.join(needy)} are left out "
        "where they need them"
    ]


def _teams(sides: Sides, question: Question) -> Iterator[Entry]:
    """Committees: agreement and vote share of those asked for, and the best trio."""
    for team in question.committees:
        models = tuple(sides.reported.models[m] for m in team)
        ballots = sides.ballot(team[:-1], team[-1])
        for decided in (agreement(*ballots), *committee(*ballots, question.objectives)):
            yield Entry(replace(decided, models=models), 1)
    if question.trios and len(sides.reported.models) > 2:
        yield _best_trio(sides)


def _best_trio(sides: Sides) -> Entry:
    """The trio with the best fit; where cross-fitted, chosen anew in each fold."""
    fit, m = sides.plan.scores, len(sides.reported.models)
    kept = [np.ones(len(fit.labels), bool)]
    if sides.plan.method == "cross-fit":
        fold = folds(len(fit.labels))
        kept += [fold != f for f in range(FOLDS)]
    trios = [best_agreement(fit.predictions[:, keep], fit.correct[:, keep]) for keep in kept]
    best = Best(by=None)
    for trio in dict.fromkeys(trios):
        models = tuple(sides.reported.models[i] for i in trio)
        best.offer({None: replace(agreement(*sides.ballot(trio[:2], trio[2])), models=models)})
    return Entry(best.decided[None], m * (m - 1) * (m - 2) // 2)


def _row(
    entry: Entry, plain: Mapping[Objective, Decided], sides: Sides, pricer: Pricer | None
) -> Row:
    """Intervals and gains are those of the cross-fitted decisions where there are such."""
    decided, honest = entry.decided, entry.decided.honest
    *first, last = decided.models
    against = plain[decided.about["objective"] or BEST].honest
    found = deployed(honest.correct, honest.escalated, against.correct)
    return (
        {"model_1": ",".join(first), "model_2": last}
        | decided.row
        | {name: decided.about.get(name) for name in ("temperature_1", "temperature_2")}
        | _interval("accuracy", found["accuracy"])
        | _interval("usage", found["usage"])
        | {"gain": found["accuracy_change"].value}
        | _interval("gain", found["accuracy_change"])
        | {
            "candidates": entry.candidates,
            "split": sides.reported.split,
            "fit_split": sides.plan.split,
            "fit_method": sides.plan.method,
        }
        | _cost(decided, pricer)
    )


def _interval(name: str, found: Interval) -> Row:
    return {f"{name}_low": found.low, f"{name}_high": found.high}


def _cost(decided: Decided, pricer: Pricer | None) -> Row:
    """The cost is that of the λ in the row: in other folds other models may have been chosen."""
    if pricer is None:
        return NO_COST
    *first, last = decided.models
    stage = len(first) - 1 + decided.whole.escalated.astype(np.int8)
    alone = {
        "cost_1": sum(pricer.model(name).value for name in first),
        "cost_2": pricer.model(last).value,
    }
    return pricer.against(pricer.staged(decided.models, stage), decided.honest.correct) | alone
