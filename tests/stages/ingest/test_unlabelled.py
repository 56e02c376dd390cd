"""Outputs without labels: as those with labels, but for what labels tell."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from running import cascade
from scipy.special import softmax

from cache import Partition, Store, load as cache_load, read_table
from cache.upkeep import verify
from stages.scores import load, load_unlabelled, models_of, named_classes

N, K = 80, 4
RNG = np.random.default_rng(11)
LABELS = RNG.integers(0, K, N)
LOGITS = {
    name: RNG.standard_normal((N, K)) + sure * np.eye(K)[LABELS]
    for name, sure in (("large", 2.0), ("small", 1.0))
}
MODELS = tuple(LOGITS)


def wide(kind):
    out = {}
    for model, logits in LOGITS.items():
        p = softmax(logits, axis=1)
        order = np.argsort(-p, axis=1, kind="stable")
        if kind == "logits":
            out |= {f"{model}.{k}": logits[:, k] for k in range(K)}
        if kind == "probabilities":
            out |= {f"{model}.{k}": p[:, k] for k in range(K)}
        if kind == "top-k":
            out |= {f"{model}.class_{k + 1}": order[:, k] for k in range(2)}
            best = np.take_along_axis(p, order, axis=1)
            out |= {f"{model}.p_{k + 1}": best[:, k] for k in range(2)}
        if kind == "answers":
            out |= {f"{model}.prediction": order[:, 0], f"{model}.sure": p.max(axis=1)}
    return pl.DataFrame(out)


def bring(root, *more):
    return cascade("import", "-d", "mine", "--cache", root / "c", *more)


@pytest.mark.parametrize("kind", ["logits", "probabilities", "top-k", "answers"])
def test_a_table_without_labels_has_the_scores_of_one_with_labels(tmp_path, kind):
    wide(kind).write_csv(tmp_path / "new.csv")
    wide(kind).with_columns(label=LABELS).write_csv(tmp_path / "test.csv")
    rows = bring(tmp_path, "--split", "new", "--unlabelled", tmp_path / "new.csv", "--json")
    assert [row["accuracy"] for row in rows.json["models"]] == [None, None]
    assert bring(tmp_path, "--split", "test", tmp_path / "test.csv").status == 0
    store = Store(tmp_path / "c")
    new = load_unlabelled(store, "mine", "new", "large")
    test = load(store, "mine", "test")
    assert new.models == test.models == MODELS
    assert new.predictions.tolist() == test.predictions.tolist()
    assert new.labels.tolist() == test.predictions[0].tolist()
    assert {name: values.tolist() for name, values in new.scores.items()} == {
        name: values.tolist() for name, values in test.scores.items()
    }
    assert verify(store).damage == []


def test_without_the_flag_the_refusal_names_it(tmp_path):
    wide("logits").write_csv(tmp_path / "new.csv")
    assert "--unlabelled" in bring(tmp_path, "--split", "new", tmp_path / "new.csv").refusal
    assert not (tmp_path / "c").exists() or not models_of(Store(tmp_path / "c"), "mine", "new")


@pytest.mark.parametrize("how", ["a column", "another name", "a file of the folder", "correct"])
def test_labels_that_are_there_are_left_out_with_a_line(tmp_path, how):
    file, more = tmp_path / "new.csv", ()
    if how == "a column":
        wide("logits").with_columns(label=LABELS).write_csv(file)
    if how == "another name":
        wide("logits").with_columns(truth=LABELS).write_csv(file)
        more = ("--label-column", "truth")
    if how == "a file of the folder":
        file = tmp_path / "folder"
        file.mkdir()
        np.save(file / "labels.npy", LABELS)
        for model, logits in LOGITS.items():
            np.save(file / f"{model}.npy", logits)
    if how == "correct":
        right = {f"{m}.correct": z.argmax(axis=1) == LABELS for m, z in LOGITS.items()}
        wide("answers").with_columns(**right).write_csv(file)
    said = bring(tmp_path, "--split", "new", "--unlabelled", file, *more)
    assert said.status == 0, said.err
    if how != "correct":  # which is no column of labels
        assert said.err.count("are left out (--unlabelled)") == 1
    store = Store(tmp_path / "c")
    samples = cache_load(store, Partition.of("samples", dataset="mine", split="new"))
    assert read_table(store, samples).column("label").to_pylist() == [None] * N
    assert load_unlabelled(store, "mine", "new", "large").models == MODELS


def test_more_models_come_to_a_split_without_labels(tmp_path):
    for model, logits in LOGITS.items():
        np.save(tmp_path / f"{model}.npy", logits)
    np.save(tmp_path / "labels.npy", LABELS)

    def one(model, *more, split="new"):
        named = ("--split", split, "--model", model, "--logits", tmp_path / f"{model}.npy")
        return bring(tmp_path, *named, *more)

    assert one("large", "--unlabelled").status == 0
    assert one("small").status == 0  # as the cache has the split
    assert load_unlabelled(Store(tmp_path / "c"), "mine", "new", "large").models == MODELS
    labels = ("--labels", tmp_path / "labels.npy")
    assert "without labels: give --unlabelled" in one("small", *labels).refusal
    assert "leave out one" in one("small", *labels, "--unlabelled").refusal
    assert one("large", *labels, split="test").status == 0
    assert (
        "with labels: leave out --unlabelled" in one("small", "--unlabelled", split="test").refusal
    )


def test_a_log_has_labels(tmp_path):
    said = bring(tmp_path, "--split", "new", "--unlabelled", "--log", tmp_path / "log")
    assert "leave out --unlabelled" in said.refusal


def test_answers_in_words_tell_the_classes(tmp_path):
    words = np.array(["ant", "bee", "cat", "dog"])
    table = {}
    for model, logits in LOGITS.items():
        sure = softmax(logits, axis=1).max(axis=1)
        table |= {f"{model}.prediction": words[logits.argmax(axis=1)], f"{model}.sure": sure}
    pl.DataFrame(table).write_csv(tmp_path / "new.csv")
    assert bring(tmp_path, "--split", "new", "--unlabelled", tmp_path / "new.csv").status == 0
    found = load_unlabelled(Store(tmp_path / "c"), "mine", "new", "small")
    assert named_classes(Store(tmp_path / "c"), found) == words.tolist()
    for m, model in enumerate(MODELS):
        assert found.predictions[m].tolist() == LOGITS[model].argmax(axis=1).tolist()


def test_a_long_table_and_an_npz_need_no_labels(tmp_path):
    long = pl.concat(
        pl.DataFrame({"model": [model] * N, "sample_id": np.arange(N)})
        .with_columns(**{f"{k}": logits[:, k] for k in range(K)})
        .sample(fraction=1, shuffle=True, seed=2)
        for model, logits in LOGITS.items()
    )
    long.write_parquet(tmp_path / "long.parquet")
    np.savez(tmp_path / "all.npz", **LOGITS)
    for split, file in (("new", "long.parquet"), ("newer", "all.npz")):
        assert bring(tmp_path, "--split", split, "--unlabelled", tmp_path / file).status == 0
        found = load_unlabelled(Store(tmp_path / "c"), "mine", split, "small")
        assert found.models == MODELS
        for m, model in enumerate(MODELS):
            assert found.predictions[m].tolist() == LOGITS[model].argmax(axis=1).tolist()
