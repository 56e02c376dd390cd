"""Parquet files as Hugging Face lays them out."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import (
    LABELS,
    NAMES,
    PICTURES,
    REAL,
    SHARED,
    image_table,
    pictures_of,
    png,
    real_table,
    write_layouts,
    write_parquet,
)
from PIL import Image

from cache import InputError
from stages.datasets import open_split, spec, splits
from stages.datasets.row_groups import RowGroupCache


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layouts(tmp_path_factory.mktemp("images"))


@pytest.mark.skipif(not REAL.exists(), reason="needs ../shared/data/cifar10")
def test_real_parquet_reads_as_pandas_and_pillow_read_it() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(REAL)
    source = open_split("cifar10", "test", REAL.parent)
    assert splits("cifar10", REAL.parent) == ["test", "train", "val"]
    assert source.labels.tolist() == frame["label"].tolist()
    assert list(source.keys) == [row["path"] for row in frame["img"]]
    for i in range(0, 5000, 97):  # across its five row groups
        image = Image.open(io.BytesIO(frame["img"][i]["bytes"]))
        np.testing.assert_array_equal(source.read(i), np.asarray(image.convert("RGB")))


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data/imagenet-sample")
def test_grey_stays_grey_in_imagenet() -> None:
    table = pq.read_table(SHARED / "imagenet-sample" / "val.parquet").to_pylist()
    source = open_split("imagenet", "val", SHARED / "imagenet-sample")
    assert source.class_names == spec("imagenet").class_names
    folders = spec("imagenet").class_folders
    assert [folders[label] for label in source.labels] == [key[:9] for key in source.keys]
    grey = [i for i, r in enumerate(table) if Image.open(io.BytesIO(r["img"]["bytes"])).mode == "L"]
    assert len(grey) == 7
    for i in range(20):
        assert source.read(i).shape[2:] == (() if i in grey else (3,))
    for i in grey:
        expected = np.asarray(Image.open(io.BytesIO(table[i]["img"]["bytes"])))
        np.testing.assert_array_equal(source.read(i), expected)


PLACES = {
    "test.parquet": "test.parquet",
    "test-00000-of-00001.parquet": "test-00000-of-00001.parquet",
    "data/test-00000-of-00001.parquet": "test-00000-of-00001.parquet",
    "plain_text/test.parquet": "test.parquet",
    "test/0000.parquet": "test/0000.parquet",
    "plain_text/test/part-0.parquet": "test/part-0.parquet",
    "cifar10/data/test.parquet": "test.parquet",
}


@pytest.mark.parametrize("place", PLACES)
def test_parquet_is_found_wherever_the_hub_puts_it(place: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / place, real_table())
    source = open_split("cifar10", "test", tmp_path)
    assert source.labels.tolist() == LABELS.tolist()
    assert source.keys[59] == f"{PLACES[place]}#59"
    assert splits("cifar10", tmp_path) == ["test"]


def test_a_parquet_file_may_be_the_data_itself(root: Path) -> None:
    assert splits("cifar10", root / "parquet" / "test.parquet") == ["test"]
    assert len(open_split("cifar10", "test", root / "parquet" / "test.parquet")) == 60


def test_shards_follow_each_other_in_order(tmp_path: Path) -> None:
    table = real_table()
    for n, rows in enumerate(((0, 25), (25, 1), (26, 34))):
        write_parquet(
            tmp_path / f"test-0000{n}-of-00003.parquet", table.slice(*rows), row_group_size=9
        )
    source = open_split("cifar10", "test", tmp_path)
    np.testing.assert_array_equal(pictures_of(source), PICTURES)
    assert source.labels.tolist() == LABELS.tolist()
    assert source.keys[27] == "test-00002-of-00003.parquet#1"


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["a/1.png", "b/1.png"], True),
        (["a/1.png", "a/1.png"], False),
        (["a/1.png", None], False),
        (["/home/me/1.png", "/home/me/2.png"], False),
        (["C:\\me\\1.png", "b.png"], False),
        (["..a.png", "b..png"], True),
    ],
)
def test_recorded_paths_are_keys_only_if_relative_and_unique(
    paths: list[str | None], kept: bool, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "val.parquet", image_table([png(PICTURES[0])] * 2, [0, 1], paths))
    keys = list(open_split("mine", "val", tmp_path).keys)
    assert keys == (paths if kept else ["val.parquet#0", "val.parquet#1"])


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
@pytest.mark.parametrize("names", [("image", "fine_label"), ("img", "labels")])
def test_parquet_of_plain_binary_images(
    kind: pa.DataType, names: tuple[str, str], tmp_path: Path
) -> None:
    columns = [pa.array([png(p) for p in PICTURES], kind), pa.array(LABELS, pa.uint8())]
    try:
        write_parquet(tmp_path / "test.parquet", pa.table(columns, names=list(names)))
    except pa.ArrowNotImplementedError:
        pytest.skip(f"pyarrow {pa.__version__} writes no {kind}")
    source = open_split("mine", "test", tmp_path)
    np.testing.assert_array_equal(pictures_of(source), PICTURES)
    assert source.labels.tolist() == LABELS.tolist()


def test_parquet_with_the_classes_in_another_order_is_mapped_by_name(tmp_path: Path) -> None:
    images, names = [png(p) for p in PICTURES], list(reversed(NAMES))
    write_parquet(tmp_path / "test.parquet", image_table(images, 9 - LABELS, names=names))
    assert open_split("cifar10", "test", tmp_path).labels.tolist() == LABELS.tolist()
    ours = open_split("mine", "test", tmp_path)
    assert ours.labels.tolist() == (9 - LABELS).tolist()
    assert list(ours.class_names) == names


def counting(loads: list[int]) -> Callable[[int], pa.ChunkedArray]:
    def load(group: int) -> pa.ChunkedArray:
        loads.append(group)
        time.sleep(0.001)  # long enough for other threads to ask for the same
        return pa.chunked_array([pa.array([group] * 1000)])

    return load


def test_threads_load_each_row_group_once() -> None:
    loads: list[int] = []
    columns = RowGroupCache(counting(loads), budget_bytes=20 * 8000)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda i: columns[i // 50][0].as_py(), range(1000)))
    assert values == [i // 50 for i in range(1000)]
    assert sorted(loads) == list(range(20))


def test_row_groups_beyond_the_budget_are_let_go_oldest_first() -> None:
    loads: list[int] = []
    columns = RowGroupCache(counting(loads), budget_bytes=3 * 8000)
    for group in (0, 1, 2, 0, 3, 0, 2, 1):  # 3 sends 1 away, the oldest; 0 and 2 stay
        assert columns[group][0].as_py() == group
    assert loads == [0, 1, 2, 3, 1]
    tiny = RowGroupCache(counting(loads), budget_bytes=1)
    assert [tiny[g][0].as_py() for g in (7, 8, 7, 8)] == [7, 8, 7, 8]
    assert loads[5:] == [7, 8]


def test_a_row_group_that_failed_is_tried_again() -> None:
    answers = iter([OSError("away"), pa.chunked_array([[7]])])

    def load(group: int) -> pa.ChunkedArray:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    columns = RowGroupCache(load)
    with pytest.raises(OSError, match="away"):
        columns[0]
    assert columns[0][0].as_py() == 7


ONE = [png(PICTURES[0])] * 4


TABLES: dict[str, tuple[pa.Table, str]] = {
    "null label": (image_table(ONE, [0, 1, None, 3]), "row 2 has no label"),
    "negative": (image_table(ONE, [0, -7, 2, 3]), "row 1 has label -7"),
    "too large": (image_table(ONE, [0, 1, 2, 10]), "row 3 has label 10, expected 0 to 9"),
    "huge": (image_table(ONE, pa.array([0, 1, 2, 2**64 - 1], pa.uint64())), "row 3 has label 184"),
    "text label": (image_table(ONE, pa.array(list("abcd"))), "column label is no integer"),
    "no label": (pa.table({"img": ONE, "class": [0] * 4}), "no label column; it has img, class"),
    "no image": (pa.table({"pixels": ONE, "label": [0] * 4}), "no image column; it has pixels"),
    "image kind": (pa.table({"img": [0] * 4, "label": [0] * 4}), "column img is int64"),
    "3 classes": (
        image_table(ONE, [0] * 4, names=["a", "b", "c"]),
        "3 classes, but cifar10 has 10",
    ),
    "no rows": (image_table([], []), "has no images"),
    "metadata": (
        image_table(ONE, [0] * 4).replace_schema_metadata({"huggingface": "{"}),
        "test.parquet",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_parquet_file_of_wrong_columns_or_labels_is_refused(name: str, tmp_path: Path) -> None:
    table, found = TABLES[name]
    write_parquet(tmp_path / "test.parquet", table)
    with pytest.raises(InputError, match=found) as error:
        open_split("cifar10", "test", tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_or_doubled_shard_is_named(tmp_path: Path) -> None:
    for n in (0, 2):
        write_parquet(tmp_path / f"test-0000{n}-of-00003.parquet", real_table())
    with pytest.raises(InputError, match="shard 1 of test-00000-of-00003"):
        open_split("cifar10", "test", tmp_path)
    write_parquet(tmp_path / "test.parquet", real_table())
    with pytest.raises(InputError, match="different sets of files for one split"):
        open_split("cifar10", "test", tmp_path)


def test_shards_of_other_classes_are_refused(tmp_path: Path) -> None:
    for n, names in enumerate((["a", "b"], ["b", "a"])):
        path = tmp_path / f"test-0000{n}-of-00002.parquet"
        write_parquet(path, image_table(ONE, [0] * 4, names=names))
    with pytest.raises(InputError, match="other class names than"):
        open_split("mine", "test", tmp_path)


def test_a_small_file_of_very_many_rows_is_refused_by_its_header(tmp_path: Path) -> None:
    n = 3_000_000
    labels = pa.array(np.zeros(n, np.int8))
    images = pa.nulls(n, pa.binary())
    path = tmp_path / "test.parquet"
    pq.write_table(pa.table({"img": images, "label": labels}), path, compression="zstd")
    size = path.stat().st_size
    with pytest.raises(InputError, match=f"claims 3,000,000 rows in {size:,} bytes; download"):
        open_split("many", "test", tmp_path)
