"""`cascade margin` on digits extracted twice, in fp32 and in bf16, against one image at a time."""

from __future__ import annotations

import shutil

import naive
import numpy as np
import polars as pl
import pytest
from running import RUNTIME, cascade

from cache import Store
from stages.scores import load

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

BF16 = "torch-bf16-cpu"
PAIR = ("digits_wide", "digits_residual")
BOTH = ("--runtimes", f"{RUNTIME},{BF16}")


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    root = tmp_path_factory.mktemp("margin") / "cache"
    for precision in ("fp32", "bf16"):
        args = ("--precision", precision, "--device", "cpu", "--models", ",".join(PAIR))
        assert cascade("extract", "--cache", root, *args).status == 0
    return root


def ask(root, *args, models=PAIR):
    given = ("-m1", models[0], "-m2", models[1])
    return cascade("margin", *given, "--cache", root, *args, "--json")


def images(root, runtime, name="maxp"):
    scores = load(Store(root), "digits", "test", PAIR, runtime=runtime)
    return naive.images_of(scores, 0, 1, name)


@pytest.mark.parametrize("name", ["maxp", "entropy"])
def test_what_two_runtimes_decide_differently(twice, name):
    found = ask(twice, "-s", name, "-p", *BOTH).json
    assert (found["runtime"], found["runtime_2"]) == (RUNTIME, BF16)
    assert (found["fit_split"], found["fit_method"]) == ("val", "other-split")
    here, there = (
        [naive.decide(name, image, found["threshold"], True) for image in images(twice, r, name)]
        for r in (RUNTIME, BF16)
    )
    changed = found["changed"]
    pairs = list(zip(here, there, strict=True))
    assert changed["decisions_changed"] == sum(a[0] != b[0] for a, b in pairs)
    differ = [i for i, (a, b) in enumerate(pairs) if a[2] != b[2]]
    assert changed["samples_changed"] == differ
    assert changed["answers_changed"] == len(differ)
    labels = [image.label for image in images(twice, RUNTIME, name)]
    right = [sum(x[2] == y for x, y in zip(each, labels, strict=True)) for each in (here, there)]
    assert changed["accuracy_change"] == pytest.approx((right[1] - right[0]) / len(labels))
    assert "accuracy" not in changed  # which images that had no part in λ tell
    first = next(row for row in found["rows"] if row["comparison"] == "threshold")
    assert first["flips"] == changed["decisions_changed"]
    sent = [i for i, (a, _) in enumerate(pairs) if a[0]]
    second = next(row for row in found["rows"] if row["comparison"] == "postcheck")
    surer = [
        [naive.is_surer(name, one.s_b, one.s_a) for one in images(twice, r, name)]
        for r in (RUNTIME, BF16)
    ]
    assert (second["n"], second["flips"]) == (
        len(sent),
        sum(surer[0][i] != surer[1][i] for i in sent),
    )


def test_noise_is_measured_and_stated(twice):
    rows = ask(twice, "-p", "-t", "0.9", *BOTH, "--noise", "1e-3,0.05").json["rows"]
    assert [row["noise_is"] for row in rows] == ["measured", "stated", "stated"] * 2
    assert [row["noise"] for row in rows[1:3]] == [1e-3, 0.05]
    here, there = (images(twice, r) for r in (RUNTIME, BF16))
    moved = [abs(a.s_a - b.s_a) for a, b in zip(here, there, strict=True)]
    assert 0 < rows[0]["noise"] <= rows[0]["moved_p100"] == max(moved)
    assert rows[0]["moved_p50"] == np.median(moved)
    for row in rows:
        apart = [abs(a.s_a - 0.9) for a in here]
        if row["comparison"] == "postcheck":
            apart = [abs(a.s_a - a.s_b) for a in here if a.s_a < 0.9]
        assert row["near"] == sum(d <= row["noise"] for d in apart)
        assert row["near_share"] == row["near"] / len(apart)
        assert row["gap"] == min(apart)
    assert rows[2]["near"] > rows[1]["near"]


def test_one_runtime_states_its_noise(twice):
    result = ask(twice, "--runtimes", RUNTIME)
    assert [row["noise"] for row in result.json["rows"]] == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2]
    assert {row["flips"] for row in result.json["rows"]} == {None}
    assert result.json["changed"] is None
    shown = cascade("margin", "-m1", PAIR[0], "-m2", PAIR[1], "--cache", twice, *BOTH)
    assert f"in {BF16}: " in shown.out
    shown = cascade(
        *("margin", "-m1", PAIR[0], "-m2", PAIR[1]), "--cache", twice, "--runtimes", BF16
    )
    assert "one runtime: the noise is stated, not measured" in shown.out


@pytest.mark.parametrize("threshold", ["always", "never"])
def test_a_lambda_that_compares_nothing_has_no_margin(twice, threshold):
    [row, *_] = ask(twice, "-t", threshold, *BOTH).json["rows"]
    assert (row["gap"], row["near"], row["flips"]) == (None, 0, 0)


def test_the_result_is_written(twice, tmp_path):
    rows = ask(twice, "-p", *BOTH, "-o", tmp_path / "margin.csv").json["rows"]
    assert pl.read_csv(tmp_path / "margin.csv")["near"].to_list() == [row["near"] for row in rows]
    both = ask(twice, "--runtimes", RUNTIME, "-t", "never")
    assert both.status == 0
    table = pl.read_parquet(twice / "results" / "margin" / "**" / "*.parquet")
    assert {*rows[0], "mode"} <= set(table.columns)


def test_refusals(twice, tmp_path):
    assert "--runtimes torch-bf16-cpu,torch-fp32-cpu" in ask(twice).refusal
    assert "two different ones" in ask(twice, "--runtimes", f"{BF16},{BF16}").refusal
    assert "in runtime nowhere" in ask(twice, "--runtimes", f"{BF16},nowhere").refusal
    assert "the oracle has no λ" in ask(twice, "-s", "oracle").refusal
    assert "give numbers" in ask(twice, *BOTH, "--noise", "small").refusal
    assert "a noise is a distance" in ask(twice, *BOTH, "--noise", "nan").refusal
    assert "different models" in ask(twice, models=(PAIR[0], PAIR[0])).refusal


def test_other_weights_are_no_other_runtime(twice, tmp_path):
    """bf16 logits of another model, put where those of the first belong."""
    root = tmp_path / "cache"
    shutil.copytree(twice, root)
    other = ("--model", f"digits_wide=digits_wide:{tmp_path / 'w.pt'}")
    import torch

    from stages.models import build

    torch.save(build("digits_wide", dataset="digits").state_dict(), tmp_path / "w.pt")
    args = ("--precision", "bf16", "--device", "cpu", "--split", "test", "--overwrite")
    assert cascade("extract", "--cache", root, *args, *other).status == 0
    assert "a margin is about one model" in ask(root, *BOTH).refusal
