"""What `certify` prints: what is certified by the labels so far, and what to label next."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_cli.show.text import print_table, print_text
from stages.costs import amount, relative
from stages.few_labels import DISAGREEMENT, THESE, FewLabelsResult, TriedCascade
from stages.search import CertificateFacts
from stages.statistics import Interval

_CLASSES = {"name": "answered", "n": "images", "lost": "lost", "keeps": "promise"}


def sentences(found: FewLabelsResult) -> list[str]:
    """In words: the promise, what comes next, and how far it is from a better answer."""
    told = [_certified(found)]
    if found.certified is not None:
        told.append(_promise(found))
    told.append(_next(found))
    told += [_shown("accuracy", found.accuracy)] if found.accuracy else []
    if found.accuracy_change is not None:
        told.append(_shown(f"accuracy against {found.reference} alone", found.accuracy_change))
    return told


def status(found: FewLabelsResult) -> str:
    """In two short lines, for the page."""
    told = "Nothing cheaper is certified yet."
    if found.certified is not None:
        told = f"Certified so far: {_short(found.certified)}."
    if found.ended is not None or found.next is None:
        return f"{told}\n{_next(found)}"
    return f"{told}\n{_labels(found)} decide about {_short(found.next)}."


def _short(tried: TriedCascade) -> str:
    saved = "" if tried.saved is None else f", {relative(tried.saved)}"
    return f"{' → '.join(tried.models)}, B on {tried.usage:.1%}{saved}"


def _labels(found: FewLabelsResult) -> str:
    least, most = found.to_decide, found.to_label
    return f"{least} labels" if least == most else f"{least} to {most} labels"


def show_certify(found: FewLabelsResult, classes: Sequence[str], more: Sequence[str]) -> None:
    print_text(
        f"{found.candidates} candidates on {found.n} images of {found.dataset}/{found.split}, "
        f"proposed by {found.proposed} of {found.proposing_split}; {found.labels} labels"
    )
    for sentence in sentences(found):
        print_text(sentence)
    _show_classes(found, classes)
    for line in more:
        print(line)


def _certified(found: FewLabelsResult) -> str:
    if found.certified is None:
        yet = "" if found.ended in ("failed", "all passed") else " yet"
        return f"Nothing cheaper than {found.reference} alone is certified{yet}."
    free = ", without any label" if found.passed == found.without_labels else ""
    return f"Certified{free}: {_cascade(found.certified, found)}."


def _promise(found: FewLabelsResult) -> str:
    sure = f"With probability {1 - found.delta:g} over the calibration images"
    if found.risk == DISAGREEMENT:
        return (
            f"{sure} at most {found.epsilon:.2%} of its answers are others than "
            f"{found.reference}'s. Whether these are right, no label has said."
        )
    each = ", on each class that it answers" if found.per and found.hold != THESE else ""
    return f"{sure} it loses at most {found.epsilon:.2%} accuracy against {found.reference}{each}."


def _next(found: FewLabelsResult) -> str:
    if found.ended == "failed" and found.next is not None:
        return (
            f"The next candidate failed, which ends the tests: {_cascade(found.next, found)} (p = "
            f"{found.next.p:.3g}, at most {found.delta:g} is needed). No label could change it."
        )
    if found.ended == "all passed":
        return "All candidates passed: no label could change it."
    if found.ended == "budget":
        return f"All {found.label_budget} labels of the budget are there: what passed holds."
    if found.next is None:
        return ""
    told = f"Next is tested {_cascade(found.next, found)}: {_labels(found)} decide."
    if found.better_needs is not None and found.better_needs > found.to_label:
        told += f" At most {found.better_needs} labels tell of something cheaper."
    return told


def _cascade(tried: TriedCascade, found: FewLabelsResult) -> str:
    """Models, rule, use of B and cost."""
    told = " → ".join(tried.models)
    if len(tried.models) == 1:
        told += " alone"
    else:
        limit = tried.threshold
        shown = f"{limit:.4g}" if isinstance(limit, float) else str(limit)
        check = " with post-check" if tried.postcheck else ""
        told += f" by {tried.score}{check} at λ = {shown}, B on {tried.usage:.1%}"
    told += f", {amount(tried.cost, found.cost_unit)}"
    return told if tried.saved is None else f"{told}, {relative(tried.saved)}"


def _shown(what: str, value: Interval) -> str:
    sign = "+" if "against" in what else ""
    ends = f"{value.low:{sign}.2%} to {value.high:{sign}.2%}"
    return f"{what.capitalize()}: {value.value:{sign}.2%} ({ends}, 95%)."


def _show_classes(found: FewLabelsResult, names: Sequence[str]) -> None:
    if not found.classes:
        return
    rows = [
        {
            "name": names[each.stratum] if each.stratum < len(names) else str(each.stratum),
            "n": each.n,
            "lost": each.lost,
            "keeps": "holds" if each.holds else "cannot be told",
        }
        for each in found.classes
    ]
    print_table(rows, _CLASSES)


def as_facts(found: FewLabelsResult) -> CertificateFacts:
    """As a policy holds it."""
    kept = found.certified
    return CertificateFacts(
        feasible=kept is not None,
        epsilon=found.epsilon,
        delta=found.delta,
        bound=found.bound,
        reference=found.reference,
        max_usage=found.max_usage,
        max_cost=found.max_cost,
        proposing=found.proposed,
        testing=found.n,
        candidates=found.candidates,
        tested=found.passed + (found.ended == "failed"),
        passed=found.passed,
        why=None,
        images_needed=None,
        usage=None if kept is None else kept.usage,
        cost=None if kept is None else kept.cost,
        lost=None if kept is None else kept.lost / (found.n * found.share),
        difference=None if kept is None else (kept.lost - kept.won) / (found.n * found.share),
    )
