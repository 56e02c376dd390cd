"""The report's words, tables and static figures, from the stages' results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from cache import versions
from stages.cascade import ALWAYS, NEVER
from stages.costs import expected, pareto
from stages.heterogeneity import matrix
from stages.notices import all_visible
from stages.report import corners, packing, tables, words
from stages.report.explorer import Explorer
from stages.report.page import Number, Page, PageTable, Tile
from stages.report.points import Chosen, PageSubject
from stages.report.searched import Searched
from stages.results import Row
from stages.scores import named
from stages.statistics import Interval
from stages.threshold import curve

if TYPE_CHECKING:
    from stages.report.charts import Datum, Figure

TOP = 10
_LINES = {
    "accuracy": "accuracy",
    "accuracy_postcheck": "accuracy with post-check",
    "usage": "use of B",
}


@dataclass(frozen=True)
class ThresholdCurve:
    """The lines of `charts.threshold_curve`, from a sweep of `steps` steps.

    No line has more than `corners` corners, nor is off by more than `off` (a share); λ has this
    `extent`.
    """

    lines: dict[str, tuple[np.ndarray, np.ndarray]]
    steps: int
    corners: int
    off: float
    extent: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ReportSummary(Row):
    """What a page opens with (`chosen`, whether it is the search's answer: `answered`), what the
    search answers, and what was written. No line of the page has more than `page_corners` corners,
    nor is off by more than `page_off`; so the figure's curve of `steps` steps."""

    dataset: str
    chosen: Chosen
    models: Sequence[str]
    chosen_by: str
    macs_per_request: float | None
    notes: Sequence[str]
    answered: bool
    question: str
    target: str
    worth: str
    sentence: str
    sentences: Sequence[str]
    output: str
    figures: Sequence[str]
    page_corners: int
    page_off: float
    steps: int
    corners_drawn: int
    curve_off: float


def summary(
    subject: PageSubject,
    searched: Searched,
    drawn: ThresholdCurve,
    found: Explorer,
    files: tuple[str, list[str]],
) -> ReportSummary:
    """`files` are the page's and its figures'."""
    chosen, (output, figures) = subject.points.chosen, files
    macs_1, macs_2 = (subject.reported.macs[m] for m in (chosen.model_1, str(chosen.model_2)))
    return ReportSummary(
        dataset=subject.reported.dataset,
        chosen=chosen,
        models=subject.reported.models,
        chosen_by=how_chosen(subject),
        macs_per_request=expected(macs_1, macs_2, chosen.usage.value),
        notes=subject.plan.notes,
        answered=subject.answered,
        question=str(searched.question),
        target=searched.target,
        worth=searched.worth,
        sentence=" ".join(searched.sentences),
        sentences=searched.sentences,
        output=output,
        figures=figures,
        page_corners=found.corners,
        page_off=found.off,
        steps=drawn.steps,
        corners_drawn=drawn.corners,
        curve_off=drawn.off,
    )


def build(
    subject: PageSubject, searched: Searched, found: Explorer, more: Sequence[PageTable] = ()
) -> Page:
    """The page, with what its script reads, and `more` tables."""
    chosen = subject.points.chosen
    best = [row for row, _ in subject.points.pairs[:TOP]]
    return Page(
        title=f"Cascades on {subject.where}",
        asked=words.asked(searched, subject.costs),
        sentences=searched.sentences,
        tiles=_tiles(subject, searched),
        basis=words.basis(subject, searched.answer.selected),
        tables=(
            tables.operating_points(subject, subject.points.alike(chosen)),
            tables.best_cascades(subject, best),
            tables.models(subject),
            *more,
        ),
        inputs=[t for t in (tables.inputs(subject), tables.cost_inputs(subject)) if t is not None],
        data=packing.pack(all_visible(found.facts), found.arrays),
        notes=subject.plan.notes,
        foot=f"cascade-cli {versions()['cascade-cli'] or '(not installed)'}",
    )


def figures(subject: PageSubject, searched: Searched, drawn: ThresholdCurve) -> list[Figure]:
    """For a paper: the chosen cascade's sweep, accuracy and cost, and the heterogeneity."""
    return [_curve(subject, drawn), _cost(subject, searched), _heterogeneity(subject)]


def draw(subject: PageSubject) -> ThresholdCurve:
    """The chosen pair's sweep on the reported split, thinned."""
    reported, chosen = subject.reported, subject.points.chosen
    pair = (reported.index(chosen.model_1), reported.index(str(chosen.model_2)))
    name = str(chosen.score)
    sweep, extent = curve(reported, pair, name), named(name).extent(reported.score(name, pair[0]))
    lines, off = {}, 0.0
    for column, line in _LINES.items():
        if column not in sweep:
            continue
        x, y = corners.outline(sweep["threshold"], sweep[column], extent)
        kept, error = corners.thin(x, y)
        lines[line] = (x[kept], y[kept])
        off = max(off, error)
    most = max(len(x) for x, _ in lines.values())
    return ThresholdCurve(lines, len(sweep["threshold"]), most, off, extent)


def how_chosen(subject: PageSubject) -> str:
    """In words, why it is this cascade."""
    if subject.answered:
        return "the search's answer"
    count = len(subject.reported.models)
    first, second = (name or "any other model" for name in subject.pair)
    pairs = f"{first} → {second}" if any(subject.pair) else f"all {count * (count - 1)} pairs"
    rules = subject.score or " and ".join(", ".join(subject.names).rsplit(", ", 1))
    compare = any(named(name).comparable for name in subject.names)
    return (
        f"the most accurate on {subject.fitted_on}, where λ is fitted, of {pairs} with {rules}"
        f"{', with and without post-check' if compare else ''}"
    )


def _tiles(subject: PageSubject, searched: Searched) -> list[Tile]:
    """The key figures of what the search answers; a single model has none against itself."""
    answer, costs = searched.answer, subject.costs
    folds = ", cross-fitted" if subject.cross_fitted else ""
    name = answer.model_1 if answer.model_2 is None else None
    tiles = [_tile(f"accuracy{folds}", answer.accuracy, tables.share)]
    if name != searched.against:
        label = f"accuracy against {searched.against}{folds}"
        tiles.append(_tile(label, answer.against.accuracy_change, tables.points))
    if name is None:
        tiles.append(_tile("use of B", answer.usage, tables.share))
    cost, low, high = costs.numbers(*astuple(answer.price.known))
    tiles.append(Tile(f"{costs.kind.noun} per request", cost, (low, high)))
    if name != answer.against.baseline and answer.price.saved is not None:
        tiles.append(_saved(str(answer.against.baseline), answer.price.saved))
    return tiles


def _tile(label: str, found: Interval, say: Callable[[float], Number]) -> Tile:
    return Tile(label, say(found.value), (say(found.low), say(found.high)))


def _saved(baseline: str, saved: Interval) -> Tile:
    """What is saved, or how much more it costs: never a negative saving."""
    if saved.value >= 0:
        return _tile(f"cheaper than {baseline}", saved, lambda each: Number(each, f"{each:.1%}"))
    turned = Interval(saved.value, saved.high, saved.low)
    label = f"costs more than {baseline}"
    return _tile(label, turned, lambda each: Number(each, f"{-each:.1%}"))


def _curve(subject: PageSubject, drawn: ThresholdCurve) -> Figure:
    from stages.report import charts

    chosen = subject.points.chosen
    marks = [_mark(row, str(row.fit.objective), drawn) for row in subject.points.alike(chosen)]
    if subject.answered:
        marks.append(_mark(chosen, "answer", drawn))
    title = f"{chosen.model_1} → {chosen.model_2}, {chosen.score}, on {subject.where}"
    caption = (
        f"Accuracy (left) and B's share of all requests (right) over λ: "
        f"{drawn.steps:,} steps, {_thinned(drawn)}. Marked are the operating points fitted on "
        f"{subject.fitted_on}: best (highest accuracy there) and 1se (least use of B within one "
        f"standard error of it){', and the answer' * subject.answered}. {words.drawn(subject)}"
    )
    chart = charts.threshold_curve(drawn.lines, marks, drawn.extent)
    return charts.Figure("threshold", title, caption, chart)


def _mark(row: Chosen, objective: str, drawn: ThresholdCurve) -> Datum:
    least, surest = drawn.extent[:: named(str(row.score)).sign]
    ends = {ALWAYS: surest, NEVER: least}
    return {
        "line": _LINES["accuracy_postcheck" if row.postcheck else "accuracy"],
        "threshold": ends.get(row.threshold.kind, row.threshold.value),
        "accuracy": row.accuracy.value,
        "usage": row.usage.value,
        "objective": objective,
    }


def _thinned(drawn: ThresholdCurve) -> str:
    if not drawn.off:
        return "all drawn"
    return (
        f"drawn through {drawn.corners:,} of their corners, off by {100 * drawn.off:.3f} points "
        "at most"
    )


def _cost(subject: PageSubject, searched: Searched) -> Figure:
    from stages.report import charts

    dots = [*_single_dots(subject), *_cascade_dots(subject)]
    # What the page is about: the search's answer, unless another cascade was asked for.
    asked = any((*subject.pair, subject.score))
    ring = _dot(subject.points.chosen if asked else searched.answer)
    shown = [(dot["cost"], dot["accuracy"]) for dot in (*dots, ring)]
    cost, accuracy = np.array(shown, np.float64).T
    rows = pareto(cost, accuracy)
    front = list(zip(cost[rows].tolist(), accuracy[rows].tolist(), strict=True))
    name = "the chosen cascade" if asked else "the answer"
    caption = (
        "Each model alone, and each pair's best cascade at its two fitted λ; the line is what "
        f"nothing cheaper reaches, the ring {name}. {words.basis(subject)}"
    )
    chart = charts.accuracy_cost(dots, front, ring, name, subject.costs)
    title = f"Accuracy and cost on {subject.where}"
    return charts.Figure("accuracy-cost", title, caption, chart)


def _single_dots(subject: PageSubject) -> list[Datum]:
    reported = subject.reported
    return [
        {
            "name": name,
            "kind": "single model",
            "cost": subject.costs.alone(name),
            "accuracy": float(accuracy),
        }
        for name, accuracy in zip(reported.models, reported.accuracy, strict=True)
    ]


def _cascade_dots(subject: PageSubject) -> list[Datum]:
    """Both points of each pair's best cascade, one where they are the same."""
    dots = []
    for best, one_se in subject.points.pairs:
        for row in (
            (best,) if one_se.threshold.threshold == best.threshold.threshold else (best, one_se)
        ):
            dots.append(_dot(row) | {"kind": f"cascade, {row.fit.objective}"})
    return dots


def _dot(row: Chosen) -> Datum:
    check = " with post-check" if row.postcheck else ""
    return {
        "name": " → ".join(filter(None, (row.model_1, row.model_2))),
        "cost": row.price.known.value,
        "accuracy": row.accuracy.value,
        "usage": row.usage.value,
        "how": f"{row.score}{check}, λ = {row.threshold}",
    }


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
