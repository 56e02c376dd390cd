"""The study's figures from its results alone, as SVG: grey, told apart by shape and dash."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import altair as alt

from examples.study import unequal_costs
from examples.study.answers import BUDGETS, CLOSE, SIZES

Results = dict[str, Any]
Row = dict[str, Any]

INK, PALE = "#111111", "#a8a8a8"
_WIDTH, _HEIGHT = 300, 260
_LEAST = 0.64  # of the accuracies that are drawn


def draw(results: Results, folder: Path) -> None:
    """Written to the folder: imagenet-frontier.svg, imagenet-measures.svg, imagenet-images.svg."""
    drawn = {
        "frontier": frontier(results["imagenet"]),
        "measures": measures(results["imagenet"]),
        "images": images(results),
    }
    for name, chart in drawn.items():
        save(chart, folder / f"imagenet-{name}.svg")


def save(chart: Any, file: Path) -> None:
    themed = chart.configure_view(stroke=None).configure(
        background="white", font="Helvetica, Arial, sans-serif", aria=False
    )
    themed.save(file)


def frontier(result: Results) -> Any:
    """Accuracy within a budget, and every model with its name where no cheaper one reaches it."""
    found = result["halvings"]
    kinds = {"cascade": "best cascade within the budget", "single": "best model within it"}
    steps = [
        {"macs": budget / 1e9, "accuracy": fmean(found[f"frontier/{u}/{kind}"]), "kind": words}
        for u, budget in enumerate(BUDGETS)
        for kind, words in kinds.items()
        if f"frontier/{u}/{kind}" in found
    ]
    on_front = {key.split("/")[1] for key in found if key.startswith("saves/")}
    models = [
        {"macs": each["macs"] / 1e9, "accuracy": each["accuracy"], "model": each["model"]}
        for each in result["models"]
        if each["macs"] and each["accuracy"] > _LEAST
    ]
    named = _apart([each for each in models if each["model"] in on_front])
    x = alt.X("macs:Q", title="multiply-adds per image, G (log scale)",
              scale=alt.Scale(type="log", domain=[0.25, 60]),
              axis=alt.Axis(values=[0.3, 1, 3, 10, 30], grid=False))  # fmt: skip
    y = alt.Y("accuracy:Q", title="top-1 accuracy", scale=alt.Scale(domain=[_LEAST, 0.82]),
              axis=alt.Axis(format=".0%", gridColor="#e4e4e4"))  # fmt: skip
    dashes = alt.Scale(domain=[*kinds.values()], range=[[1, 0], [4, 3]])
    legend = alt.Legend(title=None, orient="top", labelLimit=0)
    dash = alt.StrokeDash("kind:N", scale=dashes, legend=legend)
    lines = alt.Chart(alt.Data(values=steps)).mark_line(color=INK, interpolate="step-after")
    dots = alt.Chart(alt.Data(values=models)).mark_point(color=INK, filled=True, size=22)
    names = alt.Chart(alt.Data(values=named)).mark_text(align="left", dx=6, dy=10, fontSize=9)
    return alt.layer(
        lines.encode(x=x, y=y, strokeDash=dash),
        dots.encode(x=x, y=y),
        names.encode(x=x, y=y, text="model:N"),
    ).properties(width=2 * _WIDTH, height=1.4 * _HEIGHT)


def _apart(models: list[Row]) -> list[Row]:
    """Those whose names do not cover each other's."""
    chosen: list[Row] = []
    for each in sorted(models, key=lambda row: row["macs"]):
        if not chosen or each["macs"] > 1.25 * chosen[-1]["macs"]:
            chosen.append(each)
    return chosen


def measures(result: Results) -> Any:
    """The gain of each pair over two measures; close pairs are dark."""
    groups = {True: f"models within {100 * CLOSE:.0f} points of accuracy", False: "other pairs"}
    rows = [
        {"gain": 100 * gain, "complementarity": apart, "heterogeneity": differ,
         "pair": groups[gap <= CLOSE]} for gain, apart, differ, gap in result["pairs"]
    ]  # fmt: skip
    domain = [*groups.values()]
    legend = alt.Legend(title=None, orient="top", labelLimit=0)
    base = alt.Chart(alt.Data(values=sorted(rows, key=lambda row: row["pair"], reverse=True)))
    marks = base.mark_point(size=26, opacity=0.75, strokeWidth=1).encode(
        y=alt.Y("gain:Q", title="gain over the better model, points", axis=_axis()),
        color=alt.Color("pair:N", scale=alt.Scale(domain=domain, range=[INK, PALE]), legend=legend),
        shape=alt.Shape("pair:N", scale=alt.Scale(domain=domain, range=["circle", "cross"])),
    )
    return alt.hconcat(*(
        marks.encode(x=alt.X(f"{name}:Q", title=name, axis=_axis(format=".0%")))
        .properties(width=_WIDTH, height=_HEIGHT)
        for name in ("complementarity", "heterogeneity")
    ))  # fmt: skip


