"""Splits without labels: what is right is what the reference answers, and else nobody knows."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import tied_logits, write_logits, write_samples

from cache import InputError
from stages.scores import load, load_unlabelled

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
