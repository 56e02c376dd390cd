"""Splits without labels: what is right is what the reference answers, and else nobody knows."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import RUNTIME, tied_logits, write_logits, write_samples
from running import cascade

from cache import InputError, Partition, load as cache_load, read_table, restate
from cascade_cli.inputs.scores import report_split
from stages.scores import labelled_splits_of, load, load_unlabelled, named_classes, run
from stages.threshold import plan

LABELS = np.arange(40) % 4
LOGITS = {name: tied_logits(np.random.default_rng(k), 40) for k, name in enumerate("abc")}


def _answers(name):
    return [row.index(max(row)) for row in LOGITS[name].tolist()]


@pytest.fixture
def labelled(store):
    write_samples(store, "test", LABELS)
    for name, logits in LOGITS.items():
        write_logits(store, "test", name, LABELS, logits)
    return store


def test_of_a_labelled_split_the_labels_are_the_references_answers(labelled):
    found = load_unlabelled(labelled, "toy", "test", "b")
    assert found.models == ("a", "b", "c")
    assert found.labels.tolist() == _answers("b")
    assert found.correct.tolist() == [
        [ours == its for ours, its in zip(_answers(name), _answers("b"), strict=True)]
        for name in "abc"
    ]
    usual = load(labelled, "toy", "test")
    for name, values in usual.scores.items():
        assert found.scores[name].tolist() == values.tolist()
    assert usual.labels.tolist() == LABELS.tolist()


def test_the_reference_need_not_be_among_the_models(labelled):
    found = load_unlabelled(labelled, "toy", "test", "c", ["b", "a"])
    assert found.models == ("b", "a")
    assert found.labels.tolist() == _answers("c")
    assert found.correct[0].tolist() == (np.array(_answers("b")) == _answers("c")).tolist()


def test_a_reference_that_is_not_there_is_refused(labelled):
    with pytest.raises(InputError, match="no logits of model d"):
        load_unlabelled(labelled, "toy", "test", "d")


@pytest.fixture
def unlabelled(store):
    """The same logits on `new`, of which nobody knows the labels, and on `test`."""
    none = np.full(40, -1)
    write_samples(store, "new", none)
    write_samples(store, "test", LABELS)
    for name, logits in LOGITS.items():
        write_logits(store, "new", name, none, logits)
        write_logits(store, "test", name, LABELS, logits)
    return store


def test_scores_of_a_split_without_labels_are_those_of_the_same_logits(unlabelled):
    rows = run(unlabelled, "toy")
    assert [(row.split, row.model) for row in rows] == [
        (split, name) for split in ("new", "test") for name in "abc"
    ]
    assert [row.accuracy for row in rows[:3]] == [None] * 3
    right = [float((np.array(_answers(name)) == LABELS).mean()) for name in "abc"]
    assert [row.accuracy for row in rows[3:]] == right
    tables = []
    for split in ("new", "test"):
        place = Partition("scores", ("toy", split, "identity", RUNTIME, "a"))
        tables.append(read_table(unlabelled, cache_load(unlabelled, place)))
    new, test = tables
    assert new.column("label").to_pylist() == new.column("correct").to_pylist() == [None] * 40
    others = [name for name in test.column_names if name not in ("label", "correct")]
    assert new.column_names == test.column_names
    assert new.select(others).to_pydict() == test.select(others).to_pydict()


def test_what_needs_labels_refuses_a_split_without_in_one_line(unlabelled):
    for _ in range(2):  # made now, and kept
        with pytest.raises(InputError) as error:
            load(unlabelled, "toy", "new")
        assert "`cascade certify MAX_LOSS,RISK --unlabelled new`" in str(error.value)
        assert "\n" not in str(error.value)


def test_the_references_answers_are_the_labels_of_a_split_without(unlabelled):
    new, test = (load_unlabelled(unlabelled, "toy", split, "b") for split in ("new", "test"))
    assert new.labels.tolist() == test.labels.tolist() == _answers("b")
    assert new.correct.tolist() == test.correct.tolist()
    assert new.accuracy.tolist() == test.accuracy.tolist()


def test_a_split_without_labels_is_no_default(unlabelled):
    assert labelled_splits_of(unlabelled, "toy") == ["test"]
    reported = load(unlabelled, "toy", "test")
    assert plan(unlabelled, reported).method == "cross-fit"
    assert report_split(unlabelled, "toy", None) == "test"


def test_where_no_split_has_labels_the_refusal_says_so(store):
    none = np.full(40, -1)
    write_samples(store, "test", none)
    for name in "ab":
        write_logits(store, "test", name, none, LOGITS[name])
    said = cascade("threshold", "-d", "toy", "-m1", "a", "-m2", "b", "--cache", store.root)
    assert "has no labels" in said.refusal


def test_the_classes_of_a_split_without_labels_are_called_as_elsewhere(unlabelled):
    place = Partition.of("samples", dataset="toy", split="test")
    restate(unlabelled, cache_load(unlabelled, place), class_names=[*"wxyz"])
    assert named_classes(unlabelled, load_unlabelled(unlabelled, "toy", "new", "b")) == [*"wxyz"]
