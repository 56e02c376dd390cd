"""Several devices: the candidates against a loop over λ, the choice against planted costs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from helpers import MODELS, cost_row, make_cache, random_scores
from running import cascade

from cache import InputError
from stages import costs
from stages.costs import ExpectedCosts, Prices
from stages.costs.table import Curve
from stages.search import ACCURACY, MATCH, Question, devices
from stages.threshold import FitPlan, cross_fits

ROOT = Path(__file__).parents[3]
NAMES = ("maxp", "difference", "entropy")


def answers(scores, a, b, name, threshold, postcheck):
    """(images right, images sent to B), one by one."""
    right = sent = 0
    for i in range(len(scores.labels)):
        s_a, s_b = scores.scores[name][a][i], scores.scores[name][b][i]
        trusted = s_a <= threshold if name == "entropy" else s_a >= threshold
        surer = s_b < s_a if name == "entropy" else s_b > s_a
        takes_b = not trusted and (surer or not postcheck)
        sent += not trusted
        right += scores.predictions[b if takes_b else a][i] == scores.labels[i]
    return right, sent


def limits(name):
    """Every λ that can matter for scores in sixteenths, from B never to B always."""
    steps = np.arange(-1, 18) / 16
    return steps[::-1] if name == "entropy" else steps


def candidates(scores, target):
    """What costs are does not matter to the first λ that reaches a target."""
    free = ExpectedCosts.linear(np.ones(len(scores.models)), len(scores.labels))
    return devices.candidates(scores, Question(ACCURACY, target), free)


def compared(reported, fitted, prices, target=None, **how):
    """Every device's own choice."""
    asked = Question(MATCH) if target is None else Question(ACCURACY, target)
    rows = devices.compare_devices(reported, fitted, prices, dict.fromkeys(prices, asked), **how)
    return [row for row in rows if row.device != devices.ALL_DEVICES]


@pytest.mark.parametrize("target", [0.0, 0.5, 0.7, 0.75, 0.8, 1.0])
def test_candidates_are_the_first_to_reach_the_target(target):
    scores = random_scores(np.random.default_rng(11), 60)
    found = {
        (*row.cascade.models, row.cascade.score, row.cascade.postcheck): row
        for row in candidates(scores, target)
    }
    expected = {}
    for a in range(3):
        for b in set(range(3)) - {a}:
            for name in NAMES:
                for postcheck in (False, True):
                    for λ in limits(name):
                        right, sent = answers(scores, a, b, name, λ, postcheck)
                        if right / 60 >= target:
                            expected[MODELS[a], MODELS[b], name, postcheck] = (right, sent)
                            break
    assert {key: (row.fit_accuracy * 60, row.fit_usage * 60) for key, row in found.items()} == {
        key: (pytest.approx(right), pytest.approx(sent)) for key, (right, sent) in expected.items()
    }
    for (a, b, name, postcheck), row in found.items():
        threshold = row.cascade.limits[0].threshold
        if not isinstance(threshold, str):
            pair = (MODELS.index(a), MODELS.index(b))
            got = answers(scores, *pair, name, threshold, postcheck)
            assert got == expected[a, b, name, postcheck]


def device(**per_image):
    def flat(value):
        one = np.array([value])
        return Curve(np.array([1]), one, one, one)

    forward = {name: flat(value) for name, value in per_image.items()}
    return Prices("latency", "ms", "there", "a test", forward, {})


def plan(scores):
    return FitPlan("other-split", "val", scores, ())


def test_the_choice_is_the_cheapest_candidate_of_each_device():
    rng = np.random.default_rng(3)
    fitting, reported = random_scores(rng, 80, split="val"), random_scores(rng, 90)
    prices = {
        "desk": device(small=1.0, large=20.0, other=2.0),
        "nano": device(small=30.0, large=2.0, other=1.0),
    }
    rows = compared(reported, plan(fitting), prices, 0.6)
    assert [row.device for row in rows] == ["desk", "nano"]
    per_image = {
        "desk": {"small": 1, "large": 20, "other": 2},
        "nano": {"small": 30, "large": 2, "other": 1},
    }
    for row in rows:
        here = per_image[row.device]
        cheapest = min(
            here[first] + each.fit_usage * here[second]
            for each in candidates(fitting, 0.6)
            for first, second in [each.cascade.models]
        )
        own = here[row.model_1] + row.fit_usage * here[row.model_2]
        assert own == pytest.approx(cheapest)
        pair = (MODELS.index(row.model_1), MODELS.index(row.model_2))
        threshold = number(row.threshold, row.score)
        right, sent = answers(reported, *pair, row.score, threshold, row.postcheck)
        assert (row.accuracy.value, row.usage) == (right / 90, sent / 90)
        for where, each in per_image.items():
            cost = each[row.model_1] + row.usage * each[row.model_2]
            assert row.costs[where] == pytest.approx(cost)
    assert {row.model_1 for row in rows if row.device == "nano"} <= {"large", "other"}
    desk, nano = rows
    assert (desk.model_1, desk.model_2) != (nano.model_1, nano.model_2)
    assert desk.excess["desk"] == 0
    assert desk.excess["nano"] == pytest.approx(desk.costs["nano"] / nano.costs["nano"] - 1)
    assert desk.excess["nano"] > 1


