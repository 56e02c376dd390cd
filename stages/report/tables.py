"""The report's tables, and how its numbers are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

import numpy as np

import cache
from cache import Manifest, Partition, Store
from stages.cascade import Limit
from stages.costs import UNITS, current, figure
from stages.report.page import Cell, Number, PageTable
from stages.report.points import PageSubject
from stages.threshold import OperatingPoint, trained_splits


def operating_points(subject: PageSubject, rows: Sequence[OperatingPoint]) -> PageTable:
    """The fitted points of one pair and score."""
    head = ["post-check", "point", "λ", "from", "to", _accuracy_of(subject), "use of B"]
    body = [
        [
            _yes(row.postcheck),
            str(row.fit.objective),
            limit(row.threshold),
            _bound(row.threshold.low),
            _bound(row.threshold.high),
            share(row.accuracy.value),
            share(row.usage.value),
        ]
        for row in rows
    ]
    first = rows[0]
    folds = " Accuracy is cross-fitted." if subject.cross_fitted else ""
    caption = (
        f"Operating points of {first.model_1} → {first.model_2} by {first.score} on "
        f"{subject.shown_on}; between “from” and “to” no decision changes on {subject.fitted_on}."
        f"{folds}"
    )
    return PageTable(caption, head, body)


def best_cascades(subject: PageSubject, rows: Sequence[OperatingPoint]) -> PageTable:
    """The best of each of the first pairs."""
    columns: dict[str, Callable[[OperatingPoint], float]] = {
        _accuracy_of(subject): lambda row: row.accuracy.value,
        "use of B": lambda row: row.usage.value,
    }
    if subject.plan.method != "same-split":
        fitted = {_fit_accuracy_of(subject): lambda row: row.fit.fit_accuracy or 0.0}
        columns = fitted | columns
    costs = subject.costs
    head = ["A", "B", "score", "post-check", "λ", *columns, costs.kind.noun]
    body: list[list[Cell]] = [
        [
            row.model_1,
            row.model_2,
            row.score,
            _yes(row.postcheck),
            limit(row.threshold),
            *(share(of(row)) for of in columns.values()),
            costs.number(row.price.known.value),
        ]
        for row in rows
    ]
    folds = " Accuracy is cross-fitted, and so is the choice of the rule." * subject.cross_fitted
    caption = (
        f"One cascade of each pair, the best on {subject.fitted_on}, where λ is fitted; the pairs "
        f"in that order.{folds}"
    )
    return PageTable(caption, head, body)


def _accuracy_of(subject: PageSubject) -> str:
    """The images of an accuracy, where others fitted λ, for the head of a column."""
    return "accuracy" if subject.fitted_here else f"on {subject.shown_on}"


def _fit_accuracy_of(subject: PageSubject) -> str:
    return "fit accuracy" if subject.cross_fitted else f"on {subject.fitted_on}"


def models(subject: PageSubject) -> PageTable:
    """Each model alone, the most accurate first."""
    reported, costs = subject.reported, subject.costs
    measured = () if costs.kind.noun == "multiply-adds" else (costs.axis,)
    head = ("model", "top-1", "parameters", "multiply-adds", *measured)
    body = [
        [
            reported.models[m],
            share(float(reported.accuracy[m])),
            _count(reported.manifests[m].provenance.get("parameters")),
            macs(reported.manifests[m].provenance.get("macs")),
            *(costs.number(costs.alone(reported.models[m])) for _ in measured),
        ]
        for m in np.argsort(-reported.accuracy, kind="stable")
    ]
    count = "" if subject.held_out else f" ({len(reported.labels):,} images)"
    return PageTable(f"Alone, on {subject.shown_on}{count}.", head, body)


def inputs(subject: PageSubject) -> PageTable:
    """Where the numbers come from: every model on the reported and the fitting split."""
    sets = {scores.split: scores for scores in (subject.reported, subject.plan.scores)}
    body = [
        _input(_logits(subject.store, manifest), trained)
        for scores in sets.values()
        for manifest, trained in zip(
            scores.manifests, trained_splits(subject.store, scores).values(), strict=True
        )
    ]
    head = ("model", "split", "rows", "runtime", "weights", "trained on", "dataset", "made")
    caption = (
        "Where the numbers come from: the weights by the start of their SHA-256, the dataset's "
        "split by that of its fingerprint."
    )
    return PageTable(caption, head, body)


def cost_inputs(subject: PageSubject) -> PageTable | None:
    """Where measured costs come from, the newest of each; None where none are counted."""
    prices = subject.costs.pricer.prices
    if prices.device is None:
        return None
    rows = current(subject.store, subject.reported)
    told = attrgetter("meter", "runtime", "source", "measured")
    known = {
        (model, row.component, *(str(value or "unknown")[:40] for value in told(row)))
        for model, found in rows.items()
        for row in found
        if row.device == prices.device
    }
    head = ("model", "component", "meter", "runtime", "source", "measured")
    return PageTable(f"Where costs on {prices.device} come from.", head, sorted(known))


def _logits(store: Store, manifest: Manifest) -> Manifest:
    """The logits that scores were made from, or the scores where they came without."""
    return cache.load(store, Partition("logits", manifest.partition.values)) or manifest


def _input(manifest: Manifest, trained: tuple[tuple[str, ...], str]) -> list[Cell]:
    keys, about = manifest.partition.keys, manifest.provenance
    splits, source = trained
    return [
        keys["model"],
        keys["split"],
        Number(manifest.rows, f"{manifest.rows:,}"),
        keys["runtime"],
        str(about.get("weights_sha256") or "unknown")[:12],
        f"{', '.join(splits)} ({source})" if splits else "unknown",
        str(manifest.fingerprint or "unknown")[:12],
        str(about.get("made") or "unknown")[:10],
    ]


def share(value: float) -> Number:
    return Number(value, f"{value:.2%}")


def points(change: float) -> Number:
    return Number(change, f"{100 * change:+.2f} pt")


def limit(found: Limit) -> Number:
    """λ: a number, or that B always or never runs."""
    return Number(found.kind if found.value is None else found.value, str(found))


def macs(value: float | None) -> Cell:
    return "unknown" if value is None else Number(value, figure(value, UNITS["macs"]))


def _bound(value: float | None) -> Cell:
    return "unbounded" if value is None else Number(value, f"{value:.6g}")


def _count(value: int | None) -> Cell:
    return "unknown" if value is None else Number(value, f"{value:,}")


def _yes(value: bool) -> str:
    return "yes" if value else "no"
