"""The benchmark's three ways: the original's loops, whole arrays and ours agree where they should.

So that it compares like with like; and where they do not agree, they differ as docs/comparison.md
says.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from helpers import random_scores, score_set, tied_logits
from naive import all_points, best as naive_best, images_of
from running import DIGITS, ROOT, cascade, needs_shared

torch = pytest.importorskip("torch")
pytest.importorskip("imagehash")

from benchmarks import against_data, against_original, differences, hashing, original, vectorised  # noqa: E402
from benchmarks.original import NAMES, Scored  # noqa: E402
from cache import (  # noqa: E402
    InputError,
    Store,
)
from stages.heterogeneity import matrix  # noqa: E402
from stages.scores import scores_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
SEEDS = range(4)


def models_of(scores):
    """A ScoreSet's models as the original holds them."""
    columns = [{name: scores.scores[name][m] for name in NAMES} for m in range(len(scores.models))]
    return [Scored(*each) for each in zip(scores.predictions, columns, strict=True)]


# --- scores --------------------------------------------------------------------------------------


@pytest.mark.parametrize("logits", ["random", "tied"])
def test_scores_agree(logits):
    rng = np.random.default_rng(0)
    rows = {
        "random": rng.normal(0, 4, (200, 7)).astype(np.float32),
        "tied": tied_logits(rng, 200),
    }[logits]
    loop, arrays, ours = original.scored(rows), vectorised.scored(rows), scores_of(rows)
    assert np.array_equal(arrays.answers, ours["prediction"])
    assert np.array_equal(rows[np.arange(200), loop.answers], rows.max(axis=1))
    for name in NAMES:
        np.testing.assert_allclose(loop.scores[name], ours[name], atol=2e-6)
        np.testing.assert_allclose(arrays.scores[name], ours[name], atol=2e-6)
    for way in (loop, arrays):
        np.testing.assert_allclose(
            way.scores["nats"], way.scores["entropy"] * math.log(rows.shape[1]), rtol=1e-5
        )


def test_float32_ties_what_float64_tells_apart():
    rows = np.array([[20, 0], [22, 0]], np.float32)
    assert original.scored(rows).scores["maxp"].tolist() == [1, 1]
    ours = scores_of(rows)["maxp"]
    assert ours[0] < ours[1] < 1


def test_underflow():
    """The original takes the logarithm of 0; 0 · ln 0 is 0."""
    with pytest.raises(ValueError, match=r"math domain error|positive"):
        original.scored(differences.SURE)
    assert vectorised.scored(differences.SURE).scores["entropy"] == 0
    assert scores_of(differences.SURE)["entropy"] == pytest.approx(0, abs=1e-80)
    assert "raises" in differences.underflow()


# --- λ -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("steps", [2, 9, 33])
def test_one_grid_four_ways(seed, steps):
    """Scores are multiples of 1/16, so many images share them, and some lie on a λ of the grid."""
    scores = random_scores(np.random.default_rng(seed), 40)
    first, second = models_of(scores)[:2]
    grid = np.linspace(0, 1, steps)
    ours = {(r.score, r.postcheck): r for r in against_data.exact(scores, [(0, 1)], steps)}
    for name in NAMES:
        points = original.sweep(scores.labels, first, second, name, grid)
        arrays = vectorised.best(scores.labels, first, second, name, grid)
        for postcheck in (False, True):
            point = original.best(points, name, postcheck)
            assert point == arrays[postcheck]
            naive = naive_best(
                all_points(name, images_of(scores, 0, 1, name), postcheck, grid.tolist())
            )
            assert (point.correct(postcheck), point.used) == (naive.hits, naive.usage)
            row = ours[name, postcheck]
            assert (point.correct(postcheck) / 40, point.used / 40) == (
                row.accuracy.value,
                row.usage.value,
            )
            if name != "entropy":  # of one step's λ the original takes the largest, ours the least
                assert point.threshold == row.threshold.value


