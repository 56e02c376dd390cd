"""`simulate` against a loop over the images, one request at a time."""

from __future__ import annotations

import math

import naive
import numpy as np
import polars as pl
import pytest
from helpers import cost_row, make_cache, random_scores, score_set
from hypothesis import given, settings, strategies as st
from running import cascade

from cache import InputError, find, read_table
from stages import costs, simulate as stage
from stages.cascade import Cascade, decide
from stages.costs import Pricer, some_macs
from stages.scores import load
from stages.simulate import priced
from stages.simulate.stage import summary
from stages.threshold import REPEATS, FitPlan, fitted_point, folds

POOL = [0.0, 0.25, math.nextafter(0.25, 1), 0.5, 1.0]
A_SCORE = st.sampled_from(POOL)
IMAGES = st.lists(
    st.tuples(*[st.integers(0, 2)] * 3, A_SCORE, A_SCORE), min_size=1, max_size=20
).map(lambda rows: [naive.Image(*row) for row in rows])
LIMITS = st.sampled_from([*POOL, 0.1, 0.9, "always", "never"])


def _told(row, name):
    return row[name], row[f"{name}_low"], row[f"{name}_high"]


@pytest.mark.parametrize("name", naive.ALL_SCORES)
@pytest.mark.parametrize("postcheck", [False, True])
@given(images=IMAGES, threshold=LIMITS)
@settings(max_examples=60)
def test_every_image_is_decided_as_by_hand(name, postcheck, images, threshold):
    labels, answer_a, answer_b, s_a, s_b = zip(*images, strict=True)
    scores = score_set(labels, [answer_a, answer_b], {name: [s_a, s_b]})
    threshold = None if name == "oracle" else threshold
    cascade = Cascade.of(("small", "large"), name, threshold, postcheck=postcheck)
    found = decide(scores, cascade)
    rows = [naive.decide(name, image, threshold, postcheck) for image in images]
    escalated, took_b, prediction = (list(column) for column in zip(*rows, strict=True))
    right = [image.label == answer for image, answer in zip(images, prediction, strict=True)]
    assert found.escalated.tolist() == escalated
    assert found.took_b.tolist() == took_b
    assert found.prediction.tolist() == prediction
    assert found.correct.tolist() == right
    row = summary(scores, cascade, found).columns()
    n = len(images)
    assert (row["accuracy"], row["usage"]) == (sum(right) / n, sum(escalated) / n)
    assert _told(row, "accuracy") == pytest.approx(naive.wilson(sum(right), n))
    assert _told(row, "usage") == pytest.approx(naive.wilson(sum(escalated), n))
    assert (row["escalated"], row["took_b"], row["n"]) == (sum(escalated), sum(took_b), n)


def test_order_of_the_two_models_matters(small_cache):
    scores = load(small_cache, "toy", "test")
    there = decide(scores, Cascade.of(("small", "large"), "maxp", "never"))
    back = decide(scores, Cascade.of(("large", "small"), "maxp", "never"))
    assert there.prediction.tolist() == scores.predictions[scores.index("small")].tolist()
    assert back.prediction.tolist() == scores.predictions[scores.index("large")].tolist()


def test_a_model_that_is_not_there_is_named(small_cache):
    scores = load(small_cache, "toy", "test")
    with pytest.raises(InputError, match=r"unknown model on toy/test 'smal': did you mean 'small'"):
        decide(scores, Cascade.of(("smal", "large"), "maxp", 0.5))


def test_always_answers_as_b_and_costs_both(small_cache):
    scores = load(small_cache, "toy", "test", ["small", "large"])
    found = decide(scores, Cascade.of(("small", "large"), "entropy", "always"))
    assert found.usage() == 1
    assert found.accuracy == scores.accuracy[scores.index("large")]


@pytest.mark.parametrize("threshold", [0.5, "never", "always", None])
def test_the_oracle_has_no_threshold(threshold):
    scores = score_set([0, 0], [[0, 1], [1, 0]], {})
    found = decide(scores, Cascade.of(("small", "large"), "oracle", threshold, postcheck=True))
    assert found.escalated.tolist() == [False, True]
    assert found.accuracy == 1


def test_a_score_without_a_threshold_is_refused(small_cache):
    scores = load(small_cache, "toy", "test")
    with pytest.raises(InputError, match="maxp needs a λ"):
        decide(scores, Cascade.of(("small", "large"), "maxp"))


