"""Every layout must give the same pictures and labels, and every damage one line."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import struct
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cache.errors import InputError
from stages.datasets import ArraySource, Source, fingerprint, listing, open_split, spec, splits
from stages.datasets import download as fetch
from stages.datasets.download import DOWNLOADERS
from stages.datasets.row_groups import RowGroupCache

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
REAL = SHARED / "cifar10" / "test.parquet"
NAMES = spec("cifar10").class_names
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def few_images() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [60, 32, 32, 3] and labels [60]; real CIFAR-10 where it is at hand."""
    if not REAL.exists():
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (60, 32, 32, 3), np.uint8), np.arange(60) % 10
    table = pq.read_table(REAL).slice(0, 60).to_pylist()
    pictures = [np.asarray(Image.open(io.BytesIO(row["img"]["bytes"]))) for row in table]
    return np.stack(pictures), np.array([row["label"] for row in table])


PICTURES, LABELS = few_images()


def png(picture: np.ndarray, mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(picture)
    (image.convert(mode) if mode else image).save(stream, "png")
    return stream.getvalue()


def write_batch(path: Path, pictures: np.ndarray, labels: np.ndarray, protocol: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    batch = {
        "batch_label": "testing batch 1 of 1",
        "labels": labels.tolist(),
        "data": pictures.transpose(0, 3, 1, 2).reshape(len(pictures), 3072).copy(),
        "filenames": [f"picture_{i:04d}.png" for i in range(len(labels))],
    }
    path.write_bytes(pickle.dumps(batch, protocol))


def write_archive(root: Path, protocol: int = 2) -> Path:
    folder = root / "cifar-10-batches-py"
    write_batch(folder / "test_batch", PICTURES, LABELS, protocol)
    for n in range(5):
        rows = slice(12 * n, 12 * n + 12)
        write_batch(folder / f"data_batch_{n + 1}", PICTURES[rows], LABELS[rows], protocol)
    names = {"label_names": list(NAMES)}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol))
    return root


def write_folders(root: Path, split: str = "test", names: tuple[str, ...] = NAMES) -> Path:
    for i, (picture, label) in enumerate(zip(PICTURES, LABELS, strict=True)):
        path = root / split / names[label] / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(picture))
    return root


