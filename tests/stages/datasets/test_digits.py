"""The embedded digits: their splits and pictures, and the four networks that ship for them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cache import InputError
from stages.datasets.digits import CLASSES, SPLITS, open_split, split_indices
from stages.models import ModelSpec
from stages.models.tables import DIGITS
from stages.models.weights import SHIPPED

ROOT = Path(__file__).parents[3]

# SHA-256 of the positions, comma-separated: the shipped weights and every cache depend on them.
SPLIT_DIGESTS = {
    "train": "f3c03fee0ace05b0fbd184c64c42e1eb4454310b349ddf8d2718d0f3fd5d0ffc",
    "val": "66dbb6b9193522b6409da5738f57e67a504415e74c811f74a68fc49cada45b98",
    "test": "a41b821e570c005a58c176ce6a36483a588c0dd69d922f0a90e56f22b36d6c59",
}


def test_splits_are_disjoint_and_cover_all():
    positions = np.concatenate([split_indices(split) for split in SPLITS])
    assert sorted(positions) == list(range(1797))
    assert {s: len(split_indices(s)) for s in SPLITS} == {"train": 797, "val": 500, "test": 500}


@pytest.mark.parametrize("split", SPLITS)
def test_split_is_stratified(split):
    counts = np.bincount(open_split(split).labels, minlength=10)
    expected = np.bincount(load_digits().target) * len(open_split(split)) / 1797
    assert np.abs(counts - expected).max() <= 1


@pytest.mark.parametrize("split", SPLITS)
def test_split_never_changes(split):
    listed = ",".join(map(str, split_indices(split)))
    assert hashlib.sha256(listed.encode()).hexdigest() == SPLIT_DIGESTS[split]


@pytest.mark.parametrize("split", SPLITS)
def test_pictures_and_labels_are_those_of_sklearn(split):
    source, digits = open_split(split), load_digits()
    assert (source.dataset, source.split, source.class_names) == ("digits", split, CLASSES)
    for i, key in enumerate(source.keys):
        position = int(key.removeprefix("digits/"))
        assert key == f"digits/{position:04d}"
        picture = source.read(i)
        assert (picture.dtype, picture.shape) == (np.uint8, (8, 8))
        np.testing.assert_array_equal(np.rint(picture / 255 * 16), digits.images[position])
        assert CLASSES[source.labels[i]] == str(digits.target[position])
    assert {0, 255} <= set(np.unique(source.pictures))


def test_unknown_split_is_one_line():
    with pytest.raises(InputError, match=r"unknown split of digits 'tset': did you mean 'test'\?"):
        open_split("tset")


def test_normalisation_is_that_of_the_train_split():
    grey = open_split("train").pictures / 255
    stated = DIGITS[0].preprocessing
    assert stated.mean == pytest.approx((grey.mean(),), abs=5e-5)
    assert stated.std == pytest.approx((grey.std(),), abs=5e-5)


def test_more_multiply_adds_are_more_accurate():
    by_cost = sorted(DIGITS, key=lambda spec: spec.macs)
    shares = [spec.top1 for spec in by_cost]
    assert shares == sorted(shares)
    assert shares[0] >= 0.85


def test_shipped_weights_are_small():
    exported = [f"{spec.name}-8x8.{suffix}" for spec in DIGITS for suffix in ("onnx", "json")]
    shipped = sorted([*exported, *(str(spec.shipped) for spec in DIGITS)])
    assert sorted(path.name for path in SHIPPED.iterdir()) == shipped
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 500_000


@pytest.fixture(params=DIGITS, ids=lambda spec: spec.name)
def spec(request) -> ModelSpec:
    return request.param


def test_shipped_weights_reach_the_stated_accuracy(spec):
    torch = pytest.importorskip("torch")
    from stages.models import find, load

    weights = find(spec, download=False)
    assert (weights.origin, weights.trained_on) == ("shipped", ("train",))
    source = open_split("test")
    pixels = np.stack([spec.preprocessing.pixels(source.read(i)) for i in range(len(source))])
    with torch.no_grad():
        logits = load(spec, weights)(spec.preprocessing.normalise(torch.from_numpy(pixels)))
    confidence, answers = logits.softmax(1).max(1)
    right = answers.numpy() == source.labels
    assert right.mean() == pytest.approx(spec.top1, abs=0.01)
    # what a cascade lives on: confidence close to accuracy, and lower where the answer is wrong
    assert float(confidence.mean()) == pytest.approx(right.mean(), abs=0.12)
    assert confidence[right].mean() > confidence[~right].mean() + 0.1


def test_parameters_and_macs_are_counted(spec):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from stages.models.digits import build

    model = build(spec.classes, **spec.options)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, 8, 8))
    assert spec.macs == counter.get_total_flops() // 2
    assert spec.parameters == sum(p.numel() for p in model.parameters())


def test_class_count_is_free(spec):
    torch = pytest.importorskip("torch")
    from stages.models.digits import build

    model = build(7, **spec.options)
    assert not model.training
    assert model.state_dict()[spec.head].shape[0] == 7
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 7)


def test_smoke_run_of_the_training(tmp_path):
    torch = pytest.importorskip("torch")
    command = [sys.executable, "-m", "tools.train_digits", "--epochs", "1", "--out", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in run.stdout.splitlines()] == [s.name for s in DIGITS]
    for spec in DIGITS:
        fresh, shipped = (
            torch.load(folder / spec.shipped, weights_only=True) for folder in (tmp_path, SHIPPED)
        )
        assert {k: v.shape for k, v in fresh.items()} == {k: v.shape for k, v in shipped.items()}
        assert not torch.equal(fresh[spec.head], shipped[spec.head])
        about = json.loads((tmp_path / f"{spec.name}-8x8.json").read_text())
        assert about["sha256"] == digest(tmp_path / f"{spec.name}-8x8.onnx")
        assert about["weights_sha256"] == digest(tmp_path / spec.shipped)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
