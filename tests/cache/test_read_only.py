"""A cache that cannot be written answers every question; nothing else that fails is passed over."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from full_cache import SmallRow
from helpers import MODELS, QUESTIONS, make_cache
from running import cascade
from sealing import sealed

from cache import InputError, Store
from stages import notices, results, scores


@pytest.fixture
def folder():
    """One that other users can reach."""
    path = Path(tempfile.mkdtemp(prefix="cascade-read-only-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def bare(folder):
    """A cache without scores."""
    store = make_cache(folder / "cache", n=80)
    shutil.rmtree(folder / "cache" / ".tmp")
    return store


def everything(root):
    return sorted(path for path in Path(root).rglob("*") if path.is_file())


def without_time(found):
    """A result but for how long it took."""
    if isinstance(found, dict):
        return {k: without_time(v) for k, v in found.items() if "seconds" not in k}
    return [without_time(each) for each in found] if isinstance(found, list) else found


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_a_read_only_cache_answers_as_any(bare, question, tmp_path):
    writable = make_cache(tmp_path / "cache", n=80)
    # First, so that what is imported is there: nobody may not read all of Python.
    expected = cascade(*question, "--cache", writable.root, "--json")
    before = everything(bare.root)
    notices.tell_once.cache_clear()
    with sealed(bare.root):
        found = cascade(*question, "--cache", bare.root, "--json")
    assert found.err.count("may only be read") == 1
    assert without_time(found.json) == without_time(expected.json)
    assert everything(bare.root) == before
    assert any((tmp_path / "cache" / "scores").rglob("*.parquet"))


def test_scores_in_memory_are_those_that_would_be_stored(bare, tmp_path):
    stored = scores.load(make_cache(tmp_path / "cache", n=80), "toy", "test")
    with sealed(bare.root):
        held = scores.load(bare, "toy", "test")
        assert results.save(bare, "threshold", held, {}, [SmallRow("small", 0.5)]) is None
    for name in ("labels", "predictions", "correct", "sample_ids"):
        assert (getattr(held, name) == getattr(stored, name)).all()
    for name, values in held.scores.items():
        assert (values == stored.scores[name]).all()
    assert [each.rows for each in held.manifests] == [80, 80, 80]


def test_other_failures_are_told(tmp_path):
    store = make_cache(tmp_path / "cache")
    fails = mock.patch("os.replace", side_effect=OSError(errno.EIO, os.strerror(errno.EIO)))
    with fails, pytest.raises(InputError, match=os.strerror(errno.EIO)):
        scores.load(store, "toy", "test")


def test_a_quota_used_up_is_a_full_disk(tmp_path, capsys):
    store = make_cache(tmp_path / "cache")
    with mock.patch("os.replace", side_effect=OSError(errno.EDQUOT, "quota")):
        assert scores.load(store, "toy", "test").models == tuple(sorted(MODELS))
    assert f"{store.root} has no space left" in capsys.readouterr().err
    assert store.files("scores") == []


def test_refusals_of_object_stores_count_too():
    store = Store("anywhere")
    notices.tell_once.cache_clear()

    def write(error):
        try:
            raise error
        except OSError as cause:
            raise InputError("cannot write") from cause

    assert (
        notices.kept_if_writable(store, lambda: write(OSError("AWS Error ACCESS_DENIED"))) is None
    )
    with pytest.raises(InputError):
        notices.kept_if_writable(store, lambda: write(OSError("AWS Error NETWORK_CONNECTION")))
    assert notices.kept_if_writable(store, lambda: 3) == 3
