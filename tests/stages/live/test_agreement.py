"""What counts as float noise between a live run and its simulation, for each kind of cascade."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from stages.cascade import Cascade, Limit, decide
from stages.live.serving import Served
from stages.live.summary import agreement
from stages.scores import fitted_score, scores_of, softmax_of

LABELS = np.zeros(1, np.int32)


@dataclass
class Known:
    """One image's logits [1, K] by model, as `decide` and `agreement` read them."""

    logits: list
    fitted: str = "maxp"
    curve: dict | None = None
    mean: bool = False
    scores: dict = field(default_factory=dict)
    means: dict = field(default_factory=dict)
    labels = LABELS
    loss = None
    sample_ids = np.arange(1)

    def __post_init__(self):
        each = [scores_of(z) for z in self.logits]
        self.models = tuple("abc"[: len(each)])
        self.predictions = np.stack([one.pop("prediction") for one in each])
        self.correct = self.predictions == self.labels
        if self.curve is not None:
            each = [
                one | {self.fitted: fitted_score(self.fitted, self.curve, one, None)}
                for one in each
            ]
        self.scores = {name: np.stack([one[name] for one in each]) for name in each[0]}
        if self.mean:
            p = sum(softmax_of(z) for z in self.logits) / len(each)
            two = np.sort(p, axis=1)[:, -2:]
            self.means = {self.models: np.stack([p.argmax(axis=1), two[:, 1] - two[:, 0]])}

    def index(self, model):
        return self.models.index(model)

    def score(self, name, model):
        return self.scores[name][model]

    def of_images(self, rows):
        return self


def held(cached, live, made):
    """The agreement of what live logits decide with what cached ones do."""
    one = np.ones(1)
    served = Served(LABELS, decide(live, made), one, one, 1, one, np.zeros(1, int))
    return agreement(served, cached, made)


def row(*values):
    return np.array([values], np.float32)


A, B = row(3, 0, 0, 0), row(0, 3, 0, 0)


@pytest.mark.parametrize(("moved", "faults"), [(1e-6, 0), (0.1, 1)])
def test_a_tie_of_the_mean(moved, faults):
    made = Cascade.of(("a", "b"), "maxp", "always", ensemble=True)
    cached = Known([A, B - row(0, moved, 0, 0)], mean=True)
    live = Known([A, B + row(0, moved, 0, 0)], mean=True)
    found = held(cached, live, made)
    assert (found.answers_differ, found.outside_noise) == (1, faults)


@pytest.mark.parametrize(("moved", "faults"), [(5e-7, 0), (0.01, 1)])
def test_a_steep_curve(moved, faults):
    """A step of the curve lies between the two; how steep it is makes no fault."""
    sure = scores_of(A)["maxp"][0]
    low = scores_of(A - row(moved, 0, 0, 0))["maxp"][0]
    curve = {"x": [0.0, low, sure, 1.0], "y": [0.5, 0.5, 0.9, 0.9]}
    how = ("isotonic(maxp)", curve)
    made = Cascade.of(("a", "b"), how[0], 0.7, coefficients={"a": curve, "b": curve})
    found = held(Known([A, B], *how), Known([A - row(moved, 0, 0, 0), B], *how), made)
    assert (found.decisions_differ, found.outside_noise) == (1, faults)


@pytest.mark.parametrize(("moved", "below", "faults"), [(1e-6, 1e-9, 0), (0.1, 1e-3, 1)])
@pytest.mark.parametrize("stage", [0, 1])
def test_every_limit_of_a_chain(stage, moved, below, faults):
    z = [row(1, 0, 0, 0), row(0, 1.1, 0, 0), row(0, 0, 2, 0)]
    sure = [scores_of(each)["maxp"][0] for each in z]
    limits = [0.99, 0.99]
    limits[stage] = float(sure[stage]) - below
    made = Cascade.of(("a", "b", "c"), "maxp", *limits)
    live = [each.copy() for each in z]
    live[stage] = live[stage] * np.float32(1 - moved)
    found = held(Known(z), Known(live), made)
    assert (found.decisions_differ, found.outside_noise) == (1, faults)
    assert found.differences[0].boundary == "threshold"


def test_votes_that_differ_are_told_by_the_answers():
    """The vote share jumps; what moves it is how near a member's two largest are."""
    z = [row(1, 1 - 1e-6, 0, 0), row(1, 0, 0, 0), row(0, 0, 2, 0)]
    live = [row(1 - 2e-6, 1 - 1e-6, 0, 0), *z[1:]]
    made = Cascade.committee(("a", "b"), "c", Limit("at", 1.0))
    found = held(Known(z), Known(live), made)
    assert (found.decisions_differ, found.outside_noise) == (1, 0)
    assert found.differences[0].boundary == "answer"