@pytest.mark.parametrize("target", [None, 0.65])
def test_with_one_split_folds_decided_by_the_choice_of_the_others_tell(target):
    """Of candidates that cost the same and fit as well any may have decided."""
    scores = random_scores(np.random.default_rng(6), 40, levels=4)
    per_image = {"small": 1.0, "large": 7.0, "other": 3.0}
    fitted = FitPlan("cross-fit", "test", scores, ())
    [row] = compared(scores, fitted, {"desk": device(**per_image)}, target)
    least = most = 0
    for _, fitting, held in cross_fits(40):
        others, fold = scores.of_images(fitting), scores.of_images(held)
        goal = float(others.accuracy.max()) if target is None else target
        ranked = [(_spent(each, per_image), each) for each in candidates(others, goal)]
        best = min(key for key, _ in ranked)
        right = [_answers(fold, each.cascade)[0] for key, each in ranked if key == best]
        least, most = least + min(right), most + max(right)
    assert least <= round(row.accuracy.value * 400) <= most
    assert most - least < 0.1 * 400
    assert row.accuracy.low < row.accuracy.value < row.accuracy.high
    assert row.accuracy.value <= row.fit_accuracy
    assert row.usage == row.fit_usage


def _spent(candidate, per_image):
    """(cost, accuracy taken negative), to a millionth."""
    first, second = candidate.cascade.models
    cost = per_image[first] + candidate.fit_usage * per_image[second]
    return round(cost, 6), -round(candidate.fit_accuracy, 6)


def _answers(scores, cascade):
    pair, [limit] = map(MODELS.index, cascade.models), cascade.limits
    threshold = number(limit.threshold, cascade.score)
    return answers(scores, *pair, cascade.score, threshold, cascade.postcheck)


def number(threshold, score):
    ends = {"always": math.inf, "never": -math.inf}
    sign = -1 if score == "entropy" else 1
    return sign * ends[threshold] if threshold in ends else threshold


def test_batches_are_priced_as_the_sub_batches_that_b_sees():
    """B's batches cost the same whatever their size: what counts is how many there are."""
    scores = random_scores(np.random.default_rng(4), 64)
    one = np.array([5.0, 5.0])
    b = Curve(np.array([1, 8]), one, one, one)
    prices = device(small=1.0, other=1.0)
    prices = Prices("latency", "ms", "x", "a test", prices.forward | {"large": b}, {})
    [row] = compared(scores, plan(scores), {"x": prices}, 0.5, batch_size=8)
    expected = []
    for each in candidates(scores, 0.5):
        total = 0.0
        for start in range(0, 64, 8):
            here = random_part(scores, start)
            _, sent = _answers(here, each.cascade)
            for model, count in zip(each.cascade.models, (8, sent), strict=True):
                total += (5.0 if count else 0.0) if model == "large" else count * 1.0
        expected.append(total / 64)
    assert row.costs["x"] == pytest.approx(min(expected))


def random_part(scores, start):
    from dataclasses import replace

    part = slice(start, start + 8)
    return replace(
        scores,
        labels=scores.labels[part],
        predictions=scores.predictions[:, part],
        correct=scores.correct[:, part],
        scores={name: values[:, part] for name, values in scores.scores.items()},
    )


def test_an_accuracy_that_nothing_reaches_is_refused():
    scores = random_scores(np.random.default_rng(5), 40)
    best = max((scores.predictions == scores.labels).mean(axis=1))
    said = rf"on x reaches 100% on val: ask for less; the best model alone reaches {best:.2%}"
    with pytest.raises(InputError, match=said):
        compared(scores, plan(scores), {"x": device(small=1, large=1, other=1)}, 1.0)


# --- the command ---------------------------------------------------------------------------------

TIMES = {"desk, 2 threads": (1.0, 9.0, 4.0), "nano": (9.0, 1.0, 4.0)}


@pytest.fixture
def measured(tmp_path):
    store = make_cache(tmp_path / "cache", n=200)
    for name, times in TIMES.items():
        for model, ms in zip(MODELS, times, strict=True):
            costs.merge(store, "toy", [cost_row(model, ms, device=name)])
    return store


def test_the_command_shows_both_choices_and_what_each_costs_elsewhere(measured):
    args = ("search", "-d", "toy", "--cache", measured.root, "--cost-device")
    found = cascade(*args, "nano,desk, 2 threads", "--json").json
    assert [row["device"] for row in found["rows"]] == ["nano", "desk, 2 threads"]
    nano, desk = found["rows"]
    assert nano["model_1"] != desk["model_1"]
    for row in found["rows"]:
        for name, times in TIMES.items():
            ms = dict(zip(MODELS, times, strict=True))
            cost = ms[row["model_1"]] + row["usage"] * ms[row["model_2"]]
            assert row["costs"][name] == pytest.approx(cost)
    assert cascade(*args, "all", "--json").json["rows"][::-1] == found["rows"]
    shown = cascade(*args, "all").out
    assert (
        f"nano's choice costs {nano['excess']['desk, 2 threads']:+.1%} on desk, 2 threads" in shown
    )


