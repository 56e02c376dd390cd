"""What `cascade search` answers, for the page, and what that is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.allpairs import rules
from stages.fitting import FitPlan
from stages.found import Space
from stages.pricing import Pricer
from stages.questions import Question
from stages.report.curves import ANSWER, FRONTIER, HULL, Key, Mark
from stages.score import ScoreSet
from stages.search import Search
from stages.spending import counted_runs
from stages.verdict import missed, sentence

Row = dict[str, Any]
# Of a frontier of many points so many are shown, evenly, and all corners of its hull.
SHOWN = 600
# Of a row of results/search, what a page shows.
_SHOWN = (
    *("kind", "model_1", "model_2", "score", "postcheck", "threshold"),
    *("threshold_low", "threshold_high"),
    *(f"{name}{end}" for name in ("accuracy", "usage", "cost") for end in ("", "_low", "_high")),
    *("saved", "saved_low", "saved_high", "baseline", "fit_accuracy", "fit_cost"),
    *("accuracy_change", "accuracy_change_low", "accuracy_change_high"),
    *("crossfit_accuracy", "crossfit_usage", "crossfit_cost"),
)


@dataclass(frozen=True)
class Searched:
    """`answer`, to the `question`, `frontier` (of all its `found` points) and `baselines` are rows
    as `cascade search --json` has them; `sentence` tells of the answer."""

    question: Question
    answer: Row
    sentence: str
    verdict: str
    rival: str
    baselines: list[Row]
    frontier: list[Row]
    found: int

    @classmethod
    def of(
        cls,
        reported: ScoreSet,
        plan: FitPlan,
        pricer: Pricer,
        names: tuple[str, ...],
        question: Question,
    ) -> Searched:
        search = Search(reported, plan, pricer, Space(tuple(rules(names))), question)
        answer, found = search.answer(search.point, search.fitted(search.row))
        alone = [search.judge.single(model) for model in reported.models]
        return cls(
            question,
            answer,
            sentence(search.point, answer, found, question) + missed(question, answer),
            found.word,
            found.rival,
            [*alone, *search.judge.baselines(answer, search.point)],
            _frontier(search),
            len(search.found.points),
        )

    def marks(self, reported: ScoreSet) -> dict[Key, list[Mark]]:
        """The λ of all cascades on the frontier, and of the answer."""
        out: dict[Key, list[Mark]] = {}
        for row in (self.answer, *self.frontier):
            if row["model_2"] is not None:
                mark = Mark(_KINDS[row["kind"]], row["threshold"], row["fit_accuracy"])
                out.setdefault(key_of(reported, row), []).append(mark)
        return out

    def about(self) -> Row:
        """JSON-ready."""
        return {
            "answer": shown(self.answer),
            "verdict": self.verdict,
            "rival": self.rival,
            "baselines": [shown(row) for row in self.baselines],
            "frontier": [shown(row) for row in self.frontier],
            "found": self.found,
        }


_KINDS = {"answer": ANSWER, "hull": HULL, "point": FRONTIER}


def _frontier(search: Search) -> list[Row]:
    """By ascending cost on the fitting images."""
    points, corners = search.found.points, set(search.found.hull.tolist())
    even = np.linspace(0, len(points) - 1, min(SHOWN, len(points))).round().astype(int).tolist()
    return [
        search.judge.row("hull" if i in corners else "point", points[i], search.fitted(i))
        for i in sorted({*corners, *even})
    ]


def key_of(reported: ScoreSet, row: Row) -> Key:
    a, b = reported.index(row["model_1"]), reported.index(row["model_2"])
    return Key(a, b, row["score"], row["postcheck"])


def shown(row: Row) -> Row:
    return {name: row[name] for name in _SHOWN if name in row}


def priced(pricer: Pricer) -> Pricer:
    """As `cascade search` prices: where the cost of any model is unknown, their runs count."""
    models = pricer.scores.models
    if set(models) <= pricer.prices.forward.keys():
        return pricer
    counted = counted_runs(models)
    return Pricer(pricer.scores, counted, pricer.batch_size, baseline=pricer.baseline)
