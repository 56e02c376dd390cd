"""Answers with confidences of their own: as the logits they come from, and one line where bad."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from running import cascade

from cache import InputError, Store
from cascade_cli.inputs.simulation import memory_policy
from cascade_cli.options import MemoryOptions
from stages import scores
from stages.scores import Score, named, scores_of

N, K = 120, 4
RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, K, N)
LOGITS = {
    name: (sure * np.eye(K)[LABELS] + RNG.standard_normal((N, K))).round(1).astype(np.float32)
    for name, sure in (("small", 1.0), ("large", 2.0))
}
ANSWERS = {name: scores_of(logits) for name, logits in LOGITS.items()}
PAIR = ("-m1", "small", "-m2", "large")
OUTPUTS = Path(__file__).parents[4] / "shared" / "data" / "outputs"


def wide(**more):
    """One table of both models: margin is the difference under another name, loss its negative."""
    out = {"label": LABELS}
    for model, found in ANSWERS.items():
        out |= {f"{model}.prediction": found["prediction"]}
        out |= {f"{model}.margin": found["difference"], f"{model}.loss": -10 * found["difference"]}
    return pl.DataFrame(out | more)


def bring(root, table, *more):
    file = root / "x.parquet"
    table.write_parquet(file)
    return cascade(
        *("import", "-d", "mine", "--split", "test", "--answers", file),
        *("--cache", root / "c", *more),
    )


def test_a_name_says_which_way_is_sure():
    assert named("margin") == Score("margin", +1, comparable=False)
    for name in ("entropy_nats", "uncertainty", "variance", "Loss"):
        assert named(name).sign == -1
    assert named("maxp").comparable


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31))
def test_answers_of_logits_decide_as_the_logits_do(tmp_path_factory, seed):
    root, rng = tmp_path_factory.mktemp("same"), np.random.default_rng(seed)
    table = {"label": LABELS}
    for name, logits in LOGITS.items():
        logits = logits[rng.permutation(N)]
        np.savez(root / f"{name}.npz", logits=logits, label=LABELS)
        found = scores_of(logits)
        table |= {f"{name}.{key}": found[key] for key in ("prediction", "maxp", "difference")}
        args = ("--logits", root / f"{name}.npz", "--model", name, "--cache", root / "l")
        assert cascade("import", "-d", "mine", "--split", "test", *args).status == 0
    assert bring(root, pl.DataFrame(table)).status == 0
    for command in (
        ("threshold", "-s", "maxp,difference"),
        ("simulate", *PAIR),
        ("heterogeneity",),
    ):
        mine, theirs = (
            cascade(*command, "--dataset", "mine", "--json", "--cache", root / each).json
            for each in "cl"
        )
        assert json.dumps(mine) == json.dumps(theirs)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    root = tmp_path_factory.mktemp("answers")
    done = bring(root, wide())
    assert done.status == 0
    assert "the surer answer has the larger margin, the smaller loss" in done.err
    return root / "c"


def test_a_confidence_of_any_range_decides_as_the_score_it_is_made_of(mine):
    found = scores.load(Store(mine), "mine", "test")
    assert found.own == ("loss", "margin")
    rows = cascade("threshold", "-d", "mine", "--json", "--cache", mine).json["rows"]
    by = {
        name: [row for row in rows if row["score"] == name and not row["postcheck"]]
        for name in found.own
    }
    for loss, margin in zip(by["loss"], by["margin"], strict=True):
        for key in ("accuracy", "usage", "fit_accuracy", "points"):
            assert loss[key] == margin[key]
        if not isinstance(loss["threshold"], str):
            assert loss["threshold"] == pytest.approx(-10 * margin["threshold"], rel=1e-12)
    at = cascade("simulate", *PAIR, "-s", "loss", "-t", "-2.5", "--json", "--cache", mine).json
    sent = -10 * ANSWERS["small"]["difference"] > -2.5
    assert at["escalated"] == sent.sum()
    assert (
        at["accuracy"]
        == np.where(
            sent, found.correct[found.index("large")], found.correct[found.index("small")]
        ).mean()
    )


def test_a_memory_trusts_in_the_unit_of_the_score():
    options = MemoryOptions(memory="dhash", memory_trust=90.0)
    assert memory_policy(options, "margin").trust == 90
    with pytest.raises(InputError, match=r"give 0\.9 for 90 %"):
        memory_policy(options, "maxp")


@pytest.mark.parametrize(
    "command",
    [
        ("threshold", "-n", "50"),
        ("search", "--best-accuracy"),
        ("search", "--certify", "0.2,0.2"),
        ("simulate", *PAIR),
        ("heterogeneity",),
        ("heterogeneity", "--predict"),
        ("report",),
        ("export", "-o", "wide.csv"),
        ("export", "--publish", "copy"),
        ("score",),
        ("cache", "verify"),
    ],
)
def test_commands_take_what_they_have(mine, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        cascade(
            *command, *(("--dataset", "mine") * (command[0] != "cache")), "--cache", mine
        ).status
        == 0
    )
    if "copy" in command:
        found = scores.load(Store(tmp_path / "copy"), "mine", "test")
        assert found.own == ("loss", "margin")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("threshold", "-s", "maxp"), "the maxp of large on mine/test is not known"),
        (("threshold", "-s", "margn"), "did you mean 'margin'?"),
        (("rules",), "rules are held against plain maxp, which is not known of all these models"),
        (("calibrate",), "no logits"),
        (("simulate", *PAIR, "-s", "margin", "-t", "inf"), "is no threshold of margin"),
    ],
)
def test_what_they_have_not_is_one_line(mine, command, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cascade(*command, "--dataset", "mine", "--cache", mine)
    assert done.status == 2
    assert said in done.err.splitlines()[-1]
    assert not (tmp_path / "p").exists()


def test_mixed_kinds_have_what_is_common(tmp_path):
    table = wide(**{"small.maxp": ANSWERS["small"]["maxp"]}).select(
        "label", prediction="small.prediction", maxp="small.maxp", margin="small.margin"
    )
    assert bring(tmp_path, table, "--model", "small").status == 0
    np.savez(tmp_path / "large.npz", logits=LOGITS["large"], label=LABELS)
    more = ("--logits", tmp_path / "large.npz", "--model", "large", "--cache", tmp_path / "c")
    assert cascade("import", "-d", "mine", "--split", "test", *more).status == 0
    found = scores.load(Store(tmp_path / "c"), "mine", "test")
    assert found.own == ("maxp",)
    said = cascade("threshold", "-s", "margin", "-d", "mine", "--cache", tmp_path / "c").refusal
    assert "margin of large on mine/test is not known" in said
    assert said.endswith("give --scorefn maxp")


def test_costs_of_requests_stand_beside(tmp_path):
    usd, joules = RNG.random(N), RNG.random(N)
    more = {"small.usd_per_request": usd, "small.joules": joules}
    assert bring(tmp_path, wide(**more)).status == 0
    [file] = (tmp_path / "c").glob("request_costs/**/*.parquet")
    rows = pq.read_table(file)
    np.testing.assert_array_equal(rows["usd"].to_numpy(), usd)
    np.testing.assert_array_equal(rows["energy_j"].to_numpy(), joules)
    again = {**more, "small.usd_per_request": 2 * usd}
    assert bring(tmp_path, wide(**again)).status == 2
    assert bring(tmp_path, wide(**again), "--overwrite").status == 0
    np.testing.assert_array_equal(pq.read_table(file)["usd"].to_numpy(), 2 * usd)
    assert bring(tmp_path, wide(), "--overwrite").status == 0
    assert cascade("cache", "ls", "--table", "request_costs", "--cache", tmp_path / "c").status == 0
    assert not list((tmp_path / "c" / "_manifests").glob("request_costs/**/*.json"))


def words(values):
    return np.array(["cat", "dog", "ant", "bee"])[values]


def test_words_are_numbered_alike_in_all_models(tmp_path):
    table = wide().with_columns(pl.col("label").map_elements(lambda k: words(k), pl.String))
    table = table.with_columns(pl.col("^.*prediction$").map_elements(lambda k: words(k), pl.String))
    assert bring(tmp_path, table).status == 0
    found = scores.load(Store(tmp_path / "c"), "mine", "test")
    np.testing.assert_array_equal(
        np.array(sorted(["cat", "dog", "ant", "bee"]))[found.labels], words(LABELS)
    )
    for m, name in enumerate(found.models):
        np.testing.assert_array_equal(found.correct[m], ANSWERS[name]["prediction"] == LABELS)
    other = table.with_columns(pl.lit("cow").alias("small.prediction"))
    assert "'cow', which is no class name" in bring(tmp_path, other, "--overwrite").refusal


@pytest.mark.parametrize("numbers", [True, False])
def test_graded_answers_need_no_label(tmp_path, numbers):
    out = {}
    for model, found in ANSWERS.items():
        answer = found["prediction"] if numbers else words(found["prediction"])
        out |= {f"{model}.prediction": answer, f"{model}.correct": found["prediction"] == LABELS}
        out |= {f"{model}.margin": found["difference"]}
    assert bring(tmp_path, pl.DataFrame(out)).status == 0
    found = scores.load(Store(tmp_path / "c"), "mine", "test")
    for m, name in enumerate(found.models):
        np.testing.assert_array_equal(found.correct[m], ANSWERS[name]["prediction"] == LABELS)
    wrong = pl.DataFrame(out | {"small.correct": np.ones(N, bool)})
    assert "contradict each other" in bring(tmp_path / "c", wrong, "--overwrite").refusal


def changed(column, row, value):
    found = wide()[column].to_numpy().astype(np.float64)
    found[row] = value
    return {column: found}


BAD = {
    "infinite": (changed("large.margin", 7, np.inf), "row 7 has margin inf, expected a finite"),
    "nan": (changed("large.margin", 8, np.nan), "row 8 has margin nan, expected a finite number"),
    "fraction": (changed("large.prediction", 3, 0.5), "row 3 has prediction 0.5, expected 0 to"),
    "maxp": (
        {"large.maxp": np.full(N, 1.5)},
        "row 0 has maxp 1.5, expected a finite number from 0",
    ),
    "cost": ({"large.usd_per_request": np.full(N, -1.0)}, "usd -1, expected a finite number 0 or"),
    "reserved": ({"large.oracle": np.ones(N)}, "'oracle' cannot name a confidence"),
    "comma": ({"large.a,b": np.ones(N)}, "'a,b' cannot name a confidence"),
    "index": ({"large.idx": np.ones(N)}, "column 'idx' is headed as a row index"),
    "correct": ({"large.correct": np.zeros(N)}, "contradicts itself: its prediction is"),
    "no confidence": ({"third.prediction": LABELS}, "holds no answers: give a column prediction"),
    "no prediction": ({"third.margin": np.ones(N)}, "holds no answers: give a column prediction"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_one_line_and_nothing_is_kept(name, tmp_path):
    more, said = BAD[name]
    done = bring(tmp_path, wide(**more))
    assert done.status == 2
    assert said in done.err.splitlines()[-1]
    assert not (tmp_path / "c").exists()


def test_what_the_cache_has_is_held_against_it(tmp_path):
    assert bring(tmp_path, wide()).status == 0
    assert "rows but the cache has" in bring(tmp_path, wide()[:-1].drop("label")).refusal
    other = wide(label=(LABELS + 1) % K)
    assert "has label" in bring(tmp_path, other, "--overwrite").refusal
    np.savez(tmp_path / "l.npz", logits=LOGITS["small"])
    more = ("--logits", tmp_path / "l.npz", "--model", "small", "--cache", tmp_path / "c")
    said = cascade("import", "-d", "mine", "--split", "test", *more).refusal
    assert "the cache has answers" in said


@pytest.mark.skipif(not OUTPUTS.exists(), reason="no published outputs here")
@pytest.mark.parametrize(
    ("file", "own", "accuracy"),
    [
        ("ferplus", ("confidence",), {"microsoft": 0.8139, "cnn": 0.6507}),
        ("distortions", ("maxp", "entropy_nats"), {}),
    ],
)
def test_published_answers(file, own, accuracy, tmp_path):
    told = cascade(
        *("import", "-d", file, "--split", "test", "--answers", OUTPUTS / f"{file}.parquet"),
        *("--cache", tmp_path / "c"),
    )
    assert told.status == 0, told.err
    found = scores.load(Store(tmp_path / "c"), file, "test")
    assert found.own == own
    table = pl.read_parquet(OUTPUTS / f"{file}.parquet")
    for m, model in enumerate(found.models):
        right = (table["label"] == table[f"{model}.prediction"]).to_numpy()
        np.testing.assert_array_equal(found.correct[m], right)
        assert right.mean() == pytest.approx(accuracy.get(model, right.mean()), abs=1e-4)
