"""Temperature, ECE, AURC and AUGRC against scipy, scikit-learn, other libraries and plain loops."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import selective_golden as golden
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_auc_score

from stages.calibration import calibrate, fit_temperature
from stages.calibration.metrics import augrc, aurc, quality, reliability
from stages.scores import NonFiniteError, whole

RANKED = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30)


def drawn(seed, n=300, classes=5, sharpness=2.0):
    """(logits float32, labels) of a model that is `sharpness` times too sure."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, classes)) * 1.5
    labels = np.array([rng.choice(classes, p=row) for row in softmax(logits, axis=1)])
    return (logits * sharpness).astype(np.float32), labels


def in_parts(logits, cuts):
    """Parts cut anywhere and given out of order."""
    rows = np.arange(len(logits))
    pieces = list(zip(np.split(rows, cuts), np.split(logits, cuts), strict=True))
    return lambda: reversed(pieces)


def nll(logits, labels, temperature=1.0):
    z = logits.astype(np.float64) / temperature
    return -log_softmax(z, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_temperature_against_a_scalar_minimiser(seed, sharpness):
    logits, labels = drawn(seed, sharpness=sharpness)
    found = fit_temperature(in_parts(logits, [7, 111]), labels)
    best = minimize_scalar(
        lambda u: nll(logits, labels, np.exp(u)), bounds=(-4, 4), options={"xatol": 1e-10}
    )
    assert found.value == pytest.approx(np.exp(best.x), rel=1e-4)
    assert found.nll_after <= best.fun + 1e-13
    assert found.nll_before == pytest.approx(nll(logits, labels), rel=1e-12)
    assert found.nll_after == pytest.approx(nll(logits, labels, found.value), rel=1e-12)
    assert (found.n, found.bounded) == (300, False)


def test_the_slope_vanishes_at_the_temperature():
    logits, labels = drawn(5)
    beta = 1 / fit_temperature(whole(logits), labels).value
    z = logits.astype(np.float64)
    slope = (softmax(beta * z, axis=1) * z).sum(axis=1) - z[np.arange(300), labels]
    assert abs(slope.mean()) < 1e-9


def test_always_right_or_worse_than_chance_ends_at_the_bounds():
    logits, _ = drawn(0)
    right = fit_temperature(whole(logits), logits.argmax(axis=1))
    wrong = fit_temperature(whole(logits), logits.argmin(axis=1))
    assert (right.bounded, right.value) == (True, 0.01)
    assert (wrong.bounded, wrong.value) == (True, 100)


def test_logits_that_say_nothing_keep_their_temperature():
    found = fit_temperature(whole(np.zeros((20, 3), np.float32)), np.zeros(20, np.int64))
    assert (found.value, found.bounded) == (1, False)


def test_calibrate_fits_on_one_split_and_judges_on_another():
    fit_logits, fit_labels = drawn(1)
    logits, labels = drawn(2, n=400)
    found = calibrate(whole(fit_logits), fit_labels, whole(logits), labels)
    assert found.temperature == fit_temperature(whole(fit_logits), fit_labels)
    for got, temperature in ((found.before, 1.0), (found.after, found.temperature.value)):
        p = softmax(logits.astype(np.float64) / temperature, axis=1)
        right = p.argmax(axis=1) == labels
        assert (got.temperature, got.n, got.accuracy) == (temperature, 400, right.mean())
        assert got.nll == pytest.approx(nll(logits, labels, temperature), rel=1e-12)
        assert got.ece == pytest.approx(_ece(p.max(axis=1), right, 15), abs=1e-12)
        assert got.aurc == pytest.approx(_aurc(p.max(axis=1), right), abs=1e-12)
        assert got.augrc == pytest.approx(_augrc(p.max(axis=1), right), abs=1e-12)
    assert found.after.nll < found.before.nll
    assert found.after.ece < found.before.ece / 2


def _ece(confidence, right, bins):
    total = 0.0
    for b in range(bins):
        low, high = np.linspace(0, 1, bins + 1)[b : b + 2]
        inside = [i for i, c in enumerate(confidence) if low < c <= high or (b == 0 and c == 0)]
        if inside:
            total += abs(sum(right[i] for i in inside) - sum(confidence[i] for i in inside))
    return total / len(right)


def _aurc(confidence, right):
    risks = []
    for one in confidence:
        covered = [not r for c, r in zip(confidence, right, strict=True) if c >= one]
        risks.append(sum(covered) / len(covered))
    return sum(risks) / len(risks)


def _augrc(confidence, right):
    """Two images drawn at random: the first is wrong, and surer than the second, ties half."""
    total = 0.0
    for first, good in zip(confidence, right, strict=True):
        for second in confidence:
            total += (not good) * ((first > second) + (first == second) / 2)
    return total / len(right) ** 2


@given(RANKED)
@settings(max_examples=150)
def test_selective_measures_against_loops_with_ties(images):
    confidence, right = (np.array(column) for column in zip(*images, strict=True))
    assert aurc(confidence / 4, right) == pytest.approx(_aurc(confidence, right), abs=1e-12)
    assert augrc(confidence / 4, right) == pytest.approx(_augrc(confidence, right), abs=1e-12)


@pytest.mark.parametrize("levels", [8, 10**6])
@pytest.mark.parametrize("seed", range(3))
def test_selective_measures_against_scikit_learn(seed, levels):
    """The precision of 'wrong' at each threshold is the selective risk; AUGRC follows AUROC."""
    rng = np.random.default_rng(seed)
    confidence = rng.integers(1, levels, 500) / levels
    right = rng.random(500) < 0.5 + confidence / 2
    risk, _, thresholds = precision_recall_curve(~right, confidence)
    values, counts = np.unique(confidence, return_counts=True)
    risk_at = dict(zip(thresholds, risk, strict=False))
    expected = sum(risk_at[v] * n for v, n in zip(values, counts, strict=True)) / 500
    assert aurc(confidence, right) == pytest.approx(expected, abs=1e-12)
    accuracy = right.mean()
    mixed = accuracy * (1 - accuracy) * (1 - roc_auc_score(right, confidence))
    assert augrc(confidence, right) == pytest.approx(mixed + (1 - accuracy) ** 2 / 2, abs=1e-12)


@pytest.mark.parametrize("seed", golden.GOLDEN)
def test_against_torch_uncertainty_and_torchmetrics(seed):
    p, labels = golden.draw(seed)
    stated, confidence, right = golden.GOLDEN[seed], p.max(axis=1), p.argmax(axis=1) == labels
    surest_wrong = float(not right[confidence.argmax()])
    area = golden.whole_area(stated["aurc"], surest_wrong, 1 - right.mean())
    assert aurc(confidence, right) == pytest.approx(area, abs=2e-7)
    area = golden.whole_area(stated["augrc"], 0, surest_wrong / golden.N)
    assert augrc(confidence, right) == pytest.approx(area, abs=2e-7)
    assert reliability(confidence, right).ece == pytest.approx(stated["ece"], abs=2e-7)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_reliability_against_scikit_learn(bins):
    rng = np.random.default_rng(bins)
    confidence = np.concatenate([rng.random(200), np.linspace(0, 1, bins + 1), [0.5]])
    right = rng.random(len(confidence)) < confidence
    found = reliability(confidence, right, bins)
    accuracy, mean = calibration_curve(right, confidence, n_bins=bins)
    full = found.count > 0
    np.testing.assert_allclose(found.accuracy[full], accuracy, atol=1e-12)
    np.testing.assert_allclose(found.confidence[full], mean, atol=1e-12)
    assert found.ece == pytest.approx(_ece(confidence, right, bins), abs=1e-12)
    assert found.count.sum() == len(confidence)


def test_empty_bins_are_unknown():
    found = reliability(np.array([0.95]), np.array([True]), 2)
    assert np.isnan(found.accuracy[0])
    assert (found.accuracy[1], found.count.tolist()) == (1.0, [0, 1])


def test_memory_does_not_grow_with_images_times_classes():
    """80 parts of 2 MB each, made as they are asked for: never two of them at once."""
    part, classes, count = 512, 1000, 80
    labels = np.zeros(part * count, np.int64)

    def parts():
        for i in range(count):
            logits = np.random.default_rng(i).standard_normal((part, classes), np.float32)
            yield np.arange(i * part, (i + 1) * part), logits

    tracemalloc.start()
    try:
        found = quality(parts, labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.n == len(labels)
    assert peak < 16e6  # the logits are 164 MB


@pytest.mark.parametrize("measure", [fit_temperature, quality])
def test_a_nan_is_named_by_its_row(measure):
    logits, labels = drawn(3)
    logits[211, 3] = np.nan
    with pytest.raises(NonFiniteError, match="row 211 "):
        measure(in_parts(logits, [7, 111]), labels)


def test_a_constant_shift_of_the_logits_changes_nothing():
    logits, labels = drawn(3)
    shifted = fit_temperature(whole(logits + np.float32(64)), labels)
    assert shifted.value == pytest.approx(fit_temperature(whole(logits), labels).value, rel=1e-4)
