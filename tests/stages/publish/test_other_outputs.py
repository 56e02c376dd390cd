"""Models of which no logits are known travel in a published copy, which answers as its source."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from helpers import RUNTIME, fingerprint_of, make_cache, write_samples
from running import cascade
from scipy.special import softmax

import cache
from cache import (
    Partition,
    Store,
    answers_schema,
    probabilities_schema,
    request_costs_schema,
    top_k_schema,
    write_partition,
)
from cache.upkeep import verify
from stages.scores import load, table

N, CLASSES, TOP = 60, 12, 4
SPLITS, TIERS = ("test", "val"), ("scores", "top10", "full")
RNG = np.random.default_rng(7)
LABELS = {split: RNG.integers(0, CLASSES, N) for split in SPLITS}
# Of few values, so that many are equal.
P = {
    (split, kind): softmax(RNG.integers(0, 3, (N, CLASSES)) + 2 * np.eye(CLASSES)[labels], axis=1)
    for split, labels in LABELS.items()
    for kind in ("whole", "top")
}
QUESTIONS = (
    ("threshold", "-d", "toy", "-s", "maxp,difference"),
    ("search", "-d", "toy", "-s", "maxp,difference"),
    ("simulate", "--dataset", "toy", "-m1", "top", "-m2", "whole"),
)


def _lists(values, field):
    flat = pa.array(values.reshape(-1), field.type.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=field.type)


def _write(store, name, split, model, schema, *columns):
    """A partition of outputs, or of what requests cost."""
    keys = {"split": split, "variant": "identity", "runtime": RUNTIME, "model": model}
    rows = [
        _lists(values, field) if pa.types.is_fixed_size_list(field.type) else values
        for values, field in zip(columns, list(schema)[1:], strict=True)
    ]
    identity = {"dataset_fingerprint": fingerprint_of(LABELS[split])}
    place = Partition.of(name, dataset="toy", **keys)
    return write_partition(
        store, place, pa.table([np.arange(N), *rows], schema=schema), identity, {}
    )


def _top(p, k):
    classes = np.argsort(-p, axis=1, kind="stable")[:, :k].astype(np.int32)
    return classes, np.take_along_axis(p, classes, axis=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Probabilities of one model, the most probable classes of another, and costs of requests."""
    store = Store(tmp_path_factory.mktemp("whole") / "cache")
    for split in SPLITS:
        write_samples(store, split, LABELS[split])
        double = pa.float64()
        every = (split, "whole", probabilities_schema(CLASSES, double), P[split, "whole"])
        _write(store, "probabilities", *every)
        some = (split, "top", top_k_schema(TOP, double), *_top(P[split, "top"], TOP))
        _write(store, "top_k", *some)
        usd = (split, "top", request_costs_schema(["usd"]), np.arange(N) / 8)
        _write(store, "request_costs", *usd)
    return store


@pytest.fixture(scope="module")
def copies(whole, tmp_path_factory):
    desk = tmp_path_factory.mktemp("copies")
    for tier in TIERS:
        to = ("export", "--publish", desk / tier, "-d", "toy", "--tier", tier)
        assert cascade(*to, "--cache", whole.root).status == 0
    return {tier: Store(desk / tier) for tier in TIERS}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda words: words[0])
@pytest.mark.parametrize("tier", TIERS)
def test_a_copy_answers_as_its_source(whole, copies, tier, question):
    mine, theirs = (
        cascade(*question, "--cache", store.root, "--json").json for store in (copies[tier], whole)
    )
    assert mine == theirs


@pytest.mark.parametrize("tier", TIERS)
def test_what_a_copy_holds(whole, copies, tier):
    found = verify(copies[tier])
    assert not found.damage
    tables = {manifest.partition.table for manifest in found.survey.complete}
    more = {"top10": {"top10"}, "full": {"probabilities", "top_k"}}.get(tier, set())
    assert tables - {"results"} == {"samples", "scores", "request_costs", *more}
    for name in ("request_costs", *(more - {"top10"})):
        for manifest in cache.find(whole, name):
            there = cache.load(copies[tier], manifest.partition)
            copied = cache.read_table(copies[tier], there)
            assert copied.equals(cache.read_table(whole, manifest))


@pytest.mark.parametrize(("model", "k"), [("whole", 10), ("top", TOP)])
def test_top10_are_the_first(copies, model, k):
    for split in SPLITS:
        keys = {"split": split, "variant": "identity", "runtime": RUNTIME, "model": model}
        place = Partition.of("top10", dataset="toy", **keys)
        rows = cache.read_table(copies["top10"], cache.load(copies["top10"], place))
        classes, p = _top(P[split, model], k)
        assert rows["classes"].to_pylist() == classes.tolist()
        expected = p.astype(np.float32).tolist()
        assert rows["probabilities"].to_pylist() == expected


@pytest.mark.parametrize("tier", TIERS)
def test_answers_travel_with_their_scores(tmp_path, monkeypatch, tier):
    def scored(part):
        sure = part["margin"].to_numpy()
        return {"prediction": part["prediction"].to_numpy(), "maxp": sure, "difference": sure}

    monkeypatch.setattr(table, "_OF", {**table._OF, "answers": scored})
    store = make_cache(tmp_path / "cache", models=("small",), splits=(), n=N)
    write_samples(store, "test", LABELS["test"])
    answers = (LABELS["test"].astype(np.int32), np.linspace(0, 1, N))
    _write(store, "answers", "test", "served", answers_schema(["margin"]), *answers)
    copy = Store(tmp_path / "copy")
    to = ("export", "--publish", copy.root, "-d", "toy", "--tier", tier, "--cache", store.root)
    assert cascade(*to).status == 0
    [mine], [theirs] = (cache.find(each, "answers") for each in (copy, store))
    assert cache.read_table(copy, mine).equals(cache.read_table(store, theirs))
    monkeypatch.undo()  # the copy's scores need not be made
    found = load(copy, "toy", "test")
    np.testing.assert_array_equal(found.scores["maxp"][0], answers[1])
    assert not verify(copy).damage
