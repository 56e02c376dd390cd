"""`cascade search` on the digits from end to end, what surrounds its answer, and bad requests."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from helpers import MODELS, make_cache, random_scores
from running import cascade
from scipy.stats import binom

from cache import InputError, Store
from cascade_cli.budgets import parse_cost
from cascade_cli.search_shown import extent
from stages.allpairs import Costs, rules
from stages.bootstrap import Interval, deployed
from stages.certify import Limits
from stages.certify_sweeps import parts
from stages.costs import Curve, Prices
from stages.found import Space
from stages.guarantee import Promise, guarantee
from stages.operating import OperatingPoint, outcome
from stages.pricing import Estimate, Pricer
from stages.questions import Question
from stages.score import load
from stages.search import rows_of
from stages.simulate import Cascade, simulate
from stages.spending import costs_of, counted_runs
from stages.verdict import NOT_WORTH, UNKNOWN, WORTH, Verdict, sentence, verdict

GUIDE = Path(__file__).parents[1] / "docs/guide.md"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    root = tmp_path_factory.mktemp("digits")
    assert cascade("extract", "--cache", root).status == 0
    return root


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Three models on two splits, 400 images each; nothing is known of their costs."""
    root = tmp_path_factory.mktemp("toy")
    make_cache(root, n=400, trained_on=dict.fromkeys(MODELS, ("train",)))
    return root


def _search(root, *args):
    return cascade("search", "--cache", root, *args)


def _point(row):
    limits = [(row["threshold"], row["threshold_low"], row["threshold_high"])]
    if row["model_3"]:
        low, high = row["threshold_2_low"], row["threshold_2_high"]
        second = row["threshold_2"] if row["mode_2"] == "threshold" else row["mode_2"]
        limits.append((second, low, high))
    models = tuple(filter(None, (row["model_1"], row["model_2"], row["model_3"])))
    return OperatingPoint(models, row["score"], row["postcheck"], tuple(limits))


QUESTIONS = {
    "default": (),
    "best": ("--best-accuracy",),
    "accuracy": ("--min-accuracy", "0.98"),
    "cost": ("--max-cost", "0.1M"),
    "match": ("--match", "digits_plain"),
    "chains": ("--min-accuracy", "0.98", "--stages", "3"),
    "some": ("--models", "digits_plain,digits_wide", "-s", "maxp", "-P"),
    "batches": ("--batch-size", "8", "--best-accuracy"),
}


@pytest.mark.parametrize("asked", QUESTIONS.values(), ids=QUESTIONS)
def test_rows_are_what_their_cascade_does(digits, asked):
    found = _search(digits, *asked, "--json").json
    scores, fitting = (load(Store(digits), "digits", split) for split in ("test", "val"))
    for row in [found["answer"], *found["frontier"]]:
        here, there = outcome(scores, _point(row)), outcome(fitting, _point(row))
        assert row["accuracy"] == here.correct.mean()
        assert row["usage"] == (here.stage > 0).mean()
        assert row["fit_accuracy"] == there.correct.mean()
        macs = [m.provenance["macs"] for m in scores.manifests]
        spent = [macs[scores.index(model)] for model in _point(row).models]
        assert row["cost"] == pytest.approx(
            np.dot(spent, [here.usage(j) for j in range(len(spent))])
        )
        assert row["cost_low"] <= row["cost"] <= row["cost_high"]
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        assert (row["split"], row["fit_split"], row["fit_method"]) == ("test", "val", "other-split")
    costs = [row["fit_cost"] for row in found["frontier"]]
    assert costs == sorted(costs)


def test_answers_keep_what_was_asked_on_the_fitting_images(digits):
    def answer(*asked):
        return _search(digits, *asked, "--json").json["answer"]

    assert answer("--min-accuracy", "0.98")["fit_accuracy"] >= 0.98
    assert answer("--max-cost", "0.1M")["fit_cost"] <= 1e5
    scores = load(Store(digits), "digits", "val")
    plain = scores.accuracy[scores.index("digits_plain")]
    assert answer("--match", "digits_plain")["fit_accuracy"] >= plain
    best = answer("--best-accuracy")
    assert best["fit_accuracy"] >= max(scores.accuracy)
    assert answer()["fit_cost"] <= best["fit_cost"]


