"""Costs of each request against loops over the requests, through every command that tells costs."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from helpers import MODELS, make_cache, random_scores, write_request_costs
from hypothesis import given, settings, strategies as st
from running import cascade

from stages.cascade import Cascade, Ordering, decide
from stages.costs import Pricer, of_each_request
from stages.report import packing
from stages.scores import load
from stages.simulate import make, requested

WHERE = ("--dataset", "toy")
PAIR = (*WHERE, "-m1", "small", "-m2", "large")
KINDS = ("latency_ms", "energy_j", "usd")
SCALE = {"small": 1.0, "large": 3.0, "other": 9.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Dollars of all models' requests, joules of two and latencies of one."""
    made, rng = make_cache(tmp_path_factory.mktemp("priced"), n=80), np.random.default_rng(4)
    for split in ("test", "val"):
        labels = load(made, "toy", split).labels
        for m, model in enumerate(MODELS):
            each = {kind: SCALE[model] * rng.exponential(1.0, 80) for kind in KINDS[m:]}
            write_request_costs(made, split, model, labels, {"usd": each.pop("usd")} | each)
    return made


def _spent(scores, point, kind):
    """What each request costs, one after another."""
    stage, rows = decide(scores, point).stage, [scores.index(model) for model in point.models]
    each = scores.request_costs[kind]
    return np.array([sum(each[row, i] for row in rows[: s + 1]) for i, s in enumerate(stage)])


def _point(row):
    models = (row["model_1"], row["model_2"])
    return Cascade.of(models, row["score"], row["threshold"], postcheck=row["postcheck"])


def _check(row, scores, kind):
    """Cost, its interval, that of the baseline and what is saved."""
    spent, n = _spent(scores, _point(row), kind), len(scores.labels)
    half = 1.959964 * spent.std() / n**0.5
    cost = (row["cost"], row["cost_low"], row["cost_high"])
    assert cost == pytest.approx((spent.mean(), spent.mean() - half, spent.mean() + half))
    other = scores.request_costs[kind][scores.index(row["baseline"])]
    ratio = spent.mean() / other.mean()
    half = 1.959964 * (spent - ratio * other).std() / n**0.5 / other.mean()
    saved = (row["saved"], row["saved_low"], row["saved_high"])
    assert saved == pytest.approx((1 - ratio, 1 - ratio - half, 1 - ratio + half))
    assert row["baseline_cost"] == pytest.approx(other.mean())


@pytest.mark.parametrize(("kind", "unit"), [("usd", "usd"), ("joules", "J")])
def test_simulate_sums_what_its_requests_cost(store, kind, unit):
    scores = load(store, "toy", "test")
    found = cascade("simulate", *PAIR, "-t", "0.8", "--cost", kind, "--json", "--cache", store.root)
    _check(found.json, scores, kind)
    assert (found.json["cost_unit"], found.json["cost_device"]) == (unit, None)
    assert found.json["cost_why"] == f"{kind} of each request, as asked"
    assert (found.json["energy_j_per_request"] is None) == (kind == "usd")
    for key, model in (("cost_1", "small"), ("cost_2", "large")):
        each = scores.request_costs[kind][scores.index(model)]
        assert found.json[key] == pytest.approx(each.mean())


def test_they_are_taken_before_other_costs_and_the_first_kind_of_all_models(store):
    """Joules are known of these two, of all three only dollars."""
    found = cascade("simulate", *PAIR, "-t", "0.8", "--json", "--cache", store.root).json
    assert (found["cost_kind"], found["cost_why"]) == ("joules", "joules of each request")
    found = cascade("search", *WHERE, "--json", "--cache", store.root).json
    assert (found["cost"]["kind"], found["cost"]["why"]) == ("usd", "usd of each request")
    text = cascade("simulate", *PAIR, "-t", "0.8", "--cost", "usd", "--cache", store.root).out
    assert "usd (usd of each request, as asked)" in text
    assert "no energy sensor" not in text


def test_a_stream_pays_for_each_request(store):
    scores = load(store, "toy", "test", MODELS[:2])
    args = ("-t", "0.8", "--cost", "usd", "--duplicates", "1.5", "--order", "shuffled", "--json")
    found = cascade("simulate", *PAIR, *args, "--cache", store.root).json
    shown = requested({"identity": scores}, make(80, 1.5, order="shuffled"))
    assert found["n"] == 200
    assert found["cost"] == pytest.approx(_spent(shown, _point(found), "usd").mean())


def test_threshold_rules_and_search_price_the_reported_images(store):
    scores = load(store, "toy", "test")
    for command in ("threshold", "search"):
        extra = () if command == "threshold" else ("--best-accuracy",)
        args = (*WHERE, *extra, "--cost", "usd", "--json")
        found = cascade(command, *args, "--cache", store.root).json
        rows = found["rows"] if command == "threshold" else found["frontier"]
        pairs = [row for row in rows if row["model_2"] and row["score"] != "oracle"]
        assert len(pairs) > 3
        for row in pairs:
            _check(row, scores, "usd")
    args = ("--rules", "maxp", "--finals", "b", "--cost", "usd", "--json", "--cache", store.root)
    for row in cascade("rules", *PAIR, *args).json["rows"]:
        _check(row | {"score": "maxp", "postcheck": False}, scores, "usd")