def images(results: Results) -> Any:
    """What few images lose, of the rule alone and of the whole choice, with the range of it."""
    names = {"imagenet": "ImageNet, 34 models", "cifar10": "CIFAR-10, 13 models"}
    titles = {"lost": "the pair is given: points lost by λ", "choice": "all chosen: points lost"}
    rows = [row for name, words in names.items() for row in _losses(results[name], words)]
    base = alt.Chart(alt.Data(values=rows))
    x = alt.X("n:Q", title="images that choose (log scale)",
              scale=alt.Scale(type="log", domain=[80, 12_000]),
              axis=alt.Axis(values=[100, 1_000, 10_000], format="~s", grid=False))  # fmt: skip
    legend = alt.Legend(title=None, orient="top", labelLimit=0)
    charts = []
    for key, title in titles.items():
        shown = base.encode(x=x, y=alt.Y(f"{key}:Q", title=title, axis=_axis()))
        line = shown.mark_line(color=INK, strokeWidth=1.2).encode(
            strokeDash=alt.StrokeDash("set:N", legend=None)
        )
        dots = shown.mark_point(color=INK, size=36, fill="white").encode(
            shape=alt.Shape("set:N", legend=legend)
        )
        bars = base.mark_rule(color=PALE).encode(
            x=x,
            y=alt.Y(f"{key}_low:Q", title=title),
            y2=f"{key}_high:Q",
            strokeDash=alt.StrokeDash("set:N", legend=None),
        )
        charts.append(alt.layer(bars, line, dots).properties(width=_WIDTH, height=_HEIGHT))
    return alt.hconcat(*charts)


def budgets(results: unequal_costs.Results) -> Any:
    """Mean loss of what is best within a budget by accuracy and by loss, and of each service."""
    kinds = ("chosen by accuracy", "chosen by loss")
    steps = [
        {"usd": 1000 * usd, "loss": loss, "kind": kind}
        for kind, losses in zip(kinds, results.budgets, strict=True)
        for usd, loss in zip(unequal_costs.BUDGETS.tolist(), losses, strict=True)
    ]
    alone = [
        {"usd": 1000 * told.usd.value, "loss": told.loss.value, "model": told.cascade.models[0]}
        for told in (each.told for each in results.alone)
    ]
    x = alt.X("usd:Q", title="US dollars per 1,000 faces", axis=_axis(grid=False))
    y = alt.Y("loss:Q", title="mean loss", scale=alt.Scale(zero=False), axis=_axis())
    dash = alt.StrokeDash(
        "kind:N",
        scale=alt.Scale(domain=[*kinds], range=[[4, 3], [1, 0]]),
        legend=alt.Legend(title=None, orient="top", labelLimit=0),
    )
    lines = alt.Chart(alt.Data(values=steps)).mark_line(color=INK, interpolate="step-after")
    services = alt.Chart(alt.Data(values=alone))
    dots = services.mark_point(color=INK, filled=True, size=22).encode(x=x, y=y)
    names = services.mark_text(align="left", dx=6, dy=-6, fontSize=9)
    layers = (lines.encode(x=x, y=y, strokeDash=dash), dots, names.encode(x=x, y=y, text="model:N"))
    return alt.layer(*layers).properties(width=2 * _WIDTH, height=_HEIGHT)


def _losses(result: Results, words: str) -> list[Row]:
    found = result["halvings"]
    sizes = [n for n in SIZES if f"images/{n}/lost" in found]
    best = found[f"images/{sizes[-1]}/cascade"]
    rows = []
    for n in sizes[:-1]:
        choice = [a - b for a, b in zip(best, found[f"images/{n}/cascade"], strict=True)]
        row: Row = {"n": n, "set": words}
        for key, values in (("lost", found[f"images/{n}/lost"]), ("choice", choice)):
            row |= {key: 100 * fmean(values), f"{key}_low": 100 * min(values)}
            row[f"{key}_high"] = 100 * max(values)
        rows.append(row)
    return rows


def _axis(**given: Any) -> alt.Axis:
    return alt.Axis(gridColor="#e4e4e4", tickCount=5, **given)
