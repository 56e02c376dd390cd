"""Cascades that are written down, beside what they promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stages.policy import Deployment
from stages.report import tables
from stages.report.page import Cell, PageTable
from stages.report.points import PageSubject
from stages.scores import with_nobody
from stages.simulate import figures, ready


def policies(subject: PageSubject, deployed: Sequence[Deployment]) -> PageTable:
    """A row for each: promised on its own images, and found on those that are reported.

    InputError for models, or logits, that the report has not.
    """
    noun = subject.costs.kind.noun
    head = ("policy", "promised", "accuracy", "promised use", "use of B", noun)
    caption = (
        f"Policies: accuracy and use of B as promised, and as found on {subject.shown_on}; without "
        "their memories."
    )
    return PageTable(caption, head, [_row(subject, each) for each in deployed])


def _row(subject: PageSubject, each: Deployment) -> list[Cell]:
    reported = with_nobody(subject.reported, each.nobody)
    scores = ready(subject.store, reported, each.cascade)
    pricer = replace(subject.costs.pricer, scores=scores)
    found, promise = figures(scores, each.cascade, pricer=pricer), each.promise
    promised = (
        promise.right / promise.images if promise.accuracy is None else promise.accuracy.value
    )
    return [
        str(each.cascade),
        tables.share(promised),
        tables.share(found.accuracy.value),
        tables.share(promise.escalated / promise.images),
        tables.share(found.usage.value),
        subject.costs.number(found.price.known.value),
    ]
