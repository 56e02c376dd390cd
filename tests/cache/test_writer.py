"""Writing: resume, kills between any two file operations, damage that is made again."""

from __future__ import annotations

import builtins
import itertools
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers import logits_table, logits_writer, tied_logits, write_logits

import cache.storage.store
from cache import (
    InputError,
    Partition,
    PartitionWriter,
    Store,
    find,
    load,
    logits_schema,
    read_table,
    write_partition,
)

LABELS = np.arange(50) % 4
LOGITS = tied_logits(np.random.default_rng(0), 50)
OTHERS = tied_logits(np.random.default_rng(1), 50)
ROWS = 20
PARTS = 3


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


class KilledError(BaseException):
    """The process ended here: nothing it would still do happens."""


class Machine:
    """Lets `after` file operations happen; the next write is left half done, the rest undone."""

    def __init__(self, after):
        self.left = after

    def step(self):
        self.left -= 1
        if self.left < 0:
            raise KilledError

    def wrap(self, operation):
        def wrapped(*args, **kwargs):
            self.step()
            return operation(*args, **kwargs)

        return wrapped

    def open(self, *args, **kwargs):
        self.step()
        return _File(self, builtins.open(*args, **kwargs))


class _File:
    def __init__(self, machine, file):
        self.machine, self.file = machine, file

    def write(self, data):
        try:
            self.machine.step()
        except KilledError:
            half = memoryview(data)
            self.file.write(half[: len(half) // 2])
            self.file.flush()
            raise
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


@contextmanager
def killed_after(operations):
    """A process that is killed after this many file operations of the cache; yields if it was."""
    machine = Machine(operations)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache.storage.store, "open", machine.open, raising=False)
        for owner, names in (
            (os, ("replace", "fsync", "open")),
            (Path, ("mkdir", "unlink")),
            (Store, ("delete",)),
        ):
            for name in names:
                patch.setattr(owner, name, machine.wrap(getattr(owner, name)))
        yield machine


def _table(part, logits=LOGITS):
    return logits_table(logits[part * ROWS : (part + 1) * ROWS], part * ROWS)


def _extract(store, made=None, logits=LOGITS, weights="w", overwrite=False, reopen=False):
    """What a stage does: write the parts that are missing, note them, finish."""
    made = [] if made is None else made
    writer = logits_writer(store, "test", "small", LABELS, 4, weights=weights, overwrite=overwrite)
    if reopen:
        writer.reopen()
    for part in range(PARTS):
        if writer.complete or part in writer.done:
            continue
        writer.write(part, _table(part, logits))
        made.append(part)
    return writer.complete or writer.finish(PARTS)


def _files(store):
    """{path: bytes} of all that is not temporary."""
    root = Path(store.root)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".tmp" not in path.parts
    }


def _damage(store, part):
    path = Path(store.root, *[p for p in _files(store) if p.endswith(f"part-{part:05d}.parquet")])
    path.write_bytes(path.read_bytes()[:-1])


def _nothing(store):
    pass


def _older(store):
    """Complete, of other weights and of more parts."""
    write_logits(store, "test", "small", LABELS, OTHERS, part_rows=10, weights="old")


def _damaged(store):
    _extract(store)
    _damage(store, 1)


def _interrupted(store):
    writer = logits_writer(store, "test", "small", LABELS, 4)
    writer.write(2, _table(2))


