"""`cascade calibrate`: its rows against the raw logits, scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from running import cascade
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss
from three_models import MODELS, N, make

from stages.threshold import folds


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make(tmp_path_factory.mktemp("calibrate") / "cache")


def ask(root, *args):
    return cascade("calibrate", "-d", "toy", "--cache", root, *args, "--json")


def temperature(z, labels):
    def nll(u):
        return -log_softmax(z / np.exp(u), axis=1)[np.arange(len(labels)), labels].mean()

    return np.exp(minimize_scalar(nll, bounds=(-4, 4), options={"xatol": 1e-10}).x)


def test_fitted_on_val_and_reported_on_test(toy):
    root, logits, labels = toy
    found = ask(root).json
    assert (found["fit_split"], found["fit_method"]) == ("val", "other-split")
    assert {row["model"] for row in found["models"]} == set(MODELS)
    for row in found["models"]:
        z, y = (logits["test", row["model"]].astype(float), labels["test"])
        t = temperature(logits["val", row["model"]].astype(float), labels["val"])
        assert row["temperature"] == pytest.approx(t, rel=1e-4)
        assert row["accuracy"] == (z.argmax(axis=1) == y).mean()
        assert row["nll_before"] == pytest.approx(log_loss(y, softmax(z, axis=1)))
        assert row["nll_after"] == pytest.approx(log_loss(y, softmax(z / t, axis=1)), rel=1e-4)


def test_bins_add_up_to_the_ece(toy):
    found = ask(toy[0]).json
    assert len(found["reliability"]) == len(MODELS) * 2 * 15
    for row in found["models"]:
        for when in ("before", "after"):
            names = (row["model"], when)
            bins = [b for b in found["reliability"] if (b["model"], b["when"]) == names]
            full = [b for b in bins if b["count"]]
            assert sum(b["count"] for b in bins) == N
            ece = sum(b["count"] / N * abs(b["accuracy"] - b["confidence"]) for b in full)
            assert row[f"ece_{when}"] == pytest.approx(ece)
            assert all(b["low"] <= b["confidence"] <= b["high"] for b in full)
            assert {b["accuracy"] for b in bins if not b["count"]} <= {None}


def test_cross_fitted_without_another_split(tmp_path):
    root, logits, labels = make(tmp_path / "cache", splits=("test",))
    result = ask(root)
    assert "the temperature is cross-fitted on test" in result.err
    fold = folds(N)
    for row in result.json["models"]:
        z, y = logits["test", row["model"]].astype(float), labels["test"]
        p = np.empty_like(z)
        for f in range(5):
            t = temperature(z[fold != f], y[fold != f])
            p[fold == f] = softmax(z[fold == f] / t, axis=1)
        assert row["nll_after"] == pytest.approx(log_loss(y, p), rel=1e-4)
        assert row["temperature"] == pytest.approx(temperature(z, y), rel=1e-4)
        assert row["nll_after"] != pytest.approx(row["fit_nll_after"], rel=1e-6)


def test_files(toy, tmp_path):
    found = ask(toy[0], "--models", "small", "-o", tmp_path / "b.csv", "--figures", tmp_path).json
    bins = pl.read_csv(tmp_path / "b.csv")
    assert bins["count"].to_list() == [row["count"] for row in found["reliability"]]
    for suffix in ("png", "svg"):
        assert (tmp_path / f"reliability-small.{suffix}").stat().st_size > 2000
    assert len(found["figures"]) == 2
    for stage, rows in (("calibrate", found["models"]), ("reliability", found["reliability"])):
        files = list((toy[0] / "results" / stage).rglob("*.parquet"))
        columns = [*rows[0]]
        tables = [pl.read_parquet(file, hive_partitioning=True)[columns] for file in files]
        assert rows in [table.to_dicts() for table in tables]


def test_the_table(toy):
    out = cascade("calibrate", "-d", "toy", "--cache", toy[0]).out
    assert out.split()[:3] == ["model", "temperature", "top-1"]
    assert "temperature fitted on val (80 images, other-split), the rest is of test" in out


def test_logits_are_needed(tmp_path):
    root, *_ = make(tmp_path / "cache")
    assert cascade("score", "-d", "toy", "--cache", root).status == 0
    for path in (root / "_manifests" / "logits").rglob("model=large.json"):
        path.unlink()
    assert "no logits of large on val: extract or import" in ask(root).refusal
    assert ask(root, "--models", "small").status == 0
