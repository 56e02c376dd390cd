"""The tables' columns and how they are written to Parquet."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1
PART_ROWS = 8192

_ID = pa.field("sample_id", pa.int64(), nullable=False)

SAMPLES = pa.schema(
    [
        _ID,
        pa.field("label", pa.int32(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
    ]
)
TIMINGS = pa.schema(
    [
        pa.field("first_sample_id", pa.int64(), nullable=False),
        pa.field("batch_size", pa.int32(), nullable=False),
        pa.field("forward_ms", pa.float64(), nullable=False),
        # A process's first batch of a model pays for allocation and kernel selection.
        pa.field("warm", pa.bool_(), nullable=False),
    ]
)
SCORES = pa.schema(
    [
        _ID,
        pa.field("label", pa.int32(), nullable=False),
        pa.field("prediction", pa.int32(), nullable=False),
        pa.field("correct", pa.bool_(), nullable=False),
        pa.field("maxp", pa.float64(), nullable=False),
        pa.field("difference", pa.float64(), nullable=False),
        pa.field("entropy", pa.float64(), nullable=False),
    ]
)


def logits_schema(classes: int) -> pa.Schema:
    """sample_id int64, logits fixed_size_list<float32>[classes]."""
    element = pa.field("element", pa.float32(), nullable=False)
    return pa.schema([_ID, pa.field("logits", pa.list_(element, classes), nullable=False)])


def write_options(schema: pa.Schema) -> dict[str, Any]:
    """pyarrow.parquet.ParquetWriter's options: byte-stream split for logits, zstd for all."""
    common = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
    if "logits" not in schema.names:
        return common
    return common | {
        "use_dictionary": False,
        "use_byte_stream_split": ["logits.list.element"],
        "write_statistics": ["sample_id"],
    }
