"""CIFAR's archives: pickles that are read but never run."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from pictures import (
    LABELS,
    NAMES,
    PICTURES,
    pictures_of,
    write_archive,
    write_batch,
    write_layouts,
)

from cache import InputError
from stages.datasets import fingerprint, open_split


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layouts(tmp_path_factory.mktemp("images"))


def test_archive_reads_as_torchvision_reads_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *_: True)
    for split in ("train", "test"):
        theirs = datasets.CIFAR10(root / "archive", train=split == "train")
        ours = open_split("cifar10", split, root / "archive")
        np.testing.assert_array_equal(pictures_of(ours), theirs.data)
        assert ours.labels.tolist() == theirs.targets
        assert list(ours.class_names) == theirs.classes


def test_archive_keys_do_not_depend_on_where_it_lies(root: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").symlink_to(root / "archive" / "cifar-10-batches-py")
    outside, inside = (
        open_split("cifar10", "train", data) for data in (root / "archive", tmp_path / "moved")
    )
    assert outside.keys[12] == "cifar-10-batches-py/data_batch_2/picture_0000.png"
    assert fingerprint(outside) == fingerprint(inside)


@pytest.mark.parametrize("protocol", range(6))
def test_archive_of_any_pickle_protocol(protocol: int, tmp_path: Path) -> None:
    source = open_split("cifar10", "train", write_archive(tmp_path, protocol))
    np.testing.assert_array_equal(pictures_of(source), PICTURES)
    assert source.labels.tolist() == LABELS.tolist()


def test_archive_written_by_python_2(tmp_path: Path) -> None:
    pixels = PICTURES[:1].transpose(0, 3, 1, 2).tobytes()
    batch = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n"
        b"q\x04K\x00\x85U\x01b\x87Rq\x06(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x07U\x02u1K\x00K\x01"
        b"\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + struct.pack("<i", len(pixels)) + pixels + b"tbU\x06labels]K\x03aU\tfilenames]"
        b"U\x05a.pngau."
    )
    assert pickle.loads(batch, encoding="bytes")[b"labels"] == [3]  # the test's own pickle is sound
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.parent.mkdir()
    path.write_bytes(batch)
    source = open_split("cifar10", "test", tmp_path)
    np.testing.assert_array_equal(source.read(0), PICTURES[0])
    assert (source.labels.tolist(), source.keys) == ([3], ["cifar-10-batches-py/test_batch/a.png"])


def test_archive_under_another_name_takes_its_own_class_names(root: Path) -> None:
    assert open_split("mine", "test", root / "archive").class_names == NAMES


def test_a_planted_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    for protocol in range(6):
        write_batch(path, PICTURES, LABELS)
        path.write_bytes(pickle.dumps({b"labels": [1], b"data": Planted()}, protocol))
        with pytest.raises(InputError, match=r"refused, because it wants to run \w+\.system"):
            open_split("cifar10", "test", tmp_path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "ran").exists()  # it would have run


def test_a_pickle_cannot_reach_numpy_itself(tmp_path: Path) -> None:
    """An array of objects over raw bytes would be pointers of the attacker's choice."""
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.parent.mkdir()
    for value in (np.array([print]), np.zeros((1, 3072), np.float32), np.dtype("V8")):
        path.write_bytes(pickle.dumps({b"labels": [1], b"data": value}))
        with pytest.raises(InputError, match=r"refused|where uint8|data is"):
            open_split("cifar10", "test", tmp_path)


BATCHES: dict[str, tuple[dict[bytes, object], str]] = {
    "short rows": ({b"data": np.zeros((1, 3071), np.uint8)}, r"\(1, 3071\), expected \(1, 3072\)"),
    "no rows": ({b"data": np.zeros((2, 3072), np.uint8)}, "2 pictures, 1 labels"),
    "no data": ({b"data": None}, "NoneType"),
    "label 10": ({b"labels": [10]}, "row 0 has label 10, expected 0 to 9"),
    "label -1": ({b"labels": [-1]}, "row 0 has label -1"),
    "label name": ({b"labels": [b"cat"]}, "not a list of integers"),
    "names": ({b"filenames": []}, "0 names for 1 labels"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_of_wrong_shape_or_labels_is_refused(name: str, tmp_path: Path) -> None:
    change, found = BATCHES[name]
    good = {b"labels": [1], b"data": np.zeros((1, 3072), np.uint8), b"filenames": [b"a.png"]}
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(good))
    assert open_split("cifar10", "test", tmp_path).labels.tolist() == [1]
    path.write_bytes(pickle.dumps({**good, **change}))
    with pytest.raises(InputError, match=found):
        open_split("cifar10", "test", tmp_path)


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    write_archive(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    assert len(open_split("cifar10", "test", tmp_path)) == 60
    with pytest.raises(InputError, match="data_batch_3: this batch is missing"):
        open_split("cifar10", "train", tmp_path)