def test_the_readme_shows_what_is_printed(digits):
    done = _search(digits, "--match", "digits_residual")
    text = GUIDE.read_text(encoding="utf-8").split("## Which cascade to deploy")[1]
    shown = " ".join(re.findall(r"```text\n(.*?)```", text, re.S)[0].split())
    told, *more = done.out.split("\n\n")
    assert "\n  use of B  " in done.out
    assert "usage" not in done.out
    assert " ".join(told.split()) == shown
    assert max(map(len, told.splitlines())) <= 100
    mixed = next(each for each in more if each.startswith("mixed at random"))
    assert max(map(len, mixed.splitlines())) <= 100


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.686, 0.837, "(between 83.7% less and 68.6% more)"),
        (-0.023, -0.016, "(1.6% more to 2.3% more)"),
        (0.016, 0.023, "(1.6% less to 2.3% less)"),
        (-0.023, 0.0, "(as much to 2.3% more)"),
    ],
)
def test_a_range_of_costs_runs_from_less_to_more(low, high, words):
    row = dict.fromkeys(("accuracy", "fit_accuracy", "cost", "saved"), 0.5)
    row |= {"split": "test", "fit_split": "val", "cost_unit": "J", "baseline": "large"}
    row |= dict.fromkeys(("accuracy_change", "accuracy_change_low", "accuracy_change_high"), 0.0)
    row |= {"saved_low": low, "saved_high": high, "crossfit_accuracy": None}
    some = Interval(0.0, 0.0, 0.0)
    point = OperatingPoint(("small", "large"), "maxp", False, ((0.5, None, None),))
    judged = Verdict(UNKNOWN, "large", some, Estimate(0.0, 0.0))
    said = sentence(point, row, judged, Question())
    assert f"than large alone {words}, accuracy" in said


def test_an_accuracy_that_is_missed_is_said(digits):
    asked = ("--min-accuracy", "0.996", "--models", "digits_plain,digits_residual")
    found = _search(digits, *asked, "--json").json
    assert found["answer"]["fit_accuracy"] >= 0.996 > found["answer"]["accuracy"]
    assert found["sentence"].endswith(" Chosen on val; on test it misses the 99.6% asked.")
    met = _search(digits, "--min-accuracy", "0.9", "--json").json
    assert met["answer"]["accuracy"] >= 0.9
    assert "asked" not in met["sentence"]


def test_a_cost_that_is_missed_is_said(digits):
    found = _search(digits, "--max-cost", "0.1M", "--json").json
    assert found["answer"]["fit_cost"] <= 1e5 < found["answer"]["cost"]
    spent, reached = (f"{found['answer'][name]:,.0f}" for name in ("fit_cost", "cost"))
    assert found["sentence"].endswith(
        f" Chosen on val, where it costs {spent}; on test it costs {reached}, more than the "
        "100,000 multiply-adds allowed."
    )
    kept = _search(digits, "--max-cost", "0.3M", "--json").json
    assert kept["answer"]["cost"] <= 3e5
    assert "allowed" not in kept["sentence"]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("1se", "none within a standard error of the most accurate costs less"),
        ("best-accuracy", "none is more accurate"),
        ("max-cost", "none that costs no more than allowed is more accurate"),
        ("min-accuracy", "none that reaches this accuracy costs less"),
        ("match", "none that reaches this accuracy costs less"),
        ("certify", "none that is certified costs less"),
    ],
)
def test_a_single_model_is_the_answer_to_its_question(kind, why):
    row = {"accuracy": 0.5, "fit_accuracy": 0.5, "split": "test", "fit_split": "val"}
    row |= {"cost": 0.0036258, "cost_unit": "J", "crossfit_accuracy": None}
    some = Verdict(UNKNOWN, "small", Interval(0.0, 0.0, 0.0), Estimate(0.0, 0.0))
    said = sentence(OperatingPoint(("small",)), row, some, Question(kind))
    assert said.endswith(f"at 3.626 mJ a request. A cascade is not worth it here: {why}.")


