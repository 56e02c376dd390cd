"""The tables' columns and how they are written to Parquet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from cache.cost_row import COSTS
from cache.labels import label_column, without_labels
from cache.partition import OUTPUTS

SCHEMA_VERSION = 3  # since 3 an entropy may be null
READABLE = (1, 2, 3)  # of 1 there are no columns of _SINCE: they are read as null
PART_ROWS = 8192


def _known(**columns: pa.DataType) -> pa.Schema:
    """Columns without nulls."""
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


# The digest is of the picture as it is stored; null where it was not at hand.
SAMPLES = _known(sample_id=pa.int64(), label=pa.int32(), key=pa.string()).append(
    pa.field("sha256", pa.string())
)
TIMINGS = _known(
    first_sample_id=pa.int64(),
    batch_size=pa.int32(),
    forward_ms=pa.float64(),
    # A process's first batch of a model pays for allocation and kernel selection.
    warm=pa.bool_(),
)
STREAMS = _known(request=pa.int64(), sample_id=pa.int64(), variant=pa.string())
SCORES = _known(
    sample_id=pa.int64(),
    label=pa.int32(),
    prediction=pa.int32(),
    correct=pa.bool_(),
    maxp=pa.float64(),
    difference=pa.float64(),
).append(pa.field("entropy", pa.float64()))  # of more classes than are known it is null
# A score that an installed package adds; which one is a key.
EXTRA_SCORES = _known(sample_id=pa.int64(), value=pa.float64())
# The most probable classes of each image, for copies without logits.
TOP10 = _known(
    sample_id=pa.int64(), classes=pa.list_(pa.int32()), probabilities=pa.list_(pa.float32())
)

_SINCE = {("samples", "sha256"): 2, ("costs", "weights_sha256"): 2}

# Beside logits and hashes, whose widths are their model's and algorithm's, and results.
TABLES = {
    "samples": SAMPLES,
    "timings": TIMINGS,
    "scores": SCORES,
    "extra_scores": EXTRA_SCORES,
    "top10": TOP10,
    "costs": COSTS,
    "streams": STREAMS,
}


def samples_table(ids: Any, labels: Any, keys: Sequence[str], sha256: Any = None) -> pa.Table:
    """SAMPLES from columns of equal length; the digests are null where they are not known, and so
    are labels that are UNLABELLED, all of them."""
    unknown, label = pa.nulls(len(keys), pa.string()), label_column(labels)
    columns = [ids, label, pa.array(keys, pa.string()), unknown if sha256 is None else sha256]
    known = label is labels
    return pa.table(columns, schema=SAMPLES if known else without_labels(SAMPLES))


def logits_schema(classes: int) -> pa.Schema:
    """sample_id int64, logits fixed_size_list<float32>[classes]."""
    element = pa.field("element", pa.float32(), nullable=False)
    return _known(sample_id=pa.int64(), logits=pa.list_(element, classes))


def probabilities_schema(classes: int, kind: pa.DataType) -> pa.Schema:
    """sample_id int64, probabilities fixed_size_list<float32 or float64>[classes]."""
    element = pa.field("element", kind, nullable=False)
    return _known(sample_id=pa.int64(), probabilities=pa.list_(element, classes))


def top_k_schema(k: int, kind: pa.DataType) -> pa.Schema:
    """As `probabilities_schema` of the k most probable classes, before them these: int32 [k]."""
    numbers = pa.list_(pa.field("element", pa.int32(), nullable=False), k)
    return probabilities_schema(k, kind).insert(1, pa.field("classes", numbers, nullable=False))


def answers_schema(confidences: Sequence[str]) -> pa.Schema:
    """sample_id int64, prediction int32, and float64 each of the named confidences."""
    return _known(
        sample_id=pa.int64(), prediction=pa.int32(), **dict.fromkeys(confidences, pa.float64())
    )


def request_costs_schema(kinds: Sequence[str]) -> pa.Schema:
    """sample_id int64, and float64 each kind of cost of that very request: energy_j, latency_ms,
    macs, or another unit by its name."""
    return _known(sample_id=pa.int64(), **dict.fromkeys(kinds, pa.float64()))


def hashes_schema(length: int) -> pa.Schema:
    """sample_id int64, hash binary of `length` bytes."""
    return _known(sample_id=pa.int64(), hash=pa.binary(length))


# Tables whose other columns are their maker's, float64 each.
_NAMED: dict[str, tuple[tuple[str, ...], Callable[[Sequence[str]], pa.Schema]]] = {
    "answers": (("sample_id", "prediction"), answers_schema),
    "request_costs": (("sample_id",), request_costs_schema),
}


def of_version(table: str, version: int) -> pa.Schema | None:
    """The table's columns as they were in a version; None for those that are not fixed."""
    now = TABLES.get(table)
    return now and pa.schema([f for f in now if _SINCE.get((table, f.name), 1) <= version])


def completed(name: str, table: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of the table `name` as this version has them: a column that came later is null."""
    for (of, column), _ in _SINCE.items():
        if of == name and column not in table.column_names and column in (columns or [column]):
            field = TABLES[name].field(column)
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table


def fits(table: str, schema: pa.Schema, version: int = SCHEMA_VERSION) -> bool:
    """Whether a file's columns are exactly those of the table; a result's are its stage's own, and
    scores may be others than this version's."""
    if table == "scores":
        return _fits_scores(schema)
    kinds = {field.name: field.type for field in schema}
    expected = of_version(table, version)
    if table == "logits":
        expected = logits_schema(getattr(kinds.get("logits"), "list_size", 1))
    if table in ("probabilities", "top_k"):
        found = kinds.get("probabilities")
        single = getattr(found, "value_type", None) == pa.float32()
        kind = pa.float32() if single else pa.float64()
        of = top_k_schema if table == "top_k" else probabilities_schema
        expected = of(getattr(found, "list_size", 1), kind)
    if table in _NAMED:
        given, named = _NAMED[table]
        expected = named([name for name in schema.names if name not in given])
    if table == "samples" and schema.equals(without_labels(SAMPLES)):
        return True
    if table == "hashes":
        expected = hashes_schema(getattr(kinds.get("hash"), "byte_width", 1))
    return expected is None or bool(schema.equals(expected))


def _fits_scores(schema: pa.Schema) -> bool:
    """Another version may have more scores, or fewer: readers take those that they know. Any may
    be null."""
    own = list(SCORES)[: SCORES.get_field_index("correct") + 1]
    fields = [each.with_nullable(False) for each in schema]
    scores = _known(**{field.name: pa.float64() for field in fields[len(own) :]})
    first = list(schema)[: len(own)]
    alike = first in (own, list(without_labels(pa.schema(own))))
    return alike and fields == own + list(scores)


def write_options(schema: pa.Schema) -> dict[str, Any]:
    """pyarrow.parquet.ParquetWriter's options: byte-stream split for outputs, zstd for all."""
    common = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
    lists = [name for name in OUTPUTS if name in schema.names]
    if not lists or not pa.types.is_fixed_size_list(schema.field(lists[0]).type):
        return common
    return common | {
        "use_dictionary": False,
        "use_byte_stream_split": [f"{lists[0]}.list.element"],
        "write_statistics": ["sample_id"],
    }
