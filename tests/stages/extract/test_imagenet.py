"""ImageNet's models through `extract`, beside each other, against torchvision alone."""

from __future__ import annotations

import io
import shutil
from collections import Counter, OrderedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import SHARED, cascade, logits_of

from stages.models import get

torch = pytest.importorskip("torch")
zoo = pytest.importorskip("torchvision").models

from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from tools.seed_weights import write  # noqa: E402

PICTURES = SHARED / "imagenet-sample" / "val.parquet"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PICTURES.is_file(), reason=f"no images in {PICTURES.parent}"),
    pytest.mark.usefixtures("one_thread"),
]
# Of each family the smallest, and another where that one is small too.
MODELS = (
    *("convnext_tiny", "densenet121", "densenet169", "googlenet", "inception_v3"),
    *("mnasnet0_5", "mnasnet0_75", "mobilenet_v3_small", "mobilenet_v3_large"),
    *("regnet_x_400mf", "regnet_x_800mf", "regnet_y_400mf", "regnet_y_800mf", "resnext50_32x4d"),
    *("resnet18", "resnet34", "shufflenet_v2_x0_5", "shufflenet_v2_x1_5"),
    *("squeezenet1_0", "squeezenet1_1", "swin_t", "swin_v2_t"),
)
ROWS = [3, 77, 150, 241]


@pytest.fixture(scope="module")
def table():
    return pq.read_table(PICTURES).take(pa.array(ROWS))


@pytest.fixture(scope="module")
def made(tmp_path_factory, table):
    """A folder with seeded weights and the cache that one run over all models left there."""
    folder = tmp_path_factory.mktemp("imagenet")
    for name in ("images", "weights"):
        (folder / name).mkdir()
    pq.write_table(table, folder / "images" / "val.parquet")
    for name in MODELS:
        write(get(name, "imagenet"), folder / "weights")
    given = ("-f", folder / "images", "--weights", folder / "weights", "--cache", folder / "cache")
    with pytest.MonkeyPatch.context() as patch:
        decoded = counting(patch)
        rows = cascade("extract", "-d", "imagenet", "--models", ",".join(MODELS), *given, "--json")
    yield folder, rows.json["models"], decoded
    shutil.rmtree(folder)  # a gigabyte


def counting(patch):
    """Counts what is decoded, by the number of its sample."""
    from stages.datasets import decode as pictures

    decode, counts = pictures.decode, Counter()

    def counted(encoded, where, decoder):
        counts[where.rpartition("sample ")[2]] += 1
        return decode(encoded, where, decoder)

    patch.setattr(pictures, "decode", counted)
    return counts


AUXILIARY = {"aux_logits": False, "transform_input": True, "init_weights": False}


def theirs(name, path):
    options = AUXILIARY if name in ("googlenet", "inception_v3") else {}
    model = zoo.get_model(name, weights=None, **options).eval()
    state = OrderedDict(load_file(path))
    state._metadata = model.state_dict()._metadata  # mnasnet asks for its version
    model.load_state_dict(state)
    return model


def test_one_pass_decodes_each_image_once(made):
    _, rows, decoded = made
    assert [(row["model"], row["rows"]) for row in rows] == [(name, len(ROWS)) for name in MODELS]
    assert decoded == {f"{i})": 1 for i in range(len(ROWS))}


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_torchvision_behind_its_transforms(name, made, table):
    folder, _, _ = made
    transform = zoo.get_model_weights(name)["IMAGENET1K_V1"].transforms()
    images = [
        Image.open(io.BytesIO(row["bytes"])).convert("RGB") for row in table["img"].to_pylist()
    ]
    with torch.inference_mode():
        model = theirs(name, folder / "weights" / f"{name}.safetensors")
        expected = model(torch.stack([transform(image) for image in images])).numpy()
    _, found = logits_of(folder / "cache", "val", name, dataset="imagenet")
    assert expected.std(axis=0).max() > 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
