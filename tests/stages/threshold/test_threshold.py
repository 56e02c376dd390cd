"""Operating points against loops over every threshold, every pair and every fold."""

from __future__ import annotations

import math

import naive
import numpy as np
import polars as pl
import pytest
from helpers import MODELS, fingerprint_of, make_cache, random_scores, tied_logits, write_logits
from hypothesis import given, settings, strategies as st

from cache import find, read_table
from stages import threshold as stage
from stages.cascade import Cascade, Limit, Ordering, decide, gains
from stages.scores import SCORES, load
from stages.threshold import (
    FOLDS,
    REPEATS,
    FitPlan,
    FoldCounts,
    ThresholdQuestion,
    all_pairs,
    best_of,
    cross_fits,
    cross_fitted_points,
    curve,
    folds,
    operating_points,
    plan,
)
from stages.threshold.crossfit import Folds

SEEDS = range(6)
EVERYTHING = ThresholdQuestion(scores=naive.ALL_SCORES)
PAIRS = [(a, b) for a in range(3) for b in range(3) if a != b]


def _sets(seed, levels=16, n=41):
    """(reported, fitting) on different images."""
    rng = np.random.default_rng(seed)
    return (
        random_scores(rng, n, levels),
        random_scores(rng, 30, levels, split="val"),
    )


def _plan(method, reported, fitting):
    scores = fitting if method == "other-split" else reported
    return FitPlan(method, scores.split, scores, ())


def _rows(reported, plan, question=EVERYTHING, baseline=None):
    found = operating_points(reported, plan, PAIRS, question, baseline)
    return [row.columns() for row in found]


def cascade_of(row):
    models, limit = (row["model_1"], row["model_2"]), Limit.of(row["threshold"])
    return Cascade.of(models, row["score"], limit, postcheck=row["postcheck"])


def _models(reported, row):
    return reported.index(row["model_1"]), reported.index(row["model_2"])


def _expected(scores, row, thresholds=None):
    """(first threshold, Point) that the row's objective picks, and how many points there are."""
    images = naive.images_of(scores, *_models(scores, row), row["score"])
    points = naive.all_points(row["score"], images, row["postcheck"], thresholds)
    chosen = naive.CHOOSE[row["objective"]](points)
    return points[chosen], chosen, len(points), images


def _grid(n, score):
    """n equidistant λ, from the one that trusts A most."""
    values = [i / (n - 1) for i in range(n)]
    return values[::-1] if score == "entropy" else values


def _shares(point):
    return point.hits / len(point.right), point.usage / len(point.right)


def test_every_pair_score_check_and_objective_has_one_row():
    reported, fitting = _sets(0)
    rows = _rows(reported, _plan("other-split", reported, fitting))
    keys = [
        tuple(row[key] for key in ("model_1", "model_2", "score", "postcheck", "objective"))
        for row in rows
    ]
    expected = [
        (MODELS[a], MODELS[b], score, postcheck, objective)
        for a, b in PAIRS
        for score in naive.SCORES
        for postcheck in (False, True)
        for objective in ("best", "1se")
    ]
    expected += [(MODELS[a], MODELS[b], "oracle", False, "best") for a, b in PAIRS]
    assert sorted(keys) == sorted(expected)
    assert all_pairs(MODELS) == PAIRS
    assert {key for row in rows for key in row} == set(rows[0])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", ["other-split", "same-split", "cross-fit"])
def test_exact_rows(method, seed):
    reported, fitting = _sets(seed)
    fitted = _plan(method, reported, fitting)
    for row in _rows(reported, fitted):
        if row["score"] == "oracle":
            continue
        _, chosen, count, images = _expected(fitted.scores, row)
        limits = tuple(row[key] for key in ("threshold", "threshold_low", "threshold_high"))
        assert limits == naive.interval(row["score"], images, chosen.sent)
        assert (row["fit_accuracy"], row["fit_usage"]) == _shares(chosen)
        assert row["points"] == count
        _check_reported(reported, fitted, row)
        _check_about(reported, fitted, method, row)


