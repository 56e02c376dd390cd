"""`cascade rules`: its rows against single comparisons, plain loops and sums by hand."""

from __future__ import annotations

import shutil
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from helpers import tied_logits, write_logits, write_samples
from running import cascade
from scipy.stats import bootstrap

from cache import Store
from cascade_cli.rules import better
from stages.deferral import FINALS, RULES, Outputs, Pair, compare
from stages.fitting import folds
from stages.logits import whole

MODELS = ("small", "middle", "large")
SKILL = {"small": 1.0, "middle": 1.5, "large": 2.5}
MACS = {"small": 10, "middle": 40, "large": 100}
N = 80


def make(root, splits=("test", "val"), models=MODELS, seed=3):
    """(the cache's folder, {(split, model): logits}, {split: labels})."""
    rng, store, logits, labels = np.random.default_rng(seed), Store(root), {}, {}
    for split in splits:
        labels[split] = rng.integers(0, 4, N).astype(np.int32)
        write_samples(store, split, labels[split])
        for model in models:
            z = tied_logits(rng, N, spread=1.0)
            z[np.arange(N), labels[split]] += SKILL[model]
            logits[split, model] = z
            about = {"macs": MACS[model], "trained_on": {"splits": [], "source": "stated"}}
            write_logits(store, split, model, labels[split], z, part_rows=33, provenance=about)
    return root, logits, labels


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make(tmp_path_factory.mktemp("rules") / "cache")


def ask(root, *args):
    return cascade("rules", "-d", "toy", "--cache", root, *args, "--json")


def pair_of(toy, split, a, b, keep=None):
    _, logits, labels = toy
    keep = np.ones(N, bool) if keep is None else keep
    sides = [Outputs.of(whole(logits[split, m][keep]), labels[split][keep]) for m in (a, b)]
    return Pair(*sides)


def test_a_pair_has_every_rule_final_and_objective(toy):
    found = ask(toy[0], "-m1", "small", "-m2", "large").json
    assert (found["split"], found["fit_split"], found["fit_method"]) == (
        *("test", "val"),
        "other-split",
    )
    assert found["notes"] == []
    rows = {(row["rule"], row["final"], row["objective"]): row for row in found["rows"]}
    assert len(rows) == len(found["rows"]) == len(RULES) * len(FINALS) * 2
    pairs = (pair_of(toy, split, "small", "large") for split in ("val", "test"))
    for expected in compare(*pairs):
        row = rows[expected["rule"], expected["final"], expected["objective"]]
        assert {key: row[key] for key in expected} == expected
        assert (row["model_1"], row["model_2"], row["candidates"]) == ("small", "large", 1)


def test_gain_is_paired_against_plain_maxp(toy):
    """From λ alone, with scipy's bootstrap of the paired differences."""
    _, logits, labels = toy
    rows = ask(toy[0], "-m1", "small", "-m2", "large", "--rules", "maxp,margin").json["rows"]
    z_a, z_b = (logits["test", m] for m in ("small", "large"))
    scores = {"margin": np.diff(np.sort(z_a, axis=1))[:, -1]}
    e = np.exp(z_a.astype(float))
    scores["maxp"] = e.max(axis=1) / e.sum(axis=1)

    def right(row):
        limit = {"never": -np.inf, "always": np.inf}.get(row["threshold"], row["threshold"])
        to_b = scores[row["rule"]] < limit
        return np.where(to_b, z_b.argmax(axis=1), z_a.argmax(axis=1)) == labels["test"]

    plain, row = (
        next(r for r in rows if (r["rule"], r["final"], r["objective"]) == (rule, "b", "1se"))
        for rule in ("maxp", "margin")
    )
    gains = right(row).astype(int) - right(plain)
    assert gains.any()
    assert row["gain"] == pytest.approx(gains.mean())
    assert plain["gain"] == plain["gain_low"] == plain["gain_high"] == 0
    drawn = bootstrap((gains,), np.mean, method="percentile", n_resamples=9999, rng=1)
    assert row["gain_low"] == pytest.approx(drawn.confidence_interval.low, abs=0.02)
    assert row["gain_high"] == pytest.approx(drawn.confidence_interval.high, abs=0.02)
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert row["usage_low"] < row["usage"] < row["usage_high"]


def test_costs_count_every_model_that_ran(toy):
    args = ("-m1", "small", "-m2", "large", "--third", "middle", "--finals", "b")
    rows = ask(toy[0], *args, "--rules", "maxp,entropy").json["rows"]
    assert {row["rule"] for row in rows} == {"maxp", "entropy", "agreement", "vote_share"}
    for row in rows:
        models = [*row["model_1"].split(","), row["model_2"]]
        *first, last = (MACS[model] for model in models)
        assert row["cost"] == pytest.approx(sum(first) + row["usage"] * last)
        assert (row["cost_1"], row["cost_2"]) == (sum(first), last)
        assert row["cost_unit"] == "multiply-adds"


