"""Small caches and score sets with many ties, made from random logits."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pyarrow as pa

import cache.fingerprint
from cache import (
    CostRow,
    Manifest,
    Partition,
    PartitionWriter,
    Store,
    logits_schema,
    request_costs_schema,
    samples_table,
    told_unlabelled,
    write_partition,
)
from stages.scores import ScoreSet, parse_loss

RUNTIME = "torch-fp32-cpu"
MODELS = ("small", "large", "other")
FORWARD = CostRow(
    model="small",
    runtime=RUNTIME,
    device="desk",
    component="forward",
    batch_size=1,
    meter="none",
    source="profile",
)


def cost_row(model, latency_ms=None, **columns):
    """A row of the costs table: FORWARD's, but for what is given."""
    return replace(FORWARD, model=model, latency_ms=latency_ms, **columns)


def tied_logits(rng, n, classes=4, spread=2.0):
    """float32 [n, classes], rounded so coarsely that many rows share their scores."""
    return np.round(rng.standard_normal((n, classes)) * spread).astype(np.float32)


def logits_table(logits, first=0):
    """The logits table of rows that start at sample `first`."""
    n, classes = logits.shape
    schema = logits_schema(classes)
    values = pa.array(np.ascontiguousarray(logits, np.float32).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(values, type=schema.field("logits").type)
    return pa.table([np.arange(first, first + n), column], schema=schema)


def fingerprint_of(labels):
    """Of the samples that `write_samples` writes."""
    return cache.fingerprint.fingerprint_of(labels, keys_of(labels))


def keys_of(labels):
    return [f"{i}.png" for i in range(len(labels))]


def write_samples(store, split, labels, dataset="toy"):
    """Of a split without labels, where all are −1."""
    n = len(labels)
    table = samples_table(np.arange(n), np.asarray(labels, np.int32), keys_of(labels))
    identity = {"dataset_fingerprint": fingerprint_of(labels)}
    partition = Partition.of("samples", dataset=dataset, split=split)
    told = told_unlabelled(np.asarray(labels))
    return write_partition(store, partition, table, identity, told)


def logits_writer(
    store,
    split,
    model,
    labels,
    classes,
    dataset="toy",
    runtime=RUNTIME,
    variant="identity",
    weights="w",
    provenance=None,
    overwrite=False,
):
    """A PartitionWriter as `extract` would open it."""
    partition = Partition.of(
        "logits", dataset=dataset, split=split, variant=variant, runtime=runtime, model=model
    )
    identity = {"dataset_fingerprint": fingerprint_of(labels), "weights_sha256": weights}
    schema = logits_schema(classes)
    return PartitionWriter(
        store, partition, schema, identity, provenance or {}, overwrite=overwrite
    )


def write_logits(store, split, model, labels, logits, part_rows=8192, **how):
    """A complete logits partition; `how` goes to `logits_writer`."""
    writer = logits_writer(store, split, model, labels, logits.shape[1], **how)
    starts = range(0, len(logits), part_rows)
    for part, start in enumerate(starts):
        writer.write(part, logits_table(logits[start : start + part_rows], start))
    return writer.finish(len(starts))


def write_request_costs(store, split, model, labels, each, dataset="toy"):
    """What each request cost by column [N]; a row per image, the last image first."""
    keys = {"split": split, "variant": "identity", "runtime": RUNTIME, "model": model}
    table = pa.table(
        [np.arange(len(labels))[::-1], *(values[::-1] for values in each.values())],
        schema=request_costs_schema(list(each)),
    )
    identity = {"dataset_fingerprint": fingerprint_of(labels)}
    write_partition(
        store, Partition.of("request_costs", dataset=dataset, **keys), table, identity, {}
    )


def make_cache(
    root, models=MODELS, splits=("test", "val"), n=60, classes=4, seed=0, trained_on=None
):
    """A Store of random logits; `trained_on` maps a model to the splits it has seen."""
    rng, store = np.random.default_rng(seed), Store(root)
    for split in splits:
        labels = rng.integers(0, classes, n)
        write_samples(store, split, labels)
        for model in models:
            logits = tied_logits(rng, n, classes)
            logits[np.arange(n), labels] += 2
            seen = list((trained_on or {}).get(model, ()))
            provenance = {"trained_on": {"splits": seen, "source": "stated"}} if trained_on else {}
            write_logits(store, split, model, labels, logits, provenance=provenance)
    return store


def score_set(labels, answers, scores, models=MODELS, split="test", seen=None):
    """A ScoreSet from lists: answers [M][N], scores {name: [M][N]}; `seen` as `trained_on`."""
    labels = np.asarray(labels, np.int32)
    answers = np.asarray(answers, np.int32).reshape(-1, len(labels))
    models = tuple(models[: len(answers)])
    manifests = []
    for model in models:
        keys = {"split": split, "variant": "identity", "runtime": RUNTIME, "model": model}
        partition = Partition.of("scores", dataset="toy", **keys)
        about = {"trained_on": {"splits": list((seen or {}).get(model, ())), "source": "stated"}}
        identity = {"dataset_fingerprint": fingerprint_of(labels)}
        manifests.append(Manifest(partition, (), identity, about))
    return ScoreSet(
        dataset="toy",
        split=split,
        models=models,
        sample_ids=np.arange(len(labels)),
        labels=labels,
        predictions=answers,
        correct=answers == labels,
        scores={name: np.asarray(value, np.float64) for name, value in scores.items()},
        manifests=tuple(manifests),
    )


def random_scores(rng, n, levels=16, models=MODELS, split="test", classes=3, seen=None):
    """A ScoreSet of n images whose scores are multiples of 1/levels, so that ties abound."""
    shape = (len(models), n)
    labels = rng.integers(0, classes, n)
    answers = np.where(rng.random(shape) < 0.6, labels, rng.integers(0, classes, shape))
    scores = {
        name: rng.integers(0, levels + 1, shape) / levels
        for name in ("maxp", "difference", "entropy")
    }
    return score_set(labels, answers, scores, models, split, seen)


# Commands that the cache of `make_cache` answers, and keep their answers there.
QUESTIONS = (
    ("score", "-d", "toy"),
    ("threshold", "-d", "toy"),
    ("search", "-d", "toy"),
    ("heterogeneity", "-d", "toy"),
    ("rules", "-d", "toy", "-m1", "small", "-m2", "large"),
    ("calibrate", "-d", "toy"),
    ("simulate", "--dataset", "toy", "-m1", "small", "-m2", "large"),
    ("simulate", "--dataset", "toy", "-m1", "small", "-m2", "large", "--duplicates", "1"),
)


# What answers cost, as users write it: whole, decimals, large decimals, the weights of classes.
LOSS_TEXTS = {
    "whole": "0,1,3\n2,0,1\n1,5,0\n",
    "decimal": "0,0.1,0.25\n1.5,0,0.1\n0.35,0.35,0\n",
    "int16": "0,12.25,3\n40.75,0.5,1\n0,99.5,0\n",
    "int32": "0,12.3456,3\n0.0001,0,1\n77.7,99.9999,0\n",
    "weights": "0.5\n2\n1.25\n",
}


def loss_matrix(kind):
    """The numbers of one of LOSS_TEXTS as exact fractions: row true, column answered."""
    rows = [[Fraction(cell) for cell in line.split(",")] for line in LOSS_TEXTS[kind].split()]
    if len(rows[0]) == 1:
        return [[0 if t == a else rows[t][0] for a in range(3)] for t in range(3)]
    return rows


def worth_of(kind):
    """`naive`'s worth of an answer: minus its loss, exactly."""
    matrix = loss_matrix(kind)
    return lambda label, answer: -matrix[label][answer]


def loss_of(kind, folder):
    path = folder / f"{kind}.csv"
    path.write_text(LOSS_TEXTS[kind], encoding="utf-8")
    return parse_loss(str(path))