def _check_reported(reported, fitted, row, alone=None):
    """Accuracy, use of B and what is gained on the reported split: one image at a time, and through
    `simulate`. Where folds decided, accuracy and gain are checked elsewhere."""
    a, b = _models(reported, row)
    images = naive.images_of(reported, a, b, row["score"])
    point = naive.point(row["score"], images, row["threshold"], row["postcheck"])
    outcome = decide(reported, cascade_of(row))
    assert outcome.usage() == point.usage / len(images)
    assert _told(row, "usage") == pytest.approx(naive.wilson(point.usage, len(images)))
    if fitted.method != "cross-fit":
        assert outcome.accuracy == point.hits / len(images)
        assert _told(row, "accuracy") == pytest.approx(naive.wilson(point.hits, len(images)))
        expected = _change(reported, fitted, row, point.right, alone)
        assert _told(row, "accuracy_change") == pytest.approx(expected)


def _told(row, name):
    return row[name], row[f"{name}_low"], row[f"{name}_high"]


def _change(reported, fitted, row, right, alone):
    """Of a cascade that is `right` on these images; checks what it is held against."""
    a, b = _models(reported, row)
    images = naive.images_of(reported, a, b, row["score"])
    chosen = naive.images_of(fitted.scores, a, b, row["score"])
    rivals = naive.more_accurate(chosen, images) if alone is None else alone.tolist()
    if alone is None:
        is_b = sum(naive.more_accurate(chosen, chosen)) > sum(i.answer_a == i.label for i in chosen)
        assert row["baseline"] == row["model_2" if is_b else "model_1"]
    assert row["baseline_accuracy"] == sum(rivals) / len(rivals)
    both = list(zip(right, rivals, strict=True))
    return naive.paired_change(both.count((True, False)), both.count((False, True)), len(both))


def _check_about(reported, fitted, method, row):
    a, b = _models(reported, row)
    for model, key in ((a, "accuracy_1"), (b, "accuracy_2")):
        right = [x == y for x, y in zip(reported.predictions[model], reported.labels, strict=True)]
        assert row[key] == sum(right) / len(right)
    about = (row["split"], row["fit_split"], row["fit_method"], row["n"], row["fit_n"])
    sizes = (len(reported.labels), len(fitted.scores.labels))
    assert about == (reported.split, fitted.split, method, *sizes)