def test_the_model_to_match_is_what_the_answer_is_held_against(digits):
    found = _search(digits, "--match", "digits_plain", "--json").json
    assert {row["baseline"] for row in [found["answer"], *found["frontier"]]} == {"digits_plain"}
    scores, row = load(Store(digits), "digits", "test"), found["answer"]
    plain = scores.accuracy[scores.index("digits_plain")]
    assert row["accuracy_change"] == pytest.approx(row["accuracy"] - plain)
    asked = ("--match", "digits_plain", "--baseline", "digits_wide", "--json")
    assert _search(digits, *asked).json["answer"]["baseline"] == "digits_wide"


@pytest.mark.parametrize(
    ("shown", "corners", "points", "said"),
    [
        (12, 15, 57, "12 of 15 corners of the upper hull of the frontier of 57 points (--output"),
        (2, 2, 2, "2 corners of the upper hull of the frontier of 2 points"),
        (1, 1, 1, "1 corner of the upper hull of the frontier of 1 point"),
    ],
)
def test_what_the_table_leaves_out_is_said(shown, corners, points, said):
    told = extent(shown, corners, points)
    assert told.startswith(said)
    assert ("--output" in told) == (shown < corners)


@pytest.mark.parametrize(
    "command",
    [
        ("search", "-d", "digits"),
        ("threshold", "-d", "digits"),
        ("rules", "-d", "digits", "--all-pairs", "--rules", "maxp"),
        ("simulate", "-m1", "digits_plain", "-m2", "digits_residual"),
    ],
    ids=lambda command: command[0],
)
def test_multiply_adds_are_whole_numbers(digits, command):
    told = cascade(*command, "--cache", digits).out
    assert re.search(r"\b\d{3},\d{3}\b", told)
    assert not re.search(r"\d{5}|e\+0", re.sub(r"\.\d+\b", "", told))


def test_baselines_and_mixture(digits):
    found = _search(digits, "--min-accuracy", "0.98", "--json").json
    scores, answer = load(Store(digits), "digits", "test"), found["answer"]
    by_kind = {row["kind"]: row for row in found["baselines"]}
    alone = {row["model_1"]: row for row in found["baselines"] if row["kind"] == "single"}
    assert {m: row["accuracy"] for m, row in alone.items()} == dict(
        zip(scores.models, scores.accuracy.tolist(), strict=True)
    )
    a, b = (scores.correct[scores.index(answer[name])] for name in ("model_1", "model_2"))
    share = answer["usage"]
    expected = (1 - share) * a.mean() + share * b.mean()
    assert by_kind["random"]["accuracy"] == pytest.approx(expected)
    assert by_kind["random"]["cost"] == answer["cost"]
    assert by_kind["oracle"]["accuracy"] == (a | b).mean()
    assert by_kind["oracle"]["usage"] == (~a & b).mean()
    mixture = found["mixture"]
    assert mixture["fit_accuracy"] == pytest.approx(0.98)
    assert mixture["fit_cost"] < answer["fit_cost"]
    assert 0 < mixture["share"] < 1


