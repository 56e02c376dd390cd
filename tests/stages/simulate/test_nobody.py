"""Figures of cascades whose last stage is no model, against a loop over the requests."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from helpers import random_scores

from stages.cascade import Cascade, MemoryPolicy, decide
from stages.costs import Pricer, Prices, costs_of
from stages.costs.table import flat
from stages.scores import Nobody, with_nobody
from stages.simulate import Recall, figures, recalled

PRICES = Prices(
    "usd", "usd", None, "", {"small": flat(1.0), "large": flat(5.0), "other": flat(2.0)}, {}
)
HUMAN = Nobody.human(0.95, 40.0, "usd")


def naive(scores, last, limits, name="maxp"):
    """By request: (the stage where it ends, its loss exactly, what it costs)."""
    models = ("small", "large")[: len(limits)]
    for i in range(len(scores.labels)):
        for j, (model, limit) in enumerate(zip(models, limits, strict=True)):
            m = scores.models.index(model)
            if scores.scores[name][m][i] >= limit:
                wrong = scores.predictions[m][i] != scores.labels[i]
                yield j, Fraction(int(wrong)), sum((1.0, 5.0)[: j + 1])
                break
        else:
            person = last.name == "human"
            loss = 1 - Fraction(str(last.accuracy)) if person else Fraction(str(last.loss))
            yield len(models), loss, sum((1.0, 5.0)[: len(models)]) + 40.0 * person


@pytest.mark.parametrize("last", [HUMAN, Nobody.abstain(0.2)])
@pytest.mark.parametrize("limits", [(0.5,), (0.5, 0.625)])
def test_shares_losses_and_costs(last, limits):
    scores = with_nobody(random_scores(np.random.default_rng(0), 400), last)
    models = ("small", "large")[: len(limits)]
    cascade = Cascade.of((*models, last.name), "maxp", *limits)
    row = figures(scores, cascade, pricer=Pricer(scores, PRICES))
    found = row.unanswered
    ends, losses, costs = zip(*naive(scores, last, limits), strict=True)
    sent = [end == len(models) for end in ends]
    assert found.unanswered == sum(sent)
    assert found.abstained.value == sum(sent) / 400
    right = sum(loss == 0 for loss, there in zip(losses, sent, strict=True) if not there)
    assert found.answered_accuracy.value == pytest.approx(right / (400 - sum(sent)))
    assert row.accuracy.value == right / 400
    assert found.loss.value == float(sum(losses) / 400)
    spread = np.std([float(loss) for loss in losses])
    assert found.loss.half == pytest.approx(1.959964 * spread / 20)
    assert row.price.cost.value == pytest.approx(sum(costs) / 400)
    assert row.price.cost.half == pytest.approx(1.959964 * np.std(costs) / 20)
    if last is HUMAN:
        expected = (right + sum(sent) * Fraction(95, 100)) / 400
        assert found.expected_accuracy == pytest.approx(float(expected))
    else:
        assert found.expected_accuracy is None
    assert getattr(row, f"accuracy_{len(limits) + 1}") is None
    assert getattr(row, f"macs_{len(limits) + 1}") == 0


@pytest.mark.parametrize("limits", [(0.5,), (0.5, 0.625)])
def test_the_area_is_that_of_the_last_limit(limits):
    """Of every λ of the last model: the mean over the images of the risk among those answered."""
    last = Nobody.abstain(0.2)
    scores = with_nobody(random_scores(np.random.default_rng(1), 150), last)
    models = ("small", "large")[: len(limits)]
    ends = sorted({*scores.scores["maxp"][len(models) - 1].tolist(), 2.0}, reverse=True)
    total, covered = 0.0, 0
    for at in ends:
        cascade = Cascade.of((*models, "abstain"), "maxp", *limits[:-1], float(at))
        outcome = decide(scores, cascade)
        answered = int((~outcome.unanswered).sum())
        if answered > covered:
            risk = 1 - int(outcome.correct.sum()) / answered
            total, covered = total + (answered - covered) * risk, answered
    assert covered == 150
    row = figures(scores, Cascade.of((*models, "abstain"), "maxp", *limits))
    assert row.unanswered.aurc.value == pytest.approx(total / 150)


def test_the_columns_are_null_without():
    scores = random_scores(np.random.default_rng(2), 40)
    row = figures(scores, Cascade.of(("small", "large"), "maxp", 0.5)).columns()
    names = ("unanswered", "abstained", "abstained_low", "loss", "aurc", "human_cost")
    assert [row[name] for name in names] == [None] * 6


def test_a_memory_keeps_no_abstention():
    """The same image again is asked again where nobody answered it."""
    base = random_scores(np.random.default_rng(3), 50)
    scores = with_nobody(base.of_images(np.tile(np.arange(50), 2)), Nobody.abstain(0.2))
    cascade = Cascade.of(("small", "abstain"), "maxp", 0.5)
    codes = np.tile(np.arange(50), 2)
    keys = np.arange(50, dtype=np.uint8)[:, None]
    recall = Recall(MemoryPolicy("exact"), codes, keys, np.arange(100) >= 50)
    plain = decide(scores, cascade)
    outcome, found = recalled(scores, cascade, plain, recall)
    assert found.hit[50:].tolist() == (~plain.unanswered[50:]).tolist()
    np.testing.assert_array_equal(outcome.prediction, plain.prediction)
    np.testing.assert_array_equal(outcome.credit, plain.credit)


def test_what_a_search_compares():
    scores = with_nobody(random_scores(np.random.default_rng(4), 30), HUMAN)
    costs = costs_of(Pricer(scores, PRICES), scores)
    assert costs.alone.tolist() == [1.0, 5.0, 2.0, 40.0]
    assert Pricer(scores, PRICES)._priced == ["small", "large", "other"]


def test_costs_of_each_request():
    base = random_scores(np.random.default_rng(5), 30)
    each = np.random.default_rng(6).random((3, 30))
    from dataclasses import replace

    scores = with_nobody(replace(base, request_costs={"usd": each}), HUMAN)
    assert scores.request_costs["usd"][3].tolist() == [40.0] * 30
    prices = replace(PRICES, by_request=True)
    cascade = Cascade.of(("small", "human"), "maxp", 0.5)
    sent = decide(scores, cascade).unanswered
    cost = figures(scores, cascade, pricer=Pricer(scores, prices)).price.cost
    assert cost.value == pytest.approx((each[0] + 40 * sent).mean())
