"""docs/results-certify.md: its benchmark still runs, and its tables keep what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import few_labels

PAGE = (Path(__file__).parents[1] / "docs" / "results-certify.md").read_text(encoding="utf-8")


def _tables():
    """Of each table about n and ε the numbers in each cell, by row."""
    found = [[]]
    for line in PAGE.splitlines():
        if re.match(r"\| [\d,]+, [\d.]+ % \|", line):
            cells = line.strip("| ").split(" | ")
            found[-1].append([_numbers(cell) for cell in cells])
        elif found[-1]:
            found.append([])
    return found[:-1] if not found[-1] else found


def _numbers(cell):
    return [float(number) for number in re.findall(r"[\d.]+", cell.replace(",", ""))]


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


def test_the_promises_are_kept():
    labels, kept, ten = _tables()
    assert len(labels) == len(kept) == len(ten) == len(few_labels.DRAWS) * len(few_labels.EPSILONS)
    for (n, epsilon), (redraws,), *kinds in kept:
        assert redraws == 10 * few_labels.DRAWS[int(n)] >= 1000
        assert epsilon / 100 in few_labels.EPSILONS
        assert len(kinds) == len(few_labels.KINDS)
        for broken, error, worst in kinds:
            assert broken <= 10 + 3 * error
            assert worst <= 10 + 3 * (100 * 0.1 * 0.9 / (redraws / 10)) ** 0.5 * 10
    for _, _, *both, _, _, _ in ten:
        assert all(broken <= 10 + 3 * error for broken, error in both)


def test_few_labels_are_few():
    """At most 5 % of the images in the median, over all pairs of ten models 6 %."""
    labels, _, ten = _tables()
    assert max(row[2][0] for row in labels) <= 5
    assert max(row[-1][0] for row in ten) <= 6
    assert all(row[-3] == row[-2] for row in ten)  # use of B, by all labels and by few
