"""The whole chain on real CIFAR-10 images with real weights: minutes, so marked slow."""

from __future__ import annotations

import re

import numpy as np
import pytest
from running import WEIGHTS, cascade, logits_of, needs_shared, slice_of
from sklearn.metrics import accuracy_score

from cache import Store
from stages.scores import load

torch = pytest.importorskip("torch")
pytestmark = [needs_shared, pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

PAIR = ("-m1", "resnet20", "-m2", "resnet56")
TRAIN = 300


def stated():
    """{model: {split: fraction}} of the weights' own README."""
    rows = re.findall(
        r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|",
        (WEIGHTS / "README.md").read_text(),
        re.MULTILINE,
    )
    return {
        name: {
            split: float(value) / 100
            for split, value in zip(("test", "val", "train"), figures, strict=True)
        }
        for name, *figures in rows
    }


@pytest.fixture(scope="module")
def zoo(cifar_zoo):
    """(folder, extract's rows): all five models on all of test and val, and some of train."""
    root, rows = cifar_zoo
    slice_of("train", TRAIN, root / "data")
    return root, rows


def ask(zoo, *args):
    root, _ = zoo
    result = cascade(*args, "--cache", root / "cache", "--json")
    assert result.status == 0, result.err
    return result


def test_accuracies_are_those_of_the_weights_readme(zoo):
    rows = {(row["model"], row["split"]): row for row in zoo[1]}
    assert len(stated()) == 5
    assert set(rows) == {(name, split) for name in stated() for split in ("test", "val")}
    for (name, split), row in rows.items():
        assert row["accuracy"] == pytest.approx(stated()[name][split], abs=0.001)
        assert row["rows"] == 5000


def test_scores_repeat_them(zoo):
    found = ask(zoo, "score", "-d", "cifar10", "--split", "test").json["models"]
    scores = load(Store(zoo[0] / "cache"), "cifar10", "test")
    for row in found:
        _, logits = logits_of(zoo[0] / "cache", "test", row["model"], "cifar10")
        assert row["accuracy"] == accuracy_score(scores.labels, logits.argmax(axis=1))


def test_thresholds_are_fitted_on_val(zoo):
    args = ("threshold", "-d", "cifar10", *PAIR, "-s", "difference")
    default = ask(zoo, *args)
    assert (default.json["fit_split"], default.err) == ("val", "")
    rows = ask(zoo, *args, "--fit-split", "val").json["rows"]
    assert rows == default.json["rows"]
    best = next(row for row in rows if row["objective"] == "best" and not row["postcheck"])
    scores = load(Store(zoo[0] / "cache"), "cifar10", "test", ["resnet20", "resnet56"])
    to_b = scores.score("difference", 0) < best["threshold"]
    assert best["usage"] == to_b.mean()
    assert best["accuracy"] == np.where(to_b, scores.correct[1], scores.correct[0]).mean()
    assert best["accuracy"] > best["accuracy_1"] + 0.01


def test_all_pairs(zoo):
    rows = ask(zoo, "threshold", "-d", "cifar10").json["rows"]
    assert len(rows) == 20 * 3 * 2 * 2


def test_fitting_on_train_warns(zoo):
    root, _ = zoo
    given = ("-f", root / "data", "--weights", WEIGHTS)
    result = ask(zoo, "threshold", "-d", "cifar10", *PAIR, "--train", *given)
    assert "the cache lacks logits of resnet20, resnet56: extracting train first" in result.err
    warned = "warning: resnet20 (assumed), resnet56 (assumed) was trained on train"
    assert warned in result.err
    assert result.json["rows"][0]["fit_n"] == TRAIN


def test_heterogeneity(zoo):
    found = ask(zoo, "heterogeneity", "-d", "cifar10").json
    scores = load(Store(zoo[0] / "cache"), "cifar10", "test")
    assert found["models"] == list(scores.models)
    for a, line in enumerate(found["matrix"]):
        for b, value in enumerate(line):
            assert value == np.mean(scores.correct[a] != scores.correct[b])


def test_simulate(zoo):
    found = ask(zoo, "simulate", "--dataset", "cifar10", *PAIR, "-s", "entropy", "-p").json
    assert (found["n"], found["fit_split"]) == (5000, "val")
    assert found["accuracy_1"] == pytest.approx(stated()["resnet20"]["test"], abs=0.001)
    assert found["macs_per_request"] == pytest.approx(
        found["macs_1"] + found["usage"] * found["macs_2"]
    )


def test_live(zoo):
    root, _ = zoo
    given = ("-f", root / "data", "--weights", WEIGHTS, "--limit", 640, "--batch-size", 64)
    pair = ("-m1", "resnet20", "-m2", "resnet32")
    found = ask(zoo, "live", *pair, "-s", "maxp", "-p", *given).json
    assert found["dataset"] == "cifar10"
    assert found["agreement"]["differences"] == []
    assert found["agreement"]["n"] == 640
    assert set(found["classification"]) > {"airplane", "truck", "accuracy"}


def test_report(zoo, tmp_path):
    page = tmp_path / "report.html"
    ask(zoo, "report", "-d", "cifar10", *PAIR, "-o", page)
    text = page.read_text()
    assert "resnet56" in text
    assert not re.search(r"""(src|href)=["']https?://""", text)  # works offline
