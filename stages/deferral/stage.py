"""logits → every deferral rule in one table, each held against plain maxp, with intervals.

The best pair of each rule is chosen, and its λ fitted, on the fitting images; everything else is
about the reported ones. Where these are the same, accuracy is that of folds whose images had no
part in the choice: all of it, pair, temperatures, learned deferral and λ, is made anew on the
others, ten times over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from cache import InputError, Store
from stages.cascade import OBJECTIVES
from stages.costs import UNPRICED, HeldAgainst, PairPrice, Pricer, asked, held_against
from stages.deferral.committees import COMMITTEES, agreement, best_agreements, committee
from stages.deferral.comparison import decide
from stages.deferral.fitted_cascade import Best, DeferralResult, RuleFigures, fitting_images
from stages.deferral.from_cache import Sides
from stages.deferral.rules import RULES, rule_of, scores_among
from stages.deferral.spec import FINALS, SCORES_ONLY
from stages.results import save
from stages.scores import ScoreSet
from stages.statistics import Interval
from stages.threshold import FitPlan

Team = tuple[int, ...]
Key = tuple[str, str]  # rule, final answer
Progress = Callable[[int, int], None]
PLAIN = ("maxp", "b")
AGREEMENT = COMMITTEES[0]
BEST = "best"


def needs(name: str) -> tuple[str, ...]:
    """What a rule or a final answer needs."""
    return FINALS[name].needs if name in FINALS else rule_of(name).needs


@dataclass(frozen=True)
class RulesQuestion:
    """Which rules, final answers and objectives; of several `pairs` (indices of models) the best
    counts. `committees` are members with the model that answers for them last; `trios` asks for the
    best agreement of any two models with a third; `voting` says which rules of theirs.
    """

    pairs: Sequence[tuple[int, int]]
    rules: Sequence[str] = tuple(RULES)
    finals: Sequence[str] = tuple(FINALS)
    objectives: Sequence[str] = OBJECTIVES
    committees: Sequence[Team] = ()
    trios: bool = False
    voting: Sequence[str] = COMMITTEES

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(need for name in (*self.rules, *self.finals) for need in needs(name))


@dataclass(frozen=True, kw_only=True)
class RuleRow(RuleFigures):
    """A row of results/rules: of a committee `model_1` names all members. `gain`: of accuracy over
    plain maxp; the best of `candidates`."""

    model_1: str
    model_2: str
    gain: Interval
    candidates: int
    split: str
    fit_split: str
    fit_method: str
    against: HeldAgainst
    price: PairPrice


def run(
    store: Store,
    reported: ScoreSet,
    plan: FitPlan,
    question: RulesQuestion,
    pricer: Pricer | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[list[RuleRow], list[str]]:
    """(rows, also written to results/rules; notes on what was left out for lack of logits).

    InputError where that leaves nothing.
    """
    if PLAIN[0] not in reported.own:
        raise InputError(
            "rules are held against plain maxp, which is not known of all these models: ask "
            f"threshold or search, by {', '.join(reported.own) or 'others'}"
        )
    logits = question.needs != {SCORES_ONLY}
    sides = Sides.of(store, reported, plan, logits, scores_among(question.rules))
    entries, plain = table(sides, question, progress)
    notes = left_out(sides, question)
    if not entries and not notes:
        raise InputError("nothing votes here: give --third or --committee, or other --rules")
    if not entries:
        raise InputError(f"{notes[0]}, which leaves none: extract or import logits")
    rows = [_row(decided, plain, sides, pricer) for decided in entries]
    request = {
        "pairs": [[reported.models[m] for m in pair] for pair in question.pairs],
        "committees": [[reported.models[m] for m in team] for team in question.committees],
        "trios": question.trios,
        "fit": [plan.method, plan.split],
        "question": [list(question.rules), list(question.finals), list(question.objectives)],
        **({} if question.voting == COMMITTEES else {"voting": list(question.voting)}),
        "cost": asked(pricer),
    }
    save(store, "rules", reported, request, rows)
    return rows, notes


def table(
    sides: Sides, question: RulesQuestion, progress: Progress = lambda done, total: None
) -> tuple[list[DeferralResult], Mapping[str | None, DeferralResult]]:
    """The cascades in the order of the question, and plain maxp by objective."""
    wanted = {(rule, final): Best() for rule in question.rules for final in question.finals}
    plain = wanted.get(PLAIN, Best())
    count = len(question.pairs)
    for i, pair in enumerate(question.pairs):
        progress(i, count)
        tell = partial(_part_of, progress, i, count)
        for key, candidate in _answers(sides, pair, question, tell).items():
            wanted.get(key, plain).offer(candidate)
    entries = [
        decided
        for best in wanted.values()
        for objective, decided in best.decided.items()
        if objective in question.objectives
    ]
    return [*entries, *_teams(sides, question)], plain.decided


def _part_of(progress: Progress, task: int, tasks: int, part: int, parts: int) -> None:
    """Tell of a task's part as one of all tasks'."""
    progress(task * parts + part, tasks * parts)


def _answers(
    sides: Sides, pair: tuple[int, int], question: RulesQuestion, progress: Progress
) -> dict[Key, dict[str | None, DeferralResult]]:
    """The cascades of one pair by objective, plain maxp among them."""
    models = tuple(sides.reported.models[m] for m in pair)
    objectives = tuple(dict.fromkeys((BEST, *question.objectives)))
    rules = _possible(sides.known(*pair), question)
    out: dict[Key, dict[str | None, DeferralResult]] = {}
    for one in decide(*sides.pair(*pair), rules, objectives, progress):
        by_objective = out.setdefault((one.about.rule, one.about.final), {})
        by_objective[one.about.objective] = replace(one, models=models)
    return out


def _possible(known: frozenset[str], question: RulesQuestion) -> dict[str, list[str]]:
    """Rule → the final answers that can be told of a pair, if any; plain maxp always."""
    finals = [name for name in question.finals if known.issuperset(FINALS[name].needs)]
    out = {name: finals for name in question.rules if finals and known.issuperset(needs(name))}
    rule, final = PLAIN
    out[rule] = list(dict.fromkeys((final, *out.get(rule, ()))))
    return out


def left_out(sides: Sides, question: RulesQuestion) -> list[str]:
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


def _teams(sides: Sides, question: RulesQuestion) -> Iterator[DeferralResult]:
    """Committees: agreement and vote share of those asked for, and the best trio."""
    for team in question.committees:
        models = tuple(sides.reported.models[m] for m in team)
        ballots = sides.ballot(team[:-1], team[-1])
        for decided in (agreement(*ballots), *committee(*ballots, question.objectives)):
            if decided.about.rule in question.voting:
                yield replace(decided, models=models)
    if question.trios and AGREEMENT in question.voting and len(sides.reported.models) > 2:
        yield _best_trio(sides)


def _best_trio(sides: Sides) -> DeferralResult:
    """The trio with the best fit; where cross-fitted, chosen anew in each fold."""
    fit, m = sides.plan.scores, len(sides.reported.models)
    kept = [np.ones(len(fit.labels), bool)]
    kept += fitting_images(len(fit.labels)) if sides.plan.method == "cross-fit" else ()
    trios = best_agreements(fit.predictions, fit.correct, np.stack(kept))
    of = {trio: agreement(*sides.ballot(trio[:2], trio[2])) for trio in set(trios)}
    whole, *folds = (of[trio].parts[i] for i, trio in enumerate(trios))
    models = tuple(sides.reported.models[i] for i in trios[0])
    candidates = m * (m - 1) * (m - 2) // 2
    return DeferralResult(of[trios[0]].about, whole, tuple(folds), models, candidates)


def _row(
    decided: DeferralResult,
    plain: Mapping[str | None, DeferralResult],
    sides: Sides,
    pricer: Pricer | None,
) -> RuleRow:
    *first, last = decided.models
    against, price = _compared(decided, sides.reported, pricer)
    return RuleRow(
        **vars(decided.row),
        model_1=",".join(first),
        model_2=last,
        gain=_gain(decided, plain[decided.about.objective or BEST]),
        candidates=decided.candidates,
        split=sides.reported.split,
        fit_split=sides.plan.split,
        fit_method=sides.plan.method,
        against=against,
        price=price,
    )


def _gain(decided: DeferralResult, plain: DeferralResult) -> Interval:
    if (decided.about.rule, decided.about.final) == PLAIN:
        return Interval(0.0, 0.0, 0.0)
    return decided.change([part.correct for part in plain.judged])


def _compared(
    decided: DeferralResult, reported: ScoreSet, pricer: Pricer | None
) -> tuple[HeldAgainst, PairPrice]:
    """With the model that one would deploy instead, or the one asked for, and what both cost.

    The cost is that of the λ in the row: in other folds other models may have been chosen.
    """
    baseline = decided.models[decided.whole.baseline]
    changed = decided.change(_alone(decided, None if pricer is None else pricer.compared_with))
    if pricer is None:
        return held_against(reported, baseline, changed), UNPRICED
    baseline = pricer.baseline or baseline
    stage = len(decided.models) - 2 + decided.whole.escalated.astype(np.int8)
    price = pricer.compared(decided.models, stage, baseline)
    return held_against(pricer.scores, baseline, changed), price


def _alone(decided: DeferralResult, fixed: np.ndarray | None) -> list[np.ndarray]:
    """Where the baseline is right, of the images of each part: chosen by each fold, or `fixed`."""
    if fixed is None:
        return [part.alone for part in decided.judged]
    if not decided.folds:
        return [fixed]
    return [fixed[~fits] for fits in fitting_images(len(fixed))]
