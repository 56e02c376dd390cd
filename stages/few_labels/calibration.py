"""The calibration images of a plan, and its candidates on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

import cache
from cache import InputError, Partition, Store
from stages.cascade import Outcome, decide
from stages.certify import binomial
from stages.few_labels.differing import differing
from stages.few_labels.plan import ALL, DISAGREEMENT, PREDICTED_CLASS, Plan, outputs_digest
from stages.few_labels.trial import (
    NEITHER,
    UNLABELLED,
    SampledTest,
    Standing,
    Trial,
    most_lost,
    stand,
)
from stages.scores import ScoreSet, load_unlabelled, named
from stages.threshold import parts


@dataclass(frozen=True)
class CalibrationImages:
    """`scores` of the plan's models on its n images, whose labels are the reference's answers;
    `keys` [n] are what the images are called."""

    plan: Plan
    scores: ScoreSet
    keys: tuple[str, ...]

    @cached_property
    def test(self) -> SampledTest:
        plan = self.plan
        return SampledTest(plan.epsilon, plan.delta, plan.bound, plan.share, plan.order)

    @cached_property
    def _trials(self) -> dict[int, Trial]:
        return {}

    def trial(self, c: int) -> Trial:
        """Of a candidate, by its place in the order."""
        if c not in self._trials:
            self._trials[c] = self._tried(c, self.plan.hold == ALL)
        return self._trials[c]

    def by_class(self, c: int) -> Trial:
        """The same, in strata."""
        return self.trial(c) if self.plan.hold == ALL else self._tried(c, strata=True)

    def standing(self, labels: np.ndarray, passed: int = 0) -> Standing:
        """By labels int32 [n], from where so many have passed."""
        start = max(passed, self.free)
        return stand(self.trial, len(self.plan.candidates), labels, self.test, start)

    @cached_property
    def free(self) -> int:
        """How many candidates pass, one after the other, whatever the labels are; 0 where each has
        to be looked at."""
        plan = self.plan
        if plan.bound != "binomial" or (plan.per is not None and plan.hold == ALL):
            return 0
        most = most_lost(plan.n, self.test.level, plan.delta)
        passes = (self._counts[0] <= most) & (self._over_cap <= plan.delta)
        return int(np.logical_and.accumulate(passes).sum())

    @cached_property
    def costs(self) -> np.ndarray:
        """float64 [C]: of a request by each candidate."""
        each = [[self.plan.models[name].cost for name in c.models] for c in self.plan.candidates]
        first, second = np.array([(*costs, 0.0)[:2] for costs in each]).reshape(-1, 2).T
        return first + self._counts[1] / self.plan.n * second

    @cached_property
    def _counts(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [C] each: images asked for that a candidate answers otherwise, and those sent to
        B."""
        return differing(self.scores, [c.cascade for c in self.plan.candidates], self._coins)

    @cached_property
    def _over_cap(self) -> np.ndarray:
        """float64 [C]: p-values of "B runs on more than the caps allow", 0 where that is no cap, 1
        below 0."""
        most = np.array([each.most_usage for each in self.plan.candidates])
        p = binomial(self._counts[1], self.plan.n, most.clip(0, 1))
        return np.where(most >= 1, 0.0, np.where(most < 0, 1.0, p))

    @property
    def unlabelled(self) -> np.ndarray:
        """int32 [n]: the labels before any is known. Where disagreement is what counts, the
        reference's answer is right."""
        if self.plan.risk == DISAGREEMENT:
            return self.scores.labels.astype(np.int32)
        return np.full(self.plan.n, UNLABELLED, np.int32)

    def labels(self, known: dict[int, int | None]) -> np.ndarray:
        """int32 [n], of classes by sample id; None is none of the answers."""
        if self.plan.risk == DISAGREEMENT:
            return self.unlabelled
        return self.labels_known(known)

    def labels_known(self, known: dict[int, int | None]) -> np.ndarray:
        """The same, whatever is counted."""
        out = np.full(self.plan.n, UNLABELLED, np.int32)
        for sample, label in known.items():
            out[self.rows[sample]] = NEITHER if label is None else label
        return out

    @cached_property
    def rows(self) -> dict[int, int]:
        """Sample id → row."""
        return {sample: row for row, sample in enumerate(self.scores.sample_ids.tolist())}

    @cached_property
    def _coins(self) -> np.ndarray:
        return self.plan.coins

    def outcome(self, c: int) -> Outcome:
        """What a candidate answers."""
        return decide(self.scores, self.plan.candidates[c].cascade)

    def answers(self, row: int) -> list[int]:
        """What the reference and the candidates answer on an image, each class once, in an order
        drawn by chance: whose answer it is would sway who labels."""
        found = sorted({int(self.scores.labels[row]), *self._others.get(row, ())})
        seed = [self.plan.seed, 3, int(self.scores.sample_ids[row])]
        return [int(each) for each in np.random.default_rng(seed).permutation(found)]

    @cached_property
    def _others(self) -> dict[int, set[int]]:
        """Row → what candidates answer there otherwise than the reference."""
        out: dict[int, set[int]] = {}
        for c in range(len(self.plan.candidates)):
            trial = self.trial(c)
            for row, answer in zip(trial.images.tolist(), trial.answers.tolist(), strict=True):
                out.setdefault(row, set()).add(answer)
        return out

    @property
    def asked(self) -> set[int]:
        """The rows of which a label would tell anything of any candidate."""
        return set(self._others)

    def _tried(self, c: int, strata: bool) -> Trial:
        planned, found, n = self.plan.candidates[c], self.outcome(c), self.plan.n
        images = np.flatnonzero(~found.correct & self._coins)
        if planned.score is not None:
            surer = named(planned.score).sign * self._first(planned.models[0], planned.score)
            images = images[np.argsort(-surer[images], kind="stable")]
        return Trial(
            n=n,
            images=images,
            answers=found.prediction[images],
            reference=self.scores.labels[images],
            usage=float(self._counts[1][c] / n),
            cost=float(self.costs[c]),
            over_cap=float(self._over_cap[c]),
            differing=int((~found.correct).sum()),
            **self._strata(found, strata),
        )

    def _first(self, model: str, score: str) -> np.ndarray:
        return self.scores.score(score, self.scores.index(model))

    def _strata(self, found: Outcome, strata: bool) -> dict[str, np.ndarray]:
        n, classes = self.plan.n, np.array(self.plan.strata, np.int64)
        if not strata or self.plan.per != PREDICTED_CLASS:
            return {"stratum": np.zeros(n, np.intp), "sizes": np.array([n])}
        place = np.searchsorted(classes, found.prediction).clip(max=len(classes) - 1)
        stratum = np.where(classes[place] == found.prediction, place, len(classes))
        return {"stratum": stratum, "sizes": np.bincount(stratum, minlength=len(classes) + 1)[:-1]}


