"""The report's figures for a paper: Altair charts from plain arrays and rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from cache import write_whole
from stages.notices import all_visible
from stages.report.costs import PageCosts

Datum = dict[str, object]
BLUE, ORANGE, PURPLE, GREY = "#2b83d6", "#e0662b", "#b05fc4", "#8b8b8b"
LINES = {"accuracy": BLUE, "accuracy with post-check": ORANGE, "use of B": GREY}
SHAPES = {"best": "circle", "1se": "diamond", "answer": "square"}
KINDS = {"single model": PURPLE, "cascade, best": BLUE, "cascade, 1se": ORANGE}
_INK = "black"
_SHARE, _AXIS_SHARE = ".2%", ".2~%"
_PAPER_WIDTH = 640


@dataclass(frozen=True)
class Drawing:
    """A chart and the rows it draws, by the names it knows them by.

    They stay apart because Altair would copy and validate every row, several times.
    """

    chart: alt.LayerChart | alt.FacetChart
    data: dict[str, list[Datum]]


@dataclass(frozen=True)
class Figure:
    """A drawing and the words around it."""

    name: str
    title: str
    caption: str
    drawing: Drawing

    def spec(self) -> dict[str, object]:
        """The Vega-Lite specification, without the address of its schema."""
        words = f"{self.title}. {self.caption}"
        title = alt.TitleParams(self.title, anchor="start", color=_INK, fontSize=13)
        chart = self.drawing.chart.properties(width=_PAPER_WIDTH, description=words, title=title)
        spec = _themed(chart).to_dict()
        del spec["$schema"]
        spec["datasets"] = self.drawing.data
        return all_visible(spec)

    def _repr_svg_(self) -> str:
        """As notebooks show it."""
        import vl_convert

        return vl_convert.vegalite_to_svg(self.spec(), vl_version=vega_lite_version())


def heat_map(models: Sequence[str], matrix: np.ndarray, title: str) -> Drawing:
    """float [M, M] in the order of `models`, rows A, columns B; the diagonal is left out."""
    m = len(models)
    apart = matrix[~np.eye(m, dtype=bool)]
    low, high = float(apart.min()), float(apart.max())
    rows = [
        {"a": models[i], "b": models[j], "value": float(matrix[i, j])}
        for i in range(m)
        for j in range(m)
        if i != j
    ]
    scale = alt.Scale(scheme="viridis", domain=[low, high] if low < high else [0, high or 1])
    axis = alt.Axis(labelLimit=180, grid=False, domain=False, ticks=False)
    b_axis = axis.copy()
    b_axis.labelAngle = -40
    base = alt.Chart(alt.NamedData("pairs")).encode(
        x=alt.X("b:N", sort=list(models), title=None, axis=b_axis),
        y=alt.Y("a:N", sort=list(models), title=None, axis=axis),
        tooltip=[alt.Tooltip("a:N"), alt.Tooltip("b:N"), _tip("value", title, _SHARE)],
    )
    legend = alt.Legend(title=None, format=_AXIS_SHARE, orient="top", gradientLength=160)
    cells = base.mark_rect().encode(color=alt.Color("value:Q", scale=scale, legend=legend))
    layers = [cells]
    if m <= 12:
        light = f"datum.value > {(low + 2 * high) / 3}"
        ink = alt.condition(light, alt.value("#111111"), alt.value("#ffffff"))
        layers.append(base.mark_text(fontSize=11).encode(text=_text("value"), color=ink))
    chart = alt.layer(*layers).properties(height=m * (40 if m <= 6 else 28 if m <= 12 else 18))
    return Drawing(chart, {"pairs": rows})


def threshold_curve(
    lines: dict[str, tuple[np.ndarray, np.ndarray]],
    points: Sequence[Datum],
    extent: tuple[float, float],
) -> Drawing:
    """Accuracy (left) and use of B (right) over λ of this extent.

    `lines` holds (λ, share), ascending, for each of LINES; `points` have `threshold`, `accuracy`,
    `usage`, `line` (of LINES) and `objective` (of SHAPES).
    """
    scale = alt.Scale(domain=list(LINES), range=list(LINES.values()))
    legend = alt.Legend(title=None, orient="top", columns=2, symbolType="stroke", labelLimit=0)
    color = alt.Color("line:N", scale=scale, legend=legend)
    x = alt.X("x:Q", title="λ", scale=alt.Scale(domain=list(extent)), axis=alt.Axis(tickCount=5))
    room = alt.Scale(zero=False, nice=False, padding=10)
    left = alt.Y("y:Q", title="accuracy", scale=room, axis=_share_axis())
    right = alt.Y(
        "y:Q", title="use of B", scale=alt.Scale(domain=[0, 1]), axis=_share_axis(grid=False)
    )
    path: dict[str, Any] = {"x": x, "color": color, "order": "i:Q"}
    solid = alt.Chart(alt.NamedData("accuracy")).mark_line(strokeWidth=1.5)
    dashed = alt.Chart(alt.NamedData("use")).mark_line(strokeWidth=1.5, strokeDash=[5, 3])
    accuracy = alt.layer(solid.encode(y=left, **path), _marks(color, points))
    chart = alt.layer(accuracy, dashed.encode(y=right, **path)).resolve_scale(y="independent")
    *solid_names, use = LINES
    data = {
        "accuracy": [row for name in solid_names for row in _line(name, *lines[name])],
        "use": _line(use, *lines[use]),
        "points": list(points),
    }
    return Drawing(chart.properties(height=320), data)


def accuracy_cost(
    points: Sequence[Datum],
    front: Sequence[tuple[float, float]],
    ring: Datum,
    ringed: str,
    costs: PageCosts,
) -> Drawing:
    """Accuracy over the cost per request.

    `points` have `name`, `kind` (of KINDS), `cost`, `accuracy`, and for cascades `how` and `usage`;
    `front` are the (cost, accuracy) that nothing cheaper reaches; around `ring` is a ring,
    which stands for what `ringed` says.
    """
    labelled = sum(point["kind"] == "single model" for point in points) <= 8
    place: dict[str, Any] = {
        "x": alt.X(
            "cost:Q",
            title=f"{costs.axis} (log scale)",
            scale=alt.Scale(type="log", nice=False, padding=48 if labelled else 14),
            axis=alt.Axis(format=costs.kind.axis, grid=False, labelOverlap=True),
        ),
        "y": alt.Y(
            "accuracy:Q",
            title="accuracy",
            scale=alt.Scale(zero=False, nice=False, padding=24),
            axis=_share_axis(),
        ),
    }
    dots = alt.Chart(alt.NamedData("points")).encode(**place)
    line = alt.Chart(alt.NamedData("frontier")).mark_line(
        interpolate="step-after", color=_INK, strokeWidth=1, opacity=0.5
    )
    line = line.transform_calculate(name="'nothing cheaper reaches it'")
    solid = alt.StrokeDash("name:N", scale=alt.Scale(range=[[1, 0]]), legend=_key("stroke"))
    layers = [
        line.encode(**place, strokeDash=solid),
        _dots(dots, costs),
        _ring(place, ringed),
        *([_names(dots)] * labelled),
    ]
    steps: list[Datum] = [{"cost": cost, "accuracy": value} for cost, value in front]
    data = {"points": list(points), "frontier": steps, "ring": [ring]}
    return Drawing(alt.layer(*layers).properties(height=360), data)


def save(figure: Figure, folder: Path) -> list[Path]:
    """NAME.png (two pixels a point) and NAME.svg, black on white."""
    import vl_convert

    png, svg = (folder / f"{figure.name}{suffix}" for suffix in (".png", ".svg"))
    version = vega_lite_version()
    picture = vl_convert.vegalite_to_png(figure.spec(), vl_version=version, scale=2)
    files = {png: picture, svg: figure._repr_svg_().encode()}
    write_whole({file: methodcaller("write", data) for file, data in files.items()})
    return [png, svg]


def vega_lite_version() -> str:
    """Of the specifications that Altair writes, as vl-convert names it: `6.4`."""
    return ".".join(str(alt.SCHEMA_VERSION).lstrip("v").split(".")[:2])


def _line(name: str, x: np.ndarray, y: np.ndarray) -> list[Datum]:
    pairs = zip(x.tolist(), y.tolist(), strict=True)
    return [{"line": name, "i": i, "x": a, "y": b} for i, (a, b) in enumerate(pairs)]


def _marks(color: alt.Color, points: Sequence[Datum]) -> alt.Chart:
    """The chosen operating points, in the colours of their lines."""
    shapes = {name: SHAPES[name] for name in dict.fromkeys(str(row["objective"]) for row in points)}
    scale = alt.Scale(domain=list(shapes), range=list(shapes.values()))
    legend = alt.Legend(title=None, orient="bottom", symbolFillColor=_INK, symbolStrokeColor=_INK)
    marks = alt.Chart(alt.NamedData("points")).mark_point(
        filled=True, size=110, opacity=1, stroke=_INK, strokeWidth=1
    )
    return marks.encode(
        x="threshold:Q",
        y="accuracy:Q",
        color=color,
        shape=alt.Shape("objective:N", scale=scale, legend=legend),
        tooltip=[
            alt.Tooltip("objective:N", title="point"),
            alt.Tooltip("line:N"),
            _tip("threshold", "λ", ".6f"),
            _tip("accuracy", "accuracy", _SHARE),
            _tip("usage", "use of B", _SHARE),
        ],
    )


def _dots(dots: alt.Chart, costs: PageCosts) -> alt.Chart:
    kinds = list(KINDS)
    legend = alt.Legend(title=None, orient="top", columns=3, labelLimit=0)
    colors = alt.Scale(domain=kinds, range=list(KINDS.values()))
    shapes = alt.Scale(domain=kinds, range=["square", "circle", "diamond"])
    return dots.mark_point(filled=True, opacity=0.75).encode(
        color=alt.Color("kind:N", scale=colors, legend=legend),
        shape=alt.Shape("kind:N", scale=shapes),
        size=alt.condition("datum.kind == 'single model'", alt.value(80), alt.value(40)),
        tooltip=[
            alt.Tooltip("name:N", title="model or cascade"),
            alt.Tooltip("how:N", title="rule"),
            _tip("accuracy", "accuracy", _SHARE),
            _tip("usage", "use of B", _SHARE),
            _tip("cost", costs.axis, costs.kind.figure),
        ],
    )


def _ring(place: dict[str, Any], ringed: str) -> alt.Chart:
    ring = alt.Chart(alt.NamedData("ring")).mark_point(
        size=220, strokeWidth=2, filled=False, color=_INK, tooltip=None
    )
    full = alt.Opacity("ring:N", scale=alt.Scale(range=[1]), legend=_key("circle"))
    return ring.transform_calculate(ring=f"'{ringed}'").encode(**place, opacity=full)


def _key(symbol: str) -> alt.Legend:
    """Of a layer that has one look only."""
    look: dict[str, Any] = {"symbolType": symbol, "symbolStrokeColor": _INK, "symbolSize": 100}
    return alt.Legend(title=None, orient="top", labelLimit=0, **look)


def _names(dots: alt.Chart) -> alt.Chart:
    singles = dots.transform_filter("datum.kind == 'single model'")
    return singles.mark_text(dy=15, color=_INK, fontSize=11).encode(text="name:N")


def _share_axis(**options: Any) -> alt.Axis:
    return alt.Axis(format=_AXIS_SHARE, tickCount=6, **options)


def _tip(field: str, title: str, style: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", title=title, format=style)


def _text(field: str) -> alt.Text:
    return alt.Text(f"{field}:Q", format=".1%")


def _themed(chart: alt.LayerChart | alt.FacetChart) -> alt.LayerChart:
    line = {"domainColor": _INK, "tickColor": _INK, "domainOpacity": 0.4, "tickOpacity": 0.4}
    return (
        chart.configure(background="white", font="system-ui, sans-serif", padding=4)
        .configure_axis(
            labelColor=_INK,
            titleColor=_INK,
            gridColor=_INK,
            gridOpacity=0.12,
            titleFontWeight="normal",
            **line,
        )
        .configure_legend(labelColor=_INK, titleColor=_INK)
        .configure_view(stroke=None)
    )
