"""`cascade cache rm` and `gc`: what goes, what goes with it, and what stays."""

from __future__ import annotations

import io
import os
import time

import pytest
from full_cache import KEYS, MODELS, TABLES, everything, full_cache, write_model
from helpers import RUNTIME
from running import cascade

from cache import InputError, Partition, Store, load, lock, read_table
from cache.upkeep import Selection, chosen, collect, remove, verify
from stages.scores import load as load_scores


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def full(any_store):
    return full_cache(any_store.root)


OF_A_MODEL = set(TABLES) - {"samples", "hashes", "streams", "results"}


def place(table="logits", model="small"):
    return Partition.of(table, **KEYS, runtime=RUNTIME, model=model, score="gini")


def tables_of(store):
    return sorted(path.partition("/")[0] for path in everything(store) if "model=small" in path)


# rm


def paths(going):
    return [each.partition.path for each in going]


def test_logits_take_what_was_made_with_and_from_them(full):
    going = chosen(full, Selection(("logits",), {"model": ("small",)}))
    made = ("extra_scores", "logits", "scores", "timings", "top10")
    assert paths(going) == [place(t).path for t in made]
    assert [each.rows for each in going] == [50, 50, 50, 5, 50]
    before = everything(full)
    remove(full, going)
    gone = before.keys() - everything(full).keys()
    assert gone == {path for path in before if any(place(t).path in path for t in made)}
    assert sum(len(before[p]) for p in gone if p[0] != "_") == sum(g.size_bytes for g in going)
    assert verify(full).damage == []
    assert load_scores(full, "toy", "test").models == ("large",)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(("scores",)), {"scores", "extra_scores"}),
        (Selection((), {"score": ("gini",)}), {"extra_scores"}),
        (Selection(("timings", "costs")), {"timings", "costs"}),
        (Selection((), {"algorithm": ("dhash",)}), {"hashes"}),
        (Selection((), {"stage": ("threshold",)}), {"results"}),
        (Selection(("samples",)), set(TABLES) - {"costs", "results"}),
        (Selection((), {"model": ("small",)}), OF_A_MODEL),
        (Selection((), {"dataset": ("toy",)}), set(TABLES)),
        (Selection((), {"model": ("none",)}), set()),
        (Selection((), {"split": ("val",), "model": MODELS}), set()),
    ],
)
def test_what_goes(store, selection, expected):
    going = chosen(full_cache(store.root), selection)
    assert {each.partition.table for each in going} == expected


def test_unfinished_partitions_go_too(full):
    write_model(full, "unfinished", parts=(0, 2))
    before = everything(full)
    remove(full, chosen(full, Selection((), {"model": ("unfinished",)})))
    after = everything(full)
    assert {path for path in before if "model=unfinished/" in path} == before.keys() - after.keys()


def test_a_reader_of_what_goes_is_told(full):
    manifest = load(full, place())
    remove(full, chosen(full, Selection(("logits",))))
    with pytest.raises(InputError, match="was replaced while it was being read"):
        read_table(full, manifest)


def test_only_damaged_manifests(full):
    path = f"_manifests/{place('samples', 'small').path.split('/variant')[0]}.json"
    full.write(path, b"{}")
    going = chosen(full, Selection(), damaged=True)
    assert paths(going) == ["samples/dataset=toy/split=test"]


def test_rm_asks_or_is_told_not_to(tmp_path):
    store = full_cache(tmp_path / "cache")
    args = ("cache", "rm", "--cache", store.root)
    before = everything(store)
    assert "give --table, --dataset, --model" in cascade(*args, "--yes").refusal
    assert "has nothing of that" in cascade(*args, "--model", "smal", "--yes").refusal
    for more in ((), ("--json",)):
        asked = cascade(*args, "--model", "small", *more)
        assert "give --yes" in asked.refusal  # and nothing on stdout
        assert "toy test identity torch-fp32-cpu small" in asked.err
    assert everything(store) == before
    found = cascade(*args, "--model", "small", "--yes", "--json").json
    assert {row["table"] for row in found["removed"]} == OF_A_MODEL
    assert found["size_bytes"] == sum(row["size_bytes"] for row in found["removed"])
    assert tables_of(store) == []


@pytest.mark.parametrize("answer", ["y", "n"])
def test_rm_does_as_it_is_answered(tmp_path, monkeypatch, answer):
    store = full_cache(tmp_path / "cache")
    before = everything(store)

    class Keyboard(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Keyboard(f"{answer}\n"))
    done = cascade("cache", "rm", "--cache", store.root, "--model", "small")
    assert "toy test identity torch-fp32-cpu small" in done.err
    assert "remove 10 partitions" in done.err
    if answer == "y":
        assert (done.status, tables_of(store)) == (0, [])
        assert "removed 10 partitions" in done.out
    else:
        assert (done.status, done.out, everything(store)) == (2, "", before)


