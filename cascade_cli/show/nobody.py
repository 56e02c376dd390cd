"""What a last stage that is no model takes, in words."""

from __future__ import annotations

from collections.abc import Iterator

from stages.costs import figure
from stages.simulate import NobodyFigures
from stages.statistics import Interval


def handed_on(found: NobodyFigures, unit: str | None = None) -> str:
    """Which share nobody answers, or a person, and at what; a person's price in this unit."""
    if found.abstained is None:
        return ""
    share = f"{percent(found.abstained.value)} % {{}} ({_ends(found.abstained)})"
    if found.human_accuracy is None:
        at = f"at {found.abstain_cost:g} each, an error being 1"
        return f"leaves {share.format('unanswered')}, {at}"
    price = f", for {figure(found.human_cost, unit)} each" if found.human_cost and unit else ""
    told = f"right with probability {100 * found.human_accuracy:g} %{price}"
    return f"sends {share.format('to a person')}, {told}"


def percent(share: float) -> str:
    """In one digit after the point, two of what is below 1 %."""
    return f"{100 * share:.{1 if share >= 0.01 else 2}f}"


def _ends(found: Interval) -> str:
    return f"{percent(found.low)} % to {percent(found.high)} %"


def nobody_lines(found: NobodyFigures) -> Iterator[tuple[str, str]]:
    """(title, figure) of accuracy, loss and order."""
    if found.expected_accuracy is not None:
        yield "accuracy, expected", f"{found.expected_accuracy:.2%}"
    if found.answered_accuracy is not None:
        yield "accuracy of those answered", _share(found.answered_accuracy)
    if found.loss is not None:
        yield "loss per request", _number(found.loss)
    if found.aurc is not None:
        more = f", {found.excess_aurc:.4f} above the best order"
        yield "risk–coverage area", _number(found.aurc) + more


def _share(found: Interval) -> str:
    return f"{found.value:.2%} ({found.low:.2%} to {found.high:.2%})"


def _number(found: Interval) -> str:
    return f"{found.value:.4f} ({max(found.low, 0.0):.4f} to {found.high:.4f})"
