"""Every layout must give the same pictures and labels, under the right names."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import (
    LABELS,
    NAMES,
    PICTURES,
    pictures_of,
    real_table,
    write_folders,
    write_layouts,
    write_parquet,
)

from cache import InputError
from stages.datasets import listing, open_split, spec, splits


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layouts(tmp_path_factory.mktemp("images"))


def test_archive_parquet_and_the_original_pictures_are_the_same(root: Path) -> None:
    for layout in ("archive", "parquet"):
        source = open_split("cifar10", "test", root / layout)
        np.testing.assert_array_equal(pictures_of(source), PICTURES)
        np.testing.assert_array_equal(source.labels, LABELS)
        assert (source.class_names, source.n_classes) == (NAMES, 10)
        assert source.labels.dtype == np.int32


def test_digits_need_no_data() -> None:
    assert splits("digits") == ["train", "val", "test"]
    source = open_split("digits", "val")
    assert (source.dataset, source.split, source.n_classes) == ("digits", "val", 10)
    train = (
        np.concatenate([open_split("digits", "train").read(i).ravel() for i in range(797)]) / 255
    )
    assert spec("digits").mean[0] == pytest.approx(train.mean(), abs=1e-4)
    assert spec("digits").std[0] == pytest.approx(train.std(), abs=1e-4)


def test_layouts_side_by_side_give_their_own_splits(tmp_path: Path) -> None:
    write_folders(tmp_path, "val")
    write_parquet(tmp_path / "test.parquet", real_table())
    assert splits("cifar10", tmp_path) == ["test", "val"]
    assert open_split("cifar10", "val", tmp_path).layout == "image-folder"
    assert open_split("cifar10", "test", tmp_path).layout == "parquet"


def test_listing_describes_what_is_known_and_what_is_there(root: Path) -> None:
    known = {row.name: row for row in listing()}
    assert known["digits"].splits == ["train", "val", "test"]
    assert known["cifar10"].classes == 10
    rows = {row.name: row for row in listing(root / "folders")}
    assert set(rows) == {*known, "folders"}
    assert (rows["folders"].classes, rows["folders"].splits) == (10, ["test"])
    assert (rows["folders"].height, rows["cifar10"].height) == (None, 32)


@pytest.mark.parametrize("layout", ["archive", "folders", "parquet"])
def test_a_pool_of_threads_reads_what_one_thread_reads(layout: str, root: Path) -> None:
    source = open_split("cifar10", "test", root / layout)
    order = np.random.default_rng(1).permutation(np.tile(np.arange(60), 10))
    expected = pictures_of(source)
    with ThreadPoolExecutor(16) as pool:
        got = np.stack(list(pool.map(source.read, order)))
    np.testing.assert_array_equal(got, expected[order])


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
        (
            ("cifar10", "test", tmp_path),
            "looked for cifar-binary: cifar-10-batches-py/ or cifar-100",
        ),
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


def test_importing_the_package_imports_nothing_heavy() -> None:
    import subprocess

    heavy = ("torch", "PIL", "sklearn")
    code = f"import sys, stages.datasets; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
