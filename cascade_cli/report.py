"""`report`: a page to look at."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli import prices, questions
from cascade_cli.output import check_output, print_json, print_text, progress, say

if TYPE_CHECKING:
    from cache import Store
    from cascade_cli.gather import Images
    from stages.datasets import Source
    from stages.score import ScoreSet


def register(app: typer.Typer) -> None:
    told = "Write a page to explore all models and their cascades."
    app.command("report", short_help=told)(report)


def report(
    dataset: opt.CachedDataset = None,
    data: opt.Data = None,
    model_1: opt.Model1 = None,
    model_2: opt.Model2 = None,
    scorefn: Annotated[
        str | None,
        typer.Option(
            "-s", "--scorefn", help="maxp, difference, entropy or a package's. [default: the best]"
        ),
    ] = None,
    min_accuracy: questions.MinAccuracy = None,
    max_cost: questions.MaxCost = None,
    match: questions.Match = None,
    best_accuracy: questions.BestAccuracy = False,
    within: questions.Within = None,
    confidence: questions.Confidence = None,
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
    weights: opt.WeightsDir = None,
    runtime: opt.Runtime = None,
    cost: prices.Cost = None,
    cost_device: prices.CostDevice = None,
    batch_size: prices.BatchSize = 1,
    baseline: prices.Baseline = None,
    certify: Annotated[
        str | None,
        typer.Option(
            "--certify",
            help="MAX_LOSS,RISK of the certified λ, against B alone. [default: 0.01,0.1]",
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", help="The page, one HTML file.")
    ] = "report.html",
    figures: Annotated[
        str | None, typer.Option("--figures", help="Folder for each figure as PNG and SVG.")
    ] = None,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Write a page to explore all models and cascades; it opens with the pair given, or the answer.

    With --data it also shows the images that a cascade saves and loses.

    \b
    cascade report -d digits --match digits_residual --output report.html
    """
    from cache import Store
    from cascade_cli import asking, gather
    from stages import report as stage
    from stages.certify import Limits
    from stages.report.searched import priced

    check_output(output, (".html", ".htm"))
    given = questions.given(min_accuracy, max_cost, match, best_accuracy)
    question = questions.only(given, within, confidence)
    limits = None if certify is None else Limits(*asking.risks(certify))
    store, images = Store(cache), gather.Images(data, weights)
    if scorefn is not None:
        asking.checked_score(store, scorefn)
    dataset = asking.dataset_in(store, dataset, (model_1, model_2))
    reported = gather.reported(store, dataset, split, None, images, runtime)
    fitted = gather.fit_plan(store, reported, fit_split, images, runtime)
    asked = prices.Asked(cost, cost_device, batch_size, baseline)
    pricer = prices.of_all(store, reported, asked)
    most = questions.limit(max_cost, priced(pricer))
    question = questions.bounded(question, most, reported.models)
    source = None if data is None else _images(store, reported, images)
    pair = (model_1, model_2)
    with progress("comparing cascades") as tell:
        written = partial(stage.run, store, reported, fitted, pair, scorefn, output, figures, tell)
        facts = written(pricer, limits, source, question)
    for note in facts["notes"]:
        say(note)
    if as_json:
        print_json(facts)
        return
    _show(facts)


def _images(store: Store, reported: ScoreSet, images: Images) -> Source:
    """The pictures themselves, which must be those that the cache is about."""
    from importlib.util import find_spec

    from cache import InputError
    from cascade_cli import gather

    if find_spec("PIL") is None:
        raise InputError(
            "thumbnails need pillow: install cascade-cli[extract], or leave out --data"
        )
    [source] = gather.open_sources(store, reported.dataset, [reported.split], images)
    gather.same_images(reported, source)
    return source


def _show(facts: dict[str, Any]) -> None:
    """What the search answers, and of the cascade that was asked for instead."""
    first, *more = facts["sentences"]
    print_text(first)
    print_text(" ".join(more))
    if not facts["answered"]:
        print()
        _show_chosen(facts)
    elif facts["cost"] is not None:
        print(prices.counted(facts))
    if facts["answered"] and prices.lacks_energy(facts):
        print(f"energy unknown: {prices.NO_SENSOR}")
    for file in (facts["output"], *facts["figures"]):
        print(f"wrote {file}")


def _show_chosen(facts: dict[str, Any]) -> None:
    check = " with post-check" if facts["postcheck"] else ""
    pair = f"{facts['model_1']} → {facts['model_2']}, {facts['score']}{check}"
    print_text(f"{pair}: {facts['chosen_by']}")
    print(
        f"{facts['accuracy']:.2%} right, {facts['usage']:.1%} to B; "
        f"{facts['baseline']} alone {facts['baseline_accuracy']:.2%}"
    )
    prices.show(facts)
