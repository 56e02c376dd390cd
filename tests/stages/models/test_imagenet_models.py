"""ImageNet's models against torchvision: its enums, its transforms on real images, its logits."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cache import InputError
from stages.models import Published, build, choose, dataset_of, find, get, load, specs
from stages.models.reference import NAMES, OTHERS

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from PIL import Image  # noqa: E402
from torchvision import models as zoo  # noqa: E402
from torchvision.transforms import functional  # noqa: E402

from stages.models.counting import count_macs  # noqa: E402
from stages.models.torchvision_imagenet import preprocessing  # noqa: E402
from stages.runtimes import Runner  # noqa: E402

PICTURES = Path(__file__).parents[3] / ".." / "shared" / "data" / "imagenet-sample" / "val.parquet"
shared = pytest.mark.skipif(not PICTURES.is_file(), reason=f"no shared file {PICTURES}")
pytestmark = pytest.mark.usefixtures("one_thread")
SPECS = {spec.name: spec for spec in specs("imagenet")}
AUXILIARY = {"inception_v3": 3_326_696}  # parameters of the head that only training uses
SEEDS = (
    *("convnext tiny small", "densenet 121 161 169 201", "googlenet", "inception_v3"),
    *("mnasnet 0_5 0_75 1_0 1_3", "mobilenet_v3_ small large"),
    *("regnet_x_ 400mf 800mf 1_6gf 3_2gf 8gf 16gf", "regnet_y_ 400mf 800mf 1_6gf 3_2gf 8gf"),
    *("resnext50_32x4d", "resnet 18 34 50 101", "shufflenet_v2_ x0_5 x1_0 x1_5 x2_0"),
    *("squeezenet 1_0 1_1", "swin_ t s", "swin_v2_ t s"),
)
# One of each family, the smallest.
SMALL = (
    *("convnext_tiny", "densenet121", "googlenet", "inception_v3", "mnasnet0_5"),
    *("mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnext50_32x4d", "resnet18"),
    *("shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t"),
)


def enum(name):
    return zoo.get_model_weights(name)["IMAGENET1K_V1"]


def theirs(name, **options):
    """torchvision's model as its builder gives it with weights, but with random ones."""
    special = {"googlenet": {"aux_logits": True, "transform_input": True, "init_weights": False}}
    special["inception_v3"] = special["googlenet"]
    return zoo.get_model(name, weights=None, **special.get(name, {}), **options).eval()


def randomise(model, seed=0):
    """Weights and batch statistics under which all channels live."""
    rng = torch.Generator().manual_seed(seed)
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith(("running_mean", ".bias")):
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=rng))
        elif name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=rng))
    return model


# the table


def test_the_table_holds_the_seed_list():
    listed = []
    for line in SEEDS:
        stem, *sizes = line.split()
        joined = "_" if stem == "convnext" else ""
        listed += [stem + joined + size for size in sizes] or [stem]
    assert len(listed) == 40
    assert sorted(SPECS) == sorted(listed)


def test_the_names_are_torchvisions():
    assert set(zoo.list_models(module=zoo)) == set(NAMES)
    assert not set(OTHERS) & set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_rows_are_torchvisions_own(name):
    spec, weights = SPECS[name], enum(name)
    assert spec.published.url == weights.url
    assert weights.url.endswith(f"-{spec.published.sha256_prefix}.pth")
    assert torch.hub.HASH_REGEX.search(spec.published.file_name)[1] == spec.published.sha256_prefix
    assert spec.top1 == pytest.approx(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100)
    assert spec.classes == len(weights.meta["categories"])
    assert spec.parameters == weights.meta["num_params"] - AUXILIARY.get(name, 0)
    assert spec.published.macs == round(weights.meta["_ops"] * 1e9)
    # theirs is printed in 10⁹ with three decimals
    assert abs(spec.macs - spec.published.macs) <= 600_000
    assert spec.preprocessing == preprocessing(weights)
    assert (spec.dataset, spec.trained_on) == ("imagenet", ("train",))


