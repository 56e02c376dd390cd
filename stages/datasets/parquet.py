"""Parquet files as Hugging Face writes them: encoded images and their labels.

Looked for are SPLIT.parquet, SPLIT-00000-of-00002.parquet and SPLIT/*.parquet, in the data folder
or in one of its folders `data`, `plain_text` and `default`; or the data path is such a file itself.

Keys are the paths that the image column records, where all of them are there, relative and
different; else FILE.parquet#ROW, with the split's folder before it where the file lies in one.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache import UNLABELLED, InputError
from stages.datasets.decode import EncodedSource, unreadable_image
from stages.datasets.layout import CLIMBS, NOT_RELATIVE, Found, Layout, Request, refusing, visible
from stages.datasets.row_groups import RowGroupCache
from stages.datasets.shards import files_in, find_shards, missing, mixed
from stages.datasets.source import checked_labels

PLACES = ("", "data", "plain_text", "default")
SHARD = re.compile(r"(?P<split>.+?)(?:-(?P<index>\d+)-of-(?P<count>\d+))?\.parquet")
NUMBERED = re.compile(r"(?:part|data|shard)?[-_]?\d")
IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label", "labels")
HINT = "download or write the file again"
DAMAGE = (OSError, ValueError, KeyError, pa.ArrowException)
FEW_ROWS = 1 << 20


@dataclass(frozen=True)
class RowGroup:
    """One row group: its number in the file, and where its rows begin in file and split."""

    file: Path
    metadata: pq.FileMetaData
    image: str
    index: int
    first_row: int
    first_sample: int


@dataclass(frozen=True)
class Shard:
    """One file without its images. labels: [n], of any integer type. names: of the classes."""

    file: Path
    metadata: pq.FileMetaData
    image: str
    labels: np.ndarray
    paths: list[str | None]
    names: tuple[str, ...] | None


@dataclass(frozen=True, eq=False, kw_only=True)
class ParquetSource(EncodedSource):
    """columns: the encoded images of each row group."""

    groups: tuple[RowGroup, ...]
    columns: RowGroupCache

    def where(self, i: int) -> str:
        group = self.groups[self._position(i)]
        return f"{group.file}: row {group.first_row + int(i) - group.first_sample} (sample {i})"

    def stored(self, i: int) -> bytes:
        position = self._position(i)
        offset = int(i) - self.groups[position].first_sample
        encoded: bytes | None = self.columns[position][offset].as_py()
        if encoded is None:
            raise unreadable_image(self.where(i), "no image bytes, the file only names the image")
        return encoded

    def _position(self, i: int) -> int:
        """Of the row group that holds sample i."""
        if not 0 <= i < len(self):
            raise IndexError(i)
        return bisect_right(self.groups, i, key=lambda group: group.first_sample) - 1


def find(data: Path, dataset: str) -> Found:
    """The Parquet files of each split; the first place that has a split wins."""
    return find_shards(data, SHARD, ".parquet", PLACES, _split_folders)


def _split_folders(place: Path) -> Found:
    """Folders whose files carry the folder's name, or no name but a number."""
    found = {}
    for folder in sorted(place.iterdir()):
        if folder.name in PLACES or not visible(folder.name) or not folder.is_dir():
            continue
        files = files_in(folder, ".parquet")
        named = (f.name.startswith(folder.name) or NUMBERED.match(f.name) for f in files)
        if files and all(named):
            found[folder.name] = tuple(files)
    return found


def open_parquet(request: Request) -> ParquetSource:
    """Reads labels and paths of all rows; the images row group by row group, when asked for."""
    files = _complete(request.found[request.split])
    shards = [_shard(path, not request.unlabelled) for path in files]
    names, labels = _labels(shards, request)
    groups = _groups(shards)
    return ParquetSource(
        dataset=request.dataset,
        split=request.split,
        layout=LAYOUT.name,
        keys=_keys(shards, request.split),
        labels=labels,
        class_names=names,
        decoder=request.decoder,
        groups=groups,
        columns=RowGroupCache(lambda position: _encoded(groups[position])),
    )


