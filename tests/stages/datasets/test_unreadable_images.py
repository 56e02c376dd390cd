"""Images left out, and the same split opened again elsewhere."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from pictures import PICTURES, image_table, png, write_folders, write_layouts, write_parquet

from cache import InputError
from stages.datasets import Opening, fingerprint, open_split, reopened, unreadable

GOOD = png(PICTURES[0])


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """60 images, of which the 3rd is text, the 8th gone, the 9th empty and the 21st cut."""
    root = write_folders(tmp_path)
    paths = sorted((root / "test").rglob("*.png"))
    paths[3].write_bytes(b"<html>")
    paths[8].unlink()
    paths[8].symlink_to("nowhere.png")
    paths[9].write_bytes(b"")
    paths[21].write_bytes(GOOD[:500])
    return root


def test_all_unreadable_images_are_found_in_one_pass(folders: Path) -> None:
    source = open_split("cifar10", "test", folders)
    told: list[tuple[int, int]] = []
    bad = unreadable(source, 4, lambda done, of: told.append((done, of)))
    assert [image.position for image in bad] == [3, 8, 9, 21]
    assert [image.key for image in bad] == [source.keys[i] for i in (3, 8, 9, 21)]
    for image, reason in zip(
        bad, ("not an image", "No such file", "not an image", "runcated"), strict=True
    ):
        assert reason in image.reason
        assert str(folders) not in image.reason  # it is kept in the cache
    assert told == [(i + 1, 60) for i in range(60)]
    assert unreadable(open_split("digits", "test"), 2) == []


def test_the_rest_is_numbered_anew(folders: Path) -> None:
    source = open_split("cifar10", "test", folders)
    rest = source.without({image.position: image.reason for image in unreadable(source, 2)})
    kept = [i for i in range(60) if i not in (3, 8, 9, 21)]
    assert len(rest) == 56
    assert list(rest.keys) == [source.keys[i] for i in kept]
    assert rest.labels.tolist() == source.labels[kept].tolist()
    for new, old in enumerate(kept):
        np.testing.assert_array_equal(rest.read(new), source.read(old))
    for i in (-1, 56):
        with pytest.raises(IndexError):
            rest.read(i)
    assert [key for key, _ in rest.left_out] == [source.keys[i] for i in (3, 8, 9, 21)]
    assert fingerprint(rest) != fingerprint(source)
    assert unreadable(rest, 2) == []


def test_leaving_out_twice_adds_up(folders: Path) -> None:
    source = open_split("cifar10", "test", folders)
    once = source.without({3: "a", 8: "b", 21: "c"})
    twice = source.without({21: "c"}).without({8: "b", 3: "a"})
    assert fingerprint(once) == fingerprint(twice)
    assert sorted(once.left_out) == sorted(twice.left_out)
    assert source.without({}) is source
    assert fingerprint(source.without_keys(once.left_out)) == fingerprint(once)
    assert once.layout == "image-folder"


def test_what_cannot_be_left_out_is_said(folders: Path) -> None:
    source = open_split("cifar10", "test", folders)
    with pytest.raises(InputError, match="no picture is left; the first is left out because dark"):
        source.without(dict.fromkeys(range(60), "dark"))
    with pytest.raises(
        InputError, match=r"'gone\.png', to be left out, is not among its 60 images"
    ):
        source.without_keys([(source.keys[0], "a"), ("gone.png", "b")])


def test_a_fault_of_the_disk_is_no_fault_of_an_image(folders: Path) -> None:
    source = open_split("cifar10", "test", folders)
    (folders / "test").rename(folders / "away")
    source_root = folders.rename(folders.with_name("unmounted"))
    with pytest.raises(InputError, match="check the disk"):
        unreadable(source, 2)
    assert source_root.exists()


def test_a_damaged_row_group_is_no_fault_of_an_image(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "test.parquet", image_table([GOOD] * 40, [0] * 40))
    source = open_split("cifar10", "test", tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"test\.parquet: .*download or write the file again"):
        unreadable(source, 2)


def test_rows_without_an_image_can_be_left_out(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet", image_table([GOOD, None, GOOD], [0, 1, 2]))
    bad = unreadable(open_split("cifar10", "test", tmp_path), 2)
    assert [(image.position, image.key) for image in bad] == [(1, "test.parquet#1")]


@pytest.mark.parametrize("layout", ["archive", "folders", "parquet"])
def test_an_opening_survives_a_pickle_and_opens_the_same(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_layouts(tmp_path)
    monkeypatch.chdir(tmp_path)
    source = open_split("cifar10", "test", layout).without({5: "dark", 0: "bright"})
    expected = source.read(4)
    monkeypatch.chdir("/")
    again = reopened(pickle.loads(pickle.dumps(source.opening)))
    assert fingerprint(again) == fingerprint(source)
    assert again.left_out == source.left_out == source.opening.left_out
    np.testing.assert_array_equal(again.read(4), expected)
    assert again.opening == source.opening
    assert (again.decoder, again.layout) == (source.decoder, source.layout)


def test_an_opening_without_data_and_one_of_what_changed(folders: Path) -> None:
    digits = open_split("digits", "val")
    assert digits.opening == Opening("digits", "val", None, "pil")
    assert fingerprint(reopened(digits.opening)) == fingerprint(digits)
    source = open_split("cifar10", "test", folders)
    (folders / source.keys[0]).unlink()
    assert fingerprint(reopened(source.opening)) != fingerprint(source)
    with pytest.raises(InputError, match="is not among its 59 images"):
        reopened(source.without({0: "dark"}).opening)