def test_a_filter_that_matches_nothing(tmp_path):
    store = full_cache(tmp_path / "cache")
    args = ("cache", "ls", "--cache", store.root, "--model", "nobody")
    assert cascade(*args, "--json").json == {
        "cache": store.root,
        "partitions": [],
        "size_bytes": 0,
    }
    shown = cascade(*args)
    assert (shown.status, shown.err) == (0, "")
    head, foot = shown.out.splitlines()
    assert head.split() == ["table", "keys", "rows", "parts", "bytes", "made", "state"]
    assert foot == f"{store.root}: 0 partitions, 0 bytes"


# gc


def waste(store, **how):
    return {each.path: each for each in collect(store, **{"older_than_s": -60, **how})}


def litter(store):
    """{path: why} of what nobody needs."""
    write_model(store, "unfinished", parts=(0, 2))
    receipts = f".tmp/receipts/{place('logits', 'unfinished').path}"
    finished = f".tmp/receipts/{place().path}/part-00000.parquet.json"
    sound = store.read(f"{receipts}/part-00000.parquet.json").to_pybytes()
    found = {
        ".tmp/0123456789abcdef.part": "was never finished",
        f"{place().path}/part-00007.parquet": "no manifest names it",
        f"{place('logits', 'unfinished').path}/part-00001.parquet": "no manifest names it",
        "costs/odd.txt": "no manifest names it",
        "_manifests/odd.json": "no manifest names it",
        finished: "no run goes on from it",
        f"{receipts}/part-00001.parquet.json": "no run goes on from it",
    }
    for path in found:
        store.write(path, sound if path == finished else b"half")
    return found


def test_what_nobody_needs_goes(full):
    write_model(full, "unfinished", parts=(0, 2))
    before = everything(full)
    expected = litter(full)
    listed = waste(full, dry_run=True)
    assert {path: each.why for path, each in listed.items()} == expected
    assert all(full.exists(path) for path in expected)
    gone = waste(full)
    assert {path: each.why for path, each in gone.items() if each.kept is None} == expected
    assert everything(full) == before
    assert waste(full) == {}


def test_what_is_young_stays(full):
    expected = litter(full)
    assert waste(full, older_than_s=3600) == {}
    assert all(full.exists(path) for path in expected)


def test_what_is_being_written_stays(full):
    expected = litter(full)
    with lock(full, place().guard), lock(full, "somebody"):
        found = _in_a_thread(lambda: waste(full))
    kept = {path for path, each in found.items() if each.kept is not None}
    assert kept == {path for path in expected if place().path in path}
    assert "is being written by process" in found[sorted(kept)[0]].kept
    assert set(full.files(".tmp")) >= {path for path in kept if path.startswith(".tmp")}


def _in_a_thread(work):
    """A thread of its own does not hold what we hold."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_locks_of_the_dead_go(store):
    store.write(".tmp/locks/logits/a.lock", b"")
    claim = ".tmp/claims/logits/b.claims/0123.alone.json"
    store.write(claim, b'{"pid": 1, "host": "gone", "since": "then", "machine": null}')
    old = time.time() - 3600
    os.utime(store.local_path(claim), (old, old))
    with lock(store, "logits/c"):
        found = _in_a_thread(lambda: waste(store))
        assert store.files(".tmp/locks") == [".tmp/locks/logits/c.lock"]
    assert set(found) == {".tmp/locks/logits/a.lock", claim}
    assert store.files(".tmp") == []


def test_a_live_claim_stays(s3_root):
    store = Store(s3_root)
    with lock(store, "logits/c"):
        assert _in_a_thread(lambda: waste(store)) == {}
        assert len(store.files(".tmp/claims")) == 1


def test_gc_of_the_command_line(tmp_path):
    store = full_cache(tmp_path / "cache")
    expected = litter(store)
    for path in expected:
        old = time.time() - 7200
        os.utime(store.local_path(path), (old, old))
    args = ("cache", "gc", "--cache", store.root)
    assert "removed 0 files" in cascade(*args, "--older-than", "3").out
    told = cascade(*args, "--dry-run")
    assert f"would remove {len(expected)} files" in told.out
    found = cascade(*args, "--json").json
    assert {row["path"]: row["why"] for row in found["removed"]} == expected
    assert found["kept"] == []
    assert not any(store.exists(path) for path in expected)
