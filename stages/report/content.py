"""The report's words, tables and static figures, from the stages' results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cache.provenance import versions
from stages.heterogeneity import matrix
from stages.questions import ACCURACY, BEST, COST, MATCH, ONE_SE, Question
from stages.report import corners, tables
from stages.report.costs import Costs
from stages.report.page import Number, Page, Tile
from stages.report.points import Row, Subject, frontier
from stages.report.searched import Searched
from stages.rule import ALWAYS, NEVER
from stages.scores import named
from stages.threshold import curve

if TYPE_CHECKING:
    from stages.report.charts import Figure

TOP = 10
_LINES = {
    "accuracy": "accuracy",
    "accuracy_postcheck": "accuracy with post-check",
    "usage": "use of B",
}


@dataclass(frozen=True)
class Curve:
    """The lines of `charts.threshold_curve`, from a sweep of `steps` steps.

    No line has more than `corners` corners, nor is off by more than `off` (a share).
    """

    lines: dict[str, tuple[np.ndarray, np.ndarray]]
    steps: int
    corners: int
    off: float


def summary(subject: Subject) -> Row:
    """The report's key figures, JSON-ready."""
    reported, chosen = subject.reported, subject.points.chosen
    cheaper = subject.points.other(chosen, "1se")
    single = reported.models[int(reported.accuracy.argmax())]
    facts = {
        "dataset": reported.dataset,
        **chosen,
        "models": list(reported.models),
        "chosen_by": how_chosen(subject),
        **{f"{key}_1se": cheaper[key] for key in ("threshold", "accuracy", "usage")},
        **{f"{key}_1se": cheaper[key] for key in ("expected_accuracy", "expected_usage")},
        "best_single": single,
        "best_single_accuracy": float(reported.accuracy.max()),
        "best_single_macs": reported.macs[single],
        "notes": list(subject.plan.notes),
    }
    facts["gain"] = facts["expected_accuracy"] - facts["best_single_accuracy"]
    facts["macs_ratio"] = _ratio(facts["macs_per_request"], facts["best_single_macs"])
    costs = subject.costs
    facts |= costs.compared(chosen) | {"expected_cost": costs.of(chosen)}
    facts["cost_ratio"] = _ratio(facts["expected_cost"], costs.alone(single))
    return facts


def build(subject: Subject, searched: Searched, data: str) -> Page:
    """The page, with what its script reads."""
    chosen = subject.points.chosen
    best = subject.points.best_of_pairs[:TOP]
    return Page(
        title=f"Cascades on {subject.where}",
        asked=_asked(searched.question, subject),
        summary=searched.sentence,
        tiles=_tiles(searched.answer, subject.costs),
        tables=(
            tables.operating_points(subject, subject.points.alike(chosen)),
            tables.best_cascades(subject, best),
            tables.models(subject),
        ),
        inputs=[t for t in (tables.inputs(subject), tables.cost_inputs(subject)) if t is not None],
        data=data,
        notes=subject.plan.notes,
        foot=f"cascade-cli {versions()['cascade-cli'] or '(not installed)'}",
    )


def _asked(question: Question, subject: Subject) -> str:
    """The question, in words."""
    value = question.value or 0.0
    words = {
        ONE_SE: "the cheapest within one standard error of the most accurate",
        BEST: "the most accurate",
        ACCURACY: f"the cheapest that is right on at least {100 * value:.6g}%",
        COST: f"the most accurate for at most {subject.costs.number(value).text} a request",
        MATCH: f"the cheapest as accurate as {question.model}",
    }
    return f"Asked for: {words[question.kind]}, on {subject.plan.split}."


def figures(subject: Subject, drawn: Curve) -> list[Figure]:
    """For a paper: the chosen cascade's sweep, accuracy and cost, and the heterogeneity."""
    found = (_curve(subject, drawn), _cost(subject), _heterogeneity(subject))
    return [figure for figure in found if figure is not None]


def draw(subject: Subject) -> Curve:
    """The chosen pair's sweep on the reported split, thinned."""
    reported, chosen = subject.reported, subject.points.chosen
    pair = (reported.index(chosen["model_1"]), reported.index(chosen["model_2"]))
    sweep = curve(reported, pair, chosen["score"])
    lines, off = {}, 0.0
    for column, name in _LINES.items():
        x, y = corners.outline(sweep["threshold"], sweep[column])
        kept, error = corners.thin(x, y)
        lines[name] = (x[kept], y[kept])
        off = max(off, error)
    return Curve(lines, len(sweep["threshold"]), max(len(x) for x, _ in lines.values()), off)


def how_chosen(subject: Subject) -> str:
    """In words, why it is this cascade."""
    if subject.answered:
        return "the search's answer, at its most accurate λ"
    count = len(subject.reported.models)
    first, second = (name or "any other model" for name in subject.pair)
    pairs = f"{first} → {second}" if any(subject.pair) else f"all {count * (count - 1)} pairs"
    rules = subject.score or "maxp, difference and entropy"
    return f"highest {subject.ranked_by}, of {pairs} with {rules}, with and without post-check"


