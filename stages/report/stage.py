"""The page and its figures, from scores: chosen, drawn, written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING

from cache import InputError, Store, write_whole
from stages.certify import Limits
from stages.costs import Pricer, some_macs
from stages.datasets import Source
from stages.policy import Deployment
from stages.report import content, deployed, explorer, page
from stages.report.certified import DELTA, EPSILON, Certifying
from stages.report.content import ReportSummary
from stages.report.costs import PageCosts
from stages.report.points import (
    PageSubject,
    Progress,
    WantedPair,
    answers,
    check,
    gather,
    names_with,
)
from stages.report.searched import Searched, priced
from stages.scores import ScoreSet
from stages.search import Question, Search, Space, rules
from stages.threshold import FitPlan

if TYPE_CHECKING:
    from stages.report.charts import Figure


def run(
    store: Store,
    reported: ScoreSet,
    plan: FitPlan,
    out: str | Path,
    pair: WantedPair = (None, None),
    score: str | None = None,
    figures: str | Path | None = None,
    progress: Progress = lambda done, total: None,
    pricer: Pricer | None = None,
    limits: Limits | None = None,
    source: Source | None = None,
    question: Question = Question(),
    policies: Sequence[Deployment] = (),
) -> ReportSummary:
    """Write the page, and with `figures` PNG and SVG of each chart into that folder.

    `question` is what the search answers, by default the cheapest that matches the best single
    model; where its answer is tested on a part of one split, all of the page is about that part.
    `pair` and `score` say which cascade the page opens with, None is that answer. `pricer` says
    what costs are, by default multiply-adds; `limits` what a certified λ promises against B alone;
    `source` holds the images to show, by default none; `policies` stand beside what they promised.
    InputError where there are fewer than two models, a name is unknown, or a file cannot be
    written.
    """
    check(store, reported, pair, score)
    pricer = priced(pricer or Pricer(reported, some_macs(reported.macs)))
    space = Space(tuple(rules(names_with(reported, score))))
    searched = Searched.of(Search.of(reported, plan, pricer, space, question, progress))
    subject = _subject(store, searched, pricer, pair, score, progress)
    drawn = content.draw(subject)
    certifying = Certifying.of(store, subject.plan, limits or Limits(EPSILON, DELTA))
    found = explorer.explore(subject, searched, certifying, source)
    written_down = [deployed.policies(subject, policies)] if policies else []
    _write(Path(out), page.render(content.build(subject, searched, found, written_down)))
    files: list[Path] = []
    if figures is not None:
        files = save_figures(content.figures(subject, searched, drawn), figures)
    written = (str(out), [str(file) for file in files])
    return content.summary(subject, searched, drawn, found, written)


def _subject(
    store: Store,
    searched: Searched,
    pricer: Pricer,
    pair: WantedPair,
    score: str | None,
    progress: Progress,
) -> PageSubject:
    """On the images that the search reports, which may be a part of the split."""
    reported, plan, answer = searched.reported, searched.plan, searched.answer
    pricer = replace(pricer, scores=reported)
    points = gather(reported, plan, pair, score, answer, progress, pricer)
    about = answers(pair, score, answer)
    return PageSubject(store, reported, plan, points, pair, score, PageCosts(pricer), about)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole({path: methodcaller("write", text.encode())})
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error


def save_figures(shown: Sequence[Figure], folder: str | Path) -> list[Path]:
    """NAME.png and NAME.svg of each; InputError where the folder cannot be written."""
    from stages.report import charts

    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        return [file for figure in shown for file in charts.save(figure, place)]
    except (OSError, ValueError) as error:
        raise _refused(place, error) from error


def _refused(path: Path, error: OSError | ValueError) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(f"cannot write {path}: {reason}; choose another place")
