"""Images of which nobody knows the labels: in any layout, and labels that are there count not."""

from __future__ import annotations

import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import LABELS, NAMES, PICTURES, png, write_layouts
from running import write_folders

from cache import InputError, fingerprint_of
from stages.datasets import fingerprint, open_split, reopened

N = 12


def _write_flat(folder: Path, places: list[str]) -> None:
    for i, place in enumerate(places):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(PICTURES[i]))


def _is_unlabelled(source, keys, pictures) -> None:
    assert source.labels.tolist() == [-1] * len(keys)
    assert (source.labelled, source.counts_folders) == (False, False)
    assert list(source.keys) == keys
    assert fingerprint(source) == fingerprint_of(np.full(len(keys), -1), keys)
    for i, picture in enumerate(pictures):
        np.testing.assert_array_equal(source.read(i), picture)
    again = reopened(pickle.loads(pickle.dumps(source.opening)))
    assert fingerprint(again) == fingerprint(source)


def test_a_flat_folder_is_the_split_that_it_is_called(tmp_path):
    names = [f"{i:02}.png" for i in range(N)]
    _write_flat(tmp_path, [*names, "below/13.png"])
    (tmp_path / "notes.txt").write_text("none")
    source = open_split("mine", "live", tmp_path, unlabelled=True)
    _is_unlabelled(source, names, PICTURES[:N])
    assert (source.split, source.class_names) == ("live", None)


@pytest.mark.parametrize("place", ["", "mine/"])
def test_folders_below_a_split_are_no_classes(tmp_path, place):
    names = [f"live/day{i % 2}/{i:02}.png" for i in range(N)]
    _write_flat(tmp_path / place, [*names, "other/a/14.png"])
    source = open_split("mine", "live", tmp_path, unlabelled=True)
    order = sorted(range(N), key=names.__getitem__)
    _is_unlabelled(source, [names[i] for i in order], PICTURES[order])
    assert source.class_names is None


def test_class_folders_may_be_read_without_their_labels(tmp_path):
    order = np.argsort(LABELS, kind="stable")
    write_folders(tmp_path, "test", PICTURES[order], LABELS[order])
    usual = open_split("cifar10", "test", tmp_path)
    source = open_split("cifar10", "test", tmp_path, unlabelled=True)
    _is_unlabelled(source, list(usual.keys), PICTURES[order])
    assert source.class_names == NAMES


@pytest.mark.parametrize("labels", [None, [-1] * N, [None] * N, [7] * N])
def test_a_parquet_file_needs_no_label_column(tmp_path, labels):
    columns = {"image": [png(picture) for picture in PICTURES[:N]]}
    columns |= {} if labels is None else {"label": pa.array(labels, pa.int64())}
    pq.write_table(pa.table(columns), tmp_path / "live.parquet", row_group_size=5)
    source = open_split("mine", "live", tmp_path, unlabelled=True)
    _is_unlabelled(source, [f"live.parquet#{i}" for i in range(N)], PICTURES[:N])
    if labels is None or labels[0] != 7:
        with pytest.raises(InputError, match="--unlabelled"):
            open_split("mine", "live", tmp_path)


def test_a_parquet_file_with_some_labels_is_refused(tmp_path):
    columns = {"image": [png(PICTURES[0])] * 2, "label": pa.array([1, None], pa.int64())}
    pq.write_table(pa.table(columns), tmp_path / "live.parquet")
    with pytest.raises(InputError, match=r"row 1 has no label .null.; leave the row out"):
        open_split("mine", "live", tmp_path)


def test_a_tar_needs_no_labels(tmp_path):
    names = [f"{i:02}.png" for i in range(N)]
    _write_flat(tmp_path / "pictures", names)
    with tarfile.open(tmp_path / "live.tar", "w") as tar:
        for name in names:
            tar.add(tmp_path / "pictures" / name, name)
    source = open_split("mine", "live", tmp_path, unlabelled=True)
    _is_unlabelled(source, names, PICTURES[:N])
    with pytest.raises(InputError, match=r"has no label beside it.*--unlabelled"):
        open_split("mine", "live", tmp_path)


def test_labels_of_every_other_layout_are_left_out(tmp_path):
    root = write_layouts(tmp_path)
    for folder in (each for each in root.iterdir() if each.is_dir()):
        usual = open_split("cifar10", "test", folder)
        found = open_split("cifar10", "test", folder, unlabelled=True)
        assert (found.layout, sorted(found.keys)) == (usual.layout, sorted(usual.keys))
        assert not found.labelled
    assert not open_split("digits", "test", unlabelled=True).labelled


def test_a_folder_without_images_is_refused_in_one_line(tmp_path):
    _write_flat(tmp_path, ["a.png"])
    with pytest.raises(InputError, match="--unlabelled"):
        open_split("mine", "live", tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"no images of mine in .*live/, and none in") as error:
        open_split("mine", "live", tmp_path, unlabelled=True)
    assert "\n" not in str(error.value)
