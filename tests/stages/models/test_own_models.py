"""Models of one's own: an architecture of a package, weights by other names, folders of images."""

from __future__ import annotations

import re
import shlex
import shutil
import sys

import marks
import numpy as np
import pytest
from marks import CLASSES, CODE, PER_CLASS, N, alias
from running import cascade, logits_of, manifest_of

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

MACS = 6 * 6 * 6 * 3 * 9 + 6 * 3  # of mark_6: a 3 × 3 convolution on 6 × 6 places, and the head


@pytest.fixture
def code(tmp_path):
    """The file with the package's code, while it is installed."""
    with marks.package(tmp_path) as site:
        yield site / "mark_models.py"


@pytest.fixture
def desk(tmp_path, code):
    marks.write(tmp_path)
    return tmp_path


def extract(desk, *more, images="images", model="big", cache="c"):
    given = ("-d", "marks", "-f", desk / images, "--cache", desk / cache)
    given += ("--model", alias(desk, model))
    return cascade("extract", *given, *more)


def again(code, old, new):
    """Another release of the package."""
    from plugged import _forget

    code.write_text(CODE.replace(old, new))
    _forget(["mark_models"])


# --- what a package says of its model ------------------------------------------------------------


def test_changed_model_code_is_noticed(desk, code):
    assert extract(desk).status == 0
    before = logits_of(desk / "c", "test", "big", "marks")[1]
    again(code, "nn.MaxPool2d", "nn.AvgPool2d")
    assert "model_code was " in extract(desk).refusal
    [row, _] = extract(desk, "--overwrite", "--json").json["models"]
    assert row["resumed_rows"] == 0
    after = logits_of(desk / "c", "test", "big", "marks")[1]
    assert not np.allclose(before, after)
    again(code, "nn.MaxPool2d(6)", "nn.AvgPool2d(6)")
    assert extract(desk, "--json").json["models"][0]["resumed_rows"] == N


def test_ones_own_models_are_listed_first_with_what_is_known_of_them(desk):
    line = extract(desk).out.splitlines()[-1]
    assert not line.startswith("next: ")  # one model is no cascade
    given = ("-d", "marks", "-f", desk / "images", "--cache", desk / "c")
    both = ("--model", alias(desk, "small"), "--model", alias(desk, "big"))
    line = cascade("extract", *given, *both).out.splitlines()[-1]
    assert line.startswith("next: `cascade search -d marks")
    assert cascade(*shlex.split(line.split("`")[1])[1:]).status == 0
    args = ("models", "-d", "marks", "--cache", desk / "c")
    first, second, *others = cascade(*args, "--json").json["models"]
    assert {first["name"], second["name"]} == {"small", "big"}
    assert {first["macs"], second["macs"]} >= {MACS}
    assert first["trained_on"] is not None
    shown = cascade(*args).out.splitlines()
    assert [line.split()[0] for line in shown[1:3]] == [first["name"], second["name"]]
    assert shown[3:] == [f"{len(others)} more architectures take weights of your own: see --json"]


def test_splits_of_other_model_code_are_not_mixed(desk, code):
    for model in ("small", "big"):
        assert extract(desk, "--split", "val", model=model).status == 0
    known = code.read_text()
    again(code, "nn.MaxPool2d(6)", "nn.AvgPool2d(6)")
    for model in ("small", "big"):
        assert extract(desk, "--split", "test", model=model).status == 0
    pair = ("-m1", "small", "-m2", "big", "--cache", desk / "c")
    line = cascade("threshold", *pair, "--dataset", "marks").refusal
    assert re.search("small has model code [0-9a-f]{12} on test but [0-9a-f]{12} on val", line)
    given = ("--dataset", "marks", "-f", desk / "images", "--weights", desk / "w", "-t", "0.5")
    assert cascade("live", *pair, *given, "--no-alone").status == 0
    code.write_text(known)
    again(code, "", "")
    assert "small with model code " in cascade("live", *pair, *given, "--no-alone").refusal


@pytest.mark.parametrize("complete", [True, False])
def test_logits_from_before_the_code_was_recorded_are_kept(complete, desk, code, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["stages.extract.resume"], "code_of", lambda spec: None)
        shard = () if complete else ("--shard", "0/2")
        assert extract(desk, "--part-rows", PER_CLASS, *shard).status == 0
    again(code, "nn.MaxPool2d", "nn.AvgPool2d")
    [row, _] = extract(desk, "--part-rows", PER_CLASS, "--json").json["models"]
    assert (row["rows"], row["resumed_rows"]) == (N, N if complete else 2 * PER_CLASS)


def test_a_policy_names_the_architectures_that_a_new_cache_lacks(desk, code):
    for model in ("small", "big"):
        assert extract(desk, model=model).status == 0
    pair = ("-m1", "small", "-m2", "big", "-t", "0.5")
    given = ("--policy", desk / "p", "--cache", desk / "c")
    assert cascade("export", "-d", "marks", *pair, *given).status == 0
    asked = ("check", desk / "p", "--cache", desk / "new")
    line = cascade(*asked).refusal
    assert "--models small=mark_2:FILE,big=mark_6:FILE --precision" in line
    command = re.search("run `cascade (.*)`", line)[1].replace("DIR", str(desk / "images"))
    for model in ("small", "big"):
        command = command.replace("FILE", str(desk / "w" / f"{model}.pt"), 1)
    assert cascade(*shlex.split(command)).status == 0
    assert cascade(*asked).status == 0
    line = cascade(*asked[:3], desk / "empty", "-f", desk / "images").refusal
    assert line.endswith(
        "give --weights DIR with small.pt, .pth, .safetensors, .pt2 or .onnx, or "
        "extract small=ARCHITECTURE:FILE"
    )


