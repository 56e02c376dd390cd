"""A small cache with every table in it, logits in three parts, and one unfinished partition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from helpers import (
    RUNTIME,
    cost_row,
    fingerprint_of,
    logits_table,
    tied_logits,
    write_samples,
)

from cache import (
    EXTRA_SCORES,
    TIMINGS,
    Partition,
    PartitionWriter,
    Store,
    answers_schema,
    hashes_schema,
    logits_schema,
    probabilities_schema,
    request_costs_schema,
    top_k_schema,
    write_partition,
)
from stages import costs, results, simulate
from stages.publish.stage import top10
from stages.scores import load, plugin_scores

N, CLASSES, ROWS = 50, 4, 20
LABELS = np.arange(N) % CLASSES
MODELS = ("small", "large")
KEYS = {"dataset": "toy", "split": "test", "variant": "identity"}
MADE_WITH = {"part_rows": ROWS, "batch_size": 10}
TABLES = (
    *(
        "samples",
        "logits",
        "probabilities",
        "top_k",
        "answers",
        "request_costs",
        "timings",
        "scores",
        "extra_scores",
    ),
    *("top10", "costs", "hashes", "streams", "results"),
)


def logits_of(model):
    return tied_logits(np.random.default_rng(sum(model.encode())), N, CLASSES)


def starts():
    return list(enumerate(range(0, N, ROWS)))


def writers(store, model, weights="w"):
    """Those of a model's logits and timings."""
    about = {"made": "2026-01-02T03:04:05+00:00", **MADE_WITH}
    identity = {"dataset_fingerprint": fingerprint_of(LABELS), "weights_sha256": weights}
    return [
        PartitionWriter(
            store,
            Partition.of(table, **KEYS, runtime=RUNTIME, model=model),
            schema,
            identity,
            about,
            MADE_WITH,
        )
        for table, schema in (("logits", logits_schema(CLASSES)), ("timings", TIMINGS))
    ]


def tables(model, start):
    """Logits and timings of the part that begins at sample `start`."""
    stop = min(start + ROWS, N)
    begins = list(range(start, stop, MADE_WITH["batch_size"]))
    sizes = [min(begin + MADE_WITH["batch_size"], stop) - begin for begin in begins]
    columns = [begins, sizes, [0.5] * len(begins), [True] * len(begins)]
    return logits_table(logits_of(model)[start:stop], start), pa.table(columns, schema=TIMINGS)


def write_model(store, model, parts=(0, 1, 2), weights="w"):
    """These parts; all three are published."""
    opened = writers(store, model, weights)
    for part, start in starts():
        if part in parts:
            for writer, table in zip(opened, tables(model, start), strict=True):
                writer.write(part, table)
    if len(parts) == 3:
        for writer in opened:
            writer.finish(3)


def write_hashes(store):
    identity = {"dataset_fingerprint": fingerprint_of(LABELS), "hash": "dhash"}
    writer = PartitionWriter(
        store, Partition.of("hashes", **KEYS, algorithm="dhash"), hashes_schema(8), identity, {}
    )
    keys = [i.to_bytes(8, "big") for i in range(N)]
    writer.write(0, pa.table([np.arange(N), pa.array(keys, pa.binary(8))], schema=hashes_schema(8)))
    writer.finish(1)


def write_top10(store):
    """As in a copy published with that tier."""
    identity = {"dataset_fingerprint": fingerprint_of(LABELS)}
    place = Partition.of("top10", **KEYS, runtime=RUNTIME, model="small")
    table = top10(logits_table(logits_of("small")))
    write_partition(store, place, table, identity, {})


def write_shares(store):
    """Probabilities, and the most probable classes, of turned variants that have no logits."""
    identity = {"dataset_fingerprint": fingerprint_of(LABELS)}
    p = pa.array(np.full(N * CLASSES, 1 / CLASSES))
    numbers = pa.array(np.tile(np.arange(CLASSES, dtype=np.int32), N))
    for table, variant, of, lists in (
        ("probabilities", "rot90", probabilities_schema, (p,)),
        ("top_k", "rot180", top_k_schema, (numbers, p)),
    ):
        place = Partition.of(table, **(KEYS | {"variant": variant}), runtime=RUNTIME, model="small")
        schema = of(CLASSES, pa.float64())
        rows = [
            pa.FixedSizeListArray.from_arrays(values, type=field.type)
            for values, field in zip(lists, list(schema)[1:], strict=True)
        ]
        write_partition(store, place, pa.table([np.arange(N), *rows], schema=schema), identity, {})


def write_answers(store):
    """Answers with a confidence of their own, and what each request cost."""
    identity = {"dataset_fingerprint": fingerprint_of(LABELS)}
    keys = KEYS | {"variant": "rot270", "runtime": RUNTIME, "model": "small"}
    answered = [np.arange(N), LABELS.astype(np.int32), np.linspace(-3, 3, N)]
    for table, columns, schema in (
        ("answers", answered, answers_schema(["margin"])),
        ("request_costs", answered[::2], request_costs_schema(["usd"])),
    ):
        rows = pa.table(columns, schema=schema)
        write_partition(store, Partition.of(table, **keys), rows, identity, {})


def write_extra_scores(store, scores):
    """What a package's score gave for the model whose scores these are."""
    partition = Partition("extra_scores", (*scores.partition.values, "gini"))
    p = np.exp(logits_of(scores.partition.keys["model"]).astype(np.float64))
    values = ((p / p.sum(axis=1, keepdims=True)) ** 2).sum(axis=1)
    table = pa.table([np.arange(N), values], schema=EXTRA_SCORES)
    made_by = {"package": "gini", "version": "1.0", "code": None}
    identity = plugin_scores.identity(scores) | {"score": made_by}
    write_partition(store, partition, table, identity, {"sign": 1})


def cost(device="desk", ms=1.0, measured="2026-01-01"):
    return cost_row("small", ms, device=device, measured=measured)


@dataclass(frozen=True)
class SmallRow(results.Row):
    """The least that a table of results may hold."""

    model_1: str
    threshold: float


def full_cache(root):
    store = Store(root)
    write_samples(store, "test", LABELS)
    for model in MODELS:
        write_model(store, model)
    write_hashes(store)
    write_top10(store)
    write_shares(store)
    write_answers(store)
    costs.merge(store, "toy", [cost()])
    found = load(store, "toy", "test")
    write_extra_scores(store, found.manifests[found.index("small")])
    simulate.save(store, found, simulate.make(N, seed=1), {})
    results.save(store, "threshold", found, {"asked": 1}, [SmallRow("small", 0.5)])
    return store


def everything(store):
    """{path: bytes} of all files but locks."""
    folders = [*TABLES, "_manifests", ".tmp/receipts"]
    paths = [path for folder in folders for path in store.files(folder)]
    return {path: store.read(path).to_pybytes() for path in paths}
