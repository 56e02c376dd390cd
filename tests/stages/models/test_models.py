"""Registry and architectures, against the published names, shapes, logits and figures."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from importlib import import_module
from math import prod, sqrt
from pathlib import Path

import numpy as np
import pytest

from cache import InputError
from stages.models import build, dataset_of, fuse, get, listing, specs
from stages.models.tables import DIGITS

torch = pytest.importorskip("torch")

FACTS = Path(__file__).parents[3] / ".." / "shared" / "facts"
shared = pytest.mark.skipif(not FACTS.is_dir(), reason=f"no shared folder at {FACTS}")
CIFAR = [spec.name for spec in specs("cifar10")]
IMAGE = {"cifar10": (3, 32, 32), "digits": (1, 8, 8)}
SMALL = [*specs("cifar10"), *specs("digits")]
IMAGENET = [spec.name for spec in specs("imagenet")]


def facts(name):
    return json.loads((FACTS / "cifar_zoo.json").read_text())[name]


def fill(model):
    """The golden files' recipe: every tensor from one generator, in the state dict's order."""
    rng = np.random.default_rng(0)
    filled = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            values = np.zeros(shape)
        elif name.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif name.endswith("running_mean"):
            values = 0.1 * rng.standard_normal(shape)
        elif len(shape) >= 2:
            values = rng.standard_normal(shape) * sqrt(2 / prod(shape[1:]))
        elif name.endswith("weight"):
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = 0.1 * rng.standard_normal(shape)
        filled[name] = torch.from_numpy(np.asarray(values))
    model.load_state_dict(filled)
    return model


def golden_input():
    return torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, 32, 32)))


@shared
@pytest.mark.parametrize("name", CIFAR)
def test_tensors_have_the_published_names_shapes_and_order(name):
    tensors = [[key, list(t.shape)] for key, t in build(name).state_dict().items()]
    assert tensors == facts(name)["state_dict"]


@shared
@pytest.mark.parametrize("name", CIFAR)
def test_logits_equal_the_golden_ones(name):
    model = fill(build(name, dataset="cifar10").double())
    with torch.inference_mode():
        logits = model(golden_input()).numpy()
    golden = np.load(FACTS / "cifar_zoo_golden.npz")[name]
    np.testing.assert_allclose(logits, golden, rtol=1e-9, atol=0)


@shared
def test_registry_holds_the_published_facts():
    zoo = json.loads((FACTS / "cifar_zoo.json").read_text())
    assert sorted(zoo) == sorted(CIFAR)
    for name, fact in zoo.items():
        spec, stated = get(name), fact["published"]
        assert spec.published.top1 == pytest.approx(stated["top1"] / 100, abs=1e-9)
        assert spec.published.macs == pytest.approx(stated["madds_m"] * 1e6, abs=1)
        assert spec.published.url == stated["url"]
        assert spec.published.sha256_prefix == stated["sha256_prefix"]
        assert spec.parameters == fact["parameters"]
        assert spec.published.file_name == stated["url"].split("/")[-1]


@pytest.mark.parametrize("spec", SMALL, ids=lambda spec: spec.name)
def test_spec_matches_the_model(spec):
    from stages.models.counting import count_macs

    model = build(spec.name)
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) == spec.parameters
    assert count_macs(model, IMAGE[spec.dataset]) == spec.macs
    assert model.state_dict()[spec.head].shape[0] == spec.classes
    assert build(spec.name, classes=7).state_dict()[spec.head].shape[0] == 7


@pytest.mark.parametrize("name", CIFAR)
def test_counted_macs_agree_with_the_published_ones(name):
    # The authors count the same operations (convolutions and matrix products, no batch norm, no
    # bias, RepVGG unfused) and print 10⁶ with two decimals: what differs is that rounding.
    spec = get(name)
    assert abs(spec.macs - spec.published.macs) <= 5_000


def test_macs_by_hand():
    from stages.models.counting import count_macs

    model = torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2),
        torch.nn.BatchNorm2d(8),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 5 * 4, 3),
    )
    assert count_macs(model.eval(), (4, 10, 8)) == (5 * 4) * 8 * (4 // 2 * 9) + 8 * 5 * 4 * 3
    assert all(p.device.type == "cpu" for p in model.parameters())


@pytest.mark.parametrize("name", [name for name in CIFAR if get(name).fusible])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-11)])
def test_fused_form_gives_the_same_logits(name, dtype, tolerance):
    model = fill(build(name)).to(getattr(torch, dtype))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    fused = fuse(get(name), model)
    images = golden_input().to(getattr(torch, dtype))
    with torch.inference_mode():
        plain, deployed = model(images), fused(images)
    scale = plain.abs().max()
    assert (plain - deployed).abs().max() <= tolerance * scale
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fused.modules())
    assert sum(isinstance(part, torch.nn.Conv2d) for part in fused.modules()) == 1 + 2 + 4 + 14 + 1
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_only_fusible_models_fuse():
    with pytest.raises(InputError, match="resnet20 has no deploy form"):
        fuse(get("resnet20"), build("resnet20"))


@pytest.mark.parametrize("name", ["mobilenetv2_x0_5", "resnet20", "shufflenetv2_x0_5", "vgg11_bn"])
def test_other_picture_sizes_run(name):
    with torch.inference_mode():
        assert build(name)(torch.zeros(2, 3, 64, 48)).shape == (2, 10)


def test_unknown_names_are_refused_with_a_hint():
    with pytest.raises(InputError, match="unknown model 'resnet21': did you mean 'resnet20'"):
        get("resnet21")
    with pytest.raises(InputError, match="unknown cifar10 model 'digits_plane'"):
        get("digits_plane", dataset="cifar10")
    with pytest.raises(InputError, match="cannot have 0 classes"):
        build("resnet20", classes=0)


def test_cifar_architectures_move_to_other_datasets():
    spec = get("resnet20", dataset="intel")
    assert (spec.dataset, spec.published, spec.shipped) == ("intel", None, None)
    assert (spec.parameters, spec.macs, spec.trained_on) == (None, None, ("train",))
    assert spec.preprocessing.pixels(np.zeros((150, 120, 3), np.uint8)).shape == (3, 32, 32)
    own = [s.name for s in DIGITS]
    assert [s.name for s in specs("intel")] == [*CIFAR, *own, *IMAGENET]
    assert build("resnet20", dataset="intel", classes=6).fc.out_features == 6


def test_names_are_unique_and_ordered():
    names = [spec.name for spec in specs()]
    assert len(set(names)) == len(names) == 19 + 4 + 40
    expected = ["cifar10"] * 19 + ["digits"] * 4 + ["imagenet"] * 40
    assert [dataset_of(name) for name in names] == expected
    assert len({hash(spec) for spec in specs()}) == len(names)


def test_listing_has_a_row_per_model(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    rows = {row.name: row for row in listing()}
    assert list(rows) == [spec.name for spec in specs()]
    assert rows["resnet20"].top1 == 0.926
    assert (rows["resnet20"].weights, rows["digits_plain"].weights) == ("download", "shipped")
    assert rows["repvgg_a0"].fusible is True
    json.dumps([vars(row) for row in listing()])
    (tmp_path / "resnet32.pth").touch()
    (tmp_path / "resnet32.json").write_text('{"trained_on": ["train", "val"]}')
    (row,) = (row for row in listing("intel", tmp_path) if row.name == "resnet32")
    assert row.weights == str(tmp_path / "resnet32.pth")
    assert row.trained_on == ["train", "val"]
    assert {row.weights for row in listing("intel")} == {None}


def test_no_torch_is_needed_to_list():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'torchvision', 'PIL']))\n"
        "import stages.models as models; print(len(models.listing()))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("63\n", "")


def test_without_torch_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("stages.models.factory.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'cascade-cli\[extract\]', or in a clone"):
        build("resnet20")


@pytest.mark.parametrize("module", ["stages.models.registry", "stages.models.cifar_mobilenetv2"])
def test_examples_in_docstrings(module):
    result = doctest.testmod(import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
