"""What the tables of `threshold` and `search` leave out, and against what each row saves."""

from __future__ import annotations

import pytest
from helpers import make_cache
from running import cascade

from stages import costs

MS = {"small": 1.0, "large": 4.0, "other": 1.2}


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    store = make_cache(tmp_path_factory.mktemp("toy") / "cache", n=200, seed=3)
    for model, ms in MS.items():
        row = {"device": "desk", "component": "forward", "batch_size": 1, "meter": "none"}
        row |= {"source": "profile", "latency_ms": ms, "measured": "2026-01-01"}
        costs.merge(store, "toy", "torch-fp32-cpu", model, [row])
    return ("-d", "toy", "--cache", store.root)


def cells(line):
    return [cell for cell in line.split("  ") if cell]


def test_threshold_counts_the_pairs_that_are_no_cascade(where):
    rows = cascade("threshold", *where, "--json").json["rows"]
    never = sum(row["threshold"] == "never" for row in rows)
    assert 0 < never < len(rows)
    shown = cascade("threshold", *where).out
    head, *lines = shown.splitlines()
    assert not [line for line in lines[:20] if "  never  " in line]
    assert f"{never} more have λ never" in shown
    assert ("against" in cells(head)[-1]) == ("against the model that its row names" in shown)
    pair = cascade("threshold", "-m1", "large", "-m2", "small", *where)
    assert "more have λ never" not in pair.out


def test_the_hull_names_what_each_row_saves_against(where):
    found = cascade("search", *where, "--best-accuracy", "--json").json
    baselines = [row["baseline"] for row in found["hull"]]
    assert len(set(baselines)) > 1
    shown = cascade("search", *where, "--best-accuracy").out
    table = shown.partition("upper hull")[2].splitlines()[1:]
    assert cells(table[0])[-1].strip() == "against"
    said = [cells(line)[-1].strip() for line in table[1 : 1 + len(baselines)]]
    assert said == baselines
    assert "saved against the model that its row names" in shown
