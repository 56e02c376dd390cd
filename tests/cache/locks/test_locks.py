"""Several processes on one cache: one waits or is told, nothing is lost, doubled or damaged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from cache_worker import LABELS, LOGITS, PARTS, logits_partition
from helpers import logits_table, logits_writer

from cache import InputError, MissingPartsError, Store, load, lock, lock_all, read_table
from cache.locks.locking import _held

WORKER = Path(__file__).parents[2] / "cache_worker.py"
# By what a process locks: flock on a folder, claims in a folder, claims in a bucket.
WAYS = ["flock", "claims", "s3"]


@pytest.fixture(params=WAYS)
def place(request, tmp_path):
    """(root of an empty cache, what the environment of its workers says)."""
    if request.param == "s3":
        return request.getfixturevalue("s3_root"), {}
    return str(tmp_path / "cache"), {"FLOCK": "no"} if request.param == "claims" else {}


class Workers:
    """Processes of tests/cache_worker.py, killed at the end if they still run."""

    def __init__(self, root, **env):
        self.root, self.env, self.running = root, env, []

    def start(self, do, *args, **env):
        process = subprocess.Popen(
            [sys.executable, str(WORKER), do, self.root, *map(str, args)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **self.env, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def run(self, do, *args, **env):
        return finished(self.start(do, *args, **env))


def finished(process, status=0):
    """What it printed, once it has ended with this status."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    return out.strip()


@pytest.fixture
def workers(place):
    root, env = place
    started = Workers(root, **env)
    yield started
    for process in started.running:
        process.kill()
        process.communicate()


# Locks


def test_increments_of_several_processes_are_all_there(workers):
    store = Store(workers.root)
    store.write("number", b"0")
    rounds = 20 if store.local else 5
    for process in [workers.start("count", rounds) for _ in range(3)]:
        finished(process)
    assert store.read("number").to_pybytes() == b"%d" % (3 * rounds)
    assert left(store) == []


def left(store):
    return [path for path in store.files(".tmp") if not path.startswith(".tmp/receipts")]


def test_who_does_not_wait_is_told_who_holds_it(workers):
    holder = workers.start("hold", "alone")
    assert holder.stdout.readline() == "held\n"
    told = workers.run("ask", "alone")
    assert f"samples/name in {workers.root} is being written by process {holder.pid} on " in told
    assert ", since 20" in told
    assert "\n" not in told
    assert workers.run("ask", "shared") == told
    holder.stdin.write("\n")
    assert finished(holder) == "released"
    assert workers.run("ask", "alone") == "held"


def test_shared_holders_keep_out_who_wants_it_alone(workers):
    holders = [workers.start("hold", "shared") for _ in range(2)]
    assert [holder.stdout.readline() for holder in holders] == ["held\n"] * 2
    assert workers.run("ask", "shared") == "held"
    assert "is being written by" in workers.run("ask", "alone")
    finished(holders[0])
    assert "is being written by" in workers.run("ask", "alone")
    finished(holders[1])
    assert workers.run("ask", "alone") == "held"


def test_waiting_is_told_once_and_ends(workers):
    first = workers.start("hold", "alone")
    assert first.stdout.readline() == "held\n"
    second = workers.start("hold", "alone")
    assert f"written by process {first.pid} on" in second.stderr.readline()
    finished(first)
    assert second.stdout.readline() == "held\n"
    out, err = second.communicate("\n", timeout=60)
    assert (out, err) == ("released\n", "")


def test_a_killed_holder_holds_nothing(workers):
    """At once on its own machine; elsewhere when its claim has been silent for long enough."""
    holder = workers.start("hold", "alone")
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert workers.run("ask", "alone") == "held"
    assert left(Store(workers.root)) in ([], [".tmp/locks/samples/name.lock"])


