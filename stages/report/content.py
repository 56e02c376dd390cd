"""The report's words, tables and static figures, from the stages' results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cache import versions
from stages.cascade import ALWAYS, NEVER
from stages.costs import expected
from stages.heterogeneity import matrix
from stages.notices import all_visible
from stages.report import corners, packing, tables, words
from stages.report.explorer import Explorer
from stages.report.page import Number, Page, Tile
from stages.report.points import PageSubject, Row, frontier
from stages.report.searched import Searched
from stages.scores import LABEL_FREE, named
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
class ThresholdCurve:
    """The lines of `charts.threshold_curve`, from a sweep of `steps` steps.

    No line has more than `corners` corners, nor is off by more than `off` (a share).
    """

    lines: dict[str, tuple[np.ndarray, np.ndarray]]
    steps: int
    corners: int
    off: float


def summary(subject: PageSubject, searched: Searched) -> Row:
    """What the page opens with, and what the search answers; JSON-ready."""
    reported, chosen = subject.reported, subject.points.chosen
    costs: Row = {} if subject.answered else subject.costs.compared(chosen, reported)
    macs_1, macs_2 = (reported.macs[chosen[name]] for name in ("model_1", "model_2"))
    return {
        "dataset": reported.dataset,
        **chosen,
        **costs,
        "models": list(reported.models),
        "chosen_by": how_chosen(subject),
        "macs_per_request": expected(macs_1, macs_2, chosen["usage"]),
        "notes": list(subject.plan.notes),
        "answered": subject.answered,
        "question": str(searched.question),
        "target": searched.target,
        "worth": searched.worth,
        "sentence": " ".join(searched.sentences),
        "sentences": searched.sentences,
    }


def build(subject: PageSubject, searched: Searched, found: Explorer) -> Page:
    """The page, with what its script reads."""
    chosen = subject.points.chosen
    best = [row for row, _ in subject.points.pairs[:TOP]]
    return Page(
        title=f"Cascades on {subject.where}",
        asked=words.asked(searched, subject.costs),
        sentences=searched.sentences,
        tiles=_tiles(subject, searched),
        basis=words.basis(subject, searched.answer["selected"]),
        tables=(
            tables.operating_points(subject, subject.points.alike(chosen)),
            tables.best_cascades(subject, best),
            tables.models(subject),
        ),
        inputs=[t for t in (tables.inputs(subject), tables.cost_inputs(subject)) if t is not None],
        data=packing.pack(all_visible(found.facts), found.arrays),
        notes=subject.plan.notes,
        foot=f"cascade-cli {versions()['cascade-cli'] or '(not installed)'}",
    )


def figures(subject: PageSubject, searched: Searched, drawn: ThresholdCurve) -> list[Figure]:
    """For a paper: the chosen cascade's sweep, accuracy and cost, and the heterogeneity."""
    found = (_curve(subject, drawn), _cost(subject, searched), _heterogeneity(subject))
    return [figure for figure in found if figure is not None]


def draw(subject: PageSubject) -> ThresholdCurve:
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
    return ThresholdCurve(
        lines, len(sweep["threshold"]), max(len(x) for x, _ in lines.values()), off
    )


def how_chosen(subject: PageSubject) -> str:
    """In words, why it is this cascade."""
    if subject.answered:
        return "the search's answer"
    count = len(subject.reported.models)
    first, second = (name or "any other model" for name in subject.pair)
    pairs = f"{first} → {second}" if any(subject.pair) else f"all {count * (count - 1)} pairs"
    *some, last = LABEL_FREE
    rules = subject.score or f"{', '.join(some)} and {last}"
    return (
        f"the most accurate on {subject.fitted_on}, where λ is fitted, of {pairs} with {rules}, "
        "with and without post-check"
    )


def _tiles(subject: PageSubject, searched: Searched) -> list[Tile]:
    """The key figures of what the search answers; a single model has none against itself."""
    answer, costs = searched.answer, subject.costs
    folds = ", cross-fitted" if subject.cross_fitted else ""
    name = answer["model_1"] if answer["model_2"] is None else None
    tiles = [_shares(answer, "accuracy", f"accuracy{folds}", tables.share)]
    if name != searched.against:
        label = f"accuracy against {searched.against}{folds}"
        tiles.append(_shares(answer, "accuracy_change", label, tables.points))
    if name is None:
        tiles.append(_shares(answer, "usage", "use of B", tables.share))
    cost, low, high = costs.numbers(*_ends(answer, "cost"))
    tiles.append(Tile(f"{costs.kind.noun} per request", cost, (low, high)))
    if name != answer["baseline"]:
        tiles.append(_saved(answer))
    return tiles


