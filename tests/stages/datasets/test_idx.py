"""The idx files of FashionMNIST, as torchvision reads them; and damaged ones."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pictures import pictures_of, write_archive

from cache import InputError
from stages.datasets import fingerprint, open_split, spec, splits

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 28, 28), np.uint8)
LABELS = (np.arange(20) % 10).astype(np.uint8)
PREFIXES = {"train": "train", "test": "t10k"}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, zipped: bool = False, labels: np.ndarray = LABELS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix in PREFIXES.values():
        for kind, array in (("images-idx3", GREY), ("labels-idx1", labels)):
            path = folder / f"{prefix}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    return folder


@pytest.mark.parametrize("split", PREFIXES)
def test_idx_files_read_as_torchvision_reads_them(split: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    write_idx(tmp_path / "FashionMNIST" / "raw")
    theirs = datasets.FashionMNIST(tmp_path, train=split == "train")
    ours = open_split("fashionmnist", split, tmp_path)
    np.testing.assert_array_equal(pictures_of(ours), theirs.data.numpy())
    assert ours.labels.tolist() == theirs.targets.tolist()
    assert list(ours.class_names) == theirs.classes
    assert ours.keys[3] == f"{PREFIXES[split]}-images-idx3-ubyte#3"


def test_gzipped_and_moved_files_are_the_same(tmp_path: Path) -> None:
    places = [("a", False), ("b", True), ("c/raw", True), ("d/fashionmnist", False)]
    prints = set()
    for place, zipped in places:
        write_idx(tmp_path / place, zipped)
        root = tmp_path / place.split("/")[0]
        assert splits("fashionmnist", root) == ["test", "train"]
        source = open_split("fashionmnist", "test", root)
        np.testing.assert_array_equal(pictures_of(source), GREY)
        prints.add(fingerprint(source))
    assert len(prints) == 1


def test_another_name_has_the_classes_of_its_labels(tmp_path: Path) -> None:
    source = open_split("mine", "test", write_idx(tmp_path))
    assert (source.class_names, source.n_classes, source.layout) == (None, 10, "idx")


def test_no_other_known_dataset_takes_these_files_or_the_other_way_round(tmp_path: Path) -> None:
    write_idx(tmp_path / "FashionMNIST" / "raw")
    write_archive(tmp_path)
    assert open_split("cifar10", "test", tmp_path).layout == "cifar-binary"
    assert open_split("fashionmnist", "test", tmp_path).layout == "idx"
    for name in ("cifar100", "imagenet"):
        with pytest.raises(InputError, match=f"no images of {name} there"):
            open_split(name, "test", tmp_path)


IMAGES = idx(GREY)
DAMAGED = {
    "cut": (IMAGES[:-1], "its content is of another length"),
    "longer": (IMAGES + b"\0", "its content is of another length"),
    "empty": (b"", "no idx file of 3 dimensions"),
    "labels": (idx(LABELS), "no idx file of 3 dimensions"),
    "int32": (b"\0\0\x0c\3" + IMAGES[4:], "no idx file of 3 dimensions"),
    "huge": (struct.pack(">HBB3I", 0, 8, 3, *[2**31] * 3), "claims 9903520314283042199192993792"),
    "fewer": (idx(GREY[:9]), "9 pictures, 20 labels"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_idx_files_are_refused(name: str, zipped: bool, tmp_path: Path) -> None:
    data, found = DAMAGED[name]
    write_idx(tmp_path, zipped)
    path = tmp_path / f"t10k-images-idx3-ubyte{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(InputError, match=found) as error:
        open_split("fashionmnist", "test", tmp_path)
    assert "\n" not in str(error.value)
    assert len(open_split("fashionmnist", "train", tmp_path)) == 20


def test_a_damaged_gzip_and_a_label_out_of_range_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, zipped=True)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    whole = path.read_bytes()
    for data in (whole[:-9], whole[:12] + b"\xff" + whole[13:], b"no gzip"):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz: .*fetch it again"):
            open_split("fashionmnist", "test", tmp_path)
    path.write_bytes(gzip.compress(idx(LABELS + 5)))
    with pytest.raises(InputError, match="row 5 has label 10, expected 0 to 9"):
        open_split("fashionmnist", "test", tmp_path)
    assert spec("fashionmnist").classes == 10


def test_memory_is_taken_for_what_is_there_not_for_what_a_header_claims(tmp_path: Path) -> None:
    """Headers that agree on four million pictures, 3.3 GB, over files that hold nothing."""
    n = 1 << 22
    write_idx(tmp_path, False)
    for name, dimensions, shape in (("images", 3, (n, 28, 28)), ("labels", 1, (n,))):
        head = struct.pack(f">HBB{dimensions}I", 0, 8, dimensions, *shape)
        (tmp_path / f"t10k-{name}-idx{dimensions}-ubyte").write_bytes(head)
    tracemalloc.start()
    with pytest.raises(InputError, match=f"its header says {n * 784} bytes, its content is of"):
        open_split("fashionmnist", "test", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 26


def test_counts_that_differ_are_told_before_anything_is_read(tmp_path: Path) -> None:
    write_idx(tmp_path, False)
    head = struct.pack(">HBB3I", 0, 8, 3, 150, 8, 8)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(head)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 200))
    with pytest.raises(InputError, match="150 pictures, 200 labels; write or fetch it again"):
        open_split("fashionmnist", "test", tmp_path)
