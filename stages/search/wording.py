"""The sentences that tell an answer: they begin with its two words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

from stages.costs import amount, budget, figures, interval, told_in
from stages.scores import ABSTAIN, HUMAN, ScoreSet
from stages.search.evaluation import AnswerRow, SearchRow
from stages.search.question import (
    ABSTAINED,
    ACCURACY,
    BEST,
    CERTIFY,
    COST,
    ENERGY,
    LATENCY,
    LOSS,
    MATCH,
    USAGE,
    Goal,
    Question,
)
from stages.search.verdict import CANNOT_TELL, MEETS, MISSES, WORTH, Reached, Verdict
from stages.statistics import Interval

# A change of cost that rounds to 0.0%.
UNSEEN = 5e-4
CHOSE = "the images that chose it cannot test it, give another --fit-split"
# From so many times the cost more on it is told in times.
_TIMES = 9.0
_LOSS = "loss"
# The unit where no cost is known.
RUNS = "model runs"


@dataclass(frozen=True)
class _Comparing:
    """How answers compare: by accuracy, or by what they lose."""

    better: str
    worse: str
    is_better: str
    is_worse: str
    looks_better: str
    as_good: str
    looks_as_good: str
    best: str
    may_be: str


_ACCURATE = _Comparing(
    better="more accurate",
    worse="less accurate",
    is_better="is more accurate than",
    is_worse="is less accurate than",
    looks_better="looks more accurate than",
    as_good="as accurate",
    looks_as_good="looks as accurate as",
    best="most accurate",
    may_be="be {} less accurate",
)
_LOSING = _Comparing(
    better="of less loss",
    worse="of more loss",
    is_better="loses less than",
    is_worse="loses more than",
    looks_better="looks to lose less than",
    as_good="as much loss",
    looks_as_good="looks to lose as little as",
    best="best",
    may_be="lose {} more",
)


def sentences(found: Verdict) -> list[str]:
    """The verdict, then two sentences or three: what it saves and how sure, and how it answers."""
    first = _several if found.question.several else _VERDICTS[found.question.kind]
    told = [first(found), *_figures(found), _further(found), _how(found), found.near]
    return [each for each in told if each]


def _match(found: Verdict) -> str:
    question, row, m = found.question, found.row, found.model
    sure, margin = f"{_sure(question)} sure", _margin_of(question.within, row)
    if found.alone and found.point.models[0] == m:
        if str(row.price.cost_unit) == RUNS:
            return "CANNOT TELL what a cascade saves: no cost of all these models is known."
        return f"NOTHING SAVES: no cascade {_by(row).looks_as_good} {m} for less."
    if found.target == MEETS:
        return _met(found, f"{_names(found)} matches {m} within {margin} ({sure})")
    if found.target == MISSES:
        worse = f"is {margin} or more {_by(row).worse} than {m} ({sure})"
        return f"MISSES, NOT WORTH IT: {_names(found)} {worse}."
    asked = f"whether {_names(found)} matches {m} within {margin}"
    if found.chose:
        why = CHOSE
    elif found.needed is not None and found.needed > row.n:
        # Where a part of the split named the answer, of both parts together.
        both = row.n + (row.fit_n if row.fit_method == "hold-out" else 0)
        needed = _round(round(found.needed * both / row.n))
        why = f"that takes about {needed:,} images, here are {both:,}"
    else:
        why = f"it may {_by(row).may_be.format(_by_how_much(-row.gain.low, row))}"
    return _unknown(found, f"{asked}: {why}")


def _accuracy(found: Verdict) -> str:
    goal, told = f"{100 * (found.question.value or 0):.6g}%", found.row.accuracy
    single = "" if found.reached else ", which no single model does"
    reached = f"{told.value:.1%} of {_images(found.row)} ({told.low:.1%} to {told.high:.1%})"
    return _reaching(found, f"reaches {goal}", f"misses {goal}", reached, single)


def _cost(found: Verdict) -> str:
    unit, cost = str(found.row.price.cost_unit), found.row.price.known
    goal = budget(found.question.value or 0.0, unit)
    spent = f"{interval(cost.value, cost.low, cost.high, unit)} on {found.row.split}"
    return _reaching(found, f"costs at most {goal}", f"costs more than {goal}", spent)


def _reaching(found: Verdict, does: str, misses: str, reached: str, single: str = "") -> str:
    """Of a number that is to be reached, on the reported images."""
    tested = found.question.confidence is not None
    if found.target == MEETS:
        sure = f" ({_sure(found.question)} sure)" if tested else ""
        return _met(found, f"{_names(found)} {does}{sure}{single}")
    if found.chose:
        return _unknown(found, f"whether {_names(found)} {does}: {CHOSE}")
    more = " No cascade passed the test." if tested else " For assurance add --confidence 0.95."
    if found.target == MISSES:
        return f"MISSES, NOT WORTH IT: {_names(found)} {misses}: {reached}.{more}"
    return f"{_unknown(found, f'whether {_names(found)} {does}: {reached}')}{more}"


def _best(found: Verdict) -> str:
    best = str(found.row.against.baseline) + ("" if found.asked else ", the best single model")
    by = _by(found.row)
    if found.alone:
        return f"NOT WORTH IT: no cascade {by.looks_better} {found.point.models[0]} alone."
    if found.target == MEETS:
        return _met(found, f"{_names(found)} {by.is_better} {best}")
    if found.target == MISSES:
        return f"MISSES, NOT WORTH IT: {_names(found)} {by.is_worse} {best}."
    chose = f": {CHOSE}" if found.chose else ""
    return _unknown(found, f"whether {_names(found)} {by.is_better} {best}{chose}")


def _loss(found: Verdict) -> str:
    goal, row = f"{found.question.value:g}", found.row
    single = "" if found.reached else ", which no single model does"
    reached = f"{_mean_loss(row)}, on {_images(row)}"
    return _reaching(found, f"loses at most {goal}", f"loses more than {goal}", reached, single)


def _mean_loss(row: SearchRow) -> str:
    """With its interval."""
    if row.loss is None:
        raise ValueError("answers have no loss")
    told = row.loss
    return interval(told.value, told.low, told.high, _LOSS)


def _by(row: SearchRow) -> _Comparing:
    return _ACCURATE if row.loss is None else _LOSING


def _by_how_much(gain: float, row: SearchRow) -> str:
    """A difference of accuracies, or of mean losses."""
    return f"{100 * gain:.1f} points" if row.loss is None else f"{gain:.4g}"


def _several(found: Verdict) -> str:
    """Of more limits than one."""
    if found.target == MEETS:
        sure = f" ({_sure(found.question)} sure)" if found.question.tested else ""
        single = "" if found.reached else ", which no single model does"
        kept = _and([_does(each.goal, found) for each in found.goals])
        return _met(found, f"{_names(found)} {kept}{sure}{single}")
    left = [each for each in found.goals if each.target == found.target] or list(found.goals)
    told = "; ".join(_short_of(each, found) for each in left)
    tested = found.question.tested
    more = " No cascade passed the tests." if tested else " For assurance add --confidence 0.95."
    if found.target == MISSES:
        return f"MISSES, NOT WORTH IT: {_names(found)} does not keep all limits: {told}.{more}"
    if found.chose:
        told, more = CHOSE, ""
    kept = _and([_does(each.goal, found) for each in left])
    return f"{_unknown(found, f'whether {_names(found)} {kept}: {told}')}{more}"


def _does(goal: Goal, found: Verdict) -> str:
    row = found.row
    return in_words(goal, found.model, str(row.price.cost_unit), row.loss is not None)


def asked_for(question: Question, matched: str | None, unit: str, scores: ScoreSet) -> str:
    """What was asked: what is best, within which limits, and who takes what stays unsure."""
    lossy, last = scores.loss is not None, scores.nobody
    best = "the least loss" if lossy else "the most accurate"
    goals = [in_words(goal, matched or "", unit, lossy) for goal in question.goals]
    told = "the cheapest" if question.cheapest else best
    told += f" that {_and(goals)}" if goals else ""
    if question.confidence is not None:
        told += f", {_sure(question)} sure"
    if last is None:
        return told
    if last.accuracy is None:
        return f"{told}; what is left unanswered loses {last.loss:g}"
    price = amount(last.price, unit) if last.price else "nothing"
    return f"{told}; a person is right on {100 * last.accuracy:.6g}%, for {price} each"


def asked_of(question: Question, unit: str) -> str:
    """What a cascade does that keeps all limits, whatever comes of them."""
    return " and ".join(in_words(goal, "the best model", unit) for goal in question.goals)


def in_words(goal: Goal, matched: str, unit: str, lossy: bool = False) -> str:
    """What a cascade does that keeps the limit; `unit` is that of the cost compared."""
    if goal.kind == MATCH:
        margin = f"{goal.within:g} of loss" if lossy else _margin(goal.within)
        return f"matches {goal.model or matched} within {margin}"
    does = {
        ACCURACY: "reaches",
        LOSS: "loses at most",
        LATENCY: "takes at most",
        ENERGY: "draws at most",
        USAGE: "runs B on at most",
        ABSTAINED: "leaves unanswered by models at most",
    }
    return f"{does.get(goal.kind, 'costs at most')} {limit_of(goal, unit)}"


def limit_of(goal: Goal, unit: str) -> str:
    """How much that is: a margin, a share, or a cost and where."""
    if goal.kind == MATCH:
        return _margin(goal.within)
    if goal.kind == LOSS:
        return f"{goal.number:g}"
    if goal.kind in (ACCURACY, USAGE, ABSTAINED):
        return f"{100 * goal.number:.6g}%"
    return budget(goal.number, _unit(goal, unit)) + _place(goal)


def _unit(goal: Goal, unit: str) -> str:
    return unit if goal.pricer is None else goal.pricer.prices.unit


def _place(goal: Goal) -> str:
    """On which device, and in which batches."""
    if goal.pricer is None:
        return ""
    device, size = goal.pricer.prices.device, goal.pricer.batch_size
    return (f" on {device}" if device else "") + (f" in batches of {size}" if size > 1 else "")


def _short_of(each: Reached, found: Verdict) -> str:
    """What it did of a limit."""
    goal, told = each.goal, each.found
    if goal.kind == MATCH:
        return _signed(told, found.row)
    if goal.kind == LOSS:
        return f"it loses {interval(told.value, told.low, told.high, _LOSS)}"
    if goal.kind in (ACCURACY, USAGE, ABSTAINED):
        does = {USAGE: "B runs on", ABSTAINED: "no model answers", ACCURACY: "it reaches"}
        what = f"{does[goal.kind]} "
        return f"{what}{told.value:.1%} ({told.low:.1%} to {told.high:.1%})"
    unit = _unit(goal, str(found.row.price.cost_unit))
    value, low, high = figures(unit, told.value, told.low, told.high)
    return f"{value} {told_in(unit)}{_place(goal)} ({low} to {high})"


def _further(found: Verdict) -> str | None:
    """What it does of limits that no other sentence tells of."""
    told = [_short_of(each, found) for each in found.goals if each.goal.pricer is not None]
    if not told or found.target != MEETS:
        return None
    return f"A request takes {_and(told)}."


def _and(words: Sequence[str]) -> str:
    """
    >>> _and(["one", "two", "three"])
    'one, two and three'
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _signed(told: Interval, row: SearchRow) -> str:
    """A change of accuracy, or of loss, with its interval."""
    if row.loss is not None:
        less = told.negative
        return f"{less.value:+.4g} ({less.low:+.4g} to {less.high:+.4g})".replace("-", "−")
    ends = f"({100 * told.low:+.1f} to {100 * told.high:+.1f})"
    return f"{100 * told.value:+.1f} points {ends}".replace("-", "−")


