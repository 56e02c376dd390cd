"""The figures of `cascade hash --robustness`: recall and false hits by hash and change."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import altair as alt

from stages.hashes import HashRecall
from stages.report.charts import Drawing, Figure


def robustness_figures(rows: Sequence[HashRecall]) -> list[Figure]:
    """Two heat maps of one split: recall, and the false-hit rate."""
    one = rows[0]
    asked = f"{one.n} images of {one.dataset}/{one.split}, each looked up in a changed form."
    return [
        Figure(
            "hash_recall",
            "Which changes a hash survives",
            f"{asked} Share that finds itself, in percent.",
            _map(rows, "recall", "viridis"),
        ),
        Figure(
            "hash_false_hits",
            "How often a hash finds another image",
            f"{asked} Share that finds another image, in percent.",
            _map(rows, "false_hit_rate", "magma"),
        ),
    ]


def _map(rows: Sequence[HashRecall], value: str, scheme: Literal["viridis", "magma"]) -> Drawing:
    cells = [
        {
            "hash": _name(row),
            "change": f"{row.kind}: {row.perturbation}",
            "percent": 100 * getattr(row, value),
        }
        for row in rows
    ]
    names, changes = (
        list(dict.fromkeys(cell[key] for cell in cells)) for key in ("hash", "change")
    )
    axis = partial(alt.Axis, labelLimit=220, grid=False, domain=False, ticks=False)
    base = alt.Chart(alt.NamedData("cells")).encode(
        x=alt.X("hash:N", sort=names, title=None, axis=axis(labelAngle=-30)),
        y=alt.Y("change:N", sort=changes, title=None, axis=axis()),
    )
    scale = alt.Scale(scheme=scheme, domain=[0, 100])
    legend = alt.Legend(title=None, orient="top", gradientLength=160)
    ink = alt.condition("datum.percent > 60", alt.value("#111111"), alt.value("#ffffff"))
    layers = [
        base.mark_rect().encode(color=alt.Color("percent:Q", scale=scale, legend=legend)),
        base.mark_text(fontSize=10).encode(text=alt.Text("percent:Q", format=".1f"), color=ink),
    ]
    chart = alt.layer(*layers).properties(height=18 * len(changes))
    return Drawing(chart, {"cells": cells})


def _name(row: HashRecall) -> str:
    return row.algorithm + (f", radius {row.radius}" if row.radius else "")
