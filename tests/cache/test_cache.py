"""The cache's paths, manifests and readers: what is believed, what is refused, who can open it."""

from __future__ import annotations

import json
import math
import re
import shutil

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from helpers import (
    RUNTIME,
    logits_table,
    make_cache,
    tied_logits,
    write_logits,
    write_samples,
)
from hypothesis import given, strategies as st

from cache import (
    KEYS,
    InputError,
    Partition,
    Store,
    find,
    iter_logits,
    iter_parts,
    load,
    manifest_path,
    read_table,
    same_images,
)
from cache.schema import SCHEMA_VERSION
from stages.scores import load as load_scores

LABELS = np.arange(50) % 4
NAMES = ("timm/vit_tiny", "modèle β", "a=b&c", "100%", "a b", "x?*[y]", "a.b-c_d~e", "%2F", "猫")


def one_line(error):
    """The message of a pytest.raises(InputError), held to be one line."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) > 20
    return text


# Paths and names


@given(st.text(min_size=1, max_size=30))
def test_a_name_is_refused_or_survives_its_path(name):
    try:
        partition = Partition.of("samples", dataset=name, split="test")
    except InputError:
        return
    table, dataset, split = partition.path.split("/")
    assert (table, split) == ("samples", "split=test")
    assert re.fullmatch(r"dataset=[A-Za-z0-9._~%-]+", dataset)
    assert Partition.parse(partition.path) == partition


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("table", KEYS)
def test_names_that_need_encoding(table, name):
    partition = Partition.of(table, **dict.fromkeys(KEYS[table], name))
    assert partition.path.count("/") == len(KEYS[table])
    assert partition.keys == dict.fromkeys(KEYS[table], name)
    assert Partition.parse(partition.path) == partition


@pytest.mark.parametrize(
    "name",
    [
        *("", "..", "../x", "a/../b", "/etc", "a\\b", "a\nb", "a\0b", "\x1b[31m", "a\tb", "\udcff"),
        *("x" * 300, "猫" * 100),
    ],
)
def test_names_that_are_refused(name):
    with pytest.raises(InputError) as error:
        Partition.of("logits", **dict.fromkeys(KEYS["logits"], "ok") | {"model": name})
    assert one_line(error).isprintable()


def test_the_paths_of_the_contract():
    keys = {"dataset": "D", "split": "S", "variant": "V", "runtime": "R", "model": "M/1"}
    keys |= {"algorithm": "H", "stage": "threshold", "run": "abc"}

    def path(table):
        return Partition.of(table, **{key: keys[key] for key in KEYS[table]}).path

    assert path("samples") == "samples/dataset=D/split=S"
    rest = "dataset=D/split=S/variant=V/runtime=R/model=M%2F1"
    assert [path(t) for t in ("logits", "timings", "scores")] == [
        f"{t}/{rest}" for t in ("logits", "timings", "scores")
    ]
    assert path("costs") == "costs/dataset=D/runtime=R/model=M%2F1"
    assert path("hashes") == "hashes/dataset=D/split=S/variant=V/algorithm=H"
    assert path("results").startswith("results/threshold/")


def test_an_unknown_table_is_named():
    with pytest.raises(InputError, match=r"logit.*did you mean 'logits'"):
        Partition.of("logit", dataset="x")


# Rows come back as they went in


@pytest.mark.parametrize("rows", [1, 7, 50, 8192])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_logits_come_back_bit_for_bit(store, rows, classes):
    rng = np.random.default_rng(rows)
    logits = rng.standard_normal((50, classes)).astype(np.float32) * 30
    logits[0, 0], logits[1, 0], logits[2, 1] = -0.0, 1e-45, 3.4e38
    manifest = write_logits(store, "test", "small", LABELS, logits, part_rows=rows)
    assert (manifest.rows, len(manifest.parts)) == (50, math.ceil(50 / rows))
    found = load(store, manifest.partition)
    assert found == manifest
    ids, values = zip(*iter_logits(store, found), strict=True)
    assert np.concatenate(ids).tolist() == list(range(50))
    together = np.concatenate(values)
    assert together.dtype == np.float32
    assert together.tobytes() == logits.tobytes()


def test_the_layout_of_a_part(store):
    """DESIGN.md §5: one row group, zstd, byte-stream split, no dictionary, nothing nullable."""
    logits = np.random.default_rng(0).standard_normal((50, 10)).astype(np.float32)
    manifest = write_logits(store, "test", "small", LABELS, logits)
    path = f"{store.root}/{manifest.partition.path}/part-00000.parquet"
    file = pq.ParquetFile(path)
    field = file.schema_arrow.field("logits")
    assert file.schema_arrow.field("sample_id").type == pa.int64()
    assert field.type.list_size == 10
    assert field.type.value_type == pa.float32()
    assert not field.nullable
    assert not file.schema_arrow.field("sample_id").nullable
    assert file.metadata.num_row_groups == 1
    ids, values = (file.metadata.row_group(0).column(i) for i in range(2))
    assert values.compression == ids.compression == "ZSTD"
    assert "BYTE_STREAM_SPLIT" in values.encodings
    assert not any("DICTIONARY" in e for e in (*values.encodings, *ids.encodings))
    assert (ids.is_stats_set, values.is_stats_set) == (True, False)


def test_provenance_stands_in_the_manifest_and_in_every_file(store):
    about = {"trained_on": {"splits": ["train"]}, "device": "ünit"}
    logits = tied_logits(np.random.default_rng(0), 50)
    manifest = write_logits(
        store, "test", "small", LABELS, logits, part_rows=20, weights="abc", provenance=about
    )
    assert load(store, manifest.partition).provenance == about
    for part in manifest.parts:
        path = f"{store.root}/{manifest.partition.path}/{part.name}"
        inside = json.loads(pq.read_schema(path).metadata[b"cascade"])
        assert inside["provenance"] == about
        assert inside["identity"]["weights_sha256"] == "abc"


def test_a_data_folder_holds_parquet_and_nothing_else(small_cache):
    for table in ("samples", "logits"):
        files = small_cache.files(table)
        assert files
        assert all(file.endswith(".parquet") for file in files)
    manifests = [m for table in ("samples", "logits") for m in find(small_cache, table)]
    named = {f"{m.partition.path}/{part.name}" for m in manifests for part in m.parts}
    assert named == {f for table in ("samples", "logits") for f in small_cache.files(table)}


def test_find_by_leading_keys(small_cache):
    assert len(find(small_cache, "logits")) == 6
    assert len(find(small_cache, "logits", "toy", "test")) == 3
    assert find(small_cache, "logits", "to") == []
    assert [m.partition.values for m in find(small_cache, "samples")] == [
        ("toy", "test"),
        ("toy", "val"),
    ]


def test_an_empty_cache(store):
    assert find(store, "logits") == []
    assert load(store, Partition.of("samples", dataset="toy", split="test")) is None


# What is refused


@pytest.fixture
def partition(store):
    """A complete logits partition of three parts."""
    logits = tied_logits(np.random.default_rng(0), 50)
    write_samples(store, "test", LABELS)
    return write_logits(store, "test", "small", LABELS, logits, part_rows=20).partition


def _file(store, partition, part=1):
    from pathlib import Path

    return Path(store.root, partition.path, f"part-{part:05d}.parquet")


def test_a_truncated_part_is_refused(store, partition):
    path = _file(store, partition)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 1, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="bytes instead of") as error:
            read_table(store, load(store, partition))
        assert path.name in one_line(error)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match="bytes instead of"):
        read_table(store, load(store, partition))


def test_a_bit_flipped_anywhere_in_a_part_is_refused(store, partition):
    path, manifest = _file(store, partition), load(store, partition)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(_flipped(whole, position))
        with pytest.raises(InputError, match="SHA-256"):
            read_table(store, manifest)
    path.write_bytes(whole)
    assert read_table(store, manifest).num_rows == 50


def _flipped(data, position):
    changed = bytearray(data)
    changed[position] ^= 1 << position % 8
    return bytes(changed)


def test_a_missing_part_is_refused(store, partition):
    _file(store, partition).unlink()
    with pytest.raises(InputError, match=r"part-00001.parquet is missing") as error:
        read_table(store, load(store, partition))
    one_line(error)


def test_a_folder_in_a_parts_place_is_refused(store, partition):
    _file(store, partition).unlink()
    _file(store, partition).mkdir()
    with pytest.raises(InputError, match="cannot read the cache") as error:
        read_table(store, load(store, partition))
    one_line(error)


def test_a_bit_flipped_anywhere_in_a_manifest_never_changes_rows(store, partition, tmp_path):
    path = tmp_path / "cache" / manifest_path(partition)
    whole, rows = path.read_bytes(), read_table(store, load(store, partition))
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(_flipped(whole, position))
        try:
            manifest = load(store, partition)
            assert read_table(store, manifest).equals(rows)
            assert manifest.rows == 50
            assert manifest.partition == partition
        except InputError:
            refused += 1
    assert refused > len(whole) / 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '"x"', "{}", '{"schema_version": 1}', "\0\1\2", "\xff"]
)
def test_a_damaged_manifest_is_refused(store, partition, tmp_path, text):
    path = tmp_path / "cache" / manifest_path(partition)
    path.write_bytes(text.encode("latin-1"))
    for read in (lambda: load(store, partition), lambda: find(store, "logits")):
        with pytest.raises(InputError, match=r"damaged.*delete it") as error:
            read()
        assert "model=small.json" in one_line(error)


@pytest.mark.parametrize("version", [0, 4, 99, "1", True, None])
def test_another_schema_version_is_refused_with_both_named(store, partition, tmp_path, version):
    path = tmp_path / "cache" / manifest_path(partition)
    body = json.loads(path.read_text())
    assert body["schema_version"] == SCHEMA_VERSION
    path.write_text(json.dumps(body | {"schema_version": version, "parts": "otherwise"}))
    with pytest.raises(InputError) as error:
        load(store, partition)
    assert f"version {version}" in one_line(error)
    assert f"reads 1 to {SCHEMA_VERSION}" in str(error.value)


def test_a_manifest_that_was_moved_is_refused(store, partition, tmp_path):
    path = tmp_path / "cache" / manifest_path(partition)
    shutil.copy(path, path.with_name("model=other.json"))
    with pytest.raises(InputError, match=r"model=other.json is damaged"):
        find(store, "logits")


def test_partitions_of_different_images_are_not_joined(store):
    rng = np.random.default_rng(0)
    write_samples(store, "test", LABELS)
    ours = write_logits(store, "test", "small", LABELS, tied_logits(rng, 50))
    theirs = write_logits(store, "test", "large", LABELS[::-1], tied_logits(rng, 50))
    same_images([ours, ours])
    with pytest.raises(InputError, match="different images") as error:
        same_images([ours, theirs])
    for word in ("model small", "model large", ours.fingerprint[:12], theirs.fingerprint[:12]):
        assert word in one_line(error)
    with pytest.raises(InputError, match="different images"):
        load_scores(store, "toy", "test")


def test_splits_may_have_different_images(small_cache):
    same_images(find(small_cache, "logits"))


# What readers ignore


def test_files_that_no_manifest_names_are_ignored(store, partition):
    table = read_table(store, load(store, partition))
    stray = _file(store, partition, 7)
    shutil.copy(_file(store, partition, 0), stray)
    _file(store, partition, 8).write_bytes(b"half")
    assert read_table(store, load(store, partition)).equals(table)
    assert sum(part.num_rows for part in iter_parts(store, load(store, partition))) == 50


def test_parts_without_a_manifest_are_not_there(store, partition, tmp_path):
    (tmp_path / "cache" / manifest_path(partition)).unlink()
    assert load(store, partition) is None
    assert find(store, "logits") == []
    assert _file(store, partition).exists()


def test_what_lies_in_tmp_is_ignored(store, partition, tmp_path):
    table = read_table(store, load(store, partition))
    half = tmp_path / "cache" / ".tmp" / "0123.part"
    half.write_bytes(_file(store, partition).read_bytes()[:100])
    assert read_table(store, load(store, partition)).equals(table)
    assert len(find(store, "logits")) == 1


# Other programs


def _by_pyarrow(root):
    return pl.from_arrow(ds.dataset(root, partitioning="hive").to_table())


def _by_polars(root):
    return pl.scan_parquet(root, hive_partitioning=True).collect()


def _by_duckdb(root):
    pattern = f"{root}/**/*.parquet"
    return duckdb.sql(f"SELECT * FROM read_parquet('{pattern}', hive_partitioning = true)").pl()


def _by_pandas(root):
    return pl.from_pandas(pd.read_parquet(root))


READERS = {
    "pyarrow": _by_pyarrow,
    "polars": _by_polars,
    "duckdb": _by_duckdb,
    "pandas": _by_pandas,
}


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """(root, {model: logits}) of a cache with names that need encoding, two parts each."""
    root, rng = tmp_path_factory.mktemp("public"), np.random.default_rng(0)
    store, logits = Store(root), {}
    write_samples(store, "test", LABELS)
    for model in NAMES:
        logits[model] = rng.standard_normal((50, 3)).astype(np.float32)
        write_logits(store, "test", model, LABELS, logits[model], part_rows=30)
    return root, logits


@pytest.mark.parametrize("reader", READERS)
def test_logits_open_elsewhere_with_partition_keys_as_columns(public, reader):
    root, logits = public
    frame = READERS[reader](str(root / "logits"))
    assert frame.height == 50 * len(NAMES)
    keys = frame.select("dataset", "split", "variant", "runtime").cast(pl.String).unique()
    assert keys.rows() == [("toy", "test", "identity", RUNTIME)]
    frame = frame.with_columns(pl.col("model").cast(pl.String))
    assert set(frame["model"].unique()) == set(NAMES)
    for model, expected in logits.items():
        rows = frame.filter(pl.col("model") == model).sort("sample_id")
        assert rows["sample_id"].to_list() == list(range(50))
        values = np.array(rows["logits"].to_list(), np.float32)
        assert values.tobytes() == expected.tobytes()


@pytest.mark.parametrize("reader", READERS)
def test_samples_open_elsewhere(public, reader):
    frame = READERS[reader](str(public[0] / "samples")).sort("sample_id")
    assert frame["label"].to_list() == LABELS.tolist()
    assert frame["key"].to_list()[:2] == ["0.png", "1.png"]
    assert frame["split"].cast(pl.String).unique().to_list() == ["test"]


@pytest.mark.parametrize("reader", READERS)
def test_scores_open_elsewhere(tmp_path, reader):
    store = make_cache(tmp_path)
    scores = load_scores(store, "toy", "test")
    frame = READERS[reader](f"{tmp_path}/scores").with_columns(pl.col("model").cast(pl.String))
    for m, model in enumerate(scores.models):
        rows = frame.filter(pl.col("model") == model).sort("sample_id")
        assert rows["prediction"].to_list() == scores.predictions[m].tolist()
        assert rows["entropy"].to_list() == scores.scores["entropy"][m].tolist()


# The root


def test_a_root_may_be_relative_and_go_up(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    make_cache("../there//cache/")
    assert len(find(Store(tmp_path / "there" / "cache"), "logits")) == 6
    assert len(find(Store("../there/cache"), "logits", "toy", "val")) == 3
    assert len(find(Store(f"file://{tmp_path}/there/cache"), "logits")) == 6


def test_the_roots_default(tmp_path, monkeypatch):
    monkeypatch.setenv("CASCADE_CACHE", str(tmp_path / "elsewhere"))
    assert Store().root == str(tmp_path / "elsewhere")
    assert Store("given").root == "given"
    monkeypatch.delenv("CASCADE_CACHE")
    assert Store().root == "artifacts"


@pytest.mark.parametrize("root", ["a\0b", "a\udcffb", "foo://x", "://", "file://host/x"])
def test_roots_that_are_refused(root):
    with pytest.raises(InputError, match="cannot open the cache") as error:
        Store(root)
    assert one_line(error).isprintable()


def test_a_table_reads_back_one_column(store, partition):
    table = read_table(store, load(store, partition), ["sample_id"])
    assert table.column_names == ["sample_id"]
    assert table.column("sample_id").to_pylist() == list(range(50))
    assert logits_table(np.zeros((2, 3), np.float32)).num_rows == 2


def test_only_empty_folders_are_pruned(store):
    store.write("a/b/kept.json", b"1")
    store.write("a/c/d/gone.json", b"1")
    store.delete("a/c/d/gone.json")
    store.prune("a/c/d")
    assert store.files("") == ["a/b/kept.json"]
    assert not store.local_path("a/c").exists()
    store.delete("a/b/kept.json")
    store.prune("a/b")
    store.prune(".tmp")
    assert not store.local_path("").exists()
    assert store.local_path("").parent.exists()
