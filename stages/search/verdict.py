"""Two words say what an answer is. *target*: does it do what was asked? *worth*: is it better than
the single model that one would deploy instead? And the sentences that begin with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

from stages.cascade import Cascade
from stages.costs import amount, budget, figures, interval, told_in
from stages.search.evaluation import AnswerRow, SearchRow
from stages.search.question import (
    ACCURACY,
    BEST,
    CERTIFY,
    COST,
    ENERGY,
    LATENCY,
    MATCH,
    USAGE,
    Goal,
    Question,
)
from stages.statistics import Interval

MEETS, CANNOT_TELL, MISSES = "MEETS", "CANNOT TELL", "MISSES"
WORTH, NOT_WORTH = "WORTH IT", "NOT WORTH IT"
# A change of cost that rounds to 0.0%.
UNSEEN = 5e-4
CHOSE = "the images that chose it cannot test it, give another --fit-split"
# The unit where no cost is known.
RUNS = "model runs"


@dataclass(frozen=True)
class Reached:
    """A limit, what the answer did of it on the reported images, and MEETS, CANNOT TELL or
    MISSES."""

    goal: Goal
    found: Interval
    target: str


@dataclass(frozen=True)
class Verdict:
    """`target` and `worth` are the two words. What they were made of: the `row` of the answer,
    whose cascade is `point`; `goals`, what it did of each limit; `reached`, the baseline does what
    was asked; `rival`, a single model that costs no more and was no worse, if any; `needed`, about
    how many images would tell, where these cannot; `chose`, the images that would test are those
    that chose; `near`, of the next cheaper single model, where it nearly does; `asked`, the
    baseline is not the search's."""

    question: Question
    point: Cascade
    row: AnswerRow
    target: str
    reached: bool = True
    rival: str | None = None
    needed: int | None = None
    chose: bool = False
    near: str | None = None
    asked: bool = False
    goals: Sequence[Reached] = ()

    @property
    def alone(self) -> bool:
        return len(self.point.models) == 1

    @property
    def model(self) -> str:
        """The one that accuracy is held against."""
        return str(self.row.matched or self.row.against.baseline)

    @property
    def saved(self) -> Interval:
        """Nothing can be saved against what is free."""
        return self.row.price.saved or Interval(0.0, 0.0, 0.0)

    @property
    def worth(self) -> str:
        """Never WORTH IT unless the target is met, nor where a single model is no dearer and no
        worse on the reported images; a single model is no cascade."""
        change, saved = self.row.against.accuracy_change, self.saved
        if self.alone or self.rival or self.target == MISSES:
            return NOT_WORTH
        better, no_better = change.low > 0, change.high <= 0
        cheaper, no_cheaper = saved.low > 0, saved.high <= 0
        if self.question.kind in (COST, BEST):
            cheaper, no_cheaper = False, True
        if self.question.kind == MATCH:  # accuracy is held against another model than the saving
            better, no_better = False, True
        if self.target == MEETS and (better or cheaper):
            return WORTH
        return NOT_WORTH if no_better and no_cheaper else CANNOT_TELL


def target_of(question: Question, row: SearchRow, alone: bool, goals: Sequence[Reached]) -> str:
    """By the intervals on the reported images, of an answer that was not tested there."""
    if question.kind == BEST:  # more accurate, not as accurate
        change = row.against.accuracy_change
        return MEETS if alone or change.low > 0 else MISSES if change.high < 0 else CANNOT_TELL
    return worst([each.target for each in goals])


def did_of(goal: Goal, row: SearchRow) -> Interval:
    """What the row tells of a limit."""
    known = {
        MATCH: row.against.accuracy_change,
        ACCURACY: row.accuracy,
        COST: row.price.cost,
        USAGE: row.usage,
    }
    found = known[goal.kind]
    if found is None:
        raise ValueError("no cost is known")
    return found


def word_of(goal: Goal, found: Interval) -> str:
    """By its interval: what is at least, or at most, what is asked."""
    sign = 1 if goal.kind == ACCURACY else -1
    least, most = sorted(sign * (end - goal.number) for end in (found.low, found.high))
    return MEETS if least >= 0 else MISSES if most < 0 else CANNOT_TELL


def worst(words: Sequence[str]) -> str:
    """Of all limits together."""
    return next((word for word in (MISSES, CANNOT_TELL) if word in words), MEETS)


# --- in words ------------------------------------------------------------------------------------


def sentences(found: Verdict) -> list[str]:
    """The verdict, then two sentences or three: what it saves and how sure, and how it answers."""
    first = _several if found.question.several else _VERDICTS[found.question.kind]
    told = [first(found), *_figures(found), _further(found), _how(found), found.near]
    return [each for each in told if each]


def _match(found: Verdict) -> str:
    question, row, m = found.question, found.row, found.model
    sure, margin = f"{_sure(question)} sure", _margin(question.within)
    if found.alone and found.point.models[0] == m:
        if str(row.price.cost_unit) == RUNS:
            return "CANNOT TELL what a cascade saves: no cost of all these models is known."
        return f"NOTHING SAVES: no cascade looks as accurate as {m} for less."
    if found.target == MEETS:
        return _met(found, f"{_names(found)} matches {m} within {margin} ({sure})")
    if found.target == MISSES:
        worse = f"is {margin} or more less accurate than {m} ({sure})"
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
        why = f"it may be {-100 * row.against.accuracy_change.low:.1f} points less accurate"
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
    if found.alone:
        return f"NOT WORTH IT: no cascade looks more accurate than {found.point.models[0]} alone."
    if found.target == MEETS:
        return _met(found, f"{_names(found)} is more accurate than {best}")
    if found.target == MISSES:
        return f"MISSES, NOT WORTH IT: {_names(found)} is less accurate than {best}."
    chose = f": {CHOSE}" if found.chose else ""
    return _unknown(found, f"whether {_names(found)} is more accurate than {best}{chose}")


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
    return in_words(goal, found.model, str(found.row.price.cost_unit))