def test_a_limit_of_a_device_that_is_not_compared_counts_for_all(measured):
    for model, ms in zip(MODELS, (9.0, 9.0, 0.5), strict=True):
        costs.merge(measured, "toy", [cost_row(model, ms, device="third")])
    args = (
        "search",
        "-d",
        "toy",
        "--cache",
        measured.root,
        "--cost-device",
        "nano,desk, 2 threads",
    )
    found = cascade(*args, "--best-accuracy", "--max-latency", "4ms@third", "--json").json
    assert {row["model_1"] for row in [*found["rows"], found["one_for_all"]]} == {"other"}
    own = cascade(*args, "--best-accuracy", "--max-latency", "2ms@nano", "--json").json["rows"]
    free = cascade(*args, "--best-accuracy", "--json").json["rows"]
    assert own[1]["accuracy"] == free[1]["accuracy"]  # the desk is not asked
    assert own[0]["costs"]["nano"] < free[0]["costs"]["nano"]
    assert {row["target"] for row in own} <= {"MEETS", "CANNOT TELL", "MISSES"}


OTHER_QUESTIONS = (
    *(("--certify", "0.1,0.1"), ("--match", "large"), ("--within", "0.02"), ("--top", "3")),
    ("--confidence", "0.9", "--min-accuracy", "0.5"),
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cost-device", "nano,nano"), "two devices"),
        (("--cost-device", "nano,des"), "unknown cost device 'des'"),
        (("--cost", "joules"), "several devices need joules of all models on two devices"),
        (("--cost", "joules", "--cost-device", "nano,desk, 2 threads"), "no joules of all"),
        (("--cost", "macs"), "unknown cost that differs between devices 'macs'"),
        *((asked, f"{asked[0]} is for one --cost-device") for asked in OTHER_QUESTIONS),
        (("--stages", "3"), "--stages 3 is for one --cost-device"),
        (("--optimism", "--min-accuracy", "0.5"), "--optimism is for one --cost-device"),
        (("--baseline", "large"), "--baseline is for one --cost-device"),
        (("--policy", "p"), "--policy is for one --cost-device"),
        *((("--min-accuracy", value), "'--min-accuracy'") for value in ("nan", "inf", "98", "-3")),
    ],
)
def test_a_wrong_request_is_one_line(measured, options, message):
    args = ("search", "-d", "toy", "--cache", measured.root, "--cost-device", "all")
    assert message in cascade(*args, *options).refusal


@pytest.mark.parametrize("name", ["nano", "desk, 2 threads"])
def test_one_device_is_searched_as_ever(measured, name):
    """Whose name may hold a comma."""
    args = ("search", "-d", "toy", "--cache", measured.root, "--cost-device", name)
    assert cascade(*args, "--json").json["answer"]["cost_device"] == name


def test_what_the_space_leaves_out_is_not_chosen(measured, tmp_path):
    args = ("search", "-d", "toy", "--cache", measured.root, "--cost-device", "all")
    few = ("--models", "large,other", "--no-postcheck", "-s", "entropy", "--min-accuracy", "0.5")
    out = tmp_path / "devices.csv"
    found = cascade(*args, *few, "-o", out, "--json").json
    rows = [*found["rows"], found["one_for_all"]]
    assert {(row["score"], row["postcheck"]) for row in rows} == {("entropy", False)}
    assert {row["model_1"] for row in rows} | {row["model_2"] for row in rows} == {"large", "other"}
    table = pl.read_csv(out).to_dicts()
    assert [(row["device"], row["priced_on"]) for row in table] == [
        (row["device"], name) for row in rows for name in row["costs"]
    ]
    priced = [row["costs"][name] for row in rows for name in row["costs"]]
    assert [row["cost"] for row in table] == pytest.approx(priced)
    assert {row["cost_unit"] for row in table} == {"ms"}


def test_one_kind_is_taken_that_all_devices_have(measured):
    """Joules are known on one device only: latency is compared."""
    about = {"device": "nano", "meter": "ina3221", "energy_j": 1.0}
    costs.merge(measured, "toy", [cost_row(model, 1.0, **about) for model in MODELS])
    args = ("search", "-d", "toy", "--cache", measured.root, "--cost-device")
    found = cascade(*args, "nano,desk, 2 threads", "--json").json
    assert set(found["rows"][0]["costs"]) == set(TIMES)


def test_it_runs_without_torch(measured):
    blocked = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(('torch', 'torchvision', 'PIL'))\n"
        "from cascade_cli.main import main\n"
        "main()\n"
    )
    args = ("search", "-d", "toy", "--cache", measured.root, "--cost-device", "all")
    done = subprocess.run(
        [sys.executable, "-c", blocked, *args, "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert '"excess"' in done.stdout