def test_agreement_and_votes_image_by_image(toy):
    _, logits, labels = toy
    args = ("-m1", "small", "-m2", "large", "--rules", "maxp", "--finals", "b")
    rows = ask(toy[0], *args, "--third", "middle").json["rows"]
    answers = {m: logits["test", m].argmax(axis=1) for m in MODELS}
    agree = answers["small"] == answers["large"]
    right = np.where(agree, answers["small"], answers["middle"]) == labels["test"]
    [row] = [row for row in rows if row["rule"] == "agreement"]
    assert (row["model_1"], row["model_2"]) == ("small,large", "middle")
    assert (row["accuracy"], row["usage"]) == (right.mean(), (~agree).mean())
    assert (row["objective"], row["threshold"]) == (None, 1)
    votes = [row for row in rows if row["rule"] == "vote_share"]
    assert [row["objective"] for row in votes] == ["best", "1se"]
    possible = {answers[m].tobytes(): m for m in MODELS}
    assert len(possible) == 3
    for row in votes:
        values = {"never": (answers["small"] == labels["test"]).mean()}
        values["always"] = (answers["middle"] == labels["test"]).mean()
        assert row["accuracy"] == values.get(row["threshold"], right.mean())


def best_pair(toy, split, rule, final, keep=None):
    def fitted(a, b):
        pair = pair_of(toy, split, a, b, keep)
        [row] = compare(pair, Pair(pair.a, pair.b), [rule], [final], ["best"])
        return row["fit_accuracy"], -row["fit_usage"]

    return max(permutations(MODELS, 2), key=lambda pair: fitted(*pair))


ALL = ("--all-pairs", "--rules", "maxp,margin,maxp_t", "--finals", "b,ensemble")


def test_the_best_pair_is_chosen_on_the_fitting_images(toy):
    rows = ask(toy[0], *ALL).json["rows"]
    *rules, trio = rows
    assert [row["objective"] for row in rules] == ["best", "1se"] * 6
    for row in rules:
        a, b = best_pair(toy, "val", row["rule"], row["final"])
        assert (row["model_1"], row["model_2"], row["candidates"]) == (a, b, 6)
        pairs = (pair_of(toy, split, a, b) for split in ("val", "test"))
        [alone] = compare(*pairs, [row["rule"]], [row["final"]], [row["objective"]])
        assert {key: row[key] for key in alone} == alone
    assert (trio["rule"], trio["candidates"]) == ("agreement", 3)


def test_models_limit_the_pairs(toy):
    rows = ask(toy[0], *ALL, "--models", "small,middle").json["rows"]
    assert {model for row in rows for model in (row["model_1"], row["model_2"])} == {
        *("small", "middle"),
    }


def test_without_another_split_each_fold_is_answered_by_the_choice_of_the_others(tmp_path):
    toy = make(tmp_path / "cache", splits=("test",), seed=4)
    result = ask(toy[0], *ALL, "--objective", "best")
    assert result.json["fit_method"] == "cross-fit"
    assert "cross-fitted on test" in result.err
    fold = folds(N)
    plain = result.json["rows"][0]
    assert (plain["rule"], plain["final"]) == ("maxp", "b")
    assert plain["accuracy"] != plain["crossfit_accuracy"]
    assert plain["gain_low"] == plain["gain_high"] == 0
    for row in result.json["rows"][:-1]:
        names, right = (row["rule"], row["final"]), 0
        for f in range(5):
            a, b = best_pair(toy, "test", *names, fold != f)
            others, own = (pair_of(toy, "test", a, b, k) for k in (fold != f, fold == f))
            [part] = compare(others, own, [names[0]], [names[1]], ["best"])
            right += round(part["accuracy"] * part["n"])
        assert row["crossfit_accuracy"] == right / N, names
        assert row["accuracy_low"] <= row["crossfit_accuracy"] <= row["accuracy_high"]
        assert row["cost"] == MACS[row["model_1"]] + row["usage"] * MACS[row["model_2"]]
        assert row["gain"] == pytest.approx(row["crossfit_accuracy"] - plain["crossfit_accuracy"])
        assert row["accuracy_change"] == pytest.approx(
            row["crossfit_accuracy"] - row["baseline_accuracy"]
        )


def test_the_reported_split_may_fit_when_asked(toy):
    result = ask(toy[0], "-m1", "small", "-m2", "large", "--fit-split", "test")
    assert "this is optimistic" in result.err
    for row in result.json["rows"]:
        assert (row["accuracy"], row["crossfit_accuracy"]) == (row["fit_accuracy"], None)