@pytest.mark.parametrize(
    "question",
    [("--match", "digits_plain"), ("--max-cost", "0.02M"), ("--certify", "0.03,0.1")],
)
def test_the_answer_becomes_a_policy(digits, tmp_path, question):
    """What is promised is the answer's row; `export` of the same λ differs in how it was fitted."""
    from stages.policy import read

    found = _search(digits, *question, "--policy", tmp_path / "policy", "--json").json
    answer, policy = found["answer"], found["policy"]["policy"]
    deployed = read(tmp_path / "policy")
    assert [model["name"] for model in deployed.models] == [answer["model_1"], answer["model_2"]]
    same = ("score", "postcheck", "threshold", "threshold_low", "threshold_high")
    assert policy["rule"] == {key: answer[key] for key in same}
    for key in ("accuracy", "usage", "cost", "saved"):
        assert policy["promise"][key] == pytest.approx(answer[key]), key
    fit = {"split": "val", "method": "other-split", "n": 500, "accuracy": answer["fit_accuracy"]}
    assert policy["fit"] == fit | {"objective": f"search: {found['question']}"}
    if question[0] == "--certify":
        certificate = {"epsilon": 0.03, "delta": 0.1, "bound": "binomial"}
        assert certificate.items() <= policy["certificate"].items()
    else:
        assert "certificate" not in policy
    assert cascade("check", tmp_path / "policy", "--cache", digits).status == 0


@pytest.mark.parametrize(
    ("question", "what"),
    [(("--max-cost", "8832"), "digits_wide alone"), (("--stages", "3"), "a chain of three")],
)
def test_a_policy_holds_a_pair(digits, tmp_path, question, what):
    places = ("--policy", tmp_path / "policy", "-o", tmp_path / "t.csv")
    done = _search(digits, *question, *places)
    assert done.status == 2
    assert f"cascade: the answer is {what}" in done.err.splitlines()[-1]
    assert done.out == _search(digits, *question).out  # the answer is given first
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_what_is_not_certified_is_no_policy(toy, tmp_path):
    places = ("--policy", tmp_path / "policy", "-o", tmp_path / "t.csv")
    asked = ("-d", "toy", "--certify", "0.000001,0.000001")
    told = _search(toy, *asked, "--json")
    assert told.json["answer"] is None
    done = _search(toy, *asked, *places, "--json")
    assert (done.status, done.out) == (2, told.out)
    assert "nothing was certified, so there is no policy to write" in done.err.splitlines()[-1]
    assert pl.read_csv(tmp_path / "t.csv").height == len(rows_of(told.json))
    assert not (tmp_path / "policy").exists()


def test_everything_is_also_a_table(digits, tmp_path):
    found = _search(digits, "--max-cost", "0.2M", "--json", "-o", tmp_path / "t.csv").json
    [file] = [
        path
        for path in Path(digits, "results/search").rglob("*.parquet")
        if "max-cost 200000.0" in pq.read_table(path)["question"].to_pylist()
    ]
    rows = pq.read_table(file).to_pylist()
    assert len(rows) == 1 + len(found["frontier"]) + len(found["baselines"])
    assert pl.read_csv(tmp_path / "t.csv").height == len(rows)
    assert {row["fit_split"] for row in rows} == {"val"}
    assert {row["mode"] for row in rows} >= {"never", "threshold", "random", "oracle"}
    together = pq.read_table(Path(digits, "results/search"), partitioning=None)
    assert together.num_rows >= len(rows)


def test_without_a_second_split_the_search_is_cross_fitted(tmp_path):
    make_cache(tmp_path, splits=("test",), n=400)
    asked = ("-d", "toy", "--best-accuracy", "--json")
    found = _search(tmp_path, *asked).json
    assert found["fit_method"] == "cross-fit"
    answer = found["answer"]
    assert answer["crossfit_accuracy"] < answer["accuracy"] == answer["fit_accuracy"]
    assert answer["crossfit_cost"] == pytest.approx(1 + answer["crossfit_usage"])
    assert "cross-fitted" in found["sentence"]
    places = ("--policy", tmp_path / "policy", *asked)
    promise = _search(tmp_path, *places).json["policy"]["policy"]["promise"]
    assert promise["accuracy"] == pytest.approx(answer["crossfit_accuracy"])
    assert promise["usage"] == pytest.approx(answer["usage"])
    other = _search(tmp_path, *asked, "--fit-split", "test").json
    assert other["answer"]["crossfit_accuracy"] is None


