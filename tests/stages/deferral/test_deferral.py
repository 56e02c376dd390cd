"""Deferral rules against scipy, scikit-learn, the older sweep and a loop over every threshold."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from helpers import score_set
from hypothesis import given, settings, strategies as st
from scipy.special import logsumexp, softmax
from scipy.stats import entropy as scipy_entropy
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cache import InputError
from stages import deferral
from stages.calibration import fit_temperature
from stages.deferral import FINALS, RULES, Outputs, Pair
from stages.deferral.learned import features_of, predicted_gains
from stages.scores import NonFiniteError, scores_of, together, whole
from stages.threshold import REPEATS, FitPlan, ThresholdQuestion, folds, operating_points

OBJECTIVES = ("best", "1se")
SCALAR = {
    "maxp": lambda z: softmax(z, axis=1).max(axis=1),
    "difference": lambda z: np.diff(np.sort(softmax(z, axis=1), axis=1))[:, -1],
    "entropy": lambda z: scipy_entropy(softmax(z, axis=1), axis=1) / np.log(z.shape[1]),
    "margin": lambda z: np.diff(np.sort(z, axis=1))[:, -1],
    "energy": lambda z: logsumexp(z, axis=1),
}


def compare(*asked):
    """The columns of the rows."""
    return [row.columns() for row in deferral.compare(*asked)]


def in_parts(logits, cuts):
    rows = np.arange(len(logits))
    pieces = list(zip(np.split(rows, cuts), np.split(logits, cuts), strict=True))
    return lambda: iter(pieces)


def drawn(seed, n=90, classes=4, step=2):
    """Logits of A and B (float32, multiples of 1/step) and labels; B is better."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    z = rng.standard_normal((2, n, classes)) * 1.5
    z[0, np.arange(n), labels] += 1
    z[1, np.arange(n), labels] += 2
    z = (np.round(z * step) / step).astype(np.float32)
    return z[0], z[1], labels.astype(np.int32)


def pair_of(z_a, z_b, labels):
    return Pair(Outputs.of(whole(z_a), labels), Outputs.of(in_parts(z_b, [11, 60]), labels))


@pytest.mark.parametrize("classes", [2, 4, 25])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_outputs_against_scipy(classes, temperature):
    logits, _, labels = drawn(classes, classes=classes, step=64)
    backwards = list(in_parts(logits, [7, 50])())[::-1]
    found = Outputs.of(lambda: backwards, labels, temperature)
    z = logits.astype(np.float64) / temperature
    for name, formula in SCALAR.items():
        np.testing.assert_allclose(found.scalars[name], formula(z), atol=1e-12, err_msg=name)
    top = -np.sort(-softmax(z, axis=1), axis=1)[:, :10]
    np.testing.assert_allclose(found.top, top, atol=1e-14)
    assert found.prediction.tolist() == logits.argmax(axis=1).tolist()
    assert found.correct.tolist() == (logits.argmax(axis=1) == labels).tolist()
    assert found.classes == classes


def test_scores_are_bit_for_bit_those_of_the_rule():
    logits, _, labels = drawn(0, n=500, step=1000)
    found, exact = Outputs.of(in_parts(logits, [77]), labels), scores_of(logits)
    for name in ("maxp", "difference", "entropy"):
        assert np.array_equal(found.scalars[name], exact[name])


def test_a_nan_is_named_by_its_row():
    logits, _, labels = drawn(0)
    logits[66, 1] = np.inf
    with pytest.raises(NonFiniteError, match="row 66 "):
        Outputs.of(in_parts(logits, [20, 50]), labels)


