"""A live run with repeated and turned images equals its simulation, request by request."""

from __future__ import annotations

import pytest
from running import cascade

from cache import Store, find, read_table

pytest.importorskip("torch")

PAIR = ("-m1", "digits_wide", "-m2", "digits_residual")
VARIANTS = "identity,rot90,rot180,rot270,flip"


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """Logits and hashes of every variant."""
    root = tmp_path_factory.mktemp("memory") / "cache"
    where = ("-d", "digits", "--split", "test", "--variants", VARIANTS, "--cache", root)
    models = ("--models", "digits_wide,digits_residual")
    assert cascade("extract", *where, *models).status == 0
    assert cascade("hash", *where, "--algorithms", "dhash,invariants", "--no-profile").status == 0
    return root


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("memory", "found"),
    [
        ((), 0),
        (("-m", "invariants"), 500),
        (("-m", "dhash", "--memory-radius", "2", "--batch-size", "32"), None),
        (("-m", "invariants", "--memory-size", "40", "--order", "shuffled"), None),
        (("-m", "invariants", "--memory-trust", "0.9", "-p"), None),
    ],
)
def test_live_equals_simulate_with_and_without_a_memory(cached, memory, found):
    asked = (*PAIR, "-t", "0.8", "-d", "1", "-r", "1", "--seed", "4", *memory, "--cache", cached)
    live = cascade("live", *asked, "--no-alone", "--json").json
    said = cascade("simulate", *asked, "--json").json
    assert live["agreement"]["differences"] == []
    for key in ("n", "usage", "escalated", "hits", "hit_rate"):
        assert live[key] == said[key], key
    assert live["accuracy"] == pytest.approx(said["accuracy"])
    assert live["n"] == 1000
    assert live["hits"] == found if found is not None else live["hits"] > 0


@pytest.mark.usefixtures("one_thread")
def test_runs_with_another_memory_are_kept_side_by_side(cached):
    memory = ("memory_size", "memory_radius", "memory_trust")
    asked = ("live", *PAIR, "-t", "0.7", "-m", "dhash", "--limit", "20", "--no-alone")
    each = {(None, 0, None): (), (3, 0, None): ("--memory-size", "3")}
    each[None, 1, None] = ("--memory-radius", "1")
    each[None, 0, 0.5] = ("--memory-trust", "0.5")
    for more in (*each.values(), ()):
        assert cascade(*asked, *more, "--cache", cached).status == 0
    store = Store(cached)
    rows = [read_table(store, m).to_pylist()[0] for m in find(store, "results", "live")]
    rows = [row for row in rows if row["threshold"] == 0.7]
    assert len(rows) == len(each)
    assert {tuple(row[name] for name in memory) for row in rows} == set(each)
