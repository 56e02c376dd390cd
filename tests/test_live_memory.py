"""A live run with repeated and turned images equals its simulation, request by request."""

from __future__ import annotations

import pytest
from running import cascade

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
