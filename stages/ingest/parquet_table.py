"""A Parquet file: columns of numbers, or of lists of one length, read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cache import InputError
from stages.ingest.tables import LISTS, NUMBERS, Table, check_width

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_LIST_TYPES = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


@dataclass(frozen=True)
class _Parquet(Table):
    file: pq.ParquetFile
    schema: pa.Schema

    def kind(self, k: int) -> str:
        kind = self.schema.field(k).type
        is_list = any(test(kind) for test in _LIST_TYPES)
        inside = kind.value_type if is_list else kind
        if pa.types.is_integer(inside) or pa.types.is_floating(inside):
            return LISTS if is_list else NUMBERS
        return f"values of the type {kind}"[:100]

    def list_length(self, k: int) -> int:
        """By the footer, which counts their values."""
        footer, name = self.file.metadata, self._as_it_stands(k)
        groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
        leaves = [footer.schema.column(leaf).path for leaf in range(footer.num_columns)]
        [leaf] = [i for i, path in enumerate(leaves) if path.startswith(f"{name}.")]
        values = sum(group.column(leaf).num_values for group in groups)
        return -(-values // self.rows) if self.rows else 0

    def columns(self, ks: Sequence[int]) -> list[np.ndarray]:
        names = [self._as_it_stands(k) for k in ks]
        table = self.file.read(columns=names)
        return [self._values(k, table.column(name)) for k, name in zip(ks, names, strict=True)]

    def _as_it_stands(self, k: int) -> str:
        """The name of a column with the blanks around it."""
        return str(self.schema.field(k).name)

    def _values(self, k: int, column: pa.ChunkedArray) -> np.ndarray:
        import pyarrow.compute as pc

        self._check_whole(k, column.is_null())
        if self.kind(k) != LISTS:
            return column.to_numpy()
        whole = column.combine_chunks()
        lengths = pc.list_value_length(whole).to_numpy(zero_copy_only=False)
        if (lengths != lengths[:1]).any():
            row = int((lengths != lengths[0]).argmax())
            raise InputError(
                f"{self.path}, {self.at(row)}: its list in {self.heading(k)} has {lengths[row]} "
                f"values where that of {self.at(0)} has {lengths[0]}: save lists of one length"
            )
        length, flat = int(lengths[0]) if len(lengths) else 0, whole.flatten()
        self._check_whole(k, flat.is_null(), length)
        return flat.to_numpy(zero_copy_only=False).reshape(self.rows, length)

    def _check_whole(self, k: int, empty: pa.Array, per_row: int = 1) -> None:
        found = np.flatnonzero(np.asarray(empty))
        if len(found):
            raise InputError(
                f"{self.path}, {self.at(int(found[0]) // per_row)}: the cell of {self.heading(k)} "
                "is empty: mend it, or leave the row out of all files"
            )


def open_parquet(path: str) -> Table:
    """A Parquet file, of which the footer is read."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    footer, schema = file.metadata, file.schema_arrow
    check_width(path, footer.num_columns)
    names = tuple(name.strip() for name in schema.names)
    return _Parquet(path, names, footer.num_rows, len(names), "", file, schema)
