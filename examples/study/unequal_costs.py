"""Unequal costs: priced services on FER+ faces, where one emotion missed costs as much as
20 other mistakes.

One half of the faces answers the same questions by accuracy and by loss; the other half tells what
both answers do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cache import InputError, Store
from stages import scores as scoring
from stages.cascade import Cascade, Outcome, decide
from stages.costs import Pricer, pricer
from stages.ingest import ImportRequest, import_many
from stages.scores import Loss, ScoreSet, parse_loss, with_loss
from stages.search import BEST, COST, Question, Search, Space, rules
from stages.statistics import (
    Interval,
    Paired,
    change,
    loss_sums,
    losses_of,
    mean_loss,
    paired,
    share,
)
from stages.threshold import FitPlan, halves

FILE = "ferplus.parquet"
EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
MISSED, DEAR = "sadness", 20
DEAR_CLASS = EMOTIONS.index(MISSED)
SEED, HALVINGS = 0, 20
BUDGET = 0.0008  # US dollars per request
BUDGETS = 2e-5 * np.arange(1, 81)  # US dollars per request
MATCHED, WITHIN, LEAST = "match", "budget", "least"
QUESTIONS = {MATCHED: Question(), WITHIN: Question(COST, BUDGET), LEAST: Question(BEST)}
# Confidences of two services do not compare, so there is no post-check.
SPACE = Space(tuple(rules(["confidence"], [False])))


def weights(emotion: str) -> str:
    """The file of `--loss`: what missing each class costs."""
    lines = (f"{k},{DEAR if name == emotion else 1}\n" for k, name in enumerate(EMOTIONS))
    return "".join(lines)


def loss_of(emotion: str) -> Loss:
    with TemporaryDirectory() as folder:
        file = Path(folder, f"{emotion}.csv")
        file.write_text(weights(emotion), encoding="utf-8")
        return replace(parse_loss(str(file)), name=file.name)


@dataclass(frozen=True)
class Told:
    """What a cascade does on the faces that are reported; `dearer` is the share of them that the
    dearer of its services sees, `usd` of a request."""

    cascade: Cascade
    usage: Interval
    dearer: Interval
    usd: Interval
    accuracy: Interval
    loss: Interval


@dataclass(frozen=True)
class Against:
    """How much more one cascade loses, is right and costs than another, on the same faces."""

    loss: Interval
    accuracy: Interval
    usd: float


@dataclass(frozen=True)
class ByEmotion:
    """Of the reported faces of an emotion: how many, the recall of two cascades, how much more the
    second one's is, the shares that each calls `MISSED`, and how much less the second one loses on
    all of them."""

    emotion: str
    faces: int
    before: Interval
    after: Interval
    more: Interval
    called: tuple[float, float]
    less: int


@dataclass(frozen=True)
class Faces:
    """One halving of the faces under a loss: the one half fits, the other is reported."""

    store: Store
    scores: ScoreSet
    pricer: Pricer
    seed: int = SEED

    @property
    def loss(self) -> Loss:
        if self.scores.loss is None:
            raise ValueError("these faces are under no loss")
        return self.scores.loss

    @cached_property
    def fitting(self) -> np.ndarray:
        """bool [N]: half of each emotion's."""
        return halves(self.scores.labels, self.seed, stratified=True)

    @cached_property
    def reported(self) -> ScoreSet:
        return self.scores.of_images(~self.fitting)

    @cached_property
    def priced(self) -> Pricer:
        return self.pricer.on(self.reported)

    def under(self, emotion: str) -> Faces:
        scores = with_loss(self.store, self.scores, loss_of(emotion))
        return Faces(self.store, scores, self.pricer, self.seed)

    def asked(self, question: Question, by_loss: bool) -> Search:
        fitting, reported = self.scores.of_images(self.fitting), self.reported
        if not by_loss:
            fitting, reported = (
                replace(each, loss=None, earned=None) for each in (fitting, reported)
            )
        plan = FitPlan("halves", reported.split, fitting, ())
        return Search.of(reported, plan, self.pricer.on(reported), SPACE, question)

    def told(self, cascade: Cascade) -> Told:
        found = decide(self.reported, cascade)
        n, sent = len(found.correct), int((found.stage > 0).sum())
        price = [self.priced.model(name).value for name in cascade.models]
        lost, _ = self._losses(found, found)
        return Told(
            cascade,
            usage=share(sent, n),
            dearer=share(sent if price.index(max(price)) else n, n),
            usd=self.priced.request(cascade.models, found.stage),
            accuracy=share(int(found.correct.sum()), n),
            loss=mean_loss(lost).over(self.loss.scale),
        )

    def against(self, one: Cascade, other: Cascade) -> Against:
        found, rival = (decide(self.reported, each) for each in (one, other))
        usd = [
            self.priced.request(each.models, did.stage).value
            for each, did in ((one, found), (other, rival))
        ]
        return Against(
            change(self._losses(found, rival)[1]).over(self.loss.scale),
            change(paired(found.correct, rival.correct)),
            usd[0] - usd[1],
        )

    def _losses(self, found: Outcome, rival: Outcome) -> tuple[Paired, Paired]:
        sums = loss_sums(found.credit, rival.credit).tolist()
        return losses_of(sums, len(found.credit), self.loss.most)

    def by_emotion(self, before: Cascade, after: Cascade) -> Iterator[ByEmotion]:
        found = [decide(self.reported, each) for each in (before, after)]
        less = np.subtract(*(each.credit.astype(np.int64) for each in reversed(found)))
        for label, emotion in enumerate(EMOTIONS):
            mine = self.reported.labels == label
            had, has = (each.correct[mine] for each in found)
            called = [float((each.prediction[mine] == DEAR_CLASS).mean()) for each in found]
            yield ByEmotion(
                emotion,
                len(had),
                share(int(had.sum()), len(had)),
                share(int(has.sum()), len(has)),
                change(paired(has, had)),
                (called[0], called[1]),
                int(less[mine].sum()),
            )

    def within_budgets(self, by_loss: bool) -> list[float]:
        """For each of BUDGETS the loss of what is best within it on the fitting half."""
        found = self.asked(QUESTIONS[LEAST], by_loss).found
        last = np.searchsorted(found.cost, BUDGETS, side="right") - 1
        told = {i: self.told(found.points[i]).loss.value for i in set(last.tolist())}
        return [told[i] for i in last.tolist()]