def in_words(goal: Goal, matched: str, unit: str) -> str:
    """What a cascade does that keeps the limit; `unit` is that of the cost compared."""
    if goal.kind == MATCH:
        return f"matches {goal.model or matched} within {limit_of(goal, unit)}"
    most = {LATENCY: "takes at most", ENERGY: "draws at most", USAGE: "runs B on at most"}
    does = most | {ACCURACY: "reaches"}
    return f"{does.get(goal.kind, 'costs at most')} {limit_of(goal, unit)}"


def limit_of(goal: Goal, unit: str) -> str:
    """How much that is: a margin, a share, or a cost and where."""
    if goal.kind == MATCH:
        return _margin(goal.within)
    if goal.kind in (ACCURACY, USAGE):
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
        points = 100 * told.value
        return f"{points:+.1f} points ({100 * told.low:+.1f} to {100 * told.high:+.1f})".replace(
            "-", "−"
        )
    if goal.kind in (ACCURACY, USAGE):
        what = "" if goal.kind == ACCURACY else "B runs on "
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


_VERDICTS: dict[str, Callable[[Verdict], str]] = {
    MATCH: _match,
    ACCURACY: _accuracy,
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
        better = "more accurate" if found.question.kind == COST else "cheaper"
        return f"NOT WORTH IT: no cascade that does so is {better}."
    if found.rival:
        return f"NOT WORTH IT: {found.rival} alone costs no more and was no worse."
    return f"NOT WORTH IT: neither cheaper nor more accurate than {found.row.against.baseline}."


def _images(row: AnswerRow) -> str:
    """Which images say so."""
    n = f"{row.n:,}"
    if row.fit_method == "hold-out" or row.selected:
        return f"the {n} {row.split} images that tested it"
    if row.fit_method == "cross-fit":
        return f"{n} {row.split} images, cross-fitted"
    return f"{n} {row.split} images"


def _figures(found: Verdict) -> list[str]:
    """What it saves and how accurate it is, each with its interval."""
    row, first = found.row, found.point.models[0]
    accuracy = f"{row.accuracy.value:.1%} of {_images(row)}"
    if found.alone and first in (found.model, row.against.baseline):
        cost = amount(row.price.known.value, str(row.price.cost_unit))
        return [f"{first} alone is right on {accuracy}, at {cost} a request."]
    saved = _saved(found)
    if row.fit_method == "cross-fit":
        saved += f" (this λ on all {row.n:,})"
    if found.alone:
        saved = f"{first} alone: {saved}"
    if row.matched not in (None, row.against.baseline):
        change = _change(found)
        return [f"{saved}.", f"{change[0].upper()}{change[1:]}: {accuracy}."]
    if found.question.kind == ACCURACY and found.target != MEETS:  # the verdict tells it
        return [f"{saved}; {_change(found)}."]
    return [f"{saved}; {_change(found)}: {accuracy}."]


def _baseline(found: Verdict) -> str:
    """What is saved against, and what that model is."""
    name, matched = str(found.row.against.baseline), found.row.matched
    if found.asked:
        return name
    if not found.reached:
        return f"{name}, the most accurate single model"
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
    sign = 1 if saved > 0 else -1
    ends = sorted((sign * low, sign * high))
    told = " to ".join(_percent(each) for each in ends)
    less = "fewer" if counted else "less"
    here, there = (less, "more") if sign > 0 else ("more", less)
    if ends[0] < -UNSEEN:
        told = f"from {_percent(-ends[0])} {there}, to {_percent(ends[1])}"
    return f"{_percent(abs(saved))} {here} {what} than {baseline} ({told})"


def _change(found: Verdict) -> str:
    """Of accuracy. Where these images tested it, the verdict says how sure that is."""
    row = found.row
    tested = found.question.kind == MATCH and found.target in (MEETS, MISSES)
    chance = "" if tested else _chance(row)
    than = "" if row.matched in (None, row.against.baseline) else f" {row.matched}"
    points = 100 * row.against.accuracy_change.value
    if abs(points) < 0.05:
        return f"as accurate{than and f' as{than}'}{chance}"
    more = "more" if points > 0 else "less"
    return f"{abs(points):.1f} points {more} accurate{than and f' than{than}'}{chance}"


def _chance(row: SearchRow) -> str:
    """The interval of the change, and whether it could be none."""
    change = row.against.accuracy_change
    low, high = 100 * change.low, 100 * change.high
    if low <= 0 <= high:
        return f" (could be chance: {low:+.1f} to {high:+.1f})".replace("-", "−")
    least, most = sorted((abs(low), abs(high)))
    return f" ({least:.1f} to {most:.1f})"


def _how(found: Verdict) -> str:
    """Which model answers what."""
    if found.alone:
        return ""
    first, second, *third = found.point.models
    usage = _percent(found.row.usage.value)
    told = f"{first} answers every image, {second} the {usage} where it is unsure"
    if third:
        told += f", {third[0]} the {_percent(found.row.usage_2 or 0.0)} where that is unsure too"
    return told + (", and the surer answer counts." if found.point.postcheck else ".")


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


def _round(count: int) -> int:
    """To two digits, upwards."""
    step = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step
