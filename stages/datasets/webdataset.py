"""WebDataset shards: plain tar files of KEY.jpg with KEY.cls, or with KEY.json that has a label.

Headers are read once, images by their offset; nothing is ever unpacked, and the tar is not trusted.
Keys are the images' names
in their shard, with the shard's file name before them where two shards share a name.
Source: https://github.com/webdataset/webdataset (format).
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from cache import UNLABELLED, InputError
from stages.datasets.decode import SUFFIXES, EncodedSource
from stages.datasets.layout import CLIMBS, NOT_RELATIVE, Found, Layout, Request, refusing, visible
from stages.datasets.shards import find_shards, missing, mixed
from stages.datasets.source import checked_labels

NUMBERED = re.compile(r"(?:(?P<set>.+)-)?(?P<split>[^-]+)-(?P<index>\d+)\.tar")
PLACES = ("", "data")
DAMAGED = "download or write it again, as plain tar"
HINT = "write KEY.jpg with KEY.cls (a class number) into the shard"
MAX_LABEL_BYTES = 1 << 20
JSON_LABELS = ("label", "cls")
BLOCK = 512


class Member(NamedTuple):
    """One plain file in a tar: where its content begins and how long it is, in bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class TarShard:
    """One file's images: names, labels int64 [n], places as in TarSource."""

    file: Path
    names: list[str]
    labels: np.ndarray
    places: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class TarSource(EncodedSource):
    """shards: their files. Where each image is: in which shard, int64 [N], and in what place of
    it, int64 [N, 2]: its offset and its size in bytes."""

    shards: tuple[Path, ...]
    shard: np.ndarray
    places: np.ndarray

    def where(self, i: int) -> str:
        return f"{self.shards[self.shard[i]]}: {self.keys[i]} (sample {i})"

    def stored(self, i: int) -> bytes:
        if not 0 <= i < len(self):
            raise IndexError(i)
        offset, size = self.places[i].tolist()
        return _read_at(self.shards[self.shard[i]], offset, size, self.where(i))


def _read_at(path: Path, offset: int, size: int, where: str) -> bytes:
    """The bytes there; a file of its own per call, so that threads do not share a position."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(size)
    except OSError as error:
        raise InputError(f"{where}: {error.strerror or error}; check the disk") from error
    if len(data) != size:
        raise InputError(f"{where}: the file ends before this image does; {DAMAGED}")
    return data


def find(data: Path, dataset: str) -> Found:
    """The shards of each split: SPLIT-000000.tar, NAME-SPLIT-000000.tar or SPLIT.tar."""
    return find_shards(data, NUMBERED, ".tar", PLACES)


def open_shards(request: Request) -> TarSource:
    """Reads all headers and labels, and no image."""
    files, unlabelled = _complete(request.found[request.split]), request.unlabelled
    shards = [_shard(path, not unlabelled) for path in files]
    spec = request.spec
    count = spec.classes if spec else None
    labels = [
        shard.labels.astype(np.int32)
        if unlabelled
        else checked_labels(shard.labels, count, str(shard.file))
        for shard in shards
    ]
    return TarSource(
        dataset=request.dataset,
        split=request.split,
        layout=LAYOUT.name,
        keys=_keys(shards),
        labels=np.concatenate(labels),
        class_names=spec.class_names if spec else None,
        decoder=request.decoder,
        shards=tuple(shard.file for shard in shards),
        shard=np.repeat(np.arange(len(shards)), [len(shard.names) for shard in shards]),
        places=np.concatenate([shard.places for shard in shards]),
    )


def _complete(files: tuple[Path, ...]) -> list[Path]:
    """One split's shards in the order of their numbers; InputError where one is missing."""
    if len(files) == 1:
        return list(files)
    matches = [NUMBERED.fullmatch(path.name) for path in files]
    pairs = zip(matches, files, strict=True)
    numbers = {int(match["index"]): path for match, path in pairs if match}
    if len(numbers) < len(files) or len({match["set"] for match in matches if match}) > 1:
        raise mixed(files, "shards")
    lacking = set(range(min(min(numbers), 1), max(numbers))).difference(numbers)
    if lacking:
        raise missing(min(lacking), "beside", files)
    return [numbers[number] for number in sorted(numbers)]


