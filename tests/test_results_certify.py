"""docs/results-certify.md: its benchmark still runs, and its tables keep what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import few_labels

PAGE = (Path(__file__).parents[1] / "docs" / "results-certify.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^ +(\d+) +(\d+) +([\d.]+)% +(\w+) +([\d.]+)% ± ([\d.]+)% +([\d.]+)% +([\d.]+)% +([\d.]+)%",
    re.M,
)


def _rows():
    """(draws, n, ε, kind, broken, its error, worst pair, use of B, median labels) in per cent."""
    return [
        (int(row[0]), int(row[1]), float(row[2]), row[3], *map(float, row[4:]))
        for row in ROW.findall(PAGE)
    ]


def test_the_benchmark_runs():
    """What a few labels certify is what all would, else it raises."""
    if few_labels._population(few_labels.PAIRS[0]) is None:
        pytest.skip("imagenet_top2.parquet is not there")
    rows = few_labels._drawn(few_labels.KINDS, 2, (few_labels.PAIRS[0], 2000))
    assert len(rows) == 2
    for row in rows:
        assert {kind for _, kind in row} == set(few_labels.KINDS)
        for epsilon in few_labels.EPSILONS:
            every, few, none = (row[epsilon, kind] for kind in ("all", "few", "none"))
            assert (every.usage, every.broken) == (few.usage, few.broken)
            assert 0 == every.labels == none.labels < few.labels < 0.1
            assert few.usage <= row[epsilon, "budget"].usage
            assert row[epsilon, "budget"].labels <= 30 / 2000


def test_the_tables_are_whole_and_the_promise_is_kept():
    rows = _rows()
    pairs = [row for row in rows if row[0] >= 1000]
    assert len(pairs) == 3 * 3 * len(few_labels.KINDS)
    assert len(rows) == len(pairs) + 3 * 3 * 2
    for draws, n, _, kind, broken, error, *_ in rows:
        assert broken <= 10 + 3 * error, (draws, n, kind)


def test_few_labels_do_for_the_same_cascade():
    rows = {(row[0] >= 1000, *row[1:4]): row for row in _rows()}
    for (pairs, n, epsilon, kind), row in rows.items():
        if kind != "few":
            continue
        every = rows[pairs, n, epsilon, "all"]
        assert row[4:8] == every[4:8]
        assert row[8] <= (5 if pairs else 6)
