"""The share of requests over a budget, through the commands, against a loop over the images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import MODELS, cost_row, make_cache, write_request_costs
from running import cascade
from scipy.stats import binomtest

from cache import Store
from stages import costs
from stages.cascade import Cascade, decide
from stages.scores import load

WHERE = ("--dataset", "toy")
PAIR = (*WHERE, "-m1", "small", "-m2", "large", "-t", "0.8")
MS = {"small": 0.1, "large": 0.2, "other": 0.7}
N = 90


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Milliseconds of all models on a desk; dollars of each request, in whole cents."""
    made = make_cache(tmp_path_factory.mktemp("tail"), n=N)
    costs.merge(made, "toy", [cost_row(model, ms, device="desk") for model, ms in MS.items()])
    rng = np.random.default_rng(7)
    for split in ("test", "val"):
        labels = load(made, "toy", split).labels
        for model in MODELS:
            write_request_costs(
                made, split, model, labels, {"usd": rng.integers(1, 4, N) * MS[model]}
            )
    return made


def told(store, command, *args):
    return cascade(command, *args, "--json", "--cache", store.root).json


def naive(scores, row, budget, price):
    """How many images cost more, each the sum of the models that it asked."""
    models = [row[f"model_{j}"] for j in (1, 2, 3) if row[f"model_{j}"]]
    second = row["threshold_2"] if row["mode_2"] == "threshold" else row["mode_2"]
    limits = [row["threshold"], second][: len(models) - 1]
    point = Cascade.of(models, row["score"], *limits, postcheck=bool(row["postcheck"]))
    over = 0
    for i, last in enumerate(decide(scores, point).stage):
        over += sum(price(model, i) for model in models[: last + 1]) > budget + 1e-9
    return over


def check(row, over, n=N):
    ends = binomtest(over, n).proportion_ci(method="exact")
    found = (row["over_budget"], row["over_budget_low"], row["over_budget_high"])
    assert found == pytest.approx((over / n, *ends), abs=1e-9)


@pytest.mark.parametrize("budget", [0.05, 0.1, 0.2, 0.3, 0.4])
def test_of_a_device_it_is_a_step_at_what_the_models_cost(store, budget):
    """0.1 of A alone and 0.1 + 0.2 of both: 0.3 is not more than 0.3."""
    how = ("--cost-device", "desk", "--cost-budget", f"{budget}ms")
    row = told(store, "simulate", *PAIR, *how)
    assert row["cost_budget"] == budget
    over = naive(load(store, "toy", "test"), row, budget, lambda model, i: MS[model])
    assert over == {0.05: N, 0.1: row["escalated"], 0.2: row["escalated"]}.get(budget, 0)
    check(row, over)


@pytest.mark.parametrize("budget", ["0.3", "0.5usd", "0.7", "99"])
@pytest.mark.parametrize("extra", [(), ("-p",), ("-s", "entropy")])
def test_of_each_request_it_is_counted_image_by_image(store, budget, extra):
    how = ("--cost", "usd", "--cost-budget", budget)
    row, scores = told(store, "simulate", *PAIR, *extra, *how), load(store, "toy", "test")
    each = dict(zip(scores.models, scores.request_costs["usd"], strict=True))
    most = float(budget.removesuffix("usd"))
    check(row, naive(scores, row, most, lambda model, i: each[model][i]))


@pytest.mark.parametrize(
    ("how", "budget"),
    [
        (("--cost", "usd"), 0.6),
        (("--cost", "usd", "--best-accuracy"), 0.9),
        (("--cost-device", "desk", "--best-accuracy"), 0.2),
        (("--cost-device", "desk", "--stages", "3"), 0.3),
    ],
)
def test_every_row_of_a_search_tells_its_share(store, how, budget):
    found = told(store, "search", *WHERE, "-s", "maxp", *how, "--cost-budget", str(budget))
    scores = load(store, "toy", "test")
    each = dict(zip(scores.models, scores.request_costs["usd"], strict=True))
    prices = (lambda model, i: each[model][i]) if "usd" in how else (lambda model, i: MS[model])
    checked = 0
    for row in [found["answer"], *found["frontier"], *found["baselines"]]:
        assert row["cost_budget"] == budget
        if row["kind"] == "random":  # which images go on is drawn
            assert row["over_budget"] is None
        elif row["kind"] != "oracle":
            check(row, naive(scores, row, budget, prices))
            checked += 1
    assert checked > 5


def test_copies_of_an_image_tell_no_more_than_it_does(store):
    """Each image twice: the interval is that of the images."""
    how = ("--cost-device", "desk", "--cost-budget", "0.2", "--duplicates", "1")
    row = told(store, "simulate", *PAIR, *how)
    assert row["n"] == 2 * N
    check(row, row["escalated"] // 2)


def test_it_is_told_beside_the_mean_cost(store):
    how = ("--cost-device", "desk", "--cost-budget", "200us", "--cache", store.root)
    row = told(store, "simulate", *PAIR, *how[:-2])
    lines = cascade("simulate", *PAIR, *how).out.splitlines()
    [at] = [i for i, line in enumerate(lines) if "over budget" in line]
    assert lines[at - 1].startswith("  cost per request")
    assert f"{row['over_budget']:.2%} (" in lines[at]
    assert lines[at].endswith("cost more than 0.2 ms")
    lines = cascade("search", *WHERE, "--best-accuracy", *how).out.splitlines()
    [at] = [i for i, line in enumerate(lines) if "over budget" in line]
    assert lines[at - 1].startswith("  cost ")
    assert len(lines[at]) <= 80
    assert "over budget" not in cascade("simulate", *PAIR, *how[:2], *how[-2:]).out


@pytest.mark.parametrize("command", [("simulate", *PAIR), ("search", *WHERE)])
@pytest.mark.parametrize("budget", ["-1", "nan", "inf", "", "3apples", "5mJ"])
def test_what_is_no_cost_is_refused(store, command, budget):
    how = ("--cost-device", "desk", "--cost-budget", budget, "--cache", store.root)
    assert f"--cost-budget: {budget!r} is no cost in ms" in cascade(*command, *how).refusal


def test_where_no_cost_is_known_or_several_are_it_is_refused(store, tmp_path):
    bare = make_cache(tmp_path)
    for command in (("simulate", *PAIR), ("search", *WHERE)):
        line = cascade(*command, "--cost-budget", "1", "--cache", bare.root).refusal
        assert "--cost-budget: the cost of these models is unknown" in line
    rows = [cost_row(model, 3 * ms, device="nano") for model, ms in MS.items()]
    costs.merge(Store(store.root), "toy", rows)
    how = ("--cost-device", "desk,nano", "--cost-budget", "1", "--cache", store.root)
    assert "--cost-budget is for one --cost-device" in cascade("search", *WHERE, *how).refusal


def test_without_a_budget_it_is_null(store):
    row = told(store, "simulate", *PAIR)
    names = ("cost_budget", "over_budget", "over_budget_low", "over_budget_high")
    assert {row[name] for name in names} == {None}


def test_another_budget_is_another_result(store):
    how = (*PAIR, "-s", "difference", "--cost-device", "desk")
    before = set(Path(store.root, "results").rglob("*.parquet"))
    for budget in ("0.1", "0.2", "0.2"):
        told(store, "simulate", *how, "--cost-budget", budget)
    assert len(set(Path(store.root, "results").rglob("*.parquet")) - before) == 2