def test_a_silent_claim_of_another_machine_lapses(s3_root):
    workers = Workers(s3_root, STALE="2", HEARTBEAT="0.5")
    try:
        holder = workers.start("hold", "alone", MACHINE="theirs")
        assert holder.stdout.readline() == "held\n"
        time.sleep(4)  # longer than stale, but its heart beats
        assert "is being written by" in workers.run("ask", "alone", MACHINE="ours")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        other = workers.start("hold", "alone", MACHINE="ours")
        assert other.stdout.readline() == "held\n"
    finally:
        for process in workers.running:
            process.kill()
            process.communicate()


def test_who_lost_its_claim_says_so(s3_root, monkeypatch):
    monkeypatch.setattr("cache.locks.object_store.HEARTBEAT_S", 0.05)
    store = Store(s3_root)
    held = lock(store, "samples/name")
    held.__enter__()
    [claim] = store.files(".tmp/claims")
    [heart] = [each for each in threading.enumerate() if each.name == "claim"]
    until = time.monotonic() + 30
    while heart.is_alive() and time.monotonic() < until:  # a beat under way writes it again
        store.delete(claim)
        time.sleep(0.01)
    with pytest.raises(InputError, match=r"was taken over.*run the same command"):
        held.__exit__(None, None, None)


def test_a_thread_may_take_what_it_holds(any_store):
    with lock(any_store, "a"):
        with lock(any_store, "a"), lock(any_store, "a", shared=True):
            pass
        assert len(left(any_store)) == 1
    with lock(any_store, "a", shared=True), pytest.raises(RuntimeError, match="held shared"):
        lock(any_store, "a").__enter__()
    assert (left(any_store), _held) == ([], {})


def test_all_or_none_of_several(any_store):
    with lock(any_store, "b/name"):
        code = lock_all(any_store, ["c", "b/name", "a"], wait=False)
        with code:
            assert len(left(any_store)) == 3
    assert left(any_store) == []