def test_without_costs_runs_are_counted(toy):
    done = _search(toy, "-d", "toy", "--best-accuracy", "--json")
    assert "runs of any model count alike" in done.err
    found = done.json
    assert found["cost"]["kind"] == "runs"
    assert found["answer"]["cost"] == pytest.approx(1 + found["answer"]["usage"])


def test_optimism_is_judged_out_of_bag(toy):
    found = _search(
        toy, "-d", "toy", "--best-accuracy", "--optimism", "--resamples", "40", "--json"
    )
    optimism = found.json["optimism"]
    assert optimism["resamples"] == 40
    assert optimism["split"] == "val"
    assert optimism["optimism"] > 0
    assert optimism["accuracy_low"] < optimism["accuracy"] < optimism["accuracy_high"]
    assert optimism["accuracy"] < found.json["answer"]["fit_accuracy"]


def test_a_certificate_and_none(digits):
    found = _search(digits, "--certify", "0.05,0.1", "--json").json
    made, answer = found["certificate"], found["answer"]
    assert made["feasible"]
    assert made["reference"] == "digits_residual"
    assert (made["proposing"], made["testing"]) == (150, 350)
    scores = load(Store(digits), "digits", "val")
    here = outcome(scores, _point(answer))
    lost = scores.correct[scores.index("digits_residual")] & ~here.correct
    assert made["lost"] == lost.mean() < 0.05
    assert made["usage"] == here.usage()
    assert found["sentence"].startswith("With probability 0.9")
    assert binom.cdf(lost.sum(), 500, 0.05) < 0.1
    few = _search(digits, "--certify", "0.002,0.01", "--json").json
    images = math.ceil(math.log(0.01) / math.log(1 - 0.002))
    assert few["certificate"]["images_needed"] == images
    assert "digits_residual alone, loses 0.00% of the 350 testing images (p = " in few["sentence"]
    none = _search(digits, "--certify", "0.03,0.1", "--max-cost", "25000", "--json").json
    assert none["answer"] is None
    assert not none["certificate"]["feasible"]
    said = none["sentence"]
    assert said.startswith("Infeasible: ")
    assert "Of the 500 images of val, 150 proposed cascades and 350 tested them. The safest" in said
    told = re.search(
        r"safest, (\S+) → (\S+) by (\S+)( with post-check)? at λ = (\S+), loses (\S+)% of", said
    )
    _, testing = parts(500)
    wanted = scores.correct[scores.index("digits_residual")]
    *pair, name, check, limit, share = told.groups()
    limit = limit if limit in ("always", "never") else float(limit)
    safest = outcome(scores, OperatingPoint(tuple(pair), name, bool(check), ((limit, None, None),)))
    assert f"{(wanted & ~safest.correct)[testing].mean():.2%}" == f"{share}%"
    capped = ("--certify", "0.05,0.1", "--max-usage", "0.2", "--max-cost", "0.3M")
    found = _search(digits, *capped, "--bound", "betting", "--json").json
    assert found["certificate"]["max_cost"] == 3e5
    assert found["answer"] is None or found["answer"]["usage"] < 0.3


def test_a_certificate_wants_images_that_no_model_saw(tmp_path):
    make_cache(tmp_path, n=100, trained_on={"small": ("val",), "large": (), "other": ()})
    done = _search(tmp_path, "-d", "toy", "--certify", "0.2,0.1", "--fit-split", "val")
    assert "small (stated) was trained on val" in done.refusal
    done = _search(tmp_path, "-d", "toy", "--certify", "0.2,0.1")
    assert done.status == 0
    assert "certified and reported on the same images" in done.err