def test_outputs_of_a_subset_are_the_subset_of_the_outputs():
    logits, _, labels = drawn(1)
    keep = np.random.default_rng(0).random(90) < 0.5
    part = Outputs.of(in_parts(logits, [20, 50]), labels).subset(keep)
    again = Outputs.of(whole(logits[keep]), labels[keep])
    assert np.array_equal(part.top, again.top)
    for temperature in (1.0, 3.0):
        one, other = part.at(temperature), again.at(temperature)
        assert np.array_equal(one.prediction, other.prediction)
        for name in SCALAR:
            assert np.array_equal(one.scalars[name], other.scalars[name])
    assert part.tempered == again.tempered
    exact = fit_temperature(whole(logits[keep]), labels[keep]).value
    assert part.tempered == pytest.approx(exact, rel=0.01)


@given(st.integers(0, 10_000), st.sampled_from((0.02, 0.3, 1.0, 4.0, 60.0)))
@settings(max_examples=30, deadline=None)
def test_temperatures_are_the_best_of_all_in_three_digits(seed, scale):
    z, _, labels = drawn(seed, n=40)
    z = (z * scale).astype(np.float32)
    grid = np.array([m * 10.0**e for e in range(-4, 0) for m in range(100, 1000)] + [100.0])
    x = z.astype(np.float64) / grid[:, None, None]
    nll = (logsumexp(x, axis=2) - x[:, np.arange(40), labels]).mean(axis=1)
    found = Outputs.of(whole(z), labels).tempered
    assert found == float(f"{found:.3g}")
    assert found == pytest.approx(grid[int(np.argmin(nll))], rel=1e-9)
    # A part of the images finds its own, from wherever the whole one's lies.
    keep = np.random.default_rng(seed).random(40) < 0.7
    part = Outputs.of(whole(z), labels).subset(keep)
    assert part.tempered == Outputs.of(whole(z[keep]), labels[keep]).tempered


@pytest.mark.parametrize("temperatures", [(1.0, 1.0), (0.5, 3.0)])
def test_an_ensemble_of_a_part_is_the_part_of_the_ensemble(temperatures):
    z_a, z_b, labels = drawn(4)
    keep = np.random.default_rng(1).random(90) < 0.5
    part = pair_of(z_a, z_b, labels).subset(keep).at(*temperatures)
    again = Pair(*(Outputs.of(whole(z[keep]), labels[keep]) for z in (z_a, z_b)))
    assert part.ensemble.tolist() == again.at(*temperatures).ensemble.tolist()
    assert len(part) == keep.sum()


@given(st.data())
@settings(max_examples=40)
def test_two_streams_meet_however_they_are_cut(data):
    n = data.draw(st.integers(1, 30))
    z = np.arange(4.0 * n, dtype=np.float32).reshape(2, n, 2)
    cuts = [sorted(data.draw(st.lists(st.integers(0, n), max_size=5))) for _ in range(2)]
    seen = list(together(in_parts(z[0], cuts[0]), in_parts(z[1], cuts[1])))
    for i, expected in enumerate((np.arange(n), *z)):
        assert np.array_equal(np.concatenate([piece[i] for piece in seen]), expected)


@pytest.mark.parametrize("other", [9, 11])
def test_two_streams_of_other_images_are_refused(other):
    with pytest.raises(ValueError, match="logits"):
        list(together(whole(np.zeros((10, 2))), whole(np.zeros((other, 2)))))
    with pytest.raises(ValueError, match="same images"):
        list(together(whole(np.zeros((2, 2))), lambda: [(np.array([1, 0]), np.zeros((2, 2)))]))


@pytest.mark.parametrize("temperatures", [(1.0, 1.0), (0.5, 3.0)])
def test_the_ensemble_answers_with_the_mean_probability(temperatures):
    z_a, z_b, labels = drawn(3)
    pair = pair_of(z_a, z_b, labels).at(*temperatures)
    p = [
        softmax(z.astype(np.float64) / t, axis=1)
        for z, t in zip((z_a, z_b), temperatures, strict=True)
    ]
    assert pair.ensemble.tolist() == np.mean(p, axis=0).argmax(axis=1).tolist()
    assert pair.ensemble.tolist() not in (pair.a.prediction.tolist(), pair.b.prediction.tolist())


