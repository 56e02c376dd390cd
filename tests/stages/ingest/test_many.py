"""Many models in one table, one npz or one folder: as each alone, and all of them or none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from running import cascade
from scipy.special import softmax

from cache import Store
from stages import scores

N, K = 150, 6
RNG = np.random.default_rng(5)
LABELS = {split: RNG.integers(0, K, N) for split in ("val", "test")}
P = {
    split: {
        name: softmax(RNG.standard_normal((N, K)) + sure * np.eye(K)[labels], axis=1)
        for name, sure in (("small.v1", 1.0), ("mid", 1.5), ("large", 2.0))
    }
    for split, labels in LABELS.items()
}
MODELS = ("large", "mid", "small.v1")


def top(p):
    classes = np.argsort(-p, axis=1, kind="stable")[:, :3]
    return classes, np.take_along_axis(p, classes, axis=1)


def wide(split, kind):
    """One table of all models, with the labels and the order of its rows."""
    out = {"sample_id": np.arange(N), "label": LABELS[split]}
    for model, p in P[split].items():
        if kind == "probabilities":
            out |= {f"{model}.{k}": p[:, k] for k in range(K)}
            continue
        classes, best = top(p)
        for k in range(3):
            out |= {f"{model}.class_{k + 1}": classes[:, k], f"{model}.p_{k + 1}": best[:, k]}
    return pl.DataFrame(out).sample(fraction=1, shuffle=True, seed=1)


def bring(root, kind, file, *more):
    return cascade("import", "-d", "mine", f"--{kind}", file, "--cache", root / "c", *more)


def held(root, split):
    found = scores.load(Store(root / "c"), "mine", split)
    assert found.models == MODELS
    np.testing.assert_array_equal(found.labels, LABELS[split])
    for m, model in enumerate(found.models):
        np.testing.assert_array_equal(found.scores["maxp"][m], P[split][model].max(axis=1))
        np.testing.assert_array_equal(found.predictions[m], P[split][model].argmax(axis=1))


@pytest.mark.parametrize("kind", ["top-k", "probabilities"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_wide_table_brings_in_all_its_models(kind, suffix, tmp_path):
    for split in LABELS:
        table = wide(split, kind)
        file = tmp_path / f"{split}.{suffix}"
        table.write_parquet(file) if suffix == "parquet" else table.write_csv(file)
        done = bring(tmp_path, kind, file, "--split", split, "--json").json
        assert [row["model"] for row in done["models"]] == list(P[split])
        held(tmp_path, split)
    assert cascade("cache", "verify", "--cache", tmp_path / "c").status == 0


def test_an_npz_holds_an_array_for_each(tmp_path):
    np.savez(tmp_path / "all.npz", label=LABELS["test"], **P["test"])
    file = tmp_path / "all.npz"
    assert bring(tmp_path, "probabilities", file, "--split", "test").status == 0
    held(tmp_path, "test")


def folder(root):
    for split, outputs in P.items():
        (root / "all" / split).mkdir(parents=True)
        np.save(root / "all" / split / "labels.npy", LABELS[split])
        for model, p in outputs.items():
            np.save(root / "all" / split / f"{model}.npy", p)
    return root / "all"


def test_a_folder_brings_in_all_models_and_splits(tmp_path):
    done = bring(tmp_path, "probabilities", folder(tmp_path), "--json").json
    assert len(done["models"]) == 2 * len(MODELS)
    for split in LABELS:
        held(tmp_path, split)


def test_one_split_of_a_folder_is_asked_for_by_name(tmp_path):
    assert bring(tmp_path, "probabilities", folder(tmp_path), "--split", "val").status == 0
    held(tmp_path, "val")
    assert scores.splits_of(Store(tmp_path / "c"), "mine") == ["val"]


@pytest.mark.parametrize("more", [(), ("--model", "one", "--split", "test")])
def test_a_dry_run_tells_and_writes_nothing(more, tmp_path):
    file = folder(tmp_path)
    if more:
        more += ("--labels", file / "test/labels.npy")
        file = file / "test/mid.npy"
    told = bring(tmp_path, "probabilities", file, "--dry-run", "--json", *more).json
    assert len(told["models"]) == (1 if more else 2 * len(MODELS))
    assert not (tmp_path / "c").exists()


def damaged(root):
    """The last model's rows sum to 0.7."""
    where = folder(root)
    p = P["val"]["small.v1"].copy()
    p[9] *= 0.7
    np.save(where / "val/small.v1.npy", p)
    return where, "row 9 sums to 0.7"


def shorter(root):
    where = folder(root)
    np.save(where / "test/mid.npy", P["test"]["mid"][:-1])
    return where, f"{N} labels but there are {N - 1} rows"


def other_classes(root):
    where = folder(root)
    np.save(where / "test/mid.npy", softmax(np.zeros((N, K + 1)), axis=1))
    return where, f"large has {K} classes, mid {K + 1}"


def other_labels(root):
    (root / "all/test").mkdir(parents=True)
    for model, turn in (("large", 0), ("mid", 1)):
        table = {f"c{k}": P["test"][model][:, k] for k in range(K)}
        labels = np.roll(LABELS["test"], turn)
        pl.DataFrame(table | {"label": labels}).write_csv(root / "all/test" / f"{model}.csv")
    first, second = LABELS["test"][0], LABELS["test"][-1]
    return root / "all", f"row 0 of test has label {first} by large and {second} by mid: put the"


@pytest.mark.parametrize("spoil", [damaged, shorter, other_classes, other_labels])
def test_one_that_is_bad_stops_all(spoil, tmp_path):
    where, said = spoil(tmp_path)
    assert said in bring(tmp_path, "probabilities", where).refusal
    assert not list((tmp_path / "c").rglob("*.parquet"))


def test_what_is_no_table_of_several_says_so(tmp_path):
    np.save(tmp_path / "x.npy", P["test"]["mid"])
    told = bring(tmp_path, "probabilities", tmp_path / "x.npy", "--split", "test").refusal
    assert "holds one model: name it with --model" in told
    assert "give --split" in bring(tmp_path, "probabilities", tmp_path / "x.npy").refusal
    (tmp_path / "none").mkdir()
    told = bring(tmp_path, "probabilities", tmp_path / "none", "--split", "test").refusal
    assert "holds no models: put MODEL.npy" in told
    doubled = wide("test", "top-k").rename({"mid.p_3": "mid.p_4"})
    doubled.write_parquet(tmp_path / "x.parquet")
    told = bring(tmp_path, "top-k", tmp_path / "x.parquet", "--split", "test").refusal
    assert "are not numbered 1, 2 …" in told