CHILD = """
import os, sys, time
from cache import Store, lock
with lock(Store(sys.argv[1]), "a"):
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    time.sleep(0.3)
    print(child, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_of_the_holder_holds_nothing(tmp_path):
    """A forked child that outlives its parent does not keep the lock."""
    env = {**os.environ, "PYTHONPATH": str(WORKER.parents[1])}
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.wait()
        os.kill(child, 0)
        try:
            with lock(Store(tmp_path), "a", wait=False):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "a/../../x", "a\\b", "a\0b"])
def test_a_lock_stays_inside_the_cache(any_store, name):
    with pytest.raises(InputError, match="leads out of the cache"), lock(any_store, name):
        pass


def test_a_file_system_without_locks(store, monkeypatch):
    import errno
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match="has no file locks: choose another"), lock(store, "a"):
        pass


# A partition that several replace


def test_readers_and_writers_of_one_partition(workers):
    store = Store(workers.root)
    rounds = 20 if store.local else 4
    started = [workers.start("replace", rounds) for _ in range(3)]
    started += [workers.start("watch", rounds)]
    *_, read = [finished(process) for process in started]
    assert int(read) == rounds
    [path] = store.files("_manifests")
    manifest = json.loads(store.read(path).to_pybytes())
    table = read_table(store, load(store, _samples()))
    assert set(table.column("number").to_pylist()) == {manifest["identity"]["number"]}
    assert store.files(".tmp") == []


def _samples():
    from cache import Partition

    return Partition.of("samples", dataset="toy", split="test")


# A partition of which several write parts


def whole(store):
    """The manifest, once its rows are held against the logits they were made from."""
    manifest = load(store, logits_partition())
    table = read_table(store, manifest)
    assert table.column("sample_id").to_pylist() == list(range(len(LOGITS)))
    rows = np.array(table.column("logits").to_pylist(), np.float32)
    assert rows.tobytes() == LOGITS.tobytes()
    assert store.files(".tmp/receipts") == []
    return manifest


@pytest.mark.parametrize("shards", [2, 3])
def test_shards_of_one_partition(workers, shards):
    started = [workers.start("shard", i, shards) for i in range(shards)]
    assert "finished" in [finished(process) for process in started]
    assert len(whole(Store(workers.root)).parts) == PARTS


def test_a_shard_that_died_is_run_again(workers):
    finished(workers.start("shard", 0, 2, 1), status=9)
    assert workers.run("shard", 1, 2) == "2 4"
    assert load(Store(workers.root), logits_partition()) is None
    assert workers.run("shard", 0, 2) == "finished"
    whole(Store(workers.root))


def _writer(store):
    return logits_writer(store, "test", "small", LABELS, 4)


def _write(writer, *parts):
    for part in parts:
        rows = LOGITS[part * 20 : (part + 1) * 20]
        writer.write(part, logits_table(rows, part * 20))


def test_refresh_finds_what_others_wrote(any_store):
    ours, theirs = _writer(any_store), _writer(any_store)
    _write(ours, 0, 2, 4)
    _write(theirs, 1, 3)
    assert ours.missing(PARTS) == [1, 3, 5]
    ours.refresh()
    assert ours.missing(PARTS) == [5]
    with pytest.raises(MissingPartsError, match=r"lacks 1 of 6 parts \(5\)") as error:
        ours.finish(PARTS)
    assert error.value.parts == (5,)
    _write(theirs, 5)
    assert ours.finish(PARTS) == theirs.finish(PARTS)
    assert (theirs.missing(PARTS), theirs.complete) == ([], whole(any_store))


def test_another_finished_while_we_looked_at_the_receipts(any_store):
    """Its receipts vanish under our feet: its manifest stands by then."""
    ours, theirs = _writer(any_store), _writer(any_store)
    _write(theirs, *range(PARTS))
    published = theirs.finish(PARTS)
    assert ours.finish(PARTS) == published


def test_two_that_finish_at_once(any_store):
    ours, theirs = _writer(any_store), _writer(any_store)
    _write(ours, 0, 1, 2)
    _write(theirs, 3, 4, 5)
    ours.refresh()
    theirs.refresh()
    assert ours.finish(PARTS) == theirs.finish(PARTS)
    whole(any_store)


def test_a_part_that_is_not_what_its_receipt_says_is_not_published(any_store):
    writer, path = _writer(any_store), logits_partition().path
    _write(writer, *range(PARTS))
    data = any_store.read(f"{path}/part-00003.parquet").to_pybytes()
    any_store.write(f"{path}/part-00003.parquet", data[:-1] + b"x")
    again = _writer(any_store)
    assert again.missing(PARTS) == [3]
    any_store.write(f"{path}/part-00002.parquet", data[:-1])
    any_store.delete(f"{path}/part-00001.parquet")
    with pytest.raises(MissingPartsError) as error:
        writer.finish(PARTS)
    assert error.value.parts == (1, 2)
    _write(writer, 1, 2, 3)
    writer.finish(PARTS)
    whole(any_store)


def test_two_that_mend_one_partition(any_store):
    """Who comes second must not withdraw what the first has published."""
    writer, path = _writer(any_store), logits_partition().path
    _write(writer, *range(PARTS))
    writer.finish(PARTS)
    any_store.delete(f"{path}/part-00003.parquet")
    first = _writer(any_store)
    second = _writer(any_store)
    assert first.missing(PARTS) == second.missing(PARTS) == [3]
    _write(first, 3)
    first.finish(PARTS)
    assert second.finish(PARTS) == whole(any_store)


def test_a_damaged_manifest_is_made_again(any_store):
    writer = _writer(any_store)
    _write(writer, *range(PARTS))
    writer.finish(PARTS)
    [path] = any_store.files("_manifests")
    any_store.write(path, any_store.read(path).to_pybytes()[:-9])
    again = _writer(any_store)
    assert (again.complete, again.missing(PARTS)) == (None, list(range(PARTS)))
    _write(again, *range(PARTS))
    again.finish(PARTS)
    whole(any_store)
