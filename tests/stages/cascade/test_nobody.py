"""Cascades whose last stage is no model, against one image at a time."""

from __future__ import annotations

from fractions import Fraction

import naive
import numpy as np
import pytest
from helpers import random_scores

from cache import InputError
from stages.cascade import Cascade, Limit, Ordering, Stage, decide, fit, pair_gains
from stages.scores import Nobody, parse_loss, with_loss, with_nobody, without_nobody

LARGER_IS_SURER = {"maxp": True, "difference": True, "entropy": False}


def surer(name, one, other, strictly=False):
    if not LARGER_IS_SURER[name]:
        one, other = -one, -other
    return one > other if strictly else one >= other


def one_image(image, name, limits, postcheck):
    """(the last stage, whose answer stands, the prediction): A, perhaps B, then nobody."""
    answers, scores = image[0], image[1]
    surest, answered = 0, 0
    for j, limit in enumerate(limits):
        if surer(name, scores[j], limit):
            return j, answered, answers[answered]
        if j + 1 == len(limits):
            return j + 1, j + 1, -1
        if not postcheck or surer(name, scores[j + 1], scores[surest], strictly=True):
            surest = answered = j + 1
    raise AssertionError


@pytest.mark.parametrize("last", ["abstain", "human"])
@pytest.mark.parametrize("name", naive.SCORES)
@pytest.mark.parametrize("models", [("small",), ("small", "large")])
@pytest.mark.parametrize("postcheck", [False, True])
def test_what_the_last_model_is_unsure_of_is_nobodys(models, name, postcheck, last):
    if postcheck and len(models) == 1:
        pytest.skip("one model alone is surer than no other")
    rng = np.random.default_rng(len(models))
    scores = random_scores(rng, 300)
    limits = [0.5, 0.625][: len(models)]
    cascade = Cascade.of((*models, last), name, *limits, postcheck=postcheck)
    found = decide(scores, cascade)
    rows = [scores.index(model) for model in models]
    for i in range(300):
        image = scores.predictions[rows, i].tolist(), scores.scores[name][rows, i].tolist()
        wanted = one_image(image, name, limits, postcheck)
        assert (found.stage[i], found.answered[i], found.prediction[i]) == wanted
        assert found.correct[i] == (wanted[2] == scores.labels[i])
        assert found.unanswered[i] == (wanted[2] == -1)
        assert np.isnan(found.score[i]) == (wanted[2] == -1)
    assert 0 < found.unanswered.sum() < 300


def test_the_row_of_nobody_decides_alike():
    scores = random_scores(np.random.default_rng(1), 200)
    cascade = Cascade.of(("small", "large", "human"), "maxp", 0.5, 0.625)
    row = with_nobody(scores, Nobody.human(0.9, 2.0, "usd"))
    one, other = (vars(decide(each, cascade)) for each in (scores, row))
    for name in one.keys() - {"earned"}:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("name", naive.SCORES)
@pytest.mark.parametrize("postcheck", [False, True])
def test_the_sweep_of_the_row_is_that_of_what_is_decided(name, postcheck):
    """Also by the sweep with post-check all that is sent on stays there."""
    scores = with_nobody(random_scores(np.random.default_rng(8), 200), Nobody.abstain(0.4))
    gain = pair_gains(scores, name, 0, 3, postcheck)
    always = decide(scores, Cascade.of(("small", "abstain"), name, "always"))
    np.testing.assert_array_equal(gain, always.credit - scores.credit[0])


def test_ends_of_a_limit():
    scores = random_scores(np.random.default_rng(2), 50)
    always, never = (
        decide(scores, Cascade.of(("small", "abstain"), "maxp", kind))
        for kind in ("always", "never")
    )
    assert always.unanswered.all()
    assert not always.correct.any()
    np.testing.assert_array_equal(never.prediction, scores.predictions[0])


def test_words_and_names():
    cascade = Cascade.of(("small", "large", "human"), "maxp", 0.5, 0.6)
    assert cascade.nobody == "human"
    assert cascade.models_that_run == ("small", "large")
    assert cascade.names == ("small", "large", "human")
    assert Cascade((Stage("small"),)).nobody is None
    assert Limit.of(0.5) == cascade.limits[0]


@pytest.mark.parametrize(
    ("models", "how", "words"),
    [
        (("human", "small"), {}, "human is no model, and may only be the last stage"),
        (("abstain",), {}, "name one that runs before it"),
        (("small", "human"), {"postcheck": True}, "one alone runs"),
        (("small", "large", "human"), {"ensemble": True}, "gives no probabilities"),
    ],
)
def test_what_nobody_cannot_be_part_of(models, how, words):
    limits = [0.5] * (len(models) - 1)
    with pytest.raises(InputError, match=words):
        Cascade.of(models, "maxp", *limits, **how)


