"""Models that an installed package adds; the package is the documentation's own example."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cache.errors import InputError
from stages import plugins
from stages.models import build, choose, dataset_of, get, listing, load, specs

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[1]


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
    assert [row["name"] for row in listing("leaves")][-1] == "tiny_4"
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


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('no\\nluck')", r"tiny_models:SPECS: RuntimeError: no\)"),
        ("import absent_library", "No module named 'absent_library'"),
        ("SPECS = 3", "'int' object is not iterable"),
        ("SPECS = [3]", "it gives a int, not a ModelSpec"),
        ("", "has no attribute 'SPECS'"),
    ],
)
def test_a_broken_package_is_named_in_one_line(code, message, install):
    install(code)
    with pytest.raises(
        InputError, match=r"package tiny-models cannot add its cascade\.models"
    ) as e:
        specs()
    assert re.search(message, str(e.value))
    assert "\n" not in str(e.value)
    assert get("resnet20").dataset == "cifar10"  # the tables' own need no package


def test_taken_names_are_refused(install):
    install("from stages.models import get\nSPECS = [get('resnet20')]")
    with pytest.raises(InputError, match="a package adds resnet20 for cifar10, which is taken"):
        specs()


def test_a_missing_module_is_named(install):
    install(documented("python", "def build").replace('"tiny_models",', '"absent.module",'))
    with pytest.raises(InputError, match=r"tiny_2 needs the module absent\.module, which fails"):
        build("tiny_2")
