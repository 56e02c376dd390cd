"""Files outside of a cache: read within bounds, written whole or not at all."""

from __future__ import annotations

import os
import socket
import stat

import pytest
from helpers import make_cache
from running import cascade

from cache import InputError
from cache.files import read_bytes, read_text, write_whole


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
    monkeypatch.setattr("cache.files.open", _Full, raising=False)
    assert "No space left on device" in cascade(*asked).refusal
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