def test_eight_groups_of_preprocessing():
    assert len({spec.preprocessing for spec in SPECS.values()}) == 8


@pytest.mark.parametrize("name", SPECS)
def test_models_build_as_counted(name):
    spec = SPECS[name]
    with torch.device("meta"):
        model, other = build(name), build(name, dataset="imagenet", classes=7)
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) == spec.parameters
    assert count_macs(model, (3, *spec.preprocessing.crop)) == spec.macs
    assert model.state_dict()[spec.head].shape[0] == 1000
    assert other.state_dict()[spec.head].shape[0] == 7


# preprocessing


def pictures(count=None):
    import pyarrow.parquet as pq

    table = pq.read_table(PICTURES)
    column = table.column(next(n for n in table.column_names if n in ("image", "img")))
    for row in column.slice(0, count or len(column)).to_pylist():
        yield Image.open(io.BytesIO(row["bytes"]))


def same_input(spec, weights, picture):
    """Whether pixels and input are torchvision's for a PIL image in RGB."""
    preset, ours = weights.transforms(), spec.preprocessing
    resized = functional.resize(picture, preset.resize_size, interpolation=preset.interpolation)
    expected = np.asarray(functional.center_crop(resized, preset.crop_size)).transpose(2, 0, 1)
    pixels = ours.pixels(np.asarray(picture))
    np.testing.assert_array_equal(pixels, expected)
    image = ours.normalise(torch.from_numpy(pixels)[None])[0]
    torch.testing.assert_close(image, preset(picture), rtol=0, atol=5e-7)


DISTINCT = {spec.preprocessing: spec for spec in SPECS.values()}.values()


@shared
@pytest.mark.parametrize("spec", DISTINCT, ids=lambda spec: spec.name)
def test_pixels_are_torchvisions_on_real_images(spec):
    step = 1 if spec.name == "squeezenet1_1" else 5
    found = 0
    for index, picture in enumerate(pictures()):
        if index % step == 0:
            same_input(spec, enum(spec.name), picture.convert("RGB"))
            found += 1
    assert found == 250 // step


SIZES = [(224, 224), (256, 256), (31, 500), (500, 31), (100, 90), (3, 3), (257, 300), (640, 427)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("spec", DISTINCT, ids=lambda spec: spec.name)
def test_pixels_are_torchvisions_for_any_size(spec, size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    same_input(spec, enum(spec.name), Image.fromarray(noise))


def test_images_smaller_than_the_crop_are_padded_as_torchvision_does():
    noise = np.random.default_rng(0).integers(0, 256, (37, 52, 3), np.uint8)
    ours = replace(SPECS["resnet18"].preprocessing, resize=None)
    expected = functional.center_crop(Image.fromarray(noise), [224, 224])
    np.testing.assert_array_equal(ours.pixels(noise), np.asarray(expected).transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P"])
def test_other_kinds_of_pictures_are_read_as_pil_converts_them(mode, tmp_path):
    from stages.datasets import open_split

    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    picture = Image.fromarray(noise).convert(mode)
    folder = tmp_path / "test" / "a"
    folder.mkdir(parents=True)
    file = folder / ("x.jpg" if mode in ("L", "CMYK") else "x.png")
    picture.save(file)
    read = open_split("mine", "test", tmp_path).read(0)
    expected = enum("resnet18").transforms()(Image.open(file).convert("RGB"))
    ours = SPECS["resnet18"].preprocessing
    found = ours.normalise(torch.from_numpy(ours.pixels(read))[None])[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-7)


# weights and logits


@pytest.fixture(autouse=True)
def empty_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))


@shared
@pytest.mark.parametrize("name", SMALL)
def test_logits_are_those_of_torchvision(name, tmp_path):
    """The same weights in torchvision's model behind its transforms, and in ours."""
    torch.manual_seed(0)
    model, transform = randomise(theirs(name)), enum(name).transforms()
    torch.save(model.state_dict(), tmp_path / f"{name}.pth")
    [one] = choose("imagenet", [name], directory=tmp_path)
    runner = Runner.of(load(one.spec, one.weights), one.spec.preprocessing, torch.device("cpu"))
    images = [picture.convert("RGB") for picture in pictures(2)]
    with torch.inference_mode():
        expected = model(torch.stack([transform(image) for image in images]))
    pixels = np.stack([one.spec.preprocessing.pixels(np.asarray(image)) for image in images])
    found = runner.logits(runner.upload(pixels))
    assert expected.std() > 0
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("auxiliary", [True, False])
def test_auxiliary_heads_are_left_out(name, auxiliary, tmp_path):
    options = {"aux_logits": auxiliary, "transform_input": True, "init_weights": False}
    model = zoo.get_model(name, weights=None, num_classes=6, **options).eval()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    ours = load(get(name), find(get(name), file=tmp_path / "w.pth"))
    image = torch.randn(1, 3, 299, 299, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), model(image), rtol=1e-5, atol=1e-6)
    assert ours(image).shape == (1, 6)