_VERDICTS: dict[str, Callable[[Verdict], str]] = {
    MATCH: _match,
    ACCURACY: _accuracy,
    LOSS: _loss,
    COST: _cost,
    BEST: _best,
    CERTIFY: lambda found: _met(found, f"{_names(found)} keeps its promise"),
}


def _names(found: Verdict) -> str:
    return " → ".join(found.point.models) + (" alone" if found.alone else "")


def _dearer(found: Verdict, then: str = ". ") -> str:
    """That is said before anything else; who gave a budget knows."""
    if found.saved.value >= -UNSEEN or found.question.kind == COST:
        return ""
    return f"COSTS MORE than {found.row.against.baseline}{then}"


def _met(found: Verdict, what: str) -> str:
    """A target that is met, and whether that is worth it."""
    if found.worth == WORTH:
        return f"{_dearer(found, ', and yet ')}MEETS, WORTH IT: {what}."
    return f"{_dearer(found)}MEETS: {what}. {_not_worth(found)}"


def _unknown(found: Verdict, what: str) -> str:
    more = "" if found.worth == CANNOT_TELL else f" {_not_worth(found)}"
    return f"{_dearer(found)}CANNOT TELL {what}.{more}"


def _not_worth(found: Verdict) -> str:
    """Why a cascade is not, or not surely, worth it."""
    if found.worth == CANNOT_TELL:
        return "CANNOT TELL whether it is worth it."
    if found.alone:
        better = _by(found.row).better if found.question.kind == COST else "cheaper"
        return f"NOT WORTH IT: no cascade that does so is {better}."
    if found.rival:
        return f"NOT WORTH IT: {found.rival} alone costs no more and was no worse."
    better = _by(found.row).better
    return f"NOT WORTH IT: neither cheaper nor {better} than {found.row.against.baseline}."