def _complete(files: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files of one split in the order of their rows; InputError where a shard is missing."""
    matches = [SHARD.fullmatch(path.name) for path in files]
    shards = [match for match in matches if match and match["count"]]
    if not shards:
        return files
    counts = {match["count"] for match in shards}
    if len(shards) < len(files) or len(counts) > 1:
        raise mixed(files, "files")
    lacking = set(range(int(counts.pop()))).difference(int(match["index"]) for match in shards)
    if lacking:
        raise missing(min(lacking), "of", files)
    return files


def _shard(path: Path, labelled: bool) -> Shard:
    """Without looking for labels where they are not needed."""
    with refusing(path, HINT, DAMAGE), pq.ParquetFile(path) as file:
        _check_rows(path, file.metadata.num_rows)
        schema = file.schema_arrow
        image = _column(path, schema, IMAGE_COLUMNS, "image")
        label = _label(path, schema) if labelled else None
        kind = schema.field(image).type
        paths = _has_paths(kind)
        table = file.read(columns=[*filter(None, [label]), *([f"{image}.path"] if paths else [])])
        none = np.full(file.metadata.num_rows, UNLABELLED)
        return Shard(
            file=path,
            metadata=file.metadata,
            image=_leaf(path, image, kind),
            labels=none if label is None else _no_nulls(path, label, table[label]),
            paths=table.flatten()[f"{image}.path"].to_pylist() if paths else [None],
            names=None if label is None else _class_names(schema, label),
        )


def _label(path: Path, schema: pa.Schema) -> str:
    """The column of the labels."""
    hint = ", or run `cascade extract --unlabelled` where nobody knows them"
    label = _column(path, schema, LABEL_COLUMNS, "label", hint)
    if not pa.types.is_integer(schema.field(label).type):
        raise InputError(f"{path}: column {label} is no integer; write class numbers there")
    return label


def _check_rows(path: Path, rows: int) -> None:
    """A few bytes can stand for any number of equal rows, whose labels and keys would fill the
    memory; pictures take a byte at least."""
    size = path.stat().st_size
    if rows > max(size, FEW_ROWS):
        raise ValueError(f"claims {rows:,} rows in {size:,} bytes")


def _column(
    path: Path, schema: pa.Schema, names: tuple[str, ...], what: str, hint: str = ""
) -> str:
    for name in names:
        if schema.names.count(name) == 1:
            return name
    raise InputError(
        f"{path}: no {what} column; it has {', '.join(schema.names) or 'none'}; "
        f"rename one to {' or '.join(names)}{hint}"
    )


def _has_paths(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
        return False
    return pa.types.is_string(kind.field("path").type)


def _leaf(path: Path, image: str, kind: pa.DataType) -> str:
    """The column that holds the encoded bytes: `img`, or `img.bytes` in a struct."""
    leaf = image
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        leaf, kind = f"{image}.bytes", kind.field("bytes").type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return leaf
    raise InputError(
        f"{path}: column {image} is {kind}; expected encoded images, binary or a "
        "struct of bytes and path"
    )


def _no_nulls(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    if column.null_count:
        row = int(column.is_null().to_numpy().argmax())
        every = column.null_count == len(column)
        hint = "run `cascade extract --unlabelled`" if every else "leave the row out"
        raise InputError(f"{path}: row {row} has no {name} (null); {hint}")
    return column.to_numpy()


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Those that Hugging Face's `datasets` recorded for the label column."""
    node = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    for key in ("info", "features", label, "names"):
        node = node.get(key) if isinstance(node, dict) else None
    return tuple(str(name) for name in node) if isinstance(node, list) else None


def _labels(shards: list[Shard], request: Request) -> tuple[tuple[str, ...] | None, np.ndarray]:
    """Class names and int32 [N]; a file's own order of the dataset's names is followed."""
    spec, names = request.spec, shards[0].names
    for shard in shards:
        if shard.names != names:
            raise InputError(
                f"{shard.file}: other class names than {shards[0].file}; download both again"
            )
    if spec is not None and names is not None and len(names) != spec.classes:
        raise InputError(
            f"{shards[0].file}: {len(names)} classes, but {spec.name} has {spec.classes}; "
            "give these images another dataset name"
        )
    known = names or (spec.class_names if spec else None)
    if request.unlabelled:
        return known, np.concatenate([shard.labels for shard in shards]).astype(np.int32)
    count = len(known) if known else None
    labels = np.concatenate([checked_labels(s.labels, count, str(s.file)) for s in shards])
    if spec is None or known is None or set(known) != set(spec.class_names):
        return known, labels
    order = np.array([spec.class_names.index(name) for name in known], np.int32)
    return spec.class_names, order[labels]


def _keys(shards: list[Shard], split: str) -> list[str]:
    paths = list(chain.from_iterable(shard.paths for shard in shards))
    rows = sum(len(shard.labels) for shard in shards)
    given = [path for path in paths if path is not None and not NOT_RELATIVE.search(path)]
    climbing = next(filter(CLIMBS.search, given), None)
    if climbing is not None:
        raise InputError(
            f"{shards[0].file.parent}: {split} names an image {climbing!a}, which leads "
            "out of its folder; write the file with plain names"
        )
    if len(set(given)) == rows == len(paths):
        return given
    return [f"{_name(s.file, split)}#{row}" for s in shards for row in range(len(s.labels))]


def _name(file: Path, split: str) -> str:
    return f"{split}/{file.name}" if file.parent.name == split else file.name


def _groups(shards: list[Shard]) -> tuple[RowGroup, ...]:
    groups = []
    sample = 0
    for shard in shards:
        row = 0
        for index in range(shard.metadata.num_row_groups):
            groups.append(
                RowGroup(shard.file, shard.metadata, shard.image, index, row, sample + row)
            )
            row += shard.metadata.row_group(index).num_rows
        if row != len(shard.labels):
            raise InputError(f"{shard.file}: {row} rows, not as announced; {HINT}")
        sample += row
    return tuple(groups)


def _encoded(group: RowGroup) -> pa.ChunkedArray:
    # A file object of one's own per row group: nothing says that threads may share one.
    with (
        refusing(group.file, HINT, DAMAGE),
        pq.ParquetFile(group.file, metadata=group.metadata) as file,
    ):
        table = file.read_row_group(group.index, columns=[group.image], use_threads=False)
        column = table.flatten()[group.image]
        if len(column) != group.metadata.row_group(group.index).num_rows:
            raise ValueError(f"row group {group.index} has {len(column)} rows, not as announced")
        return column


LAYOUT = Layout(
    name="parquet",
    expects="SPLIT.parquet (or SPLIT-00000-of-….parquet, SPLIT/….parquet, data/…)",
    find=find,
    open=open_parquet,
)