def old_name(key):
    """The name under which the published file holds a tensor."""
    key = re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key)
    return key.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2.")


@pytest.mark.parametrize("name", ["densenet121", "vit_b_32"])
def test_tensors_under_their_old_names_load(name, tmp_path):
    from stages.models.factory import adapt

    with torch.device("meta"):
        model = build(name, dataset="imagenet")
    state = model.state_dict()
    old = {old_name(key): tensor for key, tensor in state.items()}
    assert set(old) != set(state)
    assert set(adapt(get(name, "imagenet"), old)) == set(state)


def test_published_weights_are_fetched_checked_and_kept(tmp_path):
    torch.manual_seed(0)
    model = theirs("squeezenet1_1")
    torch.save(model.state_dict(), tmp_path / "squeezenet1_1-stand_in.pth")
    path = tmp_path / "squeezenet1_1-stand_in.pth"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    spec = replace(
        SPECS["squeezenet1_1"], published=Published(0.5, path.as_uri(), digest[:8], None, "test")
    )
    found = find(spec)
    assert (found.origin, found.trained_on, found.sha256) == ("published", ("train",), digest)
    assert find(spec, download=False).origin == "store"
    assert torch.equal(load(spec, found).classifier[1].weight, model.classifier[1].weight)


def test_no_network_is_one_line(monkeypatch):
    def refused(*args, **how):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("torch.hub.download_url_to_file", refused)
    with pytest.raises(
        InputError, match="cannot fetch the weights of resnet50@IMAGENET1K_V2 from https"
    ) as error:
        find(get("resnet50@IMAGENET1K_V2"))
    assert "\n" not in str(error.value)
    assert zoo.ResNet50_Weights.IMAGENET1K_V2.url in str(error.value)


# names


def test_the_dataset_follows_from_the_name():
    names = ["resnet18", "resnet20", "vgg11_bn", "vgg11", "resnet50@IMAGENET1K_V2", "timm/x"]
    datasets = ["imagenet", "cifar10", "cifar10", "imagenet", "imagenet", "imagenet"]
    assert [dataset_of(name) for name in names] == datasets


def test_references_are_names_in_the_cache():
    from cache import Partition

    keys = {"split": "val", "variant": "identity", "runtime": "torch-fp32-cpu"}
    for name in ("resnet50@IMAGENET1K_V2", "timm/resnet18.a1_in1k"):
        partition = Partition.of("logits", dataset="imagenet", model=name, **keys)
        assert Partition.parse(partition.path).keys["model"] == name
        assert partition.path.count("/") == 5


@pytest.mark.parametrize("name", ["../x", "resnet50@../x", "timm/../x", "/x", "file:a/..pt2"])
def test_names_that_climb_are_refused(name, tmp_path):
    with pytest.raises(InputError) as caught:
        choose("imagenet", [name], directory=tmp_path, download=False)
    assert "\n" not in str(caught.value)


