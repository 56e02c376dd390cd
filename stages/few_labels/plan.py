"""The plan of a certificate: what is tested in which order, fixed before any label is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from cache import InputError
from stages.cascade import Cascade, Limit

VERSION = 1
# What a certificate bounds: how much more is wrong than by the reference, or how often the answer
# is another than the reference's, which needs no label.
LOSS, DISAGREEMENT = "loss", "disagreement"
PREDICTED_CLASS = "predicted-class"
ALL, THESE = "all", "these"


@dataclass(frozen=True, kw_only=True)
class PlannedCascade:
    """A cascade to test, with the most use of B that the caps allow it (1 or more: no cap); and its
    estimates on the images that proposed it: use of B, cost of a request, shares of the images that
    are lost and won against the reference, and that are answered otherwise."""

    models: tuple[str, ...]
    score: str | None
    postcheck: bool
    threshold: float | str | None
    threshold_low: float | None
    threshold_high: float | None
    most_usage: float
    usage: float
    cost: float
    lost: float
    won: float
    differing: float

    @cached_property
    def cascade(self) -> Cascade:
        if self.score is None:
            return Cascade.of(self.models)
        limit = Limit.of(self.threshold, self.threshold_low, self.threshold_high)
        return Cascade.of(self.models, self.score, limit, postcheck=self.postcheck)

    @classmethod
    def of(cls, cascade: Cascade, **estimates: float) -> PlannedCascade:
        """`estimates` are the other fields."""
        first = cascade.stages[0]
        limit = first.limit
        return cls(
            models=cascade.models,
            score=None if limit is None else first.score,
            postcheck=cascade.postcheck,
            threshold=None if limit is None else limit.threshold,
            threshold_low=None if limit is None else limit.low,
            threshold_high=None if limit is None else limit.high,
            **estimates,
        )


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """`outputs` is the SHA-256 of what it answers on the calibration images and how sure it is;
    `cost`, of a request."""

    outputs: str
    cost: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`n` calibration images of a split, all of it or the part without those that `proposed` there;
    `images` is the SHA-256 of their keys; a coin asks for each with probability `share`.
    `reference`, `epsilon`, `delta`, `bound` and the caps as in `Limits`. `risk` is LOSS or
    DISAGREEMENT. Where the answers of each class are promised their own, `per` is PREDICTED_CLASS,
    `strata` are the classes, and `hold` is ALL or THESE: whether a candidate passes only where it
    keeps all of these promises, or what passes is told which of them it keeps. At most
    `label_budget` labels are asked for; of images answered alike `accuracy_sample` are asked for
    besides, for the accuracy. `candidates` in the order of the tests."""

    version: int = VERSION
    dataset: str
    split: str
    runtime: str | None
    images: str
    n: int
    part: bool
    proposing_split: str
    proposed: int
    models: Mapping[str, PlannedModel]
    cost_kind: str
    cost_unit: str
    reference: str
    risk: str
    epsilon: float
    delta: float
    bound: str
    share: float
    seed: int
    max_usage: float | None
    max_cost: float | None
    label_budget: int | None
    per: str | None
    hold: str
    strata: tuple[int, ...]
    accuracy_sample: int
    made: str
    candidates: tuple[PlannedCascade, ...]

    def text(self) -> str:
        """As the file has it: JSON, its last value the SHA-256 of all that stands before it."""
        body = json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False)
        return body.removesuffix("\n}") + f',\n "sha256": "{_sha256(body)}"\n}}\n'

    @property
    def sha256(self) -> str:
        return str(json.loads(self.text())["sha256"])

    @property
    def coins(self) -> np.ndarray:
        """bool [n]: the images asked for, where a candidate differs there from the reference."""
        return np.random.default_rng([self.seed, 0]).random(self.n) < self.share

    @property
    def order(self) -> np.ndarray:
        """intp [n]: the one in which bets are placed."""
        return np.random.default_rng([self.seed, 1]).permutation(self.n)

    @property
    def drawn(self) -> np.ndarray:
        """intp [n]: the one in which images answered alike are asked for, for the accuracy."""
        return np.random.default_rng([self.seed, 2]).permutation(self.n)


def parse(text: str, where: str) -> Plan:
    """The plan in a file's text; InputError for one that was changed in any way, or is none."""
    try:
        found = json.loads(text)
        plan = _plan(found) if isinstance(found, dict) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        plan, found = None, {}
    version = found.get("version") if isinstance(found, dict) else None
    if type(version) is int and version != VERSION:
        raise InputError(
            f"{where} is of version {version}, this one reads {VERSION}: use the program that "
            "made it, or make a new plan"
        )
    if plan is None or plan.text() != text:
        raise InputError(
            f"{where} is not as it was written, and its order of tests no longer holds: put the "
            "file back, or make a new plan in another folder (--plan)"
        )
    return plan


def _plan(found: Mapping[str, Any]) -> Plan:
    values = {each.name: found[each.name] for each in fields(Plan)}
    values["strata"] = tuple(values["strata"])
    values["models"] = {name: PlannedModel(**each) for name, each in values["models"].items()}
    values["candidates"] = tuple(
        PlannedCascade(**each | {"models": tuple(each["models"])}) for each in values["candidates"]
    )
    return Plan(**values)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def outputs_digest(answers: np.ndarray, scores: Sequence[np.ndarray]) -> str:
    """SHA-256 of a model's answers int [n] and scores float64 [n]."""
    found = hashlib.sha256()
    for values in (answers.astype("<i4"), *scores):
        found.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()