BAD = {
    "two questions": (("--min-accuracy", "0.9", "--match", "x"), "one question at a time"),
    "certify too": (("--certify", "0.1,0.1", "--best-accuracy"), "question of its own"),
    "unknown model": (("--match", "resnet"), "unknown model to match 'resnet'"),
    "reference": (("--certify", "0.1,0.1", "--reference", "x"), "unknown reference 'x'"),
    "too good": (("--min-accuracy", "1", "--models", "digits_wide,digits_plain"), "ask for less"),
    "too cheap": (("--max-cost", "5"), "nothing costs 5 multiply-adds or less on val"),
    "too cheap to certify": (
        ("--certify", "0.1,0.1", "--max-cost", "5"),
        "nothing costs 5 multiply-adds or less on val",
    ),
    "wrong unit": (("--max-cost", "3mJ"), "'3mJ' is no cost in multiply-adds"),
    "no number": (("--max-cost", "much"), "'much' is no cost"),
    "certify": (("--certify", "0.1"), "give EPSILON,DELTA"),
    "epsilon": (("--certify", "2,0.1"), "epsilon must lie between 0 and 1"),
    "bound": (("--certify", "0.1,0.1", "--bound", "normal"), "unknown bound"),
    "cap alone": (("--max-usage", "0.1"), "--max-usage belongs to --certify"),
    "resamples": (("--resamples", "50"), "--resamples belongs to --optimism: give that too"),
    "oracle": (("-s", "oracle"), "cannot be deployed"),
    "one model": (("--models", "digits_wide"), "one model only"),
    "chains in batches": (("--stages", "3", "--batch-size", "4"), "one by one"),
    "both": (("--stages", "3", "--optimism"), "goes without --optimism"),
    "output": (("-o", "x.txt"), "must end in .csv or .parquet"),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "said"), BAD.values(), ids=BAD)
def test_bad_requests_are_refused_in_one_line(digits, asked, said):
    assert said in _search(digits, *asked).refusal


# --- the parts -----------------------------------------------------------------------------------

J, MS, MACS = (
    Prices(kind, unit, None, "", {}, {})
    for kind, unit in (("joules", "J"), ("latency", "ms"), ("macs", "multiply-adds"))
)


@pytest.mark.parametrize(
    ("text", "prices", "value"),
    [
        ("0.5mJ", J, 0.0005),
        ("0.3 J", J, 0.3),
        ("7µJ", J, 7e-6),
        ("0.02s", MS, 20.0),
        ("12ms", MS, 12.0),
        ("12", MS, 12.0),
        ("0.3M", MACS, 300000.0),
        ("1.5G", MACS, 1.5e9),
        ("2e6", MACS, 2e6),
    ],
)
def test_a_cost_with_its_unit(text, prices, value):
    assert parse_cost(text, prices) == value


@pytest.mark.parametrize("text", ["3ms", "J", "-1J", "1e3e3", "nan", "inf", ""])
def test_no_cost(text):
    with pytest.raises(InputError, match="is no cost in J"):
        parse_cost(text, J)


def _pricer(scores, curves, batch_size=1):
    prices = Prices("latency", "ms", "x", "", dict(zip(scores.models, curves, strict=True)), {})
    return Pricer(scores, prices, batch_size)


def test_expected_costs_of_batches_are_those_of_many_draws():
    rng = np.random.default_rng(0)
    scores = random_scores(rng, 40)
    values = np.array([3.0, 5.0, 8.0, 9.0])
    curve = Curve(np.array([1, 2, 4, 8]), values, values, values)
    pricer = _pricer(scores, [curve] * 3, batch_size=8)
    costs = costs_of(pricer, scores.models, 40)
    assert costs.alone.tolist() == [9 / 8] * 3
    for k in (0, 7, 20, 40):
        drawn = curve.at(rng.binomial(8, k / 40, 200_000)).mean() / 8
        assert costs.more[1, k] == pytest.approx(drawn, abs=0.01)
    many = costs_of(pricer, scores.models, 10_000).more[1]
    assert many[::250] == pytest.approx(costs.more[1], abs=1e-5)


