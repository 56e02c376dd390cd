"""tools/published_outputs.py on files as the published ones are laid out, made here."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from tools.published_outputs import digest, main

N = 40
MODELS = {
    "imagenet": ("keras/vgg16", "pytorch/vgg16", "pytorch/resnet18"),
    "cifar10": ("pytorch/googlenet",),
}
LABELS = {"imagenet": "imagenet_val_set", "cifar10": "cifar10_test_set"}


@pytest.fixture
def published(tmp_path):
    """(folder, {(dataset, model): probabilities of ten classes})."""
    rng, found = np.random.default_rng(3), {}
    (tmp_path / "labels/original_test_labels").mkdir(parents=True)
    for dataset, models in MODELS.items():
        labels = tmp_path / f"labels/original_test_labels/{LABELS[dataset]}_original_labels.npy"
        np.save(labels, rng.integers(0, 10, N, np.uint16))
        for model in models:
            platform, name = model.split("/")
            folder = tmp_path / f"benchmarks/{platform}_{dataset}"
            folder.mkdir(parents=True, exist_ok=True)
            whole = rng.dirichlet(np.ones(10), N).astype(np.float32)
            top = np.argpartition(-whole, 5, axis=1)[:, :5]
            stem = f"{folder}/{name}_{platform}_{dataset}_top5"
            np.save(f"{stem}preds.npy", top)
            np.save(f"{stem}probs.npy", np.take_along_axis(whole, top, axis=1))
            found[dataset, model] = whole
    return tmp_path, found


def convert(root):
    return main([str(root / name) for name in ("benchmarks", "labels", "outputs")])


def test_the_two_most_probable_classes_come_in_order(published, capsys):
    root, found = published
    assert convert(root) == 0
    assert capsys.readouterr().out.count("not that of the study") == 2
    for (dataset, model), whole in found.items():
        table = pq.read_table(root / f"outputs/{dataset}_top2.parquet")
        platform, name = model.split("/")
        column = f"{name}_{platform}" if dataset == "imagenet" else name
        for place, expected in enumerate(np.argsort(-whole, axis=1)[:, :2].T, start=1):
            assert table[f"{column}.class_{place}"].to_pylist() == expected.tolist()
            p = table[f"{column}.p_{place}"].to_numpy()
            assert np.array_equal(p, whole[np.arange(N), expected])


def test_the_digest_is_of_what_the_columns_hold(published):
    root, _ = published
    convert(root)
    table = pq.read_table(root / "outputs/imagenet_top2.parquet")
    assert digest(table) == digest(table.select(table.column_names[::-1]))
    assert digest(table) != digest(table.slice(1))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.unlink(), "cannot read"),
        (lambda path: np.save(path, np.zeros((3, 5))), "does not hold the 40 images"),
    ],
)
def test_what_lacks_is_told_in_one_line(published, capsys, spoil, told):
    root, _ = published
    spoil(root / "benchmarks/pytorch_cifar10/googlenet_pytorch_cifar10_top5probs.npy")
    assert convert(root) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert told in line
