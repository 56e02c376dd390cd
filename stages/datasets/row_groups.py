"""Row groups of Parquet files, a few at a time, shared by many threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

BUDGET_BYTES = 256 << 20


class RowGroupCache:
    """The least recently used columns within a budget of bytes; at least the last two.

    Reading in order loads each row group once: threads that ask for one that is being loaded wait
    for it. Reading at random loads them again and again.
    """

    def __init__(
        self, load: Callable[[int], pa.ChunkedArray], budget_bytes: int = BUDGET_BYTES
    ) -> None:
        self._load = load
        self._budget_bytes = budget_bytes
        self._lock = Lock()
        self._columns: OrderedDict[int, Future[pa.ChunkedArray]] = OrderedDict()

    def __getitem__(self, group: int) -> pa.ChunkedArray:
        with self._lock:
            future = self._columns.get(group)
            mine = future is None
            if future is None:
                future = self._columns[group] = Future()
            self._columns.move_to_end(group)
        if mine:
            self._fill(group, future)
        return future.result()

    def _fill(self, group: int, future: Future[pa.ChunkedArray]) -> None:
        try:
            future.set_result(self._load(group))
        except BaseException as error:
            with self._lock:
                del self._columns[group]
            future.set_exception(error)
        else:
            with self._lock:
                self._evict()

    def _evict(self) -> None:
        done = [key for key, future in self._columns.items() if future.done()]
        held = sum(self._columns[key].result().nbytes for key in done)
        for key in done[:-2]:
            if held <= self._budget_bytes:
                return
            held -= self._columns.pop(key).result().nbytes