def test_a_bill_by_stages_is_that_of_the_pair_and_of_the_model():
    rng = np.random.default_rng(1)
    scores = random_scores(rng, 100)
    sizes = np.array([1, 4, 16])
    curves = [Curve(sizes, v, 0.9 * v, 1.2 * v) for v in rng.uniform(1, 9, (3, 3)).cumsum(axis=1)]
    for batch_size in (1, 8):
        pricer = _pricer(scores, curves, batch_size)
        ran = rng.random(100) < 0.3
        pair = pricer.bill("small", "large", ran)
        staged = pricer.staged(("small", "large"), ran.astype(np.int8))
        for name in ("value", "half"):
            assert getattr(staged.total, name) == pytest.approx(getattr(pair.total, name))
        alone = pricer.staged(("other",), np.zeros(100, np.int8)).total
        assert alone.value == pytest.approx(pricer.model("other").value)


def test_a_cascade_of_two_is_simulated_alike():
    for seed in range(20):
        scores = random_scores(np.random.default_rng(seed), 50)
        for name, postcheck in (("maxp", True), ("entropy", False), ("difference", True)):
            here = outcome(
                scores, OperatingPoint(("small", "large"), name, postcheck, ((0.5, None, None),))
            )
            there = simulate(scores, Cascade("small", "large", name, 0.5, postcheck))
            assert np.array_equal(here.correct, there.correct)
            assert np.array_equal(here.stage > 0, there.escalated)


@pytest.mark.parametrize(("skill", "word"), [(0.97, WORTH), (0.70, NOT_WORTH), (0.905, UNKNOWN)])
def test_worth_it_is_said_by_the_best_single_model_that_is_no_dearer(skill, word):
    """Models right 80, 90 and 99 % of the time at costs 1, 2 and 10; a cascade at cost 3."""
    rng = np.random.default_rng(0)
    n = 1000
    scores = random_scores(rng, n)
    scores.correct[:] = np.sort(rng.random((3, n)), axis=1)[:, ::-1] < [[0.8], [0.9], [0.99]]
    ones = np.array([1])
    curves = [Curve(ones, c, c, c) for c in np.array([[1.0], [2.0], [10.0]])]
    pricer = _pricer(scores, curves)
    stage = (np.arange(n) < n / 5).astype(np.int8)
    correct = rng.random(n) < skill
    point = OperatingPoint(("small", "other"), "maxp", False, ((0.5, None, None),))
    found = verdict(pricer, point, pricer.staged(point.models, stage), stage, correct)
    assert (found.word, found.rival) == (word, "large")
    right = scores.correct[1]
    assert found.change == deployed(correct, stage > 0, right)["accuracy_change"]


def test_runs_count_one_each():
    prices = counted_runs(["a", "b"])
    assert [prices.model(name, 8) for name in ("a", "b")] == [1, 1]


def test_images_that_test_have_no_say_in_what_is_tested(store):
    scores = random_scores(np.random.default_rng(3), 300, levels=50, split="val")
    costs = Costs.linear(np.array([9.0, 1.0, 3.0]), 300)
    promise = Promise(Limits(0.3, 0.2))
    space = Space(tuple(rules(("maxp", "entropy"))))
    made = guarantee(store, scores, costs, space, promise)
    _, testing = parts(300)
    changed = scores.of_images(np.arange(300))
    changed.correct[0, testing] = True
    again = guarantee(store, changed, costs, space, promise)
    assert made.reference == again.reference
    assert made.certificate.order.tolist() == again.certificate.order.tolist()
    assert made.certificate.p_values.tolist() != again.certificate.p_values.tolist()


def test_a_batch_holds_no_more_than_all_requests(digits):
    asked = ("--cost", "macs", "--best-accuracy", "--json")
    whole, more = (_search(digits, *asked, "--batch-size", size).json for size in (500, 10**12))
    assert more["answer"] == whole["answer"] | {
        "cost_batch_size": more["answer"]["cost_batch_size"]
    }