def image_table(
    images: list[bytes | None],
    labels: object,
    paths: list[str | None] | None = None,
    column: str = "img",
    names: list[str] | None = None,
) -> pa.Table:
    rows = [
        {"bytes": b, "path": p} for b, p in zip(images, paths or [None] * len(images), strict=True)
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    label = labels if isinstance(labels, pa.Array) else pa.array(labels, pa.int64())
    table = pa.table({column: pa.array(rows, kind), "label": label})
    if names is None:
        return table
    features = {column: {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    return table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )


def real_table() -> pa.Table:
    return image_table([png(p) for p in PICTURES], LABELS, names=list(NAMES))


def write_parquet(path: Path, table: pa.Table, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def pictures_of(source: Source) -> np.ndarray:
    return np.stack([source.read(i) for i in range(len(source))])


# --- the layouts agree ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_archive(root / "archive")
    write_folders(root / "folders")
    write_parquet(root / "parquet" / "test.parquet", real_table(), row_group_size=7)
    return root


def test_archive_parquet_and_the_original_pictures_are_the_same(root: Path) -> None:
    for layout in ("archive", "parquet"):
        source = open_split("cifar10", "test", root / layout)
        np.testing.assert_array_equal(pictures_of(source), PICTURES)
        np.testing.assert_array_equal(source.labels, LABELS)
        assert (source.class_names, source.n_classes) == (NAMES, 10)
        assert source.labels.dtype == np.int32


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


def test_digits_need_no_data() -> None:
    assert splits("digits") == ["train", "val", "test"]
    source = open_split("digits", "val")
    assert (source.dataset, source.split, source.n_classes) == ("digits", "val", 10)
    train = (
        np.concatenate([open_split("digits", "train").read(i).ravel() for i in range(797)]) / 255
    )
    assert spec("digits").mean[0] == pytest.approx(train.mean(), abs=1e-4)
    assert spec("digits").std[0] == pytest.approx(train.std(), abs=1e-4)


# --- keys, places, orders ------------------------------------------------------------------------


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


def test_layouts_side_by_side_give_their_own_splits(tmp_path: Path) -> None:
    write_folders(tmp_path, "val")
    write_parquet(tmp_path / "test.parquet", real_table())
    assert splits("cifar10", tmp_path) == ["test", "val"]
    assert open_split("cifar10", "val", tmp_path).layout == "image-folder"
    assert open_split("cifar10", "test", tmp_path).layout == "parquet"


def test_listing_describes_what_is_known_and_what_is_there(root: Path) -> None:
    known = {row["name"]: row for row in listing()}
    assert known["digits"]["splits"] == ["train", "val", "test"]
    assert known["cifar10"]["classes"] == 10
    rows = {row["name"]: row for row in listing(root / "folders")}
    assert set(rows) == {*known, "folders"}
    assert (rows["folders"]["classes"], rows["folders"]["splits"]) == (10, ["test"])
    assert set(rows["folders"]) == set(rows["cifar10"])


# --- decoding ------------------------------------------------------------------------------------

IMAGES: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "grey": (lambda: Image.fromarray(PICTURES[0]).convert("L"), "PNG"),
    "bilevel": (lambda: Image.fromarray(PICTURES[0]).convert("1"), "PNG"),
    "palette": (lambda: Image.fromarray(PICTURES[0]).quantize(16), "PNG"),
    "alpha": (lambda: Image.fromarray(PICTURES[0]).convert("RGBA"), "PNG"),
    "cmyk": (lambda: Image.fromarray(PICTURES[0]).convert("CMYK"), "JPEG"),
    "bmp": (lambda: Image.fromarray(PICTURES[0]), "BMP"),
    "ppm": (lambda: Image.fromarray(PICTURES[0]), "PPM"),
    "tiff": (lambda: Image.fromarray(PICTURES[0]), "TIFF"),
    "webp": (lambda: Image.fromarray(PICTURES[0]), "WEBP"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_other_kinds_of_images_decode_as_pillow_converts_them(name: str, tmp_path: Path) -> None:
    make, format_ = IMAGES[name]
    stream = io.BytesIO()
    make().save(stream, format_)
    write_parquet(tmp_path / "test.parquet", image_table([stream.getvalue()], [0]))
    image = Image.open(io.BytesIO(stream.getvalue()))
    expected = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    got = open_split("mine", "test", tmp_path).read(0)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


def test_a_transparent_palette_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(PICTURES[0]).quantize(16)
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=bytes([0, 128, 255]))
    write_parquet(tmp_path / "test.parquet", image_table([stream.getvalue()], [0]))
    got = open_split("mine", "test", tmp_path).read(0)
    np.testing.assert_array_equal(got, np.asarray(image.convert("RGB")))


def bomb(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


DAMAGED: dict[str, tuple[bytes | None, str]] = {
    "null": (None, "no image bytes"),
    "empty": (b"", "not an image"),
    "text": (b"<html>404</html>", "not an image"),
    "truncated": (png(PICTURES[0])[:900], "runcated"),
    "bomb": (bomb(50_000), "exceeds limit"),
    "large": (bomb(10_000), "exceeds limit"),
    "16-bit": (png(np.zeros((4, 4), np.uint16)), "more than 8 bits"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n", "not an image"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_image_is_named_by_file_and_position(name: str, tmp_path: Path) -> None:
    data, found = DAMAGED[name]
    table = image_table([png(PICTURES[0])] * 5 + [data], [0] * 6)
    write_parquet(tmp_path / "test-00000-of-00002.parquet", table.slice(0, 2))
    write_parquet(tmp_path / "test-00001-of-00002.parquet", table.slice(2), row_group_size=3)
    source = open_split("mine", "test", tmp_path)
    source.read(4)
    with pytest.raises(InputError, match=found) as error:
        source.read(5)
    assert "test-00001-of-00002.parquet: row 3 (sample 5)" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_file_in_a_folder_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path)
    source = open_split("cifar10", "test", tmp_path)
    (tmp_path / source.keys[7]).write_bytes(b"nothing")
    (tmp_path / source.keys[8]).unlink()
    for i, found in ((7, "not an image"), (8, "No such file")):
        with pytest.raises(InputError, match=found) as error:
            source.read(i)
        assert f"{source.keys[i]} (sample {i})" in str(error.value)


@pytest.mark.parametrize("layout", ["archive", "folders", "parquet"])
def test_a_pool_of_threads_reads_what_one_thread_reads(layout: str, root: Path) -> None:
    source = open_split("cifar10", "test", root / layout)
    order = np.random.default_rng(1).permutation(np.tile(np.arange(60), 10))
    expected = pictures_of(source)
    with ThreadPoolExecutor(16) as pool:
        got = np.stack(list(pool.map(source.read, order)))
    np.testing.assert_array_equal(got, expected[order])


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


# --- what is refused -----------------------------------------------------------------------------


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
    "no rows": ({b"data": np.zeros((2, 3072), np.uint8)}, r"\(2, 3072\), expected \(1, 3072\)"),
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


def test_a_folder_that_is_no_class_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path)
    (tmp_path / "test" / "lorry").mkdir()
    with pytest.raises(InputError, match=r"test/lorry: no class of cifar10, whose class folders are air"):
        open_split("cifar10", "test", tmp_path)
    assert open_split("mine", "test", tmp_path).n_classes == 11


@pytest.mark.parametrize(
    "split", ["../x", "a/b", "", ".", "..", "a\\b", "a\nb", "a\0b", "-x", "/etc"]
)
def test_a_split_that_is_no_name_is_refused(split: str, root: Path) -> None:
    with pytest.raises(InputError, match="is no name") as error:
        open_split("cifar10", split, root / "parquet")
    assert "\n" not in str(error.value)


def test_requests_for_what_is_not_there(root: Path, tmp_path: Path) -> None:
    cases: list[tuple[tuple[object, ...], str]] = [
        (("cifar10", "tset", root / "parquet"), "no split 'tset' of cifar10; it has test"),
        (("cifar10", "test"), "give their folder with --data"),
        (("cifar10", "test", ""), "give their folder with --data"),
        (("cifar01", "test"), "unknown dataset 'cifar01': did you mean 'cifar10'"),
        (("../x", "test", root), "is no name"),
        (("cifar10", "test", tmp_path / "away"), "no such file or folder"),
        (("cifar10", "test", tmp_path), "looked for cifar-binary: cifar-10-batches-py/ or cifar-100"),
        (("cifar10", "test", Path(__file__)), "looked for cifar-binary"),
        (("cifar10", "test", tmp_path / ("x" * 5000)), "File name too long"),
        (("cifar10", "test", "a\0b"), "no such file or folder"),
        (("digits", "tests"), "did you mean 'test'"),
        (("digits", "test", root), "ships with the package"),
    ]
    for arguments, found in cases:
        with pytest.raises(InputError) as error:
            open_split(*arguments)  # type: ignore[arg-type]
        assert found in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="no images of cifar10 there"):
        splits("cifar10", tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are not UTF-8")
def test_a_file_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write_folders(tmp_path)
    os.close(os.open(os.fsencode(tmp_path / "test" / "cat") + b"/\xff.png", os.O_CREAT))
    with pytest.raises(InputError, match="not UTF-8"):
        open_split("cifar10", "test", tmp_path)


@pytest.mark.parametrize("name", ["parquet", "archive", "image", "name"])
def test_random_bytes_end_in_one_line(name: str, tmp_path: Path, root: Path) -> None:
    path = {
        "parquet": tmp_path / "test.parquet",
        "archive": tmp_path / "cifar-10-batches-py" / "test_batch",
        "image": tmp_path / "test" / "cat" / "1.png",
        "name": tmp_path / "cifar-10-batches-py" / "batches.meta",
    }[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "name":
        write_batch(path.parent / "test_batch", PICTURES, LABELS)

    @FUZZ
    @given(
        st.binary(max_size=300), st.sampled_from([b"", b"PAR1", b"\x80\x02", b"\x89PNG\r\n\x1a\n"])
    )
    def fuzz(data: bytes, magic: bytes) -> None:
        path.write_bytes(magic + data + magic)
        with pytest.raises(InputError) as error:
            open_split("mine", "test", tmp_path).read(0)
        assert "\n" not in str(error.value)
        assert str(tmp_path) in str(error.value)

    fuzz()


def small_files(folder: Path) -> dict[str, Path]:
    table = image_table([png(p) for p in PICTURES[:4]], LABELS[:4], names=list(NAMES))
    write_batch(folder / "archive" / "cifar-10-batches-py" / "test_batch", PICTURES[:1], LABELS[:1])
    (folder / "folders" / "test" / "cat").mkdir(parents=True)
    (folder / "folders" / "test" / "cat" / "1.png").write_bytes(png(PICTURES[0]))
    Image.fromarray(PICTURES[0]).save(folder / "folders" / "test" / "cat" / "1.jpg")
    write_parquet(folder / "parquet" / "test.parquet", table)
    return {
        "archive": folder / "archive" / "cifar-10-batches-py" / "test_batch",
        "parquet": folder / "parquet" / "test.parquet",
        "png": folder / "folders" / "test" / "cat" / "1.png",
        "jpg": folder / "folders" / "test" / "cat" / "1.jpg",
    }


@pytest.mark.parametrize("name", ["archive", "parquet", "png", "jpg"])
def test_a_damaged_file_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = small_files(tmp_path)[name]
    data = path.read_bytes()
    root = tmp_path / path.relative_to(tmp_path).parts[0]

    @FUZZ
    @given(st.integers(0, len(data) - 1), st.integers(1, 255), st.booleans())
    def fuzz(position: int, change: int, cut: bool) -> None:
        damaged = bytearray(data)
        damaged[position] ^= change
        path.write_bytes(bytes(damaged[:position]) if cut else bytes(damaged))
        message = ""
        try:
            source = open_split("cifar10", "test", root)
            pictures = [source.read(i) for i in range(len(source))]
            assert all(p.dtype == np.uint8 and p.ndim in (2, 3) for p in pictures)
            assert source.labels.min() >= 0
        except InputError as error:
            message = str(error)
        assert "\n" not in message

    fuzz()


# --- download ------------------------------------------------------------------------------------


def test_downloading_needs_a_dataset_that_can_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mnist has no download; known are cifar10"):
        fetch("mnist", tmp_path)
    for name in DOWNLOADERS:
        assert spec(name).download
    assert {row["name"] for row in listing() if row["download"]} == set(DOWNLOADERS)


def test_a_network_that_fails_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(
        InputError, match=r"downloading cifar10 to .*refused.*; check the net"
    ) as error:
        open_split("cifar10", "test", tmp_path, download=True)
    assert "\n" not in str(error.value)


def test_a_download_is_read_by_the_ordinary_reader_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def pretend(root: str) -> None:
        print("Extracting")
        calls.append(root)
        write_archive(Path(root))

    monkeypatch.setitem(DOWNLOADERS, "cifar10", pretend)
    for _ in range(2):
        source = open_split("cifar10", "test", tmp_path / "new", download=True)
        np.testing.assert_array_equal(pictures_of(source), PICTURES)
    assert calls == [str(tmp_path / "new")]
    assert capsys.readouterr().out == ""


# --- the interface itself ------------------------------------------------------------------------


def array_source(keys: list[str], labels: list[int]) -> ArraySource:
    pictures = np.zeros((len(keys), 2, 2), np.uint8)
    return ArraySource(
        dataset="d",
        split="s",
        layout="array",
        keys=keys,
        labels=np.array(labels, np.int32),
        pictures=pictures,
    )


def test_the_fingerprint_is_that_of_a_naive_loop() -> None:
    keys, labels = ["a", "bé", ""], [1, 0, 2]
    data = struct.pack("<4q3i", 3, 0, 1, 2, *labels)
    data += b"".join(struct.pack("<q", len(key.encode())) for key in keys)
    data += b"".join(key.encode() for key in keys)
    assert fingerprint(array_source(keys, labels)) == hashlib.sha256(data).hexdigest()


rows = st.lists(st.tuples(st.text("ab1é", max_size=3), st.integers(0, 3)), max_size=5)


@given(rows, rows)
def test_fingerprints_are_equal_exactly_for_equal_rows(
    first: list[tuple[str, int]], second: list[tuple[str, int]]
) -> None:
    one, two = (
        fingerprint(array_source([key for key, _ in r], [label for _, label in r]))
        for r in (first, second)
    )
    assert (one == two) == (first == second)


def test_an_array_source_refuses_what_it_is_not_made_for() -> None:
    good = {"dataset": "d", "split": "s", "layout": "array", "keys": ["a"]}
    labels, pictures = np.zeros(1, np.int32), np.zeros((1, 2, 2, 3), np.uint8)
    ArraySource(**good, labels=labels, pictures=pictures)
    for wrong in (
        {"labels": np.zeros(2, np.int32), "pictures": pictures},
        {"labels": np.zeros(1, np.int64), "pictures": pictures},
        {"labels": labels, "pictures": pictures.astype(np.float32)},
        {"labels": labels, "pictures": pictures[..., :2]},
        {"labels": labels, "pictures": np.zeros((2, 2, 2), np.uint8)},
    ):
        with pytest.raises(ValueError, match=r"not|but"):
            ArraySource(**good, **wrong)


def test_sources_cannot_be_changed_and_end_where_they_end(root: Path) -> None:
    source = open_split("cifar10", "test", root / "parquet")
    with pytest.raises(ValueError, match="read-only"):
        source.labels[0] = 1
    for i in (-1, 60):
        with pytest.raises(IndexError):
            source.read(i)
    assert source.read(np.int64(59)).shape == (32, 32, 3)


def test_importing_the_package_imports_nothing_heavy() -> None:
    import subprocess

    heavy = ("torch", "PIL", "sklearn")
    code = f"import sys, stages.datasets; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