def _tiles(answer: Row, costs: Costs) -> list[Tile]:
    """The key figures of what the search answers; a single model has none against itself."""
    baseline, pair = answer["baseline"], answer["model_2"] is not None
    shown: list[tuple[str, str, Callable[[float], Number]]] = [
        ("accuracy", "accuracy", tables.share),
        ("accuracy_change", f"accuracy against {baseline}", tables.points),
        ("usage", "use of B", tables.share),
        ("cost", f"{costs.kind.noun} per request", costs.number),
        ("saved", f"saved against {baseline}", lambda value: Number(value, f"{value:.1%}")),
    ]
    return [
        Tile(label, say(answer[name]), (say(answer[f"{name}_low"]), say(answer[f"{name}_high"])))
        for name, label, say in shown
        if pair or name in ("accuracy", "cost")
    ]


def _curve(subject: Subject, drawn: Curve) -> Figure:
    from stages.report import charts

    chosen = subject.points.chosen
    rows = subject.points.alike(chosen)
    title = f"{chosen['model_1']} → {chosen['model_2']}, {chosen['score']}, on {subject.where}"
    caption = (
        f"Accuracy (left) and B's share of all requests (right) over λ: "
        f"{drawn.steps:,} steps, {_thinned(drawn)}. Marked are the operating points fitted on "
        f"{subject.plan.split}: best (highest accuracy there) and 1se (least use of B within one "
        "standard error of it)."
    )
    chart = charts.threshold_curve(drawn.lines, [_mark(row) for row in rows])
    return charts.Figure("threshold", title, caption, chart)


def _mark(row: Row) -> Row:
    surest = 1.0 if named(row["score"]).sign > 0 else 0.0
    ends = {ALWAYS: surest, NEVER: 1 - surest}
    line = _LINES["accuracy_postcheck" if row["postcheck"] else "accuracy"]
    threshold = ends.get(row["threshold"], row["threshold"])
    keys = ("accuracy", "usage", "objective")
    return {"line": line, "threshold": threshold} | {key: row[key] for key in keys}


def _thinned(drawn: Curve) -> str:
    if not drawn.off:
        return "all drawn"
    return (
        f"drawn through {drawn.corners:,} of their corners, off by {100 * drawn.off:.3f} points "
        "at most"
    )


def _cost(subject: Subject) -> Figure | None:
    """None where no cost is known."""
    from stages.report import charts

    dots = [*_single_dots(subject), *_cascade_dots(subject, subject.points.best_of_pairs)]
    if not dots:
        return None
    front = frontier((d["cost"], d["accuracy"]) for d in dots)
    caption = (
        "Each model alone, and each pair's best cascade at its two operating points; the line is "
        "what nothing cheaper reaches, the ring the chosen cascade."
    )
    chart = charts.accuracy_cost(dots, front, subject.costs)
    title = f"Accuracy and cost on {subject.where}"
    return charts.Figure("accuracy-cost", title, caption, chart)


def _single_dots(subject: Subject) -> list[Row]:
    reported = subject.reported
    return [
        {"name": name, "kind": "single model", "cost": cost, "accuracy": float(accuracy)}
        for name, accuracy in zip(reported.models, reported.accuracy, strict=True)
        if (cost := subject.costs.alone(name))
    ]


def _cascade_dots(subject: Subject, best: Sequence[Row]) -> list[Row]:
    """Both points of each cascade, one where they are the same; the chosen one is among them."""
    dots, chosen = [], subject.points.chosen
    for row in best if any(row is chosen for row in best) else [*best, chosen]:
        cheaper = subject.points.other(row, "1se")
        both = [row] if cheaper["threshold"] == row["threshold"] else [row, cheaper]
        costs = [subject.costs.of(r) for r in both]
        dots += [_dot(r, cost, r is chosen) for r, cost in zip(both, costs, strict=True) if cost]
    return dots


def _dot(row: Row, cost: float, chosen: bool) -> Row:
    check = " with post-check" if row["postcheck"] else ""
    return {
        "name": f"{row['model_1']} → {row['model_2']}",
        "kind": f"cascade, {row['objective']}",
        "cost": cost,
        "accuracy": row["expected_accuracy"],
        "usage": row["expected_usage"],
        "how": f"{row['score']}{check}, λ = {tables.limit(row).text}",
        "chosen": chosen,
    }


def _heterogeneity(subject: Subject) -> Figure:
    from stages.report import charts

    reported = subject.reported
    order = np.argsort(-reported.accuracy, kind="stable")
    names = [reported.models[m] for m in order]
    chart = charts.heat_map(names, matrix(reported.correct[order]), "heterogeneity")
    caption = (
        f"Share of the images of {subject.where} that exactly one of the two models gets right "
        "(their answers differ and one is right); the most accurate model first."
    )
    return charts.Figure("heterogeneity", "Heterogeneity", caption, chart)


def _ratio(cost: float | None, single: float | None) -> float | None:
    return cost / single if cost is not None and single else None
