"""Real disks and real deaths: one that is full, one that is read-only, a process that is gone."""

from __future__ import annotations

import builtins
import itertools
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from full_cache import KEYS, LABELS, N, everything, full_cache, logits_of, write_model
from helpers import QUESTIONS, RUNTIME, fingerprint_of, make_cache, write_samples
from running import cascade

import cache.storage.store
from cache import InputError, Partition, Store, find, load, lock, read_table, write_partition
from cache.upkeep import collect, verify
from stages import notices

PLACE = Partition.of("logits", **KEYS, runtime=RUNTIME, model="small")


def rows_are_right(store):
    table = read_table(store, load(store, PLACE))
    assert table.column("sample_id").to_pylist() == list(range(N))
    rows = np.array(table.column("logits").to_pylist(), np.float32)
    assert rows.tobytes() == logits_of("small").tobytes()


def published(store):
    """Without receipts that a complete partition no longer needs."""
    return {path: data for path, data in everything(store).items() if path[0] != "."}


# Disks


@pytest.fixture
def disk(tmp_path):
    """A file system of 512 KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(disk):
    store = Store(disk / "cache")
    write_samples(store, "test", LABELS)
    write_model(store, "small", parts=(0,))
    filler = disk / "filler"
    with filler.open("wb") as file, pytest.raises(OSError, match="No space"):
        file.write(bytes(1 << 20))
    with pytest.raises(InputError, match="No space left on device; free some space") as error:
        write_model(store, "small", parts=(1,))
    assert "\n" not in str(error.value)
    assert verify(store).damage == []
    assert find(store, "logits") == []
    filler.unlink()
    write_model(store, "small")
    rows_are_right(store)
    assert store.files(".tmp") == []


def test_a_disk_that_fills_at_any_byte(disk):
    """However little space is left, there is what was published before, and the run goes on."""
    whole = Store(disk.parent / "whole")
    write_samples(whole, "test", LABELS)
    write_model(whole, "small")
    failed = 0
    for free in range(4096, 200_000, 8192):
        store = Store(disk / str(free))
        filler = disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - free))
        try:
            write_samples(store, "test", LABELS)
            write_model(store, "small")
        except InputError as error:
            failed += "No space left on device; free some space" in str(error)
        assert verify(store).damage == []
        filler.unlink()
        write_samples(store, "test", LABELS)
        write_model(store, "small")
        assert published(store) == published(whole)
        shutil.rmtree(disk / str(free))
    assert 5 < failed < 24


def fill(disk, files=False):
    """Not a byte is left; with `files`, nor room for another file, not even an empty one."""
    (disk / f"filler{files}").write_bytes(bytes(shutil.disk_usage(disk).free))
    found = os.statvfs(disk)
    if files:
        limit = f"remount,nr_inodes={found.f_files - found.f_ffree}"
        subprocess.run(["mount", "-o", limit, str(disk)], check=True)


@pytest.mark.parametrize("files", [False, True])
def test_what_deletes_needs_no_room(disk, files):
    store = full_cache(disk / "cache")
    before = everything(store)
    strays = [f"{PLACE.path}/part-0000{i}.parquet" for i in (8, 9)]
    for path in strays:
        store.local_path(path).write_bytes(b"")
    if files:
        shutil.rmtree(disk / "cache" / ".tmp")
    fill(disk, files)
    with pytest.raises(InputError, match="No space left on device"):
        store.write("more", b"more")
    done = cascade("cache", "rm", "--model", "large", "--yes", "--cache", store.root)
    assert done.status == 0, done.err
    done = cascade("cache", "gc", "--older-than", "0", "--cache", store.root, "--json")
    assert [each["path"] for each in done.json["removed"]] == strays
    assert everything(store) == {p: data for p, data in before.items() if "model=large" not in p}
    assert verify(store).damage == []


def test_a_lock_that_a_full_disk_left_unsigned_holds(disk):
    store = full_cache(disk / "cache")
    stray = store.local_path(f"{PLACE.path}/part-00009.parquet")
    stray.write_bytes(b"half")
    fill(disk)
    with lock(store, PLACE.guard), ThreadPoolExecutor(1) as other:
        [kept] = other.submit(collect, store, -60).result()
    assert "is being written by another process" in kept.kept
    assert stray.exists()


def test_a_full_disk_answers_and_tells_that_it_keeps_nothing(disk, tmp_path):
    made, roomy = (make_cache(folder / "cache", n=80) for folder in (disk, tmp_path))
    fill(disk)
    before = everything(made)
    for question in QUESTIONS:
        expected = cascade(*question, "--cache", roomy.root, "--json")
        notices.tell_once.cache_clear()
        found = cascade(*question, "--cache", made.root, "--json")
        assert found.json == expected.json
        assert found.err.count("has no space left: results are not stored there") == 1
    assert everything(made) == before


def test_a_copy_that_a_full_disk_refuses_begins_anew(disk, tmp_path):
    store = make_cache(tmp_path / "cache", n=80)
    fill(disk)
    publish = ("export", "--publish", disk / "copy", "-d", "toy", "--cache", store.root)
    line = cascade(*publish).refusal
    assert f"no space left for the copy {disk / 'copy'}" in line
    assert "resumes" not in line
    assert not (disk / "copy").exists()


def test_a_read_only_disk(disk):
    root = full_cache(disk / "cache").root
    before = everything(Store(root))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    store = Store(root)
    rows_are_right(store)
    for command in (("ls",), ("verify",), ("gc", "--dry-run")):
        assert cascade("cache", *command, "--cache", root).status == 0
    samples = load(store, Partition.of("samples", dataset="toy", split="test"))
    again = write_partition(
        store, samples.partition, read_table(store, samples), samples.identity, {}
    )
    assert again == samples
    for command in (("rm", "--model", "small", "--yes"), ("merge", root)):
        target = root if command[0] == "rm" else f"{root}/deeper"
        told = cascade("cache", *command, "--cache", target)
        assert told.status == 2
        assert "Read-only file system; choose another with --cache" in told.err
    assert everything(store) == before


# Deaths


class Deadly:
    """Counts the file operations of a process; at number `at` it is gone, as by kill -9."""

    def __init__(self, at):
        self.at = at

    def step(self):
        self.at -= 1
        if self.at < 0:
            os._exit(9)

    def wrap(self, operation):
        def wrapped(*args, **kwargs):
            self.step()
            return operation(*args, **kwargs)

        return wrapped

    def open(self, *args, **kwargs):
        """Where the write comes next, half of it may get done."""
        self.step()
        file = builtins.open(*args, **kwargs)  # noqa: SIM115
        if self.at == 0:
            file.write(b"PAR1 half")
            file.flush()
        self.step()
        return file

    def install(self):
        cache.storage.store.open = self.open
        for owner, names in (
            (os, ("replace", "fsync", "open", "ftruncate")),
            (Path, ("mkdir", "unlink")),
            (Store, ("delete",)),
        ):
            for name in names:
                setattr(owner, name, self.wrap(getattr(owner, name)))


def work(store):
    """Everything that writes: a partition of one part, one of three, and a replaced one."""
    write_samples(store, "test", LABELS)
    write_model(store, "small")
    samples = load(store, Partition.of("samples", dataset="toy", split="test"))
    table = read_table(store, samples)
    place = Partition.of("scores", **KEYS, runtime=RUNTIME, model="small")
    for identity in ({"of": 1}, {"of": 2, "dataset_fingerprint": fingerprint_of(LABELS)}):
        write_partition(store, place, table, identity, {})


def dies(root, at):
    """Whether a child that does the work is dead before it is done."""
    pid = os.fork()
    if pid == 0:
        try:
            store = Store(root)
            Deadly(at).install()
            work(store)
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 9), f"the child failed at operation {at}"
    return status == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_death_at_any_file_operation(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    work(Store(tmp_path / "whole"))
    expected = everything(Store(tmp_path / "whole"))
    for at in itertools.count(step=13):
        root = tmp_path / str(at)
        dead = dies(root, at)
        store = Store(root)
        for manifest in (m for table in ("samples", "logits") for m in find(store, table)):
            assert read_table(store, manifest).num_rows == N
        work(store)
        assert published(store) == expected
        collect(store, older_than_s=-60)
        assert everything(store) == expected
        assert store.files(".tmp") == []
        shutil.rmtree(root)
        if not dead:
            break
    assert at > 100