def test_the_row():
    rng = np.random.default_rng(3)
    scores = random_scores(rng, 20)
    row = with_nobody(scores, Nobody.abstain(0.3))
    assert row.models == ("small", "large", "other", "abstain")
    assert row.models_that_run == scores.models == scores.models_that_run
    assert row.predictions[-1].tolist() == [-1] * 20
    assert not row.correct[-1].any()
    assert np.isnan(row.scores["entropy"][3]).all()
    assert row.score("entropy", 3).tolist() == [-np.inf] * 20
    assert row.score("oracle", 3).tolist() == [0] * 20
    assert row.macs == dict.fromkeys(scores.models) | {"abstain": 0}
    assert row.weights["abstain"] is None
    assert (row.runtime, row.by_runtime) == (scores.runtime, False)
    assert row.of_images(slice(5)).predictions.shape == (4, 5)
    again = with_nobody(row, Nobody.human(0.5))
    assert again.models == (*scores.models, "human")
    assert without_nobody(again).models == scores.models
    assert again.manifests[-1].content != with_nobody(row, Nobody.human(0.6)).manifests[-1].content


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Nobody.abstain(-1), "an abstention cannot cost -1"),
        (lambda: Nobody.abstain(float("nan")), "an abstention cannot cost nan"),
        (lambda: Nobody.human(98), "right with probability 98"),
        (lambda: Nobody.human(0.9, -0.1), "answer cannot cost -0.1"),
    ],
)
def test_what_nobody_cannot_cost(make, words):
    with pytest.raises(InputError, match=words):
        make()


def naive_loss(image, prediction, matrix, last):
    """Exactly, of one image: an error costs 1 where there is no matrix."""
    classes = range(3)
    cost = matrix or [[Fraction(int(true != told)) for told in classes] for true in classes]
    if prediction >= 0:
        return cost[image][prediction]
    if last.name == "abstain":
        return Fraction(str(last.loss))
    right = Fraction(str(last.accuracy))
    wrong = [cost[image][told] for told in classes if told != image]
    return right * cost[image][image] + (1 - right) * sum(wrong) / len(wrong)


MATRIX = [[0, 1, 10], [Fraction(1, 2), 0, 3], [4, Fraction(7, 4), 0]]


@pytest.mark.parametrize("matrix", [None, MATRIX])
@pytest.mark.parametrize(
    "last", [Nobody.abstain(0.35), Nobody.abstain(0), Nobody.human(0.98), Nobody.human(0.875)]
)
def test_what_an_image_costs_is_exact(tmp_path, last, matrix):
    scores = random_scores(np.random.default_rng(4), 90)
    if matrix is not None:
        file = tmp_path / "loss.csv"
        file.write_text("\n".join(",".join(str(float(x)) for x in row) for row in matrix))
        scores = with_loss(None, scores, parse_loss(str(file)))
    row = with_nobody(scores, last)
    outcome = decide(row, Cascade.of(("small", "large", last.name), "maxp", 0.5, 0.625))
    wanted = [
        naive_loss(label, prediction, matrix, last)
        for label, prediction in zip(
            scores.labels.tolist(), outcome.prediction.tolist(), strict=True
        )
    ]
    assert [Fraction(-int(each), row.loss.scale) for each in outcome.credit] == wanted
    stripped = without_nobody(row)
    assert (stripped.loss is None) == (matrix is None)
    mean = Fraction(-int(stripped.credit[0].sum()), 1 if matrix is None else stripped.loss.scale)
    assert mean == (
        -int(scores.correct[0].sum())
        if matrix is None
        else Fraction(-int(scores.credit[0].sum()), scores.loss.scale)
    )


def test_too_many_digits():
    scores = random_scores(np.random.default_rng(5), 20)
    with pytest.raises(InputError, match="too many digits to be summed exactly"):
        with_nobody(scores, Nobody.abstain(1e-12))


@pytest.mark.parametrize("last", [Nobody.abstain(0.25), Nobody.human(0.96)])
def test_the_best_limit_is_the_one_that_a_loop_finds(last):
    scores = with_nobody(random_scores(np.random.default_rng(6), 120), last)
    ordering = Ordering.by(scores, "maxp", 0)
    gain = pair_gains(scores, "maxp", 0, scores.index(last.name), False)
    found = fit(ordering, gain, ("best",))["best"]
    losses = {}
    for at in sorted({*scores.scores["maxp"][0].tolist(), -1.0}):
        cascade = Cascade.of(("small", last.name), "maxp", at + 1e-6)
        outcome = decide(scores, cascade)
        each = (
            naive_loss(label, prediction, None, last)
            for label, prediction in zip(
                scores.labels.tolist(), outcome.prediction.tolist(), strict=True
            )
        )
        losses[int(outcome.unanswered.sum())] = sum(each)
    best = min(losses.values())
    assert losses[found.k] == best
    assert found.k == min(k for k, loss in losses.items() if loss == best)
