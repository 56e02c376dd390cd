"""Storage: what the operating system refuses, and object stores, which know no rename."""

from __future__ import annotations

import builtins
import errno
import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from helpers import logits_table, logits_writer, make_cache, tied_logits
from pyarrow import fs

import cache.storage.store
from cache import InputError, Store, find, load, read_table
from stages.scores import load as load_scores

LABELS = np.arange(50) % 4
LOGITS = tied_logits(np.random.default_rng(0), 50)


def _extract(store, made=None):
    writer = logits_writer(store, "test", "small", LABELS, 4)
    for part in range(3):
        if not writer.complete and part not in writer.done:
            writer.write(part, logits_table(LOGITS[part * 20 : (part + 1) * 20], part * 20))
            if made is not None:
                made.append(part)
    return writer.complete or writer.finish(3)


def _refuse(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


class _Full:
    """A file on a full disk: it takes half of what is written."""

    def __init__(self, file):
        self.file = file

    def write(self, data):
        half = memoryview(data)[: len(data) // 2]
        self.file.write(half)
        self.file.flush()
        _refuse(errno.ENOSPC)()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def _open_full(*args, **kwargs):
    return _Full(builtins.open(*args, **kwargs))


def _fail_write(patch, number):
    patch.setattr(cache.storage.store, "open", _open_full, raising=False)


def _fail_open(patch, number):
    patch.setattr(cache.storage.store, "open", _refuse(number), raising=False)


def _fail_fsync(patch, number):
    patch.setattr(os, "fsync", _refuse(number))


def _fail_replace(patch, number):
    patch.setattr(os, "replace", _refuse(number))


def _fail_mkdir(patch, number):
    patch.setattr(Path, "mkdir", _refuse(number))


FAULTS = [
    (_fail_write, errno.ENOSPC, "No space left on device; free some space"),
    (_fail_fsync, errno.ENOSPC, "No space left on device; free some space"),
    (_fail_fsync, errno.EIO, "Input/output error; check it"),
    (_fail_fsync, errno.EDQUOT, "quota"),
    (_fail_replace, errno.ENOSPC, "No space left on device; free some space"),
    (_fail_replace, errno.EACCES, "Permission denied; check its permissions"),
    (_fail_open, errno.EACCES, "Permission denied; check its permissions"),
    (_fail_open, errno.EROFS, "Read-only file system; choose another with --cache"),
    (_fail_mkdir, errno.EROFS, "Read-only file system; choose another with --cache"),
    (_fail_mkdir, errno.EACCES, "Permission denied; check its permissions"),
]


@pytest.mark.parametrize(("fail", "number", "words"), FAULTS)
def test_a_refused_write_is_one_line_and_resumes(store, fail, number, words):
    writer = logits_writer(store, "test", "small", LABELS, 4)
    writer.write(0, logits_table(LOGITS[:20]))
    with pytest.MonkeyPatch.context() as patch:
        fail(patch, number)
        with pytest.raises(InputError) as error:
            writer.write(1, logits_table(LOGITS[20:40], 20))
    text = str(error.value)
    assert words in text
    assert store.root in text
    assert "\n" not in text
    assert find(store, "logits") == []
    assert not list(Path(store.root, ".tmp").glob("*.part"))
    made = []
    manifest = _extract(store, made)
    assert made == [1, 2]
    assert read_table(store, manifest).column("sample_id").to_pylist() == list(range(50))


@pytest.mark.parametrize(("fail", "number", "words"), FAULTS)
def test_a_refused_manifest_publishes_nothing(store, fail, number, words):
    writer = logits_writer(store, "test", "small", LABELS, 4)
    writer.write(0, logits_table(LOGITS))
    with pytest.MonkeyPatch.context() as patch:
        fail(patch, number)
        with pytest.raises(InputError, match="cannot write the cache"):
            writer.finish(1)
    assert find(store, "logits") == [] or fail is _fail_fsync
    manifest = logits_writer(store, "test", "small", LABELS, 4).complete or writer.finish(1)
    assert read_table(store, manifest).num_rows == 50


@pytest.mark.parametrize("folder", ["", ".tmp", "logits", "_manifests", "logits/dataset=toy"])
def test_a_file_in_the_way(tmp_path, folder):
    path = tmp_path / "cache" / folder
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    with pytest.raises(InputError, match="a file is in the way") as error:
        _extract(Store(tmp_path / "cache"))
    assert "\n" not in str(error.value)
    assert path.read_text() == "in the way"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(InputError, match="Permission denied"):
        _extract(Store(tmp_path / "cache"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read anything")
def test_an_unreadable_part(small_cache):
    manifest = find(small_cache, "logits")[0]
    Path(small_cache.root, manifest.partition.path, "part-00000.parquet").chmod(0)
    with pytest.raises(InputError, match="cannot read the cache"):
        read_table(small_cache, manifest)


def test_a_name_too_long_for_the_file_system(tmp_path):
    with pytest.raises(InputError, match="File name too long; choose shorter names"):
        _extract(Store(tmp_path / ("x" * 300)))


def test_files_of_a_store_are_sorted_and_relative(store):
    for path in ("b/2", "b/1", "a/x/y", "c"):
        store.write(path, b"x")
    assert store.files("") == ["a/x/y", "b/1", "b/2", "c"]
    assert store.files("b") == ["b/1", "b/2"]
    assert store.files("none") == []
    store.delete("b/1")
    store.delete("b/1")
    assert store.files("b") == ["b/2"]
    assert (store.exists("b/2"), store.exists("b/1"), store.exists("b")) == (True, False, False)


# Object stores


class ObjectStore(fs.FileSystemHandler):
    """Keys and whole objects in memory: no folders, no rename, published when closed."""

    def __init__(self):
        self.objects = {}
        self.full_after = None
        self.uploads = 0

    def get_type_name(self):
        return "objects"

    def normalize_path(self, path):
        return path

    def get_file_info(self, paths):
        return [self._info(path) for path in paths]

    def _info(self, path):
        if path in self.objects:
            return fs.FileInfo(path, fs.FileType.File, size=len(self.objects[path]))
        folder = any(key.startswith(path + "/") for key in self.objects)
        return fs.FileInfo(path, fs.FileType.Directory if folder else fs.FileType.NotFound)

    def get_file_info_selector(self, selector):
        below = [key for key in self.objects if key.startswith(selector.base_dir + "/")]
        if not below and not selector.allow_not_found:
            raise FileNotFoundError(selector.base_dir)
        return [self._info(key) for key in reversed(below)]

    def open_input_file(self, path):
        if path not in self.objects:
            raise FileNotFoundError(errno.ENOENT, "no such object", path)
        return pa.PythonFile(io.BytesIO(self.objects[path]), mode="r")

    open_input_stream = open_input_file

    def open_output_stream(self, path, metadata):
        return pa.PythonFile(_Upload(self, path), mode="w")

    def delete_file(self, path):
        del self.objects[path]

    def _unused(self, *_):
        raise NotImplementedError("an object store has none of this")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _unused
    move = copy_file = open_append_stream = _unused


class _Upload(io.BytesIO):
    def __init__(self, owner, path):
        super().__init__()
        self.owner, self.path = owner, path

    def write(self, data):
        if self.owner.full_after is not None and self.owner.uploads >= self.owner.full_after:
            super().write(bytes(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "no space in the bucket")
        return super().write(data)

    def close(self):
        if not self.closed:
            self.owner.objects[self.path] = self.getvalue()
            self.owner.uploads += 1
        super().close()


@pytest.fixture
def bucket(monkeypatch):
    """An ObjectStore that Store("mem://bucket/deep") opens."""
    handler = ObjectStore()
    opened = (False, fs.PyFileSystem(handler), "bucket/deep")
    monkeypatch.setattr(cache.storage.store, "_open_root", lambda root: opened)
    return handler


def test_the_same_rows_in_an_object_store(bucket):
    there = Store("mem://bucket/deep")
    _extract(there)
    [manifest] = find(there, "logits")
    assert manifest == load(there, manifest.partition)
    table = read_table(there, manifest)
    assert table.column("sample_id").to_pylist() == list(range(50))
    assert np.array(table.column("logits").to_pylist(), np.float32).tobytes() == LOGITS.tobytes()
    assert all(key.startswith("bucket/deep/") for key in bucket.objects)
    assert not any("/.tmp/" in key for key in bucket.objects)


def test_the_stages_run_on_an_object_store(bucket, tmp_path, monkeypatch):
    there = load_scores(make_cache("mem://bucket/deep"), "toy", "test")
    monkeypatch.undo()
    here = load_scores(make_cache(tmp_path), "toy", "test")
    assert there.predictions.tolist() == here.predictions.tolist()
    assert there.scores["entropy"].tolist() == here.scores["entropy"].tolist()


@pytest.mark.parametrize("uploads", range(7))
def test_an_upload_that_fails_is_never_read(bucket, uploads):
    """Closing an upload that failed publishes half an object, as it does on S3."""
    store, made = Store("mem://bucket/deep"), []
    bucket.full_after = uploads
    with pytest.raises(InputError, match="cannot write the cache mem://bucket/deep") as error:
        _extract(store, made)
    assert "\n" not in str(error.value)
    bucket.full_after = None
    again = []
    manifest = _extract(store, again)
    assert sorted(made + again) == [0, 1, 2]
    assert read_table(store, manifest).column("sample_id").to_pylist() == list(range(50))


def test_damage_in_an_object_store_is_made_again(bucket):
    store, made = Store("mem://bucket/deep"), []
    manifest = _extract(store)
    [key] = [key for key in bucket.objects if key.endswith("part-00001.parquet")]
    bucket.objects[key] = bucket.objects[key][:-1]
    with pytest.raises(InputError, match="bytes instead of"):
        read_table(store, manifest)
    _extract(store, made)
    assert made == [1]
    assert read_table(store, manifest).num_rows == 50


def test_a_missing_object_is_a_missing_part(bucket):
    store = Store("mem://bucket/deep")
    manifest = _extract(store)
    for key in [key for key in bucket.objects if key.endswith("part-00001.parquet")]:
        del bucket.objects[key]
    with pytest.raises(InputError, match=r"part-00001.parquet is missing"):
        read_table(store, manifest)
