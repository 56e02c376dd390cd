"""Two words say what an answer is. *target*: does it do what was asked? *worth*: is it better than
the single model that one would deploy instead? And the sentences that begin with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stages.amounts import amount, budget, interval
from stages.operating import OperatingPoint
from stages.questions import ACCURACY, BEST, CERTIFY, COST, MATCH, Question

Row = dict[str, Any]

MEETS, CANNOT_TELL, MISSES = "MEETS", "CANNOT TELL", "MISSES"
WORTH, NOT_WORTH = "WORTH IT", "NOT WORTH IT"
# A change of cost that rounds to 0.0%.
UNSEEN = 5e-4


@dataclass(frozen=True)
class Verdict:
    """`target` and `worth` are the two words. What they were made of: the `row` of the answer,
    whose cascade is `point`; `reached`, the baseline does what was asked; `rival`, a single model
    that costs no more and was no worse, if any; `needed`, about how many images would tell, where
    these cannot; `chose`, the images that would test are those that chose; `near`, the next cheaper
    single model and by how much it misses, where that is little."""

    question: Question
    point: OperatingPoint
    row: Row
    target: str
    reached: bool = True
    rival: str | None = None
    needed: int | None = None
    chose: bool = False
    near: tuple[str, float] | None = None

    @property
    def alone(self) -> bool:
        return len(self.point.models) == 1

    @property
    def model(self) -> str:
        """The one that accuracy is held against."""
        return str(self.row["matched"] or self.row["baseline"])

    @property
    def worth(self) -> str:
        """Never WORTH IT unless the target is met, nor where a single model is no dearer and no
        worse on the reported images; a single model is no cascade."""
        row = self.row
        if self.alone or self.rival or self.target == MISSES:
            return NOT_WORTH
        better, no_better = row["accuracy_change_low"] > 0, row["accuracy_change_high"] <= 0
        cheaper, no_cheaper = row["saved_low"] > 0, row["saved_high"] <= 0
        if self.question.kind in (COST, BEST):
            cheaper, no_cheaper = False, True
        if self.target == MEETS and (better or cheaper):
            return WORTH
        return NOT_WORTH if no_better and no_cheaper else CANNOT_TELL


def target_of(question: Question, row: Row, alone: bool) -> str:
    """By the interval on the reported images, of an answer that was not tested there."""
    if question.kind == BEST and alone:
        return MEETS
    name, goal, sign = {
        ACCURACY: ("accuracy", question.value, 1),
        COST: ("cost", question.value, -1),
        BEST: ("accuracy_change", 0.0, 1),
    }[question.kind]
    least, most = sorted(
        sign * (row[f"{name}_{end}"] - float(goal or 0)) for end in ("low", "high")
    )
    if question.kind == BEST:  # more accurate, not as accurate
        return MEETS if least > 0 else MISSES if most < 0 else CANNOT_TELL
    return MEETS if least >= 0 else MISSES if most < 0 else CANNOT_TELL


# --- in words ------------------------------------------------------------------------------------


def sentences(found: Verdict) -> list[str]:
    """The verdict, then two sentences or three: what it saves and how sure, and how it answers."""
    told = [_verdict(found), *_figures(found), _how(found)]
    if found.near is not None:
        name, misses = found.near
        points = f"{100 * misses:.{1 if misses >= 0.0005 else 3}f}"
        told.append(f"The next cheaper model, {name}, misses by {points} points.")
    return [each for each in told if each]


def _verdict(found: Verdict) -> str:
    dearer = found.row["saved"] < -UNSEEN and found.question.kind != COST
    told = _VERDICTS[found.question.kind](found)
    return f"COSTS MORE than {found.row['baseline']} alone. {told}" if dearer else told


def _match(found: Verdict) -> str:
    question, row, m = found.question, found.row, found.model
    sure, margin = f"{question.sure:.0%} sure", _margin(question.within)
    if found.alone and found.point.models[0] == m:
        return f"NOTHING SAVES: no cascade looks as accurate as {m} for less."
    if found.target == MEETS:
        what = "with one model" if found.alone else ""
        met = f"at most {margin} less accurate than {m} ({sure})"
        return _met(found, f"MEETS {what}".strip(), met)
    if found.target == MISSES:
        return f"MISSES, NOT WORTH IT: {margin} or more less accurate than {m} ({sure})."
    asked = f"CANNOT TELL whether it matches {m} within {margin}"
    if found.chose:
        return f"{asked}: the images that chose it cannot test it, give another --fit-split."
    if found.needed is not None and found.needed > row["n"]:
        return (
            f"{asked}: {row['n']:,} images are too few, about {_round(found.needed):,} would tell."
        )
    return f"{asked}: it may be {-100 * row['accuracy_change_low']:.1f} points less accurate."


def _accuracy(found: Verdict) -> str:
    goal = f"{100 * (found.question.value or 0):.6g}%"
    sure = "" if found.question.confidence is None else f" ({found.question.sure:.0%} sure)"
    if found.target == MEETS:
        what = " with one model" if found.alone else ""
        best = (
            f"cheaper than {found.row['baseline']}, the cheapest single model that reaches it"
            if found.reached
            else "no single model reaches it"
        )
        return _met(found, f"MEETS your {goal}{what}{sure}", best)
    asked = f"whether it reaches {goal}"
    return _short(found, f"your {goal}", asked, f"{_share_of(found.row)}")


def _cost(found: Verdict) -> str:
    row = found.row
    goal = budget(found.question.value or 0.0, row["cost_unit"])
    if found.target == MEETS:
        return _met(found, f"MEETS your {goal}", f"more accurate than {row['baseline']}, the best "
                    "single model at this price")  # fmt: skip
    cost = interval(row["cost"], row["cost_low"], row["cost_high"], row["cost_unit"])
    spent = f"costs {cost} on {row['split']}"
    return _short(found, f"your {goal}", f"whether it costs {goal} or less", spent)


def _best(found: Verdict) -> str:
    best = f"{found.row['baseline']}, the best single model"
    if found.alone:
        return f"NOT WORTH IT: no cascade looks more accurate than {found.point.models[0]} alone."
    if found.target == MEETS:
        return _met(found, "MEETS", f"more accurate than {best}")
    if found.target == MISSES:
        return f"MISSES, NOT WORTH IT: less accurate than {best}."
    return _worth(found, f"CANNOT TELL whether it is more accurate than {best}")


def _certified(found: Verdict) -> str:
    return _met(found, "MEETS its promise", f"cheaper than {found.row['baseline']}")


_VERDICTS: dict[str, Callable[[Verdict], str]] = {
    MATCH: _match,
    ACCURACY: _accuracy,
    COST: _cost,
    BEST: _best,
    CERTIFY: _certified,
}


def _met(found: Verdict, met: str, why: str) -> str:
    """A target that is met, and whether that is worth it."""
    if found.worth == WORTH:
        cheaper = found.question.kind == MATCH
        return f"{met}, WORTH IT: {why}{', and cheaper' if cheaper else ''}."
    if found.question.kind == MATCH:
        met = f"{met}: {why}"
    return _worth(found, met)


def _worth(found: Verdict, told: str) -> str:
    """What is said of a cascade that is not, or not surely, worth it."""
    if found.worth == CANNOT_TELL and found.target == CANNOT_TELL:
        return f"{told}."
    if found.worth == CANNOT_TELL:
        return f"{told}. CANNOT TELL whether it is worth it."
    if found.alone:
        better = "more accurate" if found.question.kind == COST else "cheaper"
        return f"{told}. NOT WORTH IT: no cascade that does so is {better}."
    if found.rival:
        return f"{told}. NOT WORTH IT: {found.rival} alone costs no more and was no worse."
    return f"{told}. NOT WORTH IT: neither cheaper nor more accurate than {found.row['baseline']}."


def _short(found: Verdict, goal: str, asked: str, reached: str) -> str:
    tested = found.question.confidence is not None
    more = " No cascade passed the test." if tested else " For assurance add --confidence 0.95."
    if found.target == MISSES:
        return f"MISSES {goal}, NOT WORTH IT: {reached}.{more}"
    return f"{_worth(found, f'CANNOT TELL {asked}: {reached}')}{more}"


def _share_of(row: Row) -> str:
    low, high = (f"{row[f'accuracy_{end}']:.1%}" for end in ("low", "high"))
    return f"{row['accuracy']:.1%} of {_images(row)} ({low} to {high})"


def _images(row: Row) -> str:
    """Which images say so."""
    n = f"{row['n']:,}"
    if row["fit_method"] == "hold-out":
        return f"the {n} {row['split']} images that tested it"
    if row["fit_method"] == "cross-fit":
        return f"{n} {row['split']} images, cross-fitted"
    return f"{n} {row['split']} images"


def _figures(found: Verdict) -> list[str]:
    """What it saves and how accurate it is, each with its interval."""
    row, first = found.row, found.point.models[0]
    accuracy = f"{row['accuracy']:.1%} of {_images(row)}"
    if found.alone and first == found.model:
        cost = amount(row["cost"], row["cost_unit"])
        return [f"{first} alone: {accuracy} are right, at {cost} a request."]
    saved = _saved(row, _baseline(found))
    if row["fit_method"] == "cross-fit":
        saved += f" (this λ on all {row['n']:,})"
    if found.alone:
        saved = f"{first} alone: {saved[0].lower()}{saved[1:]}"
    if row["matched"] not in (None, row["baseline"]):
        return [f"{saved}.", f"Accuracy: {accuracy}, {_change(found)}."]
    if found.question.kind == ACCURACY and found.target != MEETS:  # the verdict tells it
        return [f"{saved}; {_change(found)}."]
    return [f"{saved}; accuracy {accuracy}, {_change(found)}."]


def _baseline(found: Verdict) -> str:
    """What is saved against, and what that model is."""
    name, matched = str(found.row["baseline"]), found.row["matched"]
    if not found.reached:
        return f"{name}, the most accurate single model"
    if matched not in (None, name):
        return f"{name}, the cheapest single model that matches"
    return name


def _saved(row: Row, baseline: str) -> str:
    """With the interval that it has."""
    saved, low, high = (row[f"saved{end}"] for end in ("", "_low", "_high"))
    if abs(saved) < UNSEEN:
        return f"Costs as much as {baseline}"
    sign = 1 if saved > 0 else -1
    ends = sorted((sign * low, sign * high))
    told = " to ".join(_percent(each) for each in ends)
    if ends[0] < -UNSEEN:
        told = f"from {_percent(-ends[0])} {'more' if sign > 0 else 'less'}, to {_percent(ends[1])}"
    if sign > 0:
        return f"{_percent(saved)} cheaper than {baseline} ({told})"
    return f"Costs {_percent(-saved)} more than {baseline} ({told})"


def _change(found: Verdict) -> str:
    """Of accuracy. Where these images tested it, the verdict says how sure that is."""
    row = found.row
    tested = found.question.kind == MATCH and found.target == MEETS
    chance = "" if tested else _chance(row)
    than = "" if row["matched"] in (None, row["baseline"]) else f" {row['matched']}"
    points = 100 * row["accuracy_change"]
    if abs(points) < 0.05:
        return f"as accurate{than and f' as{than}'}{chance}"
    more = "higher" if points > 0 else "lower"
    return f"{abs(points):.1f} points {more}{than and f' than{than}'}{chance}"


def _chance(row: Row) -> str:
    """The interval of the change, and whether it could be none."""
    low, high = (100 * row[f"accuracy_change_{end}"] for end in ("low", "high"))
    if low <= 0 <= high:
        return f" (could be chance: {low:+.1f} to {high:+.1f})".replace("-", "−")
    least, most = sorted((abs(low), abs(high)))
    return f" ({least:.1f} to {most:.1f})"


def _how(found: Verdict) -> str:
    """Which model answers what."""
    if found.alone:
        return ""
    first, second, *third = found.point.models
    told = f"{first} answers every image, {second} the {_percent(found.row['usage'])} where it is "
    told += "unsure"
    if third:
        told += f", {third[0]} the {_percent(found.row['usage_2'])} where that is unsure too"
    return told + (", and the surer answer counts." if found.point.postcheck else ".")


def _percent(share: float) -> str:
    """In two or three digits.

    >>> _percent(0.8724), _percent(0.068)
    ('87%', '6.8%')
    """
    return f"{share:.0%}" if abs(share) >= 0.0995 else f"{share:.1%}"


def _margin(within: float) -> str:
    points = 100 * within
    return f"{points:g} point{'' if points == 1 else 's'}"


def _round(count: int) -> int:
    """To two digits, upwards."""
    step = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step
