"""Operating points against loops over every threshold, every pair and every fold."""

from __future__ import annotations

import naive
import numpy as np
import polars as pl
import pytest
from helpers import MODELS, fingerprint_of, make_cache, random_scores, tied_logits, write_logits

from cache import find, read_table
from stages import threshold as stage
from stages.fitting import FOLDS, FitPlan, folds, plan
from stages.rule import Threshold
from stages.score import load
from stages.simulate import Cascade, simulate
from stages.threshold import Question, all_pairs, curve, operating_points

SEEDS = range(6)
EVERYTHING = Question(scores=naive.ALL_SCORES)
PAIRS = [(a, b) for a in range(3) for b in range(3) if a != b]


def _sets(seed, levels=16):
    """(reported, fitting) on different images."""
    rng = np.random.default_rng(seed)
    return (
        random_scores(rng, 41, levels),
        random_scores(rng, 30, levels, split="val"),
    )


def _plan(method, reported, fitting):
    scores = fitting if method == "other-split" else reported
    return FitPlan(method, scores.split, scores, ())


def _rows(reported, plan, question=EVERYTHING):
    return list(operating_points(reported, plan, PAIRS, question))


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
        _check_reported(reported, row)
        _check_about(reported, fitted, method, row)


def _check_reported(reported, row):
    """Accuracy and use on the reported split: one image at a time, and through `simulate`."""
    a, b = _models(reported, row)
    images = naive.images_of(reported, a, b, row["score"])
    point = naive.point(row["score"], images, row["threshold"], row["postcheck"])
    assert (row["accuracy"], row["usage"]) == _shares(point)
    pair = (row["model_1"], row["model_2"])
    outcome = simulate(reported, Cascade(*pair, row["score"], row["threshold"], row["postcheck"]))
    assert (row["accuracy"], row["usage"]) == (outcome.accuracy, outcome.usage)


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
            assert row["crossfit_accuracy"] is None
            assert row["crossfit_usage"] is None


def _cross_fitted(reported, row, fold_of, thresholds=None):
    """(accuracy, usage) with each fold decided by the λ of the others."""
    images = naive.images_of(reported, *_models(reported, row), row["score"])
    hits = sent = 0
    for fold in set(fold_of):
        others = [image for image, f in zip(images, fold_of, strict=True) if f != fold]
        points = naive.all_points(row["score"], others, row["postcheck"], thresholds)
        chosen = naive.CHOOSE[row["objective"]](points)
        limit: Threshold = points[chosen]
        if thresholds is None:
            limit = naive.interval(row["score"], others, chosen.sent)[0]
        held_out = [image for image, f in zip(images, fold_of, strict=True) if f == fold]
        point = naive.point(row["score"], held_out, limit, row["postcheck"])
        hits, sent = hits + point.hits, sent + point.usage
    return hits / len(images), sent / len(images)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("grid", [None, 9])
def test_cross_fit(seed, grid):
    reported, fitting = _sets(seed)
    question = Question(grid=grid)
    fold_of = folds(len(reported.labels)).tolist()
    for row in _rows(reported, _plan("cross-fit", reported, fitting), question):
        found = (row["crossfit_accuracy"], row["crossfit_usage"])
        thresholds = None if grid is None else _grid(grid, row["score"])
        assert found == _cross_fitted(reported, row, fold_of, thresholds)


def test_folds_are_balanced_shuffled_and_repeatable():
    for n in (5, 6, 41, 1000):
        fold_of = folds(n)
        sizes = [fold_of.tolist().count(fold) for fold in range(FOLDS)]
        assert sum(sizes) == n
        assert max(sizes) - min(sizes) <= 1
        assert fold_of.tolist() == folds(n).tolist()
    assert folds(1000).tolist() != [i % FOLDS for i in range(1000)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("grid", [2, 5, 9, 17, 33])
@pytest.mark.parametrize("method", ["other-split", "same-split"])
def test_grid(method, grid, seed):
    """n equidistant λ from 0 to 1; scores lie on some of them, as multiples of 1/16."""
    reported, fitting = _sets(seed)
    fitted = _plan(method, reported, fitting)
    for row in _rows(reported, fitted, Question(grid=grid)):
        first, chosen, count, _ = _expected(fitted.scores, row, _grid(grid, row["score"]))
        assert row["threshold"] == first
        assert (row["fit_accuracy"], row["fit_usage"]) == _shares(chosen)
        assert row["points"] == count
        _check_reported(reported, row)


def test_a_fine_grid_on_scores_of_any_size():
    rng = np.random.default_rng(3)
    reported = random_scores(rng, 25, levels=10**9)
    fitted = _plan("same-split", reported, reported)
    for row in _rows(reported, fitted, Question(scores=("maxp", "entropy"), grid=2000)):
        first, chosen, _, _ = _expected(reported, row, _grid(2000, row["score"]))
        assert row["threshold"] == pytest.approx(first, abs=1e-15)
        assert (row["accuracy"], row["usage"]) == _shares(chosen)


@pytest.mark.parametrize("method", ["other-split", "same-split", "cross-fit"])
@pytest.mark.parametrize("seed", SEEDS)
def test_oracle(method, seed):
    """B runs exactly where A is wrong, whatever the post-check, and there is no λ."""
    reported, fitting = _sets(seed)
    question = Question(scores=("oracle",), postchecks=(False, True))
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
    rows = stage.run(store, reported, plan(store, reported), PAIRS, EVERYTHING)
    stored = _stored(store)
    assert len(stored) == len(rows)
    for row, kept in zip(rows, stored, strict=True):
        limit = row.pop("threshold")
        number = limit if isinstance(limit, float) else None
        mode = limit if isinstance(limit, str) else "oracle" if limit is None else "threshold"
        assert row.pop("split") == "test"  # which stands in the partition's name
        assert kept == row | {"threshold": number, "mode": mode}


def test_run_again_after_the_fitting_images_changed(tmp_path):
    """What is stored is what was returned last, also where only the other split's rows changed."""
    store = make_cache(tmp_path)
    reported = load(store, "toy", "test")
    before = stage.run(store, reported, plan(store, reported), PAIRS, EVERYTHING)
    rng = np.random.default_rng(9)
    labels = load(store, "toy", "val").labels
    assert fingerprint_of(labels) == load(store, "toy", "val").manifests[0].fingerprint
    for model in MODELS:
        logits = tied_logits(rng, len(labels))
        write_logits(store, "val", model, labels, logits, weights="new", overwrite=True)
    after = stage.run(store, reported, plan(store, reported), PAIRS, EVERYTHING)
    assert after != before
    assert [row["fit_accuracy"] for row in _stored(store)] == [row["fit_accuracy"] for row in after]


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
        stage.run(store, reported, plan(store, reported, runtime=runtime), PAIRS, EVERYTHING)
    assert len(find(store, "results", "threshold")) == 2