def test_the_page_tells_the_costs_of_every_kept_step(store, tmp_path):
    file = tmp_path / "page.html"
    args = ("--dataset", "toy", "-o", file, "--cache", store.root)
    assert cascade("report", *args, "--cost", "usd").status == 0
    text = re.search(r'id="data">([^<]*)</script>', file.read_text(encoding="utf-8")).group(1)
    facts, arrays = packing.unpack(text)
    scores = load(store, "toy", "test", [model["name"] for model in facts["models"]])
    pricer = Pricer(scores, of_each_request(scores, scores.models, "usd"))
    spent = arrays["sent_spent"].reshape(-1, 3, 3)
    baseline, groups = scores.models[facts["baseline"]], product(range(3), scores.own)
    for g, (a, name) in enumerate(groups):
        order = Ordering.by(scores, name, a).order
        for row in range(*arrays["sent_start"][g : g + 2].tolist()):
            stage = np.zeros(80, np.int8)
            stage[order[: arrays["sent"][row]]] = 1
            for b in {0, 1, 2} - {a}:
                bill = pricer.bill((scores.models[a], scores.models[b]), stage)
                price = pricer.against(bill, baseline)
                halves = (price.cost.value, price.cost.half, price.saved.half)
                assert tuple(spent[row, b]) == pytest.approx(halves, abs=1e-7)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--cost", "usd", "--batch-size", "8"), "leave out --batch-size"),
        (("--cost", "usd", "--arrival-rate", "9"), "leave out --batch-size"),
        (("--cost", "usd", "--with-preprocess"), "leave out --batch-size"),
        (("--cost", "eur"), "usd"),
        (("-m2", "other", "--cost", "joules"), "no joules of all these models"),
    ],
)
def test_what_such_costs_do_not_tell_is_refused(store, args, words):
    line = cascade("simulate", *PAIR, "-t", "0.8", *args, "--cache", store.root).refusal
    assert words in line


def test_a_budget_may_name_its_unit(store):
    for budget in ("1.5usd", "1.5 usd", "1.5"):
        args = (*WHERE, "--max-cost", budget, "--cost", "usd", "--json", "--cache", store.root)
        assert cascade("search", *args).json["question"] == "max-cost 1.5"


def test_a_unit_that_some_models_lack_is_refused(tmp_path):
    made = make_cache(tmp_path)
    labels = load(made, "toy", "test").labels
    write_request_costs(made, "test", "small", labels, {"usd": np.ones(60)})
    line = cascade(
        "simulate", *PAIR, "-t", "0.8", "--cost", "usd", "--cache", str(tmp_path)
    ).refusal
    assert "usd of each request is not known of large on toy/test" in line
    found = cascade("simulate", *PAIR, "-t", "0.8", "--json", "--cache", str(tmp_path)).json
    assert found["cost"] is None


@pytest.mark.parametrize("kind", ["usd", "joules"])
def test_a_policy_keeps_its_kind_of_cost(store, tmp_path, kind):
    args = ("-t", "0.8", "--cost", kind, "--policy", str(tmp_path / "policy"))
    assert cascade("export", *PAIR, *args, "--cache", store.root).status == 0
    args = ("--split", "test", "--json")
    found = cascade("check", str(tmp_path / "policy"), *args, "--cache", store.root).json
    assert "cost" in {each["name"] for each in found["figures"]}


@given(seed=st.integers(0, 10_000), remembers=st.booleans())
@settings(max_examples=80)
def test_a_bill_is_the_sum_over_the_models_that_ran(seed, remembers):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    each = rng.choice([0.0, 0.1, 0.25, 1.5], (3, n)) + rng.choice([0.0, 1e-3])
    scores = replace(random_scores(rng, n), request_costs={"usd": each})
    stage = rng.integers(-1 if remembers else 0, 3, n)
    prices = of_each_request(scores, MODELS)
    bill = Pricer(scores, prices, hash_cost=0.5).bill(MODELS, stage, remembers)
    for m, model in enumerate(MODELS):
        total = sum(each[m, i] for i in range(n) if stage[i] >= m)
        assert bill.parts["forward", model].value == pytest.approx(total / n, abs=1e-9)
    spent = [sum(each[m, i] for m in range(s + 1)) for i, s in enumerate(stage)]
    assert bill.total.value == pytest.approx(np.mean(spent) + 0.5 * remembers, abs=1e-9)
    assert bill.drawn == pytest.approx(1.959964 * np.std(spent) / n**0.5, abs=1e-9)


def test_a_budget_that_a_price_equals_is_kept():
    """Of prices that have no exact double, summed over any number of requests."""
    for price in (0.0015, 0.1, 1 / 3, 1e-7):
        for n in (3, 7, 49, 3179):
            scores = random_scores(np.random.default_rng(n), n)
            scores = replace(scores, request_costs={"usd": np.full((3, n), price)})
            found = Pricer(scores, of_each_request(scores, MODELS)).model("small").value
            assert price * (1 - 1e-9) < found <= price


def test_intervals_hold_the_truth():
    rng, runs, hits = np.random.default_rng(1), 400, np.zeros(2)
    everyone = random_scores(rng, 20_000, levels=999)
    each = rng.gamma(2.0, 1.0, 20_000) * np.array([[1.0], [4.0], [4.0]])
    each *= rng.gamma(4.0, 0.25, (3, 20_000))
    everyone = replace(everyone, request_costs={"usd": each})
    point = Cascade.of(MODELS[:2], "maxp", 0.5)
    cost = _spent(everyone, point, "usd").mean()
    saved = 1 - cost / each[1].mean()
    for _ in range(runs):
        drawn = everyone.of_images(rng.integers(0, 20_000, 300))
        pricer = Pricer(drawn, of_each_request(drawn, MODELS))
        price = pricer.compared(point.models, decide(drawn, point).stage, "large")
        for i, (found, true) in enumerate(((price.cost, cost), (price.saved, saved))):
            hits[i] += found.low <= true <= found.high
    assert hits / runs == pytest.approx(0.95, abs=0.03)
