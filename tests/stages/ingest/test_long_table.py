"""A long table: every model and split of it as from tables of their own, or none of them."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from running import cascade
from scipy.special import softmax

from cache import Store
from stages import scores

N, K = {"val": 70, "test": 90}, 4
RNG = np.random.default_rng(6)
LABELS = {split: RNG.integers(0, K, n) for split, n in N.items()}
P = {
    (split, model): softmax(RNG.standard_normal((N[split], K)) + sure * np.eye(K)[labels], axis=1)
    for split, labels in LABELS.items()
    for model, sure in (("small.v1", 1.0), ("large", 2.5))
}


def part(split, model, kind, ids):
    p = P[split, model]
    classes = np.argsort(-p, axis=1)[:, :2]
    best = np.take_along_axis(p, classes, axis=1)
    columns = {
        "logits": {str(k): np.log(p[:, k]) for k in range(K)},
        "probabilities": {str(k): p[:, k] for k in range(K)},
        "top_k": {f"class_{k + 1}": classes[:, k] for k in range(2)}
        | {f"p_{k + 1}": best[:, k] for k in range(2)},
    }
    keys = {"Model": [model] * len(p), "split": [split] * len(p), "sample_id": ids(split, len(p))}
    macs = {"macs": [10 * len(model)] * len(p)}
    return pl.DataFrame(keys | columns[kind] | {"label": LABELS[split]} | macs)


def counted(split, n):
    return np.arange(n)


IDS = {
    "counted": counted,
    "of one set": lambda split, n: np.arange(n) + (1000 if split == "test" else 0),
    "words": lambda split, n: [f"{split}/{i:04d}.png" for i in range(n)],
}


def table(kind="top_k", ids=counted):
    whole = pl.concat(part(*each, kind, ids) for each in P)
    return whole.sample(fraction=1, shuffle=True, seed=2)


def saved(frame, root, suffix="parquet"):
    file = root / f"long.{suffix}"
    frame.write_parquet(file) if suffix == "parquet" else frame.write_csv(file)
    return file


def bring(file, *more):
    return cascade("import", file, "-d", "mine", "--cache", file.parent / "c", *more)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("kind", ["logits", "probabilities", "top_k"])
def test_one_command_brings_in_all_models_and_splits(kind, suffix, tmp_path):
    done = bring(saved(table(kind), tmp_path, suffix), "--json")
    assert f"taken for {kind.replace('_', '-')}" in done.err
    assert {(row["split"], row["model"], row["macs"]) for row in done.json["models"]} == {
        (split, model, 10 * len(model)) for split, model in P
    }
    holds(tmp_path, "exactly" if kind != "logits" else "nearly")


@pytest.mark.parametrize("ids", IDS)
def test_images_are_in_the_order_of_their_ids(ids, tmp_path):
    assert bring(saved(table(ids=IDS[ids]), tmp_path)).status == 0
    holds(tmp_path)


def holds(root, how="exactly"):
    for split, labels in LABELS.items():
        found = scores.load(Store(root / "c"), "mine", split)
        np.testing.assert_array_equal(found.labels, labels)
        for model, maxp, answers in zip(
            found.models, found.scores["maxp"], found.predictions, strict=True
        ):
            p = P[split, model]
            np.testing.assert_array_equal(answers, p.argmax(axis=1))
            np.testing.assert_allclose(maxp, p.max(axis=1), rtol=0 if how == "exactly" else 1e-5)


@pytest.mark.parametrize("ids", IDS)
def test_a_wide_table_may_tell_its_splits(ids, tmp_path):
    rows, keys = table(ids=IDS[ids]).drop("macs"), ("split", "sample_id", "label")
    wide = rows.select(keys).unique()
    for model in ("small.v1", "large"):
        own = rows.filter(Model=model).drop("Model")
        own = own.rename({name: f"{model}.{name}" for name in own.columns if name not in keys})
        wide = wide.join(own, on=keys)
    assert bring(saved(wide, tmp_path)).status == 0
    holds(tmp_path)


def test_one_split_or_model_is_asked_for_by_name(tmp_path):
    file = saved(table(), tmp_path)
    done = bring(file, "--split", "val", "--model", "large", "--json").json
    assert [(row["split"], row["model"]) for row in done["models"]] == [("val", "large")]
    assert "has no rows of split train" in bring(file, "--split", "train").refusal
    assert "unknown model 'larg': did you mean 'large'" in bring(file, "--model", "larg").refusal
    file = saved(table().filter(pl.col("split") == "val").drop("split"), tmp_path)
    assert "give --split" in bring(file).refusal
    assert bring(file, "--split", "val").status == 0


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_column_that_a_model_has_not_is_none_of_its(suffix, tmp_path):
    frame = table("top_k").with_columns(
        class_3=pl.when(Model="large").then(9), p_3=pl.when(Model="large").then(0.0)
    )
    assert bring(saved(frame, tmp_path, suffix)).status == 0
    holds(tmp_path)


def where(frame, model, split, sample):
    return frame.with_row_index().filter(Model=model, split=split, sample_id=sample)["index"].item()


HERE = {"model": "large", "split": "test", "sample": 7}


def twice(frame):
    return pl.concat([frame, frame[where(frame, **HERE)]])


def lacking(frame):
    row = where(frame, **HERE)
    return pl.concat([frame[:row], frame[row + 1 :]])


def contradicting(frame):
    row = where(frame, **HERE)
    frame[row, "label"] = (frame[row, "label"] + 1) % K
    return frame


BAD = {
    "twice": (twice, "sample 7 of split test and model large is there twice"),
    "lacking": (lacking, "sample 7 of split test and model small.v1 is there and of large not"),
    "labels": (contradicting, "sample 7 of split test and model "),
    "no id": (
        lambda frame: frame.with_columns(
            sample_id=pl.when(pl.col("sample_id") != 7).then("sample_id")
        ),
        "the cell of column 'sample_id' is empty",
    ),
    "sum": (
        lambda frame: frame.with_columns(
            p_1=pl.when(sample_id=7).then(1.0).otherwise("p_1"),
            p_2=pl.when(sample_id=7).then(0.7).otherwise("p_2"),
        ),
        "sums to more than 1",
    ),
    "unsorted": (
        lambda frame: frame.rename({"p_1": "p_2", "p_2": "p_1"}),
        "has probabilities that do not descend",
    ),
    "k of 1": (lambda frame: frame.drop("class_2", "p_2"), "with k of 2 or more"),
    "per cent": (
        lambda frame: frame.with_columns(pl.col("p_1", "p_2") * 100),
        "no probability from 0 to 1",
    ),
    "columns twice": (
        lambda frame: frame.with_columns(model=pl.lit("x")),
        "column 'model' is there twice",
    ),
}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_one_line_and_nothing_is_kept(name, suffix, tmp_path):
    spoil, said = BAD[name]
    told = bring(saved(spoil(table()), tmp_path, suffix)).refusal
    assert said in told
    assert not (tmp_path / "c").exists()


def test_a_label_that_contradicts_is_told_with_its_line_and_both_models(tmp_path):
    frame = contradicting(table())
    told = bring(saved(frame, tmp_path, "csv")).refusal
    said = re.search(r"line (\d+): .* is labelled (\d), and of (\S+) (\d): an image", told)
    line, label, other, its = said.groups()
    assert (HERE["sample"], int(label)) == frame.select("sample_id", "label").row(int(line) - 2)
    [there] = frame.filter(Model=other, split="test", sample_id=HERE["sample"])["label"]
    assert int(its) == there != int(label)
