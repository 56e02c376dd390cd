"""Folders of images, as torchvision reads them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import (
    LABELS,
    NAMES,
    PICTURES,
    pictures_of,
    png,
    write_folders,
    write_layouts,
)

from cache import InputError
from stages.datasets import fingerprint, open_split


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layouts(tmp_path_factory.mktemp("images"))


def test_folder_reads_as_torchvision_reads_it(root: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    for name in ("anything", "cifar10"):
        ours = open_split(name, "test", root / "folders")
        theirs = datasets.ImageFolder(root / "folders" / "test")
        assert [f"test/{c}" for c in theirs.classes] == sorted(
            {k.rsplit("/", 1)[0] for k in ours.keys}
        )
        assert ours.labels.tolist() == [NAMES.index(theirs.classes[t]) for t in theirs.targets]
        for i in range(len(theirs)):
            np.testing.assert_array_equal(ours.read(i), np.asarray(theirs[i][0]))


def test_folder_holds_the_same_pictures_in_the_order_of_its_names(root: Path) -> None:
    source = open_split("cifar10", "test", root / "folders")
    order = [int(Path(key).stem) for key in source.keys]
    assert sorted(order) == list(range(60))
    assert list(source.keys) == sorted(source.keys)
    np.testing.assert_array_equal(pictures_of(source), PICTURES[order])
    np.testing.assert_array_equal(source.labels, LABELS[order])


def test_a_class_missing_in_one_split_does_not_shift_the_others(tmp_path: Path) -> None:
    for path in ("train/a", "train/b", "train/c", "test/a", "test/c", "docs/0-figures"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "1.PNG").write_bytes(png(PICTURES[0]))
    source = open_split("mine", "test", tmp_path)
    assert source.class_names == ("a", "b", "c")
    assert source.labels.tolist() == [0, 2]
    assert list(source.keys) == ["test/a/1.PNG", "test/c/1.PNG"]


def test_hidden_files_and_other_files_are_no_images(tmp_path: Path) -> None:
    for name in (".hidden.png", "notes.txt", "deep/2.png", "10.png", "1.png", ".git/3.png"):
        path = tmp_path / "test" / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(PICTURES[0]))
    (tmp_path / "test" / ".cache").mkdir()
    source = open_split("mine", "test", tmp_path)
    assert list(source.keys) == ["test/a/1.png", "test/a/10.png", "test/a/deep/2.png"]
    assert source.class_names == ("a",)


def test_the_split_folder_itself_gives_the_same_keys(root: Path) -> None:
    whole = open_split("cifar10", "test", root / "folders")
    alone = open_split("cifar10", "test", root / "folders" / "test")
    assert fingerprint(whole) == fingerprint(alone)
    np.testing.assert_array_equal(alone.read(5), whole.read(5))


def test_a_damaged_file_in_a_folder_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path)
    source = open_split("cifar10", "test", tmp_path)
    (tmp_path / source.keys[7]).write_bytes(b"nothing")
    (tmp_path / source.keys[8]).unlink()
    for i, found in ((7, "not an image"), (8, "No such file")):
        with pytest.raises(InputError, match=found) as error:
            source.read(i)
        assert f"{source.keys[i]} (sample {i})" in str(error.value)


def test_a_folder_that_is_no_class_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path)
    (tmp_path / "test" / "lorry").mkdir()
    with pytest.raises(
        InputError, match=r"test/lorry: no class of cifar10, whose class folders are air"
    ):
        open_split("cifar10", "test", tmp_path)
    assert open_split("mine", "test", tmp_path).n_classes == 11


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are not UTF-8")
def test_a_file_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write_folders(tmp_path)
    os.close(os.open(os.fsencode(tmp_path / "test" / "cat") + b"/\xff.png", os.O_CREAT))
    with pytest.raises(InputError, match="not UTF-8"):
        open_split("cifar10", "test", tmp_path)