def images(rule, final, pair, fitting):
    """naive.Images for one rule and final answer, from scipy and the raw logits."""
    z = [np.concatenate([part for _, part in side.logits()]) for side in (pair.a, pair.b)]
    labels, z = pair.a.labels, [side.astype(np.float64) for side in z]
    if rule.endswith("_t"):
        z = [side / fitted.tempered for side, fitted in zip(z, (fitting.a, fitting.b), strict=True)]
    name = rule.removesuffix("_t")
    s_a, s_b = (SCALAR["maxp" if rule == "learned" else name](side) for side in z)
    first, second = (side.argmax(axis=1) for side in z)
    if final == "ensemble":
        second = sum(softmax(side, axis=1) for side in z).argmax(axis=1)
    if final == "postcheck":
        surer = s_b < s_a if name == "entropy" else s_b > s_a
        second = np.where(surer, second, first)
    if rule == "learned":
        like = images("maxp", final, fitting, fitting)
        target = [(i.answer_b == i.label) - (i.answer_a == i.label) for i in like]
        s_a = -predicted_gains(fitting.a, np.array(target), pair.a)[pair is not fitting]
    columns = (labels, first, second, s_a, np.zeros(len(labels)))
    return [naive.Image(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]


def as_naive(rule):
    return "entropy" if rule.startswith("entropy") else "maxp"


@pytest.mark.parametrize("final", FINALS)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_against_every_threshold(rule, final):
    fitting, reporting = pair_of(*drawn(10, step=4096)), pair_of(*drawn(11, n=70, step=4096))
    rows = {r["objective"]: r for r in compare(fitting, reporting, [rule], [final], OBJECTIVES)}
    fit_images = images(rule, final, fitting, fitting)
    report_images = images(rule, final, reporting, fitting)
    points = naive.all_points(as_naive(rule), fit_images, False)
    assert set(rows) == set(OBJECTIVES)
    for objective, row in rows.items():
        assert (row["rule"], row["final"]) == (rule, final)
        chosen = naive.CHOOSE[objective](points)
        assert (row["fit_usage"], row["fit_accuracy"]) == (chosen.usage / 90, chosen.hits / 90)
        on = naive.point(as_naive(rule), report_images, row["threshold"], False)
        assert (row["usage"], row["accuracy"]) == (on.usage / 70, on.hits / 70)
        assert (row["points"], row["n"], row["fit_n"]) == (len(points), 70, 90)


def score_sets(*pairs):
    for split, pair in zip(("val", "test"), pairs, strict=False):
        both = (pair.a, pair.b)
        names = ("maxp", "difference", "entropy")
        scores = {name: [side.scalars[name] for side in both] for name in names}
        yield score_set(pair.a.labels, [side.prediction for side in both], scores, split=split)


@pytest.mark.parametrize("method", ["other-split", "cross-fit"])
def test_old_rules_give_the_rows_of_the_threshold_stage(method):
    fitting, reporting = pair_of(*drawn(20, n=200)), pair_of(*drawn(21, n=150))
    if method == "cross-fit":
        reporting = fitting
    fit_set, report_set = score_sets(fitting, reporting)
    if method == "cross-fit":
        fit_set = report_set
    plan = FitPlan(method, "val", fit_set, ())
    expected = {
        (row.score, row.postcheck, row.fit.objective): row.columns()
        for row in operating_points(report_set, plan, [(0, 1)], ThresholdQuestion())
    }
    rules = ("maxp", "difference", "entropy")
    found = list(compare(fitting, reporting, rules, ("b", "postcheck"), OBJECTIVES))
    assert len(found) == len(expected) == 12
    for row in found:
        other = expected[row["rule"], row["final"] == "postcheck", row["objective"]]
        shared = set(row) & set(other) - {"objective"}
        assert len(shared) >= 14
        assert {key: row[key] for key in shared} == {key: other[key] for key in shared}


def ends(row, name):
    return [row[f"{name}{end}"] for end in ("", "_low", "_high")]


@pytest.mark.parametrize("final", ["b", "postcheck", "ensemble"])
@pytest.mark.parametrize("rule", ["maxp", "entropy", "maxp_t"])
def test_cross_fitting_decides_each_fold_with_the_rule_of_the_others(rule, final):
    """On few and coarse logits, so that scores and fits are often equal."""
    z_a, z_b, labels = drawn(30, n=60, step=1)
    pair = pair_of(z_a, z_b, labels)
    rows = list(compare(pair, pair, [rule], [final]))
    for row in rows:
        counts = []
        for r in range(REPEATS):
            fold, right = folds(60, repeat=r), 0
            for f in range(5):
                others, own = (
                    pair_of_few(z_a[k], z_b[k], labels[k]) for k in (fold != f, fold == f)
                )
                [part] = compare(others, own, [rule], [final], [row["objective"]])
                right += round(part["accuracy"] * part["n"])
            counts.append(right)
        assert ends(row, "accuracy") == pytest.approx(repeated_share(counts, 60))
        assert ends(row, "usage") == pytest.approx(naive.wilson(row["usage"] * 60, 60))
        whole_images = images(rule, final, pair, pair)
        points = naive.all_points(as_naive(rule), whole_images, False)
        chosen = naive.CHOOSE[row["objective"]](points)
        assert (row["fit_accuracy"], row["fit_usage"]) == (chosen.hits / 60, chosen.usage / 60)
        assert row["usage"] == row["fit_usage"]


def pair_of_few(z_a, z_b, labels):
    return Pair(*(Outputs.of(whole(z), labels) for z in (z_a, z_b)))


def repeated_share(counts, n):
    return naive.repeated([count / n for count in counts], naive.wilson(np.mean(counts), n))


def test_learned_deferral_is_cross_fitted_within_the_images_that_fit():
    """Nested: scikit-learn's own cross-fitting of four folds chooses λ, the model of these four
    decides the fifth, and nobody has seen that one."""
    n = 60
    z_a, z_b, labels = drawn(35, n=n, step=1)
    pair = pair_of_few(z_a, z_b, labels)
    right_a, right_b = (z.argmax(axis=1) == labels for z in (z_a, z_b))
    x, target = features_of(pair.a), right_b.astype(int) - right_a
    counts = []
    for r in range(REPEATS):
        fold, right = folds(n, repeat=r), 0
        for f in range(5):
            fits = np.flatnonzero(fold != f)
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
            inner = PredefinedSplit(folds(len(fits)))
            known = [x[fits], target[fits]]
            chances = cross_val_predict(model, *known, cv=inner, method="predict_proba")
            right += decided_right(chances, model.fit(*known), x, fold == f, right_a, right_b)
        counts.append(right)
    [row] = compare(pair, pair, ["learned"], ["b"], ["best"])
    assert ends(row, "accuracy") == pytest.approx(repeated_share(counts, n))
    # Use of B is that of the model and λ which are deployed.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    gains = model.fit(x, target).predict_proba(x) @ model.classes_
    assert ends(row, "usage") == pytest.approx(naive.wilson((-gains < row["threshold"]).sum(), n))
    assert row["usage"] != row["fit_usage"]


def decided_right(chances, model, x, held, right_a, right_b):
    """λ on what the other images are predicted to gain, each by the model of others, and how many
    of the held ones it then answers rightly."""
    gains = -(chances @ model.classes_), -(model.predict_proba(x[held]) @ model.classes_)
    sides = [
        [naive.Image(1, int(a), int(b), s, 0.0) for a, b, s in zip(*columns, strict=True)]
        for columns in (
            (right_a[~held], right_b[~held], gains[0].tolist()),
            (right_a[held], right_b[held], gains[1].tolist()),
        )
    ]
    points = naive.all_points("maxp", sides[0], False)
    threshold = naive.interval("maxp", sides[0], naive.best(points).sent)[0]
    return naive.point("maxp", sides[1], threshold, False).hits


def test_learned_gains_against_scikit_learns_own_cross_fitting():
    fitting, reporting = pair_of(*drawn(40, n=300)), pair_of(*drawn(41, n=80))
    x, fold = features_of(fitting.a), folds(300)
    target = fitting.b.correct.astype(int) - fitting.a.correct.astype(int)
    out_of_fold, reported, _ = predicted_gains(fitting.a, target, reporting.a)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    chances = cross_val_predict(model, x, target, cv=PredefinedSplit(fold), method="predict_proba")
    np.testing.assert_allclose(out_of_fold, chances[:, 2] - chances[:, 0], atol=1e-12)
    chances = model.fit(x, target).predict_proba(features_of(reporting.a))
    np.testing.assert_allclose(reported, chances[:, 2] - chances[:, 0], atol=1e-12)
    same, deployed, _ = predicted_gains(fitting.a, target, fitting.a)
    assert np.array_equal(same, out_of_fold)
    chances = model.predict_proba(x)
    np.testing.assert_allclose(deployed, chances[:, 2] - chances[:, 0], atol=1e-12)


def test_features_are_those_of_a_alone():
    z_a, z_b, labels = drawn(42)
    found = features_of(pair_of(z_a, z_b, labels).a)
    assert np.array_equal(found, features_of(pair_of(z_a, z_b[::-1], labels[::-1]).a))
    top, answer = -np.sort(-softmax(z_a, axis=1), axis=1), np.eye(4)[z_a.argmax(axis=1)]
    np.testing.assert_allclose(found[:, :4], top, atol=1e-6)
    assert np.array_equal(found[:, -4:], answer)
    assert found.shape == (90, 4 + 4 + 3 + 4)


def test_learned_deferral_finds_the_classes_where_b_helps():
    """B is right exactly where A answers 0, A where it answers 1: scores know nothing of it."""
    rng = np.random.default_rng(7)
    pairs = []
    for _ in range(2):
        z = rng.standard_normal((400, 2)).astype(np.float32)
        labels = np.ones(400, np.int32)
        z_b = np.where(z.argmax(axis=1) == 0, 1, -1)[:, None] * np.array([-1, 1], np.float32)
        pairs.append(pair_of(z, z_b, labels))
    rows = {r["rule"]: r for r in compare(*pairs, ["maxp", "learned"], ["b"], ["best"])}
    assert rows["learned"]["accuracy"] == 1
    assert rows["learned"]["usage"] == pytest.approx(1 - rows["learned"]["accuracy_1"])
    assert rows["maxp"]["accuracy"] < 0.7


def test_a_b_that_never_differs_is_never_asked():
    z_a, _, labels = drawn(50)
    pair = pair_of(z_a, z_a, labels)
    [row] = compare(pair, pair, ["learned"], ["b"], ["best"])
    assert (row["threshold"], row["usage"]) == ("never", 0)
    assert row["accuracy"] == pytest.approx(row["accuracy_1"])


def _without_logits(side):
    scores = {name: side.scalars[name] for name in ("maxp", "difference", "entropy")}
    return Outputs(side.labels, side.prediction, scores)


def test_what_needs_logits_says_so():
    pair = pair_of(*drawn(60))
    bare = Pair(*(_without_logits(side) for side in (pair.a, pair.b)))
    allowed = [name for name, rule in RULES.items() if rule.needs == ("scores",)]
    finals = [name for name, final in FINALS.items() if final.needs == ("scores",)]
    assert (allowed, finals) == (["maxp", "difference", "entropy"], ["b", "postcheck"])
    assert list(compare(bare, bare, allowed, finals)) == list(compare(pair, pair, allowed, finals))
    needy = [(rule, "b") for rule in RULES if rule not in allowed]
    for rule, final in (*needy, ("maxp", "ensemble")):
        with pytest.raises((ValueError, InputError), match="only scores are known"):
            list(compare(bare, bare, [rule], [final]))