def test_costs_are_null_where_unknown_and_weighted_by_use_where_known():
    scores = random_scores(np.random.default_rng(0), 40)
    cascade = Cascade.of(("small", "large"), "maxp", 0.5)
    outcome = decide(scores, cascade)
    assert summary(scores, cascade, outcome).macs_per_request is None
    nothing = priced(cascade, outcome, None, "small")
    assert set(nothing.columns().values()) == {None}
    for manifest, macs in zip(scores.manifests, (100, 1000, 1), strict=True):
        manifest.provenance["macs"] = macs
    row = summary(scores, cascade, outcome)
    assert row.macs_per_request == pytest.approx(100 + 1000 * row.escalated / 40)


def test_the_contracts_keys(small_cache):
    scores = load(small_cache, "toy", "test")
    row = stage.run(small_cache, scores, Cascade.of(("small", "large"), "maxp", 0.5)).columns()
    contract = "split, fit_split, model_1, model_2, score, threshold, postcheck, memory, n"
    contract += ", accuracy, usage, escalated, hits, false_hits, hit_rate"
    assert set(contract.split(", ")) <= set(row)
    assert row["usage"] == row["escalated"] / row["n"]
    assert (row["hits"], row["false_hits"], row["hit_rate"]) == (0, 0, 0)


@pytest.mark.parametrize("known", [None, "other"])
def test_of_a_cross_fitted_threshold_folds_that_the_others_decide_tell(known):
    """Each image once: accuracy and its change are theirs, use of B is that of the λ of all."""
    scores = random_scores(np.random.default_rng(4), 40)
    alone = None if known is None else scores.correct[2]
    cascade, fit = _fitted(scores, alone)
    row = stage.figures(scores, cascade, fit, known and _pricer(scores, known)).columns()
    repeats = [folds(40, repeat=r).tolist() for r in range(REPEATS)]
    images = naive.images_of(scores, 0, 1, "maxp")
    held = naive.cross_fit("maxp", images, False, "best", repeats, known and alone.tolist())
    accuracy, change = naive.honest(held, 40)
    assert _told(row, "accuracy") == pytest.approx(accuracy)
    assert _told(row, "accuracy_change") == pytest.approx(change)
    more_accurate = "small" if scores.accuracy[0] >= scores.accuracy[1] else "large"
    assert row["baseline"] == (known or more_accurate)
    sent = naive.point("maxp", images, cascade.limits[0].threshold, False)
    assert (row["usage"], row["fit_accuracy"]) == (sent.usage / 40, sent.hits / 40)
    assert row["fit_accuracy"] != row["accuracy"]


def test_of_other_requests_a_cross_fitted_threshold_is_told_less_what_it_flatters():
    """By as much as it does each image once; copies of an image tell no more than one."""
    scores = random_scores(np.random.default_rng(4), 40)
    cascade, fit = _fitted(scores)
    flattery = fit.facts.fit_accuracy - fit.honest.accuracy.value
    assert flattery > 0
    for picks, worth in (
        ([*range(40)] * 2, 40),
        ([*range(40), *range(20)], 36),
        ([*range(30)], 30),
    ):
        shown = scores.of_images(np.array(picks))
        row = stage.figures(shown, cascade, fit).columns()
        images = naive.images_of(shown, 0, 1, "maxp")
        right = naive.point("maxp", images, cascade.limits[0].threshold, False).right
        share = sum(right) / len(picks)
        expected = [x - flattery for x in (share, *naive.wilson(share * worth, worth)[1:])]
        assert _told(row, "accuracy") == pytest.approx(tuple(expected))
        rivals = shown.correct[shown.index(fit.baseline)].tolist()
        both = list(zip(right, rivals, strict=True))
        won, lost = (both.count(each) * worth / len(picks) for each in ((1, 0), (0, 1)))
        expected = [x - flattery for x in naive.paired_change(won, lost, worth)]
        assert _told(row, "accuracy_change") == pytest.approx(tuple(expected))