def _images(row: AnswerRow) -> str:
    """Which images say so."""
    n = f"{row.n:,}"
    if row.fit_method == "same-split":
        return f"the {n} {row.split} images that chose it"
    if row.fit_method == "hold-out" or row.selected:
        return f"the {n} {row.split} images that tested it"
    if row.fit_method == "cross-fit":
        return f"{n} {row.split} images, cross-fitted"
    return f"{n} {row.split} images"


def _figures(found: Verdict) -> list[str]:
    """What it saves and how accurate it is, each with its interval."""
    row, first = found.row, found.point.models[0]
    accuracy = f"{row.accuracy.value:.1%} of {_images(row)}"
    right = f"is right on {accuracy}"
    if row.loss is not None:
        if found.point.nobody and row.answered_accuracy is not None:
            accuracy = f"{row.answered_accuracy.value:.1%} of those answered of {_images(row)}"
        accuracy = f"{_mean_loss(row)} a request, right on {accuracy}"
        right = f"loses {accuracy}"
    if found.alone and first in (found.model, row.against.baseline):
        cost = amount(row.price.known.value, str(row.price.cost_unit))
        return [f"{first} alone {right}, at {cost} a request."]
    saved = _saved(found)
    if row.fit_method == "cross-fit":
        saved += f" (this λ on all {row.n:,})"
    if found.alone:
        saved = f"{first} alone: {saved}"
    if row.matched not in (None, row.against.baseline):
        change = _change(found)
        return [f"{saved}.", f"{change[0].upper()}{change[1:]}: {accuracy}."]
    told = found.question.kind in (ACCURACY, LOSS) and not found.question.several
    if told and found.target != MEETS:  # the verdict tells it
        return [f"{saved}; {_change(found)}."]
    return [f"{saved}; {_change(found)}: {accuracy}."]