def _shard(path: Path, labelled: bool) -> TarShard:
    images: list[Member] = []
    labels: list[int] = []
    with refusing(path, "download the shard again"), path.open("rb") as file:
        for key, group in groupby(_members(path, file), key=lambda m: _split_name(m.name)[0]):
            members = list(group)
            images.append(_image(path, key, members))
            labels.append(_label(path, members, images[-1], file) if labelled else UNLABELLED)
    names = [image.name for image in images]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: {twice} is in it twice; write the shard again")
    return TarShard(
        file=path,
        names=names,
        labels=np.array(labels, np.int64),
        places=np.array([(image.offset, image.size) for image in images], np.int64).reshape(-1, 2),
    )


def _members(path: Path, file: BinaryIO) -> Iterator[Member]:
    """The plain files in `file`, which is open on `path`, in order; no folders, no hidden files.

    Raises InputError for a file that is damaged, cut off or compressed, and for a member that is a
    link or a device or whose name would lead out of the folder it is unpacked in.
    """
    try:
        archive: Any  # what it keeps is undocumented
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="replace") as archive:
            end = -1
            while (info := archive.next()) is not None:
                archive.members.clear()  # or it would hold all headers
                if info.size < 0 or archive.offset <= end:
                    raise tarfile.ReadError("a member of negative size")
                end = archive.offset
                if not info.isdir() and visible(PurePosixPath(info.name).name):
                    yield _checked(path, info)
            # The end is blocks of zeros; tarfile takes damage and a cut for the end as well.
            file.seek(archive.offset)
            if file.read(BLOCK) != bytes(BLOCK):
                raise tarfile.ReadError(f"damaged or cut off at byte {archive.offset}")
    except (tarfile.TarError, ValueError, OverflowError) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: {reason}; {DAMAGED}") from error


def _checked(path: Path, info: tarfile.TarInfo) -> Member:
    where = f"{path}: member {info.name!a}"
    if not info.isreg() or info.issparse():
        raise InputError(f"{where} is a link, device or sparse file; write plain files only")
    if CLIMBS.search(info.name) or NOT_RELATIVE.search(info.name):
        raise InputError(f"{where} leads out of its folder; write it with plain names")
    return Member(info.name.removeprefix("./"), info.offset_data, info.size)


def _split_name(name: str) -> tuple[str, str]:
    """`a/b.seg.png` → (`a/b`, `.seg.png`): WebDataset ends a key at the first dot."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.partition(".")
    return folder + slash + stem, (dot + suffix).lower()


def _by_suffix(group: list[Member]) -> dict[str, Member]:
    return {_split_name(member.name)[1]: member for member in group}


def _image(path: Path, key: str, group: list[Member]) -> Member:
    by_suffix = _by_suffix(group)
    images = [member for suffix, member in by_suffix.items() if suffix in SUFFIXES]
    if len(images) != 1:
        raise InputError(
            f"{path}: {key} has {len(images)} images among {', '.join(m.name for m in group)}; "
            "expected one per key"
        )
    return images[0]


def _label(path: Path, group: list[Member], image: Member, file: BinaryIO) -> int:
    by_suffix = _by_suffix(group)
    for suffix, read_label in LABELS.items():
        if suffix in by_suffix:
            member = by_suffix[suffix]
            where = f"{path}: {member.name}"
            with refusing(where, HINT, (ValueError, KeyError, RecursionError)):
                if member.size > MAX_LABEL_BYTES:
                    raise ValueError(f"a label of {member.size} bytes")
                file.seek(member.offset)
                label = read_label(file.read(member.size))
                if not -(2**63) <= label < 2**63:
                    raise ValueError(f"label {label} is out of range")
                return label
    raise InputError(
        f"{path}: {image.name} has no label beside it (.cls or .json); {HINT}, or run "
        "`cascade extract --unlabelled` where nobody knows the labels"
    )


def _from_cls(data: bytes) -> int:
    return int(data[:20])


def _from_json(data: bytes) -> int:
    row = json.loads(data)
    values = [row[name] for name in JSON_LABELS if isinstance(row, dict) and name in row]
    if not values or type(values[0]) is not int:
        raise ValueError(f"no class number under {' or '.join(JSON_LABELS)}")
    return values[0]


LABELS: dict[str, Callable[[bytes], int]] = {".cls": _from_cls, ".json": _from_json}


def _keys(shards: list[TarShard]) -> list[str]:
    names = [name for shard in shards for name in shard.names]
    if len(set(names)) == len(names):
        return names
    return [f"{shard.file.name}/{name}" for shard in shards for name in shard.names]


LAYOUT = Layout(
    name="webdataset",
    expects="SPLIT-000000.tar (or NAME-SPLIT-000000.tar, SPLIT.tar) of KEY.jpg and KEY.cls",
    find=find,
    open=open_shards,
)
