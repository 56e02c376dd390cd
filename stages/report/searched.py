"""What `cascade search` answers, for the page, and what that is held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.costs import Pricer, counted_runs
from stages.report.curves import ANSWER, FRONTIER, HULL, Key, Mark
from stages.scores import ScoreSet
from stages.search import AnswerRow, Question, Search, SearchRow, sentences
from stages.threshold import FitPlan, OperatingPoint

# Of a frontier of many points so many are shown, evenly, and all corners of its hull.
SHOWN = 600
# The columns of a row that a page shows.
_SHOWN = (
    *("kind", "model_1", "model_2", "score", "postcheck", "threshold"),
    *("threshold_low", "threshold_high"),
    *(f"{name}{end}" for name in ("accuracy", "usage", "cost") for end in ("", "_low", "_high")),
    *("saved", "saved_low", "saved_high", "baseline", "matched", "fit_accuracy", "fit_cost"),
    *("accuracy_change", "accuracy_change_low", "accuracy_change_high"),
)


@dataclass(frozen=True)
class Searched:
    """`answer`, to the `question`, `frontier` (of all its `found` points) and `baselines` are rows
    as `cascade search --json` has them; `target` and `worth` are its two words, and `sentences`
    tell of the answer, on the images `reported`, as chosen by `plan`."""

    reported: ScoreSet
    plan: FitPlan
    question: Question
    answer: AnswerRow
    target: str
    worth: str
    sentences: list[str]
    baselines: list[SearchRow]
    frontier: list[SearchRow]
    found: int

    @classmethod
    def of(cls, search: Search) -> Searched:
        answer, verdict = search.answer()
        alone = [search.judge.single(model) for model in search.reported.models]
        return cls(
            search.reported,
            search.plan,
            search.question,
            answer,
            verdict.target,
            verdict.worth,
            sentences(verdict),
            [*alone, *search.judge.baselines(answer, search.point)],
            _frontier(search),
            len(search.found.points),
        )

    @property
    def against(self) -> str:
        """The model that accuracy is held against; costs are against the answer's baseline."""
        return self.answer.matched or str(self.answer.against.baseline)

    def marks(self) -> dict[Key, list[Mark]]:
        """The λ of all cascades on the frontier, and of the answer."""
        out: dict[Key, list[Mark]] = {}
        for row in (self.answer, *self.frontier):
            if row.model_2 is not None:
                fitted = np.nan if row.fit_accuracy is None else row.fit_accuracy
                mark = Mark(_KINDS[row.kind], row.threshold, row.accuracy.value, fitted)
                out.setdefault(key_of(self.reported, row), []).append(mark)
        return out

    def about(self) -> dict[str, object]:
        """JSON-ready."""
        return {
            "answer": shown(self.answer),
            "target": self.target,
            "worth": self.worth,
            "baselines": [shown(row) for row in self.baselines],
            "frontier": [shown(row) for row in self.frontier],
            "found": self.found,
        }


_KINDS = {"answer": ANSWER, "hull": HULL, "point": FRONTIER}


def _frontier(search: Search) -> list[SearchRow]:
    """By ascending cost on the fitting images."""
    count, corners = len(search.found.points), search.found.hull.tolist()
    even = np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int).tolist()
    return [search.frontier_row(i) for i in sorted({*corners, *even})]


def key_of(reported: ScoreSet, row: SearchRow | OperatingPoint) -> Key:
    a, b = reported.index(row.model_1), reported.index(str(row.model_2))
    return Key(a, b, str(row.score), bool(row.postcheck))


def shown(row: SearchRow) -> dict[str, object]:
    columns = row.columns()
    return {name: columns[name] for name in _SHOWN}


def priced(pricer: Pricer) -> Pricer:
    """As `cascade search` prices: where the cost of any model is unknown, their runs count."""
    models = pricer.scores.models
    if set(models) <= pricer.prices.forward.keys():
        return pricer
    counted = counted_runs(models)
    return Pricer(pricer.scores, counted, pricer.batch_size, baseline=pricer.baseline)