def _baseline(found: Verdict) -> str:
    """What is saved against, and what that model is."""
    name, matched = str(found.row.against.baseline), found.row.matched
    if found.asked:
        return name
    if not found.reached:
        return f"{name}, the {_by(found.row).best} single model"
    if matched not in (None, name):
        return f"{name}, the cheapest single model that matches"
    return name


# What there is more or less of, by the cost's unit; others are named as they are.
_OF = {"multiply-adds": "multiply-adds", "J": "energy", "ms": "time", "model runs": "model runs"}


def _saved(found: Verdict) -> str:
    """With the interval that it has."""
    saved, low, high = astuple(found.saved)
    if found.row.price.baseline_cost == 0:
        cost = amount(found.row.price.known.value, str(found.row.price.cost_unit))
        return f"{cost} a request, where {_baseline(found)} costs nothing"
    unit, baseline = str(found.row.price.cost_unit), _baseline(found)
    what, counted = _OF.get(unit, unit), _OF.get(unit) == unit
    if abs(saved) < UNSEEN:
        return f"As {'many' if counted else 'much'} {what} as {baseline}"
    if saved < -_TIMES:
        times = " to ".join(f"{1 - end:,.0f}" for end in (high, low))
        return f"{1 - saved:,.0f} times the {what} of {baseline} ({times})"
    sign = 1 if saved > 0 else -1
    ends = sorted((sign * low, sign * high))
    told = " to ".join(_percent(each) for each in ends)
    less = "fewer" if counted else "less"
    here, there = (less, "more") if sign > 0 else ("more", less)
    if ends[0] < -UNSEEN:
        told = f"from {_percent(-ends[0])} {there}, to {_percent(ends[1])}"
    return f"{_percent(abs(saved))} {here} {what} than {baseline} ({told})"