def _ends(row: Row, name: str) -> tuple[float, float, float]:
    return row[name], row[f"{name}_low"], row[f"{name}_high"]


def _shares(row: Row, name: str, label: str, say: Callable[[float], Number]) -> Tile:
    value, low, high = map(say, _ends(row, name))
    return Tile(label, value, (low, high))


def _saved(row: Row) -> Tile:
    """What is saved, or how much more it costs: never a negative saving."""
    value, low, high = _ends(row, "saved")
    if value >= 0:
        told = [Number(each, f"{each:.1%}") for each in (value, low, high)]
        return Tile(f"cheaper than {row['baseline']}", told[0], (told[1], told[2]))
    told = [Number(each, f"{-each:.1%}") for each in (value, high, low)]
    return Tile(f"costs more than {row['baseline']}", told[0], (told[1], told[2]))


def _curve(subject: PageSubject, drawn: ThresholdCurve) -> Figure:
    from stages.report import charts

    chosen = subject.points.chosen
    rows = subject.points.alike(chosen)
    if subject.answered:
        rows = [*rows, chosen | {"objective": "answer"}]
    title = f"{chosen['model_1']} → {chosen['model_2']}, {chosen['score']}, on {subject.where}"
    caption = (
        f"Accuracy (left) and B's share of all requests (right) over λ: "
        f"{drawn.steps:,} steps, {_thinned(drawn)}. Marked are the operating points fitted on "
        f"{subject.fitted_on}: best (highest accuracy there) and 1se (least use of B within one "
        f"standard error of it){', and the answer' * subject.answered}. {words.drawn(subject)}"
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


def _thinned(drawn: ThresholdCurve) -> str:
    if not drawn.off:
        return "all drawn"
    return (
        f"drawn through {drawn.corners:,} of their corners, off by {100 * drawn.off:.3f} points "
        "at most"
    )


def _cost(subject: PageSubject, searched: Searched) -> Figure | None:
    """None where no cost is known."""
    from stages.report import charts

    dots = [*_single_dots(subject), *_cascade_dots(subject)]
    if not dots:
        return None
    ring = _ring(subject, searched)
    front = frontier((dot["cost"], dot["accuracy"]) for dot in (*dots, *ring))
    name = "the answer" if _nothing_asked(subject) else "the chosen cascade"
    caption = (
        "Each model alone, and each pair's best cascade at its two fitted λ; the line is what "
        f"nothing cheaper reaches, the ring {name}. {words.basis(subject)}"
    )
    chart = charts.accuracy_cost(dots, front, ring, name, subject.costs)
    title = f"Accuracy and cost on {subject.where}"
    return charts.Figure("accuracy-cost", title, caption, chart)


def _single_dots(subject: PageSubject) -> list[Row]:
    reported = subject.reported
    return [
        {"name": name, "kind": "single model", "cost": cost, "accuracy": float(accuracy)}
        for name, accuracy in zip(reported.models, reported.accuracy, strict=True)
        if (cost := subject.costs.alone(name))
    ]


def _cascade_dots(subject: PageSubject) -> list[Row]:
    """Both points of each pair's best cascade, one where they are the same."""
    dots = []
    for best, one_se in subject.points.pairs:
        for row in (best,) if one_se["threshold"] == best["threshold"] else (best, one_se):
            dots += [dot | {"kind": f"cascade, {row['objective']}"} for dot in _dot(subject, row)]
    return dots


def _ring(subject: PageSubject, searched: Searched) -> list[Row]:
    """Around what the page is about: the search's answer, unless another cascade was asked for."""
    return _dot(subject, searched.answer if _nothing_asked(subject) else subject.points.chosen)


def _nothing_asked(subject: PageSubject) -> bool:
    return not any((*subject.pair, subject.score))


def _dot(subject: PageSubject, row: Row) -> list[Row]:
    """None where its cost is unknown."""
    cost = subject.costs.of(row, subject.reported)
    check = " with post-check" if row["postcheck"] else ""
    dot = {
        "name": " → ".join(filter(None, (row["model_1"], row["model_2"]))),
        "cost": cost,
        "accuracy": row["accuracy"],
        "usage": row["usage"],
        "how": f"{row['score']}{check}, λ = {tables.limit(row).text}",
    }
    return [dot] if cost else []


def _heterogeneity(subject: PageSubject) -> Figure:
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