def calibrate(store: Store, plan: Plan) -> CalibrationImages:
    """InputError where the cache holds other images, or outputs, than the plan was made of."""
    where = (store, plan.dataset, plan.split, plan.reference, list(plan.models))
    scores = calibration_images(load_unlabelled(*where, runtime=plan.runtime), plan.part)
    keys = keys_of(store, scores)
    if digest_of_keys(keys) != plan.images:
        raise InputError(
            f"{plan.dataset}/{plan.split} holds other images than the plan was made of: bring "
            "those back, or make a new plan"
        )
    names = scores_in(plan)
    for m, (model, planned) in enumerate(plan.models.items()):
        if digest_of_outputs(scores, m, names) != planned.outputs:
            raise InputError(
                f"{model} answers otherwise on {plan.split} than when the plan was made: bring "
                "those outputs back, or make a new plan"
            )
    return CalibrationImages(plan, scores, keys)


def scores_in(plan: Plan) -> list[str]:
    """The scores that its candidates go by."""
    return sorted({each.score for each in plan.candidates if each.score is not None})


def digest_of_outputs(scores: ScoreSet, model: int, names: list[str]) -> str:
    """Of a model's answers and these scores."""
    each = [scores.score(name, model) for name in names]
    return outputs_digest(scores.predictions[model], each)


def digest_of_keys(keys: tuple[str, ...]) -> str:
    return cache.digest(list(keys))


def calibration_images(scores: ScoreSet, part: bool) -> ScoreSet:
    """All of a split, or the part that does not propose."""
    return scores.of_images(np.sort(parts(len(scores.labels))[1])) if part else scores


def keys_of(store: Store, scores: ScoreSet) -> tuple[str, ...]:
    """What the samples call the images; their ids where the cache holds no samples."""
    place = Partition.of("samples", dataset=scores.dataset, split=scores.split)
    manifest = cache.load(store, place)
    if manifest is None:
        return tuple(map(str, scores.sample_ids.tolist()))
    table = cache.read_table(store, manifest, ["sample_id", "key"])
    ids, keys = (table.column(name).to_pylist() for name in ("sample_id", "key"))
    named = dict(zip(ids, keys, strict=True))
    return tuple(str(named[sample]) for sample in scores.sample_ids.tolist())
