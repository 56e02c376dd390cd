"""DuckDB, Polars, pandas, pyarrow and Hugging Face `datasets` read a cache, and a published copy.

Each computes every model's accuracy in its own way: from the scores, and from logits and samples.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from helpers import make_cache
from hugging_face import hugging_face
from running import cascade

from stages import scores

N, MODELS = 70, ("large", "other", "small")


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    """Name → folder of a cache with scores and logits of `test` and `val`, and copies of it."""
    desk = tmp_path_factory.mktemp("desk")
    store = make_cache(desk / "whole", models=MODELS, n=N)
    for split in ("test", "val"):
        scores.load(store, "toy", split)
    for tier in ("scores", "full"):
        done = cascade(
            *("export", "--publish", desk / tier, "-d", "toy", "--tier", tier),
            *("--cache", store.root),
        )
        assert done.status == 0, done.err
    return {name: desk / name for name in ("whole", "scores", "full")}


@pytest.fixture(scope="module")
def expected(caches):
    found = cascade("score", "-d", "toy", "--split", "test", "--json", "--cache", caches["whole"])
    return {row["model"]: row["accuracy"] for row in found.json["models"]}


def folder_of(root, table, model):
    keys = f"variant=identity/runtime=torch-fp32-cpu/model={model}"
    return root / table / "dataset=toy" / "split=test" / keys


def by_duckdb(root):
    return duckdb.sql(
        f"""SELECT model, avg(correct::INT) FROM
        read_parquet('{root}/scores/**/*.parquet', hive_partitioning = true)
        WHERE split = 'test' GROUP BY model"""
    ).fetchall()


def by_polars(root):
    found = pl.scan_parquet(root / "scores", hive_partitioning=True).filter(split="test")
    return found.group_by("model").agg(pl.col("correct").mean()).collect().rows()


def by_pandas(root):
    found = pd.read_parquet(root / "scores", filters=[("split", "==", "test")])
    return found.groupby("model", observed=True).correct.mean().items()


def by_pyarrow(root):
    found = ds.dataset(root / "scores", partitioning="hive").to_table(
        columns=["model", "correct"], filter=pc.field("split") == "test"
    )
    return [
        (model, pc.mean(found.filter(pc.field("model") == model)["correct"]).as_py())
        for model in found["model"].unique().to_pylist()
    ]


def by_datasets(root):
    """Given the files' paths: it knows no Hive keys."""
    for model in MODELS:
        files = list(map(str, folder_of(root, "scores", model).glob("*.parquet")))
        yield model, float(np.mean(hugging_face("parquet", data_files=files)["correct"]))


READERS = (by_duckdb, by_polars, by_pandas, by_pyarrow, by_datasets)


@pytest.mark.parametrize("name", ["whole", "scores", "full"])
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_scores(caches, expected, reader, name):
    assert dict(reader(caches[name])) == pytest.approx(expected)
    assert len(set(expected.values())) == len(MODELS)


def logits_by_duckdb(root):
    return duckdb.sql(
        f"""SELECT model, avg((list_position(logits, list_max(logits)) - 1 = label)::INT)
        FROM read_parquet('{root}/logits/**/*.parquet', hive_partitioning = true) AS logits
        JOIN read_parquet('{root}/samples/**/*.parquet', hive_partitioning = true) AS samples
        USING (dataset, split, sample_id) WHERE split = 'test' GROUP BY model"""
    ).fetchall()


def logits_by_polars(root):
    tables = (
        pl.scan_parquet(root / name, hive_partitioning=True) for name in ("logits", "samples")
    )
    joined = next(tables).join(next(tables), on=("dataset", "split", "sample_id"))
    right = pl.col("logits").arr.arg_max() == pl.col("label")
    rows = joined.filter(split="test").group_by("model").agg(right.mean()).collect()
    return rows.rows()


