"""Tar shards, against torchvision's folders of the same images; and hostile ones."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from pictures import FUZZ, LABELS, NAMES, PICTURES, pictures_of, png

from cache import InputError
from stages.datasets import fingerprint, open_split, splits

Member = tuple[str, bytes]


def write_tar(path: Path, members: Iterable[Member | tarfile.TarInfo], **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **how) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return path


def samples(rows: Iterable[int], label: str = "cls", prefix: str = "") -> list[Member]:
    """Each picture and its label as .cls or .json, the label first or last."""
    members = []
    for i in rows:
        value = str(LABELS[i]) if label == "cls" else json.dumps({"label": int(LABELS[i])})
        pair = [
            (f"{prefix}{i:04d}.{label}", value.encode()),
            (f"{prefix}{i:04d}.png", png(PICTURES[i])),
        ]
        members += pair if i % 2 else pair[::-1]
    return members


def write_shards(folder: Path, name: str = "test-%06d.tar", label: str = "cls") -> Path:
    for shard, first in enumerate(range(0, 60, 25)):
        write_tar(folder / (name % shard), samples(range(first, min(first + 25, 60)), label))
    return folder


@pytest.mark.parametrize("label", ["cls", "json"])
@pytest.mark.parametrize(
    "name",
    ["test-%06d.tar", "cifar10-test-%d.tar", "data/a-b-test-%02d.tar", "cifar10/test-%d.tar"],
)
def test_shards_hold_the_same_pictures_in_order(name: str, label: str, tmp_path: Path) -> None:
    write_shards(tmp_path, name, label)
    source = open_split("cifar10", "test", tmp_path)
    np.testing.assert_array_equal(pictures_of(source), PICTURES)
    assert source.labels.tolist() == LABELS.tolist()
    assert list(source.keys) == [f"{i:04d}.png" for i in range(60)]
    assert (source.class_names, source.layout) == (NAMES, "webdataset")
    assert splits("cifar10", tmp_path) == ["test"]


def test_one_tar_may_be_a_split_and_the_data_itself(tmp_path: Path) -> None:
    write_tar(tmp_path / "test.tar", samples(range(60)))
    write_shards(tmp_path / "shards")
    alone = open_split("cifar10", "test", tmp_path / "test.tar")
    assert fingerprint(alone) == fingerprint(open_split("cifar10", "test", tmp_path / "shards"))


def test_shards_past_ten_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for i in range(12):
        write_tar(tmp_path / f"test-{i}.tar", samples([i]))
    assert open_split("cifar10", "test", tmp_path).labels.tolist() == LABELS[:12].tolist()


def test_names_that_return_in_another_shard_get_its_name_before_them(tmp_path: Path) -> None:
    for i in range(2):
        write_tar(tmp_path / f"test-{i}.tar", [("0.cls", b"1\n"), ("0.png", png(PICTURES[i]))])
    source = open_split("cifar10", "test", tmp_path)
    assert list(source.keys) == ["test-0.tar/0.png", "test-1.tar/0.png"]
    np.testing.assert_array_equal(source.read(1), PICTURES[1])


@pytest.mark.parametrize("how", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_folders_and_hidden_files(how: int, tmp_path: Path) -> None:
    folder = tarfile.TarInfo("deep")
    folder.type = tarfile.DIRTYPE
    prefix = f"./deep/{'x' * 150}/é "
    members = [folder, ("._deep", b"mac"), *samples(range(4), prefix=prefix)]
    write_tar(tmp_path / "test.tar", members, format=how)
    source = open_split("cifar10", "test", tmp_path)
    assert source.keys[3] == f"{prefix[2:]}0003.png"
    np.testing.assert_array_equal(pictures_of(source), PICTURES[:4])


def test_many_threads_read_what_one_reads(tmp_path: Path) -> None:
    source = open_split("cifar10", "test", write_shards(tmp_path))
    order = np.random.default_rng(1).permutation(np.tile(np.arange(60), 10))
    with ThreadPoolExecutor(16) as pool:
        got = np.stack(list(pool.map(source.read, order)))
    np.testing.assert_array_equal(got, PICTURES[order])
    for i in (-1, 60):
        with pytest.raises(IndexError):
            source.read(i)


# --- what is refused -----------------------------------------------------------------------------


def special(kind: bytes, name: str = "link.png", target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


ONE = png(PICTURES[0])
PAIR: list[Member] = [("0.cls", b"1"), ("0.png", ONE)]
HOSTILE: dict[str, tuple[list[Member | tarfile.TarInfo], str]] = {
    "climbs": ([("../0.cls", b"1"), ("../0.png", ONE)], r"'\.\./0\.cls' leads out of its folder"),
    "climbs later": ([*PAIR, ("a/../../1.png", ONE)], "leads out of its folder"),
    "absolute": ([("/etc/0.png", ONE)], "leads out of its folder"),
    "drive": ([("C:\\0.png", ONE)], "leads out of its folder"),
    "symlink": ([special(tarfile.SYMTYPE)], "is a link, device or sparse file"),
    "hard link": ([*PAIR, special(tarfile.LNKTYPE)], "is a link, device or sparse file"),
    "device": ([special(tarfile.CHRTYPE)], "is a link, device or sparse file"),
    "fifo": ([special(tarfile.FIFOTYPE)], "is a link, device or sparse file"),
    "newline": ([special(tarfile.SYMTYPE, "a\nb.png")], "is a link"),
    "no label": ([("ILSVRC2012_val_00000001.png", ONE)], "has no label beside it"),
    "no image": ([("0.cls", b"1")], "0 has 0 images among 0.cls"),
    "two images": ([*PAIR, ("0.jpg", ONE)], "0 has 2 images among 0.cls, 0.png, 0.jpg"),
    "twice": ([*PAIR, ("1.cls", b"1"), ("1.png", ONE), *PAIR], "0.png is in it twice"),
    "word": ([("0.cls", b"cat"), PAIR[1]], r"0\.cls: invalid literal"),
    "label 10": ([("0.cls", b"10"), PAIR[1]], "row 0 has label 10, expected 0 to 9"),
    "huge label": ([("0.cls", b"9" * 20), PAIR[1]], "is out of range"),
    "json list": ([("0.json", b"[1]"), PAIR[1]], "no class number under label or cls"),
    "json text": ([("0.json", b'{"label": "1"}'), PAIR[1]], "no class number"),
    "json": ([("0.json", b"{"), PAIR[1]], r"0\.json: "),
    "deep json": ([("0.json", b"[" * 100_000), PAIR[1]], r"0\.json: "),
    "long label": ([("0.cls", b"1" * 2_000_000), PAIR[1]], "a label of 2000000 bytes"),
    "nothing": ([], "has no images"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_members_are_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    members, found = HOSTILE[name]
    path = write_tar(tmp_path / "in" / "deep" / "test.tar", members)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=found) as error:
        open_split("cifar10", "test", path.parent)
    assert "\n" not in str(error.value)
    assert str(path.parent) in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_shard_and_two_sets_of_shards_are_named(tmp_path: Path) -> None:
    write_shards(tmp_path)
    (tmp_path / "test-000001.tar").rename(tmp_path / "test-000003.tar")
    with pytest.raises(InputError, match="shard 1 beside test-000000"):
        open_split("cifar10", "test", tmp_path)
    (tmp_path / "test-000003.tar").rename(tmp_path / "other-test-000001.tar")
    with pytest.raises(InputError, match="different sets of shards"):
        open_split("cifar10", "test", tmp_path)


def test_every_cut_of_a_shard_is_noticed(tmp_path: Path) -> None:
    """tarfile takes a cut between two members, and a damaged header, for the archive's end."""
    path = write_tar(tmp_path / "test.tar", samples(range(3)))
    whole = path.read_bytes()
    content = 512 * (len(whole.rstrip(b"\0")) // 512 + 1)
    for cut in [*range(0, content, 256), content, content + 100]:
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError) as error:
            open_split("cifar10", "test", tmp_path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    path.write_bytes(whole[: content + 512])
    assert len(open_split("cifar10", "test", tmp_path)) == 3


def test_flipped_bits_in_a_header_are_noticed_and_elsewhere_read_or_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "test.tar", samples(range(2)))
    whole = path.read_bytes()

    @FUZZ
    @given(st.integers(0, len(whole.rstrip(b"\0")) - 1), st.integers(1, 255))
    def flip(position: int, change: int) -> None:
        damaged = bytearray(whole)
        damaged[position] ^= change
        path.write_bytes(bytes(damaged))
        message = ""
        try:
            source = open_split("cifar10", "test", tmp_path)
            assert position >= 512 or 148 <= position < 156  # the header's checksum, and itself
            assert len(source) == 2
            pictures_of(source)
        except InputError as error:
            message = str(error)
        assert "\n" not in message

    flip()


def test_a_size_below_zero_does_not_loop(tmp_path: Path) -> None:
    info = tarfile.TarInfo("0.png")
    info.pax_headers = {"size": "-1024"}
    write_tar(tmp_path / "test.tar", [info], format=tarfile.PAX_FORMAT)
    with pytest.raises(InputError, match=r"test\.tar"):
        open_split("cifar10", "test", tmp_path)


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    for kind in ("gz", "bz2", "xz"):
        with tarfile.open(tmp_path / "test.tar", f"w:{kind}") as tar:
            tar.addfile(tarfile.TarInfo("0.png"))
        with pytest.raises(InputError, match="as plain tar"):
            open_split("cifar10", "test", tmp_path)


def test_a_shard_cut_after_it_was_opened_is_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "test.tar", samples(range(3)))
    source = open_split("cifar10", "test", tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"0002.png \(sample 2\): the file ends before"):
        source.read(2)
    path.unlink()
    with pytest.raises(InputError, match=r"0000.png \(sample 0\): No such file"):
        source.read(0)