def _change(found: Verdict) -> str:
    """Of accuracy, or of loss. Where these images tested it, the verdict says how sure that is."""
    row, by = found.row, _by(found.row)
    tested = found.question.kind == MATCH and found.target in (MEETS, MISSES)
    chance = "" if tested else _chance(row)
    than = "" if row.matched in (None, row.against.baseline) else f" {row.matched}"
    gain = row.gain.value
    if not gain or (row.loss is None and abs(gain) < UNSEEN):
        return f"{by.as_good}{than and f' as{than}'}{chance}"
    better = (by.better if gain > 0 else by.worse).removeprefix("of ")
    return f"{_by_how_much(abs(gain), row)} {better}{than and f' than{than}'}{chance}"


def _chance(row: SearchRow) -> str:
    """The interval of the change, and whether it could be none."""
    change = row.gain
    if change.low <= 0 <= change.high:
        signed = _signed(change, row).partition("(")[2]
        return f" (could be chance: {signed}"
    least, most = sorted((abs(change.low), abs(change.high)))
    if row.loss is not None:
        return f" ({least:.4g} to {most:.4g})"
    return f" ({100 * least:.1f} to {100 * most:.1f})"


def _how(found: Verdict) -> str:
    """Which model answers what."""
    if found.alone:
        return ""
    first, second, *third = map(_who, found.point.models)
    usage = _percent(found.row.usage.value)
    told = f"{first} answers every image, {second} the {usage} where it is unsure"
    if third:
        told += f", {third[0]} the {_percent(found.row.usage_2 or 0.0)} where that is unsure too"
    return told + (", and the surer answer counts." if found.point.postcheck else ".")


def _who(model: str) -> str:
    return {HUMAN: "a person", ABSTAIN: "nobody"}.get(model, model)


def _percent(share: float) -> str:
    """In two or three digits.

    >>> _percent(0.8724), _percent(0.068)
    ('87%', '6.8%')
    """
    return f"{share:.0%}" if abs(share) >= 0.0995 else f"{share:.1%}"


def _sure(question: Question) -> str:
    return f"{100 * question.sure:g}%"


def _margin(within: float) -> str:
    points = 100 * within
    return f"{points:g} point{'' if points == 1 else 's'}"


def _margin_of(within: float, row: SearchRow) -> str:
    """As accuracy or as loss."""
    return _margin(within) if row.loss is None else f"{within:g} of loss"


def _round(count: int) -> int:
    """To two digits, upwards."""
    step = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step
