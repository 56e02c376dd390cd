"""Files outside of a cache: read within bounds, written whole or not at all."""

from __future__ import annotations

import csv
import os
import socket
import stat
import subprocess
import sys

import polars as pl
import pyarrow.parquet as pq
import pytest
from helpers import make_cache
from running import ROOT, cascade

from cache import InputError, read_bytes, read_text, write_whole
from cascade_cli.show.files import without_formulas


def _half(file):
    file.write(b"half")
    raise OSError(28, "No space left on device")


def test_where_one_cannot_be_written_all_stay(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        write_whole({first: lambda file: file.write(b"new"), second: _half})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a": b"old"}
    write_whole({first: lambda file: file.write(b"new")})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a": b"new"}


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write_whole({tmp_path / "link": lambda file: file.write(b"x")})
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_bytes() == b"x"


def _fifo(path):
    os.mkfifo(path)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _device(path):
    """A scratch copy of what /dev/full is; only root makes one, and not everywhere."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("no permission to make a device")


SPECIAL = {"a FIFO": _fifo, "a socket": _socket, "a device": _device}


@pytest.fixture(params=SPECIAL)
def special(request, tmp_path):
    """(what it is, a file that is not regular)."""
    path = tmp_path / "special.csv"
    SPECIAL[request.param](path)
    return request.param, path


@pytest.mark.parametrize("linked", [False, True])
def test_only_a_regular_file_is_replaced(special, tmp_path, linked):
    what, path = special
    before, named = path.lstat(), path
    if linked:
        named = tmp_path / "link.csv"
        named.symlink_to(path)
    with pytest.raises(OSError, match=f"{what} is there"):
        write_whole({named: lambda file: file.write(b"x")})
    after = path.lstat()
    assert (after.st_ino, after.st_mode, after.st_rdev) == (
        before.st_ino,
        before.st_mode,
        before.st_rdev,
    )
    assert named.is_symlink() == linked
    assert {file.name for file in tmp_path.iterdir()} == {path.name, named.name}


@pytest.mark.parametrize(
    "command", [("threshold", "-m1", "small", "-m2", "large"), ("export",)], ids=lambda c: c[0]
)
def test_a_commands_output_never_replaces_a_special_file(special, tmp_path, command):
    make_cache(tmp_path / "cache")
    what, path = special
    result = cascade(*command, "--cache", tmp_path / "cache", "-d", "toy", "-o", path)
    assert result.status == 2
    assert f"cannot write {path}: {what} is there" in result.refusal
    assert not stat.S_ISREG(path.lstat().st_mode)


def test_only_a_regular_file_is_read(special):
    what, path = special
    with pytest.raises(InputError, match="cannot read") as error:
        read_text(path)
    if what != "a socket":  # which cannot be opened at all
        assert f"it is {what}, not a regular file" in str(error.value)


@pytest.mark.parametrize(("size", "read"), [(0, True), (1 << 20, True), ((1 << 20) + 1, False)])
def test_no_more_than_the_limit_is_read(tmp_path, size, read):
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.truncate(size)
    if read:
        assert read_bytes(path, 1 << 20) == bytes(size)
    else:
        with pytest.raises(InputError, match="larger than 1 MiB"):
            read_bytes(path, 1 << 20)


def test_text_is_told_by_the_line_that_is_none(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffä\nb".encode())
    assert read_text(path) == "ä\nb"
    path.write_bytes(b"a\nb\n\xff")
    with pytest.raises(InputError, match="line 3: not text in UTF-8"):
        read_text(path)


class _Full:
    """A file on a disk that takes the first hundred bytes."""

    def __init__(self, path, mode):
        self.file = open(path, mode)  # noqa: SIM115

    def write(self, data):
        self.file.write(bytes(data)[:100])
        raise OSError(28, "No space left on device")

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


COMMANDS = {
    "policy": ("export", "--policy", "out", "-m1", "small", "-m2", "large"),
    "csv": ("export", "-o", "out/x.csv"),
    "parquet": ("export", "-o", "out/x.parquet"),
    "rows": ("threshold", "-m1", "small", "-m2", "large", "-o", "out/x.csv"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_leaves_what_was_exported(command, tmp_path, monkeypatch):
    make_cache(tmp_path / "cache", n=60)
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(tmp_path)
    asked = (*command, "--dataset", "toy", "--cache", "cache")
    assert cascade(*asked).status == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert before
    monkeypatch.setattr("cache.storage.files.open", _Full, raising=False)
    assert "No space left on device" in cascade(*asked).refusal
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


# --- outputs of commands --------------------------------------------------------------------------

WRITING = {
    "threshold": (("threshold", "-m1", "small", "-m2", "large"), ".csv"),
    "heterogeneity": (("heterogeneity",), ".csv"),
    "search": (("search",), ".csv"),
    "rules": (("rules", "-m1", "small", "-m2", "large"), ".csv"),
    "calibrate": (("calibrate",), ".csv"),
    "hash": (("hash", "--robustness"), ".csv"),
    "export": (("export",), ".csv"),
    "report": (("report",), ".html"),
}
PLACES = {
    "a FIFO": "a FIFO is there",
    "a folder": "a folder is there",
    "nowhere": "No such file or directory",
    "another ending": "its name must end in .",
}


def _place(tmp_path, kind, ending):
    path = tmp_path / f"out{ending}"
    if kind == "a FIFO":
        os.mkfifo(path)
    if kind == "a folder":
        path.mkdir()
    return {"nowhere": tmp_path / "no" / f"out{ending}", "another ending": tmp_path / "x.pdf"}.get(
        kind, path
    )


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("name", WRITING)
def test_a_place_that_cannot_be_written_is_told_before_the_work(name, kind, tmp_path, monkeypatch):
    def opened(*_):
        raise AssertionError("the cache was opened first")

    command, ending = WRITING[name]
    path = _place(tmp_path, kind, ending)
    monkeypatch.setattr("cache.storage.store.Store.__init__", opened)
    line = cascade(*command, "-d", "toy", "--cache", tmp_path / "cache", "-o", path).refusal
    assert line.startswith(f"cascade: cannot write {path}: {PLACES[kind]}")


# --- tables for spreadsheets ----------------------------------------------------------------------

NAMES = ("=1+1", "+cmd", "-2+3", "@SUM(A1)", "plain=1")


def _cells(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [cell for row in csv.reader(file) for cell in row]


@pytest.mark.parametrize(
    "command",
    [("heterogeneity",), ("threshold", "-s", "maxp", "--all-pairs"), ("export",), ("search",)],
    ids=lambda c: c[0],
)
def test_a_table_for_spreadsheets_holds_no_formulas(tmp_path, command):
    make_cache(tmp_path / "cache", models=NAMES, n=40)
    asked = (*command, "-d", "toy", "--cache", tmp_path / "cache", "-o")
    assert cascade(*asked, tmp_path / "raw.csv").status == 0
    done = cascade(*asked, tmp_path / "safe.csv", "--for-spreadsheets")
    assert done.status == 0, done.err
    raw, safe = _cells(tmp_path / "raw.csv"), _cells(tmp_path / "safe.csv")
    runs = [cell[:1] in ("=", "+", "-", "@") and not _number(cell) for cell in raw]
    assert any(runs)
    assert any(_number(cell) for cell in raw)
    expected = [f"'{cell}" if run else cell for cell, run in zip(raw, runs, strict=True)]
    assert safe == expected


def _number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_a_parquet_file_holds_names_as_they_are(tmp_path):
    make_cache(tmp_path / "cache", models=NAMES, n=40)
    asked = ("export", "-d", "toy", "--cache", tmp_path / "cache", "--for-spreadsheets", "-o")
    assert cascade(*asked, tmp_path / "wide.parquet").status == 0
    assert "=1+1_prediction" in pq.read_schema(tmp_path / "wide.parquet").names


@pytest.mark.parametrize("text", ["\tx", "\rx", "\nx", "=", "a\n=b", "", None, "-1.5", "–", "é=1"])
def test_what_a_formula_begins_with(text):
    runs = bool(text) and text[0] in "=+-@\t\r\n" and not _number(text)
    [cell] = without_formulas(pl.DataFrame({"x": [text]}, {"x": pl.String}))["x"]
    assert cell == (f"'{text}" if runs else text)


# --- temporaries ---------------------------------------------------------------------------------

WRITER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from cache import write_whole
def halting(file):
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.readline()
    file.write(b"whole")
write_whole({Path(sys.argv[2]): halting})
"""


def _writing(path):
    """A process that has written half of the file and waits for a line to go on."""
    words = [sys.executable, "-c", WRITER, str(ROOT), str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(words, **pipes)
    assert process.stdout.readline() == "writing\n"
    return process


def test_the_next_write_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    path = tmp_path / "[a] wide.csv"
    (tmp_path / ".[a] wide.csv.mine").write_text("mine")
    (tmp_path / ".a wide.csv.0123abcd").write_text("another file's")
    kept = {file.name for file in tmp_path.iterdir()}
    first, second = _writing(path), _writing(path)
    first.kill()
    first.communicate()
    assert len(list(tmp_path.iterdir())) == len(kept) + 2
    write_whole({path: lambda file: file.write(b"new")})
    assert path.read_bytes() == b"new"
    [live] = {file.name for file in tmp_path.iterdir()} - kept - {path.name}  # it still writes
    second.communicate("\n")
    assert second.returncode == 0
    assert path.read_bytes() == b"halfwhole"
    assert not (tmp_path / live).exists()
    assert {file.name for file in tmp_path.iterdir()} == kept | {path.name}


def test_two_that_write_one_file_again_and_again_do_not_sweep_each_other(tmp_path):
    path = tmp_path / "a.txt"
    pids = []
    for text in (b"a" * 1000, b"b" * 1000):
        pids.append(os.fork())
        if pids[-1] == 0:
            status = 1
            try:
                for _ in range(300):
                    write_whole({path: lambda file, text=text: file.write(text)})
                status = 0
            finally:
                os._exit(status)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    assert path.read_bytes() in (b"a" * 1000, b"b" * 1000)
    assert list(tmp_path.iterdir()) == [path]