# What lies there before, how the run is called, the most parts that it may have to make.
BEGINNINGS = {
    "nothing": (_nothing, {}, 3),
    "interrupted": (_interrupted, {}, 2),
    "an older one": (_older, {"overwrite": True}, 3),
    "a damaged part": (_damaged, {}, 1),
    "a complete one": (_extract, {"reopen": True}, 0),
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_kill_anywhere_resumes_to_the_rows_of_a_run_never_killed(tmp_path, beginning):
    prepare, how, most = BEGINNINGS[beginning]
    smooth = Store(tmp_path / "smooth")
    expected = read_table(smooth, _extract(smooth))
    for operations in itertools.count():
        store = Store(tmp_path / f"killed after {operations}")
        prepare(store)
        made, killed = [], False
        with killed_after(operations):
            try:
                _extract(store, made, **how)
            except KilledError:
                killed = True
        _nothing_wrong_is_read(store, expected)
        resumed = []
        manifest = _extract(store, resumed, **{**how, "reopen": False})
        assert read_table(store, manifest).equals(expected)
        assert not set(made) & set(resumed), "a whole part was made twice"
        assert len(made) + len(resumed) <= most + killed
        folder = Path(store.root, manifest.partition.path)
        assert len(list(folder.iterdir())) == PARTS
        if not killed:
            break
    assert operations > 10


def _nothing_wrong_is_read(store, expected):
    """A reader between the kill and the resumption finds no partition, or a whole right one."""
    for manifest in find(store, "logits"):
        try:
            table = read_table(store, manifest)
        except InputError:
            continue
        old = manifest.identity["weights_sha256"] == "old"
        assert table.equals(expected) or (old and table.num_rows == 50)


def test_a_run_twice_killed_keeps_what_both_made(store):
    for part in (1, 0):
        writer = logits_writer(store, "test", "small", LABELS, 4)
        assert part not in writer.done
        writer.write(part, _table(part))
    made = []
    manifest = _extract(store, made)
    assert made == [2]
    assert read_table(store, manifest).column("sample_id").to_pylist() == list(range(50))


def test_resumed_files_are_the_same_to_the_byte(tmp_path):
    smooth, broken = Store(tmp_path / "a"), Store(tmp_path / "b")
    _extract(smooth)
    _interrupted(broken)
    _extract(broken)
    assert _files(broken) == _files(smooth)
    assert not [path for path in (tmp_path / "b" / ".tmp").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "change",
    [{"weights": "new"}, {"labels": LABELS[::-1]}, {"classes": 5}],
)
def test_parts_made_from_something_else_are_not_kept(store, change):
    _interrupted(store)
    arguments = {"labels": LABELS, "classes": 4} | change
    writer = logits_writer(store, "test", "small", **arguments)
    assert writer.done == {}


def _sized(store, rows, parts):
    """A writer that says how many rows its parts have, and those of `parts` that it lacks."""
    names = {"dataset": "toy", "split": "test", "variant": "identity", "runtime": "import"}
    partition = Partition.of("logits", **names, model="sized")
    made_with = {"part_rows": rows}
    writer = PartitionWriter(store, partition, logits_schema(4), {}, made_with, made_with)
    for part in range(parts):
        if part not in writer.done:
            writer.write(part, logits_table(LOGITS[part * rows : (part + 1) * rows], part * rows))
    return writer


def test_parts_of_another_size_are_not_kept_by_an_unfinished_run(store):
    _sized(store, 20, parts=2)
    assert sorted(_sized(store, 20, parts=0).done) == [0, 1]
    assert _sized(store, 10, parts=0).done == {}


def test_parts_of_another_size_are_not_kept_from_a_damaged_partition(store):
    """Part 0 of 20 rows in place of one of 10 would repeat samples."""
    _sized(store, 20, parts=3).finish(3)
    _damage(store, 2)
    table = read_table(store, _sized(store, 10, parts=5).finish(5))
    assert table.column("sample_id").to_pylist() == list(range(50))


def test_a_complete_partition_is_left_alone(store):
    _extract(store)
    before, made = _files(store), []
    assert _extract(store, made).rows == 50
    assert made == []
    assert _files(store) == before


def test_something_else_of_the_same_name_is_refused(store):
    _extract(store)
    before = _files(store)
    with pytest.raises(InputError, match=r"weights_sha256 was w, now new.*--overwrite") as error:
        _extract(store, weights="new")
    assert "\n" not in str(error.value)
    assert _files(store) == before


def test_overwriting_leaves_nothing_of_the_old(store):
    _older(store)
    manifest = _extract(store, overwrite=True)
    assert len(_files(store)) == PARTS + 1
    assert read_table(store, manifest).num_rows == 50
    assert load(store, manifest.partition).identity["weights_sha256"] == "w"


@pytest.mark.parametrize("part", range(PARTS))
def test_only_the_damaged_part_is_made_again(store, part):
    _extract(store)
    before, made = _files(store), []
    path = Path(store.root, *[p for p in before if p.endswith(f"part-{part:05d}.parquet")])
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    for damaged in (whole[:-1], b"", whole + b"\0", bytes(changed), None):
        path.write_bytes(damaged) if damaged is not None else path.unlink()
        made.clear()
        _extract(store, made)
        assert made == [part]
        assert _files(store) == before


def test_a_damaged_receipt_costs_its_part_only(store):
    writer = logits_writer(store, "test", "small", LABELS, 4)
    for part in range(2):
        writer.write(part, _table(part))
    receipts = sorted(Path(store.root, ".tmp").rglob("*.json"))
    for text in (b"", b"{", b"[]", b"null", b"\xff", b'{"token": 1}'):
        receipts[0].write_bytes(text)
        assert sorted(logits_writer(store, "test", "small", LABELS, 4).done) == [1]


def test_a_part_needs_the_schemas_columns(store):
    writer = logits_writer(store, "test", "small", LABELS, 4)
    with pytest.raises((ValueError, TypeError), match=r"\S"):
        writer.write(0, _table(0).rename_columns(["id", "logits"]))
    assert _files(store) == {}


def test_write_partition_is_kept_or_replaced_by_identity(store):
    table = _table(0)
    partition = logits_writer(store, "test", "small", LABELS, 4).partition
    first = write_partition(store, partition, table, {"of": 1}, {"made": "first"})
    again = write_partition(store, partition, table, {"of": 1}, {"made": "again"})
    assert again == first
    other = write_partition(store, partition, _table(1), {"of": 2}, {"made": "other"})
    assert load(store, partition) == other
    assert read_table(store, other).column("sample_id").to_pylist() == list(range(20, 40))
    with pytest.raises(InputError, match="of was 2, now 3"):
        write_partition(store, partition, table, {"of": 3}, {}, overwrite=False)