@pytest.mark.parametrize("seed", SEEDS)
def test_one_threshold(seed):
    scores = random_scores(np.random.default_rng(seed), 40)
    first, second = models_of(scores)[:2]
    for name in NAMES:
        [point] = original.sweep(scores.labels, first, second, name, [0.5])
        for postcheck in (False, True):
            found = vectorised.at(scores.labels, first, second, name, postcheck, 0.5)
            assert found == (point.correct(postcheck), point.used)


def test_first_maximum_is_the_least_use_of_b():
    """Two λ are equally accurate: of maxp the smaller uses B less, of entropy the larger."""
    labels = np.zeros(3, np.int64)
    a, b = np.array([1, 0, 0]), np.zeros(3, np.int64)
    s = np.array([0.2, 0.4, 0.6])
    first, second = (Scored(each, {"maxp": s, "entropy": 1 - s}) for each in (a, b))
    for name, expected in (("maxp", 0.3), ("entropy", 0.7)):
        points = original.sweep(labels, first, second, name, [0.1, 0.3, 0.5, 0.7, 0.9])
        assert (original.best(points, name, False).threshold) == expected
        assert original.best(points, name, False).used == 1


def test_exact_beats_the_grid_between_two_of_its_thresholds():
    """B mends the less sure of two images that no λ of the grid parts, and breaks the other."""
    s_a = np.array([[0.6001, 0.6002], [0.9, 0.9]])
    scores = dict.fromkeys(("maxp", "difference"), s_a) | {"entropy": 1 - s_a}
    found = score_set(np.zeros(2, int), np.array([[1, 0], [0, 1]]), scores, ("a", "b"))
    first, second = models_of(found)
    for row in against_data.exact(found, [(0, 1)]):
        points = vectorised.best(
            found.labels, first, second, row.score, np.linspace(0, 1, original.GRID)
        )
        assert (points[0].right, row.accuracy.value) == (1, 1.0)


def test_nats_send_more_images_to_b():
    """K = 10: a λ of 0.3 fitted in [0, 1] trusts up to 0.3·ln 10 nats, but is compared with 0.3."""
    logits = np.random.default_rng(0).normal(0, 3, (200, 10)).astype(np.float32)
    model = vectorised.scored(logits)
    labels = model.answers
    used = [
        vectorised.at(labels, model, model, name, False, 0.3)[1] for name in ("entropy", "nats")
    ]
    entropy = scores_of(logits)["entropy"]
    assert used == [(entropy > 0.3).sum(), (entropy > 0.3 / math.log(10)).sum()]
    assert used[0] < used[1]
    [by_loop] = original.sweep(labels, model, model, "nats", [0.3])
    assert by_loop.used == used[1]


# --- heterogeneity -------------------------------------------------------------------------------


def test_heterogeneity_by_hand():
    """Images: both right, first right, second right, both wrong alike, both wrong."""
    answers, labels = [[0, 1, 0, 2, 2], [0, 0, 2, 2, 1]], [0, 1, 2, 0, 0]
    assert original.heterogeneity(answers, labels) == [[0, 0.4], [0.4, 0]]


@pytest.mark.parametrize("seed", SEEDS)
def test_heterogeneity_three_ways(seed):
    scores = random_scores(np.random.default_rng(seed), 50)
    by_loop = original.heterogeneity(scores.predictions.tolist(), scores.labels.tolist())
    assert vectorised.heterogeneity(scores.predictions, scores.labels).tolist() == by_loop
    assert matrix(scores.correct).tolist() == by_loop


# --- the whole benchmark -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A cache of the digits, with latencies of batch 1 as `extract` would have measured them."""
    root = tmp_path_factory.mktemp("against") / "cache"
    assert cascade("extract", "--cache", root).status == 0
    costs = root.parent / "costs.csv"
    rows = [f"{name},here,1,{ms}" for name, ms in zip(DIGITS, (1.1, 2.4, 1.6, 4.9), strict=True)]
    costs.write_text("\n".join(["model,device,batch_size,latency_ms", *rows]))
    done = cascade("import-costs", costs, "--source", "a test", "--cache", root)
    assert done.status == 0, done.err
    return root


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(against_original, "ROUNDS", 1)
    monkeypatch.setattr(hashing, "IMAGES", 40)
    monkeypatch.setattr(hashing, "SLICE", 20)


