"""Models that an installed package adds; the package is the documentation's own example."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plugged import installed
from running import cascade, logits_of, noise_images, write_folders

from cache import InputError
from stages import plugins
from stages.models import build, choose, dataset_of, get, listing, load, specs
from stages.models.registry import SPECS
from stages.notices import tell_once

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[3]


def documented(language, marker):
    """The block of the documentation that holds `marker`."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return next(block for block in blocks if marker in block)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """install(code, entry) puts an installed package `tiny-models` on the path."""
    plugins.loaded.cache_clear()
    monkeypatch.syspath_prepend(tmp_path)

    def install(code, entry="tiny = tiny_models:SPECS"):
        (tmp_path / "tiny_models.py").write_text(code)
        about = tmp_path / "tiny_models-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-models\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[cascade.models]\n{entry}\n")
        return tmp_path

    yield install
    plugins.loaded.cache_clear()
    sys.modules.pop("tiny_models", None)


def entry_of(toml):
    name, value = re.search(r'cascade\.models"\]\n(\w+) = "(.+)"$', toml, re.MULTILINE).groups()
    return f"{name} = {value}"


@pytest.fixture
def tiny(install):
    toml = documented("toml", "cascade.models")
    return install(documented("python", "def build"), entry_of(toml))


def test_the_documented_package_adds_models(tiny, tmp_path):
    assert [spec.name for spec in specs()][-2:] == ["tiny_2", "tiny_4"]
    assert [spec.name for spec in specs("leaves")][-2:] == ["tiny_2", "tiny_4"]
    assert (dataset_of("tiny_2"), get("tiny_4", "leaves").options) == ("leaves", {"width": 4})
    assert [row.name for row in listing("leaves")][-1] == "tiny_4"
    model = build("tiny_2", classes=9)
    torch.save(model.state_dict(), tmp_path / "tiny_2.pt")
    [one] = choose("leaves", ["tiny_2"], directory=tmp_path)
    loaded = load(one.spec, one.weights)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(loaded(images), model(images))
    assert loaded(images).shape == (2, 9)


def test_the_command_lists_them_without_torch(tiny):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'torchvision', 'PIL']))\n"
        "sys.argv[1:] = ['models', '-d', 'leaves', '--json']\n"
        "from cascade_cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tiny,
        env={"PYTHONPATH": f"{ROOT}:{tiny}", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert '"tiny_2"' in done.stdout, done.stderr


def test_a_function_may_give_them(install):
    install(
        documented("python", "def build") + "\ndef all():\n    return SPECS\n",
        "t = tiny_models:all",
    )
    assert get("tiny_2").dataset == "leaves"


HEAD = """
from dataclasses import replace
from stages.models import get
ONE = replace(get('resnet20'), name='one', family='tiny_models', published=None)
"""
BROKEN = {
    "raise RuntimeError('no\\nluck')": "tiny_models:SPECS: RuntimeError: no luck)",
    "raise SystemExit(2)": "SystemExit: 2",
    "import absent_library": "No module named 'absent_library'",
    "SPECS = 3": "'int' object is not iterable",
    "SPECS = [3]": "it gives a int, not a ModelSpec",
    "": "has no attribute 'SPECS'",
    "SPECS = [get('resnet20')]": "it adds the model resnet20, which is taken",
    "SPECS = [replace(ONE, classes='ten')]": "its ModelSpec 'one' has classes 'ten', not int",
    "SPECS = [replace(ONE, name=3)]": "its ModelSpec 3 has name 3, not str",
    "SPECS = [replace(ONE, preprocessing=None)]": "has preprocessing None, not Preprocessing",
    "SPECS = [replace(ONE, trained_on='train')]": "has trained_on 'train', not tuple[str, ...]",
    "SPECS = [replace(ONE, classes=0)]": "its model one has 0 classes",
    "SPECS = [replace(ONE, preprocessing=replace(ONE.preprocessing, std=(1.0, 1.0, 0.0)))]": (
        "the preprocessing in its model one should be 1 or 3 means and as many positive std"
    ),
}


@pytest.mark.parametrize("code", BROKEN)
def test_the_others_are_listed_beside_a_broken_package(code, install, capsys):
    install(HEAD + code)
    tell_once.cache_clear()
    assert [spec.name for spec in specs()] == [spec.name for spec in SPECS]
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("package tiny-models")
    assert line.endswith(": update or uninstall it")
    assert BROKEN[code] in line
    assert get("resnet20").dataset == "cifar10"  # the tables' own need no package
    with pytest.raises(InputError, match="package tiny-models"):
        get("tiny_2")  # may be the broken package's
    assert capsys.readouterr().err == ""


def test_one_broken_package_hides_no_other(tmp_path):
    """As the command lists them: the sound package beside it, and one line on stderr."""
    sound, broken = documented("python", "def build"), "1 / 0"
    entry = {"cascade.models": {"t": "tiny_models:SPECS"}}
    with (
        installed(tmp_path, {"tiny_models": sound}, entry),
        installed(tmp_path, {"rotten": broken}, {"cascade.models": {"r": "rotten:X"}}, "rotten"),
    ):
        tell_once.cache_clear()
        shown = cascade("models", "-d", "leaves", "--cache", tmp_path / "c", "--json")
    assert {"tiny_2", "tiny_4"} < {row["name"] for row in shown.json["models"]}
    assert shown.err == (
        "package rotten cannot add its cascade.models (rotten:X: ZeroDivisionError: division by "
        "zero): update or uninstall it\n"
    )


def test_a_missing_module_is_named(install):
    install(documented("python", "def build").replace('"tiny_models",', '"absent.module",'))
    with pytest.raises(InputError, match=r"tiny_2 needs the module absent\.module, which fails"):
        build("tiny_2")


# --- what its functions do -----------------------------------------------------------------------

OF_TINY = "package tiny-models: model tiny_2: "
NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)
    def forward(self, x):
        {forward}
def build(classes, width):
    return Net()
"""
FAILING = {
    "build": ("def build(classes, width):\n    raise KeyError('x')", "its build() fails, KeyError"),
    "exit": ("def build(classes, width):\n    raise SystemExit", "its build() fails, SystemExit"),
    "no module": (
        "def build(classes, width):\n    return 3",
        "its build() gives a int, not a torch",
    ),
    "adapt": (
        "def adapt(state, width):\n    return state['y']",
        "its adapt() fails, KeyError: 'y'",
    ),
    "no dict": (
        "def adapt(state, width):\n    return [1]",
        "its adapt() gives a list, not a dict of",
    ),
    "load": ("def load(spec, path):\n    1 / 0", "its load() fails, ZeroDivisionError: division"),
    "nothing": (
        "def load(spec, path):\n    pass",
        "its load() gives a NoneType, not a torch module",
    ),
    "forward": (
        NET.format(forward="raise ValueError('a\\nb')"),
        "on pictures of 1×3×16×16 it fails, ValueError: a b",
    ),
    "shapes": (
        NET.format(forward="return self.head(x.mean((2, 3)))"),
        "on pictures of 1×3×16×16 it fails, RuntimeError: mat1 and mat2 shapes cannot be",
    ),
    "tuple": (
        NET.format(forward="return (x,)"),
        "on pictures of 1×3×16×16 it gives a tuple, not their logits",
    ),
    "maps": (
        NET.format(forward="return x"),
        "on pictures of 1×3×16×16 it gives a Tensor [1, 3, 16, 16], not [B, classes]",
    ),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_function_that_fails_is_one_line_that_names_its_package(case, install, tmp_path):
    body, told = FAILING[case]
    code = documented("python", "def build")
    install(code + "\n" + body)
    state = {"2.weight": torch.zeros(2, 2), "head.weight": torch.zeros(2, 4)}
    if case in ("forward", "shapes", "tuple", "maps"):
        (tmp_path / "tiny_models.py").write_text(
            code.replace('head="2.weight"', 'head="head.weight"') + body
        )
        state = {"head.weight": torch.zeros(2, 4), "head.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "tiny_2.pt")
    write_folders(tmp_path / "images", "test", *noise_images(4))
    given = ("-d", "leaves", "-f", tmp_path / "images", "--models", "tiny_2")
    refused = cascade("extract", *given, "--weights", tmp_path, "--cache", tmp_path / "c")
    assert OF_TINY in refused.refusal
    assert told in refused.refusal
    assert refused.refusal.endswith(": correct, update or uninstall it")
    assert not list((tmp_path / "c").glob("logits/**/*.parquet"))


def test_a_lack_of_memory_is_not_the_packages_fault(install, tmp_path):
    code = documented("python", "def build").replace('head="2.weight"', 'head="head.weight"')
    install(code + NET.format(forward="raise torch.OutOfMemoryError('CUDA out of memory')"))
    (tmp_path / "tiny_models.py").write_text(
        "import torch\n" + (tmp_path / "tiny_models.py").read_text()
    )
    state = {"head.weight": torch.zeros(2, 4), "head.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "tiny_2.pt")
    [one] = choose("leaves", ["tiny_2"], directory=tmp_path)
    with pytest.raises(torch.OutOfMemoryError):
        load(one.spec, one.weights)(torch.zeros(1, 3, 16, 16))


# --- on other datasets ---------------------------------------------------------------------------


def test_a_packages_model_runs_on_another_dataset_with_its_own_weights(tiny, tmp_path):
    """Its rows are those of a plain loop, of ten classes instead of its two."""
    from torchvision import transforms

    pictures, labels = noise_images(20, size=24)
    write_folders(tmp_path / "images", "test", pictures, labels)
    torch.manual_seed(3)
    module = build("tiny_4", classes=10)
    torch.save(module.state_dict(), tmp_path / "w.pt")
    alias = f"mine=tiny_4:{tmp_path / 'w.pt'}"
    given = ("-d", "cifar10", "-f", tmp_path / "images", "--cache", tmp_path / "c")
    assert cascade("extract", *given, "--model", alias).status == 0
    steps = [
        transforms.Resize(16),
        transforms.CenterCrop(16),
        transforms.ToTensor(),
        transforms.Normalize((0.5,) * 3, (0.5,) * 3),
    ]
    inputs = [transforms.Compose(steps)(Image.fromarray(each)) for each in pictures]
    with torch.no_grad():
        expected = module(torch.stack(inputs)).numpy()
    rows = logits_of(tmp_path / "c", "test", "mine", "cifar10")[1]
    np.testing.assert_allclose(rows, expected, atol=2e-5)