def test_multiply_adds_are_counted_and_a_later_statement_is_taken_over(desk, code):
    assert extract(desk).status == 0
    told = manifest_of(desk / "c", "logits", "test", "big", "marks").provenance
    assert (told["macs"], told["parameters"]) == (MACS, 6 * 3 * 9 + 6 + 6 * 3 + 3)
    again(code, "macs=None", "macs=77")
    assert extract(desk, "--json").json["models"][0]["resumed_rows"] == N
    assert manifest_of(desk / "c", "logits", "test", "big", "marks").provenance["macs"] == 77


def test_other_options_are_other_code(desk, code):
    from stages.models import code_of, get

    known = code_of(get("mark_2"))
    assert code_of(get("mark_6")) != known
    again(code, "classes=3", "classes=4")
    assert code_of(get("mark_2")) == known
    again(code, "Flatten()", "Flatten( )")
    assert code_of(get("mark_2")) != known
    assert code_of(get("resnet20")) is None


# --- class folders -------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [False, True])
def test_a_missing_class_folder_is_refused_and_an_empty_one_is_not(cached, desk):
    if cached:
        assert extract(desk, "--split", "val").status == 0
    shutil.copytree(desk / "images" / "test", desk / "less" / "test")
    folder = desk / "less" / "test" / "bar"
    shutil.rmtree(folder)
    line = extract(desk, images="less").refusal
    assert ("but val in the cache has arc, bar, cross" if cached else "has 2 class folders") in line
    assert "make an empty folder for a class without images" in line
    folder.mkdir()
    whole, less = (
        extract(desk, images=name, cache=name, model="small") for name in ("images", "less")
    )
    assert (whole.status, less.status) == (0, 0)
    rows = logits_of(desk / "images", "test", "small", "marks")[1]
    kept = np.r_[0:PER_CLASS, 2 * PER_CLASS : N]
    np.testing.assert_array_equal(logits_of(desk / "less", "test", "small", "marks")[1], rows[kept])
    labels = manifest_of(desk / "less", "samples", "test", dataset="marks")
    assert labels.provenance["class_names"] == list(CLASSES)


def test_a_data_set_of_known_classes_needs_no_folder_of_each(desk, tmp_path):
    from running import noise_images, seeded_weights, write_folders

    pictures, labels = noise_images(4)  # airplane, automobile, bird, cat
    write_folders(tmp_path / "few", "test", pictures[:2], labels[:2])
    seeded_weights(tmp_path / "few_w" / "resnet20.pt")
    given = ("-d", "cifar10", "-f", tmp_path / "few", "--weights", tmp_path / "few_w")
    assert cascade("extract", *given, "--cache", tmp_path / "d").status == 0


# --- names ---------------------------------------------------------------------------------------


def test_of_many_names_a_few_are_told_and_where_the_rest_is():
    from cache import one_of

    many = [f"model_{i}" for i in range(60)]
    line = str(one_of("model", "tree", many, "cascade models"))
    few = "model_0, model_1, model_2 … (60 in all); `cascade models` lists them"
    assert line == f"unknown model 'tree': choose from {few}"
    near = str(one_of("model", "modl_59", many, "cascade models"))
    assert near == "unknown model 'modl_59': did you mean 'model_59'? `cascade models` lists them"
    assert str(one_of("model", "tree", many[:2], "x")).endswith("choose from model_0, model_1")


def test_only_what_differs_is_shown():
    from cache import differences
    from stages.runtimes import Preprocessing

    sides = [Preprocessing((0.12345678,) * 3, (0.3,) * 3, n).describe() for n in (32, 24)]
    assert differences(*({"preprocessing": side, "a": 1} for side in sides)) == [
        "preprocessing.resize was 32, now 24"
    ]


def test_a_slip_in_a_name_is_guessed(desk):
    assert extract(desk).status == 0
    cached = ("--cache", desk / "c")
    assert "did you mean 'big'?" in cascade("simulate", "-m1", "bigg", "-m2", "b", *cached).refusal
    given = ("-f", desk / "images", *cached)
    assert "did you mean marks?" in cascade("extract", "-d", "makrs", *given).refusal
    line = cascade("extract", "-d", "makrs", "--models", "mark_2", *given).refusal
    assert line.endswith("--model NAME=mark_2:FILE (mark_2 is a model of marks)")
    line = cascade("extract", "-d", "digits", "-f", desk / "images").refusal
    assert line.endswith("; leave it out, or give your images another dataset name")


@pytest.mark.parametrize("name", ["a,b", "a=b", "file:a", "all"])
def test_a_name_that_no_command_could_say_is_refused(name, desk, tmp_path):
    np.save(tmp_path / "l.npy", np.eye(3))
    np.save(tmp_path / "y.npy", np.arange(3))
    given = ("-d", "mine", "--split", "test", "--logits", tmp_path / "l.npy")
    labels = ("--labels", tmp_path / "y.npy", "--cache", tmp_path / "i")
    assert repr(name) in cascade("import", *given, *labels, "--model", name).refusal
    if "=" not in name:
        other = f"{name}=mark_2:{desk / 'w' / 'small.pt'}"
        assert repr(name) in extract(desk, "--model", other).refusal
