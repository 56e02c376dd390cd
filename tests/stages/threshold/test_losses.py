"""λ fitted to a loss, on folds too, against naive loops in fractions."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from helpers import LOSS_TEXTS, loss_matrix, loss_of, random_scores, worth_of
from hypothesis import HealthCheck, given, settings, strategies as st

from stages.cascade import OBJECTIVES, Ordering, decide, fit, pair_gains
from stages.scores import with_loss
from stages.threshold import (
    FOLDS,
    REPEATS,
    FitPlan,
    ThresholdQuestion,
    by_class,
    folds,
    operating_points,
)

SEEDS = st.integers(0, 10_000)
KINDS = st.sampled_from(sorted(LOSS_TEXTS))
NAMES = st.sampled_from(naive.SCORES)
EXAMPLES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
CASES = [(kind, name) for kind in LOSS_TEXTS for name in ("maxp", "entropy")]


def _made(folder, kind, seed, n, split="test"):
    scores = random_scores(np.random.default_rng(seed), n, 5, ("a", "b"), split)
    return with_loss(None, scores, loss_of(kind, folder))


@given(seed=SEEDS, kind=KINDS, name=NAMES, post=st.booleans())
@EXAMPLES
def test_best_and_1se(tmp_path, seed, kind, name, post):
    scores = _made(tmp_path, kind, seed, 2 + seed % 23)
    gain = pair_gains(scores, name, 0, 1, post)
    images = naive.images_of(scores, 0, 1, name)
    points = naive.all_points(name, images, post, worth=worth_of(kind))
    alone = sum(naive.point(name, images, "never", post, worth_of(kind)).right)
    for objective, got in fit(Ordering.by(scores, name, 0), gain, OBJECTIVES).items():
        expected = naive.CHOOSE[objective](points)
        assert got.k == expected.usage
        assert got.gain == (expected.hits - alone) * scores.loss.scale


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("post", [False, True])
def test_folds_decide_as_a_loop_does(tmp_path, kind, name, post):
    n = 37
    scores = _made(tmp_path, kind, 4, n)
    images, worth = naive.images_of(scores, 0, 1, name), worth_of(kind)
    plan = FitPlan("cross-fit", "test", scores, ())
    question = ThresholdQuestion((name,), (post,))
    for row in operating_points(scores, plan, [(0, 1)], question):
        objective = row.fit.objective
        repeats = [
            [
                naive.cross_fit_credit(name, images, post, objective, fold_of, fold, worth)
                for fold in range(FOLDS)
            ]
            for fold_of in (folds(n, repeat=r).tolist() for r in range(REPEATS))
        ]
        accuracy, change = naive.honest([[h.held for h in held] for held in repeats], n)
        assert _ends(row.accuracy) == pytest.approx(accuracy)
        assert _ends(row.against.accuracy_change) == pytest.approx(change)
        pairs = [[pair for held in repeat for pair in held.credit] for repeat in repeats]
        assert all(len(repeat) == n for repeat in pairs)
        losses = [float(-sum(mine for mine, _ in repeat)) / n for repeat in pairs]
        changes = [float(sum(other - mine for mine, other in repeat)) / n for repeat in pairs]
        assert row.loss.value == pytest.approx(np.mean(losses))
        assert row.loss_change.value == pytest.approx(np.mean(changes))
        most = float(max(map(max, loss_matrix(kind))))
        assert 0 <= row.loss.low < row.loss.value < row.loss.high <= most
        assert -most <= row.loss_change.low < row.loss_change.value < row.loss_change.high <= most


def _ends(found):
    return found.value, found.low, found.high


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_rows_on_other_images_against_a_loop(tmp_path, kind, name):
    fitting, reported = (
        _made(tmp_path, kind, seed, 400, split) for seed, split in ((1, "val"), (2, "test"))
    )
    plan, worth = FitPlan("other-split", "val", fitting, ()), worth_of(kind)
    largest = float(max(map(max, loss_matrix(kind))))
    for row in operating_points(reported, plan, [(0, 1)], ThresholdQuestion((name,))):
        images = naive.images_of(reported, 0, 1, name)
        told = [worth(i.label, naive.decide(name, i, row.threshold.threshold, row.postcheck)[2])
                for i in images]  # fmt: skip
        fitted = naive.images_of(fitting, 0, 1, name)
        alone = [sum(worth(i.label, getattr(i, x)) for i in fitted) for x in naive._ANSWERS]
        assert row.against.baseline == "ab"[alone[1] > alone[0]]
        other = [worth(i.label, getattr(i, naive._ANSWERS[alone[1] > alone[0]])) for i in images]
        d = np.array([float(o - t) for o, t in zip(other, told, strict=True)])
        half = naive.Z * d.std() / math.sqrt(len(d))
        expected = (d.mean(), d.mean() - half, d.mean() + half)
        assert row.loss_change.value == pytest.approx(d.mean())
        if _many(d, largest):
            assert _ends(row.loss_change) == pytest.approx(expected)
        lost = -np.array(told, float)
        half = naive.Z * lost.std() / math.sqrt(len(lost))
        ends = (lost.mean() - half, lost.mean() + half)
        if not _many(lost, largest):
            count = lost.sum() / largest
            ends = [largest * end for end in naive._clopper_pearson(count, len(lost))]
        assert _ends(row.loss) == pytest.approx((lost.mean(), *ends))
        assert row.loss_1 == pytest.approx(
            -float(sum(worth(i.label, i.answer_a) for i in images)) / 400
        )
        at_fit = naive.point(name, fitted, row.threshold.threshold, row.postcheck, worth)
        assert row.fit_loss == pytest.approx(-float(at_fit.hits) / 400)
        right = naive.point(name, fitted, row.threshold.threshold, row.postcheck)
        assert row.fit.fit_accuracy == right.hits / 400


@pytest.mark.parametrize("kind", LOSS_TEXTS)
def test_what_each_class_gains_and_loses_sums_to_the_whole(tmp_path, kind):
    scores, matrix = _made(tmp_path, kind, 3, 200), loss_matrix(kind)
    plan = FitPlan("same-split", "test", scores, ())
    row = next(operating_points(scores, plan, [(0, 1)], ThresholdQuestion(("maxp",))))
    alone = scores.baseline("ab".index(row.against.baseline))
    found = by_class(scores, row.cascade, alone, ("cat", "dog"))
    assert [each.name for each in found] == ["cat", "dog", "2"]
    answers = decide(scores, row.cascade).prediction
    for each in found:
        mine = scores.labels == each.label
        told = [float(matrix[each.label][answer]) for answer in answers[mine]]
        assert (each.n, each.loss_after) == (mine.sum(), pytest.approx(np.mean(told)))
        assert each.accuracy_after == pytest.approx((answers[mine] == each.label).mean())
    assert sum(each.n * each.loss_after for each in found) == pytest.approx(200 * row.loss.value)
    assert -sum(each.gained for each in found) == pytest.approx(200 * row.loss_change.value)


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_of_1_where_wrong_is_accuracy(tmp_path, seed):
    """Under any unit: the same λ, and the same intervals."""
    plain = random_scores(np.random.default_rng(seed), 50, 5, ("a", "b"))
    for text in ("0,1,1\n1,0,1\n1,1,0\n", "0,0.1,0.1\n0.1,0,0.1\n0.1,0.1,0\n"):
        path = tmp_path / "loss.csv"
        path.write_text(text, encoding="utf-8")
        from stages.scores import parse_loss

        lossy = with_loss(None, plain, parse_loss(str(path)))
        unit = lossy.loss.largest
        for method in ("cross-fit", "same-split"):
            told = zip(
                *(
                    operating_points(
                        s, FitPlan(method, "test", s, ()), [(0, 1)], ThresholdQuestion()
                    )
                    for s in (plain, lossy)
                ),
                strict=True,
            )
            for one, other in told:
                assert one.threshold == other.threshold
                assert _ends(one.accuracy) == _ends(other.accuracy)
                assert one.fit == other.fit
                change = one.against.accuracy_change
                assert _ends(other.loss_change) == pytest.approx(
                    (-unit * change.value, -unit * change.high, -unit * change.low)
                )
                assert other.loss.value == pytest.approx(unit * (1 - one.accuracy.value))


def _many(d, largest):
    """Whether normal limits do: thirty images, as they differ, and as if each did by the most."""
    total = np.abs(d).sum()
    return total >= 30 * largest and total**2 >= 30 * (d**2).sum()
