"""The example of priced services against a loop over pairs, limits and requests."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import polars as pl
import pytest

from examples import priced_services

N, BUDGET = 60, 0.0007
SERVICES = {"own": (0.6, 0.00001), "cheap": (0.7, 0.0005), "dear": (0.9, 0.001)}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Confidences of few values, so that they tie, and prices that differ by request."""
    rng = np.random.default_rng(8)
    out = {"label": rng.integers(0, 4, N)}
    for name, (accuracy, usd) in SERVICES.items():
        sure = rng.integers(1, 8, N) / 8
        right = rng.random(N) < accuracy * (0.5 + sure)
        out[f"{name}.prediction"] = np.where(right, out["label"], (out["label"] + 1) % 4)
        out[f"{name}.confidence"] = sure
        out[f"{name}.usd_per_request"] = usd * rng.uniform(0.5, 1.5, N)
    path = tmp_path_factory.mktemp("services") / "faces.parquet"
    pl.DataFrame(out).write_parquet(path)
    return path


def asked(rows, first, second, limit):
    """(how many are right, what they cost a request, how often the second is asked)"""
    right = usd = sent = 0
    for row in rows:
        last = first if row[f"{first}.confidence"] >= limit else second
        sent += last != first
        right += row[f"{last}.prediction"] == row["label"]
        usd += sum(row[f"{name}.usd_per_request"] for name in {first, last})
    return right, usd / N, sent


def test_it_is_the_best_of_all_within_the_budget(table):
    rows = pl.read_parquet(table).to_dicts()
    limits = [k / 8 + 1 / 16 for k in range(9)]  # between the confidences, and beyond them
    every = [
        (pair, asked(rows, *pair, limit)) for pair in permutations(SERVICES, 2) for limit in limits
    ]
    most = max(right for _, (right, usd, _) in every if usd <= BUDGET)
    answer = priced_services.within(str(table), BUDGET).answer
    assert answer.fit_accuracy == pytest.approx(most / N)
    right, usd, sent = asked(rows, answer.model_1, answer.model_2, answer.threshold.value)
    assert (right, usd <= BUDGET) == (most, True)
    assert answer.usage.value == sent / N
    assert answer.price.cost.value == pytest.approx(usd)


def test_it_says_who_is_asked_first(table, capsys):
    assert priced_services.main(str(table), str(BUDGET)) == 0
    first, limit, *_ = capsys.readouterr().out.splitlines()
    assert first.endswith("first, dear where it is less sure than λ")
    assert limit.startswith("λ = 0.")
