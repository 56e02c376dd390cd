"""A process of its own that works on a cache: `python cache_worker.py DO ROOT …`.

What it does stands in DOINGS. `FLOCK=no` in the environment makes it lock by claims.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from helpers import logits_table, logits_writer  # noqa: E402

import cache.locks.locking  # noqa: E402
import cache.locks.object_store  # noqa: E402
from cache import BusyError, MissingPartsError, Partition, Store, lock, read_table, write_partition  # noqa: E402

ROWS, PARTS = 20, 6
LABELS = np.arange(ROWS * PARTS) % 4
LOGITS = np.random.default_rng(0).standard_normal((ROWS * PARTS, 4)).astype(np.float32)


def doze(longest=0.004):
    time.sleep(random.uniform(0, longest))


def count(root, rounds):
    """Add 1 to a number, so that two at the same time lose one."""
    store = Store(root)
    for _ in range(int(rounds)):
        with lock(store, "samples/number", told=lambda _: None):
            number = int(store.read("number").to_pybytes())
            doze()
            store.write("number", str(number + 1).encode())
        doze()


def hold(root, how):
    """Hold a name until a line comes in."""
    with lock(Store(root), "samples/name", shared=how == "shared"):
        print("held", flush=True)
        sys.stdin.readline()
    print("released", flush=True)


def ask(root, how):
    """Take a name without waiting."""
    try:
        with lock(Store(root), "samples/name", shared=how == "shared", wait=False):
            print("held", flush=True)
    except BusyError as error:
        print(error, flush=True)


def replace(root, rounds):
    """Publish the same partition again and again, each time of another identity."""
    store = Store(root)
    partition = Partition.of("samples", dataset="toy", split="test")
    for _ in range(int(rounds)):
        number = random.randrange(1_000_000)
        rows = 1 + number % 50
        table = pa.table({"sample_id": np.arange(rows), "number": np.full(rows, number)})
        manifest = write_partition(store, partition, table, {"number": number}, {})
        assert manifest.identity == {"number": number}
        doze()


def watch(root, rounds):
    """Read that partition while it is replaced: whole, of one identity, or plainly refused."""
    store = Store(root)
    partition = Partition.of("samples", dataset="toy", split="test")
    read = 0
    while read < int(rounds):
        manifest = cache.load(store, partition)
        try:
            table = manifest and read_table(store, manifest)
        except cache.InputError as error:
            if "was replaced while" not in str(error):
                raise
            continue
        if table:
            number = manifest.identity["number"]
            assert set(table.column("number").to_pylist()) == {number}
            assert table.num_rows == 1 + number % 50
            read += 1
        doze()
    print(read)


def shard(root, index, of, die_after=None):
    """Write every OFth part from INDEX on, then finish if all are there; perhaps die before."""
    store = Store(root)
    path = logits_partition().path
    with lock(store, path, shared=True):
        writer = logits_writer(store, "test", "small", LABELS, 4)
        for written, part in enumerate(range(int(index), PARTS, int(of))):
            if die_after is not None and written == int(die_after):
                os._exit(9)
            if writer.complete or part in writer.done:
                continue
            rows = slice(part * ROWS, (part + 1) * ROWS)
            writer.write(part, logits_table(LOGITS[rows], part * ROWS))
            doze()
        try:
            writer.finish(PARTS)
            print("finished")
        except MissingPartsError as error:
            print(*error.parts)


def logits_partition():
    keys = {"dataset": "toy", "split": "test", "variant": "identity", "runtime": "torch-fp32-cpu"}
    return Partition.of("logits", **keys, model="small")


DOINGS = {f.__name__: f for f in (count, hold, ask, replace, watch, shard)}

if __name__ == "__main__":
    if os.environ.get("FLOCK") == "no":
        cache.locks.locking.fcntl = None
    cache.locks.object_store.STALE_S = float(
        os.environ.get("STALE", cache.locks.object_store.STALE_S)
    )
    cache.locks.object_store.HEARTBEAT_S = float(
        os.environ.get("HEARTBEAT", cache.locks.object_store.HEARTBEAT_S)
    )
    if os.environ.get("MACHINE"):
        import cache.locks.holder

        cache.locks.holder._machine = lambda: os.environ["MACHINE"]
    DOINGS[sys.argv[1]](*sys.argv[2:])
