"""The result tables: files of one stage open together in every reader, whatever was asked."""

from __future__ import annotations

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pytest
from helpers import MODELS, cost_row, make_cache
from running import cascade

from cache import find, read_table
from stages import costs, threshold as threshold_stage
from stages.cascade import Cascade
from stages.results import tidy
from stages.scores import load
from stages.simulate import run
from stages.threshold import FitPlan, ThresholdQuestion, fitted_point, plan

READERS = {
    "pyarrow": lambda root: ds.dataset(root, partitioning="hive").to_table(),
    "polars": lambda root: pl.read_parquet(f"{root}/**/*.parquet", hive_partitioning=True),
    "duckdb": lambda root: duckdb.sql(
        f"SELECT * FROM read_parquet('{root}/**/*.parquet', hive_partitioning = true)"
    ).pl(),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A cache in which each column that can be null is so throughout one file and not another."""
    root = tmp_path_factory.mktemp("cache")
    store = make_cache(root)
    scores = load(store, "toy", "test")
    crossfit = FitPlan("cross-fit", "test", scores, ())
    for fitted in (plan(store, scores), plan(store, scores, "test"), crossfit):
        for question in (ThresholdQuestion(), ThresholdQuestion(scores=("oracle",))):
            threshold_stage.run(store, scores, fitted, [("small", "large")], question)
    pair = ("small", "large")
    for one in (Cascade.of(pair, "maxp", 0.5), Cascade.of(pair, "oracle")):
        run(store, scores, one)
    limit, how = fitted_point(scores, crossfit, pair, "entropy", True, "1se")
    run(store, scores, Cascade.of(pair, "entropy", limit, postcheck=True), how)
    return root / "results"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("stage", "rows"), [("threshold", 3 * (12 + 1)), ("simulate", 3)])
def test_files_of_a_stage_open_together(results, reader, stage, rows):
    table = READERS[reader](f"{results}/{stage}")
    frame = table if isinstance(table, pl.DataFrame) else pl.from_arrow(table)
    assert len(frame) == rows
    assert frame["accuracy"].null_count() == 0
    assert frame["threshold"].dtype == pl.Float64
    for column in ("accuracy", "accuracy_low", "accuracy_high", "accuracy_change", "usage_high"):
        assert frame[column].dtype == pl.Float64
        assert frame[column].null_count() == 0
    assert 0 < frame["fit_accuracy"].null_count() < rows
    assert not [column for column in frame.columns if column.startswith("crossfit")]


def test_tidy():
    assert tidy({"threshold": 0.5}) == {"threshold": 0.5, "mode": "threshold"}
    assert tidy({"threshold": "always"}) == {"threshold": None, "mode": "always"}
    assert tidy({"threshold": None}) == {"threshold": None, "mode": "oracle"}
    assert tidy({"accuracy": 1.0}) == {"accuracy": 1.0}


PAIR = ("-m1", "small", "-m2", "large")
COSTS = (
    (),
    ("--cost", "latency"),
    ("--cost", "latency", "--cost-device", "nano"),
    ("--cost", "latency", "--batch-size", "8"),
    ("--baseline", "other"),
)
FLOW = (("--arrival-rate", "2"), ("--arrival-rate", "1"), ("--with-preprocess",))


@pytest.fixture(scope="module")
def priced(tmp_path_factory):
    store = make_cache(tmp_path_factory.mktemp("priced"))
    for device, ms in (("desk", 2.0), ("nano", 7.0)):
        about = {"device": device, "meter": "manual", "energy_j": ms / 10, "idle_w": 1.0}
        for component in ("forward", "preprocess"):
            rows = [cost_row(model, ms, component=component, **about) for model in MODELS]
            costs.merge(store, "toy", rows)
    return store


@pytest.mark.parametrize(
    ("command", "questions"),
    [
        (("simulate", *PAIR, "-t", "0.6"), COSTS + FLOW),
        (("threshold", *PAIR, "-s", "maxp"), COSTS),
        (("rules", *PAIR, "--rules", "maxp"), COSTS),
        (("search", "-s", "maxp"), (*COSTS[:-1], ("--baseline", "large"))),
    ],
    ids=lambda value: value[0] if isinstance(value[0], str) else "",
)
def test_another_cost_question_is_another_result(priced, command, questions):
    """The same question replaces its own, and the columns tell which is which."""
    for question in 2 * questions:
        if "--cost-device" not in question:
            question = (*question, "--cost-device", "desk")
        asked = (*command, *question, "--dataset", "toy", "--cache", priced.root)
        assert cascade(*asked).status == 0
    found = [read_table(priced, m).to_pylist() for m in find(priced, "results", command[0])]
    names = ("kind", "device", "batch_size", "preprocess", "arrival_rate")
    told = [
        (
            *(rows[0][f"cost_{name}"] for name in names),
            frozenset(row["baseline"] for row in rows),
        )
        for rows in found
    ]
    assert len(told) == len(set(told)) == len(questions)
