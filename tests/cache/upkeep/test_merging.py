"""`cascade cache merge`: caches of several machines become one, or are refused in one line."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
from full_cache import (
    KEYS,
    LABELS,
    MADE_WITH,
    N,
    cost,
    everything,
    full_cache,
    logits_of,
    starts,
    tables,
    write_model,
    writers,
)
from helpers import RUNTIME, write_samples
from running import cascade

from cache import InputError, Partition, Store, load, read_table
from cache.upkeep import merge, verify
from stages import costs
from stages.scores import load as load_scores


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def target(any_store):
    return any_store


def shard(root, parts, model="small", labels=LABELS):
    store = Store(root)
    write_samples(store, "test", labels)
    write_model(store, model, parts)
    return store


def place(table="logits", model="small"):
    return Partition.of(table, **KEYS, runtime=RUNTIME, model=model)


def done(outcomes):
    return {each.partition.table: each.done for each in outcomes}


def rows_of(store, model="small"):
    table = read_table(store, load(store, place(model=model)))
    assert table.column("sample_id").to_pylist() == list(range(N))
    return np.array(table.column("logits").to_pylist(), np.float32)


def sound(store):
    report = verify(store)
    assert (report.damage, report.survey.strays, report.survey.unfinished) == ([], (), ())
    assert store.files(".tmp") == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[::2])
def test_shards_become_what_one_machine_had_made(target, tmp_path, order):
    whole = shard(tmp_path / "whole", (0, 1, 2))
    shards = [shard(tmp_path / str(part), (part,)) for part in range(3)]
    last = {}
    for i in order:
        last = done(merge(target, shards[i]))
        expected = "published" if i == order[-1] else "waiting"
        assert (last["logits"], last["timings"]) == (expected, expected)
    sound(target)
    assert rows_of(target).tobytes() == logits_of("small").tobytes() == rows_of(whole).tobytes()
    for table in ("logits", "timings"):
        ours, theirs = load(target, place(table)), load(whole, place(table))
        assert (ours.identity, ours.provenance) == (theirs.identity, theirs.provenance)
        assert [part.rows for part in ours.parts] == [part.rows for part in theirs.parts]
    before = everything(target)
    for each in shards:
        assert set(done(merge(target, each)).values()) == {"kept"}
    assert everything(target) == before


def test_a_whole_cache_is_copied_byte_for_byte(target, tmp_path):
    source = full_cache(tmp_path / "source")
    outcomes = merge(target, source)
    assert {each.done for each in outcomes} == {"copied"}
    assert everything(target) == everything(source)
    assert sum(each.size_bytes for each in outcomes) == sum(
        len(data) for path, data in everything(source).items() if path.endswith(".parquet")
    )
    sound(target)
    assert {each.done for each in merge(target, source)} == {"kept"}
    back = Store(tmp_path / "back")
    merge(back, target)
    assert everything(back) == everything(source)


def test_a_merge_that_is_interrupted_goes_on(tmp_path):
    """Whatever write it stops at, doing it again gives what it had given undisturbed."""
    sources = [full_cache(tmp_path / "source"), shard(tmp_path / "shard", (0, 1), "late")]
    undisturbed = Store(tmp_path / "undisturbed")
    for source in sources:
        merge(undisturbed, source)
    for writes in itertools.count(step=3):
        store = Store(tmp_path / f"after {writes}")
        stopped = False
        try:
            with stopping(store, writes):
                for source in sources:
                    merge(store, source)
        except KeyboardInterrupt:
            stopped = True
        for source in sources:
            merge(store, source)
        assert everything(store) == everything(undisturbed)
        if not stopped:
            break
    assert writes > 30


class stopping:  # noqa: N801
    """Ctrl-C at the write or deletion after so many."""

    def __init__(self, store, writes):
        self.store, self.left = store, writes

    def __enter__(self):
        for name in ("write", "delete"):
            setattr(self.store, name, self.wrap(getattr(self.store, name)))

    def wrap(self, operation):
        def wrapped(*args):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return operation(*args)

        return wrapped

    def __exit__(self, *_):
        del self.store.write, self.store.delete


# What is refused


def refused(target, source):
    before = everything(target)
    with pytest.raises(InputError) as error:
        merge(target, source)
    assert everything(target) == before
    text = str(error.value)
    assert "\n" not in text
    return text


def test_other_weights_are_refused(target, tmp_path):
    source, theirs = Store(tmp_path / "a"), Store(tmp_path / "b")
    for store, weights in ((source, "v"), (theirs, "w")):
        write_samples(store, "test", LABELS)
        write_model(store, "new")
        write_model(store, "small", weights=weights)
    merge(target, theirs)
    text = refused(target, source)
    assert f"{target.root} and {source.root} disagree on logits of dataset toy" in text
    assert "(weights_sha256 was w, now v)" in text
    assert "cascade cache rm" in text


@pytest.mark.parametrize("whole", [True, False])
def test_unfinished_parts_of_other_weights_are_refused(target, tmp_path, whole):
    merge(target, shard(tmp_path / "ours", (0, 1, 2) if whole else (0,)))
    source = Store(tmp_path / "theirs")
    write_samples(source, "test", LABELS)
    write_model(source, "small", (1,), weights="v")
    assert "weights_sha256 was w, now v" in refused(target, source)


def test_parts_of_another_size_are_refused(target, tmp_path, monkeypatch):
    merge(target, shard(tmp_path / "ours", (0,)))
    monkeypatch.setitem(MADE_WITH, "part_rows", 10)
    text = refused(target, shard(tmp_path / "theirs", (1,)))
    assert "part_rows was 20, now 10" in text


def test_other_images_are_refused(target, tmp_path):
    merge(target, shard(tmp_path / "ours", (0,)))
    text = refused(target, shard(tmp_path / "theirs", (1,), labels=LABELS[::-1]))
    assert "disagree on samples of dataset toy" in text
    assert "dataset_fingerprint was" in text
    strange = Store(tmp_path / "without samples")
    for writer, table in zip(writers(strange, "other"), tables("other", 0), strict=True):
        writer.identity["dataset_fingerprint"] = "0" * 64
        writer.write(0, table)
    assert "images was" in refused(target, strange)


def test_a_damaged_source_is_refused(target, tmp_path):
    source = full_cache(tmp_path / "source")
    path = f"{place().path}/part-00001.parquet"
    source.write(path, source.read(path).to_pybytes()[:-1])
    with pytest.raises(InputError, match=r"part-00001.parquet is damaged: .*merge again"):
        merge(target, source)
    assert load(target, place()) is None
    source.delete(path)
    with pytest.raises(InputError, match=r"part-00001.parquet is missing"):
        merge(target, source)
    manifest = f"_manifests/{place().path}.json"
    source.write(manifest, source.read(manifest).to_pybytes()[:-1])
    assert "is no manifest as it was written" in refused(target, source)


def test_a_damaged_part_of_a_shard_stays_missing(target, tmp_path):
    merge(target, shard(tmp_path / "0", (0,)))
    source = shard(tmp_path / "12", (1, 2))
    path = f"{place().path}/part-00001.parquet"
    source.write(path, source.read(path).to_pybytes()[:-1])
    [found] = [each for each in merge(target, source) if each.partition == place()]
    assert (found.done, found.missing, found.count) == ("waiting", [1], 3)
    merge(target, shard(tmp_path / "1", (1,)))
    sound(target)
    assert rows_of(target).tobytes() == logits_of("small").tobytes()


def test_a_damaged_partition_of_the_target_is_replaced(target, tmp_path):
    source = full_cache(tmp_path / "source")
    merge(target, source)
    path = f"{place().path}/part-00001.parquet"
    target.write(path, b"damage")
    assert done(merge(target, source))["logits"] == "copied"
    assert everything(target) == everything(source)


# What is put together


def test_a_whole_partition_takes_the_place_of_some_parts(target, tmp_path):
    merge(target, shard(tmp_path / "0", (0,)))
    merge(target, shard(tmp_path / "whole", (0, 1, 2)))
    sound(target)
    assert rows_of(target).tobytes() == logits_of("small").tobytes()


def test_scores_of_logits_that_the_target_has_otherwise(target, tmp_path):
    """Equal logits whose bytes differ: the target keeps its own, and scores that fit them."""
    ours = shard(tmp_path / "ours", (0, 1, 2))
    theirs = Store(tmp_path / "theirs")
    write_samples(theirs, "test", LABELS)
    for writer, which in zip(writers(theirs, "small"), (0, 1), strict=True):
        writer.provenance["made"] = "later"
        for part, start in starts():
            writer.write(part, tables("small", start)[which])
        writer.finish(3)
    load_scores(theirs, "toy", "test")
    merge(target, ours)
    merge(target, theirs)
    assert load(target, place("scores")) is None
    load_scores(target, "toy", "test")
    before = everything(target)
    merge(target, theirs)
    assert everything(target) == before
    sound(target)


def test_costs_of_two_machines_are_added(target, tmp_path):
    """By key, the newer of two measurements of the same."""
    machines = []
    for name, rows in (
        ("a", [cost("desk", 1.0, "2026-01-01"), cost("lap", 5.0, "2026-03-01")]),
        ("b", [cost("desk", 2.0, "2026-02-01"), cost("nano", 9.0), cost("lap", 6.0, "2026-02-01")]),
    ):
        machines.append(Store(tmp_path / name))
        costs.merge(machines[-1], "toy", rows)
    for source in (*machines, *machines[::-1]):
        merge(target, source, {"costs": costs.merge_from})
        rows = costs.read(target, "toy", ["small"])["small"]
    assert {row.device: row.latency_ms for row in rows} == {
        "desk": 2.0,
        "lap": 5.0,
        "nano": 9.0,
    }
    again = merge(target, machines[0], {"costs": costs.merge_from})
    assert done(again) == {"costs": "kept"}


# The command


def test_the_command(tmp_path):
    roots = [shard(tmp_path / str(part), (part,)).root for part in range(3)]
    args = ("--cache", tmp_path / "all")
    first = cascade("cache", "merge", *roots[:2], *args)
    assert "logits toy test identity torch-fp32-cpu small still lacks parts 2" in first.out
    found = cascade("cache", "merge", roots[2], *args, "--json").json
    by_table = {row["table"]: row for row in found["partitions"]}
    assert by_table["logits"] | {"size_bytes": 0} == {
        "source": roots[2],
        "table": "logits",
        **KEYS,
        "runtime": RUNTIME,
        "model": "small",
        "state": "published",
        "parts": 1,
        "size_bytes": 0,
        "of": 3,
        "missing": [],
    }
    assert by_table["samples"]["state"] == "kept"
    sound(Store(tmp_path / "all"))


def test_what_is_no_source(tmp_path):
    root = shard(tmp_path / "a", (0,)).root
    args = ("--cache", tmp_path / "all")
    assert "holds no cache" in cascade("cache", "merge", tmp_path / "none", *args).refusal
    assert "the cache to merge into" in cascade("cache", "merge", root, "--cache", root).refusal
    assert not (tmp_path / "all").exists()
