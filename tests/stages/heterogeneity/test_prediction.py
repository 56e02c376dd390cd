"""`cascade heterogeneity --predict` against the threshold stage, scipy and one pair at a time."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import polars as pl
import pytest
from running import cascade
from scipy.stats import kendalltau, spearmanr
from three_models import MODELS, make

from stages.heterogeneity import METRICS
from stages.heterogeneity.prediction import summary


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make(tmp_path_factory.mktemp("predicting") / "cache")


def ask(root, *args):
    return cascade("heterogeneity", "-d", "toy", "--cache", root, *args, "--json")


def test_gains_are_those_of_the_best_fitted_cascade(toy):
    rows = cascade("threshold", "-d", "toy", "--cache", toy[0], "--json").json["rows"]
    found = ask(toy[0], "--predict").json
    assert (found["fit_split"], found["fit_method"]) == ("val", "other-split")
    gains = {(row["model_1"], row["model_2"]): row for row in found["gains"]}
    assert set(gains) == set(permutations(MODELS, 2))
    for pair, row in gains.items():
        own = [r for r in rows if (r["model_1"], r["model_2"], r["objective"]) == (*pair, "best")]
        best = min(own, key=lambda row: (-row["fit_accuracy"], row["fit_usage"]))
        for end in ("", "_low", "_high"):
            assert row[f"gain{end}"] == best[f"accuracy_change{end}"]
            assert row[f"accuracy{end}"] == best[f"accuracy{end}"]
        alone = best["accuracy_1" if best["baseline"] == pair[0] else "accuracy_2"]
        assert row["gain"] == pytest.approx(row["accuracy"] - alone)


def test_with_one_split_folds_decided_by_the_others_gain_less(tmp_path):
    root, *_ = make(tmp_path / "cache")
    cascade("cache", "rm", "--split", "val", "-y", "--cache", root)
    found = ask(root, "--predict").json
    flattered = ask(root, "--predict", "--fit-split", "test").json
    assert (found["fit_method"], flattered["fit_method"]) == ("cross-fit", "same-split")
    means = [np.mean([row["gain"] for row in each["gains"]]) for each in (found, flattered)]
    assert means[0] < means[1]
    shown = cascade("heterogeneity", "-d", "toy", "--cache", root, "--predict").out
    assert "and told of the fifth, ten times over" in " ".join(shown.split())


def test_measures_are_of_the_fitting_images(toy):
    _, logits, labels = toy
    right = {m: logits["val", m].argmax(axis=1) == labels["val"] for m in MODELS}
    found = ask(toy[0], "--predict").json
    for row in found["gains"]:
        a, b = right[row["model_1"]], right[row["model_2"]]
        assert row["heterogeneity"] == (a != b).mean()
        assert row["gain_of_b"] == (b & ~a).mean()
    on_test = ask(toy[0], "--predict", "--fit-split", "test").json
    assert on_test["fit_method"] == "same-split"
    assert on_test["gains"] != found["gains"]


def test_ranks_against_scipy(toy):
    found = ask(toy[0], "--predict").json
    assert [row["metric"] for row in found["predictors"]] == list(METRICS)
    gains = [row["gain"] for row in found["gains"]]
    better = [
        max(rows, key=lambda row: row["gain"])
        for a, b in [("small", "middle"), ("small", "large"), ("middle", "large")]
        for rows in [[r for r in found["gains"] if {r["model_1"], r["model_2"]} == {a, b}]]
    ]
    for row in found["predictors"]:
        column = "gain_of_b" if row["metric"] == "gain" else row["metric"]
        values = [pair[column] for pair in found["gains"]]
        assert row["spearman_ordered"] == pytest.approx(spearmanr(values, gains).statistic)
        assert row["kendall_ordered"] == pytest.approx(kendalltau(values, gains).statistic)
        values = [pair[column] for pair in better]
        expected = spearmanr(values, [pair["gain"] for pair in better]).statistic
        assert row["spearman_unordered"] == pytest.approx(expected)
        assert (row["pairs"], row["best_gain"]) == (6, max(gains))


def test_the_pair_picked_is_the_one_that_differs_most():
    nothing = np.full((3, 3), np.nan)
    gains = np.array([[np.nan, 0.1, 0.2], [0.3, np.nan, 0.4], [0.5, 0.6, np.nan]])
    values = np.array([[9, 1, 5], [1, 9, 2], [5, 2, 9.0]])
    measures = {"heterogeneity": values, "kappa": values, "q_statistic": nothing}
    rows = summary(measures, gains, "abc", ("test", "val", "other-split"))
    picked = [(row.picked_1, row.picked_2, row.picked_gain) for row in rows]
    assert picked == [("c", "a", 0.5), ("b", "a", 0.3), (None, None, None)]
    assert rows[2].spearman_ordered is None


def test_output_and_refusals(toy, tmp_path):
    found = ask(toy[0], "--predict", "-o", tmp_path / "p.csv").json
    assert pl.read_csv(tmp_path / "p.csv")["metric"].to_list() == list(METRICS)
    for stage, rows in (("predictors", found["predictors"]), ("gains", found["gains"])):
        files = list((toy[0] / "results" / stage).rglob("*.parquet"))
        columns = [*rows[0]]
        tables = [pl.read_parquet(file, hive_partitioning=True)[columns] for file in files]
        assert rows in [table.to_dicts() for table in tables]
    shown = cascade("heterogeneity", "-d", "toy", "--cache", toy[0], "--predict")
    told = " ".join(shown.out.split())
    assert "Does a metric, measured on val, tell which pairs gain on test?" in told
    assert "over 6 ordered pairs" in told
    assert "give --predict too" in ask(toy[0], "--fit-split", "val").refusal
    assert "--predict ranks all" in ask(toy[0], "--predict", "--metric", "kappa").refusal
    assert "--train is --split train" in ask(toy[0], "--split", "val", "-t").refusal
    assert "one model only" in ask(toy[0], "--predict", "--models", "small").refusal
