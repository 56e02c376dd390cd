"""timm's models by reference, against timm's own transforms and loaders; no network."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from cache import InputError
from stages.models import build, choose, dataset_of, find, get, load

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm", reason="the extra [timm] is not installed")

from PIL import Image  # noqa: E402
from timm.data import create_transform, resolve_model_data_config  # noqa: E402

from stages.runtimes import Runner  # noqa: E402

PICTURES = Path(__file__).parents[3] / ".." / "shared" / "data" / "imagenet-sample" / "val.parquet"
pytestmark = pytest.mark.usefixtures("one_thread")
# Bicubic at 0.95, bilinear at 0.875, other means, whole pictures squashed to squares.
NAMES = ("resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224", "convnext_atto", "levit_128s")


@pytest.fixture(autouse=True)
def empty_stores(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))


def pictures():
    if PICTURES.is_file():
        import pyarrow.parquet as pq

        table = pq.read_table(PICTURES)
        column = table.column(next(n for n in table.column_names if n in ("image", "img")))
        for row in column.slice(0, 8).to_pylist():
            yield Image.open(io.BytesIO(row["bytes"])).convert("RGB")
    for size in [(31, 500, 3), (300, 257, 3)]:
        yield Image.fromarray(np.random.default_rng(0).integers(0, 256, size, np.uint8))


@pytest.mark.parametrize(
    "name", [*NAMES, "eva02_tiny_patch14_224.mim_in22k", "vit_base_patch16_clip_224.openai_ft_in1k"]
)
def test_the_preprocessing_is_timms(name):
    if not (timm.get_pretrained_cfg(name) or timm.get_pretrained_cfg("resnet18")).num_classes:
        with pytest.raises(InputError, match="gives features, not classes"):
            get(f"timm/{name}")
        return
    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False)
    transform = create_transform(**resolve_model_data_config(model))
    ours = get(f"timm/{name}").preprocessing
    for picture in pictures():
        found = ours.normalise(torch.from_numpy(ours.pixels(np.asarray(picture)))[None])[0]
        torch.testing.assert_close(found, transform(picture), rtol=0, atol=5e-7)


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_timm(name, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=6).eval()
    torch.save(model.state_dict(), tmp_path / f"timm%2F{name}.pt")
    [one] = choose("mine", [f"timm/{name}"], directory=tmp_path)
    assert (one.name, one.weights.origin) == (f"timm/{name}", "directory")
    runner = Runner.of(load(one.spec, one.weights), one.spec.preprocessing, torch.device("cpu"))
    size = one.spec.preprocessing.size
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images)
    assert expected.std() > 0
    assert (runner.logits(images) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_what_is_counted():
    spec = get("timm/resnet18")
    assert (spec.head, spec.classes, spec.parameters) == ("fc.weight", 1000, 11_689_512)
    assert spec.macs == get("resnet18").macs
    assert dataset_of("timm/resnet18") == spec.dataset == "imagenet"
    assert build("timm/resnet18", classes=3).fc.out_features == 3
    assert get("timm/resnet18", "intel").preprocessing == spec.preprocessing


def test_names_are_of_timms_own_registry():
    for name in ("hf-hub:a/b", "hf_hub:a/b", "local-dir:/tmp/x", "../x", "a/b", "", "resnet18.a.b"):
        with pytest.raises(InputError, match="no name of timm's own registry"):
            get(f"timm/{name}")
    with pytest.raises(InputError, match="did you mean 'resnet18'"):
        get("timm/resnet18x")
    with pytest.raises(InputError, match="Invalid pretrained tag"):
        get("timm/resnet18.nonsense")
    for name in ("hf-hub:timm/resnet18", "torchhub:pytorch/vision", "local-dir:/tmp"):
        with pytest.raises(InputError, match="nothing is run from a hub") as caught:
            get(name, "imagenet")
        assert "\n" not in str(caught.value)


def test_crops_that_are_not_offered_are_refused(monkeypatch):
    from stages.models.timm_model import _preprocessing

    about = {"input_size": (3, 224, 224), "crop_mode": "border"}
    with pytest.raises(InputError, match="by 'border': not supported"):
        _preprocessing("timm/x", about)
    with pytest.raises(InputError, match="224×200 pictures"):
        _preprocessing("timm/x", {"input_size": (3, 224, 200), "crop_mode": "center"})
    with pytest.raises(InputError, match="6 channels"):
        _preprocessing("timm/x", {"input_size": (6, 224, 224)})


def test_published_weights_come_from_timms_cache(tmp_path, monkeypatch):
    library = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    model = timm.create_model("resnet18", pretrained=False)
    file = tmp_path / "model.safetensors"
    library.save_file(model.state_dict(), file)
    asked = []

    def fetched(repository, name, revision=None, local_files_only=False):
        asked.append((repository, name, local_files_only))
        return str(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetched)
    spec = get("timm/resnet18")
    found = find(spec)
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors", False)]
    assert (found.path, found.origin, found.trained_on) == (file, "published", ("train",))
    assert torch.equal(load(spec, found).fc.weight, model.fc.weight)


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch):
    def refused(*args, **how):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refused)
    with pytest.raises(
        InputError, match="cannot fetch the weights of timm/resnet18 from"
    ) as caught:
        find(get("timm/resnet18"))
    assert "\n" not in str(caught.value)


def test_without_download_nothing_is_fetched(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="cannot fetch"):
        find(get("timm/resnet18"), download=False)


def test_without_timm_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr("stages.models.reference.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'cascade-cli\[timm\]'"):
        get("timm/resnet18")
    assert dataset_of("timm/resnet18") == "imagenet"