def test_the_dataset_decides_between_namesakes():
    assert get("vgg11_bn").family == get("vgg11_bn", "intel").family == "cifar_vgg"
    spec = get("vgg11_bn", "imagenet")
    assert (spec.family, spec.published.url) == ("torchvision_imagenet", enum("vgg11_bn").url)
    assert get("resnet20", "imagenet").preprocessing.resize == (32, 32)


@pytest.mark.parametrize(
    "name",
    ["resnet50@IMAGENET1K_V2", "efficientnet_b0", "vit_b_16", "vit_b_16@IMAGENET1K_SWAG_E2E_V1"],
)
def test_references_are_what_the_enum_says(name):
    spec = get(name)
    architecture, _, member = name.partition("@")
    weights = zoo.get_model_weights(architecture)[member or "IMAGENET1K_V1"]
    assert (spec.name, spec.published.url) == (name, weights.url)
    assert spec.parameters == weights.meta["num_params"]
    assert spec.preprocessing == preprocessing(weights)
    assert spec.preprocessing.crop == (weights.transforms().crop_size[0],) * 2
    assert abs(spec.macs / 1e9 - weights.meta["_ops"]) <= 0.06 * weights.meta["_ops"]
    assert spec.head in {"fc.weight", "classifier.1.weight", "heads.head.weight"}


def test_references_to_nothing_are_refused_with_what_there_is():
    with pytest.raises(InputError, match="unknown weights of regnet_y_128gf 'IMAGENET1K_V1'"):
        get("regnet_y_128gf")
    with pytest.raises(InputError, match=r"did you mean 'IMAGENET1K_V[12]'"):
        get("resnet50@IMAGENET1K_V3")
    with pytest.raises(InputError, match="unknown weights of resnet50 'DEFAULT'"):
        get("resnet50@DEFAULT")
    with pytest.raises(InputError, match="vgg16@IMAGENET1K_FEATURES gives features"):
        get("vgg16@IMAGENET1K_FEATURES")
    with pytest.raises(InputError, match="unknown model 'resnet51@V1'"):
        get("resnet51@V1")


def test_another_dataset_takes_the_users_weights(tmp_path):
    """An ImageNet architecture on other images: their class count, its own preprocessing."""
    torch.save(theirs("mobilenet_v3_small", num_classes=6).state_dict(), tmp_path / "w.pt")
    alias = f"mine=mobilenet_v3_small:{tmp_path / 'w.pt'}"
    [one] = choose("intel", ["mine"], [alias])
    assert one.spec.preprocessing == SPECS["mobilenet_v3_small"].preprocessing
    assert (one.spec.published, one.weights.trained_on_source) == (None, "assumed")
    assert load(one.spec, one.weights).classifier[3].out_features == 6
    file = tmp_path / "resnet50%40IMAGENET1K_V2.pt"
    torch.save(theirs("resnet50", num_classes=6).state_dict(), file)
    [one] = choose("intel", ["resnet50@IMAGENET1K_V2"], directory=tmp_path)
    assert (one.weights.path, one.spec.preprocessing.resize) == (file, 232)


@pytest.mark.parametrize(
    ("dataset", "mean", "std"),
    [
        ("intel", (0.4302, 0.4575, 0.4539), (0.2386, 0.2377, 0.2733)),
        ("fashionmnist", (0.2856,) * 3, (0.3385,) * 3),
        ("mine", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("digits", (0.3062,) * 3, (0.3765,) * 3),
    ],
)
def test_a_cifar_architecture_takes_the_datasets_normalisation(dataset, mean, std):
    found = get("resnet20", dataset).preprocessing
    assert (found.resize, found.mean, found.std) == ((32, 32), mean, std)
    assert found.pixels(np.zeros((28, 28), np.uint8)).shape == (3, 32, 32)


def test_building_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("googlenet", "inception_v3"):
            with torch.device("meta"):
                build(name, dataset="imagenet")
