"""`report`: a page to look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.costs import pricer_of_all
from cascade_cli.inputs.dataset import dataset_in, open_sources
from cascade_cli.inputs.fit import fit_plan
from cascade_cli.inputs.provenance import same_images
from cascade_cli.inputs.question import check_question, question_of
from cascade_cli.inputs.scores import checked_score, reported_scores
from cascade_cli.inputs.words import names_in, risks
from cascade_cli.show.costs import NO_SENSOR, cost_note, lacks_energy, show_cost
from cascade_cli.show.files import check_output
from cascade_cli.show.text import print_json, print_text, progress, say
from stages import report as stage
from stages.certify import Limits
from stages.datasets import Source
from stages.policy import read
from stages.report import ReportSummary, priced
from stages.scores import ScoreSet


@dataclass(frozen=True)
class PageOptions(opt.CommonOptions):
    """The same, what the page opens with, and where it goes."""

    scorefn: str | None = opt.option(
        None, f"{opt.SCORE_NAMES} or a package's. [default: the best]", "-s"
    )
    certify: str | None = opt.option(
        None, "MAX_LOSS,RISK of the certified λ, against B alone. [default: 0.01,0.1]"
    )
    policy: str | None = opt.option(
        None, "Folders of policies, by commas, to be set beside what they promised."
    )
    output: str = opt.option("report.html", "The page, one HTML file.", "-o")
    figures: str | None = opt.option(None, "Folder for each figure as PNG and SVG.")


@opt.grouped(
    "dataset data model_1 model_2 scorefn asked split fit_split halves stratified weights runtime "
    "cost cost_device batch_size baseline certify policy output figures cache as_json"
)
def report(
    wanted: opt.LogitsOptions,
    pair: opt.PairOptions,
    asked: opt.QuestionOptions,
    costs: opt.CostOptions,
    page: PageOptions,
) -> None:
    """Write a page to explore all models and cascades; it opens with the pair given, or the answer.

    With --data it also shows the images that a cascade saves and loses.

    \b
    cascade report -d digits --match digits_residual --output report.html
    """
    check_output(page.output, (".html", ".htm"))
    check_question(asked)
    limits = None if page.certify is None else Limits(*risks(page.certify))
    store, models = Store(page.cache), (pair.model_1, pair.model_2)
    if page.scorefn is not None:
        checked_score(store, page.scorefn)
    wanted = replace(wanted, dataset=dataset_in(store, wanted.dataset, models))
    reported = reported_scores(store, wanted, None)
    fitted = fit_plan(store, reported, wanted)
    pricer = pricer_of_all(store, reported, costs)
    question = question_of(store, reported, asked, priced(pricer), costs)
    source = None if wanted.data is None else _images(store, reported, wanted)
    opened = (page.output, models, page.scorefn, page.figures)
    policies = [read(folder) for folder in names_in(page.policy) or ()]
    with progress("comparing cascades") as tell:
        written = partial(stage.run, store, reported, fitted, *opened, tell)
        facts = written(pricer, limits, source, question, policies)
    say(*facts.notes)
    if page.as_json:
        print_json(facts.columns() | reported.cut)
        return
    _show(facts)


def _images(store: Store, reported: ScoreSet, images: opt.ImageOptions) -> Source:
    """The pictures themselves, which must be those that the cache is about."""
    if find_spec("PIL") is None:
        raise InputError(
            "thumbnails need pillow: install cascade-cli[extract], or leave out --data"
        )
    [source] = open_sources(store, reported.dataset, [reported.split], images)
    same_images(reported, source)
    return source


def _show(facts: ReportSummary) -> None:
    """What the search answers, and of the cascade that was asked for instead."""
    first, *more = facts.sentences
    print_text(first)
    print_text(" ".join(more))
    price = facts.chosen.price
    if not facts.answered:
        print()
        _show_chosen(facts)
    elif price.cost is not None:
        print(cost_note(price))
    if facts.answered and lacks_energy(price):
        print(f"energy unknown: {NO_SENSOR}")
    for file in (facts.output, *facts.figures):
        print(f"wrote {file}")


def _show_chosen(facts: ReportSummary) -> None:
    row = facts.chosen
    check = " with post-check" if row.postcheck else ""
    print_text(f"{row.model_1} → {row.model_2}, {row.score}{check}: {facts.chosen_by}")
    print(
        f"{row.accuracy.value:.2%} right, {row.usage.value:.1%} to B; "
        f"{row.against.baseline} alone {row.against.baseline_accuracy:.2%}"
    )
    show_cost(row)