def logits_by_pandas(root):
    for model in MODELS:
        found = pd.read_parquet(folder_of(root, "logits", model))
        samples = pd.read_parquet(root / "samples" / "dataset=toy" / "split=test")
        joined = found.merge(samples, on="sample_id")
        yield model, (np.stack(joined.logits).argmax(axis=1) == joined.label).mean()


def logits_by_datasets(root):
    samples = list(map(str, (root / "samples" / "dataset=toy" / "split=test").glob("*.parquet")))
    labels = hugging_face("parquet", data_files=samples)
    known = dict(zip(labels["sample_id"], labels["label"], strict=True))
    for model in MODELS:
        files = list(map(str, folder_of(root, "logits", model).glob("*.parquet")))
        found = hugging_face("parquet", data_files=files)
        answers = np.stack([row["logits"].argmax() for row in found])
        yield (
            model,
            np.mean([known[i] == a for i, a in zip(found["sample_id"], answers, strict=True)]),
        )


@pytest.mark.parametrize("name", ["whole", "full"])
@pytest.mark.parametrize(
    "reader",
    [logits_by_duckdb, logits_by_polars, logits_by_pandas, logits_by_datasets],
    ids=lambda reader: reader.__name__,
)
def test_logits(caches, expected, reader, name):
    assert dict(reader(caches[name])) == pytest.approx(expected)


def test_a_published_copy_is_a_data_set_with_configurations(caches, expected):
    """Its data card names them."""
    found = {
        model: float(
            np.mean(hugging_face(str(caches["scores"]), f"{model}-test-torch-fp32-cpu")["correct"])
        )
        for model in MODELS
    }
    assert found == pytest.approx(expected)


def test_wide_tables(caches, expected, tmp_path):
    for suffix, readers in {
        "csv": (pd.read_csv, pl.read_csv),
        "parquet": (pd.read_parquet, pl.read_parquet),
    }.items():
        path = tmp_path / f"wide.{suffix}"
        done = cascade("export", "-o", path, "-d", "toy", "--cache", caches["scores"])
        assert done.status == 0, done.err
        for reader in readers:
            table = reader(path)
            found = {model: table[f"{model}_correct"].mean() for model in MODELS}
            assert found == pytest.approx(expected)


ASKED = (
    *(("threshold",), ("threshold", "-m1", "small", "-m2", "large", "-n", "9"), ("search",)),
    *(("search", "--stages", "3"), ("heterogeneity", "--predict"), ("calibrate",)),
    *(("simulate", "-m1", "small", "-m2", "large", "-t", way) for way in ("0.5", "never")),
    *(("simulate", "-m1", "small", "-m2", "large", "-s", "oracle"),),
    *(("rules", "-m1", "small", "-m2", "large", "--third", "other"),),
    *(("simulate", "-m1", "small", "-m2", "large", "-p", *more) for more in ((), ("-t", "always"))),
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A cache that every analysing command has left its results in, on both splits."""
    store = make_cache(tmp_path_factory.mktemp("asked"), models=MODELS, n=N)
    for command in ASKED:
        for split in ("test", "val"):
            where = ("--dataset", "toy", "--split", split, "--cache", store.root)
            done = cascade(*command, *where)
            assert done.status == 0, done.err
    return store


def test_all_results_of_a_stage_open_together(asked):
    from cache import find

    folders = sorted(Path(asked.root, "results").iterdir())
    assert len(folders) > 6
    for folder in folders:
        rows = sum(manifest.rows for manifest in find(asked, "results", folder.name))
        files = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
        opened = {
            "pandas": len(pd.read_parquet(folder)),
            "polars": pl.scan_parquet(folder, hive_partitioning=True).collect().height,
            "pyarrow": ds.dataset(folder, partitioning="hive").to_table().num_rows,
            "duckdb": len(duckdb.sql(f"SELECT * FROM {files}").fetchall()),
        }
        assert opened == dict.fromkeys(opened, rows), folder.name
        assert set(pd.read_parquet(folder, columns=["split"]).split) == {"test", "val"}