def test_benchmark(digits, quick, capsys):
    against_original.compare(Store(digits), grid=40)
    out = capsys.readouterr().out
    assert out.startswith("digits: digits_plain, digits_residual, digits_separable, digits_wide; ")
    assert re.findall(r"^([1-6]) ", out, re.M) == list("1234556")
    table = re.findall(r"^  (\w+) +(no|yes) +[\d.]+ +\S+ to \S+ +([\d.]+)% +([\d.]+)% ", out, re.M)
    found = {(score, check): float(exact) for score, check, _, exact in table}
    said = cascade(
        *("threshold", "-m1", "digits_separable", "-m2", "digits_residual", "--json"),
        *("--cache", digits, "--split", "val", "--fit-split", "val"),
    ).json["rows"]
    best = [row for row in said if row["objective"] == "best" and row["score"] in NAMES]
    assert len(table) == 6
    assert found == {
        (row["score"], "yes" if row["postcheck"] else "no"): round(100 * row["accuracy"], 2)
        for row in best
    }
    assert "of 72 rows" in out
    assert "fitted on test" in out


def test_logits_and_forward_times_are_those_of_the_cache(digits):
    split = against_data.Split.of(Store(digits), "digits", "val")
    for m, logits in enumerate(split.logits):
        assert np.array_equal(scores_of(logits)["maxp"], split.ours.scores["maxp"][m])
    assert all(s > 0 for s in against_data.forward_seconds(Store(digits), split.ours))


def test_what_one_split_promises_and_the_other_keeps(digits):
    """The first pair's maxp without post-check, by the loop."""
    val, test = (against_data.Split.of(Store(digits), "digits", name) for name in ("val", "test"))
    grid = np.linspace(0, 1, 30)
    promised, kept = differences.promise(val, test, grid)
    fitted = original.best(
        original.sweep(val.ours.labels, *val.original[:2], "maxp", grid), "maxp", False
    )
    [other] = original.sweep(test.ours.labels, *test.original[:2], "maxp", [fitted.threshold])
    assert len(promised) == len(kept) == 4 * 3 * 6
    assert (promised[0], kept[0]) == (fitted.right / 500, other.right / 500)


def test_results_that_cannot_be_compared_are_refused(digits, quick, monkeypatch):
    split = against_data.Split.of(Store(digits), "digits", "val")
    monkeypatch.setattr(vectorised, "best", lambda *_: (original.Point(0, 0, 0, 0),) * 2)
    with pytest.raises(RuntimeError, match="disagree"):
        against_original.search_line(split, np.linspace(0, 1, 5))
    wrong = replace(split.ours, correct=~split.ours.correct[::-1])
    with pytest.raises(RuntimeError, match="differ"):
        against_original.heterogeneity_line(against_data.Split(wrong, split.logits))


def test_a_cache_of_something_else(small_cache):
    with pytest.raises(InputError, match="neither of"):
        against_original.compare(small_cache)


@needs_shared
@pytest.mark.slow
def test_results_are_those_of_the_page(cifar_zoo):
    """docs/comparison.md, on the real images; another processor's rounding may move an image."""
    page = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^```text\n(.*?)^```$", page, re.M | re.S)
    store = Store(cifar_zoo[0] / "cache")
    val, test = (against_data.Split.of(store, "cifar10", name) for name in ("val", "test"))
    told = "\n".join(differences.told(val, test, np.linspace(0, 1, original.GRID))).strip()
    number = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?")
    assert number.sub("#", shown).split() == number.sub("#", told).split()
    pairs = zip(*(map(float, number.findall(text)) for text in (shown, told)), strict=True)
    apart = [pair for pair in pairs if abs(pair[0] - pair[1]) > max(0.15, 0.02 * abs(pair[0]))]
    assert len(apart) <= 3, apart  # counts of rows