@pytest.mark.parametrize("seed", SEEDS)
def test_fitted_on_the_reported_split_the_figures_are_the_sweeps_own(seed):
    reported, fitting = _sets(seed)
    for row in _rows(reported, _plan("same-split", reported, fitting)):
        if row["score"] != "oracle":
            assert row["accuracy"] == row["fit_accuracy"]
            assert row["usage"] == row["fit_usage"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", ["other-split", "same-split"])
def test_held_against_another_model(method, seed):
    reported, fitting = _sets(seed)
    fitted = _plan(method, reported, fitting)
    alone = reported.correct[2]
    for row in _rows(reported, fitted, baseline=alone):
        assert row["baseline"] is None
        _check_reported(reported, fitted, row, alone)


def _repeats(n):
    return [folds(n, repeat=r).tolist() for r in range(REPEATS)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("grid", [None, 5])
@pytest.mark.parametrize("given", [False, True])
def test_cross_fit(seed, grid, given):
    """Ten repeats of five folds, each decided by the others, that choose the baseline, too."""
    reported, _ = _sets(seed, levels=8, n=31)
    fitted = _plan("cross-fit", reported, reported)
    alone = reported.correct[2] if given else None
    scores = ("maxp", "entropy") if given or grid else naive.SCORES
    question = ThresholdQuestion(scores, grid=grid)
    points = cross_fitted_points(reported, fitted, PAIRS[1:4], question, alone)
    rows = [(row.columns(), held) for row, held in points]
    assert len(rows) == 3 * len(scores) * 4
    for row, decided in rows:
        images = naive.images_of(reported, *_models(reported, row), row["score"])
        how = (row["score"], images, row["postcheck"], row["objective"], _repeats(31))
        thresholds = None if grid is None else _grid(grid, row["score"])
        expected = naive.cross_fit(*how, None if alone is None else alone.tolist(), thresholds)
        assert decided.n == 31
        assert _by_fold(decided) == [held for repeat in expected for held in repeat]
        accuracy, change = naive.honest(expected, 31)
        assert _told(row, "accuracy") == pytest.approx(accuracy)
        assert _told(row, "accuracy_change") == pytest.approx(change)
        _check_reported(reported, fitted, row)


def _by_fold(decided):
    """As `naive.cross_fit` lists them."""
    columns = (getattr(decided, name).tolist() for name in naive.Held._fields)
    return [naive.Held(*held) for held in zip(*columns, strict=True)]


# Neighbouring doubles, so that midpoints round and images of a fold lie between those that fit.
POOL = [0.0, 0.25, math.nextafter(0.25, 1), math.nextafter(math.nextafter(0.25, 1), 1), 0.5, 1.0]
IMAGE = st.builds(naive.Image, *[st.integers(0, 2)] * 3, *[st.sampled_from(POOL)] * 2)


@pytest.mark.parametrize("name", naive.SCORES)
@given(st.lists(IMAGE, min_size=5, max_size=14), st.booleans(), st.sampled_from([None, 2, 5]))
@settings(max_examples=20)
def test_folds_of_any_images(name, images, postcheck, grid):
    labels, answer_a, answer_b, *scores = (np.array(column) for column in zip(*images, strict=True))
    values = None if grid is None else np.array(_grid(grid, name))
    right = np.stack([answer_a == labels, answer_b == labels])
    gain = gains(SCORES[name], *right, *scores, postcheck)
    found = Folds.of(Ordering.of(SCORES[name], scores[0]), values)
    decided = found.decide(gain, right[0], right, ("best", "1se"))
    for objective in ("best", "1se"):
        how = (name, images, postcheck, objective, _repeats(len(images)), None)
        expected = naive.cross_fit(*how, None if values is None else values.tolist())
        assert _by_fold(decided[objective]) == [held for repeat in expected for held in repeat]


@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_several_is_chosen_anew_in_each_fold(seed):
    """By the most right answers where it was fitted, then the least use of B, then the first."""
    reported, _ = _sets(seed, levels=4, n=30)
    fitted = _plan("cross-fit", reported, reported)
    question = ThresholdQuestion(objectives=("best",))
    several = [held for _, held in cross_fitted_points(reported, fitted, [(0, 1)], question)]
    expected = [
        min(fold, key=lambda held: (-held.fit_right, held.fit_sent))
        for fold in zip(*map(_by_fold, several), strict=True)
    ]
    chosen = best_of(several)
    assert (chosen.n, _by_fold(chosen)) == (30, expected)
    assert len({_by_fold(one)[0] for one in several}) > 1
    repeats = [expected[i : i + FOLDS] for i in range(0, len(expected), FOLDS)]
    accuracy, change = naive.honest(repeats, 30)
    told = [(each.value, each.low, each.high) for each in (chosen.accuracy, chosen.change)]
    assert told == [pytest.approx(accuracy), pytest.approx(change)]


def test_the_first_of_equals_is_best():
    one = np.zeros(50, np.int64)
    first, second = (FoldCounts(10, one, one, one + right, one, one) for right in (1, 2))
    assert best_of([first, second]).right.tolist() == [1] * 50
    used = FoldCounts(10, one, one + 1, one, one, one)
    assert best_of([used, second]).right.tolist() == [2] * 50


def test_folds_are_balanced_shuffled_and_repeatable():
    for n in (5, 6, 41, 1000):
        fold_of = folds(n)
        sizes = [fold_of.tolist().count(fold) for fold in range(FOLDS)]
        assert sum(sizes) == n
        assert max(sizes) - min(sizes) <= 1
        assert fold_of.tolist() == folds(n).tolist()
    assert folds(1000).tolist() != [i % FOLDS for i in range(1000)]
    assert len({tuple(folds(40, repeat=r)) for r in range(REPEATS)}) == REPEATS


def test_cross_fits_are_every_fold_of_every_repeat():
    found = list(cross_fits(23))
    assert [repeat for repeat, *_ in found] == [r for r in range(REPEATS) for _ in range(FOLDS)]
    for i, (repeat, fitting, held) in enumerate(found):
        assert held.tolist() == np.flatnonzero(folds(23, repeat=repeat) == i % FOLDS).tolist()
        assert sorted([*fitting, *held]) == list(range(23))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("grid", [2, 5, 9, 17, 33])
@pytest.mark.parametrize("method", ["other-split", "same-split"])
def test_grid(method, grid, seed):
    """n equidistant λ from 0 to 1; scores lie on some of them, as multiples of 1/16."""
    reported, fitting = _sets(seed)
    fitted = _plan(method, reported, fitting)
    for row in _rows(reported, fitted, ThresholdQuestion(grid=grid)):
        first, chosen, count, _ = _expected(fitted.scores, row, _grid(grid, row["score"]))
        assert row["threshold"] == first
        assert (row["fit_accuracy"], row["fit_usage"]) == _shares(chosen)
        assert row["points"] == count
        _check_reported(reported, fitted, row)


def test_a_fine_grid_on_scores_of_any_size():
    rng = np.random.default_rng(3)
    reported = random_scores(rng, 25, levels=10**9)
    fitted = _plan("same-split", reported, reported)
    for row in _rows(reported, fitted, ThresholdQuestion(scores=("maxp", "entropy"), grid=2000)):
        first, chosen, _, _ = _expected(reported, row, _grid(2000, row["score"]))
        assert row["threshold"] == pytest.approx(first, abs=1e-15)
        assert (row["accuracy"], row["usage"]) == _shares(chosen)


@pytest.mark.parametrize("method", ["other-split", "same-split", "cross-fit"])
@pytest.mark.parametrize("seed", SEEDS)
def test_oracle(method, seed):
    """B runs exactly where A is wrong, whatever the post-check, and there is no λ."""
    reported, fitting = _sets(seed)
    question = ThresholdQuestion(scores=("oracle",), postchecks=(False, True))
    rows = _rows(reported, _plan(method, reported, fitting), question)
    assert len(rows) == len(PAIRS)
    for row in rows:
        images = naive.images_of(reported, *_models(reported, row), "oracle")
        right = sum(i.label in (i.answer_a, i.answer_b) for i in images)
        wrong = sum(i.label != i.answer_a for i in images)
        assert (row["accuracy"], row["usage"]) == (right / len(images), wrong / len(images))
        limits = [row[key] for key in ("threshold", "threshold_low", "threshold_high")]
        assert limits == [None, None, None]


@pytest.mark.parametrize("name", naive.SCORES)
def test_curve(name):
    reported, _ = _sets(7)
    images = naive.images_of(reported, 0, 1, name)
    found = curve(reported, (0, 1), name)
    for column, postcheck in (("accuracy", False), ("accuracy_postcheck", True)):
        points = sorted(naive.all_points(name, images, postcheck), key=lambda p: p.usage)
        assert found["usage"].tolist() == [p.usage / len(images) for p in points]
        assert found[column].tolist() == [p.hits / len(images) for p in points]
        for threshold, p in zip(found["threshold"].tolist(), points, strict=True):
            limit = "always" if np.isnan(threshold) else threshold
            assert naive.point(name, images, limit, postcheck).sent == p.sent


def _stored(store):
    [manifest] = find(store, "results", "threshold")
    return pl.from_arrow(read_table(store, manifest)).to_dicts()


def test_run_stores_the_rows_it_returns(tmp_path):
    store = make_cache(tmp_path)
    reported = load(store, "toy", "test")
    rows = stage.run(store, reported, plan(store, reported), question=EVERYTHING)
    stored = _stored(store)
    assert len(stored) == len(rows)
    for row, kept in zip([row.columns() for row in rows], stored, strict=True):
        limit = row.pop("threshold")
        number = limit if isinstance(limit, float) else None
        mode = limit if isinstance(limit, str) else "oracle" if limit is None else "threshold"
        assert row.pop("split") == "test"  # which stands in the partition's name
        assert kept == row | {"threshold": number, "mode": mode}


def test_run_again_after_the_fitting_images_changed(tmp_path):
    """What is stored is what was returned last, also where only the other split's rows changed."""
    store = make_cache(tmp_path)
    reported = load(store, "toy", "test")
    before = stage.run(store, reported, plan(store, reported), question=EVERYTHING)
    rng = np.random.default_rng(9)
    labels = load(store, "toy", "val").labels
    assert fingerprint_of(labels) == load(store, "toy", "val").manifests[0].fingerprint
    for model in MODELS:
        logits = tied_logits(rng, len(labels))
        write_logits(store, "val", model, labels, logits, weights="new", overwrite=True)
    after = stage.run(store, reported, plan(store, reported), question=EVERYTHING)
    assert after != before
    told = [row.fit.fit_accuracy for row in after]
    assert [row["fit_accuracy"] for row in _stored(store)] == told


def test_other_runtimes_results_are_kept_apart(tmp_path):
    store = make_cache(tmp_path)
    rng = np.random.default_rng(5)
    for split in ("test", "val"):
        labels = load(store, "toy", split, runtime="torch-fp32-cpu").labels
        for model in MODELS:
            logits = tied_logits(rng, len(labels))
            write_logits(store, split, model, labels, logits, runtime="torch-bf16-cuda")
    for runtime in ("torch-fp32-cpu", "torch-bf16-cuda"):
        reported = load(store, "toy", "test", runtime=runtime)
        stage.run(store, reported, plan(store, reported, runtime=runtime), question=EVERYTHING)
    assert len(find(store, "results", "threshold")) == 2