@pytest.fixture
def without_logits(toy, tmp_path):
    """Only scores of `large` are left, as where they were copied without the logits."""
    root = shutil.copytree(toy[0], tmp_path / "bare")
    assert cascade("score", "-d", "toy", "--cache", root).status == 0
    for split in ("test", "val"):
        for path in (root / "_manifests" / "logits" / "dataset=toy" / f"split={split}").rglob("*"):
            if path.name == "model=large.json":
                path.unlink()
    return root


def test_scores_alone_leave_out_what_needs_logits(toy, without_logits):
    args = ("-m1", "small", "-m2", "large", "--objective", "best")
    result = ask(without_logits, *args)
    rows = result.json["rows"]
    assert {(row["rule"], row["final"]) for row in rows} == {
        (rule, final)
        for rule in ("maxp", "difference", "entropy", "learned")  # learned looks at A alone
        for final in ("b", "postcheck")
    }
    [note] = result.json["notes"]
    assert note in result.err
    assert note.startswith("the cache has scores but no logits of large: margin, energy,")
    whole_rows = ask(toy[0], *args).json["rows"]
    assert all(row in whole_rows for row in rows)
    refusal = ask(without_logits, *args, "--rules", "energy").refusal
    assert "which leaves none: extract or import logits" in refusal
    # The best of all pairs is then that of the pairs that can be told.
    rows = ask(without_logits, "--all-pairs", "--rules", "maxp,energy").json["rows"]
    candidates = {(row["rule"], row["final"]): row["candidates"] for row in rows}
    assert candidates["maxp", "b"] == 6
    assert candidates["energy", "b"] == candidates["maxp", "ensemble"] == 2


def test_the_result_is_written(toy, tmp_path):
    args = ("-m1", "small", "-m2", "large", "--third", "middle")
    rows = ask(toy[0], *args, "-o", tmp_path / "rules.csv").json["rows"]
    files = list((toy[0] / "results" / "rules").rglob("*.parquet"))
    assert len(pl.read_csv(tmp_path / "rules.csv")) == len(rows) == 57
    tables = [pl.read_parquet(file, hive_partitioning=False) for file in files]
    [table] = [table for table in tables if len(table) == len(rows)]
    assert table["gain"].to_list() == [row["gain"] for row in rows]
    assert set(table.columns) == {*rows[0], "mode"} - {"split"}  # which the folder says


def test_the_table_says_what_it_shows(toy):
    result = cascade("rules", "-d", "toy", "--cache", toy[0], "--all-pairs", "--rules", "maxp")
    head, first, *_ = result.out.splitlines()
    assert head.split()[:3] == ["cascade", "rule", "final"]
    assert "+0.00 (+0.00 to +0.00)" in first
    assert "λ fitted on val (80 images, other-split), reported on test (80 images)" in result.out
    assert "each the best of up to 6 cascades by its accuracy on val" in result.out


def _row(rule, final, low):
    names = {"model_1": "small,middle", "model_2": "large", "objective": "best"}
    return names | {"rule": rule, "final": final, "gain_low": low}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "nothing is compared"),
        ([_row("margin", "b", 0.0)], "of 1 row compared with plain maxp none is surely more"),
        (
            [_row("margin", "b", -0.01), _row("learned", "ensemble", 0.01)],
            "of 2 rows compared with plain maxp 1 is surely more accurate, where about one in "
            "forty would be by chance: learned with ensemble, best, of small + middle → large",
        ),
    ],
)
def test_a_sentence_tells_what_surely_beats_plain_maxp(rows, said):
    assert said in better([_row("maxp", "b", 0.0), *rows])


def test_the_sentence_counts_the_rows_of_the_table(toy):
    asked = ("rules", "-d", "toy", "--cache", toy[0], "--all-pairs")
    rows = cascade(*asked, "--json").json["rows"]
    others = [row for row in rows if (row["rule"], row["final"]) != ("maxp", "b")]
    sure = sum(row["gain_low"] > 0 for row in others)
    told = " ".join(cascade(*asked).out.split()).partition(" of 53 rows compared with ")[2]
    assert len(others) == 53
    assert told.startswith(f"plain maxp {sure or 'none'} ")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--third", "middle"), "--third stands behind two models: give -m1 A and -m2 B"),
        (("-m1", "small", "-m2", "large", "--third", "large"), "names a model twice"),
        (("--committee", "small,large"), "--committee needs three models"),
        (("--rules", "maxq"), "unknown rule 'maxq': did you mean 'maxp'?"),
        (("--finals", "both"), "unknown final 'both'"),
        (("--objective", "worst"), "unknown objective 'worst'"),
        (("-m1", "small", "-m2", "nobody"), "no logits of model nobody"),
        (("--models", "small"), "one model only"),
    ],
)
def test_refusals(toy, args, told):
    assert told in ask(toy[0], *args).refusal