def read(store: Store, folder: Path) -> Faces:
    """Under the loss of `MISSED`; InputError without the table or its prices."""
    request = ImportRequest("faces", "test", "", str(folder / FILE), kind="answers")
    import_many(store, request, "test")
    faces = scoring.load(store, "faces", "test")
    priced = pricer(store, faces, kind="usd")
    if priced is None:
        raise InputError(f"{folder / FILE} does not tell what a request costs")
    return Faces(store, faces, priced).under(MISSED)


@dataclass(frozen=True)
class Answered:
    """What a search answers; `tested`: the reported faces had a part in it; `against` is the single
    service that it is held against."""

    told: Told
    tested: bool
    against: str


@dataclass(frozen=True)
class Compared:
    """A question answered by accuracy and by loss, and what the first does more than the second."""

    accuracy: Answered
    loss: Answered
    more: Against
    emotions: Sequence[ByEmotion]


def choose(faces: Faces, question: Question) -> Compared:
    one, other = (answer(faces, question, by_loss) for by_loss in (False, True))
    cascades = one.told.cascade, other.told.cascade
    return Compared(one, other, faces.against(*cascades), tuple(faces.by_emotion(*cascades)))


def answer(faces: Faces, question: Question, by_loss: bool) -> Answered:
    asked = faces.asked(question, by_loss)
    row, verdict = asked.answer()
    return Answered(faces.told(asked.point), row.selected, verdict.model)


# By question and the emotion that is dear: how much more choosing by accuracy loses, by halving.
Repeated = Mapping[tuple[str, str], Sequence[Interval]]


def repeated(faces: Faces) -> Repeated:
    out: dict[tuple[str, str], list[Interval]] = {}
    asked = {name: QUESTIONS[name] for name in (WITHIN, LEAST)}
    for seed in range(HALVINGS):
        half = replace(faces, seed=seed)
        by_accuracy = {name: half.asked(each, False).point for name, each in asked.items()}
        for emotion in EMOTIONS:
            dear = half.under(emotion)
            for name, question in asked.items():
                by_loss = dear.asked(question, True).point
                found = dear.against(by_accuracy[name], by_loss).loss
                out.setdefault((name, emotion), []).append(found)
    return out


@dataclass(frozen=True)
class Alone:
    """A service, its recall of `MISSED`, the share of the faces of which it says that, and the
    emotions that it `never` says."""

    told: Told
    recall: Interval
    says: float
    never: Sequence[str]


def alone(faces: Faces, service: str) -> Alone:
    m = faces.scores.index(service)
    said, mine = faces.reported.predictions[m], faces.reported.labels == DEAR_CLASS
    recall = share(int((said[mine] == DEAR_CLASS).sum()), int(mine.sum()))
    never = [EMOTIONS[k] for k in range(len(EMOTIONS)) if k not in faces.scores.predictions[m]]
    told = faces.told(Cascade.of((service,)))
    return Alone(told, recall, float((said == DEAR_CLASS).mean()), never)


@dataclass(frozen=True)
class Results:
    """`budgets`: by accuracy and by loss, as `Faces.within_budgets`. `next`: of the answer of least
    loss of all what it loses more than the next pair's, by the fitting half, and that pair."""

    counts: Mapping[str, int]
    fitted: int
    alone: Sequence[Alone]
    chosen: Mapping[str, Compared]
    next: tuple[Told, Against]
    budgets: tuple[Sequence[float], Sequence[float]]
    repeated: Repeated


def study(faces: Faces) -> Results:
    counts = np.bincount(faces.scores.labels, minlength=len(EMOTIONS))
    chosen = {name: choose(faces, question) for name, question in QUESTIONS.items()}
    row = faces.asked(QUESTIONS[LEAST], True).top(2)[1]
    after = Cascade.of(row.models, row.score, row.threshold)
    return Results(
        counts=dict(zip(EMOTIONS, counts.tolist(), strict=True)),
        fitted=int(faces.fitting.sum()),
        alone=[alone(faces, name) for name in faces.scores.models],
        chosen=chosen,
        next=(faces.told(after), faces.against(chosen[LEAST].loss.told.cascade, after)),
        budgets=(faces.within_budgets(False), faces.within_budgets(True)),
        repeated=repeated(faces),
    )