def test_a_given_threshold_is_held_against_the_more_accurate_of_the_two():
    labels, right, wrong = [0] * 4, [0] * 4, [0, 0, 1, 1]
    score = {"maxp": [[0.5] * 4] * 2}
    for answers, baseline in (((right, wrong), "small"), ((wrong, right), "large")):
        scores = score_set(labels, answers, score)
        row = stage.figures(scores, Cascade.of(("small", "large"), "maxp", "never")).columns()
        assert (row["baseline"], row["baseline_accuracy"]) == (baseline, 1.0)
        assert row["accuracy_change"] == (0.0 if baseline == "small" else -0.5)
    scores = score_set(labels, (right, right), score)
    found = stage.figures(scores, Cascade.of(("small", "large"), "maxp", 0.5))
    assert found.against.baseline == "small"


def _fitted(scores, alone=None):
    plan = FitPlan("cross-fit", "test", scores, ())
    pair = ("small", "large")
    limit, fit = fitted_point(scores, plan, pair, "maxp", False, "best", alone)
    return Cascade.of(pair, "maxp", limit), fit


def _pricer(scores, baseline):
    return Pricer(scores, some_macs(dict.fromkeys(scores.models, 1000)), baseline=baseline)


def test_run_stores_each_cascade_once(tmp_path):
    store = make_cache(tmp_path)
    scores = load(store, "toy", "test")
    limits = (0.5, "always", 0.5, "never")
    rows = [stage.run(store, scores, Cascade.of(("small", "large"), "maxp", t)) for t in limits]
    rows.append(stage.run(store, scores, Cascade.of(("small", "large"), "oracle")))
    found = [pl.from_arrow(read_table(store, m)) for m in find(store, "results", "simulate")]
    stored = {(t["mode"][0], t["threshold"][0]): t["accuracy"][0] for t in found}
    assert len(found) == 4
    assert stored == {
        ("threshold", 0.5): rows[0].accuracy.value,
        ("always", None): rows[1].accuracy.value,
        ("never", None): rows[3].accuracy.value,
        ("oracle", None): rows[4].accuracy.value,
    }


def test_with_one_split_every_command_tells_the_same_of_a_pair(tmp_path):
    """Folds decided by the others, against the model asked for; the policy promises that."""
    store = make_cache(tmp_path / "cache", splits=("test",), n=200)
    rows = [cost_row("small", 1.0), cost_row("large", 4.0), cost_row("other", 2.0)]
    costs.merge(store, "toy", rows)
    asked = ("-d", "toy", "-m1", "small", "-m2", "large", "-s", "maxp", "--baseline", "other")
    asked += ("--cache", store.root, "--json")
    row = cascade("simulate", "--dataset", *asked[1:]).json
    [best, _] = cascade("threshold", *asked, "-P").json["rows"]
    promise = cascade("export", "--policy", tmp_path / "p", *asked).json["policy"]["promise"]
    names = ("accuracy", "accuracy_change", "usage", "cost", "saved")
    keys = ["baseline", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))]
    assert row["fit_method"] == "cross-fit"
    assert [row[key] for key in keys] == [best[key] for key in keys]
    assert [row[key] for key in keys] == [promise[key] for key in keys]
    assert row["baseline"] == "other"
    scores = load(store, "toy", "test")
    images = naive.images_of(scores, scores.index("small"), scores.index("large"), "maxp")
    alone = scores.correct[scores.index("other")].tolist()
    repeats = [folds(200, repeat=r).tolist() for r in range(REPEATS)]
    accuracy, change = naive.honest(
        naive.cross_fit("maxp", images, False, "best", repeats, alone), 200
    )
    assert _told(row, "accuracy") == pytest.approx(accuracy)
    assert _told(row, "accuracy_change") == pytest.approx(change)
    shown = cascade("simulate", "--dataset", *asked[1:-1]).out
    for key in ("accuracy", "usage"):
        assert f"{row[key]:.2%} ({row[f'{key}_low']:.2%} to {row[f'{key}_high']:.2%})" in shown
    assert shown.count("points") == 1
    assert "decided by the λ of the others, 10 times over" in " ".join(shown.split())
    unknown = (*asked[1:-3], "--cache", store.root, "--baseline", "othr")
    assert "did you mean 'other'" in cascade("simulate", "--dataset", *unknown).refusal


def test_a_baseline_needs_costs(small_cache):
    asked = ("simulate", "--dataset", "toy", "-m1", "small", "-m2", "large", "--baseline", "other")
    assert "--baseline compares costs" in cascade(*asked, "--cache", small_cache.root).refusal
