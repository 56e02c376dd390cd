"""A split has labels of all its images or of none; of none they are null in every table."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from helpers import fingerprint_of, keys_of, tied_logits, write_logits, write_samples

from cache import (
    SCORES,
    UNLABELLED,
    InputError,
    Partition,
    fits,
    labels_in,
    load,
    manifest_path,
    read_table,
    samples_table,
    some_unlabelled,
    told_unlabelled,
    unlabelled,
    write_partition,
)
from cache.upkeep import verify
from stages.scores import run

N = 30
LABELS = np.arange(N, dtype=np.int32) % 4
NONE = np.full(N, UNLABELLED, np.int32)
SAMPLES = Partition.of("samples", dataset="toy", split="test")


def _samples(labels):
    return samples_table(np.arange(N), labels, keys_of(labels))


def test_labels_are_all_known_or_all_null():
    known, none = _samples(LABELS), _samples(NONE)
    assert known.schema.field("label").nullable is False
    assert none.column("label").to_pylist() == [None] * N
    assert labels_in(known).tolist() == LABELS.tolist()
    assert labels_in(none).tolist() == [-1] * N
    assert labels_in(none).dtype == np.int32
    assert fits("samples", known.schema)
    assert fits("samples", none.schema)
    assert [unlabelled(each) for each in (LABELS, NONE, LABELS[:0])] == [False, True, False]
    assert [told_unlabelled(each) for each in (LABELS, NONE)] == [{}, {"labelled": False}]


@pytest.mark.parametrize("known", [1, N - 1])
def test_labels_of_some_images_are_refused(known):
    mixed = np.where(np.arange(N) < known, LABELS, UNLABELLED)
    said = f"{N - known} of {N} images have no label.*make two splits"
    with pytest.raises(InputError, match=said):
        _samples(mixed)
    column = pa.array([None if label < 0 else label for label in mixed.tolist()], pa.int32())
    table = pa.table({"label": column})
    assert some_unlabelled(table)
    with pytest.raises(InputError, match=said):
        labels_in(table)


def test_labels_that_are_null_with_answers_that_are_correct_fit_nothing():
    table = pa.table({"label": pa.nulls(N, pa.int32()), "correct": [True] * N})
    assert some_unlabelled(table)
    assert not some_unlabelled(table.select(["label"]))
    half = pa.schema([SCORES.field(0), SCORES.field(1).with_nullable(True), *list(SCORES)[2:]])
    assert not fits("scores", half)
    assert fits("scores", SCORES)


@pytest.fixture
def without(store):
    """A split without labels, its logits and their scores."""
    write_samples(store, "test", NONE)
    for seed, model in enumerate("ab"):
        logits = tied_logits(np.random.default_rng(seed), N)
        write_logits(store, "test", model, NONE, logits, part_rows=8)
    run(store, "toy")
    return store


def test_a_sound_split_without_labels_is_sound(without):
    report = verify(without)
    assert (report.damage, report.survey.strays) == ([], ())
    found = load(without, SAMPLES)
    assert (found.labelled, found.fingerprint) == (False, fingerprint_of(NONE))


def test_labels_that_a_manifest_denies_are_found(without):
    place = without.local_path(manifest_path(SAMPLES))
    body = json.loads(place.read_text("utf-8"))
    identity, told = body["identity"], {"made": "now"}
    write_partition(without, SAMPLES, _samples(NONE), identity | {"new": 1}, told)
    [found] = verify(without).damage
    assert "none where it has some" in found.what


def test_labels_of_some_rows_are_found(without):
    table = read_table(without, load(without, SAMPLES))
    mixed = pa.array([*[None] * (N - 1), 3], pa.int32())
    forged = table.set_column(1, table.schema.field("label"), mixed)
    write_partition(without, SAMPLES, forged, {"dataset_fingerprint": "x"}, {"labelled": False})
    assert "has labels of some of its images only" in [each.what for each in verify(without).damage]
