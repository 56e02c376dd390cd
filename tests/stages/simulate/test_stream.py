"""Request streams: how many of what, drawn how, kept where."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import polars as pl
import pytest
from helpers import make_cache
from running import cascade

import cache
from cache import InputError, Partition
from stages.datasets import ArraySource
from stages.runtimes import VARIANTS
from stages.scores import load
from stages.simulate import Stream, make, read, requested, save, shown

NAMES = list(VARIANTS)


@pytest.mark.parametrize(
    ("duplicates", "copies"), [(0, 0), (1, 10), (0.5, 5), (2.3, 23), (1.1, 11), (0.99, 9)]
)
def test_copies_are_whole_sets_and_a_drawn_rest(duplicates, copies):
    stream = make(10, duplicates)
    counts = Counter(stream.sample_ids.tolist())
    assert len(stream) == 10 + copies
    assert set(counts.values()) <= {1 + copies // 10, 2 + copies // 10}  # without replacement
    assert stream.sample_ids[:10].tolist() == list(range(10))
    assert stream.used == ["identity"]


def test_originals_are_never_turned_and_copies_as_often_as_asked():
    stream = make(1000, 4, rotations=0.25, seed=3)
    assert (stream.variants[:1000] == NAMES.index("identity")).all()
    turned = stream.variants[1000:] != NAMES.index("identity")
    assert abs(turned.mean() - 0.25) < 0.03  # 4 standard errors
    shares = Counter(NAMES[code] for code in stream.variants[1000:][turned])
    assert shares.keys() == {"rot90", "rot180", "rot270", "flip"}
    assert max(shares.values()) < 1.3 * min(shares.values())
    assert set(make(50, 1, rotations=1).variants[50:]).isdisjoint({NAMES.index("identity")})


def test_shuffled_is_the_same_requests_in_another_order():
    plain, mixed = make(40, 1.5, 0.5, seed=5), make(40, 1.5, 0.5, "shuffled", seed=5)
    pairs = [Counter(zip(s.sample_ids, s.variants, strict=True)) for s in (plain, mixed)]
    assert pairs[0] == pairs[1]
    assert plain.sample_ids.tolist() != mixed.sample_ids.tolist()


def test_the_seed_decides():
    one, again, other = make(30, 1, 1, seed=1), make(30, 1, 1, seed=1), make(30, 1, 1, seed=2)
    assert (one.variants == again.variants).all()
    assert (one.variants != other.variants).any()


def test_seen_before_is_about_the_sample_whatever_its_variant():
    stream = Stream(np.array([2, 0, 2, 2, 1, 0]), np.array([0, 0, 1, 0, 0, 4], np.int8))
    assert stream.seen_before.tolist() == [False, False, True, True, False, True]


@pytest.mark.parametrize(
    "options",
    [
        {"duplicates": -1},
        {"duplicates": 1000000000.0},
        {"rotations": 1.5},
        {"rotations": -0.1},
        {"duplicates": float("nan")},
        {"rotations": float("nan")},
        {"order": "backwards"},
    ],
)
def test_out_of_range_is_refused(options):
    with pytest.raises(InputError):
        make(10, **options)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_users_own_stream(tmp_path, suffix):
    table = pl.DataFrame({"request": [1, 0], "sample_id": [3, 4], "variant": ["rot90", "identity"]})
    path = tmp_path / f"mine{suffix}"
    (table.write_csv if suffix == ".csv" else table.write_parquet)(path)
    stream = read(str(path), 5)
    assert stream.sample_ids.tolist() == [4, 3]
    assert [NAMES[code] for code in stream.variants] == ["identity", "rot90"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sample_id\n7\n", "line 2 has sample_id 7, expected a whole number from 0 to 4"),
        ("sample_id\n-1\n", "line 2 has sample_id -1"),
        ("sample_id,variant\n1,upside\n", "unknown variant 'upside'"),
        ("nothing\n1\n", "no column sample_id"),
        ("sample_id\nx\n", "column sample_id holds words such as 'x'"),
        ("sample_id\n", "holds no requests"),
        ("", "its first line is empty"),
        ("sample_id\n1.5\n", "line 2 has sample_id 1.5"),
        ("sample_id\n1\n-0.5\n", "line 3 has sample_id -0.5"),
        ("sample_id\n1\nnan\n2\n", "line 3 has sample_id nan"),
        ("sample_id\n1\n1e300\n", "line 3 has sample_id 1e\\+300"),
        ("sample_id,request\n1,0\n2,\n", "line 3: the cell of column 'request' is empty"),
        ("sample_id,request\n1,ten\n2,two\n", "column request holds words such as 'ten'"),
    ],
)
def test_a_bad_stream_is_refused(tmp_path, text, words):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read(str(path), 5)
    with pytest.raises(InputError, match=r"must end in \.csv, \.parquet"):
        read(str(tmp_path / "none.txt"), 5)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_stream_that_is_no_file_is_not_waited_for(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    with pytest.raises(InputError, match="it is a FIFO, not a regular file"):
        read(str(tmp_path / f"pipe.{suffix}"), 5)


def test_a_sample_id_that_is_no_whole_number_ends_the_command(tmp_path):
    make_cache(tmp_path / "cache")
    (tmp_path / "s.csv").write_text("sample_id\n3\n 2.0\n1.5\n-0.5\n")
    pair = ("-m1", "small", "-m2", "large", "--stream", tmp_path / "s.csv")
    told = cascade("simulate", "--dataset", "toy", *pair, "--cache", tmp_path / "cache").refusal
    assert "s.csv: line 4 has sample_id 1.5, expected a whole number from 0 to 59" in told
    (tmp_path / "s.csv").write_text("sample_id, request\n3,1\n 2.0,10\n0,2\n")
    assert read(str(tmp_path / "s.csv"), 5).sample_ids.tolist() == [3, 0, 2]


def test_scores_by_request_and_the_stored_table(tmp_path):
    store = make_cache(tmp_path)
    plain = load(store, "toy", "test")
    n = len(plain.labels)
    stream = make(n, 0.5, order="shuffled", seed=1)
    found = requested({"identity": plain}, stream)
    for r, i in enumerate(stream.sample_ids):
        assert found.labels[r] == plain.labels[i]
        assert (found.predictions[:, r] == plain.predictions[:, i]).all()
        assert found.score("entropy", 1)[r] == plain.score("entropy", 1)[i]
    name = save(store, plain, stream, {"seed": 1})
    manifest = cache.load(store, Partition.of("streams", dataset="toy", split="test", stream=name))
    rows = cache.read_table(store, manifest)
    assert rows.column("sample_id").to_pylist() == stream.sample_ids.tolist()
    assert rows.column("request").to_pylist() == list(range(len(stream)))


def test_a_shown_source_turns_its_pictures():
    pictures = np.arange(2 * 2 * 3).reshape(2, 2, 3).astype(np.uint8)
    source = ArraySource(
        dataset="toy",
        split="test",
        layout="x",
        keys=["a", "b"],
        labels=np.array([0, 1], np.int32),
        pictures=pictures,
    )
    order = np.array([1, 0, 1]), np.array([0, NAMES.index("rot90"), NAMES.index("flip")], np.int8)
    turned = shown(source, Stream(*order))
    assert turned.labels.tolist() == [1, 0, 1]
    assert turned.read(0).tolist() == pictures[1].tolist()
    assert turned.read(1).tolist() == np.rot90(pictures[0]).tolist()
    assert turned.read(2).tolist() == pictures[1][::-1].tolist()
