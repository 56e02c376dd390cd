"""A reliability diagram: how often a model is right, by how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from stages.calibration import ModelCalibration, ReliabilityBin
from stages.report.charts import BLUE, GREY, ORANGE, Datum, Drawing, Figure

COLORS = {"before": ORANGE, "after": BLUE}


def reliability_figures(
    models: Sequence[ModelCalibration], bins: Sequence[ReliabilityBin]
) -> list[Figure]:
    """One per model, from what `calibration.calibrate_models` returns."""
    return [
        Figure(
            f"reliability-{model.replace('/', '-')}",
            f"Reliability of {model}",
            f"Accuracy by confidence, before and after dividing the logits by {t:.3g}. On the line "
            "a model is right as often as it is sure; below it, it is too sure.",
            diagram([each for each in bins if each.model == model and each.count]),
        )
        for model, t in ((each.model, each.temperature) for each in models)
    ]


def diagram(bins: Sequence[ReliabilityBin]) -> Drawing:
    """Of one model's bins that hold images."""
    scale = alt.Scale(domain=list(COLORS), range=list(COLORS.values()))
    share = alt.Scale(domain=[0, 1])
    base = alt.Chart(alt.NamedData("bins")).encode(
        x=alt.X("confidence:Q", title="confidence", scale=share, axis=alt.Axis(tickCount=6)),
        y=alt.Y("accuracy:Q", title="accuracy", scale=share, axis=alt.Axis(tickCount=6)),
        color=alt.Color("when:N", scale=scale, legend=alt.Legend(title=None, orient="top")),
    )
    dots = base.mark_point(filled=True, opacity=0.8).encode(
        size=alt.Size("count:Q", legend=None),
        tooltip=[alt.Tooltip(name) for name in ("when:N", "confidence:Q", "accuracy:Q", "count:Q")],
    )
    line = alt.Chart(alt.NamedData("diagonal")).mark_line(color=GREY, strokeDash=[4, 4])
    diagonal = line.encode(x="confidence:Q", y="accuracy:Q")
    chart = alt.layer(diagonal, base.mark_line(strokeWidth=1.5), dots).properties(height=360)
    ends: list[Datum] = [{"confidence": end, "accuracy": end} for end in (0, 1)]
    return Drawing(chart, {"bins": list(map(vars, bins)), "diagonal": ends})
