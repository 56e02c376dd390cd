"""Files outside of a cache: whole or not at all."""

from __future__ import annotations

import pytest
from helpers import make_cache
from running import cascade

from cache.files import write_whole


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
